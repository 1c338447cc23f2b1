"""What the tests of the feeds share: a writer of logs, and a reader that collects what it is given."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard.clock import Clock, SystemClock
from mailguard.feeds.files import FileSource
from mailguard.feeds.interface import LogOptions, Saved
from mailguard.feeds.live import LiveFeed
from mailguard.model import Block, Notice


class Writer:
    """A logger: an unbuffered, appending file."""

    def __init__(self, path: Path):
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def __call__(self, text: bytes) -> None:
        os.write(self.fd, text)

    def close(self) -> None:
        os.close(self.fd)


class Reader:
    """A live feed over files, and what it handed out: lines by log, cut lines, notices."""

    def __init__(
        self,
        *paths: Path,
        saved: Saved | None = None,
        watcher: str = "auto",
        clock: Clock | None = None,
        compiled: bool = True,
        quick: bool = False,
        **options: Any,
    ):
        """`quick`: as the loop's compiled turns ask, as long as they may."""
        options = {"start": "begin", "name": "test", **options}
        self.clock = clock = clock or SystemClock()
        settings = LogOptions(paths=tuple(str(path) for path in paths), **options)
        self.source = FileSource(settings, saved or {}, clock)
        self.feed = LiveFeed(
            [self.source], clock, watcher=watcher, poll_interval=0.02, spacing=0.0, compiled=compiled
        )
        self.quick = quick
        self.quickly = 0  # blocks that came so
        self.blocks: list[tuple[str, int, bytes]] = []
        self.cuts: list[bytes] = []
        self.notices: list[Notice] = []

    def take(self, deadline: float = 0.0) -> bool:
        """One call of `next`, waiting at most `deadline` seconds; False when nothing came."""
        items = self._quick() or self.feed.next(self.clock.monotonic() + deadline)
        assert items is not None
        for item in items:
            if isinstance(item, Notice):
                self.notices.append(item)
            elif isinstance(item, Block):
                text = bytes(item.data[item.start : item.end])
                assert text.endswith(b"\n")
                self.blocks.append((item.log, item.position, text))
                self.cuts += [text[at - item.start :].split(b"\n")[0] for at in item.cuts]
        return bool(items)

    def _quick(self) -> list[Any]:
        """What comes the quick way, for a moment."""
        items: list[Any] = []
        near = self.feed.quick(time.monotonic() + 0.003, 0.05) if self.quick else None
        if near is not None:
            while (block := near.take()) is not None:
                items.append(block)
            near.end()
            self.quickly += len(items)
        return items

    def drain(self) -> Reader:
        """Everything that is there now."""
        while self.take():
            pass
        return self

    def until(self, ready: Callable[[Reader], bool], seconds: float = 20.0) -> Reader:
        """Read until `ready(self)`; the kernel or a thread must deliver, which has its deadline."""
        end = time.monotonic() + seconds
        while not ready(self):
            assert time.monotonic() < end, f"it never came: {self.lines()} {self.notices}"
            self.take(0.1)
        return self

    def lines(self, log: str | Path | None = None) -> list[bytes]:
        """The lines handed out, of all logs or one."""
        text = b"".join(text for name, _, text in self.blocks if log is None or name == str(log))
        return text.split(b"\n")[:-1]

    def said(self, kind: str) -> list[dict[str, Any]]:
        """Arguments of the notices of one kind."""
        return [notice.args for notice in self.notices if notice.id == kind]

    def positions(self) -> dict[str, bytes]:
        return self.feed.positions()

    def close(self) -> None:
        self.feed.close()


@pytest.fixture
def read() -> Iterator[Callable[..., Reader]]:
    """Makes readers that are closed at the end."""
    made: list[Reader] = []

    def make(*paths: Path, **options: Any) -> Reader:
        made.append(Reader(*paths, **options))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


@pytest.fixture
def write() -> Iterator[Callable[[Path], Writer]]:
    """Makes writers that are closed at the end."""
    made: list[Writer] = []

    def make(path: Path) -> Writer:
        made.append(Writer(path))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


@pytest.fixture
def reader_type() -> type[Reader]:
    """The reader, for tests that make many in one run (properties)."""
    return Reader
