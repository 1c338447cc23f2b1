"""The first year of a recorded file whose stamps have none and that spans more than one year.

A single stamp is dated by the arrival (see `stamps`); that is right for files of up to a year. In a longer
file the years are counted by the jumps back, from the last line, which the arrival dates, to the first.

Limits: two neighbouring lines that are given must be less than half a year apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from .stamps import MONTHS, Stamps

_YEARLESS = re.compile(
    rb"\0*(?:\d{1,6} (?=<))?(?:<\d{1,3}>)?([A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d):\d\d[ .,]"
)
_HALF_YEAR = 183


def first_year(lines: Iterable[bytes], arrival: float, zone: str = "") -> int | None:
    """The year of the first of `lines` (all of a file, or some in order), for `Block.year`.

    `arrival`: the file's modification time. None where the lines tell no more than the arrival does: they
    have years, or span less than one.
    """
    days: list[int] = []
    keys: list[bytes] = []
    for line in lines:
        found = _YEARLESS.match(line)
        month = MONTHS.get(found.group(1)[:3]) if found else None
        if found is None or month is None:
            continue
        key = found.group(1)
        day = (month - 1) * 31 + int(key[3:-6])
        if not days or day != days[-1]:
            days.append(day)
            keys.append(key)
    if not days:
        return None
    stamps = Stamps(zone)
    stamps.arrive(arrival, False)
    years = 0
    furthest = days[0]
    for day in days[1:]:
        if day < furthest - _HALF_YEAR:
            years += 1
            furthest = day
        elif day < furthest + _HALF_YEAR:  # else a line of the old year that came late
            furthest = max(furthest, day)
    first, last = stamps.yearless(keys[0]), stamps.yearless(keys[-1])
    if first is None or last is None:
        return None
    year = _year(last, stamps) - years
    return year if year < _year(first, stamps) else None


def _year(time: float, stamps: Stamps) -> int:
    moment: datetime = stamps.moment(time)
    return moment.year
