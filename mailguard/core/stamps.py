"""Time stamps of log lines to seconds since 1970: missing years, zones, summer time, leap days.

Owns: the running stamp of one log, and a bounded cache of minutes already worked out.
Never: asks a clock. "Now" is the arrival that came with the block.
Limits: a file without years that spans more than one of them is dated right only if its first year is stated.

A stamp without a year gets the latest year that does not put it more than 48 hours past the arrival (the 48
hours allow for clocks and zones that are wrong). Where a first year is stated instead, a jump back of more
than half a year is a new year, and a line of the old year that arrives just after New Year stays in the old
one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
#: Seconds by their two digits; a leap second counts as the one before it.
SECONDS = {b"%02d" % second: float(min(second, 59)) for second in range(61)}

_DAY = 86400.0
_TOLERANCE = 2 * _DAY  # how far ahead of the arrival a year-less stamp may be
HALF_YEAR = 183 * _DAY  # a jump back by more is a new year
_AHEAD = 60.0  # a live stamp further ahead than this counts as now
_CACHE = 8192  # minutes kept; about 1 MB


def zone_of(name: str) -> tzinfo | None:
    """The zone called `name`: an IANA name, `UTC`, or an offset such as `+09:00`. None for "": this host's.

    Raises KeyError (ZoneInfoNotFoundError) or ValueError when there is no such zone.
    """
    if not name:
        return None
    if name in ("UTC", "Z"):
        return UTC
    if name[0] in "+-":
        return _offset(name.encode("ascii", "replace"))
    return ZoneInfo(name)


@lru_cache(256)
def _offset(text: bytes) -> timezone:
    """`+09`, `+0900` or `+09:00` as a zone; ValueError when it is none."""
    digits = text[1:].replace(b":", b"")
    if len(digits) not in (2, 4) or not digits.isdigit():
        raise ValueError(f"not an offset from UTC: {text!r}")
    span = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or b"0"))
    return timezone(-span if text[:1] == b"-" else span)


class Stamps:
    """Dates the stamps of one log. `running` is the latest time seen, 0.0 before the first."""

    __slots__ = (
        "_arrival",
        "_born",
        "_cache",
        "_latest",
        "_live",
        "_same_year",
        "_stated",
        "_year",
        "_zone",
        "ahead",
        "limit",
        "running",
    )

    def __init__(self, zone: str = ""):
        self._zone = zone_of(zone)
        self._cache: dict[bytes, float] = {}
        self._born = 0.0  # arrival (or running stamp) when the cache was started
        self._arrival = float("nan")  # none, and equal to none
        self.limit = float("inf")  # latest time that a stamp may have without counting as now
        self._latest = 9999  # latest year a stamp can have
        self._same_year = (0.0, 0.0)  # arrivals for which it is the same
        self._live = False
        self._stated: int | None = None
        self._year: int | None = None
        self.running = 0.0
        self.ahead = 0  # live stamps that were more than a minute ahead

    def arrive(self, arrival: float, live: bool, year: int | None = None) -> None:
        """What holds for the lines to come: when they arrived, whether just now, and their first year if
        stated."""
        if arrival != self._arrival:
            if abs(arrival - self._born) > _DAY:
                self._cache.clear()
                self._born = arrival
            self._arrival = arrival
            if not self._same_year[0] <= arrival < self._same_year[1]:
                self._latest = self.moment(arrival + _TOLERANCE).year
                later = self.moment(arrival + _TOLERANCE + _DAY).year
                self._same_year = arrival, arrival + _DAY if later == self._latest else arrival
        if year != self._stated:
            self._stated = self._year = year
            self._cache.clear()
        self._live = live
        self.limit = arrival + _AHEAD if live else float("inf")

    @property
    def arrived(self) -> float:
        """When the lines arrived."""
        return self._arrival

    @property
    def counts_years(self) -> bool:
        """The years follow from a stated first one: what a stamp means depends on the lines before."""
        return self._year is not None

    def remembers(self, key: bytes) -> bool:
        """Whether that minute was worked out and means the same on the next line."""
        return key in self._cache

    def settle(self, time: float) -> float:
        """The time that counts for a stamp: a live stamp far ahead counts as its arrival. Moves `running`."""
        if time > self.limit:
            self.ahead += 1
            time = self._arrival
        if time > self.running:
            self.running = time
        return time

    # ------------------------------------------------------------ minutes (the part of a stamp worth caching)

    def yearless(self, key: bytes) -> float | None:
        """Start of the minute `Nov  2 09:05` (one or two blanks, or a zero before the day); None: no such
        minute."""
        base = self._cache.get(key)
        if base is not None and (self._year is None or base >= self.running - HALF_YEAR):
            return base
        month = MONTHS.get(key[:3])
        if month is None:
            return None
        try:
            day, clock = int(key[3:-6]), (int(key[-5:-3]), int(key[-2:]))
            if self._year is None:
                return self._keep(key, self._latest_before(month, day, *clock))
            return self._keep(key, self._in_sequence(self._year, month, day, *clock))
        except ValueError:
            return None

    def dated(self, key: bytes, zone: bytes) -> float | None:
        """Start of the minute `2026-11-22T09:31` in `zone` (`Z`, `+0900`, `+09:00`, `+09`, or b"": the
        log's)."""
        base = self._cache.get(key + zone)
        if base is not None:
            return base
        try:
            moment = datetime(int(key[:4]), int(key[5:7]), int(key[8:10]), int(key[11:13]), int(key[14:16]))
            if zone:
                fixed = UTC if zone in (b"Z", b"z") else _offset(zone)
                return self._keep(key + zone, (moment.replace(tzinfo=fixed).timestamp(), True))
            return self._keep(key, self._local(moment))
        except (ValueError, OverflowError):
            return None

    def slashed(self, key: bytes) -> float | None:
        """Start of the minute `30/Nov/2017:08:20` in the log's zone."""
        base = self._cache.get(key)
        if base is not None:
            return base
        month = MONTHS.get(key[3:6])
        if month is None:
            return None
        try:
            moment = datetime(int(key[7:11]), month, int(key[:2]), int(key[12:14]), int(key[15:17]))
            return self._keep(key, self._local(moment))
        except (ValueError, OverflowError):
            return None

    # ------------------------------------------------------------ working a minute out

    def _keep(self, key: bytes, found: tuple[float, bool]) -> float:
        """Remember a minute, unless the next line may read it differently (the repeated hour)."""
        base, certain = found
        if certain:
            if len(self._cache) >= _CACHE:
                self._cache.clear()
            self._cache[key] = base
        return base

    def moment(self, time: float) -> datetime:
        """That time on the log's wall clock."""
        return datetime.fromtimestamp(time, self._zone)

    def _local(self, moment: datetime) -> tuple[float, bool]:
        """Time of a wall clock minute in the log's zone, and whether it is the only one.

        In the hour that summer time repeats, the reading that keeps the log in order; live, the one that is
        now.
        """
        first = moment.replace(tzinfo=self._zone, fold=0).timestamp()
        second = moment.replace(tzinfo=self._zone, fold=1).timestamp()
        if first == second:
            return first, True
        early, late = min(first, second), max(first, second)
        if self._live and abs(self._arrival - late) <= 2 * _AHEAD:
            return late, False
        return (late if self.running > early + 3 * 60 else early), False

    def _latest_before(self, month: int, day: int, hour: int, minute: int) -> tuple[float, bool]:
        """The latest year in which the date exists and is not too far past the arrival."""
        for year in range(self._latest, self._latest - 9, -1):
            try:
                found = self._local(datetime(year, month, day, hour, minute))
            except ValueError:
                if month != 2 or day != 29:
                    raise
                continue  # no 29 February in that year
            if found[0] <= self._arrival + _TOLERANCE:
                return found
        raise ValueError("no year fits")

    def _in_sequence(self, year: int, month: int, day: int, hour: int, minute: int) -> tuple[float, bool]:
        """The year that follows from the stated first year and the lines before."""
        found = self._in_year(year, month, day, hour, minute)
        if self.running == 0.0:
            return found
        if found[0] < self.running - HALF_YEAR:
            self._year = year + 1
            self._cache.clear()
            return self._in_year(year + 1, month, day, hour, minute)
        if found[0] > self.running + HALF_YEAR:
            before = self._in_year(year - 1, month, day, hour, minute)
            if abs(before[0] - self.running) <= _TOLERANCE:
                return before[0], False  # a line of the old year that came late
        return found

    def _in_year(self, year: int, month: int, day: int, hour: int, minute: int) -> tuple[float, bool]:
        """The minute in that year; 29 February goes back to the latest leap year."""
        if month == 2 and day == 29:
            while year % 4 or (year % 100 == 0 and year % 400):
                year -= 1
        return self._local(datetime(year, month, day, hour, minute))
