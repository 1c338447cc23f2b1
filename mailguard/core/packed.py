"""What lines told as rows of bytes instead of objects, for those who look at millions of them.

A row is 48 bytes (`native/row.pxi` says which), and what it captured stands behind each other in the texts
of its batch. Only the compiled scan makes rows, and only compiled code reads them; `items` makes of them the
events and drafts that `Scanner.scan` gives. What the compiled scan left to Python stands among `objects`.

Between processes a batch travels as its bytes; both ends must have the same definitions, whose rules are
numbered in their order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any, NamedTuple

from . import native
from .compiled import Entry
from .items import Item

ROW = 48  # bytes
_TIME = Struct("=d")  # with which each begins


class Table:
    """The rules of a scanner by their numbers."""

    def __init__(self, entries: Iterable[Entry]):
        self.rules: tuple[tuple[Any, ...], ...] = tuple(
            (one.full_name, one.kind, tuple(name for _, name in one.fields), one.proved, len(one.keys))
            for one in entries
        )
        self._reader: Any = None

    def reader(self) -> Any:
        """Who makes objects of rows."""
        if self._reader is None:
            self._reader = _scan().Table(self.rules)
        return self._reader


class Order(NamedTuple):
    """How stamps follow each other. `running`: their running maximum; `late`: how many are below it;
    `furthest`: by how many seconds the worst is, and `at`: the maximum there."""

    running: Sequence[float]
    late: int
    furthest: float
    at: float


def order_of(times: list[float], running: list[float]) -> Order:
    """The same of stamps whose running maximum is known."""
    if times is running or times == running:
        return Order(running, 0, 0.0, 0.0)
    behind = [stamp - time for stamp, time in zip(running, times, strict=True)]
    furthest = max(behind)
    return Order(running, len(behind) - behind.count(0.0), furthest, running[behind.index(furthest)])


class Batch:
    """Rows of one log, in the order of its lines. Nobody changes one."""

    __slots__ = ("log", "objects", "rows", "table", "texts")

    def __init__(self, table: Table, log: str, rows: bytes, texts: bytes, objects: list[Item]):
        self.table = table
        self.log = log
        self.rows = rows
        self.texts = texts
        self.objects = objects

    def __len__(self) -> int:
        return len(self.rows) // ROW

    def items(self, begin: int = 0, stop: int | None = None) -> list[Item]:
        """The events and drafts of the rows from `begin` up to `stop`."""
        end = len(self) if stop is None else stop
        found: list[Item] = self.table.reader().items(
            self.log, self.rows, self.texts, self.objects, begin, end
        )
        return found

    def last(self) -> float:
        """The stamp of the last row; there is one."""
        stamp: float = _TIME.unpack_from(self.rows, len(self.rows) - ROW)[0]
        return stamp

    def times(self) -> array[float]:
        """The stamps."""
        return _doubles(_scan().times_in(self.rows))

    def newest(self, newest: float) -> float:
        """The newest stamp, or `newest` where that is newer."""
        stamp: float = _scan().newest_in(self.rows, newest)
        return stamp

    def order(self, newest: float) -> Order:
        """How the stamps go on from `newest`."""
        running, late, furthest, at = _scan().order_of(self.rows, newest)
        return Order(_doubles(running), late, furthest, at)


def _scan() -> Any:
    """The compiled scan, without which there are no rows."""
    return native.choose("scan", True)


def _doubles(data: bytes) -> array[float]:
    found = array("d")
    found.frombytes(data)
    return found
