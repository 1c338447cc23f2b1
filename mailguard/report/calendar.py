"""Stretches of time as people count them: minutes, hours, days of a zone, weeks, months, years.

A day is a day of the calendar, also where the clocks change in it. `zone` None is this host's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
WEEK, MONTH, YEAR = 7 * DAY, 30 * DAY, 365 * DAY
_BARS = (
    MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, WEEK, MONTH, YEAR,
)  # fmt: skip
_TICKS = (*_BARS[:8], 2 * DAY, WEEK, 2 * WEEK, MONTH, 3 * MONTH, 6 * MONTH, YEAR, 5 * YEAR)
MOST_BARS = 96
MOST_TICKS = 6


class Tick(NamedTuple):
    """A point in time with its name, `12:00`, `11-22`, `2026-11`, `2026`."""

    time: float
    name: str


def moment(time: float, zone: tzinfo | None, seconds: bool = False) -> str:
    """`2026-11-22 03:00`, with seconds where asked."""
    return datetime.fromtimestamp(time, zone).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def step_of(first: float, last: float, most: int = MOST_BARS) -> float:
    """The shortest stretch of which `most` cover the span from `first` to `last`."""
    return _step(_BARS, first, last, most)


def edges(first: float, last: float, zone: tzinfo | None, step: float) -> list[float]:
    """Where stretches begin and end, from the one that holds `first` to the one that holds `last`."""
    found: list[float] = []
    for edge in _edges(first, zone, step):
        if edge <= first:
            found = [edge]
            continue
        found.append(edge)
        if edge > last:
            break
    return found


def ticks(first: float, last: float, zone: tzinfo | None, most: int = MOST_TICKS) -> list[Tick]:
    """At most about `most` points that divide the span from `first` to `last`."""
    step = _step(_TICKS, first, last, most)
    form = "%H:%M" if step < DAY else "%m-%d" if step < MONTH else "%Y-%m" if step < YEAR else "%Y"
    found = []
    for edge in edges(first, last, zone, step):
        if first <= edge <= last:
            wall = datetime.fromtimestamp(edge, zone)
            midnight = step < DAY and wall.hour == wall.minute == 0
            found.append(Tick(edge, wall.strftime("%m-%d" if midnight else form)))
    return found


def _step(steps: Sequence[float], first: float, last: float, most: int) -> float:
    return next((step for step in steps if (last - first) / step <= most - 1), steps[-1])


def _edges(first: float, zone: tzinfo | None, step: float) -> Iterator[float]:
    """Edges from one before `first` on, without end."""
    wall = datetime.fromtimestamp(first, zone)
    day = wall.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if step < DAY:
        while True:
            following = day + timedelta(days=1)
            at, end = day.timestamp(), following.timestamp()
            while at < end:
                yield at
                at += step
            day = following
    elif step < MONTH:
        days = round(step / DAY)
        # Weeks begin on Monday; of other lengths the same days are taken whatever the logs begin with.
        day -= timedelta(days=(day.toordinal() - 1) % days)
        while True:
            yield day.timestamp()
            day += timedelta(days=days)
    else:
        months = round(step / MONTH) if step < YEAR else 12 * round(step / YEAR)
        number = (day.year * 12 + day.month - 1) // months * months
        while number < 9999 * 12:
            yield day.replace(year=max(1, number // 12), month=number % 12 + 1, day=1).timestamp()
            number += months
