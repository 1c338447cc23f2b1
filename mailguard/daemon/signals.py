"""Signals as items of the feed: SIGTERM and SIGINT stop, SIGHUP reloads."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from ..model import Item, Notice

_MEANING = {signal.SIGTERM: "stop", signal.SIGINT: "stop", signal.SIGHUP: "reload"}


class Signals:
    """Turns signals into bytes in a pipe, and these into notices. One at a time in a process."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._former: dict[int, Any] = {}
        self._wakeup = -1
        self._terminal = os.isatty(2)

    def open(self, add: Callable[[int, Callable[[int], list[Item] | None]], None]) -> None:
        """Take the signals over; `add` registers a descriptor with the wait."""
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in _MEANING:
            self._former[number] = signal.signal(number, lambda *_: None)
        add(self._read, self._ready)

    def _ready(self, _events: int) -> list[Item]:
        try:
            numbers = os.read(self._read, 4096)
        except BlockingIOError:
            return []
        wanted = dict.fromkeys(_MEANING[signal.Signals(one)] for one in numbers if one in _MEANING)
        if "reload" in wanted and self._terminal and not os.isatty(2):
            wanted = {"stop": None}  # the terminal was closed, which sends SIGHUP too
        return [Notice(what) for what in wanted]

    def close(self) -> None:
        """Give the signals back. May be repeated."""
        if self._former:
            signal.set_wakeup_fd(self._wakeup)
            for number, former in self._former.items():
                signal.signal(number, former)
            self._former = {}
            os.close(self._read)
            os.close(self._write)
