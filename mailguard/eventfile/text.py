"""Events files as text: one JSON object a line, or CSV with a heading. Numbers keep every digit.

Names in CSV were chosen by strangers, and a spreadsheet takes a cell that begins with =, +, - or @ for a
formula. Such a cell, and one that has only apostrophes before that, gets one apostrophe more, which is taken
away when it is read.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import IO, Any

from ..model import KINDS, Event
from .columns import (
    COLUMNS,
    FIELD_COLUMNS,
    FURTHEST,
    SCOPES,
    EventColumns,
    Facts,
    address_text,
    check_words,
    from_events,
    packed_address,
    proved_names,
    proved_text,
)

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # OWASP, "CSV Injection"
_TAIL = 1 << 16  # bytes at the end of a file in which its last line is looked for
_new = tuple.__new__


class JsonWriter:
    """One object a line; fields that an event has not are left out. The last line is `{"summary":
    {...}}`."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.events = 0

    def write(self, events: Iterable[Event]) -> None:
        lines = []
        for kind, time, source, rule, weight, fields, log, position, scope, may_ban, proved, _ in events:
            row: dict[str, Any] = {
                "kind": kind, "time": time, "source": address_text(source), "rule": rule, "weight": weight,
                "log": log, "position": position, "scope": scope, "may_ban": may_ban,
                "proved": proved_text(proved),
            }  # fmt: skip
            for name, value in fields.items():
                row[FIELD_COLUMNS[name]] = value
            lines.append(json.dumps(row))
        if lines:
            self._file.write(("\n".join(lines) + "\n").encode())
            self.events += len(lines)

    def close(self, facts: Facts) -> None:
        self._file.write((json.dumps({"summary": facts.row()}) + "\n").encode())


