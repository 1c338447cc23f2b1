"""How one comment is made of another in place, so that it is all comment at every moment. Pure.

Both are whole lines that begin with the comment mark, of one length. A reader may see any write half done; so
the line ends inside the old text go first (one line is left, which is a comment whatever else stands in it),
then the text comes, marks of later lines included, and the new line ends last, each from behind.
"""

from __future__ import annotations

from collections.abc import Iterator

_ENDS = frozenset(b"\r\n")


def steps(old: bytes, new: bytes) -> Iterator[tuple[int, bytes]]:
    """The writes, as offset and bytes, in their order."""
    for before, after in ((old, _flat(old)), (_flat(old), _flat(new)), (_flat(new), new)):
        yield from reversed(list(_differences(before, after)))


def _flat(lines: bytes) -> bytes:
    """The lines as one: dots for the line ends inside."""
    return lines[:-2].replace(b"\r", b".").replace(b"\n", b".") + lines[-2:]


def _differences(before: bytes, after: bytes) -> Iterator[tuple[int, bytes]]:
    """Stretches that differ: a character of a line end alone, everything else in one piece up to the next."""
    first = last = -1
    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        end = one in _ENDS or other in _ENDS
        if end and first >= 0:
            yield first, after[first : last + 1]
            first = -1
        if one == other:
            continue
        if end:
            yield place, after[place : place + 1]
        else:
            first, last = (place if first < 0 else first), place
    if first >= 0:
        yield first, after[first : last + 1]
