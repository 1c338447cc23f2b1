"""What a parser definition must prove before it is used: its samples, its forgeries, and the certainty of its
source.

`samples` runs what stands inside a definition; `remembered` keeps the results between runs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..core import pattern as patterns
from ..core.compiled import may_meet
from ..core.pattern.template import Slot, walk
from ..core.rules import Parser, Rule, Sample
from ..core.scanner import Scanner
from ..model import HOSTILE
from ..problems import Problem
from . import dialogues, remembered
from .samples import run_samples

_DOCUMENTATION = [
    ipaddress.ip_network(text)
    for text in (
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "2001:db8::/32",
        "3fff::/20",
        "127.0.0.0/8",
        "::1/128",
        "::/128",
        "0.0.0.0/32",
        "::ffff:192.0.2.0/120",
        "::ffff:198.51.100.0/120",
        "::ffff:203.0.113.0/120",
    )
]
_V4 = re.compile(rb"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
_V6 = re.compile(rb"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")


def check(parser: Parser, text: str, passed: bool = True) -> list[Problem]:
    """Everything that a parser must prove; all problems. `text` is the file's, for the memory of runs before.

    `passed` False: the file has other problems, so nothing is remembered of it.
    """
    memory = remembered.Passed()
    key = memory.key(parser.path, text)
    if passed and key in memory:
        return []
    problems = _demands(parser)
    problems += _certainty(parser)
    problems += run_samples(parser)
    problems += _coverage(parser)
    problems += _addresses(parser)
    remembered.PROOFS.save()
    if passed and not problems:
        memory.add(key)
    return problems


# ---------------------------------------------------------------- demands on the text


def _demands(parser: Parser) -> list[Problem]:
    """A sample for every rule, a forgery where a client's text stands, a guarantor for prose."""
    problems: list[Problem] = []
    for rule in parser.rules:
        about = f"rule {rule.name}"
        if not rule.samples:
            problems.append(
                Problem(
                    rule.where,
                    f"{about}: there is no sample",
                    "a rule that no line proves is a guess",
                    "Add [[rule.sample]] with a line and what to expect.",
                )
            )
        laid = "source" in rule.pattern.names or rule.sessions or parser.dialogue is not None
        if rule.pattern.foreign and not rule.forgeries and laid:
            problems.append(
                Problem(
                    rule.where,
                    f"{about}: there is no forgery",
                    "a client chooses the text of a foreign slot",
                    "Add [[rule.forgery]]: a line in which that text imitates the rest, and the true source.",
                )
            )
        kinds = [node.type.name for node in _slots(rule)]
        guarded = sorted(
            {
                "prose" if kind == "prose" else "a class of its own"
                for kind in kinds
                if kind == "prose" or kind.startswith("[")
            }
        )
        if guarded and not rule.guard:
            problems.append(
                Problem(
                    rule.where,
                    f"{about}: nobody guarantees {' and '.join(guarded)}",
                    "what such a slot holds must be written by the server itself, not by a client",
                    'Say who writes it: guard = "..." in the rule, or once for the file.',
                )
            )
        told = rule.sessions or parser.dialogue is not None
        if rule.event in HOSTILE and "source" not in rule.pattern.names and not told:
            problems.append(
                Problem(
                    rule.where,
                    f"{about}: a hostile event needs a source",
                    f"{rule.event} is laid to an address",
                    "Capture {source:ip}, or take it from a session.",
                )
            )
    return problems


def _slots(rule: Rule) -> Iterator[Slot]:
    return (node for node in walk(rule.pattern.parts) if isinstance(node, Slot))


def _coverage(parser: Parser) -> list[Problem]:
    """Every optional part and alternative is used by one sample and missed by another."""
    problems: list[Problem] = []
    scanner = Scanner([parser], prefilter="find")
    for rule in parser.rules:
        branches = patterns.branches(rule.pattern)
        if not branches or not rule.samples:
            continue
        seen: list[frozenset[int]] = []
        for sample in rule.samples:
            message = scanner.explain(sample.line, dialogues.ARRIVAL, fits=False).message
            if parser.dialogue is not None:
                tagged = parser.dialogue.tagged and rule.place == "reply"
                message = dialogues.text_of(sample.line, tagged) or b""
            taken = patterns.used(rule.pattern, message)
            if taken is not None:
                seen.append(taken)
        if not seen:
            continue  # said already: no sample is taken by the rule
        for number, branch in enumerate(branches):
            if not any(number in taken for taken in seen):
                problems.append(
                    Problem(
                        rule.where,
                        f"rule {rule.name}: no sample uses {branch}",
                        "a part that no line proves is a guess",
                        "Add a sample, or leave it out.",
                    )
                )
            elif all(number in taken for taken in seen):
                problems.append(
                    Problem(
                        rule.where,
                        f"rule {rule.name}: every sample uses {branch}",
                        "nothing shows that it may be missing",
                        "Add a sample without it.",
                    )
                )
    return problems


def _addresses(parser: Parser) -> list[Problem]:
    """Addresses in definitions come from the ranges set aside for documentation."""
    problems: list[Problem] = []
    for sample in _all_samples(parser):
        for line in (sample.line, *sample.after):
            for text in (*_V4.findall(line), *_V6.findall(line)):
                try:
                    address = ipaddress.ip_address(text.decode())
                except ValueError:
                    continue
                if not any(
                    address in network for network in _DOCUMENTATION if network.version == address.version
                ):
                    problems.append(
                        Problem(
                            sample.where,
                            f"{text.decode()} is not a documentation address",
                            "a definition must name nobody's real address",
                            "Use 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 or 2001:db8::/32.",
                        )
                    )
    return problems


def _all_samples(parser: Parser) -> Iterable[Sample]:
    for rule in parser.rules:
        yield from rule.samples
        yield from rule.forgeries
    yield from parser.unmatched


# ---------------------------------------------------------------- proofs


def _certainty(parser: Parser) -> list[Problem]:
    """No line can be read with two sources, users or session keys; nor by two rules with different
    sources."""
    problems: list[Problem] = []
    keys = {kind.name: kind.key for kind in parser.sessions}
    for rule in parser.rules:
        must = [name for name in patterns.MUST if name not in rule.unproved]
        must += [part for use in rule.sessions for part in keys[use.session]]
        problems += [
            replace(problem, what=f"rule {rule.name}: {problem.what}")
            for problem in patterns.check(rule.pattern, rule.where, must)
        ]
    for number, later in enumerate(parser.rules):
        for earlier in parser.rules[:number]:
            if (
                "source" in earlier.pattern.names
                and "source" in later.pattern.names
                and may_meet(earlier, later)
            ):
                problems += patterns.check_pair(
                    earlier.pattern,
                    later.pattern,
                    (earlier.name, later.name),
                    later.where,
                    remembered.PROOFS.cache(),
                )
    return problems
