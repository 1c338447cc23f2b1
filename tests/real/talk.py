"""Clients that say exactly what a test wants, byte for byte: SMTP, IMAP, POP3 and ManageSieve."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import socket
import struct
from typing import Self

from mailhost import Mailhost, client_tls

_LAST_SMTP = re.compile(rb"(?:^|\n)\d{3} [^\n]*\n\Z")


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


class Talk:
    """One connection. `say` sends a line, `hear` reads until the peer has finished an answer or left."""

    def __init__(self, host: Mailhost, port: str | int, source: str, tls: bool = False) -> None:
        self.sock: socket.socket = host.connect(port, source)
        if tls:
            self.wrap()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wrap(self) -> None:
        self.sock = client_tls().wrap_socket(self.sock)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def say(self, line: bytes) -> bytes:
        """Send a line and return the answer; an empty answer means that the peer has left."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send(line + b"\r\n")
        return self.hear()

    def hear(self) -> bytes:
        """The next complete answer."""
        data = b""
        while not self.complete(data):
            try:
                piece = self.sock.recv(65536)
            except ConnectionResetError:
                return data
            if not piece:
                return data
            data += piece
        return data

    def complete(self, data: bytes) -> bool:
        return data.endswith(b"\n")

    def until_end(self) -> bytes:
        """Everything until the peer closes."""
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := self.sock.recv(65536):
                data += piece
        return data

    def close(self) -> None:
        self.sock.close()

    def leave(self) -> None:
        """End our side and wait for the peer to end its own, so that what it logs is logged."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def reset(self) -> None:
        """Drop the connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Smtp(Talk):
    """An SMTP client after its EHLO (`helo` None: it has said nothing yet)."""

    def __init__(
        self,
        host: Mailhost,
        port: str | int,
        source: str,
        *,
        tls: str = "",
        helo: bytes | None = b"client.example.org",
    ) -> None:
        super().__init__(host, port, source, tls == "wrap")
        self.hear()
        self.helo = helo
        if helo is not None:
            self.say(b"EHLO " + helo)
        if tls == "starttls":
            self.say(b"STARTTLS")
            self.wrap()
            self.say(b"EHLO " + (helo or b"x"))

    def complete(self, data: bytes) -> bool:
        return _LAST_SMTP.search(data) is not None

    def quit(self) -> None:
        self.say(b"QUIT")
        self.close()

    def plain(self, user: bytes, password: bytes = b"wrong") -> bytes:
        return self.say(b"AUTH PLAIN " + b64(b"\0" + user + b"\0" + password))

    def login(self, user: bytes, password: bytes = b"wrong") -> bytes:
        self.say(b"AUTH LOGIN")
        self.say(b64(user))
        return self.say(b64(password))

    def cram(self, user: bytes, password: bytes = b"wrong") -> bytes:
        challenge = base64.b64decode(self.say(b"AUTH CRAM-MD5").split()[1])
        return self.say(b64(user + b" " + hmac.new(password, challenge, hashlib.md5).hexdigest().encode()))

    def mail(self, sender: bytes, *recipients: bytes, body: bytes | None = None) -> bytes:
        """A whole message; stops at DATA when that is refused. Returns the last answer."""
        self.say(b"MAIL FROM:<" + sender + b">")
        for recipient in recipients:
            self.say(b"RCPT TO:<" + recipient + b">")
        said = self.say(b"DATA")
        if not said.startswith(b"354"):
            return said
        text = body if body is not None else b"Subject: hello\r\n\r\nGood day.\r\n"
        self.send(text + b".\r\n")
        return self.hear()


class Imap(Talk):
    """An IMAP client; `tls` is "", "starttls" or "wrap"."""

    def __init__(self, host: Mailhost, port: str | int, source: str, *, tls: str = "wrap") -> None:
        super().__init__(host, port, source, tls == "wrap")
        self.hear()
        if tls == "starttls":
            self.say(b"s STARTTLS")
            self.wrap()

    def literal(self, *words: bytes) -> bytes:
        """LOGIN with literals, so that a name may hold any byte but NUL."""
        user, password = words
        self.say(b"a LOGIN {%d}" % len(user))
        self.say(user + b" {%d}" % len(password))
        return self.say(password)

    def plain(self, user: bytes, password: bytes = b"wrong") -> bytes:
        return self.say(b"a AUTHENTICATE PLAIN " + b64(b"\0" + user + b"\0" + password))

    def logout(self) -> None:
        self.say(b"z LOGOUT")
        self.close()
