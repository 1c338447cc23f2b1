"""The compiled shortest way: the kernel gets the bytes that Python would send, and only for plain frames."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.firewall import elements, native, netlink, nftlayout, wire
from mailguard.firewall.desired import FOREVER, HOST4, HOST6, PREFIX6, Key
from mailguard.firewall.interface import SCOPES
from mailguard.notation import V6

hot = native.load()
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(hot is None, reason="the compiled module is not built: make native"),
]

FIRST = 77
NOW = 1_700_000_000.0
SAMPLE4, SAMPLE6, MILLISECONDS = 0xC00002A5, 0x20010DB8DEADBEEF0123456789ABCDEF, 0x0123456789ABCDEF


def operation(scope: int, kind: str, address: int, milliseconds: int) -> tuple[int, int, bytes]:
    made = elements.counted([(address, address, milliseconds)], kind != HOST4)
    (one,) = elements.requests(netlink.NEWSETELEM, "mailguard", nftlayout.set_name(scope, kind), made)
    return one


def prepared(scope: int, kind: str) -> netlink.Prepared:
    address = SAMPLE4 if kind == HOST4 else SAMPLE6
    values = (address.to_bytes(4 if kind == HOST4 else 16, "big"), MILLISECONDS.to_bytes(8, "big"))
    return netlink.Prepared(operation(scope, kind, address, MILLISECONDS), values)


READY = [prepared(scope, kind) for scope in range(len(SCOPES)) for kind in (HOST4, HOST6, PREFIX6)]


def acknowledgement(sequence: int, code: int = 0) -> bytes:
    return struct.pack("=IHHII", 36, 2, 0x100, sequence, 0) + struct.pack("=i", -code) + bytes(16)


class Bench:
    """The compiled way between a judge and a kernel that are both played."""

    def __init__(self) -> None:
        self.judge, self.from_judge = socket.socketpair()
        self.kernel, self.to_kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.kernel.setblocking(False)
        self.judge.setblocking(False)
        self.buffer = bytearray(4096)
        self.known: dict[Key, float] = {}
        self.hot = hot.Hot([(one.whole, *one.places) for one in READY], wire.LONGEST)

    def wait(self, others: tuple[int, ...] = (), timeout: int = 0) -> Any:
        return self.hot.wait(
            self.from_judge.fileno(), self.to_kernel.fileno(), list(others), timeout, self.buffer,
            self.known, FIRST,
        )  # fmt: skip

    def told(self) -> bytes | None:
        """What the kernel was sent."""
        try:
            return self.kernel.recv(4096)
        except BlockingIOError:
            return None

    def heard(self) -> bytes:
        """What the judge was sent."""
        try:
            return self.judge.recv(4096)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for one in (self.judge, self.from_judge, self.kernel, self.to_kernel):
            one.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


HOSTS = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda low: (low, 32)),
    st.integers(1, 2**64 - 1).map(lambda high: (V6 + (high << 64), 64)),
    st.integers(2**64, 2**128 - 1).map(lambda whole: (V6 + whole, 128)),
)


@settings(max_examples=200, deadline=None)
@given(host=HOSTS, scope=st.integers(0, 2), seconds=st.floats(0.001, wire.LONGEST))
def test_the_kernel_gets_what_python_would_send(host: tuple[int, int], scope: int, seconds: float) -> None:
    """For every host, /64 and scope the same transaction; the judge is answered after the kernel has been."""
    bench = Bench()
    address, prefix = host
    key = (scope, address, prefix)
    bench.kernel.send(acknowledgement(FIRST + 1))
    frame = wire.HEADER.pack(b"mg", 1, wire.IMPOSE, 28, 5) + struct.pack(
        "<BBBBdQQ", scope, 4 if address < V6 else 6, prefix, 0, seconds,
        0 if address < V6 else address >> 64 & 2**64 - 1, address & 2**64 - 1,
    )  # fmt: skip
    bench.judge.send(frame)
    assert bench.wait() == (5, key, seconds, True)
    kind = HOST4 if address < V6 else HOST6 if prefix == 128 else PREFIX6
    message = operation(scope, kind, address, int(seconds * 1000))
    values = (
        (address % V6).to_bytes(4 if kind == HOST4 else 16, "big"),
        int(seconds * 1000).to_bytes(8, "big"),
    )
    sent = bench.told()
    assert sent == READY[3 * scope + (HOST4, HOST6, PREFIX6).index(kind)].fill(FIRST, values)
    assert sent is not None
    assert message[2] in sent
    assert bench.heard() == wire.frame(wire.ACK, 5)
    bench.close()


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 43), value=st.integers(0, 255), cut=st.integers(0, 60))
def test_what_is_not_plain_goes_the_long_way(at: int, value: int, cut: int) -> None:
    """A frame with any byte changed, cut, or with more behind it, is either one that Python reads as the same
    ban, or it lies in the buffer as it came, and neither the kernel nor the judge heard anything."""
    bench = Bench()
    bench.kernel.send(acknowledgement(FIRST + 1))
    frame = bytearray(wire.one_ban(5, (1, 0xC0000207, 32), NOW + 60, NOW))
    frame[at] = value
    data = (bytes(frame) + b"rest of another")[: max(1, cut)]
    bench.judge.send(data)
    found = bench.wait()
    if isinstance(found, tuple):
        sequence, key, seconds, answered = found
        asked = wire.read_one(memoryview(data), NOW)
        assert asked == (sequence, key, NOW + seconds)
        assert answered
        assert bench.told() is not None
    else:
        assert found == len(data)
        assert bench.buffer[:found] == data
        assert bench.told() is None
        assert bench.heard() == b""
    bench.close()


@pytest.mark.parametrize(
    "answers",
    [
        (),
        (acknowledgement(FIRST + 1, 2),),
        (acknowledgement(FIRST),),
        (acknowledgement(FIRST + 1)[:30],),
        (acknowledgement(FIRST + 1) + bytes(4),),
    ],
    ids=["silent", "an error", "another's", "cut", "longer"],
)
def test_an_unusual_answer_of_the_kernel_is_left_to_python(bench: Bench, answers: tuple[bytes, ...]) -> None:
    """The judge hears nothing yet, and the frame is there to be handled again."""
    for answer in answers:
        bench.kernel.send(answer)
    frame = wire.one_ban(5, (0, 0xC0000207, 32), NOW + 60, NOW)
    bench.judge.send(frame)
    assert bench.wait() == len(frame)
    assert bench.buffer[: len(frame)] == frame
    assert bench.heard() == b""


def test_a_ban_that_stands_already_is_left_to_python(bench: Bench) -> None:
    """Renewing is more than one message."""
    bench.known[0, 0xC0000207, 32] = FOREVER
    bench.judge.send(wire.one_ban(5, (0, 0xC0000207, 32), NOW + 60, NOW))
    assert bench.wait() == 44
    assert bench.told() is None


def test_it_waits_for_all(bench: Bench) -> None:
    """Nothing, other descriptors, the judge first where both have something, and a judge that has gone."""
    assert bench.wait() == []
    reading, writing = os.pipe()
    os.write(writing, b"x")
    assert bench.wait((bench.kernel.fileno(), reading), 1000) == [reading]
    bench.judge.send(b"something")
    assert bench.wait((reading,), 1000) == 9
    bench.judge.close()
    assert bench.wait((reading,), 1000) == 0
    os.close(reading)
    os.close(writing)


def test_a_judge_that_reads_nothing_is_answered_later(bench: Bench) -> None:
    """Where the answer finds no room it is the caller's to send."""
    bench.from_judge.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    bench.from_judge.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            bench.from_judge.send(b"x" * 1000)
    bench.kernel.send(acknowledgement(FIRST + 1))
    bench.judge.send(wire.one_ban(5, (0, 0xC0000207, 32), NOW + 60, NOW))
    assert bench.wait() == (5, (0, 0xC0000207, 32), 60.0, False)


