"""Reads who logs in out of an authentication dialogue, and nothing else of it.

Owns: what is taken out of an answer. Never: decodes, slices or keeps a byte of a password, a token or a
digest beyond the at most two that share a base64 group with what stands before them; those are dropped at
once.

Who said what is not asked here: an `Exchange` is handed the client's answers in their order. The server's
challenges can be worded by its administrator, so only the place of an answer tells what it is.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from collections.abc import Callable
from typing import Any

from .rules import decode

MOST_NAME = 512  # bytes of a user name that are decoded; longer ones are cut
_GROUP = 4  # characters that stand for three bytes
_DIGEST = 33  # a blank and 32 hexadecimal digits behind the name of a CRAM-MD5 answer
_MECHANISM = 32
_BLANKS = b" \t\r"
_LITERAL = re.compile(rb"\{([0-9]{1,9})\+?\}")
_SECRET_AT = {b"LOGIN": 1}  # the answer from which on nothing is looked at
#: Mechanisms by name. A client that leaves the mechanism away writes its name and password in that place.
_KNOWN = frozenset(
    b"ANONYMOUS CRAM-MD5 DIGEST-MD5 EXTERNAL GSS-SPNEGO GSSAPI KERBEROS_V4 LOGIN NTLM OAUTHBEARER OTP PLAIN "
    b"SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS SCRAM-SHA-512 SKEY XOAUTH2".split()
)
UNKNOWN = "unknown"

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
    if method not in _KNOWN:
        return Exchange(UNKNOWN if method else ""), start
    exchange = Exchange(decode(method))
    first, last = _word(data, stop, end)
    if first < last:
        exchange.take(data, first, end)
    return exchange, first


class Literal(Exchange):
    """A name that the client sends after its command, with a length: `LOGIN {5}`."""

    __slots__ = ("size",)

    def __init__(self, size: int):
        super().__init__("")
        self.size = size

    def take(self, data: Data, start: int, end: int) -> None:
        """The client's next line. A name with a line end in it is nobody's: it is told as far as that."""
        self.answers += 1
        if self.answers == 1:
            self.user = decode(bytes(data[start : min(end, start + self.size, start + MOST_NAME)]))
            if self.size > end - start:
                self.user += "\ufffd"


def words(data: Data, start: int, end: int) -> tuple[Exchange, int]:
    """Name and password as two words, each as it is, in quotes, or to come with a length."""
    while start < end and data[start] in _BLANKS:
        start += 1
    if start < end and data[start] == 34:
        return Exchange("", _quoted(data, start + 1, end)), start
    first, last = _word(data, start, end)
    last = min(last, first + MOST_NAME)
    size = _LITERAL.fullmatch(bytes(data[first:last]))
    if size is not None:
        return Literal(int(size[1])), start
    return Exchange("", decode(bytes(data[first:last])) if last > first else None), start


def _quoted(data: Data, start: int, end: int) -> str | None:
    """A name in quotes, `start` behind the first of them; None where they do not end."""
    name = bytearray()
    while start < end and len(name) < MOST_NAME:
        byte = data[start]
        if byte == 34:
            return decode(bytes(name))
        if byte == 92:
            start += 1
            if start >= end:
                return None
            byte = data[start]
        name.append(byte)
        start += 1
    return None


def digest(data: Data, start: int, end: int) -> tuple[Exchange, int]:
    """A name and, behind it, what is secret."""
    first, last = _word(data, start, end)
    name = bytes(data[first : min(last, first + MOST_NAME)])
    return Exchange("", decode(name) if name else None), last


def secret(data: Data, start: int, end: int) -> tuple[None, int]:
    """Nothing but a secret."""
    return None, start


#: The decoders that a definition can ask for.
DECODERS: dict[str, Callable[[Data, int, int], tuple[Exchange | None, int]]] = {
    "sasl": sasl,
    "words": words,
    "digest": digest,
    "secret": secret,
}


def _word(data: Data, start: int, end: int) -> tuple[int, int]:
    """Where the first word of `data[start:end]` begins and ends; behind it may stand a remark."""
    while start < end and data[start] in _BLANKS:
        start += 1
    stop = start
    while stop < end and data[stop] not in _BLANKS:
        stop += 1
    return start, stop


def _login(data: Data, start: int, end: int) -> bytes | None:
    """The whole answer is the name. `=` is an empty one.

    Some clients answer as for PLAIN or XOAUTH2: there the name ends before the first control character.
    """
    if end - start <= _GROUP:
        return _groups(data, start, end, end - start)
    found = b""
    for at in range(start, min(end, start + 2 * MOST_NAME), _GROUP):
        piece = _groups(data, at, end, _GROUP)
        if piece is None:
            return None
        found += piece
        if found[0] == 0:
            return _plain(data, start, end)
        name = _before(found, b"\0\x01")
        if name is not None:
            return name
    return found


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
            if first > 0 and second + 1 == _size(data, start, end):
                return None  # name, password and nothing: the first NUL was left away
            return found[first + 1 : second][:MOST_NAME]
    return None


def _cram(data: Data, start: int, end: int) -> bytes | None:
    """The name stands before a blank and the digest; an answer of another kind has no blank there."""
    size = _size(data, start, end) - _DIGEST
    if size < 0:
        return None
    found = _groups(data, start, end, (size + 3) // 3 * _GROUP)
    if found is None or found[size : size + 1] != b" " or b"\0" in found[:size]:
        return None
    return found[:size][:MOST_NAME]


def _bearer(data: Data, start: int, end: int) -> bytes | None:
    """`user=NAME` and a control character stand before the token."""
    found = b""
    for at in range(start, min(end, start + 2 * MOST_NAME), _GROUP):
        piece = _groups(data, at, end, _GROUP)
        if piece is None:
            return None
        found += piece
        if not found.startswith(b"user="[: len(found)]):
            return None
        name = _before(found, b"\x01 ")
        if name is not None:
            return name[5:] if found[len(name)] == 1 else None
    return None


def _before(text: bytes, ends: bytes) -> bytes | None:
    """What stands before the first of these characters; None where there is none."""
    places = [place for place in (text.find(one) for one in (ends[:1], ends[1:])) if place >= 0]
    return text[: min(places)] if places else None


def _size(data: Data, start: int, end: int) -> int:
    """How many bytes a base64 text stands for."""
    while end > start and data[end - 1] == 61:
        end -= 1
    return (end - start) * 3 // _GROUP


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
