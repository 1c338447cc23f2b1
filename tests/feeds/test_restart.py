"""Whatever happens to a log and to the reader: every line is handed out once, in order."""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

EXAMPLES = 200
STEPS = (
    "write", "write", "write", "long", "half", "rename", "rename-late", "copytruncate", "compress", "read",
    "read", "checkpoint", "checkpoint", "kill",
)  # fmt: skip


class World:
    """A log, its logger, its rotation, and a reader that is killed and started again from its checkpoint."""

    def __init__(self, folder: Path, reader: Any, watcher: str, compiled: bool = True):
        self.reader_type, self.options = reader, {"watcher": watcher, "compiled": compiled}
        self.path = folder / "mail.log"
        self.number = itertools.count()
        self.written: list[bytes] = []
        self.pending = b""
        self.fd = self.create()
        self.delivered: list[bytes] = []  # up to the checkpoint
        self.rows: dict[str, bytes] = {}
        self.reader = reader(self.path, **self.options)
        self.lost: list[Any] = []
        self.reader.drain()
        self.checkpoint()

    def create(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def line(self, filler: int = 0) -> bytes:
        return b"line %d of the log" % next(self.number) + b"x" * filler

    def write(self, filler: int = 0) -> None:
        line = self.line(filler) if not self.pending else self.pending + b" second half"
        os.write(self.fd, line[len(self.pending) :] + b"\n")
        self.pending = b""
        self.written.append(line)

    def half(self) -> None:
        if not self.pending:
            self.pending = self.line()
            os.write(self.fd, self.pending)

    def shift(self) -> None:
        """Make room for `mail.log.1`, as logrotate does."""
        for number in range(9, 0, -1):
            for end in ("", ".gz"):
                old = f"{self.path}.{number}{end}"
                if os.path.exists(old):
                    os.rename(old, f"{self.path}.{number + 1}{end}")

    def rename(self, late: bool) -> None:
        if self.pending:
            self.write()
        self.shift()
        os.rename(self.path, f"{self.path}.1")
        if late:  # the logger has not reopened its file yet
            self.write()
        os.close(self.fd)
        self.fd = self.create()

    def copytruncate(self) -> None:
        if self.pending:
            self.write()
        self.shift()
        shutil.copy(self.path, f"{self.path}.1")
        os.ftruncate(self.fd, 0)

    def compress(self) -> None:
        for number in range(9, 0, -1):
            plain = f"{self.path}.{number}"
            if os.path.exists(plain):
                with open(plain, "rb") as source, gzip.open(plain + ".gz", "wb") as packed:
                    shutil.copyfileobj(source, packed)
                shutil.copystat(plain, plain + ".gz")
                os.unlink(plain)
                return

    def checkpoint(self) -> None:
        """Engine state and positions in one transaction: lines handed out and rows belong together."""
        self.delivered += self.reader.lines()
        self.reader.blocks.clear()
        self.rows = self.reader.positions()

    def kill(self) -> None:
        """What was handed out since the checkpoint is forgotten with the engine's state."""
        self.reader.close()
        self.lost += self.reader.said("bytes-lost")
        self.reader = self.reader_type(self.path, saved=self.rows, **self.options)

    def step(self, name: str, count: int) -> None:
        if name == "write":
            for _ in range(count):
                self.write()
        elif name == "long":
            self.write(300 * count)
        elif name == "half":
            self.half()
        elif name.startswith("rename"):
            self.rename(name == "rename-late")
        elif name == "copytruncate":
            self.copytruncate()
        elif name == "compress":
            self.compress()
        elif name == "read":
            self.reader.drain()
        elif name == "checkpoint":
            self.checkpoint()
        else:
            self.kill()

    def end(self) -> list[bytes]:
        if self.pending:
            self.write()
        self.reader.drain()
        self.checkpoint()
        self.lost += self.reader.said("bytes-lost")
        self.reader.close()
        os.close(self.fd)
        return self.delivered


def run(steps: list[tuple[str, int]], reader: Any, watcher: str, compiled: bool = True) -> World:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), reader, watcher, compiled)
        for name, count in steps:
            world.step(name, count)
        world.end()
    return world


@pytest.mark.parametrize("compiled", [False, True])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 5)), max_size=25))
def test_nothing_lost_nothing_repeated(
    reader_type: Any, compiled: bool, steps: list[tuple[str, int]]
) -> None:
    """Renamed, copied and truncated, compressed, killed and restarted at any point: the lines written are the
    lines handed out, in their order, each once."""
    steps = [(name, count) for name, count in steps if name != "copytruncate"]
    world = run(steps, reader_type, "inotify", compiled)
    assert world.delivered == world.written
    assert world.lost == []


@pytest.mark.parametrize("compiled", [False, True])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 5)), max_size=25))
@example(
    steps=[(name, 1) for name in ("write", "long", "read", "copytruncate", "long", "read", "copytruncate")]
)
@example(steps=[(name, 1) for name in ("write", "copytruncate", "compress", "read", "copytruncate")])
@example(steps=[(name, 1) for name in ("long", "read", "copytruncate", "long")])
@example(steps=[("long", 1), ("read", 1), ("copytruncate", 1), ("long", 1), ("write", 2)])
def test_copytruncate_is_made_good_from_the_copy(
    reader_type: Any, compiled: bool, steps: list[tuple[str, int]]
) -> None:
    """With copytruncate among the rotations, what was not yet read is read from the copy, once, in order."""
    kept = [step for step in steps if not step[0].startswith("rename")]
    world = run(kept, reader_type, "inotify", compiled)
    assert world.delivered == world.written
    assert world.lost == []
