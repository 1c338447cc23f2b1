"""Exact sliding windows: what each key did, in packed records, and whether "N within W" holds.

Owns: the history of a key. All detectors that are keyed alike look at one shared history, each in its own
way.
Never: keeps text; a value is a keyed hash or an address, a log or a rule is a number (see `names`).
Limits: as many keys as the table's cap; for each key and kind the newest `2N-1` records, N being the most
any detector asks of that kind, and, for detectors that count different values, the newest record of the
last `2N-1` values. Records older than the widest window that can want them go.

What exact means. For events in the order of their stamps: a detector fires at the very event with which
some window of length W ending there holds N events (or N different values), never earlier, never later. An
event that arrives late is put in its place by its stamp, and every window *around it* is looked at; a late
event never makes a detector fire on something that is not so, and the count is complete as long as fewer
than N newer records of its kind came before it.

A record is 32 bytes: time (float64), position in the log (int64), value (uint64, 0: none), log, rule and
weight (uint16 each), kind, flags. Byte order is the machine's own: state files do not travel between
machines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from .networks import value_network
from .table import Table

RECORD = Struct("=dqQHHHBB")
SIZE = RECORD.size
_TIME = Struct("=d")
_TRIM_FROM = 16  # records; shorter histories are not worth trimming
MAX_WEIGHT = 0xFFFF

# flags of a record
SCOPE = 0x03  # 0 auth, 1 mail, 2 all
UNTRUSTED = 0x04  # its log or its rule may not ban
KNOWN = 0x08  # the user had logged in from that network before
CONDITIONS = (0x10, 0x20, 0x40)  # an `unless` of some detector holds for it
HEAVY = 0x80  # weight above 1
_BUCKET = 0xFF ^ SCOPE ^ HEAVY

#: An event this much older than the newest one still finds everything it may belong to.
LATENESS = 3600.0


class Need(NamedTuple):
    """What the detectors of a history want of one kind: seconds, records and different values to keep."""

    within: float
    records: int
    values: int


class View:
    """A history's columns, unpacked when first asked for."""

    __slots__ = ("_memory", "_times", "_values", "_weights", "buffer", "flags", "kinds", "size")

    def __init__(self, buffer: bytes):
        self.buffer = buffer
        self.size = len(buffer) // SIZE
        self.kinds = buffer[30::SIZE]
        self.flags = buffer[31::SIZE]
        self._memory = memoryview(buffer)
        self._times: list[float] | None = None
        self._values: list[int] | None = None
        self._weights: list[int] | None = None

    @property
    def times(self) -> list[float]:
        if self._times is None:
            times: list[float] = self._memory.cast("d")[::4].tolist()  # type: ignore[assignment]
            self._times = times
        return self._times

    @property
    def values(self) -> list[int]:
        if self._values is None:
            self._values = self._memory.cast("Q")[2::4].tolist()
        return self._values

    @property
    def weights(self) -> list[int]:
        if self._weights is None:
            self._weights = self._memory.cast("H")[14::16].tolist()
        return self._weights

    def record(self, index: int) -> tuple[float, int, int, int, int, int, int, int]:
        """Record `index`: time, position, value, log, rule, weight, kind, flags."""
        found: tuple[float, int, int, int, int, int, int, int] = RECORD.unpack_from(self.buffer, index * SIZE)
        return found


@dataclass(frozen=True, slots=True)
class Ask:
    """What a detector asks of a history. `mask`/`want`: which flags a record must have to count."""

    kinds: bytes  # kind numbers that count
    within: float  # seconds
    count: int  # events (by weight) at least
    distinct: int = 0  # different values at least; 0: values do not matter
    by_network: bool = False  # values are sources and count by network
    mask: int = 0
    want: int = 0

    def least(self) -> int:
        """No history with fewer records of weight 1 can answer."""
        return max(self.count, self.distinct, 1)


class Span(NamedTuple):
    """Records that fulfil an `Ask`: first and last time, what was counted, and which records."""

    first: float
    last: float
    total: int
    indexes: list[int]


def _fitting(view: View, ask: Ask, mark: float, untrusted: bool) -> list[int]:
    """Indexes of the records that count for `ask`; those up to time `mark` are consumed."""
    mask, want = ask.mask, ask.want
    if not untrusted:
        mask |= UNTRUSTED
    kinds, flags, times, wanted = view.kinds, view.flags, view.times, ask.kinds
    if mark >= times[0]:
        return [
            i for i in range(view.size) if kinds[i] in wanted and flags[i] & mask == want and times[i] > mark
        ]
    return [i for i in range(view.size) if kinds[i] in wanted and flags[i] & mask == want]


def find(view: View, place: int, ask: Ask, mark: float, untrusted: bool) -> Span | None:
    """The earliest-ending window around record `place` that fulfils `ask`, or None.

    Records up to time `mark` are consumed already; `untrusted` says whether records that may not ban count.
    """
    fit = _fitting(view, ask, mark, untrusted)
    first_end = bisect_right(fit, place) - 1
    if first_end < 0 or fit[first_end] != place:
        return None  # the record in question does not count here
    times, within = view.times, ask.within
    around, start, total = times[place], 0, 0
    weights = view.weights if max(view.flags) >= HEAVY else None
    values = _counted_values(view, ask)
    seen: dict[int, int] = {}
    for end, index in enumerate(fit):
        time = times[index]
        if end > first_end and time - around > within:
            break
        total += 1 if weights is None else weights[index]
        if values is not None and (value := values[index]):
            seen[value] = seen.get(value, 0) + 1
        while time - times[fit[start]] > within:
            left = fit[start]
            start += 1
            total -= 1 if weights is None else weights[left]
            if values is not None and (value := values[left]):
                if seen[value] == 1:
                    del seen[value]
                else:
                    seen[value] -= 1
        if end >= first_end and total >= ask.count and len(seen) >= ask.distinct:
            inside = fit[start : end + 1]
            return Span(times[inside[0]], time, len(seen) if ask.distinct else total, inside)
    return None


