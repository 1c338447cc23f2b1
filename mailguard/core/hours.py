"""What is normal for one thing at one hour of the week: means and peaks of the last weeks, and their medians.

One strange week moves no median, so that an attack does not become what is normal. The hours before and after
count as well: people come early, and summer time moves a log that is written in another zone by one.

Owns: the rows of one profile.
Never: knows what is measured, or asks the time.
Limits: `WEEKS` weeks of 168 hours, two numbers each.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from struct import Struct
from typing import NamedTuple

SLOTS = 168  # hours of a week; 0 is Monday from midnight to one
WEEKS = 6
KNOWN_WEEKS = 3  # so many weeks of an hour say what it is like; before, other days' same hour is asked too
_PAIR = Struct("<ff")
_QUARTER = 900  # seconds; no zone changes within a quarter of an hour
_CACHE = 4096


class Normal(NamedTuple):
    """Of an hour: what is usually there, and the most that is usually seen."""

    mean: float
    peak: float


class Calendar:
    """Local hours of the week, quickly. `zone` None: this host's."""

    def __init__(self, zone: tzinfo | None):
        self._zone = zone
        self._known: dict[int, tuple[int, int]] = {}

    def hour(self, time: float) -> tuple[int, int]:
        """The number of the local hour since year 1, and which hour of the week it is."""
        quarter = int(time // _QUARTER)
        known = self._known.get(quarter)
        if known is None:
            at = datetime.fromtimestamp(quarter * _QUARTER, self._zone)
            known = at.toordinal() * 24 + at.hour, at.weekday() * 24 + at.hour
            if len(self._known) >= _CACHE:
                self._known.clear()
            self._known[quarter] = known
        return known


class Hours:
    """The profile of one thing."""

    def __init__(self) -> None:
        self.learned = 0  # hours, ever
        self.changed: set[int] = set()  # slots that a checkpoint does not have yet
        self._weeks: dict[int, list[tuple[float, float]]] = {}
        self._normal: dict[int, Normal | None] = {}

    def learn(self, slot: int, mean: float, peak: float) -> None:
        """An hour is over, and this was seen in it."""
        weeks = self._weeks.setdefault(slot, [])
        weeks.append((mean, peak))
        del weeks[:-WEEKS]
        self.learned += 1
        self.changed.add(slot)
        self._normal.clear()

    def normal(self, slot: int) -> Normal | None:
        """What is normal at this hour of the week; None when nothing is known."""
        if slot not in self._normal:
            self._normal[slot] = self._worked_out(slot)
        return self._normal[slot]

    def _worked_out(self, slot: int) -> Normal | None:
        found = [
            _median(weeks)
            for near in (slot - 1, slot, slot + 1)
            if (weeks := self._weeks.get(near % SLOTS)) is not None
        ]
        if len(self._weeks.get(slot, ())) < KNOWN_WEEKS:
            alike = [pair for day in range(7) for pair in self._weeks.get(day * 24 + slot % 24, ())]
            if alike:
                found.append(_median(alike))
        if not found:
            return None
        return Normal(max(mean for mean, _ in found), max(peak for _, peak in found))

    # ------------------------------------------------------------ rows

    def rows(self, full: bool) -> Iterator[tuple[int, bytes]]:
        """Slots and what is known of them; those that changed since the last call, or all."""
        for slot in sorted(self._weeks if full else self.changed):
            yield slot, b"".join(_PAIR.pack(mean, peak) for mean, peak in self._weeks[slot])
        self.changed.clear()

    def restore(self, slot: int, value: bytes) -> None:
        """Take a row back; one that is none is as good as not there."""
        if not 0 <= slot < SLOTS or len(value) % _PAIR.size:
            return
        weeks = [(mean, peak) for mean, peak in _PAIR.iter_unpack(value)][-WEEKS:]
        self.learned += len(weeks) - len(self._weeks.get(slot, ()))
        self._weeks[slot] = weeks
        self._normal.clear()


def _median(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Of means and peaks, each for itself; the greater of two."""
    middle = len(pairs) // 2
    return sorted(mean for mean, _ in pairs)[middle], sorted(peak for _, peak in pairs)[middle]
