"""The two clocks: the system's, and one that tests and replay move by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """`now()` is wall time (seconds since 1970, UTC), for ends of bans; `monotonic()` is for waits."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The host's clocks; without a Python function on the way, for they are asked at every wake-up."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class ManualClock:
    """A clock that stands still until somebody moves it. Both readings move together."""

    def __init__(self, now: float = 0.0):
        self._now = now

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def set(self, now: float) -> None:
        """Move to `now`; never backwards."""
        self._now = max(self._now, now)
