"""`mailguard explain`: how a line is read, or how far the nearest rules fit and where they stop."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from mailguard.model import Event
from mailguard.notation import format_address, format_time

from .definitions import parser_option
from .messages import text
from .output import output_option, write_json, write_line

if TYPE_CHECKING:
    from mailguard.core.explaining import Explanation, Tried
    from mailguard.core.pattern import Pattern
    from mailguard.core.scanner import Scanner
    from mailguard.core.sessions import Sessions

#: How many of the rules that do not fit are shown.
NEAREST = 3


def lines_of(line: str) -> Iterator[bytes]:
    """The line, or those of standard input for `-`. Bytes: a log may hold any."""
    if line != "-":
        yield line.encode("utf-8", "surrogateescape")
        return
    for raw in sys.stdin.buffer:
        yield raw.rstrip(b"\n")


@click.command("explain")
@click.argument("line")
@parser_option
@output_option
def command(line: str, parsers: tuple[str, ...], form: str) -> int:
    """Show how lines are read, and where they stop fitting.

    LINE is one line of a log, or - for lines on standard input. Lines that belong together, such as those of
    one session, are joined when they come together. Exit 1 when a rule took none of the lines.
    """
    from mailguard.core.envelope import NONE
    from mailguard.core.joined import Joined
    from mailguard.core.scanner import Scanner
    from mailguard.definitions.parsers import load_parsers

    loaded = load_parsers(parsers or None)
    scanner, sessions = Scanner(loaded, keep_lines=True), Joined(loaded, covering=False)
    enveloped = tuple(parser.name for parser in loaded if NONE not in parser.envelopes)
    patterns = {rule.full_name: rule.pattern for parser in loaded for rule in parser.rules}
    taken = 0
    for number, raw in enumerate(lines_of(line)):
        found = explained(scanner, raw, tuple(parsers), enveloped)
        taken += found.rule is not None
        event = event_of(found, sessions)
        if form == "json":
            write_json(as_json(raw, found, event))
        else:
            if number:
                write_line("")
            for said in as_lines(raw, found, event, patterns):
                write_line(said)
    return 0 if taken else 1


def explained(
    scanner: Scanner, line: bytes, parsers: tuple[str, ...], enveloped: tuple[str, ...]
) -> Explanation:
    """How a line is read. One that nothing takes is told with its envelope, by the parsers that want one;
    where no envelope opens it, `opened` is None and what was tried is the line as a whole."""
    from dataclasses import replace

    from mailguard.core.envelope import NONE

    now = time.time()
    found = scanner.explain(line, now, parsers=parsers)
    if found.rule is not None or found.opened is None or found.opened.style != NONE:
        return found
    other = scanner.explain(line, now, parsers=enveloped) if enveloped else found
    if other.opened is not None and other.opened.style != NONE:
        return other
    return replace(found, opened=None)


def event_of(found: Explanation, sessions: Sessions) -> Event | None:
    """The event a line makes, joined with the sessions that earlier lines opened."""
    if found.item is None:
        return None
    events = sessions.join([found.item])
    return events[0] if events else None


def nearest(found: Explanation) -> list[Tried]:
    """The rules that fit furthest without taking the line; one where none fits at all."""
    best = sorted((one for one in found.tried if not one.takes), key=lambda one: -one.fits)[:NEAREST]
    return [one for one in best if one.fits] or best[:1]


def as_json(line: bytes, found: Explanation, event: Event | None) -> dict[str, Any]:
    """One object for one line."""
    opened = found.opened
    return {
        "line": (line if found.shown is None else found.shown).decode("utf-8", "replace"),
        "time": None if opened is None else format_time(opened.time),
        "host": None if opened is None else opened.host.decode("utf-8", "replace"),
        "program": None if opened is None else opened.program.decode("utf-8", "replace"),
        "pid": None if opened is None else opened.pid,
        "message": found.message.decode("utf-8", "replace"),
        "rule": found.rule.full_name if found.rule else None,
        "where": found.rule.where if found.rule else None,
        "ambiguous": found.ambiguous,
        "kind": event.kind if event else None,
        "source": None if event is None or event.source is None else format_address(event.source),
        "weight": event.weight if event else None,
        "scope": event.scope if event else None,
        "may_ban": event.may_ban if event else None,
        "fields": event.fields if event else {},
        "tried": [one._asdict() for one in found.tried],
    }


def as_lines(
    line: bytes, found: Explanation, event: Event | None, patterns: Mapping[str, Pattern]
) -> Iterator[str]:
    """The same for a person. `patterns` by the full names of rules."""
    from mailguard.core.pattern import expected

    shown = line if found.shown is None else found.shown
    yield text("explain.line", line=shown.decode("utf-8", "replace"))
    opened, program = found.opened, "-"
    if opened is None:
        yield text("explain.no-envelope")
        if not found.parsers:
            return
    else:
        program = opened.program.decode("utf-8", "replace") + (f"[{opened.pid}]" if opened.pid else "") or "-"
        host = opened.host.decode("utf-8", "replace") or "-"
        yield text("explain.envelope", time=format_time(opened.time), host=host, program=program)
    if found.rule is not None:
        yield text("explain.rule", rule=found.rule.full_name, where=found.rule.where)
        yield from _verdict(found, event)
        return
    if not found.parsers:
        yield text("explain.no-parser", program=program)
        return
    if found.shown is not None:  # what it says is nobody's business
        yield text("explain.spoken", parsers=", ".join(found.parsers))
        return
    yield text("explain.no-rule", parsers=", ".join(found.parsers))
    for one in nearest(found):
        yield text("explain.nearest", rule=one.rule, fits=one.fits, size=len(found.message))
        if one.fits:
            yield "           " + found.message[: one.fits].decode("utf-8", "replace")
        rest = found.message[one.fits :].decode("utf-8", "replace") or text("explain.end")
        wanted = expected(patterns[one.rule], found.message, one.fits)
        yield text("explain.stops", rest=rest)
        yield text("explain.wanted", wanted=wanted)


def _verdict(found: Explanation, event: Event | None) -> Iterator[str]:
    assert found.rule is not None
    if found.ambiguous:
        yield text("explain.ambiguous")
    elif event is not None:
        source = "-" if event.source is None else format_address(event.source)
        yield text("explain.event", kind=event.kind, source=source, weight=event.weight, scope=event.scope)
        for name, value in event.fields.items():
            yield text("explain.field", name=name, value=value)
        if not event.may_ban:
            yield text("explain.guessed")
    elif found.rule.event == "ignore":
        yield text("explain.ignored")
    elif found.item is not None:
        yield text("explain.session")
    else:
        yield text("explain.no-source")
