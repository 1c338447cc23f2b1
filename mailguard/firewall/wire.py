"""What judge and enforcer say to each other: typed binary frames over a Unix stream socket.

A frame is a header (magic, version, type, length of the body, sequence number) and a body of fixed-size
rows. Rows carry scope numbers, addresses, prefix lengths and durations, nothing else; the only text is what
the enforcer answers (a reason, a notice). Both sides check every field of what they read; what does not fit
raises `WireError`, and the reader closes the connection.

All numbers are little-endian. A duration is in seconds, counted from when the enforcer reads it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mailguard.firewall.desired import FOREVER, Key
from mailguard.firewall.interface import SCOPES, FirewallError, Standing
from mailguard.model import Network, Notice
from mailguard.notation import V6

MAGIC, VERSION = b"mg", 1
HEADER = struct.Struct("<2sBBIQ")
LARGEST = 1 << 20  # bytes in a body
MOST_BANS = 1_000_000  # bans in one `open`

# Judge to enforcer.
SETUP, OPEN, IMPOSE, LIFT, ALLOW, BANNED, PAUSE, PANIC, CLOSE = range(1, 10)
# Enforcer to judge.
ACK, ERROR, STANDING, NOTICE = range(128, 132)
ASKED = frozenset(range(SETUP, CLOSE + 1))
ANSWERED = frozenset(range(ACK, NOTICE + 1))

# Each begins with scope, family (4 or 6), prefix length; an address is its high and its low half.
_BAN = struct.Struct("<BBBBdQQ")  # permanent (0 or 1), seconds, address
_PLACE = struct.Struct("<BBBBQQ")  # 0, address
_STANDING = struct.Struct("<BBBBdQQQQ")  # permanent, ends at, address, packets, bytes
_ONE = struct.Struct("<2sBBIQBBBBdQQ")  # a whole `IMPOSE` of one ban
ROWS = 16_384  # rows in one frame
LONGEST = 10 * 366 * 86400.0  # seconds a ban may last that is not permanent
_HALF = (1 << 64) - 1
_MAPPED = 0xFFFF


class WireError(Exception):
    """What came is no frame of ours, or says what may not be said."""


def frame(kind: int, sequence: int, body: bytes = b"") -> bytes:
    return HEADER.pack(MAGIC, VERSION, kind, len(body), sequence) + body


class Frames:
    """Bytes in, frames out. Holds at most one frame beyond what was fed."""

    def __init__(self, kinds: frozenset[int]):
        self._kinds = kinds
        self._buffer = bytearray()

    @property
    def idle(self) -> bool:
        """Nothing of a frame waits for its rest."""
        return not self._buffer

    def feed(self, data: bytes | memoryview) -> Iterator[tuple[int, int, bytes]]:
        """(type, sequence, body) of each frame that is complete now. Raises WireError."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= HEADER.size:
                magic, version, kind, length, sequence = HEADER.unpack_from(buffer, start)
                if magic != MAGIC or version != VERSION or kind not in self._kinds or length > LARGEST:
                    raise WireError(f"no frame: {bytes(buffer[start : start + HEADER.size]).hex()}")
                end = start + HEADER.size + length
                if len(buffer) < end:
                    break
                body = bytes(buffer[start + HEADER.size : end])
                start = end
                yield kind, sequence, body
        finally:
            del buffer[:start]


# ---------------------------------------------------------------- rows


def _halves(address: int) -> tuple[int, int, int]:
    """Family, high and low half of a packed address."""
    if address >= V6:
        return 6, address >> 64 & _HALF, address & _HALF
    return 4, 0, address


def _address(scope: int, family: int, prefix: int, high: int, low: int) -> int:
    """The packed address of a row; WireError when the row is no network of ours."""
    if family == 4:
        bits, address = 32, low
        wrong = high or low >> 32
    else:
        bits, address = 128, V6 + (high << 64 | low)
        wrong = family != 6 or (not high and low >> 32 == _MAPPED)
    if wrong or scope >= len(SCOPES) or prefix > bits or address & ((1 << (bits - prefix)) - 1):
        raise WireError("a row is no network")
    return address


def _rows(layout: struct.Struct, body: bytes) -> Iterator[tuple[Any, ...]]:
    if len(body) % layout.size:
        raise WireError("a body is no whole number of rows")
    return layout.iter_unpack(body)


def pack_bans(bans: Iterable[tuple[Key, float]], now: float) -> Iterator[bytes]:
    """Bodies with the bans that are not over, `ROWS` in each; at least one body."""
    pack = _BAN.pack
    rows: list[bytes] = []
    for (scope, address, prefix), until in bans:
        if address < V6:
            family, high, low = 4, 0, address
        else:
            family, high, low = 6, address >> 64 & _HALF, address & _HALF
        if until == FOREVER:
            rows.append(pack(scope, family, prefix, 1, 0.0, high, low))
        elif until > now:
            rows.append(pack(scope, family, prefix, 0, min(until - now, LONGEST), high, low))
        if len(rows) == ROWS:
            yield b"".join(rows)
            rows = []
    yield b"".join(rows)


def one_ban(sequence: int, key: Key, until: float, now: float) -> bytes:
    """The whole frame that imposes one ban with an end, as `frame` and `pack_bans` make it."""
    scope, address, prefix = key
    family, high, low = _halves(address)
    seconds = min(until - now, LONGEST)
    return _ONE.pack(
        MAGIC, VERSION, IMPOSE, _BAN.size, sequence, scope, family, prefix, 0, seconds, high, low
    )


