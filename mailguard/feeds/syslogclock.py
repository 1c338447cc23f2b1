"""The clock of a machine that sends its log here, compared with ours.

A stamp decides when a ban begins, so a clock that is wrong by hours would make bans that are over before they
begin, or crowd a day into a minute. But a stamp that is late need not be wrong: after an outage a sender
delivers what it has kept, and that must not look like a burst. So a clock counts as wrong only when the
distance between stamp and arrival stays the same for a minute; from then on it is put right by that distance.

Never: asks the time; arrivals come with the messages.
"""

from __future__ import annotations

AHEAD = 60.0  # seconds a stamp may be ahead of its arrival
BEHIND = 300.0  # seconds a stamp may be behind it: queues, retries
SAME = 30.0  # distances that differ by less are the same
SURE = 60.0  # seconds for which the distance must stay the same


class SenderClock:
    """What is known about one machine's clock. `offset`: seconds that are added to its stamps; 0: it is
    believed."""

    __slots__ = ("_candidate", "_since", "offset")

    def __init__(self, offset: float = 0.0):
        self.offset = offset
        self._candidate: float | None = None
        self._since = 0.0

    def settle(self, stamp: float, arrival: float) -> tuple[float, bool]:
        """The time that counts for a stamp, and whether the clock was found wrong or right just now."""
        distance = arrival - stamp
        if -AHEAD <= distance <= BEHIND:
            self._candidate = None
            news, self.offset = self.offset != 0.0, 0.0
            return stamp, news
        news = False
        if self.offset and abs(distance - self.offset) <= SAME:
            self.offset += (distance - self.offset) / 8  # it drifts
        elif self._candidate is None or abs(distance - self._candidate) > SAME or arrival < self._since:
            self._candidate, self._since = distance, arrival
        elif arrival - self._since >= SURE:
            self.offset, self._candidate, news = distance, None, True
        time = stamp + self.offset
        return (arrival if time > arrival else time), news
