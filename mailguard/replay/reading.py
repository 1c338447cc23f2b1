"""From logs to batches of events in the one order, whoever parses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..core.packed import Order
from ..core.sessions import Sessions
from ..eventfile import facts
from ..feeds.interface import LogOptions
from ..model import Event, Notice
from .columns import Columns
from .cutting import PIECE, spans
from .feed import BATCH
from .merging import Chunk, Stream, segments
from .pieces import Parsed, Piece
from .sources import EVENTS, PLAIN, SPOKEN, STDIN, Source
from .summary import Summary
from .workers import Executor

_HALF_YEAR = 183 * 86400.0
_DISORDER = 5.0  # seconds that lines of several processes may well stand behind each other
_JUMP = 3600.0  # stamps that go back further are no disorder of lines: a clock was set


class Progress(Protocol):
    """Who is told how far it is."""

    def advance(self, size: int, records: int) -> None:
        """So many more bytes on disk and lines were read."""


class YearsError(Exception):
    """A compressed log without years goes back by more than half a year: its years must be counted
    first."""

    def __init__(self, source: Source):
        super().__init__(source.path)
        self.source = source


def _whole(events: Sequence[Event]) -> Sequence[Event]:
    return events


@dataclass(slots=True)
class _Order:
    """How far a log is in order."""

    late: int = 0  # events that stand behind a later one
    furthest: float = 0.0  # by how many seconds
    at: float = 0.0  # the newest stamp before that


@dataclass
class Reading:
    """Reads `sources`; `batches` gives the events. `counted`: logs whose years were counted already."""

    sources: Sequence[Source]
    options: LogOptions
    executor: Executor
    here: Executor  # for what only this process can read
    sessions: Sessions
    summary: Summary
    progress: Progress | None = None
    counted: frozenset[str] = frozenset()
    piece: int = PIECE  # bytes
    part: Callable[[Sequence[Event]], Sequence[Event]] = _whole  # what of a batch counts
    tell: Callable[[Notice], None] = field(init=False)
    _columns: Columns = field(init=False)  # who reads files of events

    def __post_init__(self) -> None:
        self.tell = self.summary.notice
        self._columns = Columns(rows=False)

    def batches(self) -> Iterator[Sequence[Event]]:
        """About BATCH events at a time. Raises OSError, and YearsError (then all is to be begun anew)."""
        streams = [Stream(one.path, self._chunks(one), one.first) for one in self.sources]
        gather: Callable[[Any], Sequence[Event]] = self.sessions.gather
        summary = self.summary
        if all(one.form == EVENTS for one in self.sources):
            self._columns = Columns(rows=True)
            gather = self._columns.gather
        for found in segments(streams, BATCH):
            events = self.part(gather(found))
            summary.take(events)
            yield events
        waited = self.sessions.flush()
        if waited:
            summary.take(waited)
            yield waited

    def _pieces(self, source: Source) -> Iterator[Piece]:
        options = self.options
        whole = Piece(
            source.path,
            source.form,
            source.arrival,
            options.timezone,
            options.parsers,
            source.year,
            0,
            size=self.piece,
        )
        if source.form != PLAIN:
            number = 0
            while True:
                yield whole._replace(number=number)
                number += 1
        cut, year = spans(source, options, self.piece)
        if year is not None:
            self.tell(Notice("log-years", {"log": source.path, "year": year}))
        for number, one in enumerate(cut):
            yield whole._replace(number=number, start=one.start, end=one.end, year=one.year)

    def _chunks(self, source: Source) -> Iterator[Chunk]:
        """The log's drafts in order, each with the newest stamp so far."""
        if source.form == EVENTS:
            yield from self._written(source)
            return
        newest = source.first if source.first is not None else float("-inf")
        order = _Order()
        executor = self.here if source.form in (STDIN, SPOKEN) else self.executor
        forward = source.form != PLAIN
        done = 0
        strange = source.form == STDIN  # nobody has looked at it before
        lines = 0
        for parsed in executor.run(self._pieces(source), forward):
            done += self._take(source, parsed, done)
            strange = strange and parsed.first is None and not parsed.drafts
            lines += parsed.records
            if parsed.drafts:
                met = parsed.order(newest)
                if met.late:
                    self._orderly(source, order, met)
                newest = met.running[-1]
                yield Chunk(met.running, parsed.drafts)
            if forward and parsed.complete:
                break
        if self.progress is not None:
            self.progress.advance(max(0, source.size - done), 0)
        if strange and lines:
            self.tell(Notice("log-strange", {"log": source.path}))
        self._report(source, order)

    def _written(self, source: Source) -> Iterator[Chunk]:
        """The events of a file that holds them already, in the order in which they were written."""
        known = facts(source.path)
        summary = self.summary
        newest = source.first if source.first is not None else float("-inf")
        done = 0
        for events, chunk in self._columns.chunks(source.path, newest):
            share = source.size * events // known.events if known.events else 0
            done += share
            if self.progress is not None and events:
                self.progress.advance(share, events)
            yield chunk
        summary.records += known.records
        for stamp in (known.first, known.last):
            if stamp is not None:
                summary.span(stamp)
        if self.progress is not None:
            self.progress.advance(max(0, source.size - done), 0)

    def _take(self, source: Source, parsed: Parsed, done: int) -> int:
        """The figures of a piece; bytes on disk that it stands for."""
        summary = self.summary
        summary.records += parsed.records
        summary.cut += parsed.cut
        for stamp in (parsed.first, parsed.last):
            if stamp is not None:
                summary.span(stamp)
        for notice in parsed.notices:
            self.tell(notice)
        # How much of a compressed file was used up is not known: a sixth of what came out of it, at most all.
        size = parsed.bytes if source.form in (PLAIN, SPOKEN) else parsed.bytes // 6
        size = min(size, max(0, source.size - done))
        if self.progress is not None:
            self.progress.advance(size, parsed.records)
        return size

    def _orderly(self, source: Source, order: _Order, met: Order) -> None:
        """Lines that stand behind later ones."""
        order.late += met.late
        furthest = met.furthest
        if furthest > order.furthest:
            order.furthest, order.at = furthest, met.at
        if furthest > _HALF_YEAR and source.yearless and source.year is None:
            if source.form == STDIN or source.path in self.counted:
                return
            raise YearsError(source)

    def _report(self, source: Source, order: _Order) -> None:
        """What there is to say about the order of a log that was read to its end."""
        if order.furthest > _HALF_YEAR and source.form == STDIN and source.year is None:
            self.tell(Notice("log-years-unknown", {"log": source.path}))
        elif order.furthest > _JUMP:
            args = {"log": source.path, "lines": order.late, "seconds": order.furthest, "at": order.at}
            self.tell(Notice("log-clock", args))
        elif order.furthest > _DISORDER:
            args = {"log": source.path, "lines": order.late, "seconds": order.furthest}
            self.tell(Notice("log-disorder", args))
        self.summary.late += order.late