def read_one(data: memoryview, now: float) -> tuple[int, Key, float] | None:
    """(sequence, key, end) where `data` is exactly one frame that imposes one ban with an end; None: look at
    it as at any other data. Raises WireError where the ban is none."""
    if len(data) != _ONE.size:
        return None
    magic, version, kind, length, sequence, scope, family, prefix, permanent, seconds, high, low = (
        _ONE.unpack(data)
    )
    if kind != IMPOSE or magic != MAGIC or version != VERSION or length != _BAN.size or permanent:
        return None
    if not 0.0 < seconds <= LONGEST:
        raise WireError("a row's duration is none")
    return sequence, (scope, _address(scope, family, prefix, high, low), prefix), now + seconds


def unpack_bans(body: bytes, now: float) -> dict[Key, float]:
    """Ends by key. Raises WireError."""
    bans: dict[Key, float] = {}
    scopes = len(SCOPES)
    for scope, family, prefix, permanent, seconds, high, low in _rows(_BAN, body):
        if family == 4 and prefix == 32 and not high and not low >> 32 and scope < scopes:
            address = low  # the usual row, checked in one line: a restore has a hundred thousand
        else:
            address = _address(scope, family, prefix, high, low)
        if permanent == 0 and 0.0 < seconds <= LONGEST:
            bans[scope, address, prefix] = now + seconds
        elif permanent == 1 and seconds == 0.0:
            bans[scope, address, prefix] = FOREVER
        else:
            raise WireError("a row's duration is none")
    return bans


def pack_places(keys: Iterable[Key]) -> Iterator[bytes]:
    """Bodies that name networks by scope, `ROWS` in each; at least one body."""
    rows: list[bytes] = []
    for scope, address, prefix in keys:
        family, high, low = _halves(address)
        rows.append(_PLACE.pack(scope, family, prefix, 0, high, low))
        if len(rows) == ROWS:
            yield b"".join(rows)
            rows = []
    yield b"".join(rows)


def unpack_places(body: bytes) -> list[Key]:
    """Raises WireError."""
    keys = []
    for scope, family, prefix, zero, high, low in _rows(_PLACE, body):
        if zero:
            raise WireError("a row has bytes it should not have")
        keys.append((scope, _address(scope, family, prefix, high, low), prefix))
    return keys


def pack_standing(seen: Mapping[Key, Standing]) -> Iterator[bytes]:
    """Bodies that tell what stands, `ROWS` in each; at least one body."""
    rows: list[bytes] = []
    for (scope, address, prefix), (ends, packets, octets) in seen.items():
        family, high, low = _halves(address)
        permanent = ends is None
        rows.append(_STANDING.pack(scope, family, prefix, permanent, ends or 0.0, high, low, packets, octets))
        if len(rows) == ROWS:
            yield b"".join(rows)
            rows = []
    yield b"".join(rows)


def unpack_standing(body: bytes) -> dict[tuple[Network, str], Standing]:
    """Raises WireError."""
    seen = {}
    for scope, family, prefix, permanent, ends, high, low, packets, octets in _rows(_STANDING, body):
        network = Network(_address(scope, family, prefix, high, low), prefix)
        seen[network, SCOPES[scope]] = Standing(None if permanent else ends, packets, octets)
    return seen


# ---------------------------------------------------------------- the rest


def pack_ports(ports: Mapping[str, Sequence[int]]) -> bytes:
    """The ports of the scopes "auth" and "mail", for `SETUP`."""
    auth, mail = ports["auth"], ports["mail"]
    return struct.pack(f"<BB{len(auth) + len(mail)}H", len(auth), len(mail), *auth, *mail)


def unpack_ports(body: bytes) -> dict[str, tuple[int, ...]]:
    """Raises WireError."""
    if len(body) < 2 or len(body) != 2 + 2 * (body[0] + body[1]):
        raise WireError("a list of ports has another length than it says")
    numbers = struct.unpack_from(f"<{body[0] + body[1]}H", body, 2)
    if 0 in numbers or not body[0] or not body[1]:
        raise WireError("a list of ports is empty, or names port 0")
    return {"auth": numbers[: body[0]], "mail": numbers[body[0] :]}


def pack_seconds(seconds: float) -> bytes:
    return struct.pack("<d", seconds)


def unpack_seconds(body: bytes) -> float:
    """A duration of no more than ten years; 0: none. Raises WireError."""
    if len(body) != 8:
        raise WireError("no duration")
    (seconds,) = struct.unpack("<d", body)
    if not 0.0 <= seconds <= LONGEST:
        raise WireError("no duration")
    return float(seconds)


def unpack_flag(body: bytes) -> bool:
    """Raises WireError."""
    if body not in (b"\0", b"\1"):
        raise WireError("no yes or no")
    return body == b"\1"


def pack_error(error: FirewallError) -> bytes:
    """The reason, behind a byte: 1 for `lost`, 2 for `later`."""
    return bytes([error.lost | error.later << 1]) + str(error).encode()[:4096]


def unpack_error(body: bytes) -> FirewallError:
    """The error to raise."""
    flags = body[0] if body else 0
    return FirewallError(body[1:].decode(errors="replace"), lost=bool(flags & 1), later=bool(flags & 2))


def pack_notice(notice: Notice) -> bytes:
    return json.dumps({"id": notice.id, "args": notice.args, "blind": notice.blind}).encode()[:LARGEST]


def unpack_notice(body: bytes) -> Notice:
    """Raises WireError."""
    try:
        told = json.loads(body)
        return Notice(str(told["id"]), dict(told["args"]), bool(told["blind"]))
    except (ValueError, TypeError, KeyError) as error:
        raise WireError(f"no notice: {error}") from None
