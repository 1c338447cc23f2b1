"""How one line is read, for people who ask: every rule, how far it fits, and what the line becomes.

Never: changes a counter or a running stamp. Limits: slow, for single lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..model import Block
from .compiled import ALL, Captures, Entry
from .envelope import EPOST, NONE, Opened, Opener
from .items import Item
from .pattern import progress
from .rules import Rule
from .taking import Taker

if TYPE_CHECKING:
    from .dialogue import Reader


class Tried(NamedTuple):
    """One rule asked about a message: how many of its bytes fit, and whether it takes the line."""

    rule: str
    fits: int
    takes: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a line is read. `rule` takes it; `item` is what it makes, None: nothing, or it is set aside."""

    opened: Opened | None
    message: bytes = b""
    parsers: tuple[str, ...] = ()
    tried: tuple[Tried, ...] = ()
    rule: Rule | None = None
    item: Item | None = None
    ambiguous: bool = False
    shown: bytes | None = None  # what of the line may be shown, where not all of it; it can hold a password


def explain(
    taker: Taker,
    styles: tuple[str, ...],
    line: bytes,
    arrival: float,
    log: str = "-",
    timezone: str = "",
    year: int | None = None,
    parsers: tuple[str, ...] = (),
    fits: bool = True,
) -> Explanation:
    """How one line is read: every rule of the parsers that know its program, and how far it fits.

    `styles`: the envelopes that they read.

    `fits` False leaves the measuring out, which is slow. No counter and no running stamp changes by it.
    """
    line = line.rstrip(b"\n")
    opener = Opener(styles, timezone)
    opener.arrive(arrival, False, year)
    opened = opener.open(line, 0, len(line))
    if opened is not None and not taker.plans.plan(opened.style, opened.program, ALL, parsers).known:
        return Explanation(opened, _message(line, opened))
    if opened is None:
        if NONE not in styles:
            return Explanation(None)
        opened = Opened(0.0, b"", b"", 0, 0, len(line) - line.endswith(b"\r"), NONE)
    message = _message(line, opened)
    plan = taker.plans.plan(opened.style, opened.program, ALL, parsers)
    tried: list[Tried] = []
    taken: tuple[Entry, Captures] | None = None
    for entry in plan.entries:
        captures = entry.match(message, 0, len(message), False)
        far = len(message) if captures is not None else 0
        if captures is None and fits:
            far = progress(entry.rule.pattern, message)
        tried.append(Tried(entry.full_name, far, captures is not None))
        if captures is not None and taken is None:
            if opened.style == NONE:
                time = opener.stamp(captures[entry.stamp] or b"") if entry.stamp >= 0 else None
                if time is None:
                    continue
                opened = opened._replace(time=time)
            taken = entry, captures
    names = tuple(dict.fromkeys(entry.rule.parser for entry in plan.entries))
    if taken is None:
        return Explanation(opened, message, names, tuple(tried))
    entry, captures = taken
    local = opened._replace(start=0, end=len(message))
    if plan.check and taker.doubtful(plan, entry, captures, message, local, False):
        return Explanation(opened, message, names, tuple(tried), entry.rule, None, True)
    counters = taker.counters
    sourceless = counters.sourceless
    origin = Block(log, line, 0, len(line), 0, arrival, False)
    item = taker.maker.make(entry, captures, local, origin, 0, (line, 0, len(line)))
    counters.sourceless = sourceless
    return Explanation(opened, message, names, tuple(tried), entry.rule, item)


def explain_spoken(
    reader: Reader, line: bytes, arrival: float, timezone: str, parsers: tuple[str, ...]
) -> Explanation:
    """How a line of a dialogue log is read, after those explained before it. Its text is not shown."""
    line = line.rstrip(b"\r\n")
    shown = reader.prefix(line)
    event = reader.hear(line, arrival, timezone, parsers)
    opener = Opener((EPOST,), timezone)
    opener.arrive(arrival, False, None)
    opened = opener.open(line, 0, len(line))
    rule = None if event is None else reader.rules.get(event.rule)
    return Explanation(opened, b"", reader.names(parsers), (), rule, event, False, shown + b"...")


def _message(line: bytes, opened: Opened) -> bytes:
    return (line if opened.data is None else opened.data)[opened.start : opened.end]
