"""Lines from a pipe (`journalctl -f | mailguard run -`, a syslog daemon's program output) as a live source.

A pipe cannot be read again: an unterminated line is carried over in a buffer of its own. Nothing is saved.
"""

from __future__ import annotations

import os
from typing import Any

from mailguard.feeds.interface import LogOptions, LogStatus
from mailguard.feeds.lines import PENDING, Arena, cut
from mailguard.feeds.wait import Wait
from mailguard.feeds.watch import Watchers
from mailguard.model import Block, Item, Notice

_PIECE = 1 << 18


class StdinSource:
    """Reads descriptor `fd` until its end."""

    def __init__(self, options: LogOptions, fd: int = 0):
        self.options = options
        self.name = options.name or "-"
        self.ended = False
        self._fd = fd
        self._always = False  # a regular file: epoll takes none, it is always ready
        self._ready = False
        self._wait: Wait | None = None
        self._tail = b""
        self._offset = 0  # of the first byte of `_tail`
        self._skipping = False
        self._status = LogStatus(path=self.name, opened=True)

    @property
    def backlog(self) -> bool:
        """True while a read would not wait."""
        return (self._ready or self._always) and not self.ended

    def open(self, wait: Wait, watchers: Watchers) -> None:
        """Register the descriptor."""
        self._wait = wait
        try:
            wait.add(self._fd, self._woken)
        except PermissionError:
            self._always = True

    def _woken(self, _events: int) -> None:
        self._ready = True

    def read(self, arena: Arena, items: list[Item], arrival: float) -> None:
        """One read; whole lines go out, the rest is carried."""
        if self.ended or arena.room < _PIECE + 2 * PENDING:
            return
        self._ready = False
        top, data = arena.top, arena.data
        begin = top + len(self._tail)
        data[top:begin] = self._tail
        try:
            count = os.readv(self._fd, [arena.view[begin : begin + _PIECE]])
        except BlockingIOError:
            return
        except OSError as error:
            items.append(Notice("log-unreadable", {"log": self.name, "why": str(error)}, blind=True))
            count = 0
        end = begin + count
        found = cut(data, top, end, self._skipping, final=count == 0)
        options = self.options
        for start, stop, cuts in found.pieces:
            items.append(Block(
                self.name, data, start, stop, self._offset + start - top, arrival, True,
                options.may_ban, cuts, options.timezone, options.year, options.parsers,
            ))  # fmt: skip
        consumed = min(found.consumed, end)
        self._tail = bytes(data[consumed:end])
        self._offset += consumed - top
        self._skipping = found.skipping
        if found.pieces:
            # What is carried may lie before the LF of a cut line: the copy above was taken first.
            arena.keep(found.pieces[-1][1])
            self._status.last_line = arrival
        status = self._status
        status.bytes += count
        status.offset = status.size = self._offset
        status.cut += found.cut
        status.dropped += found.dropped
        status.nul += found.nul
        if count == 0:
            self.ended = True
            status.opened = False
            if self._wait is not None:
                self._wait.remove(self._fd)

    def positions(self) -> dict[str, bytes]:
        """None: what went through a pipe is gone."""
        return {}

    def status(self) -> dict[str, dict[str, Any]]:
        """Counters."""
        return {self.name: self._status.as_dict()}

    def close(self) -> None:
        """Stop reading. The descriptor stays open: it is the process's."""
        if self._wait is not None and not self.ended:
            self._wait.remove(self._fd)
        self.ended = True
