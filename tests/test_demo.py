"""The demonstration: sample logs as if they were written now."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard import demo
from mailguard.core.envelope import Opener

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "now"),
    [
        (b"Nov  2 09:05:07 mx postfix/smtpd[1]: x\n", b"Nov 22 03:04:05 mx postfix/smtpd[1]: x\n"),
        (b"<22>Nov  2 09:05:07 mx postfix/smtpd[1]: x\n", b"<22>Nov 22 03:04:05 mx postfix/smtpd[1]: x\n"),
        (
            b"2020-01-02T03:04:05.123456+09:00 mx dovecot: x\n",
            b"2026-11-22T03:04:05.000000+00:00 mx dovecot: x\n",
        ),
        (b"2020-01-02 03:04:05 mx dovecot: x\n", b"2026-11-22T03:04:05.000000+00:00 mx dovecot: x\n"),
        (b"[30/Nov/2017:08:20:44],192.0.2.7,x\n", b"[22/Nov/2026:03:04:05],192.0.2.7,x\n"),
        (
            b"<22>1 2020-01-02T03:04:05Z mx postfix 1 - - x\n",
            b"<22>1 2026-11-22T03:04:05.000000+00:00 mx postfix 1 - - x\n",
        ),
        (b"no stamp at all\n", b"no stamp at all\n"),
    ],
)  # fmt: skip
def test_a_stamp_becomes_the_present_in_its_own_form(line: bytes, now: bytes) -> None:
    """Everything but the stamp stays as it was."""
    assert demo.restamp(line, NOW) == now


@pytest.mark.parametrize(
    "line",
    [
        b"Nov  2 09:05:07 mx postfix/smtpd[1]: x",
        b"2020-01-02T03:04:05.123456+09:00 mx postfix/smtpd[1]: x",
        b"[30/Nov/2017:08:20:44],192.0.2.7,x",
    ],
)
def test_the_envelope_reads_the_new_stamp(line: bytes) -> None:
    """The guard dates a played line to the moment it was played."""
    opener = Opener(zone="UTC")
    opener.arrive(NOW.timestamp(), True)
    new = demo.restamp(line, NOW)
    opened = opener.open(new, 0, len(new))
    assert opened is not None
    assert opened.time == NOW.timestamp()


def test_logs_are_played_in_the_order_of_their_stamps_and_in_time() -> None:
    """Evenly, so that all is over within the time; lines without a stamp follow their neighbour."""
    one = b"Nov  2 09:00:00 mx a: 1\n  continued\nNov  2 19:00:00 mx a: 3\n"
    two = b"2019-01-01T00:00:10Z mx b: 2\n2019-01-01T05:00:10Z mx b: 4\n"
    played = list(demo.script([("one.log", one), ("two.log", two)], seconds=0.3))
    assert [(name, line.split()[-1]) for _, name, line in played] == [
        ("one.log", b"1"), ("one.log", b"continued"), ("two.log", b"2"), ("two.log", b"4"), ("one.log", b"3"),
    ]  # fmt: skip
    assert sum(pause for pause, _, _ in played) == pytest.approx(0.3)


@given(st.lists(st.binary(max_size=80).filter(lambda line: b"\n" not in line and line), max_size=20))
def test_no_line_is_lost_or_made_up(lines: list[bytes]) -> None:
    """Whatever the bytes, every line is played once, and only its stamp may differ."""
    data = b"".join(line + b"\n" for line in lines)
    assert [line for _, _, line in demo.script([("x", data)])] == [line + b"\n" for line in lines]


def test_playing_writes_the_files(tmp_path: Path) -> None:
    """Each sample becomes a file of its name, written line by line; nothing waits longer than it should."""
    samples, folder = tmp_path / "samples", tmp_path / "logs"
    samples.mkdir()
    folder.mkdir()
    (samples / "postfix.log").write_bytes(b"Nov  2 09:00:00 mx a: 1\nNov  2 09:00:05 mx a: 2\n")
    (samples / "postfix.effects").write_text("not a log")
    waits: list[float] = []
    assert demo.play(samples, folder, sleep=waits.append) == 2
    assert [path.name for path in folder.iterdir()] == ["postfix.log"]
    assert (folder / "postfix.log").read_bytes().count(b"\n") == 2
    assert waits == [demo.LONGEST_PAUSE] * 2
