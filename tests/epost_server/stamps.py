"""Times as the server writes them: bracketed stamps, names of day files, FILETIME."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = 11644473600  # seconds from 1601 to 1970


@lru_cache(maxsize=4096)
def _local(second: int, zone: str) -> datetime:
    return datetime.fromtimestamp(second, ZoneInfo(zone))


def stamp(now: float, zone: str) -> str:
    """`[12/Dec/2017:00:01:49]`"""
    at = _local(int(now), zone)
    return f"[{at.day:02}/{_MONTHS[at.month - 1]}/{at.year:04}:{at.hour:02}:{at.minute:02}:{at.second:02}]"


def day_file(now: float, zone: str) -> str:
    """`171212.log`"""
    at = _local(int(now), zone)
    return f"{at.year % 100:02}{at.month:02}{at.day:02}.log"


def year_and_month(now: float, zone: str) -> str:
    """Year modulo 10 and month, a hex digit each, as ids of the long form have them."""
    at = _local(int(now), zone)
    return f"{at.year % 10:X}{at.month:X}"


def filetime(now: float) -> int:
    """Hundreds of nanoseconds since 1601-01-01 UTC."""
    return (int(now) + _EPOCH) * 10_000_000 + int(now % 1 * 10_000_000)


def of_filetime(value: int) -> float:
    """Seconds since 1970-01-01 UTC."""
    return value / 10_000_000 - _EPOCH
