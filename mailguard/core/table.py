"""A bounded map from integer keys to packed bytes, in which the guilty outlive the merely seen.

Owns: how much the engine remembers. Every table of the core that an outsider can make grow is one of these.
Never: knows what its values mean; whoever keeps them says which are *strong*.
Limits: `cap` keys. At the cap a new key takes the place of the oldest weak key; only among strong keys a
strong one gives way, and then the lightest of a handful of the longest undisturbed. So a flood of ever new
keys, each seen once, can push out only other keys seen once. An eighth of the room always stays for weak
keys, or a newcomer could never become strong.

The map is cut into shards, chosen by key and a secret salt, for two reasons: no dictionary ever grows large
enough for its growing to be felt as a pause, and housekeeping visits one shard at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from ..model import Part

#: A change for the checkpoint: table, key, value (None: deleted).
Row = tuple[str, bytes, bytes | None]

#: Keys a full shard holds, about. A dictionary that loses and gains keys is made three times as large as what
#: it holds, rounded up to a power of two: 1,365 keys have 4,096 places, one more would have 8,192.
SIEVE = 18  # the sieve of a table has 2**18 bits
SHARD_KEYS = 1365
_AT_ONCE = 32  # weak keys that leave together: finding the oldest of a dictionary is not free
_LOOKED_AT = 32  # strong keys compared before one of them gives way


def pack_key(key: int) -> bytes:
    """A table key as the shortest big-endian bytes (at least one)."""
    return key.to_bytes((key.bit_length() + 7) // 8 or 1, "big")


def sieve_place(key: int) -> int:
    """The bit of a key in `Table.sieve`: of one below 2**64 by itself, else by its next 64 bits."""
    low = key if key < 1 << 64 else key >> 64 & 0xFFFFFFFFFFFFFFFF
    return (low * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 64 - SIEVE


class Table:
    """Integer key (not negative) -> bytes, at most `cap` of them.

    `track` True remembers what changed, for the next checkpoint.
    """

    def __init__(self, name: str, cap: int, salt: int = 0, track: bool = False):
        self.name = name
        self.cap = max(8, cap)
        self.evicted = 0  # keys that gave way at the cap
        self.evicted_strong = 0  # of those, strong ones
        self._salt = salt & 0xFFFFFFFFFFFFFFFF
        # An odd number, so that the low bits of an address alone do not decide the shard.
        self._count = max(1, self.cap // SHARD_KEYS) | 1
        self._room = max(8, self.cap // self._count)
        self._strong_room = self._room - max(1, self._room // 8)
        self._weak: list[dict[int, bytes]] = [{} for _ in range(self._count)]
        self._strong: list[dict[int, bytes]] = [{} for _ in range(self._count)]
        #: for the next checkpoint, as in `Part.values`: one dictionary, in whose place `take` puts another.
        #: It has the values themselves: they were just made, and looking them up again costs more later. No
        #: dictionary: there will be no checkpoint. The compiled engine knows this very list.
        self._fresh: list[dict[int, bytes | tuple[bytes] | None]] = [{}] if track else []
        self._cursor = 0
        #: called with each key that comes new, and with each that leaves
        self.on_enter: Callable[[int], None] | None = None
        self.on_leave: Callable[[int], None] | None = None
        #: a bit for each key that ever came, so that of nearly all that never did one look says so; the
        #: compiled engine asks it
        self.sieve = bytearray(1 << SIEVE - 3)

    def __len__(self) -> int:
        return sum(map(len, self._weak)) + sum(map(len, self._strong))

    def __contains__(self, key: int) -> bool:
        shard = (key ^ self._salt) % self._count
        return key in self._strong[shard] or key in self._weak[shard]

    @property
    def strong(self) -> int:
        """How many keys are strong."""
        return sum(map(len, self._strong))

    def holds(self, keys: Iterable[int]) -> bool:
        """Could an empty table keep all these, every one of them strong, without one giving way?"""
        shards = Counter((key ^ self._salt) % self._count for key in keys)
        return max(shards.values(), default=0) < self._strong_room

    def get(self, key: int) -> bytes | None:
        shard = (key ^ self._salt) % self._count
        value = self._strong[shard].get(key)
        return value if value is not None else self._weak[shard].get(key)

    def put(self, key: int, value: bytes, strong: bool) -> None:
        """Keep `value` under `key`; a strong key stays strong until it is dropped or swept."""
        shard = (key ^ self._salt) % self._count
        strong_keys, weak_keys = self._strong[shard], self._weak[shard]
        strong = strong or key in strong_keys
        if key in strong_keys:
            strong_keys[key] = value
        elif strong:
            known = weak_keys.pop(key, None) is not None
            self._mark(key)
            if not known and self.on_enter is not None:
                self.on_enter(key)
            if len(strong_keys) >= self._strong_room:
                self._evict_strong(strong_keys)
            elif not known and len(strong_keys) + len(weak_keys) >= self._room:
                self._evict_weak(weak_keys, strong_keys)
            strong_keys[key] = value
        elif key in weak_keys:
            weak_keys[key] = value
        else:
            self._mark(key)
            if self.on_enter is not None:
                self.on_enter(key)
            if len(strong_keys) + len(weak_keys) >= self._room:
                self._evict_weak(weak_keys, strong_keys)
            weak_keys[key] = value
        if self._fresh:
            self._fresh[0][key] = (value,) if strong else value

    def amend(self, key: int, value: bytes) -> None:
        """Another value of a key that is there, which no checkpoint needs yet: `touch` says when one does."""
        shard = (key ^ self._salt) % self._count
        (self._strong if key in self._strong[shard] else self._weak)[shard][key] = value

    def touch(self, key: int) -> None:
        """The next checkpoint has the key, where it is still there."""
        shard = (key ^ self._salt) % self._count
        if not self._fresh:
            return
        if (value := self._strong[shard].get(key)) is not None:
            self._fresh[0][key] = (value,)
        elif (value := self._weak[shard].get(key)) is not None:
            self._fresh[0][key] = value

    def _mark(self, key: int) -> None:
        """Note in the sieve that the key came."""
        place = sieve_place(key)
        self.sieve[place >> 3] |= 1 << (place & 7)

    def drop(self, key: int) -> bytes | None:
        """Forget `key`; its value, or None where it was not kept."""
        shard = (key ^ self._salt) % self._count
        value = self._strong[shard].pop(key, None)
        if value is None:
            value = self._weak[shard].pop(key, None)
        if value is not None:
            self._gone(key)
        return value

    def items(self) -> Iterator[tuple[int, bytes]]:
        """All keys with their values; the table must not change meanwhile."""
        for shards in (self._strong, self._weak):
            for shard in shards:
                yield from shard.items()

    # ------------------------------------------------------------ giving way

    def _gone(self, key: int) -> None:
        if self._fresh:
            self._fresh[0][key] = None
        if self.on_leave is not None:
            self.on_leave(key)

    def _evict_weak(self, weak_keys: dict[int, bytes], strong_keys: dict[int, bytes]) -> None:
        if not weak_keys:
            self._evict_strong(strong_keys)
            return
        leaving = list(islice(weak_keys, max(1, min(_AT_ONCE, len(weak_keys) // 8))))
        for key in leaving:
            del weak_keys[key]
            self._gone(key)
        self.evicted += len(leaving)

    def _evict_strong(self, strong_keys: dict[int, bytes]) -> None:
        seen = []
        for key in strong_keys:
            seen.append(key)
            if len(seen) == _LOOKED_AT:
                break
        victim = min(seen, key=lambda key: len(strong_keys[key]))  # the first, so the oldest, of equals
        for key in seen:  # whoever was spared goes to the end of the queue
            value = strong_keys.pop(key)
            if key != victim:
                strong_keys[key] = value
        self.evicted += 1
        self.evicted_strong += 1
        self._gone(victim)

    # ------------------------------------------------------------ housekeeping

    @property
    def begins(self) -> bool:
        """The next sweep is the first of a round."""
        return self._cursor == 0

    def sweep(self, stale: Callable[[dict[int, bytes]], list[int]]) -> int:
        """Visit the next shard, drop the keys of it that `stale` names, and say how many were looked at."""
        shard = self._cursor
        self._cursor = (shard + 1) % self._count
        looked = 0
        for shards in (self._strong, self._weak):
            keys = shards[shard]
            looked += len(keys)
            leaving = stale(keys)
            if leaving:
                for key in leaving:
                    del keys[key]
                    self._gone(key)
                shards[shard] = dict(keys)  # a dictionary never gives room back by itself
        return looked

    # ------------------------------------------------------------ checkpoint

    def take(self) -> Part | None:
        """What changed since the last call; None: nothing."""
        if not self._fresh or not self._fresh[0]:
            return None
        values, self._fresh[0] = self._fresh[0], {}
        return Part(self.name, b"", values)

    def changes(self, full: bool = False) -> Iterator[Row]:
        """The rows of what changed since the last call; `full` True: of every key."""
        part = self.take()
        if not full:
            if part is not None:
                yield from part.rows()
            return
        for shards, mark in ((self._strong, b"\1"), (self._weak, b"\0")):
            for shard in shards:
                for key, value in shard.items():
                    yield self.name, pack_key(key), mark + value

    def restore(self, key: bytes, value: bytes) -> int:
        """Put one row back; its key."""
        number = int.from_bytes(key, "big")
        self.put(number, value[1:], value[:1] == b"\1")
        if self._fresh:
            self._fresh[0].pop(number, None)
        return number
