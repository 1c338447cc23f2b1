"""What an administrator asks of the running guard: verbs with arguments, answers as plain values.

Owns: the verbs `ban` `unban` `allow` `disallow` `enforce` `observe` `panic`; `bans` and `why` are answered in
`answers`, arguments are read in `wanted`.
Never: formats text. An answer is `{"ok": bool, "id": message id, "args": {...}, ...}`; whoever shows it
finds the words by the id. Networks and times in answers are notation (`192.0.2.0/24`) and seconds since
1970.

Message ids: `banned` `unbanned` `nothing-to-lift` `allowed` `not-allowed-before` `disallowed` `allow-list`
`allow-check` `mode` `panic` `bans` `why` `status`, and for refusals `bad-argument` (args: name, value),
`refused` (args: network, reason, entry), `unknown-verb`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..model import Ban, Effect, Impose, Network
from ..notation import V6, covers, format_network
from .answers import Questions, ban_answer, detector_of, refused, standing_answer, standing_now
from .bans import Held
from .engine import Engine
from .wanted import Answer, BadArgument, network_in, networks_in, one_source, seconds_in, since_in, text_in

Result = tuple[list[Effect], Answer]
#: Networks wider than these are refused without force: nobody means to ban them.
WIDEST4, WIDEST6 = 8, 16
WHOLE = ("0.0.0.0/0", "::/0")


class Requests:
    """Carries out requests on an engine."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._questions = Questions(engine)
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

    def _ban(self, args: dict[str, Any], now: float) -> Result:
        engine = self.engine
        network, seconds = one_source(network_in(args)), None
        if args.get("for") not in (None, "permanent"):
            seconds = seconds_in(args, "for")
        elif args.get("for") is None:
            seconds = 86400.0
        reason, scope = text_in(args, "reason"), args.get("scope", "mail")
        if scope not in ("auth", "mail", "all"):
            raise BadArgument("scope", scope)
        if not args.get("force"):
            if network.prefix < (WIDEST6 if network.address >= V6 else WIDEST4):
                return [], refused(network, "too-wide")
            spared = engine.policy.spared(network)
            if spared is not None:
                return [], refused(network, spared[1], format_network(spared[0]))
            if engine.book.network(network, now).good(now):
                return [], refused(network, "standing")
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
        networks = [one_source(network) for network in networks_in(args)]
        detector, since, everything = text_in(args, "detector"), args.get("since"), bool(args.get("all"))
        if not (networks or detector or since is not None or everything):
            raise BadArgument("network", None)
        begin = since_in(args, now)
        chosen: list[Held] = []
        for held in standing_now(engine, now):
            ban = held.ban
            if networks and not any(covers(network, ban.network) for network in networks):
                continue
            if detector and detector_of(ban) != detector:
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

    def _pardon(self, network: Network, now: float) -> None:
        """Forget what led to a ban that was a mistake."""
        engine = self.engine
        engine.clear(network)
        engine.ordinals.clear(network)
        engine.book.pardon(network.address, now)
        engine.policy.pardons.note(network, now)

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
        network = network_in(args)
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
            return [], refused(network, "too-wide")
        engine.set_allow(network, text_in(args, "reason") or "allowed by the administrator")
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
        network = network_in(args)
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
        for held in standing_now(engine, now):
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
        for held in standing_now(engine, now):
            effects += engine.policy.lift(held, now, "unban")
        return effects, {"ok": True, "id": "panic", "args": {"lifted": len(effects)}}

    # ------------------------------------------------------------ questions

    def _bans(self, args: dict[str, Any], now: float) -> Result:
        return [], self._questions.bans(args, now)

    def _why(self, args: dict[str, Any], now: float) -> Result:
        return [], self._questions.why(args, now)
