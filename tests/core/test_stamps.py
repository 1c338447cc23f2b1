"""How stamps without a year, in zones with summer time, and on odd days become times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.core.stamps import Stamps, zone_of


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


def stamps(arrival: float, zone: str = "UTC", live: bool = False, year: int | None = None) -> Stamps:
    made = Stamps(zone)
    made.arrive(arrival, live, year)
    return made


@pytest.mark.parametrize(
    ("key", "arrival", "expected"),
    [
        (b"Nov 22 09:31", utc(2026, 11, 22, 9, 32), utc(2026, 11, 22, 9, 31)),
        (b"Dec 31 23:59", utc(2027, 1, 1, 0, 0, 2), utc(2026, 12, 31, 23, 59)),
        (b"Jan  1 00:00", utc(2026, 12, 31, 23, 59, 55), utc(2027, 1, 1)),
        (b"Jan  2 12:00", utc(2026, 12, 31, 12), utc(2027, 1, 2, 12)),
        (b"Jan  2 12:01", utc(2026, 12, 31, 12), utc(2026, 1, 2, 12, 1)),
        (b"Nov 25 00:00", utc(2027, 2, 1), utc(2026, 11, 25)),
        (b"Feb 29 10:00", utc(2024, 3, 1), utc(2024, 2, 29, 10)),
        (b"Feb 29 10:00", utc(2026, 11, 22), utc(2024, 2, 29, 10)),
        (b"Feb 29 10:00", utc(2028, 2, 27, 11), utc(2028, 2, 29, 10)),
        (b"Feb 29 10:00", utc(2028, 2, 26, 11), utc(2024, 2, 29, 10)),
        (b"Feb 29 10:00", utc(2103, 3, 1), utc(2096, 2, 29, 10)),
    ],
)
def test_year_nearest_before_arrival(key: bytes, arrival: float, expected: float) -> None:
    """The latest year that does not put the stamp more than 48 hours past the arrival; leap days in leap
    years."""
    assert stamps(arrival).yearless(key) == expected


@pytest.mark.parametrize(
    "key", [b"Feb 30 10:00", b"Foo 22 10:00", b"nov 22 10:00", b"Nov  0 10:00", b"Nov 22 25:00"]
)
def test_dates_that_do_not_exist(key: bytes) -> None:
    """No date, no time; months are English and written as syslogd writes them."""
    assert stamps(utc(2026, 12, 1)).yearless(key) is None


@given(st.integers(0, 400 * 86400), st.floats(0, 300 * 86400))
def test_year_is_found_again(before: int, delay: float) -> None:
    """A stamp of the last 300 days before its arrival gets its own year back, from whatever day."""
    moment = datetime(2023, 6, 1, tzinfo=UTC) + timedelta(seconds=before)
    minute = moment.replace(second=0)
    key = minute.strftime("%b %e %H:%M").encode()
    assert stamps(moment.timestamp() + delay).yearless(key) == minute.timestamp()


def test_stated_year_rolls_over() -> None:
    """A stated year is the year of the first line; a jump back of more than half a year is a new one."""
    file = stamps(utc(2030, 1, 1), year=2024)
    times = []
    for key in (
        b"Nov 30 10:00",
        b"Dec 31 23:59",
        b"Jan  1 00:00",
        b"Dec 31 23:59",
        b"Jan  1 00:01",
        b"Feb 28 00:00",
        b"Sep  1 00:00",
        b"Jan  1 00:00",
        b"Dec 31 23:59",
    ):
        time = file.yearless(key)
        assert time is not None
        times.append(file.settle(time))
    assert times == [
        utc(2024, 11, 30, 10),
        utc(2024, 12, 31, 23, 59),
        utc(2025, 1, 1),
        utc(2024, 12, 31, 23, 59),
        utc(2025, 1, 1, 0, 1),
        utc(2025, 2, 28),
        utc(2025, 9, 1),
        utc(2026, 1, 1),
        utc(2025, 12, 31, 23, 59),
    ]


def test_stated_year_and_leap_day() -> None:
    """The leap day of a stated common year is the one before."""
    assert stamps(utc(2030, 1, 1), year=2026).yearless(b"Feb 29 12:00") == utc(2024, 2, 29, 12)


def test_cache_follows_the_arrival() -> None:
    """What was worked out for one arrival is not believed a year later."""
    live = stamps(utc(2026, 11, 22, 10), live=True)
    assert live.yearless(b"Nov 22 09:31") == utc(2026, 11, 22, 9, 31)
    live.arrive(utc(2027, 11, 22, 10), True)
    assert live.yearless(b"Nov 22 09:31") == utc(2027, 11, 22, 9, 31)


def test_live_stamp_ahead_counts_as_now() -> None:
    """Live, a stamp more than a minute ahead counts as its arrival, and is counted; recorded, it stays."""
    now = utc(2026, 11, 22, 10)
    live = stamps(now, live=True)
    assert live.settle(now + 60) == now + 60
    assert live.settle(now + 61) == now
    assert (live.ahead, live.running) == (1, now + 60)
    recorded = stamps(now)
    assert recorded.settle(now + 3600) == now + 3600
    assert recorded.ahead == 0


BERLIN = ZoneInfo("Europe/Berlin")


def test_the_repeated_hour_keeps_the_order() -> None:
    """At the end of summer time the hour that comes twice is read so that the log stays in order."""
    log = stamps(utc(2026, 12, 1), "Europe/Berlin")
    read = []
    for key in (
        b"Oct 25 01:59",
        b"Oct 25 02:00",
        b"Oct 25 02:30",
        b"Oct 25 02:29",
        b"Oct 25 02:59",
        b"Oct 25 02:00",
        b"Oct 25 02:30",
        b"Oct 25 03:00",
    ):
        time = log.yearless(key)
        assert time is not None
        read.append(log.settle(time) - utc(2026, 10, 25))
    assert [int(seconds // 60) for seconds in read] == [-1, 0, 30, 29, 59, 60, 90, 120]


def test_the_repeated_hour_live() -> None:
    """Live, the reading of the repeated hour that is now."""
    for minute in (30, 90):
        now = utc(2026, 10, 25, 0) + minute * 60
        live = stamps(now, "Europe/Berlin", live=True)
        assert live.yearless(b"Oct 25 02:30") == now


def test_the_hour_that_is_left_out() -> None:
    """A stamp in the hour that summer time skips is still a time near it."""
    time = stamps(utc(2026, 12, 1), "Europe/Berlin").yearless(b"Mar 29 02:30")
    assert time is not None
    assert abs(time - utc(2026, 3, 29, 1)) <= 3600


def test_zones() -> None:
    """Zones are IANA names, UTC or offsets; anything else is an error."""
    assert zone_of("") is None
    assert zone_of("UTC") is UTC
    offset = zone_of("+09:00")
    assert offset is not None
    assert offset.utcoffset(None) == timedelta(hours=9)
    west = zone_of("-0530")
    assert west is not None
    assert west.utcoffset(None) == -timedelta(hours=5, minutes=30)
    for wrong in ("Nowhere/Town", "+9", "+xx", "+99:99"):
        with pytest.raises((KeyError, ValueError)):
            zone_of(wrong)


def test_cache_is_bounded() -> None:
    """However many different minutes a log holds, the memory of them is bounded."""
    log = stamps(utc(2026, 12, 31))
    for day in range(1, 29):
        for hour in range(24):
            for minute in range(60):
                log.dated(b"2026-11-%02dT%02d:%02d" % (day, hour, minute), b"Z")
    assert len(log._cache) <= 8192
