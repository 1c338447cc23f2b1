"""Where a plain file is cut into pieces that mean the same wherever they are scanned.

A piece begins at the start of a line and is dated on its own. Two things are carried from line to line in a
log without years or zones: the year, which is worked out for each piece here from a few hundred lines
spread over the file; and, in the hour that summer time repeats, which of the two it is: there no cut is
made.

The cuts depend on the file alone, never on the number of workers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from ..core.envelope import Opened, Opener
from ..core.stamps import Stamps
from ..core.years import first_year
from ..feeds.archives import BROKEN, open_packed
from ..feeds.interface import LogOptions
from ..feeds.recorded import arrival_of
from .sources import PACKED, PLAIN, Source

PIECE = 4 << 20  # bytes of a piece
_LOOK = 1 << 14  # bytes looked at in one place
_FAR = 1 << 20  # a line end is looked for that far
_STEPS = 512  # places looked at to count the years
_SHORT = 64  # bytes that hardly a line has less of: nearer to each other they need not be
_NEAR = 4200.0  # seconds around the repeated hour
_ABSOLUTE = re.compile(
    rb"(?:<\d{1,3}>)?(?:1 )?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:[Zz]|[+-]\d\d)"
)


class Span(NamedTuple):
    """One piece: bytes from `start` to `end`, the year of its first line where years are counted."""

    start: int
    end: int
    year: int | None


class _Seen(NamedTuple):
    start: int  # of the line
    line: bytes


def spans(source: Source, options: LogOptions, piece: int = PIECE) -> tuple[list[Span], int | None]:
    """The pieces of a plain file, of `piece` bytes or a little more, and the year of its first line where
    that had to be found out. Raises OSError."""
    size = source.size
    year = source.year
    step = max(_SHORT, min(1 << 20, size // _STEPS))
    with open(source.path, "rb", buffering=0) as file:
        fd = file.fileno()
        counted = source.yearless
        seen = list(_sample(fd, size, step)) if counted else []
        found = None
        if counted and year is None:
            found = year = first_year([one.line for one in seen], source.arrival, options.timezone)
        opener = Opener(zone=options.timezone)
        opener.arrive(source.arrival, False, year)
        points: list[tuple[int, int | None]] = [(0, year)]
        sampled = iter(seen if year is not None else ())
        ahead = next(sampled, None)
        for wanted in range(piece, size, piece):
            place = _line_at(fd, wanted, min(size, wanted + _FAR))
            if place is None or place.start <= points[-1][0] or place.start >= size:
                continue
            while ahead is not None and ahead.start < place.start:
                opener.open(ahead.line, 0, len(ahead.line))
                ahead = next(sampled, None)
            opened = opener.open(place.line, 0, len(place.line))
            if opened is not None and _repeated(place.line, opened, opener.stamps):
                continue
            points.append((place.start, _year(opener, opened) if year is not None else None))
    ends = [start for start, _ in points[1:]] + [size]
    pieces = [Span(start, end, of) for (start, of), end in zip(points, ends, strict=True) if end > start]
    return pieces or [Span(0, size, year)], found


def _year(opener: Opener, opened: Opened | None) -> int:
    """The year of a line, or of the latest before it that has a stamp."""
    return opener.stamps.moment(opened.time if opened is not None else opener.stamps.running).year


def _repeated(line: bytes, opened: Opened, stamps: Stamps) -> bool:
    """Is the line near the hour that summer time repeats, and does not say which of the two it is in?"""
    if _ABSOLUTE.match(line):
        return False
    before, after = (_offset(stamps.moment(opened.time + far)) for far in (-_NEAR, _NEAR))
    return before > after


def _offset(moment: datetime) -> float:
    offset = (moment if moment.tzinfo else moment.astimezone()).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


def _sample(fd: int, size: int, step: int) -> Iterator[_Seen]:
    """A line every `step` bytes."""
    last = -1
    for offset in range(0, size, step):
        found = _line_at(fd, offset, min(size, offset + _FAR))
        if found is not None and found.start > last:
            last = found.start
            yield found
    tail = os.pread(fd, _LOOK, max(0, size - _LOOK)).rstrip(b"\n")
    begin = tail.rfind(b"\n") + 1
    yield _Seen(size, tail[begin:])


def _line_at(fd: int, offset: int, limit: int) -> _Seen | None:
    """The first line that begins at or after `offset`; None where none begins before `limit`."""
    begin, data = max(0, offset - 1), b""
    while begin + len(data) < limit:
        more = os.pread(fd, _LOOK, begin + len(data))
        if not more:
            return None
        data += more
        at = 0 if offset == 0 else data.find(b"\n") + 1
        if offset and not at:
            continue
        end = data.find(b"\n", at)
        if end < 0 and len(data) - at < _LOOK:
            end_of = os.pread(fd, _LOOK, begin + len(data))
            data += end_of
            end = data.find(b"\n", at)
        return _Seen(begin + at, data[at : end if end >= 0 else len(data)])
    return None


def years_of(path: str, options: LogOptions) -> int | None:
    """The year of the first line of a log without years that spans more than one; None: the arrival tells it,
    or nothing does. "-" is standard input, where that is a file."""
    try:
        arrival = arrival_of(path)
        name = "/dev/stdin" if path == "-" else path
        if not os.path.isfile(name):
            return None
        return whole_year(Source(name, PLAIN, arrival, os.stat(name).st_size, yearless=True), options)
    except OSError:
        return None


def whole_year(source: Source, options: LogOptions) -> int | None:
    """The year of the first line of a file that has to be read whole for it (a compressed one); None where
    the arrival tells the same."""
    if source.form not in (PLAIN, PACKED):
        return None
    packed = open_packed(source.path)
    if packed is None:
        return spans(source, options)[1]

    def lines() -> Iterator[bytes]:
        last = b""
        try:
            while piece := packed.read(1 << 16):
                for at in range(0, len(piece), 1024 if last or len(piece) == 1 << 16 else _SHORT):
                    begin = 0 if not at and not last else piece.find(b"\n", at) + 1
                    if begin or not last:
                        yield piece[begin : begin + 64]
                last = piece
        except BROKEN:
            pass
        yield last.rstrip(b"\n").rpartition(b"\n")[2]

    with packed:
        return first_year(lines(), source.arrival, options.timezone)
