"""What `journalctl -o export` printed: fields of an entry line by line, an empty line behind each entry.

A field is `NAME=value`; where the value is no plain text (a line feed or a control character in it, which an
attacker may have put there), `NAME`, its length in eight bytes, its bytes, and a line feed. Source: systemd's
"Journal Export Formats".

Never: looks for the next entry behind a place that makes no sense, for what stands there may be the text of a
message, in which anybody can write what looks like an entry.
Limits: of a value of more than 4 MiB nothing is kept; a line of more than that is no field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from mailguard.feeds.entries import FIELDS

_LONGEST = 4 << 20
_PIECE = 1 << 18
_BEGINS = (b"__CURSOR=", b"__REALTIME_TIMESTAMP=")
_NAME = re.compile(rb"[A-Z_][A-Z0-9_]{0,63}\Z")
_STAMP, _SENT = "__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP"
_KEPT = {name.encode(): name for name in (*FIELDS, _STAMP)}

Entry = tuple[dict[str, bytes], int]


class DamagedError(ValueError):
    """The text is not what journalctl writes; what came before it counts."""


def is_text(head: bytes) -> bool:
    """Whether a log that begins so is one."""
    return head.startswith(_BEGINS)


def text_entries(
    read: Callable[[int], bytes], start: int, arrival: float
) -> Iterator[tuple[int, Entry | None]]:
    """Each entry (fields, microseconds) with the offset of its first byte; None for one without a message.
    Without a stamp it counts as arrived. Raises DamagedError.
    """
    stream = _Stream(read, start)
    fields: dict[str, bytes] = {}
    begin, some = start, False
    while (line := stream.line()) is not None:
        if line:
            some = True
            name, value = _field(line, stream)
            if value is not None and (known := _KEPT.get(name)) is not None:
                fields.setdefault(known, value)
            continue
        if some:
            yield begin, _entry(fields, arrival)
        fields, begin, some = {}, stream.offset, False
    if some:
        yield begin, _entry(fields, arrival)


def _field(line: bytes, stream: _Stream) -> tuple[bytes, bytes | None]:
    """Name and value of the field that begins with this line; None: the value is too long to be kept."""
    name, equals, value = line.partition(b"=")
    if not _NAME.match(name):
        raise DamagedError(f"no journal entry at byte {stream.offset - len(line) - 1}")
    if equals:
        return name, value
    size = int.from_bytes(stream.take(8), "little")
    if size >= 1 << 40:
        raise DamagedError(f"no length of a field at byte {stream.offset - 8}")
    if size <= _LONGEST:
        told: bytes | None = stream.take(size)
    else:
        told = None
        for at in range(0, size, _PIECE):
            stream.take(min(_PIECE, size - at))
    if stream.take(1) != b"\n":
        raise DamagedError(f"a field does not end at byte {stream.offset - 1}")
    return name, told


def _entry(fields: dict[str, bytes], arrival: float) -> Entry | None:
    if "MESSAGE" not in fields:
        return None
    stamp = fields.pop(_STAMP, None) or fields.get(_SENT, b"")
    known = stamp.isdigit() and len(stamp) <= 17
    return fields, int(stamp) if known else max(0, int(arrival * 1e6))


class _Stream:
    """Lines and counted bytes of what `read` gives."""

    def __init__(self, read: Callable[[int], bytes], start: int):
        self.offset = start  # of the next byte
        self._read = read
        self._data = b""
        self._at = 0

    def _more(self) -> bool:
        fresh = self._read(_PIECE)
        self._data = self._data[self._at :] + fresh
        self._at = 0
        return bool(fresh)

    def line(self) -> bytes | None:
        """The next line without its LF; None at the end."""
        looked = self._at
        while (stop := self._data.find(b"\n", looked)) < 0:
            left = len(self._data) - self._at
            if left > _LONGEST:
                raise DamagedError(f"no journal entry at byte {self.offset}")
            if not self._more():
                if left:
                    raise DamagedError(f"it ends inside an entry, at byte {self.offset + left}")
                return None
            looked = left
        line = self._data[self._at : stop]
        self._at = stop + 1
        self.offset += len(line) + 1
        return line

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self._data) - self._at < count:
            if not self._more():
                raise DamagedError(f"it ends inside an entry, at byte {self.offset + len(self._data)}")
        taken = self._data[self._at : self._at + count]
        self._at += count
        self.offset += count
        return taken