def test_it_takes_no_prepared_message_that_would_overflow() -> None:
    """Places outside of a message, and messages that are too long, are refused when it is made."""
    good = [(one.whole, *one.places) for one in READY[:3]]
    for wrong in (
        [(bytes(600), 60, 80)] * 3,
        [(good[0][0], len(good[0][0]) - 22, 60)] * 3,
        [(good[0][0], 60, len(good[0][0]))] * 3,
        [(good[0][0], 2, 60)] * 3,
        good[:2],
        [],
        good * 4,
    ):
        with pytest.raises(ValueError):
            hot.Hot(wrong, wire.LONGEST)
    with pytest.raises(ValueError):
        hot.Hot(good, wire.LONGEST).wait(0, 0, [0] * 50, 0, bytearray(100), {}, 1)


@settings(max_examples=100, deadline=None)
@given(host=HOSTS, scope=st.integers(0, 2), seconds=st.floats(0.001, wire.LONGEST))
def test_the_judge_asks_as_python_would(host: tuple[int, int], scope: int, seconds: float) -> None:
    """The same frame; None when it was acknowledged, else what came instead."""
    ours, theirs = socket.socketpair()
    for answer in (wire.frame(wire.ACK, 9), wire.frame(wire.ERROR, 9, b"\0no"), wire.frame(wire.ACK, 8)):
        theirs.send(answer)
        came = hot.ask(ours.fileno(), 9, scope, *host, seconds)
        sent = theirs.recv(4096)
        asked = wire.read_one(memoryview(sent), 0.0)
        assert asked == (9, (scope, *host), seconds)
        assert came == (None if answer == wire.frame(wire.ACK, 9) else answer)
        assert hot.begin(ours.fileno(), 9, scope, *host, seconds)
        assert theirs.recv(4096) == sent
        theirs.send(answer)
        assert hot.finish(ours.fileno(), 9) == came
    thread = threading.Thread(target=theirs.close)
    thread.start()
    with suppress(OSError):  # it was gone before anything could be sent, or with our frame unread
        assert hot.ask(ours.fileno(), 9, scope, *host, seconds) == b""
    thread.join()
    for ask in (hot.ask, hot.begin):
        with pytest.raises(OSError):
            ask(ours.fileno(), 9, scope, *host, seconds)
    ours.close()


def test_what_finds_no_room_is_not_begun() -> None:
    """Nothing is sent in part, and nothing waits; no answer in time is said."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 50_000))
    with pytest.raises(BlockingIOError):
        hot.finish(ours.fileno(), 1)
    with suppress(BlockingIOError):
        while True:
            ours.send(bytes(4096), socket.MSG_DONTWAIT)
    assert hot.begin(ours.fileno(), 1, 0, 0xC0000207, 32, 60.0) is False
    ours.close()
    theirs.close()
