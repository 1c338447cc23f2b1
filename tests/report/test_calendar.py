"""Stretches of time cover what they are to cover, by the calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.report.calendar import DAY, HOUR, MOST_BARS, MOST_TICKS, edges, moment, step_of, ticks

ZONES = [
    ZoneInfo(name) for name in ("UTC", "Asia/Tokyo", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns")
]
TIMES = st.floats(0, 4e9)
SPANS = st.one_of(st.floats(0, 1e5), st.floats(0, 4e8))


@given(TIMES, SPANS, st.sampled_from(ZONES))
def test_bars_cover_the_span(first: float, span: float, zone: ZoneInfo) -> None:
    """Edges rise, begin at or before the first moment and end after the last; there are few of them."""
    last = first + span
    found = edges(first, last, zone, step_of(first, last))
    assert found[0] <= first
    assert found[-1] > last
    assert found[-2] <= last
    assert all(a < b for a, b in pairwise(found))
    assert len(found) <= MOST_BARS + 3


@given(TIMES, SPANS, st.sampled_from(ZONES))
def test_ticks_are_few(first: float, span: float, zone: ZoneInfo) -> None:
    """Ticks lie inside and are at most about six; none has the name of its neighbour."""
    found = ticks(first, first + span, zone)
    assert len(found) <= MOST_TICKS + 1
    assert all(first <= tick.time <= first + span for tick in found)
    assert all(a.name != b.name for a, b in pairwise(found))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_days_are_days_of_the_calendar(day: str, hours: int) -> None:
    """A day in which the clocks change has 23 or 25 hours, and hours are hours in it."""
    zone = ZoneInfo("Europe/Berlin")
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=zone).timestamp()
    begin, end, *_ = edges(noon, noon, zone, DAY)
    assert (end - begin) / HOUR == hours
    lengths = {b - a for a, b in pairwise(edges(begin, end - 1, zone, HOUR))}
    assert lengths == {HOUR}


@pytest.mark.parametrize(
    ("days", "names"),
    [
        (0.1, ["01:00", "02:00"]),
        (2, ["12:00", "11-23", "12:00", "11-24"]),
        (9, ["11-23", "11-25", "11-27", "11-29"]),
        (400, ["2027-01", "2027-04", "2027-07", "2027-10"]),
        (3000, ["2030"]),
    ],
)
def test_ticks_have_short_names(days: float, names: list[str]) -> None:
    """Names say what changes from tick to tick: hours, days, months, years."""
    first = datetime(2026, 11, 22, 0, 5, tzinfo=UTC).timestamp()
    assert [tick.name for tick in ticks(first, first + days * DAY, UTC)][: len(names)] == names


def test_moments() -> None:
    """A moment is written in its zone."""
    assert moment(0, UTC) == "1970-01-01 00:00"
    assert moment(61, ZoneInfo("Asia/Tokyo"), seconds=True) == "1970-01-01 09:01:01"
