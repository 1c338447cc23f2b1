"""One log or folder that is watched: its name, its place, how much of it there is within the window.

Owns: what a thing's numbers are between two steps. What they mean is decided in `growth`.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from datetime import tzinfo

from .hours import Hours

DAY_BITS = 40  # positions in day-named files: hours since 2000 above, byte offset below
OFFSET = (1 << DAY_BITS) - 1
_MOMENTS = 0x2000  # below so many hours a position is none of those but a moment in a journal
_DAY_FILE = re.compile(r"/\d{6}(?:\d\d){0,2}\.log$", re.IGNORECASE)
_ROTATED = re.compile(r"[._-](?:\d{1,4}|\d{4}-?\d\d-?\d\d(?:[-_T.]?\d{2,6})?)$")
_PACKED = re.compile(r"\.(?:gz|xz|bz2|lzma|zst)$")


@dataclass(frozen=True, slots=True)
class Rules:
    """`[growth]` of the settings; seconds, bytes, numbers of messages."""

    every: float = 60.0
    within: float = 600.0
    times: float = 6.0
    least_bytes: int = 65536
    least_messages: int = 200
    learn: float = 604800.0
    zone: tzinfo | None = None  # of the people who use the server; None: this host's


def thing_of(log: str) -> str:
    """The log that a file belongs to: rotated and compressed forms to the current one, day-named ones to
    their folder."""
    name = _PACKED.sub("", log)
    folder = _DAY_FILE.sub("", name)
    return folder if folder != name else _ROTATED.sub("", name) or log


class Place:
    """How far a log was read, and how many bytes of that belong to no step yet."""

    __slots__ = ("journal", "more", "position")

    def __init__(self, position: int):
        self.position = position
        self.more = 0
        self.journal = 0 < position >> DAY_BITS < _MOMENTS  # positions are moments


@dataclass(slots=True)
class Thing:
    """One log or folder. `samples`, `total` and `peak` are those of the hour that is not over yet."""

    unit: str
    hours: Hours = field(default_factory=Hours)
    steps: deque[tuple[float, float]] = field(default_factory=deque)
    amount: float = 0.0  # bytes within the window, or messages
    value: float | None = None  # the last reading; None: what comes next is where counting begins
    read: float = 0.0  # ... and its time
    began: float | None = None  # when the window began to fill
    samples: int = 0
    total: float = 0.0
    seen: float = 0.0  # messages: seconds of the hour that is not over yet for which it was counted
    peak: float = 0.0
    grew: bool = False  # in this hour, beyond what is normal
    since: float | None = None  # it grows beyond what is normal since then
    told: float = 0.0
    calm: float | None = None  # back to normal since then

    def moved(self, time: float, more: float, within: float) -> None:
        """So many bytes more at this time."""
        if more:
            self.steps.append((time, more))
            self.amount += more
        while self.steps and self.steps[0][0] <= time - within:
            self.amount -= self.steps.popleft()[1]
        if not self.steps:
            self.amount = 0.0  # sums of floats leave crumbs

    def cut(self) -> None:
        """Nobody knows what happened meanwhile."""
        self.steps.clear()
        self.amount, self.value, self.began = 0.0, None, None
