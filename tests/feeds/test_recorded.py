"""Recorded logs: files in the order given, compressed ones too."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailguard.feeds.interface import LogOptions
from mailguard.feeds.lines import LIMIT
from mailguard.feeds.recorded import SIZE, RecordedFeed, RecordedLog, cut_points
from mailguard.model import Block, Notice

Make = Callable[..., Any]


def text(feed: RecordedFeed | RecordedLog) -> bytes:
    """All bytes handed out."""
    if isinstance(feed, RecordedLog):
        return b"".join(bytes(i.data[i.start : i.end]) for i in feed if isinstance(i, Block))
    found = b""
    while (items := feed.next(None)) is not None:
        for item in items:
            if isinstance(item, Block):
                found += bytes(item.data[item.start : item.end])
    return found


LINES = b"".join(b"line %d\n" % number for number in range(300_000))


@pytest.mark.parametrize("opener", [open, gzip.open, bz2.open, lzma.open])
def test_all_sorts_of_files(opener: Any, tmp_path: Path) -> None:
    """Plain, gzip, bzip2 and xz, known by their contents: every byte, at its position, in order."""
    path = tmp_path / "mail.log.1"
    with opener(path, "wb") as file:
        file.write(LINES)
    os.utime(path, (1000, 2000))
    log = RecordedLog(str(path), LogOptions(timezone="Asia/Tokyo", year=2025))
    found = b""
    for item in log:
        assert isinstance(item, Block)
        assert item.position == len(found)
        assert item.end - item.start <= SIZE + LIMIT * 16
        assert (item.log, item.arrival, item.live, item.timezone, item.year) == (
            str(path), 2000.0, False, "Asia/Tokyo", 2025,
        )  # fmt: skip
        found += bytes(item.data[item.start : item.end])
    assert found == LINES
    assert log.complete
    assert log.unterminated == 0


def test_files_in_order_then_the_end(tmp_path: Path) -> None:
    """One file after the other, then None, again and again."""
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode() + b"\n")
    feed = RecordedFeed([str(tmp_path / "b"), str(tmp_path / "a")])
    assert text(feed) == b"b\na\n"
    assert feed.next(None) is None
    feed.close()


def test_the_last_line_without_lf(tmp_path: Path) -> None:
    """It is handed out as cut, with an LF of ours that is told apart from the log's."""
    (tmp_path / "a").write_bytes(b"one\ntwo")
    feed = RecordedFeed([str(tmp_path / "a")])
    blocks = []
    while (items := feed.next()) is not None:
        blocks += [(bytes(i.data[i.start : i.end]), i.cuts) for i in items if isinstance(i, Block)]
    assert [block for block, _ in blocks] == [b"one\n", b"two\n"]
    assert blocks[1][1] != ()
    assert feed.unterminated == 1


def test_long_lines_and_holes(tmp_path: Path) -> None:
    """The same bounds as live, also where a line is longer than the buffer."""
    (tmp_path / "a").write_bytes(b"x" * (3 * SIZE) + b"\n" + b"\0" * 100_000 + b"b\n")
    assert text(RecordedFeed([str(tmp_path / "a")])) == b"x" * LIMIT + b"\nb\n"


def test_a_damaged_archive(tmp_path: Path) -> None:
    """What can be read is read; the damage is said, and the next file follows."""
    packed = gzip.compress(LINES)
    (tmp_path / "a.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "b").write_bytes(b"next\n")
    feed = RecordedFeed([str(tmp_path / "a.gz"), str(tmp_path / "b")])
    notices, found = [], b""
    while (items := feed.next()) is not None:
        notices += [item.id for item in items if isinstance(item, Notice)]
        found += b"".join(bytes(i.data[i.start : i.end]) for i in items if isinstance(i, Block))
    assert notices == ["log-unreadable"]
    assert found.startswith(LINES[:100_000])
    assert found.endswith(b"next\n")


def test_a_missing_file(tmp_path: Path) -> None:
    """Is heard of before the first line of the others."""
    with pytest.raises(FileNotFoundError):
        RecordedFeed([str(tmp_path / "none")])


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard input; arrival is now."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a\nb")))
    assert text(RecordedFeed(["-"])) == b"a\nb\n"


def test_ranges_for_workers(tmp_path: Path) -> None:
    """Cut points divide a file at line starts; the ranges together are the file, with true positions."""
    path = tmp_path / "a"
    path.write_bytes(LINES)
    ranges = cut_points(str(path), 7)
    assert len(ranges) == 7
    assert b"".join(text(RecordedLog(str(path), start=start, end=end)) for start, end in ranges) == LINES
    for start, end in ranges:
        first = next(iter(RecordedLog(str(path), start=start, end=end)))
        assert isinstance(first, Block)
        assert first.position == start
        assert start == 0 or LINES[start - 1 : start] == b"\n"
    path.write_bytes(b"one line")
    assert cut_points(str(path), 4) == [(0, 8)]
    path.write_bytes(b"")
    assert cut_points(str(path), 4) == []


def test_live_goes_on_where_the_recorded_ended(read: Make, write: Make, tmp_path: Path) -> None:
    """Learning from the log that is there and then following it: no line twice, none between left out."""
    log = write(tmp_path / "mail.log")
    log(b"one\ntwo\nhal")
    feed = RecordedFeed([str(tmp_path / "mail.log")])
    assert text(feed) == b"one\ntwo\nhal\n"
    log(b"f\nthree\n")
    reader = read(tmp_path / "mail.log", saved=feed.positions(), start="end").drain()
    assert reader.lines() == [b"half", b"three"]
