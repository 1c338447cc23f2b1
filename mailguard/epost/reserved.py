"""Lines that `mailguard epost prepare` sets aside in a table, for rows that must not be appended.

Each is a comment of one fixed width, `'mailguard reserved for allow ....`, and is overwritten in place when
it is needed. Nobody but `prepare` writes them, so whoever finds one may use it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Bytes of a line with its end: the longest row (an IPv6 prefix with a FILETIME) and a comment behind it.
WIDTH = 72
BEGINS = b"'mailguard reserved for "
ALLOWED, REFUSED = b" for allow ", b" for reject "
_LINE = re.compile(rb"'mailguard reserved for (?:allow|reject) \.+\r?\n\Z")


def reserved(allowed: bool, end: bytes) -> bytes:
    """One such line, with its end."""
    head = b"'mailguard reserved" + (ALLOWED if allowed else REFUSED)
    return head + b"." * (WIDTH - len(head) - len(end)) + end


def is_reserved(line: bytes) -> bool:
    """Whether a whole line, with its end, is one of them."""
    return len(line) == WIDTH and _LINE.match(line) is not None


def prepared(data: bytes, end: bytes, at: int, allow: int, reject: int, at_reject: int) -> bytes:
    """The content of a table with so many lines more: those for white-list rows at one place, those for
    refusals at another not before it (offsets of line beginnings; the end of the file may lack its end)."""
    parts = [data[:at], data[at:at_reject], data[at_reject:]]
    if parts[1] and not parts[1].endswith(b"\n") and reject:
        parts[1] += end
    elif parts[0] and not parts[0].endswith(b"\n"):
        parts[0] += end
    return b"".join(
        [parts[0], reserved(True, end) * allow, parts[1], reserved(False, end) * reject, parts[2]]
    )


def compacted(data: bytes, gone: Sequence[tuple[int, int]]) -> bytes:
    """The content without these stretches (offset, length), which are whole lines."""
    kept = []
    at = 0
    for offset, length in sorted(gone):
        kept.append(data[at:offset])
        at = offset + length
    return b"".join([*kept, data[at:]])
