"""Finds many literals in a block at once. Four engines behind one door; their answers are equal by test.

A prefilter answers with numbers `end << SHIFT | literal`, sorted: where an occurrence ends, and which literal
it is. Overlapping occurrences are all reported.

Limits: a prefilter is used by one thread (Hyperscan's scratch space is its own). Hyperscan only in block
mode: its stream mode crashes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from . import native

SHIFT = 12
MOST = 1 << SHIFT  # literals one prefilter can tell apart
ENGINES = ("native", "hyperscan", "ahocorasick", "find")

Data = bytes | bytearray


class Prefilter(Protocol):
    """Finds every occurrence of its literals."""

    name: str

    def find(self, data: Data, start: int, end: int) -> list[int]:
        """Sorted `end offset << SHIFT | literal` of every occurrence inside `data[start:end]`."""
        ...


class FindPrefilter:
    """`bytes.find`, literal by literal: always there."""

    name = "find"

    def __init__(self, literals: Sequence[bytes]):
        self._literals = tuple(enumerate(literals))

    def find(self, data: Data, start: int, end: int) -> list[int]:
        hits: list[int] = []
        for number, literal in self._literals:
            length = len(literal)
            at = data.find(literal, start, end)
            while at >= 0:
                hits.append(at + length << SHIFT | number)
                at = data.find(literal, at + 1, end)
        hits.sort()
        return hits


class AhoCorasickPrefilter:
    """The automaton of `ahocorasick_rs`."""

    name = "ahocorasick"

    def __init__(self, literals: Sequence[bytes]):
        from ahocorasick_rs import BytesAhoCorasick

        self._automaton: Any = BytesAhoCorasick(list(literals))

    def find(self, data: Data, start: int, end: int) -> list[int]:
        with memoryview(data) as view, view[start:end] as part:
            found = self._automaton.find_matches_as_indexes(part, overlapping=True)
        hits = [start + stop << SHIFT | number for number, _, stop in found]
        hits.sort()
        return hits


class HyperscanPrefilter:
    """Hyperscan (or Vectorscan). Every byte is written as a hexadecimal escape: its pure literal mode ends at
    NUL."""

    name = "hyperscan"

    def __init__(self, literals: Sequence[bytes]):
        import hyperscan

        self._database: Any = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[b"".join(b"\\x%02x" % byte for byte in literal) for literal in literals],
            ids=list(range(len(literals))),
            elements=len(literals),
            flags=[0] * len(literals),
        )
        self._hits: list[int] = []
        append = self._hits.append

        def found(number: int, _from: int, stop: int, _flags: int, base: int) -> None:
            append(base + stop << SHIFT | number)

        self._found = found

    def find(self, data: Data, start: int, end: int) -> list[int]:
        self._hits.clear()
        with memoryview(data) as view, view[start:end] as part:
            self._database.scan(part, match_event_handler=self._found, context=start)
        hits = self._hits[:]
        hits.sort()
        return hits


def _native(literals: Sequence[bytes]) -> Prefilter:
    """The one-pass search of the compiled core."""
    module = native.load("scan")
    if module is None:
        raise ImportError("the compiled core is not there")
    finder: Prefilter = module.Finder(literals)
    return finder


_KINDS: dict[str, Callable[[Sequence[bytes]], Any]] = {
    "native": _native,
    "hyperscan": HyperscanPrefilter,
    "ahocorasick": AhoCorasickPrefilter,
    "find": FindPrefilter,
}


def choose(literals: Sequence[bytes], engine: str = "auto", compiled: bool = True) -> Prefilter:
    """The prefilter called `engine`; "auto" is the first of `ENGINES` that works on this
    machine.

    `compiled` False: "auto" is none of our own compiled core.

    Raises ValueError for an unknown engine or too many literals, ImportError when the one named is not there.
    """
    if len(literals) > MOST:
        raise ValueError(f"more than {MOST} literals")
    if not literals:
        return FindPrefilter(())
    if engine != "auto":
        if engine not in _KINDS:
            raise ValueError(f"no such prefilter: {engine} (there are: {', '.join(ENGINES)})")
        chosen: Prefilter = _KINDS[engine](literals)
        return chosen
    for name in ENGINES:
        if name == "native" and not compiled:
            continue
        try:
            chosen = _KINDS[name](literals)
        except Exception:
            continue  # not installed, or not for this processor: the next engine gives the same answers
        return chosen
    return FindPrefilter(literals)
