"""A rehearsal: logs are read once, and one policy or several are tried on them."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from ..core import native
from ..core.engine import Engine
from ..core.growth import Growth
from ..core.joined import Joined
from ..core.rules import Parser
from ..feeds.interface import LogOptions
from ..model import Event, Notice
from .cutting import PIECE, whole_year
from .reading import Progress, Reading, YearsError
from .shutouts import Shutouts
from .sources import STDIN, Source
from .summary import Summary
from .trial import Trial
from .workers import Definitions, Executor, Here


class Watch(Protocol):
    """Who sees every event that is judged. Where it wants `stops`, it hears too which of them the first
    trial's bans stopped; that takes time."""

    stops: bool

    def take(self, events: Sequence[Event]) -> None: ...

    def stopped(self, kind: str, time: float) -> None: ...


@dataclass
class Rehearsal:
    """What is read and who is tried. `make`: an engine for each trial, made anew when all is begun anew.

    `since`, `until`: only events from the one stamp up to the other are judged. `workers`: processes that
    parse; None: as many as there are cores.
    """

    sources: list[Source]
    parsers: Sequence[Parser]
    make: Sequence[Callable[[], Engine]]
    options: LogOptions = field(default_factory=LogOptions)
    workers: int | None = None
    prefilter: str = "auto"
    since: float | None = None
    until: float | None = None
    grow: Callable[[Engine], Growth | None] | None = None  # who watches over what grows; None: nobody
    shutouts: Shutouts = field(default_factory=Shutouts)
    progress: Progress | None = None
    executor: Executor | None = None  # another one than processes of this host; the caller closes it
    watch: Callable[[], Watch] | None = None  # makes who watches, anew when all is begun anew
    watched: Watch | None = None
    trials: list[Trial] = field(default_factory=list)
    summary: Summary = field(default_factory=Summary)
    interrupted: bool = False
    piece: int = PIECE  # bytes that are parsed at once
    told: list[Notice] = field(default_factory=list)  # what was said about the files before they were read

    def run(self) -> None:
        """Read everything. Ctrl-C ends it early: then `interrupted` is set and what was found so far
        counts.

        Raises OSError when a log cannot be opened."""
        counted: frozenset[str] = frozenset()
        with calm():
            try:
                while True:
                    try:
                        self._once(counted)
                        break
                    except YearsError as error:
                        counted |= {error.source.path}
                        self._count_years(error.source)
            except KeyboardInterrupt:
                self.interrupted = True
            for trial in self.trials:
                trial.close(self.shutouts, self.summary.last)

    def batches(self) -> Iterator[list[Event]]:
        """The events, in order, without trying anybody (for who writes or counts them)."""
        counted: frozenset[str] = frozenset()
        for source in [one for one in self.sources if one.yearless and one.year is None]:
            self._count_years(source)
            counted |= {source.path}
        self.summary = Summary(notices=list(self.told))
        yield from map(list, self._read(counted))

    def _once(self, counted: frozenset[str]) -> None:
        self.trials = [self._trial(make()) for make in self.make]
        self.summary = Summary(notices=list(self.told))
        watched = self.watched = None if self.watch is None else self.watch()
        if watched is not None and watched.stops:
            self.trials[0].timeline.tell_stopped = watched.stopped
        for events in self._read(counted):
            if watched is not None:
                watched.take(events)
            for trial in self.trials:
                trial.take(events)

    def _trial(self, engine: Engine) -> Trial:
        return Trial(engine, None if self.grow is None else self.grow(engine))

    def _read(self, counted: frozenset[str]) -> Iterator[Sequence[Event]]:
        """The batches, read by as many processes as there are."""
        make = Definitions(self.parsers, self.prefilter)
        here = Here(make)
        workers = self._workers()
        if self.executor is not None or workers < 2:
            executor = self.executor or here
            yield from self._reading(executor, here, counted, self.summary, self.progress).batches()
            return
        from . import beside  # one process needs none of it
        from .processes import Processes

        if beside.possible() and all(one.form != STDIN for one in self.sources):

            def read(summary: Summary, progress: Progress) -> Iterator[Sequence[Event]]:
                executor = Processes(make, workers - 1) if workers > 2 else here
                try:
                    yield from self._reading(executor, here, counted, summary, progress).batches()
                finally:
                    executor.close()

            yield from beside.batches(read, self.summary, self.progress)
            return
        processes = Processes(make, workers)
        try:
            yield from self._reading(processes, here, counted, self.summary, self.progress).batches()
        finally:
            processes.close()

    def _reading(
        self,
        executor: Executor,
        here: Executor,
        counted: frozenset[str],
        summary: Summary,
        progress: Progress | None,
    ) -> Reading:
        return Reading(
            self.sources,
            self.options,
            executor,
            here,
            Joined(self.parsers, track=False),
            summary,
            progress,
            counted,
            self.piece,
            self._between,
        )

    def _workers(self) -> int:
        """How many processes read and judge; 1: this one alone, or with the executor it was given."""
        if self.executor is not None:
            return 1
        if self.workers is not None:
            return self.workers
        size = sum(source.size for source in self.sources)
        return 1 if size < _SMALL else len(os.sched_getaffinity(0))

    def _between(self, events: Sequence[Event]) -> Sequence[Event]:
        since, until = self.since, self.until
        if (since is not None or until is not None) and hasattr(events, "rows"):
            begin, end = -inf if since is None else since, inf if until is None else until
            kept: Sequence[Event] = native.choose("sessions", True).between(events, begin, end)
            return kept
        if since is not None:
            events = [event for event in events if event[1] >= since]
        if until is not None:
            events = [event for event in events if event[1] < until]
        return events

    def _count_years(self, source: Source) -> None:
        """Find the first year of a log that spans more than one; where that cannot be told, it is said."""
        year = whole_year(source, self.options)
        at = self.sources.index(source)
        if year is None:
            return
        self.told = [*self.told, Notice("log-years", {"log": source.path, "year": year})]
        self.sources = [*self.sources]
        self.sources[at] = source._replace(year=year, first=None)


_SMALL = 8 << 20  # bytes that are read before a second process would have begun


@contextmanager
def calm() -> Iterator[None]:
    """Millions of events are made and none is part of a circle: the collector seldom needs to look."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.freeze()  # what is new counts as old: else the next new object would have all of it looked at
        gc.unfreeze()
