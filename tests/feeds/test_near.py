"""The compiled wait hands out what the Python one does, and leaves to Python what is not the common case."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.clock import ManualClock, SystemClock
from mailguard.feeds import native
from mailguard.feeds.live import BURST, SPACING, LiveFeed
from mailguard.feeds.tails import Woken
from mailguard.model import Notice

near = native.load("near")
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(near is None, reason="the compiled module is not built: make native"),
]
FIRST = b"".join(b"line %d that was there before\n" % number for number in range(20))  # more than a head


def counted(reader: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes came by the shortest way, each time."""
    follow = next(iter(reader.source.follows.values()))
    came: list[int] = []
    taken = follow.quickly

    def quickly(tail: Any, count: int, *rest: Any) -> None:
        came.append(count)
        taken(tail, count, *rest)

    monkeypatch.setattr(follow, "quickly", quickly)
    monkeypatch.setattr(type(follow.current), "quick", lambda tail, arena: 0)
    return came


def test_whole_lines_come_the_shortest_way(
    tmp_path: Path, read: Callable[..., Any], write: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write, several, and more than the longest line allows at once where no line is too long."""
    path = tmp_path / "mail.log"
    writer = write(path)
    writer(FIRST)
    reader = read(path, watcher="inotify").drain()
    came = counted(reader, monkeypatch)
    writer(b"one\n")
    writer(b"two\n")
    reader.take(1)
    many = b"".join(b"%d %s\n" % (number, b"x" * 100) for number in range(300))
    writer(many)
    reader.take(1)
    assert came == [8, len(many)]
    assert b"".join(text for _, _, text in reader.blocks) == FIRST + b"one\ntwo\n" + many
    assert [position for _, position, _ in reader.blocks][1:] == [len(FIRST), len(FIRST) + 8]


@pytest.mark.parametrize(
    "text", [b"half", b"nul \0 inside\n", b"y" * 9000 + b"\n", b"a\n" + b"z" * 8193 + b"\nb\n"]
)
def test_the_rest_is_left_to_python(
    tmp_path: Path, read: Callable[..., Any], write: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch,
    text: bytes,
) -> None:  # fmt: skip
    """Half a line, NUL bytes, lines that are too long."""
    path = tmp_path / "mail.log"
    writer = write(path)
    writer(FIRST)
    reader = read(path, watcher="inotify").drain()
    came = counted(reader, monkeypatch)
    writer(text)
    reader.drain()
    writer(b"\nend\n")
    reader.drain()
    assert reader.lines()[-1] == b"end"
    assert len(text) not in came


def test_other_descriptors_and_timers_are_heard(
    tmp_path: Path, read: Callable[..., Any], write: Callable[[Path], Any]
) -> None:
    """A pipe beside the log, a timer while lines come, and a deadline without anything."""
    path = tmp_path / "mail.log"
    writer = write(path)
    writer(FIRST)
    reader = read(path, watcher="inotify").drain()
    heard, tell = os.pipe()
    try:
        reader.feed.add_fd(heard, lambda events: [Notice("piped", {"what": os.read(heard, 9)})])
        os.write(tell, b"x")
        writer(b"and a line\n")
        reader.until(lambda one: one.said("piped") and one.lines()[-1] == b"and a line")
        reader.feed.call_at(time.monotonic(), lambda events: [Notice("timed")])
        writer(b"another line\n")
        reader.take(1)
        assert reader.said("timed")
        assert reader.lines()[-1] == b"another line"
        before = time.monotonic()
        assert not reader.take(0.02)
        assert time.monotonic() - before >= 0.019
    finally:
        reader.feed.remove_fd(heard)
        os.close(heard)
        os.close(tell)


def test_two_logs_and_a_rotation(
    tmp_path: Path, read: Callable[..., Any], write: Callable[[Path], Any]
) -> None:
    """Notices of several files at once are dealt with one by one; what was renamed is followed."""
    paths = [tmp_path / "a.log", tmp_path / "b.log"]
    writers = [write(path) for path in paths]
    for writer in writers:
        writer(FIRST)
    reader = read(*paths, watcher="inotify").drain()
    writers[0](b"first of a\n")
    writers[1](b"first of b\n")
    writers[0](b"second of a\n")
    reader.drain()
    paths[0].rename(tmp_path / "a.log.1")
    writers[0](b"late\n")
    fresh = write(paths[0])
    fresh(b"anew\n")
    reader.until(lambda one: one.lines(paths[0])[-1] == b"anew")
    assert reader.lines(paths[0])[20:] == [b"first of a", b"second of a", b"late", b"anew"]
    assert reader.lines(paths[1])[20:] == [b"first of b"]


def told(reader: Any) -> list[dict[str, Any]]:
    """What `status` says of its logs, but for the times."""
    return [one | {"last_line": 0.0} for one in reader.source.status().values()]


def test_turns_in_compiled_code_take_lines_alone(
    tmp_path: Path, read: Callable[..., Any], write: Callable[[Path], Any]
) -> None:
    """Of two files in turn, also behind a rotation; and what else came meanwhile is not lost."""
    paths = [tmp_path / "a.log", tmp_path / "b.log"]
    writers = [write(path) for path in paths]
    for writer in writers:
        writer(FIRST)
    reader = read(*paths, watcher="inotify", quick=True).drain()
    heard, tell = os.pipe()
    try:
        reader.feed.add_fd(heard, lambda events: [Notice("piped", {"what": os.read(heard, 9)})])
        for number in range(4):
            writers[number % 2](b"line %d\n" % number)
            reader.until(lambda one, number=number: one.blocks[-1][2] == b"line %d\n" % number)
        assert reader.quickly == 4
        os.write(tell, b"x")
        writers[0](b"beside it\n")
        reader.until(lambda one: one.said("piped") and one.lines(paths[0])[-1] == b"beside it")
        writers[0](b"half")
        reader.drain()
        writers[0](b" and half\n")
        reader.until(lambda one: one.lines(paths[0])[-1] == b"half and half")
        paths[0].rename(tmp_path / "a.log.1")
        writers[0](b"late\n")
        write(paths[0])(b"anew\n")
        reader.until(lambda one: one.lines(paths[0])[-1] == b"anew")
        assert reader.lines(paths[0])[20:] == [
            b"line 0", b"line 2", b"beside it", b"half and half", b"late", b"anew",
        ]  # fmt: skip
        assert reader.lines(paths[1])[20:] == [b"line 1", b"line 3"]
    finally:
        reader.feed.remove_fd(heard)
        os.close(heard)
        os.close(tell)


def test_turns_in_compiled_code_end_in_time(
    tmp_path: Path, read: Callable[..., Any], write: Callable[[Path], Any]
) -> None:
    """At what was asked for, at the earliest timer, and a while after the first lines; and none begin while
    there is something else to read."""
    path = tmp_path / "mail.log"
    writer = write(path)
    writer(FIRST)
    reader = read(path, watcher="inotify").drain()
    feed = reader.feed
    now = time.monotonic()
    for until, gather, timer, line, expected in (
        (now + 0.03, 9.0, None, False, 0.03),
        (now + 9.0, 9.0, 0.1, True, 0.1),
        (now + 9.0, 0.05, None, True, 0.15),
    ):
        if timer is not None:
            feed.call_at(now + timer, lambda events: [Notice("timed")])
        if line:
            writer(b"a line\n")
        one = feed.quick(until, gather)
        assert (one.take() is not None) == line
        assert one.take() is None if line else True
        one.end()
        assert expected <= time.monotonic() - now < 5.0
        assert bool(feed.next(time.monotonic())) == (timer is not None)
        feed.next(time.monotonic())
    assert reader.source.status()[str(path)]["offset"] == path.stat().st_size
    assert read(path, watcher="polling").drain().feed.quick(time.monotonic() + 1, 1.0) is None
    fresh = read(path, watcher="inotify")
    assert fresh.feed.quick(time.monotonic() + 1, 1.0) is None  # nothing was looked at yet


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([b"\n", b"line\n", b"x" * 8191, b"x" * 8192, b"x" * 8193, b"\0", b"q" * 70_000]),
        ),
        max_size=12,
    )
)
def test_both_ways_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, reader_type: Any, pieces: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("near") / "mail.log"
    path.write_bytes(FIRST)
    ways: list[dict[str, bool]] = [{"compiled": False}, {}, {"quick": True}]
    readers = [reader_type(path, watcher="inotify", **way).drain() for way in ways]
    try:
        with open(path, "ab", buffering=0) as log:
            for piece in [*pieces, b"\n"]:
                log.write(piece)
                for reader in readers:
                    reader.drain()
        python = readers[0]
        for other in readers[1:]:
            assert other.lines() == python.lines()
            assert other.cuts == python.cuts
            assert other.positions() == python.positions()
            assert told(other) == told(python)
    finally:
        for reader in readers:
            reader.close()


def test_only_with_the_systems_clock_and_inotify(tmp_path: Path, read: Callable[..., Any]) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(FIRST)
    assert LiveFeed(clock=ManualClock())._module is None
    assert read(path, watcher="polling").drain().feed._shortest() is None
    assert LiveFeed(clock=SystemClock())._shortest() is None  # nothing is watched yet
    assert read(path, watcher="inotify").drain().feed._shortest() is not None


def test_wakeups_that_follow_each_other_gather() -> None:
    """A burst is answered at once; after it there is a pause between two."""
    heard, tell = os.pipe()
    feed = LiveFeed()
    feed.add_fd(heard, lambda events: None)
    try:
        one = near.Near(feed.wait.epoll, -1, {}, Woken, SPACING, BURST)
        os.write(tell, b"x")  # never read: always ready
        begun = time.monotonic()
        for _ in range(int(BURST) + 100):
            assert one.wait(-1.0, bytearray(10), 0) == [(heard, 1)]
        assert time.monotonic() - begun >= 90 * SPACING
    finally:
        feed.close()
        os.close(heard)
        os.close(tell)
