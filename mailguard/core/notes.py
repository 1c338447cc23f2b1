"""The ledger as the loop sees it: what it did not take yet waits, is tried again, and is said once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..model import Alert, Ban, Effect, Impose, Lift, Notice
from .ports import Clock, Feed, Judge, Ledger, Pace, Place, Retry


class Notes:
    """Owns: effects that a full disk did not take, and when a checkpoint is due.

    Limits: `Pace.unwritten` effects wait; beyond that alerts go first, then the oldest.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        say: Callable[[Notice], None],
        pace: Pace,
        errors: tuple[type[Exception], ...],
    ):
        self.ledger = ledger
        self.retry = Retry(pace)
        self.dropped = 0  # effects that were never written
        self._clock = clock
        self._say = say
        self._pace = pace
        self._errors = errors
        self._unwritten: list[Effect] = []
        self._full = False  # the next checkpoint brings everything
        self.dirty = 0  # batches with records since the last checkpoint
        self._checkpoint_at = clock.monotonic() + pace.checkpoint_every

    def record(self, effects: Sequence[Effect]) -> None:
        """Write effects down, or keep them until the disk takes them."""
        if not self._unwritten and not self.retry.failing:
            try:
                self.ledger.record(effects)
                return
            except self._errors as error:
                self._failed(error)
        self._unwritten += effects
        excess = len(self._unwritten) - self._pace.unwritten
        if excess > 0:
            self.dropped += excess
            alerts = [number for number, effect in enumerate(self._unwritten) if isinstance(effect, Alert)]
            gone = set(alerts[:excess])
            gone.update(
                [number for number in range(len(self._unwritten)) if number not in gone][: excess - len(gone)]
            )
            self._unwritten = [effect for number, effect in enumerate(self._unwritten) if number not in gone]

    def due(self, now: float) -> list[Ban]:
        """Every ban that must stand: those of the ledger, corrected by what it has not taken yet."""
        bans = self.ledger.due(now)
        if not self._unwritten:
            return bans
        standing: dict[Place, Ban] = {(ban.network, ban.scope): ban for ban in bans}
        for effect in self._unwritten:
            if isinstance(effect, Impose):
                standing[effect.ban.network, effect.ban.scope] = effect.ban
            elif isinstance(effect, Lift):
                standing.pop((effect.network, effect.scope), None)
        return list(standing.values())

    def _failed(self, error: Exception) -> None:
        if self.retry.failed(self._clock.monotonic()):
            self._say(Notice("disk-full", {"reason": str(error)}))

    # ------------------------------------------------------------ checkpoints

    def whole(self) -> None:
        """The next checkpoint must bring everything: the changes so far were taken by somebody else."""
        self._full = True

    def deadline(self) -> float | None:
        """Monotonic seconds at which something is to be written."""
        if self.retry.failing:
            return self.retry.at
        return self._checkpoint_at if self.dirty else None

    def tick(self, judge: Judge, feed: Feed, monotonic: float) -> None:
        """Write what is due: owed effects after a failure, the checkpoint when its time has come."""
        if self.retry.at is not None:
            if monotonic >= self.retry.at:
                self.checkpoint(judge, feed)
        elif self.dirty and (monotonic >= self._checkpoint_at or self.dirty >= self._pace.checkpoint_batches):
            self.checkpoint(judge, feed)

    def checkpoint(self, judge: Judge, feed: Feed) -> None:
        """Write owed effects, the judge's changes (all, when a former write failed) and the feed's
        positions."""
        self._checkpoint_at = self._clock.monotonic() + self._pace.checkpoint_every
        written = len(self._unwritten)
        try:
            if written:
                self.ledger.record(self._unwritten)
                self._unwritten = []
            full = self._full
            self._full = True  # should it fail, then the changes it took from the judge are gone
            self.ledger.checkpoint(judge.checkpoint(full), feed.positions(), full=full)
        except self._errors as error:
            self._failed(error)
            return
        self._full, self.dirty = False, 0
        if self.retry.worked():
            self._say(Notice("disk-back", {"written": written, "dropped": self.dropped}))

    def status(self) -> dict[str, Any]:
        """Figures for `status`."""
        return {
            "ledger_behind": len(self._unwritten),
            "ledger_failing": self.retry.failing,
            "effects_dropped": self.dropped,
        }
