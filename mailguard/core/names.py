"""Long names as small numbers that outlive a restart, and foreign text as keyed hashes.

Owns: the numbering of logs and rules in packed records, and the one way foreign text becomes a 64-bit value.
Never: keeps a user name, a recipient or any other foreign text longer than the small cache of hot values.
Limits: 65,535 logs and as many rules; later ones share the number 65,535, "(other)". The cache holds 16,384
values.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from .table import Row

OTHER = 0xFFFF
UNNAMED = "(other)"
_CACHE = 16_384


class Names:
    """Names numbered in the order of their first appearance."""

    def __init__(self, table: str):
        self.table = table
        self._number: dict[str, int] = {}
        self.names: dict[int, str] = {}  # by number; a missing one is UNNAMED
        self._new: list[int] = []

    def number(self, name: str) -> int:
        """The number of `name`; a new one when it was never seen."""
        number = self._number.get(name)
        if number is None:
            number = len(self.names)
            if number >= OTHER:
                return OTHER
            self._number[name] = number
            self.names[number] = name
            self._new.append(number)
        return number

    def name(self, number: int) -> str:
        return self.names.get(number, UNNAMED)

    def changes(self, full: bool = False) -> Iterator[Row]:
        """Rows for the checkpoint: numbers given since the last call, or all."""
        numbers = list(self.names) if full else self._new
        self._new = []
        for number in numbers:
            yield self.table, number.to_bytes(2, "big"), self.names[number].encode("utf-8", "surrogateescape")

    def restore(self, key: bytes, value: bytes) -> None:
        number, name = int.from_bytes(key, "big"), value.decode("utf-8", "surrogateescape")
        self._number[name] = number
        self.names[number] = name


class Hasher(dict[str, int]):
    """Text -> 64-bit keyed hash, never 0 (0 means: no value). Letter case does not count. Called, or indexed,
    with a text; what it remembers is its own business.

    The key keeps an outsider from choosing names that fall together, and keeps stored hashes from being
    guessed back without the state file.
    """

    def __init__(self, secret: bytes):
        super().__init__()
        self._secret = secret[:64]

    def __missing__(self, text: str) -> int:
        digest = blake2b(text.lower().encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret)
        if len(self) >= _CACHE:
            self.clear()
        value = self[text] = int.from_bytes(digest.digest(), "little") or 1
        return value

    def __call__(self, text: str) -> int:
        return self[text]
