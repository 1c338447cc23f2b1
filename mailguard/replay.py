"""Recorded logs through the very same loop: what the policy would have done.

Logs merge by each log's running maximum stamp, ties by the log's name, then by place; so the output is the
same whatever the order of the arguments, and the same as that of a guard that had read the lines when they
were written. Nothing is banned and nothing is kept: the firewall records, the ledger forgets.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from .clock import ManualClock
from .core.envelope import Opener
from .core.judge import Judge, Reader
from .core.loop import Loop
from .core.ports import Row
from .core.scanner import Draft
from .feeds.recorded import RecordedLog
from .firewall.recording import Recording
from .model import (
    Alert,
    Ban,
    Block,
    Effect,
    Event,
    Events,
    Impose,
    Item,
    Network,
    Notice,
    Records,
    Request,
)
from .notation import format_network, format_time

BATCH = 4096  # events handed to the judge at once
EDGE = 64  # lines looked at from an end of a log to find one with a stamp

Placed = tuple[float, str, int, Event | Draft]


@dataclass(slots=True)
class Summary:
    """What a replay saw. `first` and `last` are the earliest and latest stamp, None without any."""

    records: int = 0
    events: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    imposed: int = 0
    alerts: int = 0
    first: float | None = None
    last: float | None = None
    notices: list[Notice] = field(default_factory=list)

    def span(self, time: float) -> None:
        """Take a stamp into the span of time."""
        if self.first is None or time < self.first:
            self.first = time
        if self.last is None or time > self.last:
            self.last = time

    def row(self) -> dict[str, Any]:
        """The object of the contract."""
        seconds = 0.0 if self.first is None or self.last is None else self.last - self.first
        return {
            "summary": {
                "records": self.records,
                "events": self.events,
                "by_kind": dict(sorted(self.by_kind.items())),
                "imposed": self.imposed,
                "alerts": self.alerts,
                "seconds": int(seconds) if seconds == int(seconds) else round(seconds, 6),
            }
        }


class Span:
    """Finds the stamps at both ends of one log, without opening the lines between."""

    def __init__(self, summary: Summary):
        self._summary = summary
        self._opener: Opener | None = None
        self._begun = False

    def look(self, item: Block | Records) -> None:
        """The next piece of the log."""
        if isinstance(item, Records):
            for record in (*item.records[:1], *item.records[-1:]):
                self._summary.span(record.time)
            return
        if self._opener is None:
            self._opener = Opener(zone=item.timezone)
        self._opener.arrive(item.arrival, item.live, item.year)
        if not self._begun:
            self._begun = self._first(item)
        self._last(item)

    def _open(self, item: Block, start: int, end: int) -> bool:
        assert self._opener is not None
        opened = self._opener.open(item.data, start, end)
        if opened is None:
            return False
        self._summary.span(opened.time)
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


class Merged:
    """A feed of events from recorded logs, in the one order. It moves the clock to the newest event it hands
    out."""

    def __init__(
        self, logs: Sequence[RecordedLog], judge: Judge, clock: ManualClock | None, summary: Summary
    ):
        self._logs = logs
        self._judge = judge
        self._clock = clock
        self.summary = summary
        streams = [self._stream(log) for log in logs]
        self._events = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_place)

    def _stream(self, log: RecordedLog) -> Iterator[Placed]:
        """The drafts of one log with their place in the order."""
        scanner: Reader = self._judge.scanner
        summary, span = self.summary, Span(self.summary)
        running, number = float("-inf"), 0
        for item in log:
            if isinstance(item, Block):
                summary.records += item.data.count(b"\n", item.start, item.end)
                found = scanner.scan(item)
            elif isinstance(item, Records):
                summary.records += len(item.records)
                found = scanner.scan_records(item)
            else:
                if isinstance(item, Notice):
                    summary.notices.append(item)
                continue
            span.look(item)
            for draft in found:
                time = draft.time if isinstance(draft, Event) else draft.event.time
                if time > running:
                    running = time
                number += 1
                yield running, log.log, number, draft
        summary.records -= log.unterminated

    def next(self, deadline: float | None = None) -> list[Item] | None:
        """The next batch of events; None after the last."""
        drafts: list[Event | Draft] = []
        for _, _, _, draft in self._events:
            drafts.append(draft)
            if len(drafts) == BATCH:
                break
        if not drafts:
            return None
        events = self._judge.sessions.join(drafts)
        summary = self.summary
        for event in events:
            summary.by_kind[event.kind] += 1
            summary.span(event.time)
            if self._clock is not None:
                self._clock.set(event.time)
        summary.events += len(events)
        return [Events(events)]

    def positions(self) -> dict[str, bytes]:
        """Where a live feed goes on after the logs that were read to their end."""
        rows: dict[str, bytes] = {}
        for log in self._logs:
            if log.complete:
                rows.update(log.position())
        return rows


def _place(placed: Placed) -> tuple[float, str, int]:
    return placed[:3]


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
        self.summary.notices.append(notice)

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
    """The effects that `judge` has on `logs`, in order; `summary` is filled on the way and whole at the end.

    The judge decides as its mode says; a rehearsal of the policy wants `judge.enforcing = True`.
    """
    summary = summary if summary is not None else Summary()
    clock = ManualClock()
    feed = Merged(logs, judge, clock, summary)
    teller = Collector(summary)
    loop = Loop(feed, judge, Recording(clock), Forgetful(), clock, teller)
    while loop.step():
        yield from teller.take()


def rows(effects: Iterable[Effect], zone: str = "") -> Iterator[dict[str, Any]]:
    """The objects of the contract, one for each effect. `zone`: in which times are written; empty: this
    host's."""
    moment = _writer(zone)
    for effect in effects:
        yield row(effect, moment)


def row(effect: Effect, moment: Callable[[float], str]) -> dict[str, Any]:
    """One effect as an object; what it has not is null."""
    offence = ban = None
    network: Network | None
    if isinstance(effect, Impose):
        ban, offence, network = effect.ban, effect.ban.offence, effect.ban.network
    elif isinstance(effect, Alert):
        ban, offence, network = effect.would, effect.offence, effect.network
    else:
        network = effect.network
    until = ban.until if ban is not None else None
    return {
        "time": moment(effect.time),
        "effect": type(effect).__name__.lower(),
        "network": None if network is None else format_network(network),
        "detector": offence.detector if offence else None,
        "until": None if until is None else moment(until),
        "ordinal": ban.ordinal if ban else None,
        "count": offence.count if offence else None,
        "first": moment(offence.first) if offence else None,
        "last": moment(offence.last) if offence else None,
        "key": offence.key if offence else None,
    }


def _writer(zone: str) -> Callable[[float], str]:
    if zone:
        named = ZoneInfo(zone)
        return lambda time: format_time(time, named)
    return lambda time: format_time(time, datetime.fromtimestamp(time).astimezone().tzinfo)
