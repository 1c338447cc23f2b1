"""What waits for its counterpart in another log, found by what the two are joined with.

Owns: lines and acts that wait (`Waiting`), the order in which they came, and when the next has waited long
enough; and small memories of what happened lately (`Lately`). Never: decides what belongs together (`heard`).
Limits: none of its own; whoever holds takes out. Holding, finding and taking cost the same however many wait,
as long as stamps are whole seconds, as those of the logs are: things are kept by the second, and only those
of the first and last second that may be meant are looked through.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import ceil, floor
from typing import NamedTuple

from ..model import Event
from .acts import NEAR, NEVER

_AROUND = ceil(NEAR)  # whole seconds on each side
_SPARE = 64  # dues of things long taken that are kept before the others are put in order anew

Side = tuple[bytes, str, str]  # server, dialogue parser, kind
Key = tuple[Side, bool, str | None, str]  # side, line, name (None: of any name), mechanism
_Places = OrderedDict[
    int, "Held"
]  # by place; of a dict the first is found slowly once many were taken from its front


class Held(NamedTuple):
    """A line that waits for its act, or an act that waits for its line."""

    due: float
    turn: int  # in which it came; of no two that wait the same
    side: Side
    event: Event
    name: str  # "": the line tells none
    method: str
    line: bool


class Waiting:
    """What waits. Of several that would do the one is found that was held first."""

    def __init__(self) -> None:
        #: Not later than any that waits is due; what was taken meanwhile may have been due then.
        self.due = NEVER
        self._next = 0
        self.turns: dict[int, int] = {}  # by turn: things that are held again go behind the others
        self._sides: dict[Side, _Places] = {}
        self._keys: dict[Key, dict[int, _Places]] = {}  # by second
        self._lines: dict[Side, Seconds] = {}
        self._dues: list[tuple[float, int, Held]] = []  # a heap, with those that were taken

    def __len__(self) -> int:
        return len(self.turns)

    def __contains__(self, one: Held) -> bool:
        """Whether it waits; what was taken and held again with another due is another."""
        place = self.turns.get(one.turn)
        return place is not None and self._sides[one.side][place].due == one.due

    def __iter__(self) -> Iterator[Held]:
        """All, in the order of their turns."""
        return iter(sorted((one for part in self._sides.values() for one in part.values()), key=_turn))

    def hold(self, one: Held) -> None:
        place = self._next
        self._next += 1
        self.turns[one.turn] = place
        self._sides.setdefault(one.side, OrderedDict())[place] = one
        second = floor(one.event.time)
        for key in _keys(one):
            self._keys.setdefault(key, {}).setdefault(second, OrderedDict())[place] = one
        if one.line:
            self._lines.setdefault(one.side, Seconds()).add(one.event.time)
        self.due = min(self.due, one.due)
        heappush(self._dues, (one.due, place, one))
        if len(self._dues) > 2 * len(self.turns) + _SPARE:
            self._dues = [(due, at, held) for due, at, held in self._dues if self.turns.get(held.turn) == at]
            heapify(self._dues)

    def take(self, one: Held) -> None:
        """It waits no more. Raises KeyError where it did not."""
        place = self.turns.pop(one.turn)
        side = self._sides[one.side]
        del side[place]
        if not side:
            del self._sides[one.side]
        second = floor(one.event.time)
        for key in _keys(one):
            seconds = self._keys[key]
            del seconds[second][place]
            if not seconds[second]:
                del seconds[second]
                if not seconds:
                    del self._keys[key]
        if one.line:
            lines = self._lines[one.side]
            lines.drop(one.event.time)
            if not lines:
                del self._lines[one.side]

    def find(self, side: Side, line: bool, name: str | None, method: str, time: float) -> Held | None:
        """The first line (or act) of that name, mechanism and second. `name` None: of any name, which goes
        where there is a mechanism."""
        seconds = self._keys.get((side, line, name, method))
        if seconds is None:
            return None
        best, found = -1, None
        middle = floor(time)
        for second in range(middle - _AROUND, middle + _AROUND + 1):
            for place, one in seconds.get(second, {}).items():
                if abs(one.event.time - time) <= NEAR:
                    if found is None or place < best:
                        best, found = place, one
                    break
        return found

    def lines(self, side: Side, time: float) -> int:
        """How many lines wait, of that second."""
        lines = self._lines.get(side)
        return 0 if lines is None else lines.near(time)

    def first(self) -> Held:
        """Of those that were held first on each side the one that came first."""
        return min((next(iter(part.values())) for part in self._sides.values()), key=_turn)

    def freed(self, at: float) -> list[Held]:
        """Those that are due, which still wait: lines first, in the order of their turns. `renew` follows."""
        free: list[Held] = []
        while self._dues and self._dues[0][0] <= at:
            _, place, one = heappop(self._dues)
            if self.turns.get(one.turn) == place:
                free.append(one)
        return sorted(free, key=lambda held: (not held.line, held.turn))

    def renew(self) -> None:
        """`due` is when the first is due of those that wait."""
        while self._dues and self.turns.get(self._dues[0][2].turn) != self._dues[0][1]:
            heappop(self._dues)
        self.due = self._dues[0][0] if self._dues else NEVER


class Seconds:
    """How often something happened, by the second."""

    def __init__(self) -> None:
        self._seconds: dict[int, Counter[float]] = {}

    def __bool__(self) -> bool:
        return bool(self._seconds)

    def add(self, time: float) -> None:
        second = floor(time)
        times = self._seconds.get(second)
        if times is None:
            times = self._seconds[second] = Counter()
        times[time] += 1

    def drop(self, time: float) -> None:
        second = floor(time)
        times = self._seconds[second]
        times[time] -= 1
        if not times[time]:
            del times[time]
            if not times:
                del self._seconds[second]

    def near(self, time: float) -> int:
        middle = floor(time)
        return sum(
            often
            for second in range(middle - _AROUND, middle + _AROUND + 1)
            for one, often in self._seconds.get(second, {}).items()
            if abs(one - time) <= NEAR
        )


class Lately:
    """The last things that happened, at most so many: by mechanism and second, each with a name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._order: deque[tuple[float, str, str]] = deque()
        self._every = Seconds()
        self._methods: dict[str, dict[int, Counter[tuple[float, str]]]] = {}

    def add(self, time: float, method: str = "", name: str = "") -> None:
        if len(self._order) == self._most:
            self._forget(*self._order.popleft())
        self._order.append((time, method, name))
        self._every.add(time)
        seconds = self._methods.setdefault(method, {})
        seconds.setdefault(floor(time), Counter())[time, name] += 1

    def _forget(self, time: float, method: str, name: str) -> None:
        self._every.drop(time)
        seconds = self._methods[method]
        second = floor(time)
        found = seconds[second]
        found[time, name] -= 1
        if not found[time, name]:
            del found[time, name]
            if not found:
                del seconds[second]
                if not seconds:
                    del self._methods[method]

    def near(self, time: float) -> int:
        """How many, of any mechanism."""
        return self._every.near(time)

    def names(self, time: float, method: str) -> Iterator[str]:
        """The names of that mechanism and second, some of them more than once."""
        seconds = self._methods.get(method)
        if seconds is not None:
            middle = floor(time)
            for second in range(middle - _AROUND, middle + _AROUND + 1):
                for one, name in seconds.get(second, ()):
                    if abs(one - time) <= NEAR:
                        yield name


def _keys(one: Held) -> tuple[Key, ...]:
    """By what it is looked for: with its name; and where it has a mechanism, by that alone."""
    named = one.side, one.line, one.name, one.method
    return (named, (one.side, one.line, None, one.method)) if one.method else (named,)


def _turn(one: Held) -> int:
    return one.turn
