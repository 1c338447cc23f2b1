"""Recorded logs as a feed of events for the loop, and the loop's other neighbours where nothing lasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..clock import ManualClock
from ..core.judge import Judge
from ..core.loop import Loop
from ..core.ports import Row
from ..feeds.recorded import RecordedLog
from ..firewall.recording import Recording
from ..model import Alert, Ban, Block, Effect, Event, Events, Impose, Item, Notice, Records, Request
from .merging import Chunk, Drafted, Stream, merge, running, times_of
from .span import Span
from .summary import Summary

BATCH = 512  # events handed to the judge at once, still in the processor's cache


class Merged:
    """A feed of events from recorded logs, in the one order. It moves the clock to the newest event it
    hands out."""

    def __init__(
        self, logs: Sequence[RecordedLog], judge: Judge, clock: ManualClock | None, summary: Summary
    ):
        self._logs = logs
        self._judge = judge
        self._clock = clock
        self.summary = summary
        self._drafts = merge([Stream(log.log, self._chunks(log), log.begins) for log in logs], BATCH)

    def _chunks(self, log: RecordedLog) -> Iterator[Chunk]:
        """The drafts of one log with their place in the order."""
        scanner = self._judge.scanner
        summary, span = self.summary, Span(self.summary)
        newest = float("-inf")
        for item in log:
            found: list[Drafted]
            if isinstance(item, Block):
                summary.records += item.data.count(b"\n", item.start, item.end)
                found = scanner.scan(item)
            elif isinstance(item, Records):
                summary.records += len(item.records)
                found = scanner.scan_records(item)
            else:
                if isinstance(item, Notice):
                    summary.notice(item)
                continue
            times = times_of(found)
            span.look(item, max(times, default=0.0))
            if found:
                stamps = running(times, newest)
                newest = stamps[-1]
                yield Chunk(stamps, found)
        summary.records -= log.unterminated

    def next(self, deadline: float | None = None) -> list[Item] | None:
        """The next batch of events; None after the last."""
        drafts = next(self._drafts, None)
        if drafts is None:
            events = self._judge.sessions.flush()
            if not events:
                return None
        else:
            events = self._judge.sessions.join(drafts)
        self.summary.take(events)
        if self._clock is not None and events:
            self._clock.set(max([event[1] for event in events]))
        return [Events(events)]

    def positions(self) -> dict[str, bytes]:
        """Where a live feed goes on after the logs that were read to their end."""
        rows: dict[str, bytes] = {}
        for log in self._logs:
            if log.complete:
                rows.update(log.position())
        return rows


class Forgetful:
    """A ledger that keeps nothing."""

    trouble = ""
    busy = True  # a checkpoint would only cost time: there is nothing to go on with
    behind = dropped = 0

    def record(self, effects: Sequence[Effect]) -> None: ...

    def evidence(self, events: Iterable[Event]) -> None: ...

    def checkpoint(self, rows: Iterable[Row], positions: Mapping[str, bytes]) -> None: ...

    def tick(self, monotonic: float) -> None: ...

    def settle(self, timeout: float = 0.0) -> bool:
        return True

    def due(self, now: float) -> list[Ban]:
        return []


class Collector:
    """A teller that keeps what it is told until somebody takes it."""

    def __init__(self, summary: Summary):
        self.summary = summary
        self._effects: list[Effect] = []

    def effects(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Impose):
                self.summary.imposed += 1
            elif isinstance(effect, Alert):
                self.summary.alerts += 1
        self._effects += effects

    def take(self) -> list[Effect]:
        taken, self._effects = self._effects, []
        return taken

    def notice(self, notice: Notice) -> None:
        self.summary.notice(notice)

    def answer(self, request: Request, now: float) -> dict[str, Any]:
        return {"ok": False}

    def asked(
        self, request: Request, effects: Sequence[Effect], answer: dict[str, Any], now: float
    ) -> dict[str, Any]:
        return answer

    def watch(self, items: Sequence[Item], now: float) -> list[Notice]:
        return []

    def next_deadline(self) -> float | None:
        return None


def replay(logs: Sequence[RecordedLog], judge: Judge, summary: Summary | None = None) -> Iterator[Effect]:
    """The effects that `judge` has on `logs`, in order; `summary` is filled on the way and whole at the
    end.

    The judge decides as its mode says; a rehearsal of the policy wants `judge.enforcing = True`.
    """
    summary = summary if summary is not None else Summary()
    clock = ManualClock()
    feed = Merged(logs, judge, clock, summary)
    teller = Collector(summary)
    loop = Loop(feed, judge, Recording(clock), Forgetful(), clock, teller)
    while loop.step():
        yield from teller.take()
