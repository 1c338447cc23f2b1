"""Several logs in the one order: by each log's running maximum stamp, ties by the log that begins earlier,
then by its name, of rotated ones the oldest first; within a log the place is the order.

The streams give chunks, and whole stretches of a chunk are taken at once: logs that follow each other cost
nothing for each event. A stream is opened only when the order comes to its first stamp, so a year of
rotated files is never open together.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from ..core import native
from ..core.packed import Batch
from ..core.scanner import Draft
from ..eventfile import EventColumns
from ..model import Event

Drafted = Event | Draft


class Written:
    """A stretch of a file of events, as columns; `ready`: the same for who makes rows of them."""

    __slots__ = ("columns", "ready")

    def __init__(self, columns: EventColumns, ready: Any):
        self.columns = columns
        self.ready = ready

    def __len__(self) -> int:
        return len(self.columns)

    def items(self, begin: int, stop: int) -> list[Drafted]:
        """Some of them as events."""
        return [*self.columns.events(begin, stop)]


#: What stands in one stretch of a log, as rows or as objects.
Drafts = Batch | list[Drafted]
#: Some of them: from the one index up to the other.
Segment = tuple[Drafts | Written, int, int]
_ROTATED = re.compile(r"(.+)\.(\d{1,4})(?:\.(?:gz|xz|bz2|zst))?", re.DOTALL)


class Chunk(NamedTuple):
    """A stretch of one log. `running[i]` is the log's newest stamp up to `drafts[i]`; it never falls."""

    running: Sequence[float]
    drafts: Drafts | Written


@dataclass(slots=True)
class Stream:
    """One log. `first` is a time that none of its running stamps is below; None: not known, open it at
    once."""

    name: str
    chunks: Iterator[Chunk]
    first: float | None = None
    rank: int = 0
    chunk: Chunk = field(default_factory=lambda: Chunk([], []))
    at: int = 0

    def head(self) -> float | None:
        """The running stamp of its next draft, None at its end."""
        while self.at >= len(self.chunk.drafts):
            chunk = next(self.chunks, None)
            if chunk is None:
                self.chunk, self.at = Chunk([], []), 0
                return None
            self.chunk, self.at = chunk, 0
        return self.chunk.running[self.at]


def times_of(drafts: Sequence[Drafted]) -> list[float]:
    """The stamps of what a scanner found."""
    flow = native.load("flow")
    if flow is not None:
        found: list[float] = flow.times_of(drafts)
        return found
    return [one[1] if type(one) is Event else one.event[1] for one in drafts]  # type: ignore[union-attr]


def newest(events: Sequence[Event]) -> float:
    """The newest stamp of events; there is at least one."""
    flow = native.load("flow")
    if flow is not None:
        stamp: float = flow.latest(events)
        return stamp
    return max([event[1] for event in events])


def running(times: list[float], newest: float) -> list[float]:
    """The running maximum of `times` that goes on from `newest`; they themselves where they never fall."""
    flow = native.load("flow")
    if flow is not None:
        stamps: list[float] = flow.running(times, newest)
        return stamps
    return list(accumulate(times, max, initial=newest))[1:]


def objects(segments: Sequence[Segment]) -> list[Drafted]:
    """What stands in segments, one behind the other."""
    found: list[Drafted] = []
    for drafts, begin, stop in segments:
        found += drafts[begin:stop] if isinstance(drafts, list) else drafts.items(begin, stop)
    return found


def merge(streams: Sequence[Stream], size: int) -> Iterator[list[Drafted]]:
    """All drafts in their order, in lists of about `size`."""
    return map(objects, segments(streams, size))


def segments(streams: Sequence[Stream], size: int) -> Iterator[list[Segment]]:
    """The same as stretches of what the streams gave."""
    known = sorted(
        streams,
        key=lambda one: (_first(one), *_age(one.name)),
    )
    for rank, stream in enumerate(known):
        stream.rank = rank
    waiting = known[::-1]  # the next to open stands last
    heap: list[tuple[float, int, Stream]] = []
    gathered: list[Segment] = []
    count = 0
    while heap or waiting:
        while waiting and (not heap or _first(waiting[-1]) <= heap[0][0]):
            stream = waiting.pop()
            head = stream.head()
            if head is not None:
                heapq.heappush(heap, (head, stream.rank, stream))
        if not heap:
            continue
        _, rank, stream = heapq.heappop(heap)
        taken = stream.chunk
        stop = len(taken.drafts)
        if heap:
            stop = _before(taken.running, stream.at, rank, heap[0][0], heap[0][1])
        if waiting:
            stop = min(stop, _before(taken.running, stream.at, rank, _first(waiting[-1]), waiting[-1].rank))
        stop = min(stop, stream.at + size)
        gathered.append((taken.drafts, stream.at, stop))
        count += stop - stream.at
        stream.at = stop
        if count >= size:
            yield gathered
            gathered, count = [], 0
        head = stream.head()
        if head is not None:
            heapq.heappush(heap, (head, rank, stream))
    if gathered:
        yield gathered


def _first(stream: Stream) -> float:
    return float("-inf") if stream.first is None else stream.first


def _age(name: str) -> tuple[str, int, str]:
    """Sorts `mail.log.2.gz`, `mail.log.1`, `mail.log` in this order."""
    rotated = _ROTATED.fullmatch(name)
    return (rotated[1], -int(rotated[2]), name) if rotated else (name, 0, name)


def _before(stamps: Sequence[float], at: int, rank: int, time: float, other: int) -> int:
    """How far the drafts from `at` on come before one of the stream ranked `other` at `time`."""
    return bisect_right(stamps, time, at) if rank < other else bisect_left(stamps, time, at)
