"""Events files: what logs say, parsed once, to be asked and rehearsed often.

Three forms of the same columns (see `COLUMNS`): Parquet, which DuckDB, polars and Spark read as well (needs
the package pyarrow), one JSON object a line, and CSV. The order of the rows is that in which the events
count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Protocol

from ..model import Event
from .columns import COLUMNS, FIELD_COLUMNS, Codes, EventColumns, Facts, Texts, column_of

__all__ = [
    "COLUMNS", "FORMS", "Codes", "EventColumns", "EventFileError", "Facts", "Texts", "Writer", "column_of",
    "facts", "form_of", "read", "read_whole", "writer",
]  # fmt: skip

FORMS = ("parquet", "jsonl", "csv")


class EventFileError(Exception):
    """A file that cannot be read as events; the text says why."""


class Writer(Protocol):
    """Takes events in their order."""

    @property
    def events(self) -> int:
        """How many were taken."""

    def write(self, events: Iterable[Event]) -> None: ...

    def close(self, facts: Facts) -> None:
        """The last event was written; `facts` about the whole go to the end of the file."""


def form_of(head: bytes) -> str | None:
    """The form of a file that begins so; None: it is no events file."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b'{"kind": "', b'{"kind":"', b'{"summary": {"events": 0')):
        return "jsonl"
    return "csv" if head.startswith(b"kind,time,source,") else None


def writer(form: str, file: IO[bytes]) -> Writer:
    """Writes events to `file`, which the caller closes. Raises ImportError for Parquet without pyarrow."""
    if form == "parquet":
        from .parquet import ParquetWriter

        return ParquetWriter(file)
    from .text import CsvWriter, JsonWriter

    return JsonWriter(file) if form == "jsonl" else CsvWriter(file)


def read(path: str, rows: int = 1 << 16, fields: Iterable[str] | None = None) -> Iterator[EventColumns]:
    """The events of a file, in order, a stretch at a time: of Parquet a row group, of text `rows`.

    `fields`: the only captured fields that will be asked for; no events can be made of the columns then, for
    `rule`, `log` and `position` may be missing.

    Raises EventFileError, ImportError (Parquet without pyarrow) and OSError."""
    form = _form(path)
    if form == "parquet":
        from .parquet import read_parquet

        yield from read_parquet(path, None if fields is None else tuple(fields))
    else:
        from .text import read_text

        yield from read_text(form, path, rows)


def read_whole(path: str, rows: int = 1 << 16) -> Iterator[EventColumns | list[Event]]:
    """The same for who wants all that is known of every event: text, of which events are made first, as
    these. Raises what `read` raises."""
    form = _form(path)
    if form == "parquet":
        from .parquet import read_parquet

        yield from read_parquet(path, tuple(FIELD_COLUMNS), origin=True)
    else:
        from .text import events_in

        yield from events_in(form, path, rows)


def _form(path: str) -> str:
    with open(path, "rb") as file:
        form = form_of(file.read(64))
    if form is None:
        raise EventFileError(f"{path} is no events file")
    return form


def facts(path: str) -> Facts:
    """What the file says about the whole; zeroes and None where it says nothing (CSV).

    Raises what `read` raises."""
    with open(path, "rb") as file:
        form = form_of(file.read(64))
    if form == "parquet":
        from .parquet import parquet_facts

        return parquet_facts(path)
    if form == "jsonl":
        from .text import json_facts

        return json_facts(path)
    return Facts()
