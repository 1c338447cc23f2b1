"""What the guard answers about bans, and its answers to the questions `bans` and `why`, as plain values.

Never changes anything. Networks are notation (`192.0.2.0/24`), times are seconds since 1970.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..model import Ban, Impose, Network
from ..notation import covers, format_effect, format_network
from .bans import Held
from .detectors import KIND_NAMES
from .engine import Engine
from .networks import source_network, wide_network
from .standing import Standing
from .wanted import Answer, network_in, one_source, since_in, text_in
from .window import View


def refused(network: Network, reason: str, entry: str = "") -> Answer:
    """No: `reason` is an id of ours or the reason of the never-list's `entry`."""
    return {
        "ok": False,
        "id": "refused",
        "args": {"network": format_network(network), "reason": reason, "entry": entry},
    }


def detector_of(ban: Ban) -> str:
    """The detector that found the offence; `administrator` where somebody asked for the ban."""
    return ban.offence.detector if ban.offence else "administrator"


def ban_answer(held: Held) -> Answer:
    """A ban as plain values."""
    ban, offence = held.ban, held.ban.offence
    return {
        "network": format_network(ban.network),
        "scope": ban.scope,
        "since": ban.since,
        "until": ban.until,
        "ordinal": ban.ordinal,
        "reason": ban.reason,
        "detector": detector_of(ban),
        "key": offence.key if offence else "",
        "count": offence.count if offence else 0,
        "first": offence.first if offence else None,
        "last": offence.last if offence else None,
        "kinds": list(offence.kinds) if offence else [],
        "hits": held.hits,
        "last_hit": held.last_hit or None,
        "simulated": held.simulated,
    }


def standing_answer(standing: Standing, now: float) -> Answer:
    """What speaks for a network as plain values."""
    return {
        "good": standing.good(now),
        "revoked": standing.revoked,
        "first_mail": standing.first_mail or None,
        "last_mail": standing.last_mail or None,
        "mail_days": standing.mail_days,
        "first_login": standing.first_login or None,
        "last_login": standing.last_login or None,
        "login_days": standing.login_days,
        "pairs": standing.pairs,
        "messages": standing.messages,
        "more_messages": standing.more_messages,
        "logins": standing.logins,
        "more_logins": standing.more_logins,
    }


def standing_now(engine: Engine, now: float) -> list[Held]:
    """Bans that stand at wall time `now`. The engine's clock is that of the logs, and may lag."""
    return [held for held in engine.bans if held.until > now]


class Questions:
    """Answers what is asked about an engine."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def bans(self, args: dict[str, Any], now: float) -> Answer:
        """The bans that stand, oldest first; `would` true: only those that are merely observed, false: only
        real ones. `limit`: the newest so many.
        """
        detector, begin = text_in(args, "detector"), since_in(args, now)
        contains = network_in(args, "contains") if args.get("contains") is not None else None
        would = args.get("would")
        found = []
        for held in standing_now(self.engine, now):
            ban = held.ban
            if would is not None and held.simulated != bool(would):
                continue
            if detector and detector_of(ban) != detector:
                continue
            if begin is not None and ban.since < begin:
                continue
            if contains is not None and not covers(ban.network, contains):
                continue
            found.append(ban_answer(held) | {"text": format_effect(Impose(ban, ban.since))})
        limit = args.get("limit")
        total = len(found)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
            found = found[len(found) - min(limit, len(found)) :]
        return {"ok": True, "id": "bans", "args": {"total": total}, "bans": found}

    def why(self, args: dict[str, Any], now: float) -> Answer:
        """What is known of a network: bans around and inside it, what speaks for it, what still counts."""
        engine, network = self.engine, network_in(args)
        own = one_source(network)
        around = {
            held.key: held
            for scope in ("auth", "mail", "all")
            for held in engine.bans.around(own, scope, now)
        }
        inside = [held for held in engine.bans.within(own, now) if held.key not in around]
        spared = engine.policy.spared(own)
        return {
            "ok": True,
            "id": "why",
            "args": {"network": format_network(network)},
            "banned": bool(around),
            "bans": [ban_answer(held) for held in around.values()],
            "inside": [ban_answer(held) for held in inside[:100]],
            "ordinal": engine.ordinals.last(own, now),
            "unbanned": engine.policy.pardons.of(own),
            "spared": None if spared is None else {"network": format_network(spared[0]), "reason": spared[1]},
            "standing": standing_answer(engine.book.network(own, now), now),
            "network_standing": standing_answer(engine.book.network(wide_network(own.address), now), now),
            "friends": asdict(engine.book.friends(own, now)),
            "history": self._history(own),
        }

    def _history(self, network: Network) -> list[Answer]:
        """What is still within some window, by key form and kind."""
        told: list[Answer] = []
        for lane in self.engine.lanes:
            if lane.form == "source" and network == source_network(network.address):
                key, text = network.address, format_network(network)
            elif lane.form == "network":
                key, text = (
                    wide_network(network.address).address,
                    format_network(wide_network(network.address)),
                )
            else:
                continue
            buffer = lane.history.table.get(key)
            if buffer is None:
                continue
            view = View(buffer)
            for number in sorted(set(view.kinds)):
                places = [i for i in range(view.size) if view.kinds[i] == number]
                told.append(
                    {
                        "key": text,
                        "kind": KIND_NAMES[number],
                        "count": sum(view.weights[i] for i in places),
                        "first": view.times[places[0]],
                        "last": view.times[places[-1]],
                        "values": len({view.values[i] for i in places} - {0}),
                    }
                )
        return told
