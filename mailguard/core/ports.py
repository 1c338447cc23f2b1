"""What the loop asks of its neighbours, as protocols, and how patient it is with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..model import Ban, Effect, Event, Item, Network, Notice, Request

Row = tuple[str, bytes, bytes | None]
Place = tuple[Network, str]


class Feed(Protocol):
    """Where items come from. `deadline` is in the clock's monotonic seconds, None: wait for ever."""

    def next(self, deadline: float | None) -> list[Item] | None:
        """All that is ready, [] when the deadline has passed, None when a recorded feed has ended."""

    def positions(self) -> dict[str, bytes]:
        """How far everything handed out reaches, to go on from after a restart."""


class Judge(Protocol):
    """Items to effects; knows no clock."""

    def feed(self, items: list[Item], now: float) -> list[Effect]: ...

    def tick(self, now: float) -> list[Effect]: ...

    def request(self, verb: str, args: dict[str, Any], now: float) -> tuple[list[Effect], dict[str, Any]]: ...

    def next_deadline(self) -> float | None: ...

    def checkpoint(self, full: bool = False) -> Iterable[Row]: ...

    def complete(self) -> None:
        """The next checkpoint is the last of this run."""

    def take_evidence(self) -> list[Event]: ...

    def allowed(self) -> Sequence[Network]: ...


class Firewall(Protocol):
    """Where bans go; each call may be repeated without harm and raises when it did not happen."""

    def open(self, bans: Iterable[Ban], now: float) -> None: ...

    def impose(self, bans: Sequence[Ban], now: float) -> None: ...

    def lift(self, networks: Sequence[Place]) -> None: ...

    def allow(self, networks: Sequence[Network]) -> None: ...

    def panic(self) -> None: ...


class Ledger(Protocol):
    """What is written down, in order, sooner or later; no call waits or raises."""

    @property
    def trouble(self) -> str:
        """Why nothing can be written; empty: it can."""

    @property
    def busy(self) -> bool:
        """No further checkpoint now: too many wait to be written, or one cannot be."""

    @property
    def behind(self) -> int:
        """Effects that wait to be written."""

    @property
    def dropped(self) -> int:
        """Effects that will never be written, because too many waited."""

    def record(self, effects: Sequence[Effect]) -> None: ...

    def evidence(self, events: Iterable[Event]) -> None: ...

    def checkpoint(self, rows: Iterable[Row], positions: Mapping[str, bytes]) -> None:
        """Not while `busy`."""

    def tick(self, monotonic: float) -> None:
        """Try again what failed, if it is time."""

    def settle(self, timeout: float = ...) -> bool:
        """Wait, for a moment, until everything is written."""

    def due(self, now: float) -> list[Ban]: ...


class Clock(Protocol):
    def now(self) -> float: ...

    def monotonic(self) -> float: ...


class Teller(Protocol):
    """Whoever speaks to people: prints effects and notices, answers questions, keeps watch over blindness."""

    def effects(self, effects: Sequence[Effect]) -> None: ...

    def notice(self, notice: Notice) -> None: ...

    def answer(self, request: Request, now: float) -> dict[str, Any]:
        """The answer to a request that is not the judge's."""

    def asked(
        self, request: Request, effects: Sequence[Effect], answer: dict[str, Any], now: float
    ) -> dict[str, Any]:
        """A request of the judge was carried out with these effects; the answer as people read it."""

    def watch(self, items: Sequence[Item], now: float) -> list[Notice]:
        """What is to be said after this batch: heartbeat, blindness."""

    def next_deadline(self) -> float | None:
        """Wall time at which `watch` has something to do without items."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how much. Seconds, and numbers of things."""

    checkpoint_every: float = 5.0
    #: The judge stands still while it hands one out: 0.4 ms at this size, 0.3 at a third of it.
    checkpoint_bytes: int = 256 << 10
    retry_first: float = 0.25
    retry_longest: float = 30.0


class Retry:
    """When to try again what failed: at once twice as late each time."""

    def __init__(self, pace: Pace):
        self._pace = pace
        self._wait = 0.0
        self.at: float | None = None  # monotonic seconds; None: nothing is wrong

    def failed(self, monotonic: float) -> bool:
        """Note a failure; True the first time in a row, when people should hear of it."""
        first = self.at is None
        self._wait = self._pace.retry_first if first else min(self._wait * 2, self._pace.retry_longest)
        self.at = monotonic + self._wait
        return first

    def worked(self) -> bool:
        """Note a success; True when it had failed before."""
        before, self.at = self.at, None
        return before is not None

    @property
    def failing(self) -> bool:
        return self.at is not None
