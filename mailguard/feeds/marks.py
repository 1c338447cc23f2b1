"""Where reading stands in a file, in a form that finds the file again after it was renamed, copied or
compressed.

A mark is device, inode, the hash of the file's first bytes (up to 256, with how many), the offset of the
first byte not handed out, and whether that lies inside a line whose beginning was handed out as cut. The
inode finds a renamed file; the head finds a copy, a compressed one, and a file whose device number changed
with a reboot; together they tell a truncated or re-used inode from the file that was read.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from typing import Any, NamedTuple

HEAD = 256
CURRENT, RETIRED, DONE = "c", "r", "d"


def digest(head: bytes | memoryview) -> str:
    """Short hash of a file's first bytes. Personal data in them does not reach the checkpoint."""
    return hashlib.blake2b(head, digest_size=12).hexdigest()


class Imprint(NamedTuple):
    """What is remembered of some bytes in place of them: a log may hold passwords, and none is kept."""

    size: int = 0
    sums: int = 0  # CRC-32 and Adler-32; `near` makes the same

    def __bool__(self) -> bool:
        return self.size > 0


def imprint(data: bytes | memoryview) -> Imprint:
    """Of up to 256 bytes."""
    return Imprint(len(data), zlib.crc32(data) << 32 | zlib.adler32(data)) if data else Imprint()


def imprint_of(fd: int, size: int, offset: int) -> Imprint:
    """Of up to `size` bytes of a file. Raises OSError."""
    data = bytearray(size)
    with memoryview(data) as view:
        count = os.preadv(fd, [view], offset)
        found = imprint(view[:count])
        view[:] = bytes(size)
    return found


def beginning(fd: int) -> tuple[Imprint, str]:
    """Of a file's first bytes, and their digest. Raises OSError."""
    data = bytearray(HEAD)
    with memoryview(data) as view:
        count = os.preadv(fd, [view], 0)
        found = imprint(view[:count]), digest(view[:count])
        view[:] = bytes(HEAD)
    return found


class Mark(NamedTuple):
    """One file's position. `state`: current, retired (rotated, late lines may come), done (fully read)."""

    device: int
    inode: int
    head: int  # how many bytes `hash` covers
    hash: str
    offset: int
    skipping: bool = False
    state: str = CURRENT
    modified: int = 0  # the file's modification time in ns when it was last looked at
    size: int = 0  # its size then: what is known to have been there

    def fits(self, head: bytes) -> bool:
        """Could a file that begins with `head` (its first 256 bytes) be the one that was read?"""
        return len(head) >= self.head and digest(head[: self.head]) == self.hash


def encode(marks: list[Mark]) -> bytes:
    """Marks of one log, oldest file first, as an opaque row."""
    return json.dumps({"v": 1, "files": [list(mark) for mark in marks]}, separators=(",", ":")).encode()


def decode(row: bytes) -> list[Mark]:
    """The marks in a row; an unreadable row yields none (the caller says that positions are unknown)."""
    try:
        value: Any = json.loads(row)
        if value["v"] != 1:
            return []
        marks = [Mark(*item) for item in value["files"]]
    except (ValueError, KeyError, TypeError):
        return []
    sane = [
        isinstance(mark.offset, int) and isinstance(mark.hash, str) and mark.offset >= 0 for mark in marks
    ]
    return marks if all(sane) else []
