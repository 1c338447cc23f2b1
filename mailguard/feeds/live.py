"""The live feed: all sources, the control socket and whoever else has a descriptor, in one wait.

Latency first: a line is in hand a few microseconds after its write. Where wake-ups come more often than one
in `spacing` seconds for long (`BURST` of them may), they are put together, which costs at most that much
latency and saves most of the processor time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mailguard.clock import Clock, SystemClock
from mailguard.feeds import native
from mailguard.feeds.inotify import Inotify
from mailguard.feeds.interface import Callback, LogOptions, Saved, Source
from mailguard.feeds.lines import Arena
from mailguard.feeds.tails import Woken
from mailguard.feeds.wait import READ, Timer, Wait
from mailguard.feeds.watch import Watchers
from mailguard.model import Item

#: Seconds between wake-ups under load (see bench/tail.py for what it costs and saves).
SPACING = 0.0005
#: Wake-ups that may follow each other at once: the line that decides often comes right behind another one.
BURST = 16.0
_NOTHING: list[tuple[int, int]] = []


class LiveFeed:
    """Items of all sources as they come. One thread; everything happens inside `next`."""

    def __init__(
        self,
        sources: Sequence[Source] = (),
        clock: Clock | None = None,
        *,
        watcher: str = "auto",
        spacing: float = SPACING,
        poll_interval: float = 1.0,
        compiled: bool = True,
    ):
        """`compiled`: the shortest way may be taken where it is there (see `feeds.native`)."""
        self._clock: Clock = clock or SystemClock()
        self.wait = Wait(self._clock)
        self._watchers = Watchers(self.wait, watcher, poll_interval)
        self._arena = Arena()
        self._sources: list[Source] = []
        self._spacing = spacing
        self._last = 0.0
        self._credit = BURST  # wake-ups that may come at once; one more every `spacing` seconds
        self._closed = False
        self._calm = (
            False  # no source has a backlog, none has ended, and nothing was called since that was so
        )
        # It reads the system's clock by itself, so with another one it is of no use.
        usable = compiled and type(self._clock) is SystemClock and self.wait.epoll >= 0
        self._module: Any = native.load("near") if usable else None
        self._near: Any = None
        self._inotify: Inotify | None = None
        for source in sources:
            self.add(source)

    # ------------------------------------------------------------ sources and descriptors

    def add(self, source: Source) -> None:
        """Begin to read a source."""
        self._calm = False
        source.open(self.wait, self._watchers)
        self._sources.append(source)

    def remove(self, source: Source) -> None:
        """Stop reading a source and close it."""
        self._calm = False
        self._sources.remove(source)
        source.close()

    @property
    def sources(self) -> tuple[Source, ...]:
        """What is being read."""
        return tuple(self._sources)

    def add_fd(self, fd: int, call: Callback, events: int = READ) -> None:
        """Call `call(events)` from inside `next` when `fd` is ready; the items it returns are handed out."""
        self.wait.add(fd, call, events)

    def modify_fd(self, fd: int, events: int) -> None:
        """Wait for other events (`wait.READ | wait.WRITE`)."""
        self.wait.modify(fd, events)

    def remove_fd(self, fd: int) -> None:
        """Forget a descriptor; before closing it. May be repeated."""
        self.wait.remove(fd)

    def call_at(self, when: float, call: Callback) -> Timer:
        """Call `call(0)` from inside `next` at monotonic `when`."""
        return self.wait.call_at(when, call)

    # ------------------------------------------------------------ the feed

    def next(self, deadline: float | None) -> list[Item] | None:
        """Everything that is ready; see `interface.Feed`."""
        items: list[Item] = []
        arena, clock, wait, sources = self._arena, self._clock, self.wait, self._sources
        spacing = self._spacing
        arena.reset()
        while True:
            backlog = False
            if not self._calm:
                ended = bool(sources)
                for source in sources:
                    if source.backlog:
                        backlog = True
                    if not source.ended:
                        ended = False
                if ended:
                    return items or None
            timeout, last_wait = self._timeout(deadline, backlog)
            near = self._near
            if near is None or near.left is None:
                near = None if backlog else self._shortest()
            if near is not None:
                ready, arrival = self._wait_near(near, timeout, items)
                self._calm = not ready
            else:
                self._calm = False
                ready = wait.poll(timeout)
                arrival = clock.now()
                if ready and not backlog and spacing:
                    # A clock that was set back changes nothing: no credit is lost or won by it.
                    credit = self._credit + max(0.0, arrival - self._last) / spacing
                    if credit < 1.0:  # under load, let lines gather for a moment
                        time.sleep((1.0 - credit) * spacing)
                        arrival, credit = clock.now(), 1.0
                    self._credit = min(BURST, credit) - 1.0
                self._last = arrival
            if wait.dispatch(ready, items):
                self._calm = False
            if not self._calm:
                for source in sources:
                    if source.backlog:
                        source.read(arena, items, arrival)
            if backlog and len(sources) > 1:
                sources.append(sources.pop(0))  # another one first when the arena is short
            if items:
                return items
            if deadline is not None and (clock.monotonic() >= deadline or (last_wait and not ready)):
                return items

    def quick(self, until: float, gather: float) -> Any:
        """The compiled wait, where lines of one file are all that is expected: `take` gives them block by
        block, until that monotonic time and `gather` seconds after the first. None: `next` is to be asked, as
        it is for all that `take` does not give. `end` it before anything else is asked of the feed."""
        near = self._near
        if near is None or not self._calm or near.left is not None:
            return None
        timer = self.wait.next_timer()
        self._arena.reset()
        near.begin(until if timer is None or until < timer else timer, gather, self._arena.data)
        return near

    def _shortest(self) -> Any:
        """The compiled wait; None where it is not there, or inotify is not in use (yet)."""
        if self._near is None and self._module is not None:
            self._inotify = inotify = self._watchers.inotify
            if inotify is not None:
                self._near = self._module.Near(
                    self.wait.epoll, inotify.fd, inotify.calls, Woken, self._spacing, BURST
                )
        return self._near

    def _wait_near(
        self, near: Any, timeout: float | None, items: list[Item]
    ) -> tuple[list[tuple[int, int]], float]:
        """Wait in compiled code, with the same pauses. What is left to be done, and when the wait ended."""
        arena, found = self._arena, near.left
        if found is None:
            found = near.wait(-1.0 if timeout is None else timeout, arena.data, arena.top)
        else:  # what came when `quick` was asked
            near.left = None
        arrival: float = near.arrival
        if type(found) is tuple:  # lines of one file
            call, lines = found
            call.follow.quickly(call.tail, len(lines), lines, 0, items, arrival)
            return _NOTHING, arrival
        assert self._inotify is not None
        self._inotify.told = near.notices
        return found, arrival

    def _timeout(self, deadline: float | None, backlog: bool) -> tuple[float | None, bool]:
        """How long to wait, and whether its end is the deadline's."""
        if backlog:
            return 0.0, False
        timer = self.wait.next_timer()
        if timer is None and deadline is None:
            return None, False
        now = self._clock.monotonic()
        if deadline is not None and (timer is None or deadline <= timer):
            return max(0.0, deadline - now), True
        assert timer is not None
        return max(0.0, timer - now), False

    def positions(self) -> dict[str, bytes]:
        """Rows of everything handed out so far, over all sources. Replaces all earlier rows."""
        rows: dict[str, bytes] = {}
        for source in self._sources:
            rows.update(source.positions())
        return rows

    def status(self) -> dict[str, dict[str, Any]]:
        """Counters of every log, by path or name; `last_line` is where silence is measured from."""
        known: dict[str, dict[str, Any]] = {}
        for source in self._sources:
            known.update(source.status())
        return known

    def close(self) -> None:
        """Close all sources, watches and the wait. May be repeated."""
        if self._closed:
            return
        self._closed = True
        for source in self._sources:
            source.close()
        self._watchers.close()
        self.wait.close()


def make_source(options: LogOptions, saved: Saved, clock: Clock) -> Source:
    """The source for one configured log. Raises ValueError for an unknown kind."""
    if options.kind in ("file", "epost"):
        from mailguard.feeds.files import FileSource

        return FileSource(options, saved, clock)
    if options.kind == "journal":
        from mailguard.feeds.journal import JournalSource

        return JournalSource(options, saved, clock)
    if options.kind == "stdin":
        from mailguard.feeds.stdin import StdinSource

        return StdinSource(options)
    if options.kind == "syslog":
        from mailguard.feeds.syslog import SyslogSource

        return SyslogSource(options, saved, clock)
    if options.kind == "synology-db":
        from mailguard.feeds.synodb import SynologySource

        return SynologySource(options, saved, clock)
    raise ValueError(f"unknown kind of log: {options.kind}")
