"""Whoever speaks for the running guard: tells effects, answers questions, watches over blindness and
housekeeping.

Answers are JSON objects. `status`: version, pid, started, mode, paused_until, firewall {name, lost, owed},
bans, would, lines, events, judge {...}, scanner {...}, logs {path: {...}}, blind [...], ledger {...},
warnings [...]. `bans`: a page of standing bans in the order in which they were imposed (`after`, `limit`),
with what still knocks. `why`: what the judge knows now (bans, standing, history in the windows) with what the
ledger keeps (`effects`, `lines`, `undo`, `times_banned`).
"""

from __future__ import annotations

import os
import sqlite3
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..core import native
from ..core.wanted import one_source
from ..model import Alert, Effect, Impose, Item, Lift, Network, Notice, Request
from ..notation import covers, format_effect, format_network, parse_network
from ..replay import row
from .garbage import settle
from .meter import status as growth_status
from .strays import DETECTOR, strays
from .strays import row as row_of
from .words import sentence

if TYPE_CHECKING:
    from .guard import Guard

PAGE = 1000
#: Bans up to which `bans` asks the firewall for its counters: reading them all takes a second for 100,000.
COUNTED = 5000
HOUR = 3600.0
_FARTHEST = 60.0  # seconds; no look is due later than that


class Desk:
    """The teller of a live loop."""

    def __init__(self, guard: Guard):
        self.guard = guard
        self.learning = False  # effects of lines from before the first start are counted, not told
        self.would = 0  # ... so many of them
        self.look: Callable[[], Notice | None] | None = None  # somebody who may have something to say
        self._due = 0.0  # wall time of the next `_tick`
        self._hourly_at = 0.0

    # ------------------------------------------------------------ telling

    def effects(self, effects: Sequence[Effect]) -> None:
        """One line each, and the alerts to the administrator's command."""
        guard = self.guard
        if self.learning:
            self.would += sum(
                1 for one in effects if isinstance(one, Impose) or (isinstance(one, Alert) and one.would)
            )
            return
        for effect in effects:
            guard.printer.effect(effect)
            if isinstance(effect, Alert):
                told = row(effect, str) | {"why": effect.why, "text": format_effect(effect)}
                told |= {"facts": dict(effect.offence.facts)} if effect.offence.facts else {}
                guard.runner.tell({"alert": told}, guard.clock.monotonic())

    def notice(self, notice: Notice) -> None:
        """A sentence; blindness goes to the administrator's command too."""
        guard = self.guard
        if notice.id == "heartbeat":
            notice = self._heartbeat(notice)
        elif notice.id == "clock-back":
            guard.set_back()
        if notice.id == "stop" and guard.options.flush:
            notice = Notice("stop-flush")
        guard.printer.notice(notice)
        if notice.blind or notice.id in ("firewall-lost", "disk-full"):
            told = {"notice": notice.id, "text": sentence(notice), "blind": notice.blind}
            guard.runner.tell(told, guard.clock.monotonic())
        if notice.id in ("firewall-lost", "firewall-back", "disk-full", "disk-back") or notice.blind:
            guard.notifier.status(self.line())

    def _heartbeat(self, notice: Notice) -> Notice:
        counts = self.guard.judge.engine.counts
        bans = self.guard.ledger.answers.count(self.guard.clock.now())
        return Notice("heartbeat", {**notice.args, "events": counts["events"], "bans": bans})

    def line(self) -> str:
        """The guard in one line, for `systemctl status`."""
        guard = self.guard
        blind = guard.health.blind()
        mode = "enforcing" if guard.judge.enforcing else "observing"
        if guard.loop.gate.paused_until is not None:
            mode = "paused"
        lost = "; the firewall is lost" if guard.loop.gate.retry.failing else ""
        return f"{mode}, {len(guard.logs)} logs{lost}" + (f"; BLIND: {', '.join(blind)}" if blind else "")

    # ------------------------------------------------------------ watching

    def watch(self, items: Sequence[Item], now: float) -> list[Notice]:
        """Health, signs of life, and what is due once an hour."""
        guard = self.guard
        said: list[Notice] = []
        counters = guard.scanner.counters
        if items and not self.learning:
            said = guard.health.saw(items, counters.matched, now)
        if not self._due - _FARTHEST < now < self._due:  # or the clock was set back
            said += self._tick(now)
        return said

    def _tick(self, now: float) -> list[Notice]:
        """What time brings, not lines."""
        guard = self.guard
        monotonic = guard.clock.monotonic()
        said: list[Notice] = []
        if guard.notifier.watchdog is not None:
            guard.notifier.alive()
        if not self.learning:
            counters = guard.scanner.counters
            said = guard.health.tick(now, counters.lines, counters.cut)
            guard.runner.tick(monotonic)
            settle()
            if not self._hourly_at - HOUR <= now < self._hourly_at:
                self._hourly_at = now + HOUR
                self._hourly(now)
        if self.look is not None and (notice := self.look()) is not None:
            said.append(notice)
        self._due = guard.health.next_deadline()
        if guard.notifier.watchdog is not None:
            self._due = min(self._due, now + guard.notifier.watchdog / 3)
        return said

    def _hourly(self, now: float) -> None:
        guard = self.guard
        retention = guard.loaded.settings.general.retention
        guard.writer.later(lambda: guard.ledger.tidy(now, retention=retention))
        guard.remember("health", guard.health.save())

    def next_deadline(self) -> float | None:
        """Wall time of the next look."""
        return self._due

    # ------------------------------------------------------------ answering

    def asked(
        self, request: Request, effects: Sequence[Effect], answer: dict[str, Any], now: float
    ) -> dict[str, Any]:
        """What an administrator changed is remembered and told."""
        guard = self.guard
        if request.verb == "unban" and answer["id"] in ("unbanned", "nothing-to-lift"):
            more = self._lift_strays(request.args, now)
            if more:
                guard.loop.carry_out([*more], now)
            effects = [*effects, *more]
            lifted = answer["args"]["lifted"] + [format_network(one.network) for one in more]
            if lifted:
                answer = {"ok": True, "id": "unbanned", "args": answer["args"] | {"lifted": lifted}}
        if not answer.get("ok", True):
            return answer
        guard.printer.notice(Notice("request", {"verb": request.verb}))
        if request.verb in ("enforce", "observe", "panic"):
            guard.remember_mode()
        guard.remember("paused-until", guard.loop.gate.paused_until)
        guard.notifier.status(self.line())
        return answer | {"effects": [format_effect(effect) for effect in effects]}

    def answer(self, request: Request, now: float) -> dict[str, Any]:
        """The answer to a question that changes nothing, or to `reload`."""
        try:
            return self._answered(request.verb, request.args, now)
        except sqlite3.Error as error:
            return {"ok": False, "error": f"the ledger cannot be read: {error}"}
        except Exception as error:  # whatever is wrong with an answer, the guard goes on guarding
            self.guard.printer.notice(Notice("defect", {"what": traceback.format_exc()}))
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def _answered(self, verb: str, args: dict[str, Any], now: float) -> dict[str, Any]:
        if verb == "status":
            return self._status(now)
        if verb == "bans":
            return (
                self.guard.judge.request(verb, args, now)[1] if args.get("would") else self._bans(args, now)
            )
        if verb == "why":
            return self._why(args, now)
        if verb == "history":
            return {"ok": True, "id": "history", "effects": self.guard.ledger.answers.history(limit=100)}
        if verb in ("allow-list", "allow-check"):
            do = verb.removeprefix("allow-")
            return self.guard.judge.request("allow", {**args, "do": do}, now)[1]
        if verb == "reload":
            return self.guard.reload()
        return {"ok": False, "id": "unknown-verb", "args": {"verb": verb[:100]}}

    def _status(self, now: float) -> dict[str, Any]:
        guard = self.guard
        loop, health = guard.loop.status(), guard.health.status(now)
        counters = guard.scanner.counters
        judge = guard.judge.status(now)
        logs: dict[str, dict[str, Any]] = {}
        for source in guard.feed.sources:
            kind = next((log.kind for log in guard.logs if log.name == source.name), "")
            for name, known in source.status().items():
                logs[name] = {**known, "kind": kind, "last": known["last_line"] or None}
        for name, known in health.items():
            logs.setdefault(name, {}).update(known)
        return {
            "ok": True,
            "id": "status",
            "version": __version__,
            "pid": os.getpid(),
            "started": guard.started,
            "now": now,
            "mode": judge["mode"],
            "paused_until": loop["paused_until"],
            "firewall": {
                "name": guard.door.name,
                "words": guard.firewall_words,
                "lost": loop["firewall_lost"],
                "owed": loop["firewall_owed"],
            },
            "bans": guard.ledger.answers.count(now),
            "would": judge["simulated"],
            "lines": counters.lines,
            "events": judge["events"],
            "scanner": {
                "prefilter": guard.scanner.engine,
                "compiled": list(native.there()),
                "lines": counters.lines,
                "bytes": counters.bytes,
                "cut": counters.cut,
                "ambiguous": counters.ambiguous,
                "sourceless": counters.sourceless,
                "unopened": counters.unopened,
                "unmatched": dict(sorted(counters.unmatched.items(), key=lambda one: -one[1])[:20]),
                "stamps_ahead": guard.scanner.ahead(),
            },
            "judge": judge,
            "logs": logs,
            "blind": health_words(guard.health.blind(), logs),
            "growth": growth_status(guard),
            "ledger": {
                "path": guard.ledger_path,
                "behind": loop["ledger_behind"],
                "failing": loop["ledger_failing"],
                "dropped": loop["effects_dropped"],
                **guard.ledger.counts(),
            },
            "alerts": {"left_out": guard.runner.left_out, "failed": guard.runner.failed},
        }

    def _bans(self, args: dict[str, Any], now: float) -> dict[str, Any]:
        contains = args.get("contains")
        network = parse_network(contains) if isinstance(contains, str) else None
        if contains is not None and network is None:
            return {
                "ok": False,
                "id": "bad-argument",
                "args": {"name": "contains", "value": str(contains)[:200]},
            }
        since, after, limit = (_number(args, name) for name in ("since", "after", "limit"))
        detector = args.get("detector")
        guard = self.guard
        bans = guard.ledger.answers.bans(
            now,
            detector=None if detector is None else str(detector) if detector != "administrator" else "",
            since=since,
            contains=network,
            after=int(after or 0),
            limit=max(1, min(int(limit or PAGE), PAGE)),
        )
        total = guard.ledger.answers.count(now)
        if total <= COUNTED:
            standing = guard.door.standing()
            by_name = {(format_network(place), scope): seen for (place, scope), seen in standing.items()}
            for ban in bans:
                seen = by_name.get((ban["network"], ban["scope"]))
                ban["packets"], ban["bytes"] = (seen.packets, seen.bytes) if seen else (None, None)
        for ban in bans:
            ban["detector"] = ban["detector"] or "administrator"
        if total <= COUNTED and not after and since is None and detector in (None, DETECTOR):
            # Before the others, whose ids count the pages.
            known = self._known()
            found = strays(standing, known, now)
            bans[:0] = [
                row_of(place, seen, known)
                for place, seen in sorted(found.items())[: PAGE // 2]
                if network is None or covers(place[0], network)
            ]
        return {"ok": True, "id": "bans", "args": {"total": total}, "bans": bans}

    def _known(self) -> set[tuple[Network, str]]:
        """Where the judge knows of a ban."""
        return {held.key for held in self.guard.judge.engine.bans if not held.simulated}

    def _lift_strays(self, args: dict[str, Any], now: float) -> list[Lift]:
        """`unban` and what stands in the firewall without the judge's knowledge; the effects."""
        asked = args.get("networks") or [args.get("network")]
        networks = [one_source(one) for one in map(parse_network, map(str, asked)) if one is not None]
        if not networks and not args.get("all"):
            return []
        found = strays(self.guard.door.standing(), self._known(), now, networks)
        return [Lift(network, now, "unban", scope) for network, scope in sorted(found)]

    def _why(self, args: dict[str, Any], now: float) -> dict[str, Any]:
        guard = self.guard
        _, answer = guard.judge.request("why", args, now)
        network = parse_network(str(args.get("network")))
        if not answer["ok"] or network is None:
            return answer
        kept = guard.ledger.answers.why(network, now)
        if guard.ledger.answers.count(now) <= COUNTED:
            known = self._known()
            found = strays(guard.door.standing(), known, now)
            around = [row_of(*one, known) for one in sorted(found.items()) if covers(one[0][0], network)]
            answer = answer | {"bans": answer["bans"] + around, "banned": answer["banned"] or bool(around)}
            kept["undo"][:0] = [f"mailguard unban {one['network']}" for one in around]
        return answer | {
            "effects": kept["history"],
            "lines": kept["lines"],
            "times_banned": kept["times_banned"],
            "undo": kept["undo"],
            "standing_bans": kept["bans"],
        }


def health_words(blind: list[str], logs: dict[str, dict[str, Any]]) -> list[str]:
    """What the guard may be blind to, unreadable logs included."""
    return blind + [
        f"log-unreadable {name}: {one['words']}" for name, one in logs.items() if one.get("words")
    ]


def _number(args: dict[str, Any], name: str) -> float | None:
    value = args.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 2**53:
        return None  # NaN too
    return float(value)
