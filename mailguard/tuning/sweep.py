"""Tries settings on recorded logs: read once, judged many times, by several processes.

Whoever can do it quickly does (`quick`); what that leaves is replayed. A process that dies owes nothing: what
it was at is tried here.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from ..core.engine import Engine, Setup
from ..model import Event
from ..replay import written
from ..replay.rehearsal import Rehearsal, calm
from ..replay.shutouts import Shutouts
from ..replay.sources import STDIN
from ..replay.summary import Summary
from ..replay.trial import Trial
from .measures import Measures, of_trial
from .quick import Quick

#: Place, figures, and whether it was replayed.
Tried = tuple[int, Measures, bool]


@dataclass(frozen=True, slots=True)
class Task:
    """One setting to try; `detector` is the one that is tuned."""

    setup: Setup
    detector: str


@dataclass
class Sweep:
    """`rehearsed` reads the logs and tries nobody itself. `workers`: None: as many as there are cores."""

    rehearsed: Rehearsal
    tasks: Sequence[Task]
    workers: int | None = None
    native: bool | None = None
    done: dict[int, Measures] = field(default_factory=dict)  # by place in `tasks`
    replayed: int = 0  # how many were replayed one by one
    interrupted: bool = False
    advance: Callable[[int], None] | None = None  # told how many are done
    _quick: Quick | None = None
    _kept: list[list[Event]] | None = None

    def read(self) -> Summary:
        """Read the logs; what was seen. Ctrl-C sets `interrupted`. Raises OSError."""
        quick = self._quick = Quick([task.setup for task in self.tasks], self.native)
        again = all(source.form != STDIN for source in self.rehearsed.sources)
        self._kept = None if again and not quick.why_not else []
        try:
            with calm():
                if not quick.why_not and written.can_be_taken(self.rehearsed):
                    self._take_columns(quick)
                else:
                    self._take_events(quick)
        except KeyboardInterrupt:
            self.interrupted = True
        quick.close()
        return self.rehearsed.summary

    def _take_events(self, quick: Quick) -> None:
        for events in self.rehearsed.batches():
            quick.take(events)
            if self._kept is not None:
                self._kept.append(events)

    def _take_columns(self, quick: Quick) -> None:
        """Of a file of events no event is made."""
        written.take(self.rehearsed, quick.fields(), quick.take_columns)
        summary = self.rehearsed.summary
        if summary.events:
            for stamp in quick.span:
                summary.span(stamp)

    def run(self) -> None:
        """Try every setting, in order; `read` was called. Ctrl-C sets `interrupted`: what is done stays."""
        workers = self.workers if self.workers is not None else len(os.sched_getaffinity(0))
        workers = min(workers, len(self.tasks))
        found = self._here(range(len(self.tasks))) if workers <= 1 else self._forked(workers)
        try:
            for place, measures, replayed in found:
                self.done[place] = measures
                self.replayed += replayed
                if self.advance is not None:
                    self.advance(len(self.done))
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            found.close()

    @property
    def why_not(self) -> str:
        """Why nothing can be tried the quick way, see `Quick`; empty: it can."""
        return self._quick.why_not if self._quick is not None else ""

    # ------------------------------------------------------------ one setting

    def measure(self, place: int) -> tuple[int, Measures, bool]:
        """The figures of one setting, and whether it was replayed."""
        task = self.tasks[place]
        measures = self._quick.measure(task.setup, task.detector) if self._quick is not None else None
        if measures is not None:
            return place, measures, False
        trial = Trial(Engine(task.setup, self.native))
        summary = Summary()
        with calm():
            for events in self._events():
                trial.take(events)
                summary.take(events)
        trial.close(Shutouts(), summary.last)
        return place, of_trial(trial, summary, task.detector), True

    def _events(self) -> Iterator[list[Event]]:
        """The events once more."""
        if self._kept is not None:
            return iter(self._kept)
        return replace(self.rehearsed, workers=1, progress=None, executor=None).batches()

    # ------------------------------------------------------------ all of them

    def _here(self, places: Sequence[int]) -> Generator[Tried, None, None]:
        for place in places:
            yield self.measure(place)

    def _forked(self, workers: int) -> Generator[Tried, None, None]:
        """From processes that inherit what was read; each asks for the next setting when it has done one."""
        if "fork" not in multiprocessing.get_all_start_methods():
            yield from self._here(range(len(self.tasks)))
            return
        context: Any = multiprocessing.get_context("fork")
        waiting = list(range(len(self.tasks) - 1, -1, -1))
        at: dict[Connection, int | None] = {}
        processes = []
        try:
            for _ in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=self._serve, args=(theirs, [*at, ours]), daemon=True)
                process.start()
                theirs.close()
                processes.append(process)
                at[ours] = None
                _hand(ours, waiting, at)
            while at:
                for pipe in list(wait(list(at))):
                    assert isinstance(pipe, Connection)
                    place = at[pipe]
                    try:
                        kind, answer = pickle.loads(pipe.recv_bytes())
                    except (EOFError, OSError):
                        del at[pipe]
                        if place is not None:
                            yield self.measure(place)
                        continue
                    if kind == "error":
                        raise answer
                    yield answer
                    _hand(pipe, waiting, at)
            for place in reversed(waiting):  # every process is gone
                yield self.measure(place)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
            for pipe in at:
                pipe.close()

    def _serve(self, pipe: Connection, inherited: Sequence[Connection]) -> None:
        """A process: places in, figures out, until there are no more. `inherited`: other ends that it has; as
        long as one is open, nobody would notice that their owner was killed."""
        for one in inherited:
            one.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with suppress(EOFError, OSError):
            while True:
                place = pickle.loads(pipe.recv_bytes())
                if place is None:
                    return
                try:
                    answer = "done", self.measure(place)
                except Exception as error:
                    told = RuntimeError(f"{type(error).__name__}: {error}")
                    answer = "error", told  # type: ignore[assignment]
                pipe.send_bytes(pickle.dumps(answer))


def _hand(pipe: Connection, waiting: list[int], at: dict[Connection, int | None]) -> None:
    """Give the process at the other end something to do; or let it go."""
    place = waiting.pop() if waiting else None
    at[pipe] = place
    with suppress(OSError):  # it is gone: the next look finds that out
        pipe.send_bytes(pickle.dumps(place))
    if place is None:
        del at[pipe]
        pipe.close()


def tasks_of(setup: Setup, detectors: Sequence[Any], name: str) -> list[Task]:
    """The tasks that try each of these in the place of the detector `name`."""
    return [
        Task(
            replace(setup, detectors=[one if found.name == name else found for found in setup.detectors]),
            name,
        )
        for one in detectors
    ]
