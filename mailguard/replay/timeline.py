"""The ban timeline of a replay: what led to each ban, what it would have stopped, and whom it would have
hurt.

Owns: for each source what it did since its last ban, for each ban what came under it and after it; what
speaks for everybody (`known`). Events come in batches, with the effects that followed from them; each
effect is put after the very event that decided it. Limits: hostile sources in two generations of `CAP` / 2;
the forgotten are counted, and the worst of them are kept. After a ban its network is watched until its next
ban, or the end of the logs.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core import native
from ..core.bans import SCOPE_COVERS
from ..core.table import SIEVE, sieve_place
from ..model import HOSTILE, Alert, Effect, Event, Impose, Lift, Network, Offence
from ..notation import V6, host_prefix, network_of
from .known import MOST, PAIRS_KEPT, Closely, Known, Tally, inside

CAP = 300_000
WORST = 1000  # of the forgotten that are kept
_LANE = 32  # bits of one kind's counter
#: Hostile kind -> one event of it in the packed counters.
LANES: dict[str, int] = {kind: 1 << (_LANE * number) for number, kind in enumerate(HOSTILE)}
_MAIL, _LOGIN = -1, -2
_ROLES: dict[str, int] = LANES | {"mail_accepted": _MAIL, "auth_success": _LOGIN}
_NEVER_ENDS = float("inf")

# places in the record of a hostile source
FIRST, LAST, KINDS, SINCE, COUNT, CAUGHT = range(6)
Record = list[Any]


def kinds_of(packed: int) -> dict[str, int]:
    """The counters of a record, most frequent first."""
    counts = {kind: packed >> (_LANE * number) & 0xFFFFFFFF for number, kind in enumerate(HOSTILE)}
    return {kind: count for kind, count in sorted(counts.items(), key=lambda one: -one[1]) if count}


def total(packed: int) -> int:
    """All events of a record."""
    count = 0
    while packed:
        count += packed & 0xFFFFFFFF
        packed >>= _LANE
    return count


@dataclass(slots=True)
class BanRecord:
    """One ban and what belongs to it. Times are seconds since 1970."""

    effect: Impose
    until: float  # also where it was lifted early
    hostile_first: float | None  # the first hostile event since the ban before, None: unknown
    hostile_before: int  # how many there were until the ban, the deciding one included
    before: Tally
    locked_out: int = 0  # how often the server itself had locked the network out before
    stopped: int = 0  # hostile events that came while it stood
    during: Closely = field(default_factory=Closely)
    after: Closely = field(default_factory=Closely)
    hidden: float = 0.0  # seconds of it in which the guard or another had shut the network out
    lifted: str = ""
    earlier: BanRecord | None = None  # one of the same network and other ports that still stood
    covers: frozenset[str] = field(init=False)  # scopes

    def __post_init__(self) -> None:
        self.covers = SCOPE_COVERS[self.effect.ban.scope]

    @property
    def delay(self) -> float | None:
        """Seconds from the first hostile event to the ban."""
        return None if self.hostile_first is None else max(0.0, self.effect.time - self.hostile_first)


Entry = BanRecord | Lift | Alert


@dataclass(slots=True)
class Score:
    """What one detector did."""

    bans: int = 0
    alerts: int = 0
    stopped: int = 0
    hurt: int = 0  # bans that would have hurt somebody known
    delays: array[float] = field(default_factory=lambda: array("d"))


class Timeline:
    """Takes batches; `close` when the last has come."""

    def __init__(self, compiled: bool | None = None) -> None:
        """`compiled`: use the compiled twin, see `mailguard.core.native`."""
        self.known = Known()
        self.entries: list[Entry] = []
        self.stopped: Counter[str] = Counter()  # hostile events under a ban, by kind
        self.caught = 0  # sources that were banned
        self.forgotten = 0  # hostile sources of which nothing is known any more
        self.scores: dict[str, Score] = {}
        self.tell_stopped: Callable[[str, float], None] | None = None  # hears of each such event
        self._young: dict[int, Record] = {}
        self._old: dict[int, Record] = {}
        self._sieve = bytearray(1 << SIEVE - 3)  # a bit for each network that was banned, see `Table.sieve`
        self._hosts: dict[int, BanRecord] = {}  # source key -> its latest ban
        self._wide: tuple[dict[int, dict[int, BanRecord]], dict[int, dict[int, BanRecord]]] = ({}, {})

        flow = native.choose("flow", compiled)
        self._twin: Any = None if flow is None else flow.Walk(self, _ROLES, MOST, PAIRS_KEPT)

    # ------------------------------------------------------------ events

    def take(self, events: Sequence[Event], effects: Sequence[Effect]) -> None:
        """A batch of events, and what followed from it."""
        if not effects:
            self._walk(events, 0, len(events))
            return
        begin = 0
        for effect, stop in zip(effects, _places(events, effects), strict=True):
            if stop > begin:
                self._walk(events, begin, stop)
                begin = stop
            self._effect(effect)
        self._walk(events, begin, len(events))

    def _walk(self, events: Sequence[Event], begin: int, stop: int) -> None:
        """The events from `begin` up to `stop`."""
        if self._twin is not None and self.tell_stopped is None:
            self._twin.take(events, begin, stop)
        else:
            self._events(events[begin:stop] if stop - begin < len(events) else events)

    def _events(self, events: Sequence[Event]) -> None:
        roles, hosts, young, wide = _ROLES, self._hosts, self._young, self._wide
        mail, login = self.known.mail, self.known.login
        for kind, time, source, _, _, fields, _, _, scope, _, _, _ in events:
            role = roles.get(kind)
            if role is None or source is None:
                continue
            key = source if source < V6 else source >> 64 << 64
            if key in hosts or wide[source >= V6]:
                ban = self._ban_of(key, scope, time)
                if role > 0:
                    if ban is not None:
                        ban.stopped += 1
                        self.stopped[kind] += 1
                        if self.tell_stopped is not None:
                            self.tell_stopped(kind, time)
                        continue
                else:
                    self._watched(self._bans_around(key), role, time, scope, fields)
            if role > 0:
                record = young.get(key)
                if record is None:
                    record = self._find(key, time)
                    young = self._young
                if not record[COUNT]:
                    record[SINCE] = time
                record[COUNT] += 1
                record[KINDS] += role
                if time > record[LAST]:
                    record[LAST] = time
            elif role == _MAIL:
                mail(key, time, fields)
            else:
                login(key, time, fields)

    def _find(self, key: int, time: float) -> Record:
        """The record of a hostile source that the young generation does not have."""
        if len(self._young) >= CAP // 2:
            kept = dict(heapq.nlargest(WORST, self._old.items(), key=_weight))
            self.forgotten += len(self._old) - len(kept)
            self._old, self._young = self._young, kept
        record = self._old.pop(key, None)
        if record is None:
            record = [time, time, 0, time, 0, False]
        self._young[key] = record
        return record

    def _bans_around(self, key: int) -> list[BanRecord]:
        """The latest bans of the source and of networks around it."""
        found = []
        ban = self._hosts.get(key)
        while ban is not None:
            found.append(ban)
            ban = ban.earlier
        for prefix, by_address in self._wide[key >= V6].items():
            ban = by_address.get(network_of(key, prefix, prefix).address)
            while ban is not None:
                found.append(ban)
                ban = ban.earlier
        return found

    def _ban_of(self, key: int, scope: str, time: float) -> BanRecord | None:
        """The ban that a connection of the source would have met."""
        for ban in self._bans_around(key):
            if time < ban.until and scope in ban.covers:
                return ban
        return None

    @staticmethod
    def _watched(
        bans: Sequence[BanRecord], role: int, time: float, scope: str, fields: dict[str, str]
    ) -> None:
        """Accepted mail or a login from where these bans stand or stood."""
        for ban in bans:
            if time >= ban.until:
                tally = ban.after
            elif scope in ban.covers:
                tally = ban.during
            else:
                continue  # the ban leaves these ports alone
            if role == _MAIL:
                tally.mail(time, fields.get("sender", ""), fields.get("recipient", ""))
            else:
                tally.login(time, fields.get("user", ""))

    # ------------------------------------------------------------ effects

    def _score(self, detector: str) -> Score:
        score = self.scores.get(detector)
        if score is None:
            score = self.scores[detector] = Score()
        return score

    def _effect(self, effect: Effect) -> None:
        if isinstance(effect, Impose):
            self._impose(effect)
        elif isinstance(effect, Lift):
            for ban in self._latest(effect.network):
                if ban.effect.ban.scope == effect.scope and ban.until > effect.time:
                    ban.until, ban.lifted = effect.time, effect.reason
            self.entries.append(effect)
        else:
            self._score(effect.offence.detector).alerts += 1
            self.entries.append(replace(effect, offence=_bare(effect.offence)))

    def _latest(self, network: Network) -> list[BanRecord]:
        """The latest bans of exactly this network."""
        found = []
        ban = self._place(network).get(network.address)
        while ban is not None:
            found.append(ban)
            ban = ban.earlier
        return found

    def _place(self, network: Network) -> dict[int, BanRecord]:
        if network.prefix == (64 if network.address >= V6 else 32):
            return self._hosts
        return self._wide[network.address >= V6].setdefault(network.prefix, {})

    def _impose(self, effect: Impose) -> None:
        ban, network = effect.ban, effect.ban.network
        first: float | None = None
        count = lockouts = 0
        for records in (self._young, self._old):
            for record in inside(records, network):
                if record[COUNT]:
                    first = record[SINCE] if first is None else min(first, record[SINCE])
                    count += record[COUNT]
                lockouts += record[KINDS] >> _LOCKED & 0xFFFFFFFF
                if not record[CAUGHT]:
                    self.caught += 1
                record[COUNT], record[CAUGHT] = 0, True
        offence = ban.offence
        bare = replace(effect, ban=replace(ban, offence=_bare(offence) if offence else None))
        found = BanRecord(
            bare,
            _NEVER_ENDS if ban.until is None else ban.until,
            first,
            count,
            self.known.of(network),
            lockouts,
        )
        bit = sieve_place(network.address)
        self._sieve[bit >> 3] |= 1 << (bit & 7)
        place = self._place(network)
        former = place.get(network.address)
        if former is not None and former.until > effect.time and former.effect.ban.scope != ban.scope:
            found.earlier = former
        place[network.address] = found
        self.entries.append(found)
        score = self._score(offence.detector if offence else "")
        score.bans += 1
        if found.delay is not None:
            score.delays.append(found.delay)

    # ------------------------------------------------------------ answers

    def bans(self) -> list[BanRecord]:
        """Every ban, in order."""
        return [entry for entry in self.entries if isinstance(entry, BanRecord)]

    def close(self) -> None:
        """The last batch has come: add up what belongs to the detectors."""
        for ban in self.bans():
            offence = ban.effect.ban.offence
            score = self._score(offence.detector if offence else "")
            score.stopped += ban.stopped
            score.hurt += bool(ban.during)

    def uncaught(self, most: int) -> tuple[int, int, list[tuple[int, Record]]]:
        """Hostile sources that were never banned: how many, their events, and the worst of them."""
        sources = events = 0
        worst: list[tuple[int, int, Record]] = []
        for records in (self._young, self._old):
            for key, record in records.items():
                if record[CAUGHT]:
                    continue
                count = total(record[KINDS])
                sources += 1
                events += count
                entry = (count, -key, record)
                if len(worst) < most:
                    heapq.heappush(worst, entry)
                elif entry[:2] > worst[0][:2]:
                    heapq.heapreplace(worst, entry)
        ordered = sorted(worst, key=lambda one: (-one[0], -one[1]))
        return sources, events, [(-key, record) for _, key, record in ordered]


_LOCKED = _LANE * list(HOSTILE).index("locked_out")


def _weight(item: tuple[int, Record]) -> int:
    return total(item[1][KINDS])


def _bare(offence: Offence) -> Offence:
    """An offence without its evidence, which nobody asks for here and which is most of its size."""
    return replace(offence, evidence=(), sources=())


def _places(events: Sequence[Event], effects: Sequence[Effect]) -> list[int]:
    """For each effect, in order, the index behind the event that decided it.

    The deciding event is the newest piece of evidence that has the effect's time; where the evidence does
    not hold it (a login that completes a sequence), it is the first event of that time.
    """
    times = {effect.time for effect in effects}
    by_place: dict[tuple[str, int], int] = {}
    by_time: dict[float, int] = {}
    flow = native.load("flow")
    if flow is not None:
        by_place, by_time = flow.places(events, times)
    else:
        for index, event in enumerate(events):
            if event[1] in times:
                by_place[event[6], event[7]] = index
                by_time.setdefault(event[1], index)
    found: list[int] = []
    latest = 0
    for effect in effects:
        decided = _deciding(effect, by_place)
        index = decided if decided is not None else by_time.get(effect.time, latest - 1)
        latest = max(latest, index + 1)
        found.append(latest)
    # What an effect brings with it (a lift of what it replaces) is told beside it and has no evidence.
    return found


def _deciding(effect: Effect, by_place: dict[tuple[str, int], int]) -> int | None:
    offence = None
    if isinstance(effect, Impose):
        offence = effect.ban.offence
    elif isinstance(effect, Alert):
        offence = effect.offence
    if offence is None:
        return None
    for piece in reversed(offence.evidence):
        if piece.time == effect.time:
            return by_place.get((piece.log, piece.position))
    return None


def host_network(key: int) -> Network:
    """The network that a source's key stands for: an address, an IPv6 /64."""
    return Network(key, 64 if key >= V6 else host_prefix(key))
