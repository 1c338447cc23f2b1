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

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from struct import Struct
from typing import NamedTuple

from .networks import value_network
from .table import Table

RECORD = Struct("=dqQHHHBB")
SIZE = RECORD.size
_TIME = Struct("=d")
_TRIM_EVERY = 15  # a history is trimmed whenever it has grown by 16 records
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


#: time, position, value, log, rule, weight, kind, flags
Unpacked = tuple[float, int, int, int, int, int, int, int]


class Need(NamedTuple):
    """What the detectors of a history want of one kind: seconds, records and different values to keep."""

    within: float
    records: int
    values: int


class View:
    """A history's columns, unpacked when first asked for."""

    __slots__ = (
        "_different",
        "_heavy",
        "_memory",
        "_times",
        "_values",
        "_weights",
        "buffer",
        "flags",
        "kinds",
        "size",
    )

    def __init__(self, buffer: bytes):
        self.buffer = buffer
        self.size = len(buffer) // SIZE
        self.kinds = buffer[30::SIZE]
        self.flags = buffer[31::SIZE]
        self._memory = memoryview(buffer)
        self._times: list[float] | None = None
        self._values: list[int] | None = None
        self._weights: list[int] | None = None
        self._heavy: bool | None = None
        self._different = -1

    @property
    def heavy(self) -> bool:
        """Some record stands for more than one event."""
        if self._heavy is None:
            self._heavy = max(self.flags) >= HEAVY
        return self._heavy

    @property
    def different(self) -> int:
        """How many different values there are in the whole history."""
        if self._different < 0:
            values = set(self.values)
            values.discard(0)
            self._different = len(values)
        return self._different

    def may_hold(self, ask: Ask, least: int) -> bool:
        """False where no window that ends with the newest record can fulfil `ask`: the usual answer, and a
        cheap one. `least` is that of the `Ask`."""
        if self.size < least:
            return self.size >= ask.distinct and self.heavy
        newest = _TIME.unpack_from(self.buffer, (self.size - 1) * SIZE)[0]
        if (
            _TIME.unpack_from(self.buffer, (self.size - least) * SIZE)[0] < newest - ask.within
            and not self.heavy
        ):
            return False
        return ask.distinct <= 1 or self.different >= ask.distinct

    @property
    def suspicious(self) -> bool:
        """Some record may not ban."""
        return bool(self.flags.translate(None, _fitting_flags(UNTRUSTED, 0)))

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

    def record(self, index: int) -> Unpacked:
        """Record `index`."""
        found: Unpacked = RECORD.unpack_from(self.buffer, index * SIZE)
        return found

    def records(self, indexes: Sequence[int]) -> list[Unpacked]:
        """These records."""
        if isinstance(indexes, range) and indexes.step == 1:
            whole = self._memory[indexes.start * SIZE : indexes.stop * SIZE]
            return list(RECORD.iter_unpack(whole))
        return [self.record(index) for index in indexes]


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
    """Records that fulfil an `Ask`: first and last time, how many events, which records, how many values."""

    first: float
    last: float
    total: int
    indexes: Sequence[int]
    different: int = 0  # different values; 0 where the `Ask` does not look at them


@cache
def _fitting_flags(mask: int, want: int) -> bytes:
    """All values of a record's flags with which it counts."""
    return bytes(flags for flags in range(256) if flags & mask == want)


def _fit(view: View, begin: int, end: int, ask: Ask, untrusted: bool) -> Sequence[int]:
    """Indexes in [begin, end) of the records that count for `ask`."""
    good = _fitting_flags(ask.mask if untrusted else ask.mask | UNTRUSTED, ask.want)
    kinds, flags, wanted = view.kinds, view.flags, ask.kinds
    if not kinds[begin:end].translate(None, wanted) and not flags[begin:end].translate(None, good):
        return range(begin, end)  # nearly always: everything counts
    return [i for i in range(begin, end) if kinds[i] in wanted and flags[i] in good]


def _others(values: Iterable[int], ask: Ask) -> int:
    """How many different values there are."""
    different = set(values)
    different.discard(0)
    if ask.by_network and len(different) >= ask.distinct:
        different = {value_network(value) for value in different}
    return len(different)


