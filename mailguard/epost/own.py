"""Rows in the form that mailguard writes, for when its list of own rows does not know them. Pure.

A hand leaves the value of a permanent row empty and mailguard writes 0, so one can tell them apart; in
effect.dat its refusals stand between two comments.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from mailguard.epost import tables

BEGIN_BLOCK, END_BLOCK = b"'mailguard: refusals begin", b"'mailguard: refusals end"
_FORM = re.compile(rb"[0-9a-f.:]{2,39}(?:/\d{1,3})?\t0\Z")
_NAMED = 3


def block(data: bytes) -> tuple[int, int]:
    """From where to where in effect.dat refusals of ours stand; (0, 0) where there is no place for them."""
    begin, end = data.find(BEGIN_BLOCK), data.find(END_BLOCK)
    return (begin, end) if 0 <= begin < end else (0, 0)


def unknown(kind: str, data: bytes, known: Collection[int]) -> list[tuple[int, int, bytes]]:
    """(offset, length with its line end, text) of rows in force in our form that do not begin at one of the
    `known` offsets. `kind`: which table it is."""
    if kind == "effect":
        begin, end = block(data)
        return [
            (offset, length, text)
            for offset, length, text in tables.lines(data[:end])
            if offset > begin and offset not in known and text[:1] != b"'" and text.endswith(b" false")
        ]
    return [
        (offset, length, text)
        for offset, length, text in tables.lines(data)
        if text.endswith(b"\t0") and offset not in known and _FORM.match(text)
    ]


def names(kind: str, texts: Sequence[bytes]) -> str:
    """`192.0.2.7, 192.0.2.8, ...`: the first few of these rows."""
    mark = b" " if kind == "effect" else b"\t"
    found = [text.partition(mark)[0].decode("ascii", "replace") for text in texts[:_NAMED]]
    return ", ".join([*found, "..."] if len(texts) > _NAMED else found)


def in_words(kind: str, texts: Sequence[bytes]) -> str:
    """`2 rows (192.0.2.7, 192.0.2.8)`."""
    return f"{len(texts)} row{'' if len(texts) == 1 else 's'} ({names(kind, texts)})"
