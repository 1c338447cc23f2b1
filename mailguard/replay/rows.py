"""Effects as the objects of the contract of `mailguard replay -o json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ..model import Alert, Effect, Impose, Network
from ..notation import format_network, format_time


def rows(effects: Iterable[Effect], zone: str = "") -> Iterator[dict[str, Any]]:
    """The objects of the contract, one for each effect. `zone`: in which times are written; empty: this
    host's."""
    moment = writer(zone)
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


def writer(zone: str) -> Callable[[float], str]:
    if zone:
        named = ZoneInfo(zone)
        return lambda time: format_time(time, named)
    return lambda time: format_time(time, datetime.fromtimestamp(time).astimezone().tzinfo)
