"""Reads who logs in out of an authentication dialogue, and nothing else of it.

Owns: what is taken out of an answer. Never: decodes, slices or keeps a byte of a password, a token or a
digest beyond the at most two that share a base64 group with what stands before them; those are dropped at
once.

Who said what is not asked here: an `Exchange` is handed the client's answers in their order. The server's
challenges can be worded by its administrator, so only the place of an answer tells what it is.
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Callable
from typing import Any

from .rules import decode

MOST_NAME = 512  # bytes of a user name that are decoded; longer ones are cut
_GROUP = 4  # characters that stand for three bytes
_DIGEST = 33  # a blank and 32 hexadecimal digits behind the name of a CRAM-MD5 answer
_MECHANISM = 32
_BLANKS = b" \t\r"
_SECRET_AT = {b"LOGIN": 1}  # the answer from which on nothing is looked at

Data = Any  # bytes or bytearray


class Exchange:
    """One authentication dialogue. `method` is the mechanism as the client wrote it, in capitals, `user` the
    name, None until it was said or where it cannot be read."""

    __slots__ = ("answers", "method", "user")

    def __init__(self, method: str, user: str | None = None, answers: int = 0):
        self.method = method
        self.user = user
        self.answers = answers

    def take(self, data: Data, start: int, end: int) -> None:
        """The client's next answer, `data[start:end]`."""
        method, number = self.method.encode(), self.answers
        self.answers += 1
        if number >= _SECRET_AT.get(method, 1):
            return
        start, end = _word(data, start, end)
        reader = _READERS.get(method)
        if reader is None:
            return
        name = reader(data, start, end)
        if name is not None:
            self.user = decode(name)


def sasl(data: Data, start: int, end: int) -> tuple[Exchange, int]:
    """The exchange that a command begins whose argument is `data[start:end]`: the mechanism and perhaps the
    first answer; and where what may be secret begins in it."""
    start, stop = _word(data, start, end)
    method = bytes(data[start : min(stop, start + _MECHANISM)]).upper()
    exchange = Exchange(decode(method))
    first, last = _word(data, stop, end)
    if first < last:
        exchange.take(data, first, end)
    return exchange, first


#: The decoders that a definition can ask for.
DECODERS: dict[str, Callable[[Data, int, int], tuple[Exchange, int]]] = {"sasl": sasl}


def _word(data: Data, start: int, end: int) -> tuple[int, int]:
    """Where the first word of `data[start:end]` begins and ends; behind it may stand a remark."""
    while start < end and data[start] in _BLANKS:
        start += 1
    stop = start
    while stop < end and data[stop] not in _BLANKS:
        stop += 1
    return start, stop


def _login(data: Data, start: int, end: int) -> bytes | None:
    """The whole answer is the name. `=` is an empty one."""
    return _groups(data, start, end, end - start)


def _plain(data: Data, start: int, end: int) -> bytes | None:
    """The name is between the first and the second NUL."""
    found = b""
    for at in range(start, min(end, start + 4 * MOST_NAME), _GROUP):
        piece = _groups(data, at, end, _GROUP)
        if piece is None:
            return None
        found += piece
        first = found.find(b"\0")
        second = found.find(b"\0", first + 1) if first >= 0 else -1
        if second >= 0:
            return found[first + 1 : second][:MOST_NAME]
    return None


def _cram(data: Data, start: int, end: int) -> bytes | None:
    """The name stands before a blank and the digest."""
    padding = sum(data[at] == 61 for at in range(max(start, end - 2), end))
    size = (end - start) // _GROUP * 3 - padding - _DIGEST
    if size < 0:
        return None
    found = _groups(data, start, end, (size + 2) // 3 * _GROUP)
    return None if found is None else found[:size][:MOST_NAME]


def _bearer(data: Data, start: int, end: int) -> bytes | None:
    """`user=NAME` and a control character stand before the token."""
    found = b""
    for at in range(start, min(end, start + 2 * MOST_NAME), _GROUP):
        piece = _groups(data, at, end, _GROUP)
        if piece is None:
            return None
        found += piece
        stop = found.find(b"\x01")
        if stop >= 0:
            return found[5:stop] if found.startswith(b"user=") else None
    return None


def _groups(data: Data, start: int, end: int, size: int) -> bytes | None:
    """The first `size` characters of a base64 text, decoded; None where they are none. Padding may be left
    away."""
    text = bytes(data[start : min(end, start + min(size, 2 * MOST_NAME))])
    if text == b"=":
        return b""
    try:
        return a2b_base64(text + b"=" * (-len(text) % _GROUP), strict_mode=True)
    except (Error, ValueError):
        return None


_READERS: dict[bytes, Callable[[Data, int, int], bytes | None]] = {
    b"LOGIN": _login,
    b"PLAIN": _plain,
    b"CRAM-MD5": _cram,
    b"XOAUTH2": _bearer,
}
