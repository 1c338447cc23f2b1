"""Rows of a scan made of events and drafts, for tests of those who read rows."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from mailguard.core.detectors import KIND_NUMBER, SCOPE_NUMBER
from mailguard.core.items import Draft
from mailguard.core.packed import Batch, Table
from mailguard.core.rules import IGNORE
from mailguard.core.sessions import Sessions
from mailguard.model import Event
from mailguard.notation import V6

_ROW = struct.Struct("=dqQQIiHBBB3x")
_SOURCE, _NARROW, _MAY_BAN, _DRAFT, _OBJECT, _ABSENT, _NO_KIND = 1, 2, 4, 8, 16, 0xFFFF, 0xFF
#: Fields that every rule made here may capture.
NAMES = ("user", "sender", "recipient", "helo", "stage")


def batch_of(drafts: Sequence[Event | Draft]) -> Batch:
    """What a scan would give for these, all of one log; what cannot be a row stands as an object."""
    rules: dict[tuple[Any, ...], int] = {}
    rows, texts, objects = b"", b"", []
    for one in drafts:
        event, keys = (one, ()) if isinstance(one, Event) else one
        names = (*event.fields, *(name for name in NAMES if name not in event.fields))
        shape = event.rule, event.kind, names, event.proved, len(keys)
        bits = (_MAY_BAN if event.may_ban else 0) | (0 if isinstance(one, Event) else _DRAFT)
        if event.kind not in KIND_NUMBER and event.kind != IGNORE:
            rows += _ROW.pack(event.time, 0, 0, 0, len(objects), 0, 0, 0, 0, _OBJECT)
            objects.append(one)
            continue
        low = rest = 0
        if event.source is not None:
            bits |= _SOURCE
            if event.source < V6:
                bits, low = bits | _NARROW, event.source
            else:
                low, rest = event.source - V6 >> 64, event.source & (1 << 64) - 1
        rows += _ROW.pack(
            event.time, event.position, low, rest, len(texts), event.weight,
            rules.setdefault(shape, len(rules)), KIND_NUMBER.get(event.kind, _NO_KIND),
            SCOPE_NUMBER[event.scope], bits,
        )  # fmt: skip
        for name in names:
            text = event.fields.get(name)
            raw = b"" if text is None else text.encode()
            texts += struct.pack("=H", _ABSENT if text is None else len(raw)) + raw
        for key in keys:
            texts += struct.pack("=H", len(key)) + key
    entries = [
        SimpleNamespace(
            full_name=name, kind=kind, fields=tuple(enumerate(names)), proved=proved, keys=(0,) * keys
        )
        for name, kind, names, proved, keys in rules
    ]
    log = drafts[0].event.log if drafts and isinstance(drafts[0], Draft) else drafts[0].log if drafts else ""
    return Batch(Table(entries), log, rows, texts, objects)  # type: ignore[arg-type]


def told_of(events: Sequence[Event]) -> Sequence[Event]:
    """The events as what compiled sessions give of rows; they may be of several logs."""
    sessions = Sessions([], True)
    segments: list[tuple[Any, int, int]] = []
    for event in events:
        if segments and segments[-1][0][-1].log == event.log:
            segments[-1][0].append(event)
        else:
            segments.append(([event], 0, 0))
    return sessions.gather([(batch_of(found), 0, len(found)) for found, _, _ in segments])
