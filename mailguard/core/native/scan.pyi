"""What Python sees of the compiled scan."""

from collections.abc import Sequence
from typing import Any

INTERFACE: int
MOST_LITERALS: int

class Finder:
    name: str
    def __init__(self, literals: Sequence[bytes]) -> None: ...
    def find(self, data: Any, start: int, end: int) -> list[int]: ...

class Machine:
    def give_counts(self) -> None: ...

class Lines:
    finder: Finder
    def __init__(
        self, scanner: Any, machine: Machine, search: Any, names: tuple[str, ...], scale: Sequence[float]
    ) -> None: ...
    def scan(
        self, block: Any, opener: Any, data: bytes, start: int, end: int, cuts: Any, found: list[Any]
    ) -> None: ...
    def pack(
        self, block: Any, opener: Any, data: bytes, start: int, end: int, cuts: Any
    ) -> tuple[bytes, bytes, list[Any]]: ...
    def scan_records(self, records: Any, messages: list[bytes], data: bytes, found: list[Any]) -> None: ...

class Table:
    def __init__(self, rules: Sequence[tuple[Any, ...]]) -> None: ...
    def items(
        self, log: str, rows: bytes, texts: bytes, objects: list[Any], begin: int, stop: int
    ) -> list[Any]: ...

def times_in(rows: bytes) -> bytes: ...

class Matcher:
    def __init__(self, pattern: Any, addresses: dict[bytes, int | None]) -> None: ...
    def match(self, data: bytes, start: int, end: int) -> tuple[bytes | None, ...] | None: ...
