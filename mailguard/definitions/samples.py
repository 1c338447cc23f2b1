"""The samples, forgeries and unmatched lines inside a parser definition, run through the very scanner and
sessions that live lines take."""

from __future__ import annotations

import re

from ..core import pattern as patterns
from ..core.joined import Joined
from ..core.rules import IGNORE, Parser, Rule, Sample
from ..core.scanner import Scanner
from ..model import HOSTILE, Block, Event
from ..notation import format_address
from ..problems import Problem
from . import dialogues
from .dialogues import ARRIVAL

#: What a template's text holds when its author thought of regular expressions.
_REGULAR = re.compile(r"\.[*+]|\\[dDsSwW]|\(\?")


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
    wanted = patterns.expected(rule.pattern, explained.message, far)
    instead = f"There the template wants {wanted}."
    if _REGULAR.search(wanted):
        instead += " It is no regular expression: what is not in {braces} is text."
    return [Problem(sample.where, f"{about} does not fit", f"it fits as far as {shown!r}, {then}", instead)]


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
