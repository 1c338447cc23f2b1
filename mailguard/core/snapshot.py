"""Bans, offences and the layout of packed records as bytes for the checkpoint, and back.

Owns: the stored form of a ban (JSON; bans are few). Packed histories store themselves (`table`).
Never: trusts that the numbering of kinds or conditions is still the one under which a record was packed.
"""

from __future__ import annotations

import json
from typing import Any

from ..model import Ban, Evidence, Network, Offence
from .window import CONDITIONS, SIZE

Unless = tuple[tuple[str, str], ...]


def ban_to_dict(ban: Ban) -> dict[str, Any]:
    """A ban as plain JSON-able values; addresses as packed integers."""
    offence = ban.offence
    return {
        "network": list(ban.network),
        "since": ban.since,
        "until": ban.until,
        "ordinal": ban.ordinal,
        "reason": ban.reason,
        "scope": ban.scope,
        "offence": None
        if offence is None
        else {
            "detector": offence.detector,
            "key": offence.key,
            "first": offence.first,
            "last": offence.last,
            "count": offence.count,
            "kinds": list(offence.kinds),
            "scope": offence.scope,
            "may_ban": offence.may_ban,
            "sources": list(offence.sources),
            "evidence": [list(piece) for piece in offence.evidence],
            "different": offence.different,
            "of": offence.of,
        },
    }


def ban_from_dict(found: dict[str, Any]) -> Ban:
    """The ban that `ban_to_dict` told."""
    told = found["offence"]
    offence = (
        None
        if told is None
        else Offence(
            told["detector"],
            told["key"],
            told["first"],
            told["last"],
            told["count"],
            tuple(told["kinds"]),
            tuple(Evidence(*piece) for piece in told["evidence"]),
            told["scope"],
            told["may_ban"],
            tuple(told["sources"]),
            told.get("different", 0),
            told.get("of", ""),
        )
    )
    return Ban(
        Network(*found["network"]),
        found["since"],
        found["until"],
        found["ordinal"],
        offence,
        found["reason"],
        found["scope"],
    )


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def dump(value: Any) -> bytes:
    return _encode(value).encode("ascii")


def load(value: bytes) -> Any:
    return json.loads(value)


class Translation:
    """Records packed under an old numbering of kinds and conditions, put into the present one.

    `same` True: nothing to do. A record of a kind that is gone is dropped; a condition that is gone is
    cleared.
    """

    def __init__(
        self,
        old_kinds: list[str],
        kinds: tuple[str, ...],
        old_conditions: list[Unless],
        conditions: list[Unless],
    ):
        numbers = {name: number for number, name in enumerate(kinds)}
        self._kinds = {old: numbers.get(name) for old, name in enumerate(old_kinds)}
        self._bits = 0xFF ^ sum(CONDITIONS)
        self._moves: list[tuple[int, int]] = []
        for place, unless in enumerate(old_conditions):
            if unless in conditions:
                self._moves.append((CONDITIONS[place], CONDITIONS[conditions.index(unless)]))
        self.same = all(old == new for old, new in self._kinds.items()) and old_conditions == conditions

    def __call__(self, buffer: bytes) -> bytes:
        pieces = []
        for start in range(0, len(buffer), SIZE):
            record = bytearray(buffer[start : start + SIZE])
            kind = self._kinds.get(record[30])
            if kind is None:
                continue
            old = record[31]
            flags = old & self._bits
            for was, now in self._moves:
                if old & was:
                    flags |= now
            record[30], record[31] = kind, flags
            pieces.append(bytes(record))
        return b"".join(pieces)
