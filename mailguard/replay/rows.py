"""Effects and timelines as the objects of the contract of `mailguard replay -o json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..model import HOSTILE, Alert, Effect, Impose, Lift, Network
from ..notation import format_network, times_in
from .summary import whole
from .timeline import (
    FIRST,
    KINDS,
    LAST,
    BanRecord,
    Entry,
    Score,
    host_network,
    kinds_of,
    total,
)
from .verdict import verdict

if TYPE_CHECKING:
    from .rehearsal import Rehearsal
    from .trial import Trial

WORST = 20  # sources that were never banned, told one by one


def rows(effects: Iterable[Effect], zone: str = "") -> Iterator[dict[str, Any]]:
    """The objects of the contract, one for each effect. `zone`: in which times are written; empty: this
    host's."""
    moment = times_in(zone)
    for effect in effects:
        yield row(effect, moment)


def row(effect: Effect, moment: Callable[[float], str]) -> dict[str, Any]:
    """One effect as an object; what it has not is null."""
    offence = ban = None
    network: Network | None
    if isinstance(effect, Impose):
        ban, offence, network = effect.ban, effect.ban.offence, effect.ban.network
    elif isinstance(effect, Alert):
        ban, offence, network = effect.would, effect.offence, effect.network
    else:
        network = effect.network
    until = ban.until if ban is not None else None
    return {
        "time": moment(effect.time),
        "effect": type(effect).__name__.lower(),
        "network": None if network is None else format_network(network),
        "detector": offence.detector if offence else None,
        "until": None if until is None else moment(until),
        "ordinal": ban.ordinal if ban else None,
        "count": offence.count if offence else None,
        "first": moment(offence.first) if offence else None,
        "last": moment(offence.last) if offence else None,
        "key": offence.key if offence else None,
    }


# ---------------------------------------------------------------- the timeline


def entry_row(entry: Entry, moment: Callable[[float], str]) -> dict[str, Any]:
    """One entry of a timeline: the keys of `row`, and those of a ban's story (null for what is none)."""
    record = entry if isinstance(entry, BanRecord) else None
    effect: Effect = record.effect if record is not None else entry  # type: ignore[assignment]
    offence = (
        effect.ban.offence
        if isinstance(effect, Impose)
        else effect.offence
        if isinstance(effect, Alert)
        else None
    )
    why = effect.why if isinstance(effect, Alert) else effect.reason if isinstance(effect, Lift) else None
    found = row(effect, moment) | {
        "kinds": list(offence.kinds) if offence is not None else None,
        "why": why,
        "hostile_first": None,
        "delay": None,
        "hostile_before": None,
        "stopped": None,
        "lifted": None,
        "collateral": None,
        "verdict": None,
    }
    if record is not None:
        delay = record.delay
        found |= {
            "hostile_first": None if record.hostile_first is None else moment(record.hostile_first),
            "delay": None if delay is None else whole(delay),
            "hostile_before": record.hostile_before,
            "stopped": record.stopped,
            "lifted": moment(record.until) if record.lifted else None,
            "collateral": {
                "before": record.before.row(moment),
                "during": record.during.row(moment),
                "after": record.after.row(moment),
                "hidden_seconds": whole(record.hidden),
                "locked_out": record.locked_out,
            },
            "verdict": verdict(record).row(),
        }
    return found


def summary_row(rehearsed: Rehearsal, trial: Trial, moment: Callable[[float], str]) -> dict[str, Any]:
    """The summary of the contract, with what this trial tells beyond it."""
    seen, timeline = rehearsed.summary, trial.timeline
    found: dict[str, Any] = seen.row()
    hostile = sum(count for kind, count in seen.by_kind.items() if kind in HOSTILE)
    stopped = sum(timeline.stopped.values())
    sources, events, worst = timeline.uncaught(WORST)
    found["summary"] |= {
        "imposed": trial.summary.imposed,
        "alerts": trial.summary.alerts,
        "logs": len(rehearsed.sources),
        "from": None if seen.first is None else moment(seen.first),
        "until": None if seen.last is None else moment(seen.last),
        "hostile": hostile,
        "stopped": stopped,
        "stopped_by_kind": dict(sorted(timeline.stopped.items())),
        "caught": timeline.caught,
        "hurt": sum(score.hurt for score in timeline.scores.values()),
        "detectors": {name: score_row(score) for name, score in sorted(timeline.scores.items()) if name},
        "never_caught": {
            "sources": sources,
            "events": events,
            "forgotten": timeline.forgotten,
            "worst": [
                {
                    "source": format_network(host_network(key)),
                    "first": moment(record[FIRST]),
                    "last": moment(record[LAST]),
                    "events": total(record[KINDS]),
                    "kinds": kinds_of(record[KINDS]),
                }
                for key, record in worst
            ],
        },
        "known_forgotten": timeline.known.forgotten,
        "late": seen.late,
        "cut": seen.cut,
        "problems": [{"id": notice.id, "args": _plain(notice.args)} for notice in seen.notices],
        "interrupted": rehearsed.interrupted,
    }
    return found


def score_row(score: Score) -> dict[str, Any]:
    """What one detector did, as plain values."""
    from statistics import median

    return {
        "bans": score.bans,
        "alerts": score.alerts,
        "stopped": score.stopped,
        "hurt": score.hurt,
        "median_delay": whole(median(score.delays)) if score.delays else None,
    }


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as values that JSON knows."""
    known = (int, float, str, list, type(None))
    return {name: value if isinstance(value, known) else str(value) for name, value in arguments.items()}
