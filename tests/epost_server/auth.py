"""AUTH dialogues, server side: what is asked, whose name came, and whether the answer proves the password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac


class Exchange:
    """One AUTH command until its result. `user` is what the client sent, up to the first NUL."""

    mechanism = ""

    def __init__(self, challenges: tuple[str, str], now: float):
        self.user = b""
        self.challenges = challenges
        self.now = now

    def challenge(self) -> str:
        """What stands behind `334 `."""
        return ""

    def take(self, line: bytes) -> bool:
        """The client's next line; True when there is nothing more to ask."""
        raise NotImplementedError

    def proves(self, password: bytes) -> bool:
        """Is it this password?"""
        raise NotImplementedError


class Login(Exchange):
    mechanism = "LOGIN"
    named = False
    password = b""

    def challenge(self) -> str:
        return _encoded(self.challenges[1 if self.named else 0].encode())

    def take(self, line: bytes) -> bool:
        if not self.named:
            self.user, self.named = _decoded(line).partition(b"\0")[0], True
            return False
        self.password = _decoded(line)
        return True

    def proves(self, password: bytes) -> bool:
        return self.password == password


class Plain(Exchange):
    mechanism = "PLAIN"
    password = b""

    def take(self, line: bytes) -> bool:
        parts = _decoded(line).split(b"\0")
        self.user, self.password = (parts[1], parts[2]) if len(parts) > 2 else (b"", b"")
        return True

    def proves(self, password: bytes) -> bool:
        return bool(self.password) and self.password == password


class CramMd5(Exchange):
    mechanism = "CRAM-MD5"
    digest = b""

    def _text(self) -> bytes:
        return f"<{int(self.now)}.1@epost>".encode()

    def challenge(self) -> str:
        return _encoded(self._text())

    def take(self, line: bytes) -> bool:
        self.user, _, self.digest = _decoded(line).rpartition(b" ")
        return True

    def proves(self, password: bytes) -> bool:
        return hmac.new(password, self._text(), hashlib.md5).hexdigest().encode() == self.digest


class XOAuth2(Exchange):
    """A token instead of a password; the simulator takes the password as the token."""

    mechanism = "XOAUTH2"
    token = b""

    def take(self, line: bytes) -> bool:
        fields = dict(part.split(b"=", 1) for part in _decoded(line).split(b"\1") if b"=" in part)
        self.user = fields.get(b"user", b"")
        self.token = fields.get(b"auth", b"").removeprefix(b"Bearer ")
        return True

    def proves(self, password: bytes) -> bool:
        return self.token == password


_ALL: tuple[type[Exchange], ...] = (Login, Plain, CramMd5, XOAuth2)


def begin(mechanism: str, challenges: tuple[str, str], now: float) -> Exchange | None:
    """A dialogue of this mechanism; None where there is no such."""
    return next((one(challenges, now) for one in _ALL if one.mechanism == mechanism), None)


def _decoded(line: bytes) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()