def find_before(view: View, at: float, ask: Ask, mark: float, untrusted: bool) -> Span | None:
    """The window that ends at time `at`, if it fulfils `ask`; None if not.

    Records up to time `mark` are consumed already; `untrusted` says whether records that may not ban count.
    """
    times = view.times
    begin, end = bisect_left(times, at - ask.within), bisect_right(times, at)
    if begin < end and times[begin] <= mark:
        begin = bisect_right(times, mark)
    fit = _fit(view, begin, end, ask, untrusted)
    total = sum([view.weights[i] for i in fit]) if view.heavy else len(fit)
    if not fit or total < ask.count or len(fit) < ask.distinct:
        return None
    different = 0
    if ask.distinct:
        values = view.values
        different = _others([values[i] for i in fit], ask)
        if different < ask.distinct:
            return None
    return Span(times[fit[0]], times[fit[-1]], total, fit, different)


def find(view: View, place: int, ask: Ask, mark: float, untrusted: bool) -> Span | None:
    """The earliest-ending window around record `place` that fulfils `ask`, or None.

    The parameters are those of `find_before`.
    """
    times = view.times
    around = times[place]
    if around <= mark or not _fit(view, place, place + 1, ask, untrusted):
        return None  # the record in question does not count here
    ends = {times[i] for i in range(place, view.size) if times[i] - around <= ask.within}
    for end in sorted(ends):
        span = find_before(view, end, ask, mark, untrusted)
        if span is not None:
            return span
    return None


def stale_histories(keys: dict[int, bytes], oldest: float) -> list[int]:
    """The keys whose newest record is older than `oldest`."""
    newest = _TIME.unpack_from
    return [key for key, buffer in keys.items() if newest(buffer, len(buffer) - SIZE)[0] < oldest]


class History:
    """The shared history of one form of key."""

    def __init__(self, table: Table, needs: dict[int, Need]):
        self.table = table
        self.needs = needs
        self.late = 0  # events that arrived after a newer one of their key
        #: which keys have no record since a time; the compiled engine puts its own here
        self.stale: Callable[[dict[int, bytes], float], list[int]] = stale_histories
        self._widest = max((need.within for need in needs.values()), default=0.0)

    def add(self, key: int, packed: bytes, time: float, clock: float) -> tuple[bytes, int]:
        """Put a packed record with stamp `time` in its place; the key's history, and the record's index.

        `clock` is the newest stamp the engine has seen, in seconds.
        """
        table = self.table
        buffer = table.get(key)
        if buffer is None:
            table.put(key, packed, False)
            return packed, 0
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
        if not size & _TRIM_EVERY:
            trimmed = self.trim(buffer, clock)
            if trimmed:
                table.put(key, trimmed, True)
            else:
                table.drop(key)  # all of it, the newcomer too, is older than anything can want
        else:
            table.put(key, buffer, size > 1)
        return buffer, place

    def trim(self, buffer: bytes, clock: float) -> bytes:
        """The history without what no window can want any more."""
        view = View(buffer)
        kinds, flags, times = view.kinds, view.flags, view.times
        others = flags.translate(None, _fitting_flags(_BUCKET, flags[0] & _BUCKET))
        if (
            not others
            and kinds.count(kinds[0]) == view.size
            and (only := self.needs.get(kinds[0])) is not None
        ):
            # Nearly always: all of one sort.
            begin = bisect_left(times, clock - only.within - LATENESS)
            if only.values <= 1:
                begin = max(begin, view.size - only.records)
            if only.values <= 1 or view.size - begin <= only.records:
                return buffer[begin * SIZE :]
        values = view.values
        counted: dict[int, int] = {}
        seen: dict[int, set[int]] = {}
        keep: list[int] = []
        for index in range(view.size - 1, -1, -1):
            kind = kinds[index]
            need = self.needs.get(kind)
            if need is None or times[index] < clock - need.within - LATENESS:
                continue
            bucket = kind << 8 | flags[index] & _BUCKET
            records, known = counted.get(bucket, 0), seen.setdefault(bucket, set())
            value = values[index]
            if records < need.records:
                counted[bucket] = records + 1
            elif value in known or len(known) >= need.values:
                continue
            known.add(value)
            keep.append(index)
        if len(keep) == view.size:
            return buffer
        return b"".join(buffer[index * SIZE : (index + 1) * SIZE] for index in reversed(keep))

    def turn_back(self, newest: float) -> None:
        """Drop the records after `newest`."""
        late = [
            (key, buffer)
            for key, buffer in self.table.items()
            if _TIME.unpack_from(buffer, len(buffer) - SIZE)[0] > newest
        ]
        for key, buffer in late:
            kept = bisect_right(View(buffer).times, newest)
            if kept:
                self.table.put(key, buffer[: kept * SIZE], kept > 1)
            else:
                self.table.drop(key)

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

        return self.table.sweep(lambda keys: self.stale(keys, oldest))


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
