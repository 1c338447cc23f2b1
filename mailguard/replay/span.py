"""The stamps at both ends of a log, also where no rule takes those lines."""

from __future__ import annotations

from typing import Protocol

from ..core.envelope import Opener
from ..model import Block, Records

EDGE = 64  # lines looked at from an end of a log to find one with a stamp


class Told(Protocol):
    """Who is told the stamps."""

    def span(self, time: float) -> None: ...


class Span:
    """Finds the stamps at both ends of one log, without opening the lines between.

    Where the first year of the log is stated, the years follow from line to line; of the lines between, the
    newest event tells how far they have come.
    """

    def __init__(self, told: Told):
        """`told.span` hears every stamp that is found."""
        self._told = told
        self._opener: Opener | None = None
        self._begun = False
        self._newest = 0.0

    def look(self, item: Block | Records, newest: float) -> None:
        """The next piece of the log, with the newest stamp of its events (0: there are none)."""
        if isinstance(item, Records):
            for record in (*item.records[:1], *item.records[-1:]):
                self._told.span(record.time)
            return
        if self._opener is None:
            self._opener = Opener(zone=item.timezone)
        if not self._begun:
            self._arrive(item)
            self._begun = self._first(item)
        self._newest = max(self._newest, newest)
        self._arrive(item)
        self._last(item)

    def _arrive(self, item: Block) -> None:
        assert self._opener is not None
        year, stamps = item.year, self._opener.stamps
        if year is not None and self._newest:
            year = stamps.moment(self._newest).year
            stamps.running = self._newest
        self._opener.arrive(item.arrival, item.live, year)

    def _open(self, item: Block, start: int, end: int) -> bool:
        assert self._opener is not None
        opened = self._opener.open(item.data, start, end)
        if opened is None:
            return False
        self._newest = max(self._newest, opened.time)
        self._told.span(opened.time)
        return True

    def _first(self, item: Block) -> bool:
        start = item.start
        for _ in range(EDGE):
            end = item.data.find(b"\n", start, item.end)
            if end < 0:
                return False
            if self._open(item, start, end):
                return True
            start = end + 1
        return False

    def _last(self, item: Block) -> None:
        end = item.end - 1
        for _ in range(EDGE):
            start = item.data.rfind(b"\n", item.start, end) + 1 or item.start
            if self._open(item, start, end) or start <= item.start:
                return
            end = start - 1
