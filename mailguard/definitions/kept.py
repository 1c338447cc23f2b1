"""Parsers that an earlier run has read, so that the next does not read and compile their files again.

One file in the cache holds them all; each counts only for the same text under the same path, and for the same
program and Python. It holds objects, and is read by one who makes nothing but what parsers consist of.

Never: decides whether a parser may be used. What a definition must prove is proved, or remembered, by
`checks`.
"""

from __future__ import annotations

import hashlib
import io
import marshal
import pickle
import sys
from collections.abc import Iterable
from typing import Any

from ..core.rules import Parser
from . import remembered, source

_FILE = "parsers"
_CORE = f"{__package__.partition('.')[0]}.core."
#: What stands in parsers besides the classes of the core.
_OTHERS = {("re", "_compile")}


class _Reader(pickle.Unpickler):
    """Makes objects of the core's classes alone."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _OTHERS and not (module.startswith(_CORE) and name.isidentifier()):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a parser")
        found = super().find_class(module, name)
        # What a module of the core imported is not the core's, and a dot in a name would lead further still.
        if (module, name) not in _OTHERS and not (isinstance(found, type) and found.__module__ == module):
            raise pickle.UnpicklingError(f"{module}.{name} is no class of the core")
        return found


class Kept:
    """The parsers of earlier runs, and those of this one that the next shall find."""

    def __init__(self) -> None:
        self._entries = self._read()
        self._fresh = False

    @staticmethod
    def _read() -> dict[str, tuple[bytes, bytes]]:
        """For each name the hash for which its parser counts, and the parser."""
        try:
            found = marshal.loads(source.read_cache(_FILE) or b"")
        except (EOFError, ValueError, TypeError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {
            name: entry
            for name, entry in found.items()
            if isinstance(name, str)
            and isinstance(entry, tuple)
            and [type(one) for one in entry] == [bytes] * 2
        }

    @staticmethod
    def _key(path: str, text: str) -> bytes:
        told = f"{remembered.Passed.key(path, text)}\0{sys.version}"
        return hashlib.sha256(told.encode()).digest()

    def find(self, name: str, path: str, text: str) -> Parser | None:
        """The parser that was made of this text; None where none is kept."""
        key, data = self._entries.get(name, (b"", b""))
        if key != self._key(path, text):
            return None
        try:
            parser = _Reader(io.BytesIO(data)).load()
        except Exception:  # a damaged file raises anything; the definition itself is there to be read
            return None
        return parser if isinstance(parser, Parser) else None

    def keep(self, name: str, path: str, text: str, parser: Parser) -> None:
        """Keep a parser in which nothing is wrong."""
        self._entries[name] = self._key(path, text), pickle.dumps(parser, 5)
        self._fresh = True

    def save(self, names: Iterable[str]) -> None:
        """Write down what is new; only parsers of these names are kept any longer."""
        if self._fresh:
            wanted = frozenset(names)
            entries = {name: entry for name, entry in self._entries.items() if name in wanted}
            source.write_cache(_FILE, marshal.dumps(entries))
            self._fresh = False
