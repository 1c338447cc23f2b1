"""What a replay saw, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core import native
from ..model import Event, Notice

MOST_NOTICES = 1000  # kept; of more only the number is told


@dataclass(slots=True)
class Summary:
    """What a replay saw. `first` and `last` are the earliest and latest stamp, None without any."""

    records: int = 0
    events: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    imposed: int = 0
    alerts: int = 0
    first: float | None = None
    last: float | None = None
    notices: list[Notice] = field(default_factory=list)
    untold: int = 0  # notices that were not kept
    cut: int = 0  # lines that were too long
    late: int = 0  # events that stand behind a later one of their log

    def span(self, time: float) -> None:
        """Take a stamp into the span of time."""
        if self.first is None or time < self.first:
            self.first = time
        if self.last is None or time > self.last:
            self.last = time

    def take(self, events: Sequence[Event]) -> None:
        """Count a batch of events."""
        if not events:
            return
        self.events += len(events)
        flow = native.load("flow")
        if flow is not None:
            for stamp in flow.tally(events, self.by_kind):
                self.span(stamp)
            return
        self.by_kind.update([event[0] for event in events])
        times = [event[1] for event in events]
        self.span(min(times))
        self.span(max(times))

    def notice(self, notice: Notice) -> None:
        """Keep what a log or the reader has to say."""
        if len(self.notices) < MOST_NOTICES:
            self.notices.append(notice)
        else:
            self.untold += 1

    @property
    def seconds(self) -> float:
        """Log time spanned."""
        return 0.0 if self.first is None or self.last is None else self.last - self.first

    def row(self) -> dict[str, Any]:
        """The object of the contract."""
        return {
            "summary": {
                "records": self.records,
                "events": self.events,
                "by_kind": dict(sorted(self.by_kind.items())),
                "imposed": self.imposed,
                "alerts": self.alerts,
                "seconds": whole(self.seconds),
            }
        }


def whole(seconds: float) -> float:
    """Seconds as a whole number where they are one, else to the microsecond."""
    return int(seconds) if seconds == int(seconds) else round(seconds, 6)
