"""What earlier runs have proved: the proofs of patterns and pairs, and the files whose checks all passed.

Both are kept in the cache (`source.read_cache`); they count only for the same text and the same program.
"""

from __future__ import annotations

import hashlib
import json

from .. import __version__
from ..core import pattern as patterns
from . import source

_PROOFS = "proofs"
_PASSED = "passed.json"
#: What of the program decides about a definition.
_PARTS = ("__init__.py", "model.py", "notation.py", "core", "core/pattern", "definitions")


class Proofs:
    """The proofs of patterns and pairs, read when first asked for and written when something new was
    proved."""

    def __init__(self) -> None:
        self._cache: patterns.ProofCache | None = None

    def cache(self) -> patterns.ProofCache:
        if self._cache is None:
            self._cache = patterns.ProofCache(source.read_cache(_PROOFS))
        return self._cache

    def save(self) -> None:
        if self._cache is not None and self._cache.changed:
            source.write_cache(_PROOFS, self._cache.dump())
            self._cache.changed = False


PROOFS = Proofs()


class Passed:
    """The files whose checks all passed before, as hashes of their text and of this program."""

    _program = ""
    _keys: dict[str, int] | None = None

    @classmethod
    def key(cls, path: str, text: str) -> str:
        if not cls._program:
            cls._program = source.fingerprint(_PARTS) + __version__
        return hashlib.sha256(f"{cls._program}\0{path}\0{text}".encode()).hexdigest()

    def __contains__(self, key: str) -> bool:
        return key in self._read()

    @classmethod
    def _read(cls) -> dict[str, int]:
        if cls._keys is None:
            try:
                found = json.loads(source.read_cache(_PASSED) or b"{}")
            except ValueError:
                found = {}
            cls._keys = {key: 1 for key in found if isinstance(key, str)} if isinstance(found, dict) else {}
        return cls._keys

    @classmethod
    def add(cls, key: str) -> None:
        keys = cls._read()
        while len(keys) >= 1024:
            del keys[next(iter(keys))]
        keys[key] = 1
        source.write_cache(_PASSED, json.dumps(keys).encode())
