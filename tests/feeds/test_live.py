"""The live feed itself: one wait for everybody, deadlines, timers; standard input; the watchers."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailguard.clock import ManualClock, SystemClock
from mailguard.feeds import watch
from mailguard.feeds.inotify import Inotify
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.lines import PENDING
from mailguard.feeds.live import LiveFeed, make_source
from mailguard.feeds.stdin import StdinSource
from mailguard.feeds.wait import READ, WRITE
from mailguard.model import Block, Item, Request

Make = Callable[..., Any]


def test_descriptors_of_others() -> None:
    """A control socket's callback runs inside `next`, and what it returns is handed out."""
    feed = LiveFeed()
    read, write = os.pipe()
    asked = Request("status")

    def ready(events: int) -> list[Item]:
        assert events & READ
        os.read(read, 100)
        return [asked]

    feed.add_fd(read, ready)
    assert feed.next(time.monotonic()) == []
    os.write(write, b"x")
    assert feed.next(None) == [asked]
    feed.remove_fd(read)
    feed.remove_fd(read)
    os.write(write, b"x")
    assert feed.next(time.monotonic()) == []
    os.close(read)
    os.close(write)
    feed.close()
    feed.close()


def test_waiting_to_write() -> None:
    """The events of a descriptor can be changed: a reply that did not fit is sent when there is room."""
    feed = LiveFeed()
    read, write = os.pipe()
    seen: list[int] = []
    feed.add_fd(write, lambda events: seen.append(events), WRITE)
    feed.next(time.monotonic())
    assert seen
    assert seen[0] & WRITE
    feed.modify_fd(write, 0)
    seen.clear()
    feed.next(time.monotonic())
    assert seen == []
    os.close(read)
    feed.close()
    os.close(write)


def test_deadline_and_timers() -> None:
    """`next` waits no longer than its deadline; timers run in order of time, cancelled ones never."""
    feed = LiveFeed()
    ran: list[str] = []
    now = time.monotonic()
    later = feed.call_at(now + 3600, lambda _: ran.append("an hour too early"))
    assert feed.next(now + 0.005) == []
    assert ran == []
    assert time.monotonic() < now + 3600
    later.cancel()
    feed.call_at(now + 0.02, lambda _: ran.append("second"))
    feed.call_at(now + 0.01, lambda _: ran.append("first"))
    feed.call_at(now + 0.015, lambda _: ran.append("never")).cancel()
    assert feed.next(now + 0.05) == []
    assert ran == ["first", "second"]
    feed.call_at(now, lambda _: [Request("reload")])
    assert feed.next(None) == [Request("reload")]
    feed.close()


def test_a_clock_that_stands_still() -> None:
    """With a manual clock a wait still ends."""
    feed = LiveFeed(clock=ManualClock(100.0))
    assert feed.next(100.01) == []
    assert feed.next(50.0) == []
    feed.close()


def test_a_signal_wakes(tmp_path: Path) -> None:
    """A wake-up descriptor for signals ends the wait."""
    feed = LiveFeed()
    read, write = os.pipe2(os.O_NONBLOCK)
    before = signal.set_wakeup_fd(write)
    old = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        feed.add_fd(read, lambda _: [Request("stop")] if os.read(read, 10) else None)
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        assert feed.next(time.monotonic() + 20) == [Request("stop")]
        timer.join()
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGUSR1, old)
        feed.close()
        os.close(read)
        os.close(write)


def test_blocks_carry_the_options_of_their_log(tmp_path: Path) -> None:
    """Zone, year, trust and parsers of the settings are in every block."""
    (tmp_path / "a.log").write_bytes(b"x\n")
    options = LogOptions(
        paths=(str(tmp_path / "a.log"),), start="begin", parsers=("dovecot",), timezone="Asia/Tokyo",
        year=2026, may_ban=False,
    )  # fmt: skip
    feed = LiveFeed([make_source(options, {}, SystemClock())])
    (block,) = feed.next(None) or []
    assert isinstance(block, Block)
    assert block.live
    assert abs(block.arrival - time.time()) < 60
    assert (block.parsers, block.timezone, block.year, block.may_ban) == (
        ("dovecot",),
        "Asia/Tokyo",
        2026,
        False,
    )
    status = feed.status()[str(tmp_path / "a.log")]
    assert (status["opened"], status["bytes"], status["last_line"]) == (True, 2, block.arrival)
    feed.close()


def test_unknown_kinds_are_refused() -> None:
    """The settings' words are checked once more."""
    with pytest.raises(ValueError, match="unknown kind"):
        make_source(LogOptions(kind="carrier pigeon"), {}, SystemClock())


