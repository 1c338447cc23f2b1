"""What a scanner gives, and what it counts on the way.

A scanner's answer is a list of events and drafts; see `scanner`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from ..model import Event

#: What rotation puts into a file's name: how it is packed, its number, its day (and hour, or second).
_PACKED = re.compile(r"\.(?:gz|xz|bz2|zst|Z)\Z")
_TURN = re.compile(r"\.\d{1,5}\Z")
_DATE = re.compile(
    r"(?:(?:\A|[-_.])20\d\d[-_]?(?:0[1-9]|1[0-2])[-_]?(?:0[1-9]|[12]\d|3[01])"
    r"|\A\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?:\d\d){0,3}(?![0-9A-Za-z])(?:[-_T]\d+)*"
)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}\Z")
LINE_LIMIT = 8192  # bytes; a longer line is cut there
MOST_ATTEMPTS = 65535
AHEAD = 60.0  # seconds; a live entry further ahead than this counts as now
SAMPLE_EVERY = 65536  # bytes of a log between two lines that are looked at without a literal
ALL, EVERY = 256, 16  # how many doubtful lines are all looked at, and of which later ones one is


class Draft(NamedTuple):
    """An event that needs its session, or that changes one.

    `keys` are the keys of the rule's sessions, in order; an empty key: the line names no session.
    """

    event: Event
    keys: tuple[bytes, ...]


Item = Event | Draft


@dataclass(slots=True)
class Counters:
    """What the scanner saw since it was made."""

    lines: int = 0
    bytes: int = 0
    cut: int = 0
    hits: int = 0  # lines on which a literal was found
    ambiguous: int = 0  # lines that two rules read with different sources: no event
    sourceless: int = 0  # hostile lines whose source is no address
    unopened: int = 0  # lines with a literal whose prefix is not known
    sampled: int = 0  # lines looked at without a literal: the first of a block, one in 64 KiB
    sampled_unmatched: int = 0  # those of them of a program we know, that no rule took
    unmatched: dict[str, int] = field(default_factory=dict)  # program: lines with a literal that no rule took
    latest: dict[str, str] = field(default_factory=dict)  # program: the latest such message
    matched: dict[str, float] = field(default_factory=dict)  # log: time of the last line that made an event


@dataclass(slots=True)
class Doubts:
    """Which of the lines with a literal that no rule took are looked at: the first 256, then every 16th,
    which counts for 16; dozens of rules are asked about each."""

    met: int = 0

    def skips(self) -> bool:
        """Count one more. True: it is not looked at."""
        self.met += 1
        return self.met > ALL and self.met % EVERY != 0

    @property
    def stands_for(self) -> int:
        """For how many lines the one that is looked at counts."""
        return EVERY if self.met > ALL else 1


def time_of(item: Item) -> float:
    """When it happened."""
    return item.event.time if isinstance(item, Draft) else item.time


@lru_cache(maxsize=1024)
def family(log: str) -> bytes:
    """What stands for the host where lines name none: the log's path without the date and the number of its
    file, so that day-named and rotated files of one log are one, and two logs are two: `mail1.log` and
    `mail2.log`, the folders `acceptlog/MAIL1` and `acceptlog/MAIL2`, the senders `syslog/192.0.2.1` and
    `syslog/192.0.2.2`."""
    folder, slash, base = log.rpartition("/")
    if _ADDRESS.match(base):
        return log.encode()
    kept = _DATE.sub("", _TURN.sub("", _PACKED.sub("", base)))
    return (folder + slash + kept.rstrip("-_.")).encode()
