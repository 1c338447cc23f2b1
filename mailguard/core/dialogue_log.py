"""One dialogue log as it is read: what is known about it, and the block that is being read.

Owns: where a line begins, and where its text does. Never: keeps a line.
"""

from __future__ import annotations

import re
from typing import Any

from ..model import Block
from .dialogue_claims import FIRST
from .dialogue_state import Store
from .dialogue_words import Machine
from .items import Item, family
from .stamps import Stamps

#: The same as FIRST, of each line of a block.
HEAD = re.compile(rb"\n" + FIRST.pattern)


class Log:
    """What is known about one dialogue log."""

    __slots__ = (
        "banner", "began", "ends", "family", "last", "machines", "stamps", "store", "stranger", "text",
        "time",
    )  # fmt: skip

    def __init__(self, machines: tuple[Machine, ...], zone: str, name: str):
        self.machines = machines
        self.family = family(name)
        self.stamps = Stamps(zone)
        self.store = Store(
            max([one.dialogue.lifetime for one in machines]), max([one.dialogue.cap for one in machines])
        )
        self.text = False  # the lines of messages are logged too: a lone dot was seen
        self.banner = b""  # how the server greets, where that looks like any other reply
        self.began: float | None = None
        self.stranger = -1.0  # the second in which the latest line of a session that is not followed was told
        self.last = b""  # the latest stamp as text ...
        self.time = 0.0  # ... and its time
        self.ends: dict[int, tuple[int, bool]] = {}  # where the latest block of a file ended; in a cut line


class Run:
    """One block being read."""

    __slots__ = ("base", "block", "data", "end", "found", "log", "mutable", "store")

    def __init__(self, block: Block, data: Any, start: int, end: int, log: Log):
        self.block = block
        self.data = data
        self.end = end
        self.base = block.position - start
        self.log = log
        self.store = log.store
        self.mutable = isinstance(data, bytearray)
        self.found: list[Item] = []

    def stop(self, at: int) -> int:
        """Where the text that begins at `at` ends, without its line end."""
        stop = self.data.find(b"\n", at, self.end)
        stop = self.end if stop < 0 else stop
        while stop > at and self.data[stop - 1] == 13:
            stop -= 1
        return int(stop)

    def record(self, at: int) -> int:
        """Where the record ends whose text begins at `at`: lines without a prefix are of it."""
        stop = self.data.find(b"\n[", at, self.end)
        return self.end if stop < 0 else int(stop)

    def begins(self, words: tuple[bytes, ...], at: int) -> bool:
        """Whether one of `words` stands at `at`."""
        return bool(words) and bool(self.data.startswith(words, at))

    def blot(self, start: int, end: int) -> None:
        """Overwrite what may be secret, where the block can be written to."""
        if self.mutable and start < end:
            self.data[start:end] = b"*" * (end - start)
