"""Results of proofs, kept between runs: a proof depends on nothing but its templates and on the code that
proves.

Never: opens a file. `dump` and `load` make and take the bytes; whatever does not look right is as if it were
not there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from .witness import Ambiguity

#: Raised with every change of the slot types, the automaton or the proofs: older results then count for
#: nothing.
VERSION = 2

_HEAD = b"mailguard proofs %d\n" % VERSION


def digest(template: str) -> bytes:
    """16 bytes that stand for a template."""
    return hashlib.blake2b(template.encode(), digest_size=16).digest()


class ProofCache:
    """Proof results by key. `changed` tells whether there is something new to save."""

    def __init__(self, data: bytes = b"") -> None:
        self._found: dict[bytes, tuple[Ambiguity, ...]] = {}
        self.changed = False
        if data:
            self.load(data)

    def __len__(self) -> int:
        return len(self._found)

    def single(self, key: bytes) -> tuple[Ambiguity, ...] | None:
        """Ambiguities of one template, empty when it is proved; None when it was not looked at yet."""
        return self._found.get(key)

    def put_single(self, key: bytes, found: Sequence[Ambiguity]) -> None:
        self._found[key] = tuple(found)
        self.changed = True

    def pair(self, a: bytes, b: bytes) -> tuple[Ambiguity, ...] | None:
        """The same for two templates, in this order."""
        return self._found.get(a + b)

    def put_pair(self, a: bytes, b: bytes, found: Ambiguity | None) -> None:
        self.put_single(a + b, () if found is None else (found,))

    def dump(self) -> bytes:
        """Everything as bytes for `load`."""
        rows = {
            key.hex(): [
                [one.slot, one.line.hex(), one.reading_a.hex(), one.reading_b.hex(), one.exact, one.where]
                for one in found
            ]
            for key, found in self._found.items()
        }
        body = json.dumps(rows, separators=(",", ":")).encode()
        return _HEAD + hashlib.blake2b(body, digest_size=16).hexdigest().encode() + b"\n" + body

    def load(self, data: bytes) -> bool:
        """Take what `dump` gave. False, and nothing taken, when it is damaged or of another version."""
        if not data.startswith(_HEAD):
            return False
        check, _, body = data[len(_HEAD) :].partition(b"\n")
        if hashlib.blake2b(body, digest_size=16).hexdigest().encode() != check:
            return False
        for key, found in json.loads(body).items():
            self._found[bytes.fromhex(key)] = tuple(
                Ambiguity(slot, bytes.fromhex(line), bytes.fromhex(a), bytes.fromhex(b), exact, where)
                for slot, line, a, b, exact, where in found
            )
        return True