def find_before(view: View, at: float, ask: Ask, mark: float, untrusted: bool) -> Span | None:
    """The same for the one window that ends at time `at`, whether or not a record stands there."""
    times = view.times
    oldest = at - ask.within
    inside = [i for i in _fitting(view, ask, mark, untrusted) if oldest <= times[i] <= at]
    if not inside:
        return None
    values = _counted_values(view, ask)
    others = len({values[i] for i in inside} - {0}) if values is not None else 0
    total = sum(view.weights[i] for i in inside)
    if total < ask.count or others < ask.distinct:
        return None
    return Span(times[inside[0]], times[inside[-1]], others if ask.distinct else total, inside)


def _counted_values(view: View, ask: Ask) -> list[int] | None:
    if not ask.distinct:
        return None
    return [value_network(value) for value in view.values] if ask.by_network else view.values


class History:
    """The shared history of one form of key."""

    def __init__(self, table: Table, needs: dict[int, Need]):
        self.table = table
        self.needs = needs
        self.late = 0  # events that arrived after a newer one of their key
        self._widest = max((need.within for need in needs.values()), default=0.0)

    def add(
        self, key: int, record: tuple[float, int, int, int, int, int, int, int], clock: float
    ) -> tuple[bytes, int]:
        """Put a record in its place; the key's history with it, and the record's index.

        `clock` is the newest stamp the engine has seen, in seconds.
        """
        packed = RECORD.pack(*record)
        table = self.table
        buffer = table.get(key)
        if buffer is None:
            table.put(key, packed, False)
            return packed, 0
        time = record[0]
        if clock - time > LATENESS:
            buffer = self.trim(buffer, clock)  # what a sweep may or may not have taken yet
        if not buffer or time >= _TIME.unpack_from(buffer, len(buffer) - SIZE)[0]:
            place = len(buffer) // SIZE
            buffer += packed
        else:
            self.late += 1
            place = bisect_right(memoryview(buffer).cast("d")[::4], time)
            buffer = b"".join((buffer[: place * SIZE], packed, buffer[place * SIZE :]))
        size = len(buffer) // SIZE
        if size >= _TRIM_FROM and not size & 7:
            table.put(key, self.trim(buffer, clock), True)
        else:
            table.put(key, buffer, size > 1)
        return buffer, place

    def trim(self, buffer: bytes, clock: float) -> bytes:
        """The history without what no window can want any more."""
        view = View(buffer)
        kinds, flags, times, values = view.kinds, view.flags, view.times, view.values
        counted: dict[int, int] = {}
        seen: dict[int, set[int]] = {}
        keep: list[int] = []
        for index in range(view.size - 1, -1, -1):
            kind = kinds[index]
            need = self.needs.get(kind)
            if need is None or times[index] < clock - need.within - LATENESS:
                continue
            bucket = kind << 8 | flags[index] & _BUCKET
            records, others = counted.get(bucket, 0), seen.setdefault(bucket, set())
            value = values[index]
            if records < need.records:
                counted[bucket] = records + 1
            elif value in others or len(others) >= need.values:
                continue
            others.add(value)
            keep.append(index)
        if len(keep) == view.size:
            return buffer
        return b"".join(buffer[index * SIZE : (index + 1) * SIZE] for index in reversed(keep))

    def forget(self, key: int, kind: int, value: int) -> int:
        """Drop the key's records of that kind with that value; how many there were."""
        buffer = self.table.get(key)
        if buffer is None:
            return 0
        view = View(buffer)
        if kind not in view.kinds:
            return 0
        keep = [i for i in range(view.size) if view.kinds[i] != kind or view.values[i] != value]
        gone = view.size - len(keep)
        if gone and keep:
            self.table.put(key, b"".join(buffer[i * SIZE : (i + 1) * SIZE] for i in keep), len(keep) > 1)
        elif gone:
            self.table.drop(key)
        return gone

    def sweep(self, clock: float) -> int:
        """Look at one shard and drop the keys whose newest record no window can want; how many were looked
        at.
        """
        oldest = clock - self._widest - LATENESS

        def live(buffer: bytes) -> bool:
            return bool(_TIME.unpack_from(buffer, len(buffer) - SIZE)[0] >= oldest)

        return self.table.sweep(live)


def needs_of(asks: Iterable[Ask]) -> dict[int, Need]:
    """What a history must keep of each kind so that all these can be answered."""
    needs: dict[int, Need] = {}
    for ask in asks:
        for kind in ask.kinds:
            old = needs.get(kind, Need(0.0, 1, 1))
            needs[kind] = Need(
                max(old.within, ask.within),
                max(old.records, 2 * ask.count - 1, 2 * ask.distinct - 1),
                max(old.values, 2 * ask.distinct - 1),
            )
    return needs
