"""Events as columns: a few arrays instead of one object each, and the exact way back.

Texts that come again and again are codes into a list of values. A column of codes is 32-bit numbers, -1
where there is no value.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from socket import AF_INET, inet_pton
from typing import Any, NamedTuple

from ..model import FIELDS, KINDS, Event
from ..notation import format_address, parse_address

_new = tuple.__new__

#: Column -> what stands in it. Those of captured fields follow, under the names of the fields.
BASE: dict[str, str] = {
    "kind": "what happened: one of the event kinds",
    "time": "the line's stamp, seconds since 1970 (UTC), exact",
    "source": "the address the event is laid to, in canonical form; null for context events without one",
    "rule": "parser/rule that took the line",
    "weight": "attempts the line stands for",
    "log": "the log's path as it was given",
    "position": "byte offset of the line in its log; journal: microseconds of its stamp",
    "scope": "ports an offence from it concerns: auth, mail or all",
    "may_ban": "false: it may only alert",
    "proved": "names of the fields that are proved unambiguous, joined by commas",
}


def column_of(name: str) -> str:
    """The column of a captured field."""
    return f"{name}_field" if name in BASE else name


#: Captured field -> its column.
FIELD_COLUMNS: dict[str, str] = {name: column_of(name) for name in FIELDS if name != "source"}
COLUMNS: dict[str, str] = BASE | {column: FIELDS[name] for name, column in FIELD_COLUMNS.items()}


class Codes(NamedTuple):
    """A column of few different values: `values[codes[i]]`, or none where `codes[i]` is -1."""

    codes: Any  # a sequence of int: array or memoryview of 32-bit numbers
    values: list[Any]

    def decoded(self, start: int, stop: int) -> list[Any]:
        """The values of some rows, None where there is none."""
        known = [*self.values, None]  # -1 is the last
        return [known[code] for code in self.codes[start:stop]]


class Texts(NamedTuple):
    """A column of texts as its file holds them, in UTF-8: text `i` is `data[offsets[i]:offsets[i + 1]]`."""

    codes: Any  # of each row the place of its text, -1: none; None: row `i` has text `i`
    offsets: Any  # 32-bit numbers, one more than there are texts
    data: Any  # bytes
    there: Any = (
        None  # a bit for each text, from the lowest on, is 0 where there is none; None: all are there
    )
    first: int = 0  # the bit of the first text


@dataclass(slots=True)
class Facts:
    """What is known about the whole of a file."""

    events: int = 0
    records: int = 0  # lines that were read
    first: float | None = None  # earliest and latest stamp of any line
    last: float | None = None
    logs: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "records": self.records,
            "first": self.first,
            "last": self.last,
            "logs": list(self.logs),
        }

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Facts:
        """From what `row` gave; what is missing or of another sort is left out."""

        def number(name: str) -> Any:
            value = row.get(name)
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None

        logs = row.get("logs")
        names = tuple(str(log) for log in logs) if isinstance(logs, list) else ()
        return cls(
            int(number("events") or 0), int(number("records") or 0), number("first"), number("last"), names
        )


@dataclass(slots=True)
class EventColumns:
    """Events as columns. `source.values` are packed addresses, `proved.values` sets of names; `field_of`
    makes the codes of a captured field when it is asked for the first time. `texts`: those fields as their
    file holds them, for whoever needs no objects; None: they are nowhere in that form.
    """

    kind: Codes
    time: Any  # float64
    source: Codes
    rule: Codes
    weight: Any  # int32
    log: Codes
    position: Any  # int64
    scope: Codes
    may_ban: Any  # bytes, 0 or 1
    proved: Codes
    field_of: Callable[[str], Codes | None]
    texts: dict[str, Texts] | None = None
    _fields: dict[str, Codes | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time)

    def field(self, name: str) -> Codes | None:
        """The column of a captured field; None: no event has it."""
        if name not in self._fields:
            self._fields[name] = self.field_of(name)
        return self._fields[name]

    def events(self, start: int = 0, stop: int | None = None) -> list[Event]:
        """Rows as events, exactly those that were written (without raw lines)."""
        stop = len(self) if stop is None else min(stop, len(self))
        if stop <= start:
            return []
        fields: list[dict[str, str]] = [{} for _ in range(stop - start)]
        for name in FIELD_COLUMNS:
            codes = self.field(name)
            if codes is None:
                continue
            for of, value in zip(fields, codes.decoded(start, stop), strict=True):
                if value is not None:
                    of[name] = value
        columns: list[Sequence[Any]] = [
            self.kind.decoded(start, stop),
            list(self.time[start:stop]),
            self.source.decoded(start, stop),
            self.rule.decoded(start, stop),
            list(self.weight[start:stop]),
            fields,
            self.log.decoded(start, stop),
            list(self.position[start:stop]),
            self.scope.decoded(start, stop),
            [flag != 0 for flag in self.may_ban[start:stop]],
            self.proved.decoded(start, stop),
            [b""] * (stop - start),
        ]
        return [_new(Event, row) for row in zip(*columns, strict=True)]


def encoded(values: Iterable[Any]) -> Codes:
    """A column of codes; equal values get the same code, None gets -1."""
    known: dict[Any, int] = {None: -1}
    codes = array("i", [known.setdefault(value, len(known) - 1) for value in values])
    del known[None]
    return Codes(codes, list(known))


def from_events(events: Sequence[Event]) -> EventColumns:
    """The columns of some events."""
    columns = list(zip(*events, strict=True)) if events else [()] * 12
    captured: Sequence[dict[str, str]] = columns[5]

    def codes_of(name: str) -> Codes | None:
        found = encoded([fields.get(name) for fields in captured])
        return found if found.values else None

    return EventColumns(
        encoded(columns[0]),
        array("d", columns[1]),
        encoded(columns[2]),
        encoded(columns[3]),
        array("i", columns[4]),
        encoded(columns[6]),
        array("q", columns[7]),
        encoded(columns[8]),
        bytes(columns[9]),
        encoded(columns[10]),
        codes_of,
    )


def address_text(address: int | None) -> str | None:
    return None if address is None else format_address(address)


def packed_address(text: str | None) -> int | None:
    """The packed address of a text; ValueError where it is none."""
    if text is None:
        return None
    try:
        return int.from_bytes(inet_pton(AF_INET, text), "big")  # most are; a file may hold millions of them
    except (OSError, ValueError, UnicodeError):
        address = parse_address(text)
    if address is None:
        raise ValueError(f"{text[:60]!r} is no address")
    return address


FURTHEST = (
    60e9  # seconds from 1970: no event is further away, and all between can be written (years 69 to 3871)
)
SCOPES = frozenset({"auth", "mail", "all"})


def check_words(kinds: Iterable[Any], scopes: Iterable[Any], proved: Iterable[frozenset[str]] = ()) -> None:
    """ValueError for a word that this program does not know, and for names of fields that are none."""
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of event")
    for scope in scopes:
        if scope not in SCOPES:
            raise ValueError(f"{scope!r} is no scope")
    for names in proved:
        if not names <= FIELDS.keys():
            raise ValueError("proved names fields")


def proved_text(names: frozenset[str]) -> str:
    return ",".join(sorted(names))


def proved_names(text: str | None) -> frozenset[str]:
    return frozenset(text.split(",")) if text else frozenset()
