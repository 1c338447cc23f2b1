"""The ledger for a loop that must not wait: what is to be written stands in a queue, in order.

A thread writes (`threaded`), or the caller's own calls do (replay, tests); the order and the outcome are the
same. Writing may take as long as the disk likes, and it may fail: the job at the head is tried again until it
works, so nothing is lost and nothing is written out of order. Killed before it was written, a job leaves no
trace: the positions in the logs are in the same queue, behind the effects that they led to.

The thread lets jobs gather for a moment and writes them together: of a source that knocks hundreds of times a
second its newest lines, of a key that changes all the time its last value, and one commit. Whoever asks
(`settle`) waits for all that stands in the queue.

Owns: the queue. Limits: `most` effects in it; beyond that alerts go first, then the oldest, and `dropped`
counts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..model import Alert, Ban, Changes, Effect, Event, Impose, Lift, Network, Part
from . import native
from .store import LedgerError

Row = tuple[str, bytes, bytes | None]
_DROP_AT_ONCE = 1000
#: Seconds that jobs gather before they are written, and checkpoints that may wait at most. (0.1 s cost the
#: thread half as much again: a commit writes whole pages, and in a longer time more keys change twice.)
GATHER, MOST_CHECKPOINTS = 0.3, 64
#: Nanoseconds of a turn that the thread asks the scheduler for. Who is woken goes before a thread with longer
#: turns than its own, but waits for others to the next tick of the clock, up to 4 ms: the judge, with a line
#: that decides, behind this thread on the same processor.
TURN = 20_000_000


@dataclass(slots=True)
class _Job:
    """Lines, then effects, then the checkpoint if it has one, then other work."""

    events: list[Event]
    effects: list[Effect] = field(default_factory=list)
    rows: Changes | None = None
    positions: dict[str, bytes] = field(default_factory=dict)
    work: Callable[[], None] | None = None


class Target(Protocol):
    """What a writer writes to: `Ledger` is one. Each call is all or nothing and raises LedgerError."""

    def record(self, effects: Sequence[Effect]) -> None: ...

    def evidence(self, events: Iterable[Event]) -> None: ...

    def checkpoint(self, rows: Iterable[Row], positions: Mapping[str, bytes]) -> None: ...

    def due(self, now: float) -> list[Ban]: ...


class Writer:
    """Writes to a ledger, in order, sooner or later."""

    def __init__(
        self,
        ledger: Target,
        *,
        threaded: bool = True,
        most: int = 100_000,
        retry_first: float = 0.25,
        retry_longest: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        """Seconds between tries after a failure grow from `retry_first` to `retry_longest`."""
        self.ledger = ledger
        #: Sees the hostile events too.
        self.watch: Callable[[Sequence[Event]], None] | None = None
        self.trouble = ""  # why it cannot write; empty: it can
        self.dropped = 0  # effects that will never be written
        self.behind = 0  # effects that wait
        self._checkpoints = 0  # of them
        self.retry_at: float | None = None
        self._most = most
        self._first, self._longest, self._pause = retry_first, retry_longest, 0.0
        self._monotonic = monotonic
        self._events: list[Event] = []
        self._queue: deque[_Job] = deque()
        self._change = threading.Condition()
        self._ending = False
        self._hurry = False  # write what waits without letting more gather
        self._in_work = 0  # jobs at the head that are being written
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True) if threaded else None
        if self._thread is not None:
            self._thread.start()

    # ------------------------------------------------------------ the loop's side

    def evidence(self, events: Iterable[Event]) -> None:
        """Lines for the next effects or checkpoint; wakes nobody."""
        events = list(events)
        if self.watch is not None:
            self.watch(events)
        self._events += events

    def record(self, effects: Sequence[Effect]) -> None:
        """Write effects down, soon."""
        self._put(_Job(self._events, list(effects)))

    @property
    def busy(self) -> bool:
        """No further checkpoint now: too many wait, or one cannot be written."""
        return self._checkpoints >= MOST_CHECKPOINTS or (self._checkpoints > 0 and bool(self.trouble))

    def checkpoint(self, rows: Iterable[Row], positions: Mapping[str, bytes]) -> None:
        """Write what changed and how far the logs were read, soon; not while `busy`."""
        rows = rows if isinstance(rows, Changes) else Changes(rows)
        self._put(_Job(self._events, [], rows, dict(positions)))

    def later(self, work: Callable[[], None]) -> None:
        """Do other work on the ledger in its turn (named values, tidying); LedgerError has it done again."""
        self._put(_Job(self._events, work=work))

    def _put(self, job: _Job) -> None:
        self._events = []
        with self._change:
            self.behind += len(job.effects)
            self._checkpoints += job.rows is not None
            self._queue.append(job)
            if self.behind > self._most:
                self._drop()
            if job.work is not None:
                self._hurry = True
            if self._hurry or len(self._queue) == 1:
                self._change.notify_all()
        if self._thread is None and self.retry_at is None:
            self._write_all()

    def tick(self, monotonic: float) -> None:
        """Try again what failed, when it is time; a thread does that by itself."""
        if self._thread is None and self.retry_at is not None and monotonic >= self.retry_at:
            self._write_all()

    def settle(self, timeout: float = 2.0) -> bool:
        """Wait until everything is written; False when it is not after `timeout` seconds, or is in
        trouble."""
        if self._thread is None:
            if self.retry_at is None:
                self._write_all()
            return not self._queue
        end = time.monotonic() + timeout
        with self._change:
            self._hurry = True
            self._change.notify_all()
            while self._queue:
                left = end - time.monotonic()
                if left <= 0 or self.trouble:
                    return False
                self._change.wait(left)
        return True

    def due(self, now: float) -> list[Ban]:
        """Every ban that must stand: those of the ledger, corrected by what waits to be written."""
        self.settle()
        with self._change:
            waiting = [effect for job in self._queue for effect in job.effects]
        bans = self.ledger.due(now)
        if not waiting:
            return bans
        standing: dict[tuple[Network, str], Ban] = {(ban.network, ban.scope): ban for ban in bans}
        for effect in waiting:
            if isinstance(effect, Impose):
                standing[effect.ban.network, effect.ban.scope] = effect.ban
            elif isinstance(effect, Lift):
                standing.pop((effect.network, effect.scope), None)
        return list(standing.values())

    def close(self, timeout: float = 10.0) -> bool:
        """Write what waits, then end; False when it could not all be written."""
        self.settle(timeout)
        with self._change:
            self._ending = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                return False  # the disk hangs
            self._thread = None
        self._ending = False
        self._write_all()  # once more, if there was trouble
        return not self._queue

    def _drop(self) -> None:
        """Make room: alerts first, from the oldest on, then the oldest effects. Those at the head may be in
        work."""
        waiting = [job for job in list(self._queue)[max(1, self._in_work) :] if job.effects]
        excess = self.behind - self._most + min(_DROP_AT_ONCE, self._most // 10)
        for alerts in (True, False):
            for job in waiting:
                kept: list[Effect] = []
                for effect in job.effects:
                    if excess > 0 and (not alerts or isinstance(effect, Alert)):
                        excess -= 1
                        self.behind -= 1
                        self.dropped += 1
                    else:
                        kept.append(effect)
                job.effects = kept

    # ------------------------------------------------------------ the writing side

    def _run(self) -> None:
        if (compiled := native.load()) is not None:
            compiled.unhurried(TURN)
        while True:
            with self._change:
                while not self._queue and not self._ending:
                    self._change.wait()
                end = time.monotonic() + GATHER
                while not (self._hurry or self._ending) and (left := end - time.monotonic()) > 0:
                    self._change.wait(left)
                if self._ending:
                    return
                self._hurry = False
            self._write_all()
            if self.retry_at is not None:
                with self._change:
                    self._change.wait_for(lambda: self._ending, max(0.0, self.retry_at - self._monotonic()))

    def _write_all(self) -> None:
        while True:
            with self._change:
                if not self._queue or self._ending:
                    return
                jobs = self._together()
                self._in_work = len(jobs)
            try:
                self._write(jobs)
            except LedgerError as error:
                self._pause = self._first if not self.trouble else min(self._pause * 2, self._longest)
                self.retry_at = self._monotonic() + self._pause
                self.trouble = str(error)
                with self._change:
                    self._in_work = 0
                    self._change.notify_all()
                return
            with self._change:
                self._in_work = 0
                for job in jobs:
                    self._queue.popleft()
                    self.behind -= len(job.effects)
                    self._checkpoints -= job.rows is not None
                self.trouble, self.retry_at = "", None
                self._change.notify_all()

    def _together(self) -> list[_Job]:
        """The jobs to be done at once: those up to the last checkpoint before other work. What stands behind
        it must not be written with it: the lines of those jobs come after its positions."""
        jobs: list[_Job] = []
        end = 0
        for job in self._queue:
            jobs.append(job)
            if job.work is not None:
                end = end or len(jobs)
                break
            if job.rows is not None:
                end = len(jobs)
        return jobs[: end or len(jobs)]

    def _write(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if job.events:
                events, job.events = job.events, []
                self.ledger.evidence(events)
        effects = [effect for job in jobs for effect in job.effects]
        if effects:
            self.ledger.record(effects)
        last = jobs[-1]
        if last.rows is not None:
            checkpoints = [job.rows for job in jobs if job.rows is not None]
            rows = last.rows if len(checkpoints) == 1 else latest(checkpoints)
            self.ledger.checkpoint(rows, last.positions)
        if last.work is not None:
            last.work()


def latest(checkpoints: Sequence[Changes]) -> Changes:
    """The rows of several checkpoints, of each key the last one; no order among keys. What was handed in may
    be changed, but says the same if it is handed in once more, with others behind it."""
    plain = {row[0] for one in checkpoints for row in one.rows}
    parts: dict[tuple[str, bytes], Part] = {}
    for one in checkpoints:
        for part in one.parts:
            if part.table in plain:  # which of them came last is to be seen from each row
                return Changes({(row[0], row[1]): row for one in checkpoints for row in one}.values())
            before = parts.setdefault((part.table, part.prefix), part)
            if before is not part:
                before.values.update(part.values)  # type: ignore[arg-type]
    return Changes(_latest([one.rows for one in checkpoints]), parts.values())


def _latest(checkpoints: list[list[Row]]) -> list[Row]:
    """The same of rows. The compiled twin is `native/keep.pyx`."""
    if (compiled := native.load()) is not None:
        rows: list[Row] = compiled.latest(checkpoints)
        return rows
    return list({(row[0], row[1]): row for rows in checkpoints for row in rows}.values())
