"""The one wait of the program: descriptors with their callbacks, and timers.

Everybody who has a descriptor (logs, control socket, enforcer, signals) registers it here; the feed's
`next` is the only place that blocks.
"""

from __future__ import annotations

import contextlib
import heapq
import select
from typing import Any

from mailguard.clock import Clock
from mailguard.feeds.interface import Callback
from mailguard.model import Item

READ, WRITE = 0x1, 0x4  # EPOLLIN and EPOLLOUT, which are POLLIN and POLLOUT


class Timer:
    """A call at a monotonic time; `cancel` makes it nothing."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callback | None):
        self.when = when
        self.call = call

    def cancel(self) -> None:
        """It will not be called. May be repeated."""
        self.call = None

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Wait:
    """epoll (poll where there is none), with a callback for each descriptor and a heap of timers."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._epoll = hasattr(select, "epoll")
        self._poll: Any = select.epoll(select.EPOLL_CLOEXEC) if self._epoll else select.poll()
        self._calls: dict[int, Callback] = {}
        self._timers: list[Timer] = []

    def add(self, fd: int, call: Callback, events: int = READ) -> None:
        """Call `call(events)` whenever `fd` is ready; the items it returns become part of `next`'s list.

        Raises PermissionError for descriptors that are always ready (regular files).
        """
        known = fd in self._calls
        if known:
            try:
                self._poll.modify(fd, events)
            except FileNotFoundError:  # closed without a word, and the number given anew
                known = False
        if not known:
            self._poll.register(fd, events)
        self._calls[fd] = call

    def modify(self, fd: int, events: int) -> None:
        """Wait for other events of a registered descriptor."""
        self._poll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Forget a descriptor; call it before closing it. May be repeated."""
        if self._calls.pop(fd, None) is not None:
            with contextlib.suppress(OSError, KeyError, ValueError):  # closed already, which took it out
                self._poll.unregister(fd)

    def call_at(self, when: float, call: Callback) -> Timer:
        """Call `call(0)` once at monotonic `when`."""
        timer = Timer(when, call)
        heapq.heappush(self._timers, timer)
        return timer

    def next_timer(self) -> float | None:
        """When the earliest timer is due."""
        while self._timers and self._timers[0].call is None:
            heapq.heappop(self._timers)
        return self._timers[0].when if self._timers else None

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait at most `timeout` seconds (None: for ever); the ready descriptors with their events."""
        if self._epoll:
            return self._poll.poll(timeout)  # type: ignore[no-any-return]
        return self._poll.poll(None if timeout is None else timeout * 1000)  # type: ignore[no-any-return]

    def dispatch(self, ready: list[tuple[int, int]], items: list[Item]) -> bool:
        """Run the callbacks of ready descriptors and of due timers; append what they return. False: none was
        run."""
        called = bool(ready)
        for fd, events in ready:
            call = self._calls.get(fd)
            if call is not None and (said := call(events)):
                items += said
        if self._timers:
            now = self._clock.monotonic()
            while self._timers and self._timers[0].when <= now:
                called = True
                call = heapq.heappop(self._timers).call
                if call is not None and (said := call(0)):
                    items += said
        return called

    @property
    def epoll(self) -> int:
        """The descriptor of epoll; -1 where there is none."""
        return int(self._poll.fileno()) if self._epoll else -1

    def close(self) -> None:
        """May be repeated."""
        self._calls.clear()
        self._timers.clear()
        if self._epoll:
            self._poll.close()
