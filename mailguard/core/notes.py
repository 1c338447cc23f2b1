"""The ledger as the loop sees it: when a checkpoint is due, and what is said when nothing can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..model import Notice
from .ports import Clock, Feed, Judge, Ledger, Pace

_LOOK = 0.2  # seconds between looks at a ledger that is writing or in trouble, below `retry_first`


class Notes:
    """Owns: when the next checkpoint is. What waits to be written is the ledger's own business."""

    def __init__(self, ledger: Ledger, clock: Clock, say: Callable[[Notice], None], pace: Pace):
        self.ledger = ledger
        self.dirty = 0  # bytes judged since the last checkpoint, at least 1 when anything changed
        self._clock = clock
        self._say = say
        self._pace = pace
        self._trouble = False
        self._checkpoint_at = clock.monotonic() + pace.checkpoint_every

    def deadline(self, monotonic: float) -> float | None:
        """Monotonic seconds at which there is something to do."""
        if self.ledger.trouble or self.ledger.busy:
            return monotonic + _LOOK
        return self._checkpoint_at if self.dirty else None

    @property
    def room(self) -> int:
        """Bytes that may be judged before the next checkpoint, until `deadline`; 0 while nothing is to be
        written, for then it may be due with the first change."""
        return self._pace.checkpoint_bytes - self.dirty if self.dirty else 0

    def tick(self, judge: Judge, feed: Feed, monotonic: float) -> None:
        """Write a checkpoint when it is time, and say it when the ledger cannot be written or can again."""
        ledger = self.ledger
        if ledger.trouble or self._trouble:
            ledger.tick(monotonic)
            self._tell()
        if (
            self.dirty
            and not ledger.busy
            and (monotonic >= self._checkpoint_at or self.dirty >= self._pace.checkpoint_bytes)
        ):
            self.checkpoint(judge, feed, wait=False)

    def checkpoint(self, judge: Judge, feed: Feed, wait: bool = True) -> None:
        """Write the judge's changes and the feed's positions; `wait` until they are on disk, or cannot be."""
        if wait:
            self.ledger.settle()
        if self.ledger.busy:  # one is owed already; the next brings what this would have
            self.dirty = max(1, self.dirty)
        else:
            self._checkpoint_at = self._clock.monotonic() + self._pace.checkpoint_every
            self.dirty = 0
            self.ledger.checkpoint(judge.checkpoint(), feed.positions())
        if wait:
            self.ledger.settle()
        self._tell()

    def _tell(self) -> None:
        ledger = self.ledger
        if ledger.trouble and not self._trouble:
            self._say(Notice("disk-full", {"reason": ledger.trouble}))
        elif self._trouble and not ledger.trouble:
            self._say(Notice("disk-back", {"dropped": ledger.dropped}))
        self._trouble = bool(ledger.trouble)

    def status(self) -> dict[str, Any]:
        """Figures for `status`."""
        return {
            "ledger_behind": self.ledger.behind,
            "ledger_failing": bool(self.ledger.trouble),
            "effects_dropped": self.ledger.dropped,
        }
