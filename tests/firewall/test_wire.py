"""The frames between judge and enforcer: what goes in comes out, and nothing else is taken."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.firewall import wire
from mailguard.firewall.desired import FOREVER, Key
from mailguard.firewall.interface import Standing
from mailguard.model import Network, Notice
from mailguard.notation import V6, network_of


@st.composite
def keys(draw: st.DrawFn) -> Key:
    """Any network in any scope; IPv4-mapped addresses are IPv4 and do not occur."""
    scope = draw(st.integers(0, 2))
    if draw(st.booleans()):
        network = network_of(draw(st.integers(0, (1 << 32) - 1)), draw(st.integers(0, 32)), 0)
    else:
        address = draw(st.integers(1 << 64, (1 << 128) - 1))
        network = network_of(V6 + address, 0, draw(st.integers(0, 128)))
    return scope, network.address, network.prefix


ends = st.one_of(st.just(FOREVER), st.floats(1000.001, 1e8))


@given(st.dictionaries(keys(), ends, max_size=20))
def test_bans_round_trip(bans: dict[Key, float]) -> None:
    """Ends arrive as durations from the reader's own now."""
    seen: dict[Key, float] = {}
    for body in wire.pack_bans(bans.items(), 1000.0):
        seen |= wire.unpack_bans(body, 5000.0)
    assert seen.keys() == bans.keys()
    for key, until in bans.items():
        assert seen[key] == (FOREVER if until == FOREVER else pytest.approx(until + 4000.0, rel=1e-12))


@given(st.lists(keys(), max_size=20))
def test_places_round_trip(listed: list[Key]) -> None:
    """Places arrive as they were sent, in order."""
    assert [key for body in wire.pack_places(listed) for key in wire.unpack_places(body)] == listed


@given(
    st.dictionaries(
        keys(), st.tuples(st.none() | st.floats(1, 1e10), st.integers(0, 1 << 60), st.integers(0, 9))
    )
)
def test_standing_round_trips(seen: dict[Key, tuple[float | None, int, int]]) -> None:
    """Ends and counters arrive as they were sent."""
    told = {key: Standing(*values) for key, values in seen.items()}
    got = {}
    for body in wire.pack_standing(told):
        got |= wire.unpack_standing(body)
    scopes = ("auth", "mail", "all")
    assert got == {(Network(key[1], key[2]), scopes[key[0]]): standing for key, standing in told.items()}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(wire.ASKED)), st.binary(max_size=50)), max_size=8), st.data()
)
def test_frames_survive_any_cutting(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """However the stream is cut, the same frames come out."""
    stream = b"".join(wire.frame(kind, number, body) for number, (kind, body) in enumerate(frames))
    reader = wire.Frames(wire.ASKED)
    seen = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        seen += list(reader.feed(stream[:size]))
        stream = stream[size:]
    assert seen == [(kind, number, body) for number, (kind, body) in enumerate(frames)]


@pytest.mark.parametrize(
    "header",
    [
        wire.HEADER.pack(b"xx", 1, wire.PANIC, 0, 1),
        wire.HEADER.pack(b"mg", 2, wire.PANIC, 0, 1),
        wire.HEADER.pack(b"mg", 1, 0, 0, 1),
        wire.HEADER.pack(b"mg", 1, wire.ACK, 0, 1),
        wire.HEADER.pack(b"mg", 1, wire.IMPOSE, wire.LARGEST + 1, 1),
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_what_is_no_frame_is_refused(header: bytes) -> None:
    """Another magic, version, direction, an unknown type, or a body beyond the limit."""
    with pytest.raises(wire.WireError):
        list(wire.Frames(wire.ASKED).feed(header))


def row(
    scope: int = 1,
    family: int = 4,
    prefix: int = 32,
    permanent: int = 0,
    seconds: float = 60.0,
    high: int = 0,
    low: int = 0xC0000207,
) -> bytes:
    return struct.pack("<BBBBdQQ", scope, family, prefix, permanent, seconds, high, low)


@pytest.mark.parametrize(
    "body",
    [
        row()[:-1],
        row(scope=3),
        row(scope=255),
        row(family=5),
        row(family=0),
        row(prefix=33),
        row(prefix=24),  # host bits set
        row(high=1),
        row(low=1 << 32),
        row(family=6, prefix=129, high=1),
        row(family=6, prefix=64, high=1, low=1),
        row(family=6, prefix=128, low=0xFFFF_C000_0207),  # IPv4-mapped: the same host has another name
        row(seconds=0.0),
        row(seconds=-1.0),
        row(seconds=math.nan),
        row(seconds=math.inf),
        row(seconds=wire.LONGEST * 2),
        row(permanent=1),  # permanent, and yet a duration
        row(permanent=2, seconds=0.0),
    ],
)
def test_what_is_no_ban_is_refused(body: bytes) -> None:
    """Every field of a row is checked; good rows before a bad one do not help."""
    with pytest.raises(wire.WireError):
        wire.unpack_bans(row() + body, 0.0)


@pytest.mark.parametrize("body", [b"", b"\1", b"\1\1\x19\0", b"\1\0\x19\0", b"\0\1\x19\0", b"\1\1\0\0\x19\0"])
def test_what_are_no_ports_is_refused(body: bytes) -> None:
    """A list of ports has the length it says, no port 0, and neither scope is empty."""
    with pytest.raises(wire.WireError):
        wire.unpack_ports(body)


def test_ports_and_notices_round_trip() -> None:
    """Ports and notices arrive as they were sent."""
    ports = {"auth": (143, 993), "mail": (25, 143, 993)}
    assert wire.unpack_ports(wire.pack_ports(ports)) == ports
    notice = Notice("firewall-repaired", {"what": "the table is gone", "bans": 3}, True)
    assert wire.unpack_notice(wire.pack_notice(notice)) == notice


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id": 1, "args": 2, "blind": 0}', b"\xff"])
def test_what_is_no_notice_is_refused(body: bytes) -> None:
    """The judge too checks what it is told."""
    with pytest.raises(wire.WireError):
        wire.unpack_notice(body)


@pytest.mark.parametrize("body", [b"", bytes(7), struct.pack("<d", math.nan), struct.pack("<d", -1.0)])
def test_what_is_no_duration_is_refused(body: bytes) -> None:
    """A pause lasts between nothing and ten years."""
    with pytest.raises(wire.WireError):
        wire.unpack_seconds(body)
