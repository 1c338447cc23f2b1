"""From a matched rule and its captures to the event or draft of a line.

Owns: what the fields, the weight and the session keys of an event are made of. The compiled twin is
`native/make.pxi`.
Never: looks at a rule's template.
"""

from __future__ import annotations

from ..model import Block, Event, Records
from .compiled import Captures, Entry
from .envelope import Opened
from .items import MOST_ATTEMPTS, Counters, Draft, Item, family
from .rules import IGNORE, Addresses, decode

#: A raw line in its block: only those of hostile events are copied out.
Slice = tuple[bytes, int, int]
_new = tuple.__new__


class Maker:
    """Makes events. `keep_lines`: hostile ones carry their raw line."""

    __slots__ = ("addresses", "counters", "keep_lines")

    def __init__(self, counters: Counters, keep_lines: bool):
        self.counters = counters
        self.keep_lines = keep_lines
        self.addresses = Addresses()

    def make(
        self,
        entry: Entry,
        captures: Captures,
        opened: Opened,
        origin: Block | Records,
        position: int,
        line: Slice,
    ) -> Item | None:
        """The event of a line that `entry` took, None where its rule makes none."""
        if entry.kind == IGNORE and not entry.stateful:
            return None
        source = None
        if entry.source >= 0:
            text = captures[entry.source]
            if text is not None:
                source = self.addresses[text]
            if source is None and entry.hostile and not entry.stateful:
                self.counters.sourceless += 1
                return None
        fields: dict[str, str] = {}
        for at, name in entry.fields:
            raw = captures[at]
            if raw is not None:
                # Nearly all are new and plain: decoding them costs less than remembering them would.
                if raw.isascii() and (plain := raw.decode("ascii")).isprintable():
                    fields[name] = plain
                else:
                    fields[name] = decode(raw)
        weight = entry.weight
        if entry.attempts >= 0:
            weight = number(captures[entry.attempts]) - entry.minus
            if entry.less >= 0:
                weight -= number(captures[entry.less])
        if opened.repeat > 1:
            weight = min(weight * opened.repeat, MOST_ATTEMPTS)
        event: Event = _new(
            Event,
            (
                entry.kind,
                opened.time,
                source,
                entry.full_name,
                weight,
                fields,
                origin.log,
                position,
                entry.scope_of(opened.program) if entry.scopes else entry.scope,
                origin.may_ban and not entry.guessed,
                entry.proved,
                line[0][line[1] : line[2]] if self.keep_lines and entry.hostile else b"",
            ),
        )
        if entry.stateful:
            return Draft(event, keys(entry, captures, opened, origin.log))
        return event if weight > 0 else None


def number(text: bytes | None) -> int:
    """A captured count, bounded; 0 when the slot was absent."""
    return min(int(text[:9]), MOST_ATTEMPTS) if text and text.isdigit() else 0


def keys(entry: Entry, captures: Captures, opened: Opened, log: str) -> tuple[bytes, ...]:
    """The keys of a line's sessions: host, declaration, values. A line without host counts by its log."""
    host = opened.host or family(log)
    pid = b""
    found: list[bytes] = []
    for prefix, parts in entry.keys:
        key = host + prefix
        for part in parts:
            if type(part) is int:
                value = captures[part]
                if value is None:
                    key = b""
                    break
                key += b"\0" + value
            elif part == "pid":
                pid = pid or b"\0%d" % opened.pid
                key += pid
        found.append(key)
    return tuple(found)
