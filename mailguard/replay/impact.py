"""What speaks for and against one network in logs: who would be locked out if it were banned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..core.networks import source_key
from ..model import HOSTILE, Event, Network
from ..notation import V6, host_prefix
from .known import Closely

MOST_SOURCES = 100_000  # different sources, accounts and senders that are counted


@dataclass(slots=True)
class Impact:
    """What came from a network."""

    network: Network
    friendly: Closely = field(default_factory=lambda: Closely(most=MOST_SOURCES))
    hostile: Counter[str] = field(default_factory=Counter)
    sources: set[int] = field(default_factory=set)  # hostile ones
    last_hostile: float = 0.0

    def take(self, events: Iterable[Event]) -> None:
        """A batch of events, of which most are of others."""
        low = self.network.address
        shift = host_prefix(low) - self.network.prefix
        six, place = low >= V6, low >> shift
        for kind, time, source, _, _, fields, _, _, _, _, _, _ in events:
            if source is None or source >> shift != place or (source >= V6) != six:
                continue
            if kind == "mail_accepted":
                self.friendly.mail(time, fields.get("sender", ""), fields.get("recipient", ""))
            elif kind == "auth_success":
                self.friendly.login(time, fields.get("user", ""))
            elif kind in HOSTILE:
                self.hostile[kind] += 1
                self.last_hostile = max(self.last_hostile, time)
                if len(self.sources) < MOST_SOURCES:
                    self.sources.add(source_key(source))
