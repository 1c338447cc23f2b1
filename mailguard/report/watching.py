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
from typing import NamedTuple

from ..model import HOSTILE, Event, Network
from ..notation import V6, network_of

SOURCES = 100_000
ACCOUNTS = 50_000
MINUTES = (
    6000  # beyond that many different ones (half a day of all kinds) time is kept by the quarter of an hour
)
NAME = 128  # characters of an account's name
_FINE, _COARSE = 60, 900
_FROM = 64  # different sources of an account that are told apart


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


class Watcher:
    """Takes every batch of events; where `stops`, the timeline tells which were stopped."""

    def __init__(self, stops: bool = True) -> None:
        self.stops = stops
        self.forgotten = 0  # sources
        self.names_forgotten = 0
        self._size = _FINE
        self._volume: Counter[tuple[str, int]] = Counter()
        self._stopped: Counter[tuple[str, int]] = Counter()
        self._sources: dict[int, Source] = {}
        self._networks: dict[Network, Source] = {}
        self._accounts: dict[str, Account] = {}
        self._logins: dict[str, int] = {}

    def take(self, events: Sequence[Event]) -> None:
        """The next batch."""
        volume, size = self._volume, self._size
        for kind, time, source, _, _, fields, _, _, _, _, _, _ in events:
            if kind not in HOSTILE:
                if kind == "auth_success":
                    self._login(fields.get("user", ""))
                continue
            volume[kind, int(time // size)] += 1
            if source is None:
                continue
            key = source if source < V6 else source >> 64 << 64
            self._hostile(key, kind, time)
            if kind == "auth_failure":
                self._failed(fields.get("user", "")[:NAME], key, time)
        if len(volume) > MINUTES and size == _FINE:
            self._coarsen()
        if len(self._sources) > SOURCES:
            self._forget()
        if len(self._accounts) > ACCOUNTS:
            self._forget_names()

    def stopped(self, kind: str, time: float) -> None:
        """A hostile event came under a ban."""
        self._stopped[kind, int(time // self._size)] += 1

    # ------------------------------------------------------------ counting

    def _hostile(self, key: int, kind: str, time: float) -> None:
        found = self._sources.get(key)
        if found is None:
            self._sources[key] = Source(1, time, time, Counter((kind,)))
            return
        found.events += 1
        found.kinds[kind] += 1
        if time > found.last:
            found.last = time
        elif time < found.first:
            found.first = time

    def _failed(self, name: str, key: int, time: float) -> None:
        if not name:
            return
        account = self._accounts.get(name)
        if account is None:
            self._accounts[name] = Account(name, 1, {key}, time)
            return
        account.failures += 1
        account.last = max(account.last, time)
        if len(account.sources) < _FROM:
            account.sources.add(key)

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
        kept = heapq.nlargest(SOURCES // 2, self._sources.items(), key=lambda one: (one[1].events, -one[0]))
        left = self._sources
        self._sources = dict(kept)
        for key, source in left.items():
            if key not in self._sources:
                _fold(self._networks, key, source)
        self.forgotten += len(left) - len(kept)

    def _forget_names(self) -> None:
        kept = heapq.nlargest(
            ACCOUNTS // 2, self._accounts.items(), key=lambda one: (one[1].failures, one[0])
        )
        self.names_forgotten += len(self._accounts) - len(kept)
        self._accounts = dict(kept)

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

    def _place(self, number: int, edges: Sequence[float]) -> int:
        return min(len(edges) - 2, max(0, bisect_right(edges, number * self._size) - 1))

    def sources(self, most: int) -> list[tuple[int, Source]]:
        """The sources that did most, by key."""
        ranked = heapq.nsmallest(most, self._sources.items(), key=lambda one: (-one[1].events, one[0]))
        return [*ranked]

    def networks(self, most: int) -> list[tuple[Network, Source]]:
        """The networks (/24, /48) that did most."""
        found = {
            network: Source(one.events, one.first, one.last, one.kinds.copy(), one.sources)
            for network, one in self._networks.items()
        }
        for key, source in self._sources.items():
            _fold(found, key, source)
        return heapq.nsmallest(most, found.items(), key=lambda one: (-one[1].events, one[0]))

    def accounts(self, most: int) -> list[Account]:
        """The accounts on which most logins failed, each with how often somebody did log in."""
        ranked = heapq.nsmallest(most, self._accounts.values(), key=lambda one: (-one.failures, one.name))
        for account in ranked:
            account.logins = self._logins.get(account.name, 0)
        return ranked


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
