"""The engine's state as rows for a checkpoint, and back.

Owns: the names of the rows. Each is (table, key, value); a value None deletes the row. Those of the packed
tables are handed out as they were put (`Part`): whoever writes them makes rows of them. The rows of one
`save` belong into one transaction together with the positions of the logs: then a guard that was killed
goes on where the checkpoint was, reads the rest of the logs again, and comes to the same effects.
Never: reads or writes a file.
Limits: `save` hands out only what changed since the last `save`; if writing the rows fails, the next must
be full.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from struct import Struct
from typing import Any

from ..model import Changes, Network
from .bans import Key
from .detectors import KIND_NAMES
from .engine import Engine
from .networks import pack_network, unpack_network
from .snapshot import Translation, Unless, ban_from_dict, ban_to_dict, dump, load
from .table import pack_key

META, BAN, HITS, ALLOW = "engine", "ban", "ban/hits", "allow"
_HITS = Struct("=Qd")  # how often the ban was met since it stands, and when last
VERSION = 1


def _ban_key(key: Key) -> bytes:
    network, scope = key
    return scope.encode() + b"/" + pack_key(pack_network(network))


def save(engine: Engine, full: bool = False) -> Changes:
    """Everything that changed since the last call (`full`: everything)."""
    made = engine.changes(full)
    rows = made.rows
    for key, held in engine.bans.changed(full):
        if held is not None and held.hits:
            rows.append((HITS, _ban_key(key), _HITS.pack(held.hits, held.last_hit)))
        elif not full:
            rows.append((HITS, _ban_key(key), None))
        if held is None:
            rows.append((BAN, _ban_key(key), None))
        else:
            told = ban_to_dict(held.ban) | {
                "simulated": held.simulated,
                "hits": held.hits,
                "last_hit": held.last_hit,
                "serial": held.serial,
            }
            rows.append((BAN, _ban_key(key), dump(told)))
    for held in engine.bans.met():
        rows.append((HITS, _ban_key(held.key), _HITS.pack(held.hits, held.last_hit)))
    for network in engine.take_allow_changes(full):
        entry = dict(engine.allow).get(network)
        rows.append((ALLOW, pack_key(pack_network(network)), None if entry is None else entry.encode()))
    rows.append((META, b"", dump(_moving(engine))[:-1] + b"," + _lasting(engine)[1:]))
    return made


def _moving(engine: Engine) -> dict[str, Any]:
    """Facts about the whole that change all the time."""
    return {
        "version": VERSION,
        "clock": None if engine.clock == float("-inf") else engine.clock,
        "enforcing": engine.policy.enforcing,
        "cap_told": engine.policy.cap_told,
        "refused_at_cap": engine.policy.refused_at_cap,
        "counts": engine.counts,
    }


@cache
def _words(conditions: tuple[tuple[str, tuple[Unless, ...]], ...]) -> bytes:
    return dump({"kinds": list(KIND_NAMES), "conditions": dict(conditions)})


def _lasting(engine: Engine) -> bytes:
    """Those that do not: they are the same in every checkpoint."""
    return _words(tuple((lane.form, tuple(unless for _, unless in lane.conditions)) for lane in engine.lanes))


def restore(engine: Engine, rows: Iterable[tuple[str, bytes, bytes]]) -> dict[str, Any]:
    """Put a checkpoint into a new engine; rows of tables that no detector needs any more are passed over.

    Returns the stored facts about the whole ("enforcing" among them), {} where there was no checkpoint.
    """
    tables = {table.name: table for table in engine.tables()}
    marks = {
        mark.name: mark
        for lane in engine.lanes
        for watch in lane.watches
        for mark in (watch.marks, watch.suspicions, watch.told)
    }
    pardons = engine.policy.pardons.marks
    marks[pardons.name] = pardons
    meta: dict[str, Any] = {}
    bans: list[dict[str, Any]] = []
    hits: dict[bytes, tuple[int, float]] = {}
    for name, key, value in rows:
        if name in tables:
            tables[name].restore(key, value)
        elif name in marks:
            marks[name].restore(key, value)
        elif name == engine.logs.table:
            engine.logs.restore(key, value)
        elif name == engine.rules.table:
            engine.rules.restore(key, value)
        elif name == BAN:
            bans.append(load(value))
        elif name == HITS:
            hits[key] = _HITS.unpack(value)
        elif name == ALLOW:
            network = unpack_network(int.from_bytes(key, "big"))
            engine.allow.add(Network(*network), value.decode())
        elif name == META:
            meta = load(value)
    for told in sorted(bans, key=lambda found: int(found["serial"])):
        held = engine.bans.put(ban_from_dict(told), bool(told["simulated"]))
        held.hits, held.last_hit = hits.get(_ban_key(held.key), (told["hits"], told["last_hit"]))
    if meta:
        _restore_meta(engine, meta)
    engine.rewire()
    return meta


def _restore_meta(engine: Engine, meta: dict[str, Any]) -> None:
    if meta["clock"] is not None:
        engine.clock = meta["clock"]
        engine.bans.expire(engine.clock)
    engine.policy.cap_told = meta["cap_told"]
    engine.policy.refused_at_cap = meta["refused_at_cap"]
    engine.counts.update({name: count for name, count in meta["counts"].items() if name in engine.counts})
    for lane in engine.lanes:
        old: list[Unless] = [
            tuple((str(name), str(value)) for name, value in unless)
            for unless in meta["conditions"].get(lane.form, [])
        ]
        translation = Translation(meta["kinds"], KIND_NAMES, old, [unless for _, unless in lane.conditions])
        if translation.same:
            continue
        table = lane.history.table
        for number, buffer in list(table.items()):
            translated = translation(buffer)
            if translated:
                table.put(number, translated, False)
            else:
                table.drop(number)
