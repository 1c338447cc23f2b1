"""The reading in a process of its own, beside the judging: parsing, merging and joining need nothing of what
is decided about their events.

What crosses is what `Reading.batches` gives, as bytes, and with each batch the figures up to it; so whoever
stops early has the figures of what he saw. Where that process dies, all is read again here, and what was
handed out already is left out: the same logs give the same events.

Limits: processes that are forked; who has none reads in this one.
"""

from __future__ import annotations

import fcntl
import marshal
import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from ..core import native
from ..model import Event, Notice
from .processes import portable
from .reading import Progress, YearsError
from .summary import Summary

#: What is read: told are the figures, and how far it is.
Read = Callable[[Summary, Progress], Iterator[Sequence[Event]]]

_ROOM = 1 << 20  # bytes of events that wait
_STEP = 4 << 20  # bytes of a log after which it is told how far it is, although there was no event
_new = tuple.__new__


def possible() -> bool:
    """Can a process be forked here?"""
    return "fork" in multiprocessing.get_all_start_methods()


class _Figures(NamedTuple):
    """What the reading counted up to some batch, but for the events, which are counted by who takes them.
    `size`, `lines`: how much further it is than at the batch before; so are the notices those since then."""

    records: int
    cut: int
    late: int
    first: float | None
    last: float | None
    untold: int
    size: int
    lines: int
    notices: list[Notice]

    def tell(self, summary: Summary, progress: Progress | None) -> None:
        """Let the summary be as it was there."""
        summary.records, summary.cut, summary.late = self.records, self.cut, self.late
        for stamp in (self.first, self.last):
            if stamp is not None:
                summary.span(stamp)
        for notice in self.notices:
            summary.notice(notice)
        summary.untold += self.untold
        if progress is not None and (self.size or self.lines):
            progress.advance(self.size, self.lines)


class _Counted(Summary):
    """The figures of the reading; events are counted where they are taken."""

    def take(self, events: Sequence[Event]) -> None:
        """Left to who takes them."""


class _Running:
    """Runs a reading; each step gives the figures and what was read."""

    def __init__(self, read: Read):
        self._read = read
        self._summary = _Counted()
        self._told = self._untold = 0
        self._size = self._lines = 0
        self.hurry: Callable[[_Figures], None] | None = None  # hears the figures where no events come

    def advance(self, size: int, records: int) -> None:
        """See `Progress`."""
        self._size += size
        self._lines += records
        if self._size >= _STEP and self.hurry is not None:
            self.hurry(self.figures())

    def figures(self) -> _Figures:
        """Those since the last call."""
        seen = self._summary
        found = _Figures(
            seen.records,
            seen.cut,
            seen.late,
            seen.first,
            seen.last,
            seen.untold - self._untold,
            self._size,
            self._lines,
            seen.notices[self._told :],
        )
        self._told, self._untold, self._size, self._lines = len(seen.notices), seen.untold, 0, 0
        return found

    def batches(self) -> Generator[tuple[_Figures, Sequence[Event]]]:
        """The batches, and at last the figures alone."""
        for events in self._read(self._summary, self):
            yield self.figures(), events
        yield self.figures(), ()


class Lost(Exception):
    """The process that was to read has ended."""


def batches(read: Read, summary: Summary, progress: Progress | None = None) -> Iterator[Sequence[Event]]:
    """What `read` gives, by a process of its own. Raises what it raises."""
    done = 0
    try:
        for figures, events in _taken(read):
            figures.tell(summary, progress)
            if events:
                done += len(events)
                summary.take(events)
                yield events
        return
    except Lost:
        pass
    for figures, events in _Running(read).batches():
        if len(events) < done:
            done -= len(events)
            continue
        # What was told behind the last batch may come once more.
        new = [notice for notice in figures.notices if notice not in summary.notices]
        figures._replace(notices=new).tell(summary, progress)
        rest, done = events[done:] if done else events, 0
        if rest:
            summary.take(rest)
            yield rest


# ---------------------------------------------------------------- the process that reads


def _serve(pipe: Connection, read: Read, inherited: Connection) -> None:
    inherited.close()  # else nobody would notice here that whoever reads at that end was killed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    signal.signal(signal.SIGTERM, _ended)
    reading, packer = _Running(read), _Packer()
    reading.hurry = lambda figures: pipe.send_bytes(packer.packed(figures, ()))
    with suppress(BrokenPipeError):  # nobody wants the rest
        try:
            with closing(reading.batches()) as found:
                for figures, events in found:
                    pipe.send_bytes(packer.packed(figures, events))
            pipe.send_bytes(b"")
        except BrokenPipeError:
            raise
        except YearsError as error:
            pipe.send_bytes(b"Y" + pickle.dumps(error.source))
        except Exception as error:
            pipe.send_bytes(b"E" + portable(error))


def _ended(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)  # so that processes of our own are ended, too


class _Packer:
    """Makes bytes of batches."""

    def __init__(self) -> None:
        self._rules = 0  # how many the other end knows

    def packed(self, figures: _Figures, events: Sequence[Event]) -> bytes:
        notices = pickle.dumps(figures.notices) if figures.notices else b""
        rules: list[Any] = []
        if isinstance(events, tuple | list):
            told: Any = [tuple(event) for event in events]
        else:
            rows: Any = events
            rules = rows.rules[self._rules :]
            self._rules += len(rules)
            told = rows.rows, rows.texts, rows.logs, [tuple(event) for event in rows.objects]
        return b"B" + marshal.dumps((tuple(figures[:-1]), notices, rules, told))


# ---------------------------------------------------------------- the process that judges


def _taken(read: Read) -> Iterator[tuple[_Figures, Sequence[Event]]]:
    """What the other process reads. Raises Lost where it ended before that."""
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    _widen(theirs)
    process = context.Process(target=_serve, args=(theirs, read, ours))
    process.start()
    theirs.close()
    rules: list[Any] = []
    try:
        while True:
            try:
                data = ours.recv_bytes()
            except (EOFError, OSError):
                raise Lost from None
            if not data:
                return
            if data[:1] == b"Y":
                raise YearsError(pickle.loads(data[1:]))
            if data[:1] == b"E":
                raise pickle.loads(data[1:])
            numbers, notices, more, told = marshal.loads(memoryview(data)[1:])
            rules += more
            figures = _Figures._make((*numbers, pickle.loads(notices) if notices else []))
            yield figures, _unpacked(told, rules)
    finally:
        process.terminate()
        ours.close()
        process.join()


def _unpacked(told: Any, rules: list[Any]) -> Sequence[Event]:
    """The events of a batch."""
    if isinstance(told, list):
        return [_new(Event, event) for event in told]
    rows, texts, logs, objects = told
    found = native.choose("sessions", True).Told(rules)
    found.fill(rows, texts, [sys.intern(log) for log in logs], [_new(Event, event) for event in objects])
    events: Sequence[Event] = found
    return events


def _widen(pipe: Connection) -> None:
    """Let more wait in the pipe than the usual 64 KiB, where that may be."""
    with suppress(OSError, AttributeError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _ROOM)
