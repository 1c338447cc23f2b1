"""Up to when each key's evidence is consumed, for one detector.

Owns: a time for each key. Never: judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct

from .table import Row, pack_key

NEVER = float("-inf")
_MARK = Struct("=d")


class Marks:
    """Up to when each key's evidence is consumed, for one detector.

    Limits: `cap` keys; beyond it the mark that was set first goes.
    """

    def __init__(self, name: str, cap: int, track: bool):
        self.name = name
        self._cap = cap
        self._until: dict[int, float] = {}
        self._dirty: set[int] | None = set() if track else None
        self._tidy_at = 4096

    def __len__(self) -> int:
        return len(self._until)

    def get(self, key: int) -> float:
        """Time up to which evidence is consumed; minus infinity where nothing is."""
        return self._until.get(key, NEVER)

    def items(self) -> Iterable[tuple[int, float]]:
        """The keys, in the order in which they were first set, and up to when each is consumed."""
        return self._until.items()

    def set(self, key: int, until: float) -> None:
        if until > self._until.get(key, NEVER):
            if len(self._until) >= self._cap and key not in self._until:
                self.drop(next(iter(self._until)))
            self._until[key] = until
            if self._dirty is not None:
                self._dirty.add(key)

    def drop(self, key: int) -> None:
        if self._until.pop(key, None) is not None and self._dirty is not None:
            self._dirty.add(key)

    def tidy(self, oldest: float) -> None:
        """Drop marks before `oldest` when many have gathered: nothing they consume is within any window."""
        if len(self._until) < self._tidy_at:
            return
        for key in [key for key, until in self._until.items() if until < oldest]:
            self.drop(key)
        self._tidy_at = max(4096, 2 * len(self._until))

    @property
    def changed(self) -> bool:
        """There are rows since the last call of `changes`."""
        return bool(self._dirty)

    def turn_back(self, newest: float) -> None:
        """Drop marks after `newest`: a clock that was ahead made them."""
        for key in [key for key, until in self._until.items() if until > newest]:
            self.drop(key)

    def changes(self, full: bool) -> Iterator[Row]:
        keys: Iterable[int] = self._until if full else self._dirty or ()
        if self._dirty is not None:
            self._dirty = set()
        for key in list(keys):
            until = self._until.get(key)
            yield self.name, pack_key(key), None if until is None else _MARK.pack(until)

    def restore(self, key: bytes, value: bytes) -> None:
        self._until[int.from_bytes(key, "big")] = _MARK.unpack(value)[0]
