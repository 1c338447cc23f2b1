"""What an administrator asks of the running guard: verbs with arguments, answers as plain values.

Owns: the verbs `ban` `unban` `allow` `disallow` `enforce` `observe` `panic` `bans` `why` `status`.
Never: formats text. An answer is `{"ok": bool, "id": message id, "args": {...}, ...}`; whoever shows it
finds the words by the id. Networks and times in answers are notation (`192.0.2.0/24`) and seconds since
1970.

Message ids: `banned` `unbanned` `nothing-to-lift` `allowed` `not-allowed-before` `disallowed` `allow-list`
`allow-check` `mode` `panic` `bans` `why` `status`, and for refusals `bad-argument` (args: name, value),
`refused` (args: network, reason, entry), `unknown-verb`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..model import Ban, Effect, Impose, Network
from ..notation import V6, covers, format_network, network_of, parse_duration, parse_network
from .bans import Held
from .detectors import KIND_NAMES
from .engine import Engine
from .networks import source_network, wide_network
from .standing import Standing
from .window import View

Answer = dict[str, Any]
Result = tuple[list[Effect], Answer]
#: Networks wider than these are refused without force: nobody means to ban them.
WIDEST4, WIDEST6 = 8, 16
WHOLE = ("0.0.0.0/0", "::/0")


class BadArgument(Exception):
    """An argument that cannot be read."""

    def __init__(self, name: str, value: object):
        super().__init__(name, value)
        self.answer: Answer = {
            "ok": False,
            "id": "bad-argument",
            "args": {"name": name, "value": str(value)[:200]},
        }


def _refused(network: Network, reason: str, entry: str = "") -> Answer:
    return {
        "ok": False,
        "id": "refused",
        "args": {"network": format_network(network), "reason": reason, "entry": entry},
    }


def _network(args: Mapping[str, Any], name: str = "network") -> Network:
    value = args.get(name)
    network = parse_network(value) if isinstance(value, str) else None
    if network is None:
        raise BadArgument(name, value)
    return network


def _networks(args: Mapping[str, Any]) -> list[Network]:
    values = args.get("networks")
    if values is None:
        return [_network(args)] if "network" in args else []
    if not isinstance(values, list):
        raise BadArgument("networks", values)
    return [_network({"networks": value}, "networks") for value in values]


def _seconds(args: Mapping[str, Any], name: str) -> float | None:
    """A duration: seconds or `10m`; None when it is not given."""
    value = args.get(name)
    if value is None:
        return None
    found = parse_duration(value) if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e10:
        raise BadArgument(name, value)
    return float(found)


def _text(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name, "")
    if not isinstance(value, str):
        raise BadArgument(name, value)
    return "".join(char if char.isprintable() else "?" for char in value[:500])


def _detector(ban: Ban) -> str:
    return ban.offence.detector if ban.offence else "administrator"


def one_source(network: Network) -> Network:
    """A single IPv6 address stands for its /64."""
    if network.address >= V6 and network.prefix > 64:
        return network_of(network.address, 32, 64)
    return network


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
        "detector": _detector(ban),
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
    }


class Requests:
    """Carries out requests on an engine."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._verbs: dict[str, Callable[[dict[str, Any], float], Result]] = {
            "ban": self._ban,
            "unban": self._unban,
            "allow": self._allow,
            "disallow": self._disallow,
            "enforce": self._enforce,
            "observe": self._observe,
            "panic": self._panic,
            "bans": self._bans,
            "why": self._why,
        }

    def request(self, verb: str, args: dict[str, Any], now: float) -> Result:
        """Effects and answer. A request that cannot be read changes nothing and is answered with `ok`
        False.
        """
        carry_out = self._verbs.get(verb)
        if carry_out is None:
            return [], {"ok": False, "id": "unknown-verb", "args": {"verb": verb[:100]}}
        try:
            return carry_out(args, now)
        except BadArgument as error:
            return [], error.answer

    # ------------------------------------------------------------ bans

    def _standing(self, now: float) -> list[Held]:
        """Bans that stand at wall time `now`. The engine's clock is that of the logs, and may lag."""
        return [held for held in self.engine.bans if held.until > now]

    def _ban(self, args: dict[str, Any], now: float) -> Result:
        engine = self.engine
        network, seconds = one_source(_network(args)), None
        if args.get("for") not in (None, "permanent"):
            seconds = _seconds(args, "for")
        elif args.get("for") is None:
            seconds = 86400.0
        reason, scope = _text(args, "reason"), args.get("scope", "mail")
        if scope not in ("auth", "mail", "all"):
            raise BadArgument("scope", scope)
        if not args.get("force"):
            if network.prefix < (WIDEST6 if network.address >= V6 else WIDEST4):
                return [], _refused(network, "too-wide")
            spared = engine.policy.spared(network)
            if spared is not None:
                return [], _refused(network, spared[1], format_network(spared[0]))
            if engine.book.network(network, now).good(now):
                return [], _refused(network, "standing")
        until = None if seconds is None else now + seconds
        ban = Ban(network, now, until, engine.ordinals.last(network, now) + 1, None, reason, scope)
        effects = engine.policy.impose(ban, now, asked=True)
        held = engine.bans.get(network, scope)
        assert held is not None  # imposing what an administrator asks for never gives way at the cap
        return effects, {
            "ok": True,
            "id": "banned",
            "args": {"network": format_network(network)},
            "ban": ban_answer(held),
        }

    def _unban(self, args: dict[str, Any], now: float) -> Result:
        engine = self.engine
        networks = [one_source(network) for network in _networks(args)]
        detector, since, everything = _text(args, "detector"), args.get("since"), bool(args.get("all"))
        if not (networks or detector or since is not None or everything):
            raise BadArgument("network", None)
        begin = self._since(args, now)
        chosen: list[Held] = []
        for held in self._standing(now):
            ban = held.ban
            if networks and not any(covers(network, ban.network) for network in networks):
                continue
            if detector and _detector(ban) != detector:
                continue
            if begin is not None and ban.since < begin:
                continue
            chosen.append(held)
        effects: list[Effect] = []
        for held in chosen:
            effects += engine.policy.lift(held, now, "unban")
        for network in networks or dict.fromkeys(held.ban.network for held in chosen):
            self._pardon(network, now)
        lifted = [format_network(held.ban.network) for held in chosen]
        inside = [
            format_network(held.ban.network)
            for network in networks
            for held in engine.bans.around(network, "auth", now)
        ]
        return effects, {
            "ok": bool(lifted),
            "id": "unbanned" if lifted else "nothing-to-lift",
            "args": {"lifted": lifted, "still_inside": inside},
        }

    def _since(self, args: Mapping[str, Any], now: float) -> float | None:
        """`since`: an age (`2h`) or a time (seconds since 1970); the time it means."""
        value = args.get("since")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        seconds = _seconds(args, "since")
        return None if seconds is None else now - seconds

    def _pardon(self, network: Network, now: float) -> None:
        """Forget what led to a ban that was a mistake."""
        engine = self.engine
        engine.clear(network)
        engine.ordinals.clear(network)
        engine.book.pardon(network.address, now)

    # ------------------------------------------------------------ allow list

    def _allow(self, args: dict[str, Any], now: float) -> Result:
        engine, what = self.engine, args.get("do", "add")
        if what == "list":
            entries = [
                {"network": format_network(network), "reason": reason} for network, reason in engine.allow
            ]
            return [], {
                "ok": True,
                "id": "allow-list",
                "args": {},
                "entries": entries,
                "never": [
                    {"network": format_network(network), "reason": reason}
                    for network, reason in engine.policy.never
                ],
            }
        if what == "del":
            return self._disallow(args, now)
        network = _network(args)
        if what == "check":
            spared = engine.policy.spared(network)
            args_ = {
                "network": format_network(network),
                "reason": spared[1] if spared else "",
                "entry": format_network(spared[0]) if spared else "",
            }
            whole = spared is not None and covers(spared[0], network)
            return [], {
                "ok": True,
                "id": "allow-check",
                "args": args_,
                "allowed": whole,
                "part": spared is not None and not whole,
                "standing": standing_answer(engine.book.network(network, now), now),
            }
        if what != "add":
            raise BadArgument("do", what)
        if format_network(network) in WHOLE and not args.get("force"):
            return [], _refused(network, "too-wide")
        engine.set_allow(network, _text(args, "reason") or "allowed by the administrator")
        effects: list[Effect] = []
        for held in engine.bans.within(one_source(network), now):
            effects += engine.policy.lift(held, now, "allowed")
        self._pardon(one_source(network), now)
        return effects, {
            "ok": True,
            "id": "allowed",
            "args": {"network": format_network(network)},
            "lifted": len(effects),
        }

    def _disallow(self, args: dict[str, Any], now: float) -> Result:
        network = _network(args)
        gone = self.engine.set_allow(network, None)
        return [], {
            "ok": gone,
            "id": "disallowed" if gone else "not-allowed-before",
            "args": {"network": format_network(network)},
        }

    # ------------------------------------------------------------ modes

    def _enforce(self, args: dict[str, Any], now: float) -> Result:
        """From now on bans are real; those that were only said and have not ended become so."""
        engine = self.engine
        before, engine.policy.enforcing = engine.policy.enforcing, True
        effects: list[Effect] = []
        for held in self._standing(now):
            if held.simulated:
                if engine.policy.spared(held.ban.network) is None:
                    engine.bans.make_real(held)
                    effects.append(Impose(held.ban, now))
                else:
                    engine.bans.remove(*held.key)
        return effects, {
            "ok": True,
            "id": "mode",
            "args": {"mode": "enforce", "changed": not before},
            "imposed": len(effects),
        }

    def _observe(self, args: dict[str, Any], now: float) -> Result:
        """From now on bans are only said; those that stand run out by themselves."""
        before, self.engine.policy.enforcing = self.engine.policy.enforcing, False
        return [], {"ok": True, "id": "mode", "args": {"mode": "observe", "changed": before}}

    def _panic(self, args: dict[str, Any], now: float) -> Result:
        """Lift everything and observe."""
        engine = self.engine
        engine.policy.enforcing = False
        effects: list[Effect] = []
        for held in self._standing(now):
            effects += engine.policy.lift(held, now, "unban")
        return effects, {"ok": True, "id": "panic", "args": {"lifted": len(effects)}}

    # ------------------------------------------------------------ questions

    def _bans(self, args: dict[str, Any], now: float) -> Result:
        detector, begin = _text(args, "detector"), self._since(args, now)
        contains = _network(args, "contains") if args.get("contains") is not None else None
        found = []
        for held in self._standing(now):
            ban = held.ban
            if detector and _detector(ban) != detector:
                continue
            if begin is not None and ban.since < begin:
                continue
            if contains is not None and not covers(ban.network, contains):
                continue
            found.append(ban_answer(held))
        limit = args.get("limit")
        total = len(found)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
            found = found[len(found) - min(limit, len(found)) :]
        return [], {"ok": True, "id": "bans", "args": {"total": total}, "bans": found}

    def _why(self, args: dict[str, Any], now: float) -> Result:
        engine, network = self.engine, _network(args)
        own = one_source(network)
        around = {
            held.key: held
            for scope in ("auth", "mail", "all")
            for held in engine.bans.around(own, scope, now)
        }
        inside = [held for held in engine.bans.within(own, now) if held.key not in around]
        spared = engine.policy.spared(own)
        return [], {
            "ok": True,
            "id": "why",
            "args": {"network": format_network(network)},
            "banned": bool(around),
            "bans": [ban_answer(held) for held in around.values()],
            "inside": [ban_answer(held) for held in inside[:100]],
            "ordinal": engine.ordinals.last(own, now),
            "spared": None if spared is None else {"network": format_network(spared[0]), "reason": spared[1]},
            "standing": standing_answer(engine.book.network(own, now), now),
            "network_standing": standing_answer(engine.book.network(wide_network(own.address), now), now),
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
