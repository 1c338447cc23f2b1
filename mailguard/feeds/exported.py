"""What `journalctl -o json` printed, kept in a file: one entry a line.

Every line gives one record, so that the number of a record is the number of its line; what is no entry gives
an empty one. The position of a record is the byte offset of its line.

Limits: a line longer than 4 MiB counts as no entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice

from mailguard.feeds.entries import FIELDS, Reader
from mailguard.feeds.journalctl import value
from mailguard.model import Record, Records

_BATCH = 1024
_LONGEST = 4 << 20
_PIECE = 1 << 18
_TELLING = (b'"MESSAGE"', b'"__REALTIME_TIMESTAMP"')


def is_export(head: bytes) -> bool:
    """Whether a log that begins so is one: an object of JSON with the fields of an entry."""
    return head.lstrip(b" \t\r\n").startswith(b"{") and any(name in head for name in _TELLING)


def entry(line: bytes, arrival: float) -> tuple[dict[str, bytes], int] | None:
    """Fields and microseconds of a line; None for what is no entry. Without a stamp it counts as arrived."""
    try:
        parsed = json.loads(line)
        stamp = value(parsed.get("__REALTIME_TIMESTAMP")) or value(parsed.get("_SOURCE_REALTIME_TIMESTAMP"))
        realtime = int(stamp) if stamp and len(stamp) <= 17 else int(arrival * 1e6)
    except (ValueError, AttributeError, RecursionError):
        return None
    fields = {name: found for name in FIELDS if (found := value(parsed.get(name))) is not None}
    return fields, max(realtime, 0)


def exported_records(
    read: Callable[[int], bytes], start: int, reader: Reader, arrival: float
) -> Iterator[Records]:
    """The records of a log from the offset `start` on. `read` gives the next bytes, at most so many."""
    lines = _lines(read, start)
    last = arrival
    while batch := list(islice(lines, _BATCH)):
        for offset, line in batch:
            parsed = entry(line, arrival)
            found = [] if parsed is None else reader.records([parsed], arrival, False)
            if found:
                last = found[0].records[0].time
                records = found[0]._replace(records=[found[0].records[0]._replace(position=offset)])
            else:
                records = reader.none(Record(last, b"", b"", 0, b"", offset), arrival)
            yield records


def _lines(read: Callable[[int], bytes], start: int) -> Iterator[tuple[int, bytes]]:
    """Lines with the offsets of their first bytes; of one that is too long nothing but the offset."""
    offset, rest, long = start, b"", False
    while data := read(_PIECE):
        *lines, tail = data.split(b"\n")
        for line in lines:
            whole = b"" if long else rest + line
            yield offset, whole
            offset += len(rest) + len(line) + 1
            rest, long = b"", False
        rest += tail
        if len(rest) > _LONGEST:
            pass
    if rest:
        yield offset, rest
