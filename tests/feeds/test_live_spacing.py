"""How wake-ups under load are put together, and that a few close ones are not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mailguard.clock import ManualClock
from mailguard.feeds import live
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.live import BURST, LiveFeed, make_source


class Room:
    """A feed on one log, whose naps are written down instead of slept."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, spacing: float = 0.0005):
        self.clock = ManualClock(1_700_000_000.0)
        self.naps: list[float] = []
        monkeypatch.setattr(live.time, "sleep", self._nap)
        self.log = folder / "mail.log"
        self.log.touch()
        source = make_source(LogOptions(name="mail", paths=(str(self.log),)), {}, self.clock)
        self.feed = LiveFeed([source], self.clock, spacing=spacing)
        while self.feed.next(self.clock.monotonic()):
            pass
        self.feed._credit, self.naps = BURST, []

    def _nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.clock.set(self.clock.now() + seconds)

    def line(self) -> None:
        """One line is written and read."""
        with self.log.open("ab") as file:
            file.write(b"a line\n")
            os.fsync(file.fileno())
        items: list[Any] = []
        while not items:
            items = self.feed.next(None) or []

    def close(self) -> None:
        self.feed.close()


def test_lines_right_behind_each_other_are_not_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst is read line by line; only a longer one is gathered."""
    room = Room(tmp_path, monkeypatch)
    for _ in range(int(BURST)):
        room.line()
    assert room.naps == []
    for _ in range(5):
        room.line()
    assert room.naps == pytest.approx([0.0005] * 5)
    room.close()


def test_what_comes_at_the_spacing_or_slower_is_never_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand wake-ups a second are no load yet, and idle time gives the whole burst back."""
    room = Room(tmp_path, monkeypatch)
    for _ in range(60):
        room.clock.set(room.clock.now() + 0.0005)
        room.line()
    assert room.naps == []
    room.feed._credit = 0.0
    room.clock.set(room.clock.now() + 1.0)
    for _ in range(int(BURST)):
        room.line()
    assert room.naps == []
    room.close()


def test_a_clock_that_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No nap is longer than the spacing, whatever the clock says."""
    room = Room(tmp_path, monkeypatch)
    for _ in range(40):
        room.clock._now -= 3600.0
        room.line()
    assert room.naps
    assert max(room.naps) <= 0.0005 + 1e-9
    room.close()
