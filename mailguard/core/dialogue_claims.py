"""Whether a block is of a dialogue log: nobody else may read it, since clients write in it.

Owns: what is remembered of that, by log. Never: reads a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..model import Block
from .rules import Parser

_BEGINNING = 16384  # bytes of a block in which is looked what it is: all of each would be looked through
_SILENT = 16 * _BEGINNING  # so many bytes looked through without a stamp: it is no dialogue log
_LOGS = 1024  # logs whose kind is remembered


#: Stamp, context and the first four bytes of the text of a line.
FIRST = re.compile(rb"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d)\], ?([0-9A-Fa-f]{8,16}), ?([^\r\n]{0,4})")


def is_spoken(data: bytes) -> bool | None:
    """Whether the beginning of a log is that of a dialogue log; None: nothing in it tells."""
    first = 0 if data.startswith(b"[") else data.find(b"\n[") + 1
    return FIRST.match(data, first) is not None if first or data.startswith(b"[") else None


def parts_of(log: str) -> tuple[str, ...]:
    """Names of folders in a log's path, and of its file, without what stands behind a dot."""
    return tuple(part.partition(".")[0] for part in re.split(r"[/\\]", log.lower()))


class Claims:
    """Knows dialogue logs."""

    def __init__(self, parsers: Iterable[Parser]):
        parsers = tuple(parsers)
        mine = [parser for parser in parsers if parser.dialogue is not None]
        self._names = frozenset(parser.name for parser in mine)
        self._logs = frozenset(log for parser in mine for log in parser.logs)
        self._others = {log for parser in parsers if parser.dialogue is None for log in parser.logs}
        self._known: dict[tuple[str, tuple[str, ...]], bool] = {}
        self._silent: dict[tuple[str, tuple[str, ...]], int] = {}  # logs: bytes that did not tell
        self._named: dict[str, bool | None] = {}  # logs: whether their names say that they are dialogue logs

    def claims(self, block: Block) -> bool:
        """Whether a block is of a dialogue log: nobody else may read it, since clients write in it."""
        if not self._names:
            return False
        key = block.log, block.parsers
        known = self._known.get(key)
        if known is None:
            known = self._claim(block)
            if known is None:
                silent = self._silent.get(key, 0) + min(block.end - block.start, _BEGINNING)
                if silent < _SILENT:
                    if len(self._silent) >= _LOGS:
                        self._silent.clear()
                    self._silent[key] = silent
                    return False
                known = False  # a dialogue log stamps its lines: no client fills that much between two stamps
            if len(self._known) >= _LOGS:
                self._known.clear()
            self._known[key] = known
        return known

    def settled(self, block: Block) -> bool:
        """It is known for good that blocks of this log, so read, are none."""
        return not self._names or self._known.get((block.log, block.parsers)) is False

    def _claim(self, block: Block) -> bool | None:
        """None: nothing in the block tells."""
        if block.parsers:
            mine = [name in self._names for name in block.parsers]
            if all(mine) or not any(mine):
                return all(mine)
        if block.log not in self._named:
            if len(self._named) >= _LOGS:
                self._named.clear()
            self._named[block.log] = self._by_its_name(block.log)
        named = self._named[block.log]
        if named is not None:
            return named
        data, start, end = block.data, block.start, min(block.end, block.start + _BEGINNING)
        if not data.startswith(b"[", start) and data.find(b"\n[", start, end) < 0:
            return None  # nearly every block of a log that nothing tells of: not copied
        return is_spoken(bytes(data[start:end]))

    def _by_its_name(self, log: str) -> bool | None:
        parts = parts_of(log)
        if not self._logs.isdisjoint(parts):
            return True
        return None if self._others.isdisjoint(parts) else False
