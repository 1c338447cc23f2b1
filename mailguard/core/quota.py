"""How many keys one IPv6 network may take up in a history.

Owns: the counts of keys per /48 and per /32. Whoever owns a /32 owns four billion /64s; without a quota one
such attacker could fill a table with keys and push everybody else out.
Limits: beyond the quota of a /48 its further sources share one key, beyond the quota of a /32 further /48s
do, and in the end the /32 itself is one key. They still count and still fire, only together. What is banned
is the source of the deciding event, never the shared key.
"""

from __future__ import annotations

from ..notation import V6
from .table import Table


class Quota:
    """Watches a table whose keys are sources."""

    def __init__(self, table: Table):
        self.per48 = max(16, table.cap // 1024)
        self.per32 = max(64, table.cap // 16)
        self.folded = 0
        self._table = table
        self._in48: dict[int, int] = {}
        self._in32: dict[int, int] = {}
        table.on_enter = self._enter
        table.on_leave = self._leave

    def key(self, key: int) -> int:
        """The key under which a source is kept: its own, or the shared one of its network."""
        if key < V6 or key in self._table:
            return key
        narrow, wide = key >> 80, key >> 96
        if self._in48.get(narrow, 0) < self.per48 and self._in32.get(wide, 0) < self.per32:
            return key
        self.folded += 1
        shared = narrow << 80
        if shared in self._table or self._in32.get(wide, 0) < 2 * self.per32:
            return shared
        return wide << 96

    def _enter(self, key: int) -> None:
        if key >= V6:
            self._in48[key >> 80] = self._in48.get(key >> 80, 0) + 1
            self._in32[key >> 96] = self._in32.get(key >> 96, 0) + 1

    def _leave(self, key: int) -> None:
        if key >= V6:
            for counts, prefix in ((self._in48, key >> 80), (self._in32, key >> 96)):
                left = counts.get(prefix, 0) - 1
                if left > 0:
                    counts[prefix] = left
                else:
                    counts.pop(prefix, None)
