"""Files without years that span more than one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.core.envelope import Opener
from mailguard.core.years import first_year


def stamp(moment: datetime) -> bytes:
    return moment.strftime("%b %e %H:%M:%S mail1 smtpd[1]: x").encode()


@given(st.integers(0, 2000), st.lists(st.integers(1, 150), max_size=30), st.integers(0, 200))
def test_every_line_gets_its_year(start: int, steps: list[int], idle: int) -> None:
    """However many years a file spans, with the first year found each line is dated on its day; leap days
    too."""
    moments = [datetime(2019, 1, 1, 12, tzinfo=UTC) + timedelta(days=start)]
    for step in steps:
        moments.append(moments[-1] + timedelta(days=step))
    arrival = (moments[-1] + timedelta(days=idle)).timestamp()
    lines = [stamp(moment) for moment in moments]
    opener = Opener(("syslog",), "UTC")
    opener.arrive(arrival, False, first_year(lines, arrival, "UTC"))
    dated = []
    for line in lines:
        found = opener.open(line, 0, len(line))
        assert found is not None
        dated.append(datetime.fromtimestamp(found.time, UTC))
    assert dated == moments


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"2019-11-22T09:31:07Z mail1 a[1]: x", b"2021-11-22T09:31:07Z mail1 a[1]: x"],
        [b"no stamp"],
        [b"Dec 31 23:59:59 mail1 a[1]: x", b"Jan  1 00:00:01 mail1 a[1]: x"],
        [
            b"Dec 31 23:59:59 m a: x",
            b"Jan  1 00:00:01 m a: x",
            b"Dec 31 23:59:59 m a: x",
            b"Jan  1 00:00:02 m a: x",
        ],
        [b"Foo 31 23:59:59 mail1 a[1]: x", b"Feb 31 23:59:59 mail1 a[1]: x"],
    ],
)
def test_nothing_to_tell(lines: list[bytes]) -> None:
    """Lines with years, without stamps, or of less than a year need no first year."""
    assert first_year(lines, datetime(2027, 1, 2, tzinfo=UTC).timestamp(), "UTC") is None
