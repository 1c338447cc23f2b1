"""What one setting would have done, in figures: those of a replay, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from statistics import median
from typing import Any

from ..model import HOSTILE, Impose
from ..replay.known import MOST
from ..replay.summary import Summary
from ..replay.timeline import BanRecord
from ..replay.trial import Trial

#: A ban as numbers: since, until (lifted early: then), delay (nan: unknown), detector, wide, hurt.
Stood = tuple[float, float, float, int, bool, bool]


@dataclass(frozen=True, slots=True)
class Measures:
    """Of the whole policy under one setting. Times in seconds; None where there is nothing to tell."""

    caught: int  # hostile sources that were banned
    missed: int  # hostile sources that never were
    bans: int
    own: int  # of them by the detector that is tuned
    median: float | None  # from the first hostile event to the ban
    worst: float | None
    stopped: int  # hostile events under a ban
    through: int  # hostile events that were let through
    hurt: int  # bans under which somebody known would have come
    accounts: int  # different accounts that logged in from under a ban
    partners: int  # different domains whose mail was accepted from under a ban
    logins: int
    messages: int
    peak: int  # most bans that stood together: the size of the firewall's sets

    @property
    def share(self) -> float:
        """The part of the hostile events that was let through, 0 to 1."""
        hostile = self.stopped + self.through
        return self.through / hostile if hostile else 0.0

    def row(self) -> dict[str, Any]:
        """As plain values, by the names above."""
        return asdict(self)


def peak(spans: Iterable[tuple[float, float]]) -> int:
    """The most of these spans of time that share a moment; the end of a span is no part of it."""
    kept = [(since, until) for since, until in spans if until > since]
    ends = sorted(until for _, until in kept)
    most = gone = 0
    for number, since in enumerate(sorted(since for since, _ in kept), 1):
        while ends[gone] <= since:
            gone += 1
        most = max(most, number - gone)
    return most


def measured(bans: Sequence[Stood], own: int, hostile: int, **counted: int) -> Measures:
    """From bans as numbers; `own`: the number of the detector that is tuned; `hostile`: all such events."""
    delays = [ban[2] for ban in bans if not isnan(ban[2])]
    return Measures(
        bans=len(bans),
        own=sum(ban[3] == own for ban in bans),
        median=median(delays) if delays else None,
        worst=max(delays, default=None),
        through=hostile - counted["stopped"],
        hurt=sum(ban[5] for ban in bans),
        peak=peak((ban[0], ban[1]) for ban in bans),
        **counted,
    )


def of_trial(trial: Trial, summary: Summary, detector: str) -> Measures:
    """From a trial of a replay that is closed; `detector`: the one that is tuned."""
    timeline = trial.timeline
    records = timeline.bans()
    accounts: set[str] = set()
    partners: set[str] = set()
    for one in records:
        accounts.update(one.during.users)
        partners.update(one.during.domains)
    return measured(
        [_stood(one, detector) for one in records],
        1,
        sum(count for kind, count in summary.by_kind.items() if kind in HOSTILE),
        caught=timeline.caught,
        missed=timeline.uncaught(1)[0],
        stopped=sum(timeline.stopped.values()),
        accounts=len(accounts - {""}),
        partners=len(partners - {""}),
        logins=sum(one.during.logins for one in records),
        messages=sum(one.during.messages for one in records),
    )


def _stood(record: BanRecord, detector: str) -> Stood:
    effect: Impose = record.effect
    offence = effect.ban.offence
    own = offence is not None and offence.detector == detector
    delay = record.delay
    wide = effect.ban.network.prefix < (64 if effect.ban.network.address >> 128 else 32)
    return (
        effect.time,
        record.until,
        float("nan") if delay is None else delay,
        int(own),
        wide,
        bool(record.during),
    )


def people(hits: Iterable[tuple[int, int, bool]]) -> tuple[int, int]:
    """Accounts and domains that are told, of (ban, person, logged in) in order: of each ban the first MOST.
    The names that are none are 0 and 1, and count among those."""
    told: dict[tuple[int, bool], set[int]] = {}
    for ban, person, login in hits:
        known = told.setdefault((ban, login), set())
        if len(known) < MOST:
            known.add(person)
    found: dict[bool, set[int]] = {True: set(), False: set()}
    for (_, login), known in told.items():
        found[login] |= known
    return len(found[True] - {0}), len(found[False] - {1})
