"""Bars on a terminal: as high as what they stand for, in the last column, in signs that the terminal has."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.cli import output, replay
from mailguard.cli.plots import BLOCKS, PLAIN, shown, spark

LINE = (
    "Nov {day:2} 10:{minute:02}:20 mail1 dovecot: imap-login: Disconnected: Aborted login by logging out "
    "(auth failed, 1 attempts in 1 secs): user=<anna>, method=PLAIN, rip=192.0.2.78, lip=203.0.113.25, TLS, "
    "session=<S{day}{minute}>"
)


@given(st.lists(st.integers(0, 10**9), max_size=60), st.sampled_from((BLOCKS, PLAIN)))
def test_bars(values: list[int], ramp: str) -> None:
    """A sign for each value: nothing is blank, more than nothing is not, the largest is highest, and a
    larger value never stands lower."""
    drawn = spark(values, ramp)
    assert len(drawn) == len(values)
    heights = [ramp.index(sign) for sign in drawn]
    for value, height in zip(values, heights, strict=True):
        assert (height == 0) == (value == 0)
        assert height <= len(ramp) - 1
        assert value != max(values) or not value or height == len(ramp) - 1
    assert [height for _, height in sorted(zip(values, heights, strict=True))] == sorted(heights)


@pytest.mark.parametrize(
    ("encoding", "signs"), [("utf-8", BLOCKS), ("ascii", PLAIN), ("euc_jp", PLAIN), ("latin-1", PLAIN)]
)
def test_signs_that_the_terminal_has(monkeypatch: pytest.MonkeyPatch, encoding: str, signs: str) -> None:
    """Where standard output cannot carry blocks, plain signs stand for them."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert shown() == signs


def test_replay_shows_kinds_over_time(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of hostile events ends with a bar for each stretch of time; pipes get no table."""
    log = tmp_path / "mail.log"
    counts = {19: 2, 20: 0, 21: 8, 22: 4}
    lines = [LINE.format(day=day, minute=minute) for day, count in counts.items() for minute in range(count)]
    log.write_text("\n".join(lines) + "\n")
    config = tmp_path / "mailguard.toml"
    config.write_text("")
    arguments = ("replay", "--year", "2026", "--timezone", "UTC", "--config", str(config), str(log))
    assert "over time" not in run(*arguments).out

    for module in (output, replay):
        monkeypatch.setattr(module, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    out = run(*arguments).out
    heading = next(line for line in out.splitlines() if "over time" in line)
    row = next(line for line in out.splitlines() if line.strip().startswith("auth_failure"))
    assert heading.rstrip().endswith("over time, a bar for 3h")
    drawn = row[heading.index("over time") :].rstrip()
    assert [sign for sign in drawn if sign != " "] == ["▂", "█", "▄"]
