"""Logs that are finished: files (compressed or not), journal files, what `journalctl -o json` or `-o export`
printed, standard input, in the order given.

Blocks of up to 1 MiB of whole lines, read into one buffer for each log; arrival is the file's modification
time, which dates stamps without year. `RecordedFeed.logs` are iterables of their own, for who merges logs
by time.
"""

from __future__ import annotations

import itertools
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mailguard.feeds.ahead import Ahead
from mailguard.feeds.archives import BROKEN, is_pipe, open_packed, pipe_error, strides, unpacking, unxz
from mailguard.feeds.entries import Reader
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.lines import PENDING, cut
from mailguard.feeds.marks import HEAD, Mark, digest, encode
from mailguard.model import Block, Item, Notice

SIZE = 1 << 20
_BEGIN = 4096  # bytes that tell what kind of log it is


class RecordedLog:
    """One recorded log. Iterating yields its items; each is valid until the next is asked for.

    `start`, `end`: byte range of an uncompressed file, for workers (`cut_points` gives ranges that begin at
    line starts). After iteration `complete` says whether its end was reached. Raises OSError when the file
    cannot be opened.
    """

    def __init__(
        self,
        path: str,
        options: LogOptions | None = None,
        *,
        start: int = 0,
        end: int | None = None,
        log: str | None = None,
        arrival: float | None = None,
    ):
        self.path = path
        self.log = path if log is None else log
        self.options = options or LogOptions()
        self.start = start
        self.end = end
        self.unterminated = 0  # lines (0 or 1) that got an LF of ours
        self.cut = 0
        self.bytes = 0
        self.complete = False
        self.journal = path.endswith((".journal", ".journal~"))
        self._mark: Mark | None = None
        self._cursor = b""
        self.arrival = arrival_of(path) if arrival is None else arrival
        if path != "-":
            if is_pipe(os.stat(path).st_mode):
                raise pipe_error(path)
            with open(path, "rb"):  # readable? It is better to hear that before the first line is judged
                pass

    def __iter__(self) -> Iterator[Item]:
        if self.journal:
            yield from self._entries()
            return
        if self.path == "-":
            yield from self._stream(sys.stdin.buffer)
            return
        packed = open_packed(self.path)
        if packed is not None:
            begin = _begin(packed)
            # Decompressed beside the judging, where there is a second core.
            alone = unxz(self.path)
            with Ahead(packed, strides(self.path) if alone is None else None, alone) as file:
                yield from self._items(file, begin)
            return
        with open(self.path, "rb", buffering=0) as file:
            state = os.fstat(file.fileno())
            head = os.pread(file.fileno(), HEAD, 0)
            begin = os.pread(file.fileno(), _BEGIN, 0)
            if self.start:
                file.seek(self.start)
            yield from self._items(file, begin)
            done = self.start + self.bytes - self.unterminated_bytes
            self._mark = Mark(
                state.st_dev,
                state.st_ino,
                len(head),
                digest(head),
                done,
                modified=state.st_mtime_ns,
                size=done,
            )

    def _stream(self, stream: Any) -> Iterator[Item]:
        """Standard input, compressed or not."""
        begin = _begin(stream)
        try:
            packed = unpacking(stream, begin)
        except BROKEN as error:
            yield self._unreadable(error)
            self.complete = True
            return
        if packed is None:
            yield from self._items(stream, begin)
            return
        begin = _begin(packed)
        with Ahead(packed) as file:
            yield from self._items(file, begin)

    def _entries(self) -> Iterator[Item]:
        from mailguard.feeds.journal import recorded_entries

        for records, cursor in recorded_entries(self.path, self.log, self.options, self.arrival):
            yield records
            self._cursor = cursor
        self.complete = True

    def _table(self, file: Any) -> Iterator[Item]:
        """A table that was saved from MailPlus Server or Log Center, as a whole."""
        from mailguard.feeds import exports

        data = b""
        try:
            while self.start == 0 and len(data) <= exports.MOST and (more := file.read(SIZE)):
                data += more
        except BROKEN as error:
            yield self._unreadable(error)
        self.bytes += len(data)
        if len(data) > exports.MOST:
            yield self._unreadable(ValueError(f"a saved table has more than {exports.MOST >> 20} MiB"))
        elif data:
            yield from exports.exported_rows(data, self.log, self.options, self.arrival)
        self.complete = True

    def _rows(self) -> Iterator[Item]:
        from mailguard.feeds.synodb import recorded_rows

        try:
            yield from recorded_rows(self.path, self.log, self.options, self.arrival)
        except OSError as error:
            yield self._unreadable(error)
        self.complete = True

    unterminated_bytes = 0
    begins: float | None = None  # no stamp in it is earlier; None: not known

    def _items(self, file: Any, begin: bytes) -> Iterator[Item]:
        """Blocks of lines, or the records of a journal's export: its beginning tells."""
        from mailguard.feeds import exported, exporttext

        if begin.startswith(b"SQLite format 3\0"):
            yield from self._rows()
            return
        if not exported.is_export(begin):
            from mailguard.feeds import exports

            yield from self._table(file) if exports.is_table(begin) else self._blocks(file)
            return
        reader = Reader(
            self.log, self.options.parsers, self.options.units, self.options.identifiers, self.options.may_ban
        )
        broken: list[Item] = []

        def read(size: int) -> bytes:
            left = size if self.end is None else min(size, self.end - self.start - self.bytes)
            try:
                data: bytes = file.read(left) or b"" if left > 0 else b""
            except BROKEN as error:
                broken.append(self._unreadable(error))
                return b""
            self.bytes += len(data)
            return data

        text = exporttext.is_text(begin)
        try:
            yield from exported.exported_records(read, self.start, reader, self.log, self.arrival, text)
        except exporttext.DamagedError as error:
            yield self._unreadable(error)
        self.cut += reader.cut
        yield from broken
        self.complete = True

    def _unreadable(self, error: Exception) -> Notice:
        return Notice("log-unreadable", {"log": self.log, "why": str(error)}, blind=True)

    def _blocks(self, file: Any) -> Iterator[Item]:
        options = self.options
        data = bytearray(SIZE + 2 * PENDING + 1)
        view = memoryview(data)
        kept = 0  # bytes of an unterminated line at the buffer's start
        skipping = False
        position = self.start
        left = None if self.end is None else self.end - self.start
        while True:
            want = SIZE if left is None else min(SIZE, left)
            try:
                count: int = (file.readinto(view[kept : kept + want]) or 0) if want else 0
            except BROKEN as error:
                yield self._unreadable(error)
                count = 0
            self.bytes += count
            if left is not None:
                left -= count
            end = kept + count
            found = cut(data, 0, end, skipping, final=count == 0)
            skipping = found.skipping
            self.cut += found.cut
            self.unterminated += found.unterminated
            if found.unterminated:
                self.unterminated_bytes = end - found.pieces[-1][0]
            for start, stop, cuts in found.pieces:
                yield Block(
                    self.log, data, start, stop, position + start, self.arrival, False,
                    options.may_ban, cuts, options.timezone, options.year, options.parsers,
                )  # fmt: skip
            consumed = min(found.consumed, end)
            position += consumed
            kept = end - consumed
            if count == 0:
                break
            if kept:
                data[:kept] = data[consumed:end]
        self.complete = True

    def position(self) -> dict[str, bytes]:
        """The row with which a live feed goes on where this log ended; none for compressed ones and pipes."""
        if self._cursor:
            return {f"journal:{self.options.name or self.log}": self._cursor}
        if self._mark is None:
            return {}
        return {f"file:{self.path}": encode([self._mark])}


