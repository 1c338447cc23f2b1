"""What a parser definition must prove before it is used: its samples, its forgeries, and the certainty of its
source.

The samples run through the very scanner and sessions that live lines take. The results of proofs, and of
files whose checks all passed, are kept between runs (`source.read_cache`); they count only for the same text
and the same program.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .. import __version__
from ..core import pattern as patterns
from ..core.compiled import may_meet
from ..core.joined import Joined
from ..core.pattern.template import Slot, walk
from ..core.rules import IGNORE, Parser, Rule, Sample
from ..core.scanner import Scanner
from ..model import HOSTILE, Block, Event
from ..notation import format_address
from ..problems import Problem
from . import dialogues, source

#: The arrival of the lines inside definitions: 2026-12-31, so that year-less stamps fall into 2026.
ARRIVAL = 1_798_675_200.0
_PROOFS = "proofs"
_PASSED = "passed.json"
_PARTS = ("__init__.py", "model.py", "notation.py", "core", "core/pattern", "definitions")

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
    memory = _Passed()
    key = memory.key(parser.path, text)
    if passed and key in memory:
        return []
    problems = _demands(parser)
    problems += _certainty(parser)
    problems += run_samples(parser)
    problems += _coverage(parser)
    problems += _addresses(parser)
    PROOFS.save()
    if passed and not problems:
        memory.add(key)
    return problems


# ---------------------------------------------------------------- memory of earlier runs


class _Proofs:
    """The proofs of patterns and pairs, read when first asked for and written when something new was
    proved."""

    def __init__(self) -> None:
        self._cache: patterns.ProofCache | None = None

    def cache(self) -> patterns.ProofCache:
        if self._cache is None:
            self._cache = patterns.ProofCache(source.read_cache(_PROOFS))
        return self._cache

    def save(self) -> None:
        if self._cache is not None and self._cache.changed:
            source.write_cache(_PROOFS, self._cache.dump())
            self._cache.changed = False


PROOFS = _Proofs()


class _Passed:
    """The files whose checks all passed before, as hashes of their text and of this program."""

    _program = ""
    _keys: dict[str, int] | None = None

    @classmethod
    def key(cls, path: str, text: str) -> str:
        if not cls._program:
            cls._program = source.fingerprint(_PARTS) + __version__
        return hashlib.sha256(f"{cls._program}\0{path}\0{text}".encode()).hexdigest()

    def __contains__(self, key: str) -> bool:
        return key in self._read()

    @classmethod
    def _read(cls) -> dict[str, int]:
        if cls._keys is None:
            try:
                found = json.loads(source.read_cache(_PASSED) or b"{}")
            except ValueError:
                found = {}
            cls._keys = {key: 1 for key in found if isinstance(key, str)} if isinstance(found, dict) else {}
        return cls._keys

    @classmethod
    def add(cls, key: str) -> None:
        keys = cls._read()
        while len(keys) >= 1024:
            del keys[next(iter(keys))]
        keys[key] = 1
        source.write_cache(_PASSED, json.dumps(keys).encode())


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
            message = scanner.explain(sample.line, ARRIVAL, fits=False).message
            if parser.dialogue is not None:
                message = dialogues.text_of(sample.line) or b""
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
                    earlier.pattern, later.pattern, (earlier.name, later.name), later.where, PROOFS.cache()
                )
    return problems


# ---------------------------------------------------------------- samples


def run_samples(parser: Parser) -> list[Problem]:
    """Feed every sample, forgery and unmatched line to the scanner and compare. Problems, [] when all is
    well."""
    problems: list[Problem] = []
    scanner = Scanner([parser])
    for rule in parser.rules:
        for sample in rule.samples:
            problems += _run_sample(scanner, parser, rule, sample)
        for forgery in rule.forgeries:
            problems += _run_forgery(scanner, parser, rule, forgery)
    for line in parser.unmatched:
        if parser.dialogue is not None:
            if dialogues.feed(parser, line):
                problems.append(
                    Problem(
                        line.where, "unmatched: this line makes an event", "the definition says it does not"
                    )
                )
            continue
        explained = scanner.explain(line.line, ARRIVAL, fits=False)
        if explained.rule is not None:
            problems.append(
                Problem(
                    line.where,
                    f"unmatched: rule {explained.rule.name} takes this line",
                    "the definition says that nothing does",
                )
            )
    return problems


def _feed(scanner: Scanner, parser: Parser, sample: Sample) -> list[Event]:
    """The events of a sample's last line, after the lines before it."""
    if parser.dialogue is not None:
        return dialogues.feed(parser, sample)
    sessions = Joined([parser], covering=False)
    events: list[Event] = []
    position = 0
    for line in (*sample.after, sample.line):
        data = line + b"\n"
        block = Block("-", data, 0, len(data), position, ARRIVAL, False, timezone="UTC")
        events = sessions.join(scanner.scan(block))
        position += len(data)
    return events