class TestStdin:
    """Standard input as a live log."""

    @pytest.fixture
    def pipe(self) -> Any:
        read, write = os.pipe()
        feed = LiveFeed([StdinSource(LogOptions(), read)])
        yield write, feed
        feed.close()
        os.close(read)

    @staticmethod
    def lines(feed: LiveFeed) -> tuple[list[tuple[int, bytes]], list[bytes]]:
        got, cuts = [], []
        for item in feed.next(time.monotonic()) or []:
            assert isinstance(item, Block)
            got.append((item.position, bytes(item.data[item.start : item.end])))
            cuts += [bytes(item.data[at : item.end]) for at in item.cuts]
        return got, cuts

    def test_lines_and_end(self, pipe: Any) -> None:
        """Whole lines as they come; at the end the rest as cut, and then None."""
        write, feed = pipe
        os.write(write, b"one\ntw")
        assert self.lines(feed) == ([(0, b"one\n")], [])
        os.write(write, b"o\nthree\nfo")
        assert self.lines(feed) == ([(4, b"two\nthree\n")], [])
        os.close(write)
        assert self.lines(feed) == ([(14, b"fo\n")], [b"fo\n"])
        assert feed.next(None) is None
        assert feed.positions() == {}

    def test_a_line_without_end(self, pipe: Any) -> None:
        """Its beginning is handed out once, memory stays bounded."""
        write, feed = pipe
        got: list[bytes] = []
        for _ in range(20):
            os.write(write, b"x" * 60_000)
            got += [text for _, text in self.lines(feed)[0]]
        os.write(write, b"\nshort\n")
        got += [text for _, text in self.lines(feed)[0]]
        assert [len(text) for text in got] == [8193, 6]
        os.close(write)

    def test_a_file_as_standard_input(self, tmp_path: Path) -> None:
        """A regular file is always ready: epoll does not take it, the feed does."""
        (tmp_path / "x").write_bytes(b"a\n" * 300_000)
        fd = os.open(tmp_path / "x", os.O_RDONLY)
        feed = LiveFeed([StdinSource(LogOptions(), fd)])
        size = 0
        while (items := feed.next(None)) is not None:
            size += sum(item.end - item.start for item in items if isinstance(item, Block))
        assert size == 600_000
        feed.close()
        os.close(fd)


class TestWatchers:
    """Which watcher, and what happens when the kernel has no more to give."""

    def test_network_file_systems_are_polled(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """inotify reports only this host's writes there."""
        feed = LiveFeed()
        watchers = watch.Watchers(feed.wait)
        assert watchers.kind(str(tmp_path)) == "inotify"
        monkeypatch.setattr(watch, "file_system", lambda path: "nfs")
        assert watchers.kind("/srv/share") == "polling"
        feed.close()

    def test_known_file_systems(self, tmp_path: Path) -> None:
        """This machine's own disk is no network; what is not there cannot be told."""
        assert watch.file_system(str(tmp_path)) is None
        assert watch.file_system(str(tmp_path / "none")) is None
        assert watch.NETWORK[0x6969] == "nfs"
        assert {"cifs", "smb2", "fuse", "9p"} <= set(watch.NETWORK.values())

    def test_no_watches_left(
        self, monkeypatch: pytest.MonkeyPatch, read: Make, write: Make, tmp_path: Path
    ) -> None:
        """Then files are looked at twice a second, and that is said once."""

        def full(self: Inotify, path: str, mask: int, call: Callable[[], None]) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Inotify, "_watch", full)
        log = write(tmp_path / "mail.log")
        reader = read(tmp_path / "mail.log")
        reader.drain()
        log(b"x\n")
        reader.until(lambda r: r.lines() == [b"x"])
        assert len(reader.said("watch-limit")) == 1

    def test_a_full_queue(self, write: Make, tmp_path: Path) -> None:
        """After a queue overflow everything is looked at: no line waits for the next one."""
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        watcher = Inotify()
        called: list[str] = []
        names = ["a", "b"]
        logs = [write(tmp_path / name) for name in names]
        for name, log in zip(names, logs, strict=True):
            # type: ignore[misc]
            watcher.file(str(tmp_path / name), log.fd, lambda name=name: called.append(name))
        for _ in range(limit // 2 + 5):  # different events in turn are not put together by the kernel
            for log in logs:
                log(b"x")
        while select.select([watcher], [], [], 0)[0]:
            watcher.read()
        assert watcher.overflows == 1
        assert set(called[-2:]) == {"a", "b"}
        watcher.close()

    def test_watches_end(self, tmp_path: Path, write: Make) -> None:
        """Two watches of one file are independent; a dropped one is silent; dropping twice is fine."""
        watcher = Inotify()
        log = write(tmp_path / "a")
        called: list[int] = []
        one = watcher.file(str(tmp_path / "a"), log.fd, lambda: called.append(1))
        two = watcher.file(str(tmp_path / "a"), log.fd, lambda: called.append(2))
        log(b"x")
        watcher.read()
        assert called == [1, 2]
        watcher.drop(one)
        watcher.drop(one)
        log(b"x")
        watcher.read()
        assert called == [1, 2, 2]
        watcher.drop(two)
        log(b"x")
        watcher.read()
        watcher.read()
        assert called == [1, 2, 2]
        watcher.close()
        watcher.close()


def test_pending_bound_is_what_sources_assume() -> None:
    """An arena has room for several reads."""
    assert LiveFeed()._arena.size >= 16 * PENDING