class RecordedFeed:
    """Recorded logs one after the other, as a feed: one item at a time, None after the last."""

    def __init__(self, paths: Sequence[str], options: LogOptions | None = None):
        self.logs = [RecordedLog(path, options) for path in paths]
        self._items = self._all()

    def _all(self) -> Iterator[Item]:
        for log in self.logs:
            yield from log

    def next(self, deadline: float | None = None) -> list[Item] | None:
        """The next item; None at the end."""
        for item in self._items:
            return [item]
        return None

    @property
    def unterminated(self) -> int:
        """Lines handed out that had no LF: a count of line ends leaves them out."""
        return sum(log.unterminated for log in self.logs)

    def positions(self) -> dict[str, bytes]:
        """Where a live feed goes on after the logs that were read to their end."""
        rows: dict[str, bytes] = {}
        for log in self.logs:
            if log.complete:
                rows.update(log.position())
        return rows

    def close(self) -> None:
        """Stop. May be repeated."""
        self._items = iter(())


def arrival_of(path: str) -> float:
    """When the last line of a log was written; for a pipe: now. Raises OSError."""
    if path != "-":
        return os.stat(path).st_mtime
    try:
        state = os.fstat(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or none of the system's
        return time.time()
    return state.st_mtime if stat.S_ISREG(state.st_mode) else time.time()


def _begin(file: Any) -> bytes:
    """The first bytes of a stream, which stay in it; b"" where it cannot be looked into."""
    try:
        if hasattr(file, "peek"):
            return bytes(file.peek(_BEGIN)[:_BEGIN])
        begin: bytes = file.read(_BEGIN)
        file.seek(-len(begin), os.SEEK_CUR)
        return begin
    except BROKEN:
        return b""


def cut_points(path: str, parts: int) -> list[tuple[int, int]]:
    """Ranges of about equal size that cover an uncompressed file, each beginning at the start of a line."""
    size = os.stat(path).st_size
    points = [0]
    with open(path, "rb") as file:
        for part in range(1, parts):
            file.seek(max(points[-1], size * part // parts))
            file.readline()
            at = min(file.tell(), size)
            if at > points[-1]:
                points.append(at)
    points.append(size)
    return [(begin, end) for begin, end in itertools.pairwise(points) if end > begin]