class CsvWriter:
    """A heading, then one line for each event; what an event has not is empty.

    An empty value that an event has is written as two quotes, and read back so.
    """

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._file.write((",".join(COLUMNS) + "\n").encode())
        self.events = 0

    def write(self, events: Iterable[Event]) -> None:
        lines = []
        for kind, time, source, rule, weight, fields, log, position, scope, may_ban, proved, _ in events:
            cells: list[str | None] = [
                kind, repr(time), address_text(source), rule, str(weight), _harmless(log), str(position),
                scope, "true" if may_ban else "false", proved_text(proved),
                *[_harmless(fields.get(name)) for name in FIELD_COLUMNS],
            ]  # fmt: skip
            lines.append(",".join(["" if cell is None else _quoted(cell) for cell in cells]))
        if lines:
            self._file.write(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
            self.events += len(lines)

    def close(self, facts: Facts) -> None: ...


def _harmless(cell: str | None) -> str | None:
    return f"'{cell}" if cell and _FORMULA.match(cell) else cell


def _plain(cell: str) -> str:
    """What `_harmless` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _quoted(cell: str) -> str:
    if cell and not any(char in cell for char in ',"\n\r'):
        return cell
    return '"' + cell.replace('"', '""') + '"'


# ---------------------------------------------------------------- reading


def read_text(form: str, path: str, rows: int) -> Iterator[EventColumns]:
    """The events of a file as columns; `form`: jsonl or csv."""
    return map(from_events, events_in(form, path, rows))


def events_in(form: str, path: str, rows: int) -> Iterator[list[Event]]:
    """The events of a file, so many at a time. EventFileError names the line that is wrong."""
    return (_json_events if form == "jsonl" else _csv_events)(path, rows)


def _json_events(path: str, rows: int) -> Iterator[list[Event]]:
    from . import EventFileError

    decode = json.JSONDecoder().decode
    with open(path, "rb") as file:
        events: list[Event] = []
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                raise EventFileError(f"{path}:{number}: the file ends in the middle of a line")
            try:
                row = decode(line.decode("utf-8", "surrogatepass"))
                if "summary" in row:
                    continue
                events.append(_event(row))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise EventFileError(f"{path}:{number}: no event: {error}") from error
            if len(events) >= rows:
                yield events
                events = []
    if events:
        yield events


def json_facts(path: str) -> Facts:
    """What the last line says about the whole."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
    try:
        found = json.loads(last).get("summary", {})
        return Facts.of(found)
    except (ValueError, AttributeError):
        return Facts()


def _csv_events(path: str, rows: int) -> Iterator[list[Event]]:
    """The columns may stand in any order."""
    from . import EventFileError

    with open(path, encoding="utf-8", newline="") as file:
        reader = _Cells(file)
        heading = next(reader, [])
        unknown = [name for name in heading if name not in COLUMNS]
        if unknown:
            raise EventFileError(f"{path}:1: the column {unknown[0]!r} is not known")
        events: list[Event] = []
        for cells in reader:
            try:
                row: dict[Any, Any] = {
                    name: cell for name, cell in zip(heading, cells, strict=True) if cell is not None
                }
                row["may_ban"] = {"true": True, "false": False}[str(row["may_ban"])]
                numbers = {"time": float(row["time"]), "weight": int(row["weight"])}
                events.append(_event(row | numbers | {"position": int(row["position"])}))
            except (ValueError, TypeError, KeyError) as error:
                raise EventFileError(f"{path}:{reader.line}: no event: {error}") from error
            if len(events) >= rows:
                yield events
                events = []
    if events:
        yield events


class _Cells:
    """CSV rows in which an empty cell is None and a quoted empty one is empty text, which csv does not tell
    apart."""

    def __init__(self, file: io.TextIOBase | Any):
        self._lines = _Marked(file)
        self._reader = csv.reader(self._lines)

    @property
    def line(self) -> int:
        return self._reader.line_num

    def __iter__(self) -> _Cells:
        return self

    def __next__(self) -> list[str | None]:
        row = next(self._reader)
        return [None if not cell else "" if cell == _EMPTY else _plain(cell) for cell in row]


_EMPTY = "\x00"
_FIELDS = {column: name for name, column in FIELD_COLUMNS.items()}


class _Marked:
    """Lines in which a quoted empty cell is marked."""

    def __init__(self, file: Any):
        self._file = file
        self._inside = False

    def __iter__(self) -> _Marked:
        return self

    def __next__(self) -> str:
        line: str = next(self._file)
        if '""' not in line and not self._inside:
            self._inside = line.count('"') % 2 == 1
            return line
        return self._mark(line)

    def _mark(self, line: str) -> str:
        out: list[str] = []
        at, begin = 0, not self._inside
        while at < len(line):
            char = line[at]
            if self._inside:
                if char == '"':
                    if line[at + 1 : at + 2] == '"':
                        out.append('""')
                        at += 2
                        continue
                    self._inside = False
            elif begin and line[at : at + 2] == '""' and line[at + 2 : at + 3] in (",", "\n", "\r", ""):
                out.append(_EMPTY)
                at, begin = at + 2, False
                continue
            elif char == '"':
                self._inside = True
            begin = not self._inside and char == ","
            out.append(char)
            at += 1
        return "".join(out)


@lru_cache(1 << 16)
def _address(text: str | None) -> int | None:
    return packed_address(text)


@lru_cache(1 << 10)
def _proved(text: str | None) -> frozenset[str]:
    names = proved_names(text)
    check_words((), (), (names,))
    return names


def _event(row: dict[str, Any]) -> Event:
    """One event of its row; ValueError, TypeError or KeyError says what is wrong."""
    kind, scope, time, weight, position = (
        row["kind"], row["scope"], row["time"], row["weight"], row["position"],
    )  # fmt: skip
    rule, log, may_ban = row["rule"], row["log"], row["may_ban"]
    if type(time) not in (int, float) or type(weight) is not int or type(position) is not int:
        raise TypeError("time, weight and position are numbers")
    if not abs(time) < FURTHEST or not 0 <= weight < 1 << 31 or not abs(position) < 1 << 63:
        raise ValueError("time, weight or position is beyond what there is")
    if type(may_ban) is not bool or type(rule) is not str or type(log) is not str:
        raise TypeError("may_ban is true or false, rule and log are text")
    fields = {}
    for column, value in row.items():
        name = _FIELDS.get(column)
        if name is not None:
            if type(value) is not str:
                raise TypeError("captured fields are text")
            fields[name] = value
    if kind not in KINDS or scope not in SCOPES:
        check_words((kind,), (scope,))
    source, proved = _address(row.get("source")), _proved(row.get("proved"))
    return _new(
        Event,
        (kind, float(time), source, rule, weight, fields, log, position, scope, may_ban, proved, b""),
    )
