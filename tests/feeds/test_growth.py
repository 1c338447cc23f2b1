"""The meter: which folders are counted and how, and that nobody waits for it."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path

import pytest

from mailguard.clock import ManualClock
from mailguard.feeds import growth
from mailguard.feeds.growth import Meter, count, count_all, folders_of
from mailguard.feeds.wait import Wait
from mailguard.model import Item, Readings


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_an_epost_spool(tmp_path: Path) -> None:
    """Messages in four folders and below them; not envelopes, working copies, mailboxes and logs."""
    touch(tmp_path, "incoming/B0000000001.MSG", "incoming/B0000000001.RCP", "incoming/B0000000002.msg")
    touch(tmp_path, "incoming/B0000000003.MSG$", "domains/example.net/B4-R0001.MSG", "holding/x.RCX")
    touch(tmp_path, "lists/all/members/B5.MSG", "inbox/sato/B6.MSG", "acceptlog/171212.log", "dead/B7.MSG")
    assert count_all([str(tmp_path)]) == (
        {
            str(tmp_path / "incoming"): 2,
            str(tmp_path / "domains"): 1,
            str(tmp_path / "holding"): 0,
            str(tmp_path / "lists"): 1,
        },
        {},
    )


def test_a_postfix_queue(tmp_path: Path) -> None:
    """Every file of five folders is a message, hashed or not."""
    touch(tmp_path, "maildrop/A1", "active/B2", "deferred/C/C3", "deferred/D/D4", "hold/E5", "defer/C/C3")
    touch(tmp_path, "incoming/F6", "private/smtp", "pid/master.pid", "corrupt/G7")
    messages, why = count_all([str(tmp_path)])
    assert {os.path.basename(folder): number for folder, number in messages.items()} == {
        "maildrop": 1, "active": 1, "deferred": 2, "hold": 1, "incoming": 1,
    }  # fmt: skip
    assert why == {}


def test_any_other_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b/c")
    assert folders_of(str(tmp_path)) == [(str(tmp_path), "")]
    assert count_all([str(tmp_path)])[0] == {str(tmp_path): 2}


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither in circles nor out of the spool."""
    touch(tmp_path, "incoming/B1.MSG", "elsewhere/B2.MSG")
    (tmp_path / "incoming/loop").symlink_to(tmp_path / "incoming")
    (tmp_path / "incoming/out").symlink_to(tmp_path / "elsewhere")
    assert count(str(tmp_path / "incoming"), ".MSG") == 1


def test_an_endless_queue_is_not_counted_to_its_end(tmp_path: Path) -> None:
    touch(tmp_path, *(f"d{at}/B{at}.MSG" for at in range(30)))
    assert count(str(tmp_path), ".MSG", most=20) <= 20


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the rest is counted."""
    touch(tmp_path, "incoming/B1.MSG", "domains/x/B2.MSG")
    true = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("/domains"):
            raise PermissionError(13, "Permission denied", path)
        return true(path)

    monkeypatch.setattr(os, "scandir", scandir)
    messages, why = count_all([str(tmp_path), str(tmp_path / "gone")])
    assert messages == {str(tmp_path / "incoming"): 1}
    assert why == {
        str(tmp_path / "domains"): "Permission denied",
        str(tmp_path / "gone"): "No such file or directory",
    }


class Stand:
    """A meter with its wait."""

    def __init__(self, *roots: Path, every: float = 60.0):
        self.clock = ManualClock(1e9)
        self.wait = Wait(self.clock)
        self.sizes = {"log": 5}
        self.meter = Meter([str(root) for root in roots], lambda: dict(self.sizes), self.clock, every)
        self.meter.attend(self.wait)

    def take(self, seconds: float = 0.0) -> list[Item]:
        """What is there after this time, without waiting."""
        self.clock.set(self.clock.now() + seconds)
        items: list[Item] = []
        self.wait.dispatch(self.wait.poll(0.0), items)
        return items

    def counted(self) -> Readings:
        """The next count of the thread."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            items: list[Item] = []
            self.wait.dispatch(self.wait.poll(0.05), items)
            for item in items:
                assert isinstance(item, Readings)
                if not item.bytes:
                    return item
        raise AssertionError("nothing was counted")


def test_sizes_come_at_intervals_and_counts_when_they_are_there(tmp_path: Path) -> None:
    touch(tmp_path, "incoming/B1.MSG", "domains/B2.MSG")
    stand = Stand(tmp_path)
    assert stand.take()[0] == Readings(1e9, {"log": 5}, {})
    assert stand.counted().messages == {str(tmp_path / "incoming"): 1, str(tmp_path / "domains"): 1}
    stand.sizes["log"] = 9
    assert [one for one in stand.take(59) if isinstance(one, Readings) and one.bytes] == []
    assert stand.take(1)[0] == Readings(1e9 + 60, {"log": 9}, {})
    touch(tmp_path, "incoming/B3.MSG")
    assert sum(stand.counted().messages.values()) in (2, 3)
    stand.meter.close()
    stand.meter.close()
    assert stand.take(600) == []


def test_nobody_waits_for_a_share_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes go on; counting goes on when the share is back."""
    back = threading.Event()
    numbers = itertools.count(1)

    def hang(roots: object) -> object:
        back.wait(20)
        return {"x": next(numbers)}, {"y": "gone"}

    monkeypatch.setattr(growth, "count_all", hang)
    stand = Stand(tmp_path)
    for number in range(5):
        assert stand.take(60.0 if number else 0.0)[0] == Readings(1e9 + 60 * number, {"log": 5}, {})
    back.set()
    first = stand.counted()
    assert first.time == 1e9 + 240
    stand.take(60)
    assert stand.counted().messages["x"] > first.messages["x"]
    assert stand.meter.unreadable == {"y": "gone"}
    stand.meter.close()


def test_a_share_that_is_unmounted_is_no_empty_queue(tmp_path: Path) -> None:
    """Where the spool was there is an empty folder: that is said, and nothing is counted until it is back. An
    empty folder that never was anything else is an empty queue."""
    spool, plain = tmp_path / "spool", tmp_path / "plain"
    touch(spool, "incoming/B1.MSG", "domains/B2.MSG")
    plain.mkdir()
    stand = Stand(spool, plain)
    assert len(stand.counted().messages) == 3
    spool.rename(tmp_path / "away")
    spool.mkdir()
    for _ in range(2):
        stand.take(60)
        assert stand.counted().messages == {str(plain): 0}
        assert stand.meter.unreadable == {str(spool): "its folders are gone; is the share mounted?"}
    spool.rmdir()
    (tmp_path / "away").rename(spool)
    stand.take(60)
    assert len(stand.counted().messages) == 3
    assert stand.meter.unreadable == {}
    stand.meter.close()


def test_what_takes_long_is_done_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting leaves most of the time to others, however often it is asked for; and closing waits for no
    rest."""
    begun: list[float] = []

    def slow(roots: object) -> object:
        begun.append(time.monotonic())
        time.sleep(0.1)
        return {"x": 1}, {}

    monkeypatch.setattr(growth, "count_all", slow)
    stand = Stand(Path("/nowhere"))
    for _ in range(2):
        stand.take(60)
        stand.counted()
        stand.meter._asked.set()
    assert begun[1] - begun[0] >= 0.45
    end = time.monotonic()
    stand.meter.close()
    assert time.monotonic() - end < 0.9


def test_without_folders_there_is_no_thread() -> None:
    before = threading.active_count()
    stand = Stand()
    assert threading.active_count() == before
    assert stand.take()[0] == Readings(1e9, {"log": 5}, {})
    stand.meter.close()