def _taken(scanner: Scanner, rule: Rule, sample: Sample, what: str) -> list[Problem]:
    """Problems when another rule, or none, takes the line."""
    if scanner.parsers[0].dialogue is not None:
        return dialogues.taken(scanner.parsers[0], rule, sample, what)
    explained = scanner.explain(sample.line, ARRIVAL, fits=False)
    about = f"rule {rule.name}: {what}"
    if explained.rule is not None and explained.rule.name == rule.name:
        return []
    if explained.rule is not None:
        return [
            Problem(
                sample.where,
                f"{about} is taken by the earlier rule {explained.rule.name}",
                "the first rule that fits takes a line",
                "Move the rule up, or make the other one narrower.",
            )
        ]
    if explained.opened is None:
        return [
            Problem(
                sample.where,
                f"{about} has no prefix that the envelope knows",
                f"envelope = {list(scanner.parsers[0].envelopes)}",
                "Begin the line with its stamp, host and program, or write message instead of line.",
            )
        ]
    if not explained.tried:
        program = explained.opened.program.decode("utf-8", "replace")
        return [
            Problem(
                sample.where,
                f"{about} is of a program that is not listed",
                f"the line is of {program!r}",
                "Add its last part to program.",
            )
        ]
    far = patterns.progress(rule.pattern, explained.message)
    shown = explained.message[:far].decode("utf-8", "replace")
    rest = explained.message[far : far + 40].decode("utf-8", "replace")
    then = f"then comes {rest!r}" if rest else "and there more must follow"
    return [Problem(sample.where, f"{about} does not fit", f"it fits as far as {shown!r}, {then}")]


def _run_sample(scanner: Scanner, parser: Parser, rule: Rule, sample: Sample) -> list[Problem]:
    problems = _taken(scanner, rule, sample, "the sample")
    if problems:
        return problems
    about = f"rule {rule.name}: the sample"
    events = _feed(scanner, parser, sample)
    if not events:
        if rule.event == IGNORE and not sample.expect:
            return []
        if sample.expect.get("event") == "none":
            return []
        if rule.event == IGNORE:
            return [Problem(sample.where, f"{about} expects an event of a rule that sets lines aside")]
        return [
            Problem(
                sample.where,
                f"{about} makes no event",
                "its session gives no source, or nothing is left of its weight",
                'Give the lines before it in after = [...], or expect = { event = "none" }.',
            )
        ]
    event = events[-1]
    actual: dict[str, object] = dict(event.fields)
    if event.source is not None:
        actual["source"] = format_address(event.source)
    expected = dict(sample.expect)
    if expected.get("weight", 1) != event.weight or "weight" in expected:
        actual["weight"] = event.weight
    if expected.get("event", rule.event) != event.kind or "event" in expected:
        actual["event"] = event.kind
    if actual == expected:
        return []
    wrong = [
        f"{name}: expected {_shown(expected, name)}, got {_shown(actual, name)}"
        for name in sorted(expected.keys() | actual.keys())
        if expected.get(name) != actual.get(name) or (name in expected) != (name in actual)
    ]
    return [
        Problem(
            sample.where,
            f"{about} gives other fields",
            "\n".join(wrong),
            "expect lists every field, and source; weight where it is not 1.",
        )
    ]


def _shown(values: dict[str, object], name: str) -> str:
    return repr(values[name]) if name in values else "nothing"


def _run_forgery(scanner: Scanner, parser: Parser, rule: Rule, forgery: Sample) -> list[Problem]:
    """A forgery makes an event of the true source, or none where it says so; by whichever rule."""
    events = _feed(scanner, parser, forgery)
    sources = {format_address(event.source) for event in events if event.source is not None}
    about = f"rule {rule.name}: the forgery"
    if forgery.source is None:
        if not sources and not any(event.kind in HOSTILE for event in events):
            return []  # what is laid to nobody accuses nobody and speaks for nobody
        return [
            Problem(
                forgery.where,
                f"{about} makes an event",
                f"laid to {', '.join(sorted(sources)) or 'nobody'}",
                "source = false says that it must make none.",
            )
        ]
    if sources == {forgery.source}:
        return []
    if not sources:
        why = "a client who hides this way is never counted"
        return [
            Problem(forgery.where, f"{about} makes no event", why, "The shape must be read all the same.")
        ]
    return [
        Problem(
            forgery.where,
            f"{about} is laid to {', '.join(sorted(sources))}",
            f"the true source is {forgery.source}",
        )
    ]
