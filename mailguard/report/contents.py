"""What stands in a report, as values; `page` makes HTML of them and `gather` makes them of a rehearsal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Protocol

from ..model import Network, Notice
from ..replay.timeline import BanRecord, Record, Score
from ..replay.verdict import Verdict
from .watching import Account, Source, Volume


class Words(Protocol):
    """Who finds the words, in one language."""

    language: str  # as HTML names it: "en", "ja"

    def text(self, name: str, **arguments: object) -> str:
        """A sentence of the catalogue, by id."""

    def length(self, seconds: float) -> str:
        """A length of time, rounded: `3d4h`."""

    def verdict(self, verdict: Verdict) -> str:
        """Whom a ban would have hurt."""

    def notice(self, notice: Notice) -> str:
        """What there is to say about a log."""


@dataclass(frozen=True, slots=True)
class Point:
    """One setting that was tried, and how it did."""

    name: str  # what it changes, in the words of the settings: "count = 5, within = 10m"
    caught: int  # attackers that were banned
    through: int  # hostile events that no ban stopped
    hurt: int  # bans that would have locked out somebody known
    bans: int
    peak: int  # bans that stood at once
    delay: float | None  # seconds to the ban, median
    best: bool = False  # no other setting is better in one way and not worse in another
    present: bool = False  # the setting in force
    advised: bool = False


@dataclass(frozen=True, slots=True)
class Frontier:
    """What tuning one detector found. Reasons, warnings and settings are in words already."""

    detector: str
    points: tuple[Point, ...]
    hostile: int  # hostile events in all
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: str = ""  # TOML to paste


@dataclass(slots=True)
class Report:
    """All of a report. Times are seconds since 1970; `first` None: there was nothing to read."""

    first: float | None = None
    last: float | None = None
    zone: tzinfo | None = None
    logs: Sequence[str] = ()
    records: int = 0
    hostile: int = 0
    stopped: int = 0
    caught: int = 0
    alerts: int = 0
    interrupted: bool = False
    edges: Sequence[float] = ()
    volumes: Sequence[Volume] = ()
    bans: Sequence[BanRecord] = ()
    scores: Sequence[tuple[str, Score]] = ()
    sources: Sequence[tuple[Network, Source, int]] = ()  # with the number of bans that met them
    networks: Sequence[tuple[Network, Source, int]] = ()
    accounts: Sequence[tuple[str, Account]] = ()  # with the name as it may be shown
    never: tuple[int, int] = (0, 0)  # sources that were never banned, their events
    worst: Sequence[tuple[Network, Record]] = ()  # of those
    forgotten: int = 0  # sources of which figures are incomplete
    names_forgotten: int = 0
    notices: Sequence[Notice] = ()
    untold: int = 0  # notices that were not kept
    frontiers: Sequence[Frontier] = ()
    tuned: bool = False  # it tells of settings that were tried, not of bans
    hurt: list[BanRecord] = field(default_factory=list)  # bans that would have hurt somebody
    hidden: list[BanRecord] = field(default_factory=list)  # bans of which not all is visible
