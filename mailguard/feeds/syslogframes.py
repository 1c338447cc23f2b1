"""The bytes of one TCP connection as syslog messages (RFC 6587).

Two framings are in use, and the first message tells which one a sender speaks: an octet count (`83 <34>...`),
or lines that end with LF. Whatever pieces the bytes come in, the messages are the same.

Limits: a message keeps its first 8 KiB; the rest is read over and counted. So a connection never holds more
than one such message. An octet count above 1 MiB, or text where a count must stand, breaks the connection:
behind it nobody knows where a message begins.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailguard.feeds.lines import LIMIT

MOST_COUNT = 1 << 20  # largest octet count that is believed
_COUNT = re.compile(rb"[1-9]\d{0,6} ")
_COUNT_BEGUN = re.compile(rb"(?:[1-9]\d{0,6} ?)?")
_UNKNOWN, _COUNTED, _LINES = 0, 1, 2
_LF = b"\n"


class Frame(NamedTuple):
    """One message. `cut`: it was longer than the limit, or the connection ended inside it."""

    data: bytes
    cut: bool = False


_PACKED = re.compile(rb"\n(?=<\d{1,3}>)")
MOST_PACKED = 64  # messages of one datagram


def packed(data: bytes) -> tuple[list[bytes], int]:
    """The messages of one datagram, and how many of them are certain. RFC 5426 wants one, and some senders
    pack several: each behind its octet count, which is certain when the counts fit; or behind line ends.
    There all but the first may be text that a client got into the first."""
    if b"1" <= data[:1] <= b"9":
        found: list[bytes] = []
        at = 0
        while (count := _COUNT.match(data, at)) is not None and len(found) < MOST_PACKED:
            at = count.end() + int(count.group())
            found.append(data[count.end() : at])
        if found and at == len(data) and all(one[:1] == b"<" for one in found):
            return found, len(found)
    if b"\n<" not in data:
        return [data], 1
    return _PACKED.split(data, MOST_PACKED - 1), 1


class Frames:
    """The messages of one connection. `broken` says why nothing more can be read from it; "" while it can."""

    __slots__ = ("_dropped", "_framing", "_held", "_left", "broken", "dropped")

    def __init__(self) -> None:
        self.broken = ""
        self.dropped = 0  # bytes beyond the limit, left out
        self._framing = _UNKNOWN
        self._held = bytearray()  # the message so far, or the head of what is not understood yet
        self._left = 0  # counted: bytes of the message still to come; 0: a count comes next
        self._dropped = 0  # of this message

    @property
    def pending(self) -> bool:
        """True inside a message."""
        return bool(self._held or self._left)

    def feed(self, data: bytes) -> list[Frame]:
        """The messages that are whole now."""
        found: list[Frame] = []
        if self._framing == _UNKNOWN and not self.broken:
            data = self._decide(data)
        if self._framing == _COUNTED:
            self._counted(data, found)
        elif self._framing == _LINES:
            self._lines(data, found)
        return found

    def end(self) -> list[Frame]:
        """The connection ended: what it left unfinished, as a cut message."""
        if self._framing == _COUNTED and not self._left:
            self._held.clear()  # the head of a count, no message
        found: list[Frame] = []
        if self._held:
            self._whole(found, cut=True)
        self._left = 0
        return found

    def _decide(self, data: bytes) -> bytes:
        """Learn the framing from the first bytes; they come back when it is known, else they are held."""
        head = bytes(self._held) + data
        count = _COUNT.match(head)
        if count is not None and len(head) > count.end():
            self._framing = _COUNTED if head[count.end()] == 60 else _LINES  # a message begins with <
        elif _COUNT_BEGUN.fullmatch(head) is None:
            self._framing = _LINES
        else:
            self._held[:] = head
            return b""
        self._held.clear()
        return head

    def _counted(self, data: bytes, found: list[Frame]) -> None:
        at = 0
        while at < len(data) and not self.broken:
            if not self._left:
                # Eight bytes hold every count that is believed, and the blank behind it.
                before = len(self._held)
                head = bytes(self._held) + data[at : at + 8 - before]
                count = _COUNT.match(head)
                if count is None:
                    if _COUNT_BEGUN.fullmatch(head) is None or len(head) >= 8:
                        self.broken = "no octet count stands where one must"
                        self._held.clear()
                    else:
                        self._held[:] = head
                    at += len(head) - before
                    continue
                at += count.end() - before
                self._held.clear()
                self._left = int(count.group())
                if self._left > MOST_COUNT:
                    self.broken, self._left = f"an octet count of {self._left}", 0
                    continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            self._keep(piece)
            if not self._left:
                self._whole(found)

    def _lines(self, data: bytes, found: list[Frame]) -> None:
        at = 0
        while at < len(data):
            stop = data.find(_LF, at)
            self._keep(data[at:] if stop < 0 else data[at:stop])
            if stop < 0:
                return
            self._whole(found)
            at = stop + 1

    def _keep(self, piece: bytes) -> None:
        room = LIMIT - len(self._held)
        self._held += piece[:room]
        self._dropped += max(0, len(piece) - room)

    def _whole(self, found: list[Frame], cut: bool = False) -> None:
        """The held message is done; an empty one is none."""
        if self._held:
            found.append(Frame(bytes(self._held), cut or self._dropped > 0))
        self.dropped += self._dropped
        self._dropped = 0
        self._held.clear()
