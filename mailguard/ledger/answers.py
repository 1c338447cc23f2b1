"""Questions to the ledger: who is banned, why, and what happened. All answers are plain values for JSON."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from ..model import Network
from ..notation import format_address, format_network, host_prefix, network_of
from .evidence import Lines, pack, unpack
from .rows import EFFECT_COLUMNS, effect_dict

HISTORY = 50  # effects shown for one network, newest first
SOURCES = 20  # sources of a network whose lines are shown


class Answers:
    """Reads only. Times are seconds since 1970, networks are text."""

    def __init__(self, db: sqlite3.Connection, lines: Lines):
        self._db = db
        self._lines = lines

    def bans(
        self,
        now: float,
        *,
        detector: str | None = None,
        since: float | None = None,
        contains: Network | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[dict[str, Any]]:
        """Standing bans in the order in which they were imposed; `after` is the `id` of the last one seen."""
        where = ["(b.until IS NULL OR b.until > ?)", "b.effect > ?"]
        values: list[Any] = [now, after]
        if detector is not None:
            where.append("e.detector = ?")
            values.append(detector)
        if since is not None:
            where.append("b.since >= ?")
            values.append(since)
        if contains is not None:
            places = [(pack(one.address), one.prefix) for one in around(contains)]
            where.append("(" + " OR ".join(["(b.address = ? AND b.prefix = ?)"] * len(places)) + ")")
            values += [value for place in places for value in place]
        rows = self._db.execute(
            "SELECT b.effect, b.address, b.prefix, b.since, b.until, b.ordinal, b.scope, e.detector, e.key,"
            " e.first, e.last, e.count, e.kinds, e.reason, e.text"
            " FROM bans b JOIN effects e ON e.id = b.effect"
            f" WHERE {' AND '.join(where)} ORDER BY b.effect LIMIT ?",
            (*values, limit),
        )
        return [
            {
                "id": effect, "network": format_network(Network(unpack(address), prefix)), "since": begun,
                "until": until, "ordinal": ordinal, "scope": scope, "detector": name or None, "key": key,
                "first": first, "last": last, "count": count, "kinds": kinds.split("+") if kinds else [],
                "reason": reason, "text": text,
            }
            for effect, address, prefix, begun, until, ordinal, scope, name, key, first, last, count, kinds,
            reason, text in rows
        ]  # fmt: skip

    def count(self, now: float) -> int:
        """How many bans stand."""
        (number,) = self._db.execute(
            "SELECT count(*) FROM bans WHERE until IS NULL OR until > ?", (now,)
        ).fetchone()
        return int(number)

    def history(
        self, *, since: float | None = None, what: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """The newest effects, newest first."""
        rows = self._db.execute(
            f"SELECT {EFFECT_COLUMNS} FROM effects WHERE time >= ? AND (?2 IS NULL OR what = ?2)"
            " ORDER BY id DESC LIMIT ?3",
            (since if since is not None else -1e18, what, limit),
        )
        return [effect_dict(row) for row in rows]

    def why(self, network: Network, now: float) -> dict[str, Any]:
        """All that is known about a network: bans that cover it or lie in it, effects, the lines, and the way
        back."""
        low, high = span(network)
        standing = self.bans(now, contains=network, limit=HISTORY)
        known = {(ban["network"], ban["scope"]) for ban in standing}
        inside = self._inside(network, now)
        standing += [ban for ban in inside if (ban["network"], ban["scope"]) not in known]
        effects = self._effects(network, low, high)
        lines = []
        for source in self._lines.sources_in(low, high, SOURCES, self._db):
            lines += [
                {"source": format_address(source), **line._asdict()}
                for line in self._lines.of(source, self._db)
            ]
        lines.sort(key=lambda line: line["time"])
        return {
            "network": format_network(network),
            "banned": bool(standing),
            "bans": standing,
            "history": effects,
            "times_banned": sum(1 for effect in effects if effect["effect"] == "impose"),
            "lines": lines,
            "undo": [f"mailguard unban {ban['network']}" for ban in standing],
        }

    def _inside(self, network: Network, now: float) -> list[dict[str, Any]]:
        low, high = span(network)
        ids = self._db.execute(
            "SELECT effect FROM bans WHERE address BETWEEN ? AND ? AND (until IS NULL OR until > ?) LIMIT ?",
            (pack(low), pack(high), now, HISTORY),
        ).fetchall()
        return [ban for (effect,) in ids for ban in self.bans(now, after=effect - 1, limit=1)]

    def _effects(self, network: Network, low: int, high: int) -> list[dict[str, Any]]:
        found: dict[int, tuple[Any, ...]] = {}
        for one in around(network):
            for row in self._db.execute(
                f"SELECT id, {EFFECT_COLUMNS} FROM effects WHERE address = ? AND prefix = ?"
                " ORDER BY id DESC LIMIT ?",
                (pack(one.address), one.prefix, HISTORY),
            ):
                found[row[0]] = row[1:]
        for row in self._db.execute(
            f"SELECT id, {EFFECT_COLUMNS} FROM effects WHERE address BETWEEN ? AND ?"
            " ORDER BY id DESC LIMIT ?",
            (pack(low), pack(high), HISTORY),
        ):
            found[row[0]] = row[1:]
        return [effect_dict(found[number]) for number in sorted(found, reverse=True)[:HISTORY]]

    def every_effect(self) -> Iterator[dict[str, Any]]:
        """All effects in the order in which they were noted."""
        for row in self._db.execute(f"SELECT {EFFECT_COLUMNS} FROM effects ORDER BY id"):
            yield effect_dict(row)


def around(network: Network) -> list[Network]:
    """The network itself and every network that covers it."""
    address = network.address
    return [network_of(address, min(prefix, 32), prefix) for prefix in range(network.prefix, -1, -1)]


def span(network: Network) -> tuple[int, int]:
    """The first and last packed address of a network."""
    return network.address, network.address + (1 << (host_prefix(network.address) - network.prefix)) - 1
