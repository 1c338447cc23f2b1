"""Cutting bytes into whole, bounded lines, in place.

A record ends at LF and nowhere else. Lines are at most `LIMIT` bytes; of a longer one the first `LIMIT`
bytes are kept and the rest up to its LF is dropped and counted. NUL runs at the start of a line (left by
copytruncate under a writer that does not append, or by a power loss) are skipped; NUL bytes inside a line
are the scanner's business.

Limits: an unterminated line is waited for up to `PENDING` bytes, then its beginning is handed out as cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .native import load

LIMIT = 8192  # longest line handed out, without its LF
PENDING = 65536  # longest unterminated line that is waited for
_LF = 10
_TEXT = re.compile(rb"[^\0]")
_near = load("near")
_long_at: Any = None if _near is None else _near.long_at  # the first long line, found in compiled code


class Piece(NamedTuple):
    """Whole lines `data[start:end]`, contiguous in the log. `cuts`: starts of lines that were cut."""

    start: int
    end: int
    cuts: tuple[int, ...] = ()


@dataclass(slots=True)
class Cut:
    """What `cut` found. Everything in the buffer before the index `consumed` is dealt with for good."""

    pieces: list[Piece] = field(default_factory=list)
    consumed: int = 0
    skipping: bool = False  # inside a line whose beginning was handed out: drop up to the next LF
    cut: int = 0
    dropped: int = 0
    nul: int = 0
    unterminated: int = 0  # lines that got an LF of ours because the log ended without one


def cut(data: bytearray, start: int, end: int, skipping: bool = False, final: bool = False) -> Cut:
    """Divide `data[start:end]` into pieces of whole lines.

    The buffer is changed: the byte after a cut line's kept part becomes LF. With `final` the log ends here:
    an unterminated last line is handed out as cut, its LF written at `data[end]`, which must exist.
    """
    found = Cut(consumed=start, skipping=skipping)
    if skipping:
        at = data.find(b"\n", start, end)
        if at < 0:
            found.dropped += end - start
            found.consumed = end
            return found
        found.dropped += at - start
        start = found.consumed = at + 1
        found.skipping = False
    stop = data.rfind(b"\n", start, end) + 1
    if stop > start:
        if data.find(b"\0", start, stop) < 0:
            _bounded(data, start, stop, found)
        else:
            _without_nul(data, start, stop, found)
        found.consumed = stop
    else:
        stop = start
    if stop < end and (final or end - stop > PENDING):
        _pending(data, stop, end, final, found)
    return found


def _bounded(data: bytearray, start: int, stop: int, found: Cut) -> None:
    """Whole lines `data[start:stop]`: hand them out, cutting the long ones. One `rfind` for every 8 KiB."""
    first = position = start
    if _long_at is not None:
        position = _long_at(data, start, stop)
    while stop - position > LIMIT:
        at = data.rfind(b"\n", position, position + LIMIT + 1)
        if at >= 0:
            position = at + 1
            continue
        at = data.find(b"\n", position + LIMIT + 1, stop)
        data[position + LIMIT] = _LF
        found.pieces.append(Piece(first, position + LIMIT + 1, (position,)))
        found.cut += 1
        found.dropped += at - position - LIMIT
        first = position = at + 1
    if first < stop:
        found.pieces.append(Piece(first, stop))


def _without_nul(data: bytearray, start: int, stop: int, found: Cut) -> None:
    """The same where NUL bytes were seen: leave out the runs that stand at the start of a line."""
    first = position = start
    while (at := data.find(b"\0", position, stop)) >= 0:
        if at != first and data[at - 1] != _LF:
            position = data.find(b"\n", at, stop) + 1
            continue
        if at > first:
            _bounded(data, first, at, found)
        text = _TEXT.search(data, at, stop)
        assert text is not None  # the region ends with LF
        first = position = text.start()
        found.nul += first - at
    if first < stop:
        _bounded(data, first, stop, found)


def _pending(data: bytearray, start: int, end: int, final: bool, found: Cut) -> None:
    """An unterminated line that is not waited for any longer."""
    text = _TEXT.search(data, start, end)
    begin = end if text is None else text.start()
    found.nul += begin - start
    found.consumed = begin
    if begin == end or (not final and end - begin <= PENDING):
        return
    found.consumed = end
    if end - begin > LIMIT:
        data[begin + LIMIT] = _LF
        found.pieces.append(Piece(begin, begin + LIMIT + 1, (begin,)))
        found.cut += 1
        found.dropped += end - begin - LIMIT
        found.skipping = not final
        found.unterminated += final
        return
    data[end] = _LF
    found.pieces.append(Piece(begin, end + 1, (begin,)))
    found.cut += 1
    found.unterminated += 1


class Arena:
    """One buffer that all sources of a feed read into, in turn; emptied at each call of `next`.

    A source reads at `top`, hands out what is whole and calls `keep`; what it did not keep is read again.
    """

    __slots__ = ("data", "size", "top", "view")

    def __init__(self, size: int = 4 << 20):
        self.data = bytearray(size + 1)  # one spare byte for the LF of an unterminated last line
        self.view = memoryview(self.data)
        self.size = size
        self.top = 0

    @property
    def room(self) -> int:
        """Bytes that still fit."""
        return self.size - self.top

    def keep(self, end: int) -> None:
        """`data[:end]` is in use until `reset`."""
        self.top = min(end, self.size)

    def reset(self) -> None:
        """Everything handed out before is void."""
        self.top = 0
