"""What `journalctl -o json` or `-o export` printed, kept in a file.

Of JSON every line gives one record, so that the number of a record is the number of its line; what is no
entry gives an empty one. Of the other form (see `exporttext`) every entry gives one. The position of a record
is the byte offset of its line, or of its entry's first one.

Limits: a line longer than 4 MiB counts as no entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from mailguard.feeds.entries import FIELDS, Reader, value
from mailguard.feeds.exporttext import DamagedError, is_text, text_entries
from mailguard.model import Record, Records

_BATCH = 1024
_LONGEST = 4 << 20
_PIECE = 1 << 18
_TELLING = (b'"MESSAGE"', b'"__REALTIME_TIMESTAMP"')


def is_export(head: bytes) -> bool:
    """Whether a log that begins so is one: an object of JSON with the fields of an entry, or such a field."""
    if is_text(head):
        return True
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
    read: Callable[[int], bytes], start: int, reader: Reader, log: str, arrival: float, text: bool = False
) -> Iterator[Records]:
    """The records of `log` from the offset `start` on, divided where belief changes. `read` gives the next
    bytes, at most so many, and none at the end; `text`: it is not JSON. Raises DamagedError, after all that
    comes before the damage.
    """
    group = Records(log, [], arrival, False)
    last = arrival
    damaged: list[DamagedError] = []
    for offset, parsed in _entries(read, start, arrival, text, damaged):
        found = [] if parsed is None else reader.records([parsed], arrival, False)
        if found:
            record = found[0].records[0]._replace(position=offset)
            last = record.time
        else:
            record = Record(last, b"", b"", 0, b"", offset)
        if group.records and (len(group.records) >= _BATCH or (found and found[0].may_ban != group.may_ban)):
            yield group
            group = group._replace(records=[])
        if found:
            group = found[0]._replace(records=group.records)
        group.records.append(record)
    if group.records:
        yield group
    for error in damaged:
        raise error


def _entries(
    read: Callable[[int], bytes], start: int, arrival: float, text: bool, damaged: list[DamagedError]
) -> Iterator[tuple[int, tuple[dict[str, bytes], int] | None]]:
    """Each entry with its offset; where the text ends in nonsense, why, in `damaged`."""
    if not text:
        for offset, line in _lines(read, start):
            yield offset, entry(line, arrival)
        return
    try:
        yield from text_entries(read, start, arrival)
    except DamagedError as error:
        damaged.append(error)


def _lines(read: Callable[[int], bytes], start: int) -> Iterator[tuple[int, bytes]]:
    """Each line with the offset of its first byte; of one that is too long only its beginning."""
    begin, length, kept = start, 0, b""
    while data := read(_PIECE):
        *lines, tail = data.split(b"\n")
        for line in lines:
            yield begin, kept + line
            begin += length + len(line) + 1
            length, kept = 0, b""
        length += len(tail)
        if len(kept) <= _LONGEST:
            kept += tail
    if length:
        yield begin, kept
