"""What a report tells of all events and a timeline does not keep: volume over time, sources, accounts.

Owns bounded counters. Limits: `SOURCES` sources and `ACCOUNTS` names are kept; when there are more, the half
that did least is forgotten, counted, and their figures stay in those of their networks. Times are kept by
the minute, over long spans by the quarter of an hour (which all zones share).
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..model import HOSTILE, Event, Network
from ..notation import V6, network_of
from ..replay.timeline import LANES, kinds_of, total

SOURCES = 100_000
ACCOUNTS = 50_000
MINUTES = (
    6000  # beyond that many different ones (half a day of all kinds) time is kept by the quarter of an hour
)
NAME = 128  # characters of an account's name
_FINE, _COARSE = 60, 900
TOLD_APART = 64  # different sources of an account


class Volume(NamedTuple):
    """Hostile events of one kind over equal stretches of time, and how many of them came under a ban."""

    kind: str
    events: list[int]
    stopped: list[int]


@dataclass(slots=True)
class Source:
    """What a source or network did."""

    events: int
    first: float
    last: float
    kinds: Counter[str]
    sources: int = 1


@dataclass(slots=True)
class Account:
    """What was tried on an account."""

    name: str
    failures: int
    sources: set[int]
    last: float
    logins: int = 0


# places in what is kept of a source: packed counters by kind, see `replay.timeline`
_KINDS, _SINCE, _UNTIL = range(3)
# places in what is kept of an account
_FAILURES, _FROM, _LATEST = range(3)
_Kept = list[Any]


class Watcher:
    """Takes every batch of events. With `stops` it keeps all that a page tells, and the timeline tells which
    events were stopped; without, only the volume over time."""

    def __init__(self, stops: bool = True) -> None:
        self.stops = stops
        self.forgotten = 0  # sources
        self.names_forgotten = 0
        self._size = _FINE
        self._volume: Counter[tuple[str, float]] = Counter()
        self._stopped: Counter[tuple[str, float]] = Counter()
        self._sources: dict[int, _Kept] = {}
        self._networks: dict[Network, Source] = {}
        self._accounts: dict[str, _Kept] = {}
        self._logins: dict[str, int] = {}

    def take(self, events: Sequence[Event]) -> None:
        """The next batch."""
        size, volume = self._size, self._volume
        hostile = [event for event in events if event[0] in HOSTILE]
        volume.update([(event[0], event[1] // size) for event in hostile])
        if len(volume) > MINUTES and size == _FINE:
            self._coarsen()
        if not self.stops:
            return
        self._attackers(hostile)
        for event in events:
            if event[0] == "auth_success":
                self._login(event[5].get("user", ""))
        if len(self._sources) > SOURCES:
            self._forget()
        if len(self._accounts) > ACCOUNTS:
            self._forget_names()

    def stopped(self, kind: str, time: float) -> None:
        """A hostile event came under a ban."""
        self._stopped[kind, time // self._size] += 1

    # ------------------------------------------------------------ counting

    def _attackers(self, events: Sequence[Event]) -> None:
        sources, accounts = self._sources, self._accounts
        for kind, time, source, _, _, fields, _, _, _, _, _, _ in events:
            if source is None:
                continue
            key = source if source < V6 else source >> 64 << 64
            kept = sources.get(key)
            if kept is None:
                sources[key] = [LANES[kind], time, time]
            else:
                kept[_KINDS] += LANES[kind]
                if time > kept[_UNTIL]:
                    kept[_UNTIL] = time
                elif time < kept[_SINCE]:
                    kept[_SINCE] = time
            if kind == "auth_failure" and (name := fields.get("user", "")[:NAME]):
                tried = accounts.get(name)
                if tried is None:
                    accounts[name] = [1, {key}, time]
                    continue
                tried[_FAILURES] += 1
                if time > tried[_LATEST]:
                    tried[_LATEST] = time
                if len(tried[_FROM]) < TOLD_APART:
                    tried[_FROM].add(key)

    def _login(self, user: str) -> None:
        name = user[:NAME]
        if name and (name in self._logins or len(self._logins) < ACCOUNTS):
            self._logins[name] = self._logins.get(name, 0) + 1

    def _coarsen(self) -> None:
        for counter in (self._volume, self._stopped):
            fine = dict(counter)
            counter.clear()
            for (kind, minute), count in fine.items():
                counter[kind, minute * _FINE // _COARSE] += count
        self._size = _COARSE

    def _forget(self) -> None:
        kept = heapq.nlargest(
            SOURCES // 2, self._sources.items(), key=lambda one: (total(one[1][_KINDS]), -one[0])
        )
        left, self._sources = self._sources, dict(kept)
        for key, source in left.items():
            if key not in self._sources:
                _fold(self._networks, key, _source(source))
        self.forgotten += len(left) - len(kept)

    def _forget_names(self) -> None:
        ranked = heapq.nlargest(
            ACCOUNTS // 2, self._accounts.items(), key=lambda one: (one[1][_FAILURES], one[0])
        )
        self.names_forgotten += len(self._accounts) - len(ranked)
        self._accounts = dict(ranked)

    # ------------------------------------------------------------ answers

    def volumes(self, edges: Sequence[float]) -> list[Volume]:
        """For each kind that came, most frequent first, its events between the edges."""
        found: dict[str, Volume] = {}
        for (kind, number), count in self._volume.items():
            volume = found.get(kind)
            if volume is None:
                volume = found[kind] = Volume(kind, [0] * (len(edges) - 1), [0] * (len(edges) - 1))
            volume.events[self._place(number, edges)] += count
        for (kind, number), count in self._stopped.items():
            found[kind].stopped[self._place(number, edges)] += count
        return sorted(found.values(), key=lambda one: (-sum(one.events), one.kind))

    def _place(self, number: float, edges: Sequence[float]) -> int:
        return min(len(edges) - 2, max(0, bisect_right(edges, number * self._size) - 1))

    def sources(self, most: int) -> list[tuple[int, Source]]:
        """The sources that did most, by key."""
        ranked = heapq.nsmallest(
            most, self._sources.items(), key=lambda one: (-total(one[1][_KINDS]), one[0])
        )
        return [(key, _source(kept)) for key, kept in ranked]

    def networks(self, most: int) -> list[tuple[Network, Source]]:
        """The networks (/24, /48) that did most."""
        found = {
            network: Source(one.events, one.first, one.last, one.kinds.copy(), one.sources)
            for network, one in self._networks.items()
        }
        for key, source in self._sources.items():
            _fold(found, key, _source(source))
        return heapq.nsmallest(most, found.items(), key=lambda one: (-one[1].events, one[0]))

    def accounts(self, most: int) -> list[Account]:
        """The accounts on which most logins failed, each with how often somebody did log in."""
        ranked = heapq.nsmallest(most, self._accounts.items(), key=lambda one: (-one[1][_FAILURES], one[0]))
        return [
            Account(name, kept[_FAILURES], kept[_FROM], kept[_LATEST], self._logins.get(name, 0))
            for name, kept in ranked
        ]


def _source(kept: _Kept) -> Source:
    kinds = Counter(kinds_of(kept[_KINDS]))
    return Source(kinds.total(), kept[_SINCE], kept[_UNTIL], kinds)


def _fold(networks: dict[Network, Source], key: int, source: Source) -> None:
    network = network_of(key, 24, 48)
    found = networks.get(network)
    if found is None:
        networks[network] = Source(source.events, source.first, source.last, source.kinds.copy())
        return
    found.events += source.events
    found.sources += 1
    found.first, found.last = min(found.first, source.first), max(found.last, source.last)
    found.kinds.update(source.kinds)
