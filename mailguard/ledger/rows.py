"""Effects as rows of the ledger, and back as the values that people and programs read."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ..model import Alert, Effect, Impose, Lift, Network, Offence
from ..notation import format_address, format_effect, format_network
from .evidence import Lines, pack, storable, unpack

EFFECT_COLUMNS = (
    "what, time, detector, key, first, last, count, kinds, address, prefix, since, until, ordinal, scope,"
    " reason, text, evidence, sources"
)
EFFECT_INSERT = f"INSERT OR IGNORE INTO effects ({EFFECT_COLUMNS}) VALUES ({', '.join('?' * 18)})"
#: `json.dumps` would make an encoder each time.
_dumps = json.JSONEncoder(ensure_ascii=False).encode
#: Lines kept with one effect. A detector that counted more keeps the first few and the newest.
FIRST_LINES, LAST_LINES = 4, 28


class Due(NamedTuple):
    """A ban as a firewall needs it. A frozen `Ban` costs six times as much to make, and a restart makes
    all."""

    network: Network
    until: float | None
    scope: str


def effect_row(effect: Effect, lines: Lines) -> tuple[Any, ...]:
    """The row of an effect, with the lines behind it."""
    offence: Offence | None
    network: Network | None
    if isinstance(effect, Impose):
        ban = effect.ban
        offence, network, scope, reason = ban.offence, ban.network, ban.scope, ban.reason
        since, until, ordinal = ban.since, ban.until, ban.ordinal
        what = "impose"
    elif isinstance(effect, Lift):
        offence, network, scope, reason = None, effect.network, effect.scope, effect.reason
        since, until, ordinal = None, None, 0
        what = "lift"
    elif isinstance(effect, Alert):
        offence, network, scope, reason = effect.offence, effect.network, effect.offence.scope, effect.why
        would = effect.would
        since, until, ordinal = (would.since, would.until, would.ordinal) if would else (None, None, 0)
        what = "alert"
    else:
        raise TypeError(f"not an effect: {effect!r}")
    address, prefix = (pack(network.address), network.prefix) if network is not None else ("", -1)
    if offence is None:
        assert network is not None
        found: tuple[Any, ...] = ("", format_network(network), effect.time, effect.time, 0, "")
        evidence: list[list[Any]] = []
        sources: tuple[int, ...] = ()
    else:
        found = (
            offence.detector, storable(offence.key), offence.first, offence.last, offence.count,
            "+".join(offence.kinds),
        )  # fmt: skip
        counted = offence.evidence
        if len(counted) > FIRST_LINES + LAST_LINES:
            counted = counted[:FIRST_LINES] + counted[-LAST_LINES:]
        sources = offence.sources
        evidence = lines.behind(counted, sources)
    return (
        what, effect.time, *found, address, prefix, since, until, ordinal, scope,
        storable(reason), storable(format_effect(effect)), _dumps(evidence),
        _dumps([format_address(one) for one in sources]),
    )  # fmt: skip


def effect_dict(row: tuple[Any, ...]) -> dict[str, Any]:
    """What `why` and the history say about one effect (a row of EFFECT_COLUMNS)."""
    (what, time, detector, key, first, last, count, kinds, address, prefix, since, until, ordinal, scope,
     reason, text, evidence, sources) = row  # fmt: skip
    return {
        "effect": what,
        "time": time,
        "network": None if prefix < 0 else format_network(Network(unpack(address), prefix)),
        "detector": detector or None,
        "key": key,
        "first": first,
        "last": last,
        "count": count,
        "kinds": kinds.split("+") if kinds else [],
        "since": since,
        "until": until,
        "ordinal": ordinal,
        "scope": scope,
        "reason": reason,
        "text": text,
        "evidence": [
            {"time": at, "rule": rule, "log": log, "position": position, "weight": weight, "line": line}
            for at, rule, log, position, weight, line in json.loads(evidence)
        ],
        "sources": json.loads(sources),
    }
