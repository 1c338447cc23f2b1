"""One policy on trial: the engine in the program's own loop, fed with batches of events, and its
timeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..clock import ManualClock
from ..core.engine import Engine
from ..core.growth import Growth
from ..core.judge import Judge
from ..core.loop import Loop
from ..firewall.recording import Recording
from ..model import Block, Event, Events, Item, Records
from .feed import Collector, Forgetful
from .merging import Drafted, newest
from .shutouts import Shutouts
from .summary import Summary
from .timeline import BanRecord, Timeline


class _Nothing:
    """A scanner and sessions for events that are whole already."""

    now: float | None = None

    def scan(self, block: Block) -> list[Drafted]:
        raise NotImplementedError("a trial takes events only")

    def scan_records(self, records: Records) -> list[Drafted]:
        raise NotImplementedError("a trial takes events only")

    def join(self, drafts: object) -> list[Event]:
        raise NotImplementedError("a trial takes events only")

    def running(self) -> dict[str, float]:
        return {}

    def snapshot(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]:
        return iter(())

    def changes(self) -> list[tuple[bytes, dict[bytes, bytes | None]]]:
        return []

    def spoken(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]:
        return iter(())

    def release(self, now: float) -> list[Event]:
        return []

    def next_release(self) -> float | None:
        return None

    def flush(self) -> list[Event]:
        return []

    def restore(self, state: object, spoken: object = ()) -> None: ...


class _Handed:
    """A feed that gives what was put into it, once."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def next(self, deadline: float | None) -> list[Item] | None:
        items, self.items = self.items, []
        return items

    def positions(self) -> dict[str, bytes]:
        return {}


class Trial:
    """Feed it batches in order, then `close` it."""

    def __init__(self, engine: Engine, growth: Growth | None = None):
        """`engine` decides as its policy says; here every ban is imposed. `growth` watches what
        grows."""
        nothing = _Nothing()
        self.judge = Judge(nothing, nothing, engine, evidence=False)
        self.judge.enforcing = True
        self.judge.growth = growth
        self.timeline = Timeline()
        self.summary = Summary()  # of the effects; that of the events is the reading's
        self._clock = ManualClock()
        self._feed = _Handed()
        self._teller = Collector(self.summary)
        self._loop = Loop(
            self._feed, self.judge, Recording(self._clock), Forgetful(), self._clock, self._teller
        )

    def take(self, events: Sequence[Event]) -> None:
        """The next batch."""
        if not events:
            return
        self._clock.set(newest(events))
        self._feed.items = [Events(events)]
        self._loop.step()
        self.timeline.take(events, self._teller.take())

    def close(self, shutouts: Shutouts, end: float | None) -> None:
        """The last batch has come; `end` is the latest stamp of the logs."""
        for ban in self.timeline.bans():
            self._hide(ban, shutouts, end)
        self.timeline.close()

    @staticmethod
    def _hide(ban: BanRecord, shutouts: Shutouts, end: float | None) -> None:
        until = ban.until if end is None else min(ban.until, end)
        if until > ban.effect.time:
            stretches = shutouts.hidden(ban.effect.ban.network, ban.effect.time, until)
            ban.hidden = sum(stop - begin for begin, stop in stretches)
