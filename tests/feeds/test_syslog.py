"""The syslog receiver: framing, senders, clocks, bounds; and that nobody can hurt it."""

from __future__ import annotations

import itertools
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailguard.clock import Clock, SystemClock
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parsers
from mailguard.feeds import syslog, syslogpeers
from mailguard.feeds.interface import LogOptions, Saved
from mailguard.feeds.lines import LIMIT
from mailguard.feeds.live import LiveFeed, make_source
from mailguard.feeds.syslog import SyslogSource
from mailguard.feeds.syslogclock import SenderClock
from mailguard.feeds.syslogframes import MOST_COUNT, Frame, Frames, packed
from mailguard.feeds.syslogmessage import Line, Messages
from mailguard.feeds.syslogpeers import OF_ONE
from mailguard.feeds.syslogsockets import CONNECTIONS
from mailguard.model import Block, Item, Network, Notice, Record, Records
from mailguard.notation import parse_endpoint, parse_network

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "logs"
NOW = 1_795_341_600.0  # 2026-11-22 10:00:00 UTC


# ---------------------------------------------------------------- framing


def framed(pieces: list[bytes], end: bool = True) -> tuple[list[Frame], str]:
    """All messages of a connection that came in these pieces."""
    frames = Frames()
    found = [frame for piece in pieces for frame in frames.feed(piece)]
    return found + (frames.end() if end else []), frames.broken


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces."""
    points = sorted({0, len(data), *[cut % (len(data) + 1) for cut in cuts]})
    return [data[begin:end] for begin, end in itertools.pairwise(points)]


_text = st.binary(max_size=40).map(lambda text: b"<34>" + text)
_long = st.integers(LIMIT - 8, LIMIT + 40).map(lambda size: b"<34>" + b"x" * size)
_message = st.one_of(_text, _text, _text, _long)


@given(st.lists(_message, max_size=6), st.lists(st.integers(0, 40_000), max_size=12))
def test_counted_messages_in_any_pieces(messages: list[bytes], cuts: list[int]) -> None:
    """Octet counting: however the stream is cut, the same messages, those over 8 KiB with their beginning."""
    data = b"".join(b"%d %s" % (len(message), message) for message in messages)
    expected = [Frame(message[:LIMIT], len(message) > LIMIT) for message in messages]
    assert framed(chunks(data, cuts)) == (expected, "")


@given(st.lists(_message, max_size=6), st.lists(st.integers(0, 40_000), max_size=12))
def test_lines_in_any_pieces(messages: list[bytes], cuts: list[int]) -> None:
    """LF framing: the same."""
    messages = [message.replace(b"\n", b" ") for message in messages]
    data = b"".join(message + b"\n" for message in messages)
    expected = [Frame(message[:LIMIT], len(message) > LIMIT) for message in messages]
    assert framed(chunks(data, cuts)) == (expected, "")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
@example(b"12345678 <x", [3])
@example(b"3 <ab3", [1])
@example(b"3 <ab0 x", [])
def test_anything_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """Whatever bytes come: cut in any way they give the same messages, the same end, and no more than they
    are."""
    whole = framed([data])
    assert framed(chunks(data, cuts)) == whole
    assert sum(len(frame.data) for frame in whole[0]) <= len(data)


@pytest.mark.parametrize(
    ("data", "messages", "broken"),
    [
        (b"5 <1>ab6 <2>cd", ["<1>ab"], False),  # the second is not whole: cut at the end
        (b"<1>a\r\n\n<2>b\n", ["<1>a\r", "<2>b"], False),
        (b"12 apples\n", ["12 apples"], False),  # no count: a message begins with <
        (b"2026-11-22T10:00:00Z nas x: y\n", ["2026-11-22T10:00:00Z nas x: y"], False),
        (b"4 <1>a<2>b", ["<1>a"], True),
        (b"4 <1>a%d <2>b" % (MOST_COUNT + 1), ["<1>a"], True),
        (b"4 <1>a12345678 <2>b", ["<1>a"], True),
    ],
)
def test_what_framing_it_is(data: bytes, messages: list[str], broken: bool) -> None:
    """The first message decides; a count that cannot be ends the reading of the connection."""
    frames = Frames()
    assert [frame.data.decode() for frame in frames.feed(data)] == messages
    assert bool(frames.broken) == broken
    if broken:
        assert frames.feed(b"4 <1>a") == []


def test_a_connection_holds_one_message_at_most() -> None:
    """A megabyte without an end is held as 8 KiB."""
    for begin in (b"<1>", b"1048576 <1>"):
        frames = Frames()
        for _ in range(15):
            assert frames.feed(begin + b"x" * 65536) == []
            begin = b""
        assert len(frames._held) == LIMIT
        assert frames.pending
        (frame,) = frames.end()
        assert frame.cut
        assert not frames.pending


# ---------------------------------------------------------------- messages


def opened(data: bytes, sender: str = "192.0.2.9", cut: bool = False, **options: Any) -> Any:
    return Messages("nas", **{"zone": "UTC", **options}).open(data, sender, NOW, cut, [])


@pytest.mark.parametrize(
    ("data", "host", "program", "pid", "message", "stamp"),
    [
        (b"<14>Nov 22 09:59:58 nas postfix/smtpd[12]: hello", b"nas", b"postfix/smtpd", 12, b"hello",
         NOW - 2),
        (b"<14>1 2026-11-22T18:59:58+09:00 nas Connection - - - User [a]", b"nas", b"Connection", 0,
         b"User [a]", NOW - 2),
        (b"<14>1 - - - - - - hello", b"", b"", 0, b"hello", NOW),
        (b"<14>2026-11-22T09:59:58+00:00 nas-1 Connection: User [a]", b"nas-1", b"Connection", 0,
         b"User [a]", NOW - 2),
        (b"<14>Nov 22 09:59:58 nas System SYSTEM:\tHost [192.0.2.1]", b"nas", b"System", 0,
         b"SYSTEM:\tHost [192.0.2.1]", NOW - 2),
        (b"<14>Nov 22 09:59:58 nas System SYSTEM:#011Host [192.0.2.1]\0", b"nas", b"System", 0,
         b"SYSTEM:#011Host [192.0.2.1]", NOW - 2),
        (b"<22>dovecot[7]: imap-login: x\r\n", b"", b"dovecot", 7, b"imap-login: x", NOW),
        (b"<22>Nov 22 09:59:58 dovecot: \xff\0x", b"", b"dovecot", 0, b"\xff\0x", NOW - 2),
    ],
)  # fmt: skip
def test_messages(data: bytes, host: bytes, program: bytes, pid: int, message: bytes, stamp: float) -> None:
    """What senders write, with and without stamp, host and process id; broken bytes stay what they are."""
    record = opened(data)
    assert isinstance(record, Record)
    assert (record.host, record.program, record.pid) == (b"192.0.2.9/" + host, program, pid)
    assert record.message == message
    assert record.time == stamp


@pytest.mark.parametrize("data", [b"", b"\0\0\n", b"no program here", b"<14>", b"<14>\xff\xfe", b"\0" * 9000])
def test_what_is_no_message(data: bytes) -> None:
    """Nothing comes of it, and nothing breaks."""
    assert opened(data) is None


@given(st.binary(max_size=120), st.sampled_from([b"", b"<14>", b"<14>1 ", b"<14>Nov 22 10:00:00 "]))
def test_no_bytes_break_it(data: bytes, head: bytes) -> None:
    """Whatever a message holds: a record, a line or nothing."""
    found = opened(head + data)
    assert found is None or isinstance(found, Record | Line)
    if isinstance(found, Record):
        assert 0 < found.time <= NOW + 60


def test_machines_do_not_mix() -> None:
    """The same name and process id from two senders are two hosts, and so are two names from one sender."""
    messages = Messages("nas", "UTC")
    hosts = set()
    for sender, name in (("192.0.2.8", b"nas"), ("192.0.2.9", b"nas"), ("192.0.2.9", b"mail")):
        record = messages.open(b"<14>Nov 22 10:00:00 " + name + b" smtpd[1]: x", sender, NOW, False, [])
        assert isinstance(record, Record)
        hosts.add(record.host)
    assert len(hosts) == 3


def test_repeated_messages() -> None:
    """`message repeated N times` stands for N messages, a bounded number of them."""
    messages = Messages("nas", "UTC")
    for count, expected in ((3, 3), (999_999, 20)):
        line = b"<14>Nov 22 10:00:00 nas smtpd[1]: message repeated %d times: [ x]" % count
        record = messages.open(line, "192.0.2.9", NOW, False, [])
        assert isinstance(record, Record)
        assert (record.message, messages.repeat) == (b"x", expected)


def test_lines_of_e_post() -> None:
    """An E-Post line inside a message is a line of a log of its own, named by a program that is a name."""
    line = b"[22/Nov/2026:10:00:00] info from 192.0.2.1 LOGIN info **** failed"
    assert opened(b"<14>Nov 22 10:00:00 win imap4log: " + line) == Line("imap4log", line, False)
    assert opened(b"<14>Nov 22 10:00:00 win ../../etc: " + line) == Line("", line, False)
    assert opened(line) == Line("", line, False)


# ---------------------------------------------------------------- clocks


def settle(pairs: list[tuple[float, float]], clock: SenderClock | None = None) -> list[float]:
    """Times for (stamp, arrival) pairs, as seconds before the arrival."""
    clock = clock or SenderClock()
    return [arrival - clock.settle(stamp, arrival)[0] for stamp, arrival in pairs]


def test_a_right_clock_is_believed() -> None:
    """Stamps from a minute ahead to five minutes late stay."""
    assert settle([(100, 100), (159, 100), (1000, 1300)]) == [0, -59, 300]


@pytest.mark.parametrize("wrong", [-32400.0, 32400.0, 86400.0 * 400, -7200.0])
def test_a_wrong_clock_is_put_right(wrong: float) -> None:
    """After a minute of the same distance the stamps are put right, and it is said once; a drift is followed,
    and a clock that is set right again is believed."""
    clock = SenderClock()
    said = []
    for second in range(0, 600, 10):
        stamp = 1e9 + second - wrong + second / 100  # it gains a second in a hundred
        found, news = clock.settle(stamp, 1e9 + second)
        said.append(news)
        assert found <= 1e9 + second
        if second >= 70:
            assert abs(found - (1e9 + second)) < 8
        elif wrong > 0 and second < 60:
            assert found == stamp  # too late to hurt anybody, until it is known
    assert said.count(True) == 1
    assert clock.settle(1e9 + 600, 1e9 + 600) == (1e9 + 600, True)
    assert clock.offset == 0


def test_what_was_kept_is_no_wrong_clock() -> None:
    """A sender that delivers ten hours at once keeps its stamps: they are no burst of today."""
    pairs = [(1e9 + hour * 3600.0, 1e9 + 36_000.0 + hour) for hour in range(10)]
    assert settle(pairs) == [36_000.0 + hour - hour * 3600.0 for hour in range(10)]


def test_a_name_that_would_steer_a_terminal() -> None:
    """What a machine calls itself is shown without anything but letters, digits and dots."""
    messages, said = Messages("nas", "UTC"), list[Notice]()
    for second in (0, 61):
        line = b"<14>Nov 22 01:%02d:%02d \x1b[31m\xff smtpd[1]: x" % divmod(second, 60)
        messages.open(line, "192.0.2.9", NOW + second, False, said)
    assert [one.args["sender"] for one in said] == ["192.0.2.9/??31m?"]


def test_wrong_clocks_survive_a_restart() -> None:
    """What is known of clocks is saved; a broken row is no trouble."""
    messages, said = Messages("nas", "UTC"), list[Notice]()
    for second in (0, 61):
        line = b"<14>Nov 22 01:%02d:%02d nas smtpd[1]: x" % divmod(second, 60)
        messages.open(line, "192.0.2.9", NOW + second, False, said)
    assert [(one.id, one.args["way"], one.args["seconds"]) for one in said] == [
        ("syslog-clock", "behind", 32400.0)
    ]
    again = Messages("nas", "UTC", saved=messages.save())
    line = b"<14>Nov 22 01:02:00 nas smtpd[1]: x"
    record = again.open(line, "192.0.2.9", NOW + 121, False, said)
    assert isinstance(record, Record)
    assert NOW + 119 < record.time <= NOW + 121
    for row in (b"x", b"[]", b'{"clocks": 3}', b'{"clocks": {"a": "b"}}'):
        assert Messages("nas", saved=row).save() == b""


# ---------------------------------------------------------------- sockets


class Receiver:
    """A live feed with one syslog source at free ports of this host."""

    def __init__(self, clock: Clock | None = None, saved: Saved | None = None, **options: Any):
        self.udp, self.tcp = free(socket.SOCK_DGRAM), free(socket.SOCK_STREAM)
        self.options = LogOptions(
            **{
                "name": "nas",
                "kind": "syslog",
                "listen": (f"udp://127.0.0.1:{self.udp}", f"tcp://127.0.0.1:{self.tcp}"),
                "may_ban": False,
                **options,
            }
        )
        source = make_source(self.options, saved or {}, clock or SystemClock())
        assert isinstance(source, SyslogSource)
        self.source = source
        self.feed = LiveFeed([source], clock, spacing=0.0)
        self.items: list[Item] = []

    def send(self, *messages: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for message in messages:
                sender.sendto(message, ("127.0.0.1", self.udp))

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.tcp), timeout=10, source_address=(address, 0))

    def until(self, ready: Callable[[], Any], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, "it never came"
            self.items += self.feed.next(time.monotonic() + 0.05) or []

    def messages(self) -> list[bytes]:
        found = [item for item in self.items if isinstance(item, Records)]
        assert all(not item.may_ban for item in found)
        return [record.message for item in found for record in item.records]

    def said(self) -> list[str]:
        return [item.id for item in self.items if isinstance(item, Notice)]

    def counts(self) -> dict[str, Any]:
        return self.source.status()["nas"]


def free(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(**options: Any) -> Receiver:
        made.append(Receiver(**options))
        return made[-1]

    yield make
    for one in made:
        one.feed.close()
        one.feed.close()


def test_datagrams_and_both_framings(receiver: Callable[..., Receiver]) -> None:
    """UDP, TCP with octet counts and TCP with lines at once; a connection's last message may lack its LF."""
    one = receiver()
    one.send(b"<14>smtpd: udp 1", b"<14>smtpd: udp 2")
    counted, lines = one.connect(), one.connect()
    counted.sendall(b"16 <14>smtpd: count16 <14>smtpd: ")
    lines.sendall(b"<14>smtpd: line 1\n<14>smtpd: line 2")
    one.until(lambda: len(one.messages()) == 4)
    counted.sendall(b"again")
    lines.close()
    one.until(lambda: len(one.messages()) == 6)
    assert sorted(one.messages()) == [b"again", b"count", b"line 1", b"line 2", b"udp 1", b"udp 2"]
    (cut,) = [
        record for item in one.items if isinstance(item, Records) for record in item.records if record.cut
    ]
    assert cut.message == b"line 2"
    counted.close()
    one.until(lambda: one.counts()["connections"] == 0)
    assert one.counts()["messages"] == 6
    positions = [r.position for item in one.items if isinstance(item, Records) for r in item.records]
    assert positions == sorted(set(positions))


def test_ipv6(receiver: Callable[..., Receiver]) -> None:
    """The same over IPv6, side by side with IPv4 at the same port."""
    port = free(socket.SOCK_DGRAM)
    one = receiver(listen=(f"udp://[::1]:{port}", f"tcp://[::1]:{port}", f"udp://127.0.0.1:{port}"))
    one.udp = port
    one.send(b"<14>smtpd: four")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"<14>smtpd: six", ("::1", port))
    with socket.create_connection(("::1", port), timeout=10) as sender:
        sender.sendall(b"<14>smtpd: tcp\n")
        one.until(lambda: sorted(one.messages()) == [b"four", b"six", b"tcp"])
    hosts = {r.host for item in one.items if isinstance(item, Records) for r in item.records}
    assert hosts == {b"127.0.0.1/", b"::1/"}


def test_only_the_senders_may_send(receiver: Callable[..., Receiver]) -> None:
    """From others nothing is opened: counted, said once."""
    network = parse_network("192.0.2.0/28")
    assert isinstance(network, Network)
    one = receiver(senders=(network,))
    one.send(b"<14>smtpd: a", b"<14>smtpd: b")
    refused = one.connect()
    one.until(lambda: one.counts()["refused"] == 3)
    assert refused.recv(10) == b""
    one.until(lambda: "syslog-refused" in one.said())
    assert one.said().count("syslog-refused") == 1
    assert one.messages() == []
    refused.close()


def test_a_flood_is_taken_in_bounded_batches(receiver: Callable[..., Receiver]) -> None:
    """A batch is at most a thousand datagrams; what the kernel had no room for is counted and said."""
    one = receiver()
    for udp in one.source._udp.values():
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    for _ in range(3):
        one.send(*[b"<14>smtpd: " + b"x" * 100] * 3000)
        one.until(lambda: not one.source.backlog)
        one.items += one.feed.next(time.monotonic()) or []
    one.send(b"<14>smtpd: last")
    one.until(lambda: b"last" in one.messages())
    one.until(lambda: "syslog-lost" in one.said())
    lost = one.counts()["overflowed"]
    assert lost > 0
    assert lost + one.counts()["messages"] == 9001
    assert all(len(item.records) <= 1024 for item in one.items if isinstance(item, Records))


def test_a_slow_sender_is_shown_out(
    receiver: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that does not become whole in time is handed out as cut and its connection ended; one that
    says nothing at all may stay."""
    monkeypatch.setattr(syslogpeers, "PATIENCE", 0.2)
    one = receiver()
    silent, slow = one.connect(), one.connect()
    slow.sendall(b"<14>smtpd: begun")
    one.until(lambda: one.messages() == [b"begun"])
    one.until(lambda: one.counts()["connections"] == 1)
    silent.sendall(b"<14>smtpd: here\n")
    one.until(lambda: one.messages() == [b"begun", b"here"])
    assert one.counts()["closed"] == 1
    silent.close()
    slow.close()


def test_connections_are_bounded(receiver: Callable[..., Receiver]) -> None:
    """One sender has at most sixteen; the one silent for longest gives way, and a message under way does
    not."""
    one = receiver()
    held = []
    for number in range(OF_ONE):
        held.append(one.connect())
        if number:
            held[-1].sendall(b"<14>smtpd: begun")
        one.until(lambda number=number: len(one.source.peers.open) == number + 1)
    one.until(lambda: sum(c.frames.pending for c in one.source.peers.open.values()) == OF_ONE - 1)
    held.append(one.connect())
    held[-1].sendall(b"<14>smtpd: begun")
    one.until(lambda: sum(c.frames.pending for c in one.source.peers.open.values()) == OF_ONE)
    assert held[0].recv(10) == b""
    more = one.connect()
    one.until(lambda: "syslog-full" in one.said())
    assert more.recv(10) == b""
    assert one.counts()["connections"] == OF_ONE
    for each in (*held, more):
        each.close()


@pytest.mark.parametrize(
    ("data", "messages", "sure"),
    [
        (b"<14>a: x", [b"<14>a: x"], 1),
        (b"<14>a: x\n", [b"<14>a: x\n"], 1),
        (b"<14>a: x\ny", [b"<14>a: x\ny"], 1),
        (b"<14>a: x\n<15>b: y", [b"<14>a: x", b"<15>b: y"], 1),
        (b"8 <14>a: x8 <15>b: y", [b"<14>a: x", b"<15>b: y"], 2),
        (b"8 <14>a: x", [b"<14>a: x"], 1),
        (b"8 <14>a: x9 <15>b: y", [b"8 <14>a: x9 <15>b: y"], 1),
        (b"8 2026-01-01", [b"8 2026-01-01"], 1),
        (b"99999999999 <14>", [b"99999999999 <14>"], 1),
        (b"", [b""], 1),
    ],
)
def test_several_messages_in_a_datagram(data: bytes, messages: list[bytes], sure: int) -> None:
    """By octet counts that fit they are certain; behind line ends only the first is."""
    assert packed(data) == (messages, sure)


@given(st.binary(max_size=300))
def test_nothing_of_a_datagram_is_lost(data: bytes) -> None:
    found, sure = packed(data)
    assert 1 <= sure <= len(found) <= 64
    assert sum(map(len, found)) <= len(data)
    assert sure > 1 or b"".join(found).replace(b"\n", b"") in (
        data.replace(b"\n", b""),
        data.partition(b" ")[2].replace(b"\n", b""),
    )


def test_a_forged_second_message_bans_nobody(receiver: Callable[..., Receiver]) -> None:
    """Where UDP is trusted, text behind a line end still only alerts, and that is said once."""
    one = receiver(may_ban=True, senders=(Network(0x7F000001, 32),))
    for _ in range(2):
        one.send(b"<14>smtpd: first\n<14>smtpd: forged", b"16 <14>smtpd: third17 <14>smtpd: fourth")
    one.until(lambda: one.counts()["messages"] == 8)
    found = {
        item.may_ban: [record.message for record in item.records]
        for item in one.items
        if isinstance(item, Records)
    }
    assert set(found[True]) <= {b"first", b"third", b"fourth"}
    assert set(found[False]) == {b"forged"}
    assert one.said() == ["syslog-packed"]


def test_nobody_pushes_others_out(receiver: Callable[..., Receiver]) -> None:
    """Five senders open hundreds of connections: a sixth with one stays connected, though it is silent."""
    one = receiver()
    quiet = one.connect("127.0.0.9")
    one.until(lambda: len(one.source.peers.open) == 1)
    held = []
    for number in range(300):
        held.append(one.connect(f"127.0.0.{10 + number % 5}"))
        one.until(lambda: not select.select([next(iter(one.source._tcp.values()))], [], [], 0)[0])
    one.until(lambda: one.counts()["connections"] <= CONNECTIONS)
    quiet.sendall(b"<14>smtpd: still here\n")
    one.until(lambda: b"still here" in one.messages())
    for each in (*held, quiet):
        each.close()


def test_a_thousand_connections(receiver: Callable[..., Receiver]) -> None:
    """Of one host and half of them broken off: bounded, and who comes afterwards is heard."""
    one = receiver()
    for number in range(1000):
        with one.connect() as sender:
            if number % 2:
                sender.sendall(b"<14>smtpd: half a mess")
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
        if number % 20 == 0:
            one.until(lambda: True)
            one.items += one.feed.next(time.monotonic() + 0.01) or []
            assert one.counts()["connections"] <= OF_ONE
    with one.connect() as sender:
        sender.sendall(b"<14>smtpd: whole\n")
        one.until(lambda: b"whole" in one.messages())
    one.until(lambda: one.counts()["connections"] == 0)


def test_no_files_left(receiver: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, nothing spins meanwhile, and who waited is taken when there are files again."""
    monkeypatch.setattr(syslogpeers, "REST", 0.05)
    one = receiver()
    one.feed.next(time.monotonic() + 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    sender = one.connect()
    calls = 0
    accept = one.source.peers.accept

    def counting(listener: socket.socket) -> None:
        nonlocal calls
        calls += 1
        accept(listener)

    monkeypatch.setattr(one.source.peers, "accept", counting)
    free_files = [os.dup(0)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free_files[0], hard))
        one.until(lambda: "syslog-full" in one.said())
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            one.items += one.feed.next(time.monotonic() + 0.05) or []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(free_files[0])
    assert calls <= 15
    sender.sendall(b"<14>smtpd: in the end\n")
    one.until(lambda: b"in the end" in one.messages())
    sender.close()


def test_a_scoped_and_a_mapped_sender(receiver: Callable[..., Receiver]) -> None:
    """Link-local senders come with the name of an interface, IPv4 ones at an IPv6 socket mapped."""
    one = receiver(senders=(parse_network("fe80::/10"), parse_network("192.0.2.0/24")))
    assert one.source._sender("fe80::1%eth0") == "fe80::1"
    assert one.source._sender("::ffff:192.0.2.7") == "192.0.2.7"
    assert one.source._sender("::ffff:198.51.100.7") == ""
    assert one.source._sender("2001:db8::1") == ""
    assert one.source._sender("nonsense") == ""


def test_a_nas_that_reboots(receiver: Callable[..., Receiver]) -> None:
    """Its connection is never closed, the next one comes from the same address with a clock of 1970 until it
    asks the time: what it says meanwhile is read and bans nobody in advance."""
    one = receiver()
    before = one.connect()
    before.sendall(b"<14>1 2026-11-22T00:00:00Z nas smtpd 1 - - before the reb")
    after = one.connect()
    after.sendall(b"<14>1 1970-01-01T00:00:07Z nas smtpd 1 - - boots\n")
    one.until(lambda: b"boots" in one.messages())
    record = next(
        record
        for item in one.items
        if isinstance(item, Records)
        for record in item.records
        if record.message == b"boots"
    )
    assert record.time < time.time() - 86400
    stamp = datetime.now(UTC).isoformat().encode()
    after.sendall(b"<14>1 %s nas smtpd 1 - - knows the time\n" % stamp)
    one.until(lambda: b"knows the time" in one.messages())
    before.close()
    after.close()


def test_a_broken_stream_is_ended_and_said(receiver: Callable[..., Receiver]) -> None:
    """What was whole before counts; then the connection ends."""
    one = receiver()
    with one.connect() as sender:
        sender.sendall(b"12 <14>smtpd: x" + b"nonsense" * 1000)
        one.until(lambda: one.counts()["broken"] == 1)
        one.until(lambda: "syslog-broken" in one.said())
    assert one.messages() == [b"x"]
    assert one.counts()["connections"] == 0


def test_lines_of_other_logs_come_as_blocks(receiver: Callable[..., Receiver]) -> None:
    """E-Post lines of a Windows host are lines of logs named after it; a hundred names share what is left."""
    one = receiver()
    line = b"[22/Nov/2026:10:00:00], 192.0.2.1 x\n"
    one.send(*[b"<14>Nov 22 10:00:00 win acceptlog: " + line] * 2)
    one.send(*[b"<14>Nov 22 10:00:00 win a%d: " % number + line for number in range(100)])
    one.until(lambda: one.counts()["messages"] == 102)
    blocks = [item for item in one.items if isinstance(item, Block)]
    first = b"".join(bytes(item.data) for item in blocks if item.log == "nas/127.0.0.1/acceptlog")
    assert first == line * 2
    assert {item.log for item in blocks} >= {"nas/127.0.0.1/a0", "nas/others"}
    assert len({item.log for item in blocks}) <= syslog._LOGS + 1
    heard = [item for item in one.items if isinstance(item, Records)]
    assert {item.log for item in heard} == {"nas"}  # so that its silence is known
    assert Scanner(load_parsers(check=False)).scan_records(heard[0]) == []


def test_an_address_that_is_not_there_yet(
    receiver: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once, tried again, and said when it is there."""
    monkeypatch.setattr(syslog, "_RETRY", 0.02)
    port = free(socket.SOCK_STREAM)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        one = receiver(listen=(f"tcp://127.0.0.1:{port}",))
        one.until(lambda: "log-unreadable" in one.said())
        assert one.counts()["words"].startswith(f"tcp://127.0.0.1:{port}: ")
    one.until(lambda: "log-back" in one.said())
    assert one.said() == ["log-unreadable", "log-back"]
    assert one.counts()["words"] == ""


def test_a_socket_from_systemd(tmp_path: Path) -> None:
    """A socket that systemd passed for the stated address is used, whatever its port."""
    made = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    for one in made:
        one.bind(("127.0.0.1", 0))
    made[0].listen()
    port = made[1].getsockname()[1]
    program = (
        "import os, sys, time; os.environ['LISTEN_PID'] = str(os.getpid());"
        "from mailguard.clock import SystemClock; from mailguard.feeds.interface import LogOptions;"
        "from mailguard.feeds.live import LiveFeed, make_source; from mailguard.model import Records;"
        f"o = LogOptions('nas', 'syslog', listen=('udp://127.0.0.1:{port}',));"
        "f = LiveFeed([make_source(o, {}, SystemClock())]); print('ready', flush=True)\n"
        "while True:\n"
        "    for item in f.next(time.monotonic() + 20):\n"
        "        print(item.records[0].message.decode(), flush=True); sys.exit()\n"
    )

    def move() -> None:  # the descriptors 3 and 4, as systemd passes them
        low = [os.dup2(one.fileno(), 60 + number) for number, one in enumerate(made)]
        for number, fd in enumerate(low):
            os.dup2(fd, 3 + number)

    environment = os.environ | {"LISTEN_FDS": "2"}
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, preexec_fn=move, env=environment,
        pass_fds=(3, 4), cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"<14>smtpd: passed", ("127.0.0.1", port))
    assert child.stdout.readline() == b"passed\n"
    child.wait(20)
    child.stdout.close()
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("udp://192.0.2.1:5514", "udp://192.0.2.1:5514"),
        ("tcp://[2001:DB8::1]:6514", "tcp://[2001:db8::1]:6514"),
        ("udp://0.0.0.0:514", "udp://0.0.0.0:514"),
        ("udp://:514", None),
        ("udp://*:514", None),
        ("udp://nas.example.net:514", None),
        ("tls://192.0.2.1:6514", None),
        ("tcp://2001:db8::1:6514", None),
        ("tcp://[192.0.2.1]:6514", None),
        ("tcp://192.0.2.1:0", None),
        ("tcp://192.0.2.1:65536", None),
        ("192.0.2.1:514", None),
    ],
)
def test_places(text: str, shown: str | None) -> None:
    """Transport, address and port, each stated: no name, no wildcard that is not written."""
    place = parse_endpoint(text)
    assert (None if place is None else str(place)) == shown


@pytest.mark.parametrize(
    "name", ["epost-acceptlog", "epost-imap4log", "epost-pop3log", "epost-inlog", "mailplus"]
)
def test_a_log_that_is_sent_reads_as_the_file(receiver: Callable[..., Receiver], name: str) -> None:
    """Each line of a sample log, sent over TCP by an agent of another machine, gives the event that the file
    gives: an agent's header around E-Post's lines, and a system's own lines as they are."""
    lines = [line for line in (SAMPLES / f"{name}.log").read_bytes().split(b"\n") if line]
    header = b"<14>Nov 22 10:00:00 win %s: " % name.partition("-")[2].encode() if "-" in name else b"<22>"
    one = receiver(timezone="UTC", year=2026)
    with one.connect() as sender:
        for line in lines:
            message = header + line
            sender.sendall(b"%d %s" % (len(message), message))
    scanner = Scanner(load_parsers(check=False))
    found: list[Any] = []

    def take() -> bool:
        while one.items:
            item = one.items.pop(0)
            if isinstance(item, Block):
                found.extend(scanner.scan(item))
            elif isinstance(item, Records):
                found.extend(scanner.scan_records(item))
        return bool(one.counts()["messages"] == len(lines))

    one.until(take)
    take()
    data = b"\n".join(lines) + b"\n"
    arrival = time.time()
    expected = Scanner(load_parsers(check=False)).scan(
        Block(f"win/{name}", data, 0, len(data), 0, arrival, False, timezone="UTC", year=2026)
    )
    assert [drafted(item) for item in found] == [drafted(item) for item in expected]
    assert len(found) > 10


def drafted(item: Any) -> tuple[Any, ...]:
    """What an event says but when: the samples' stamps lie ahead of a test's clock, or far behind it."""
    event = getattr(item, "event", item)
    return event.kind, event.source, event.rule, event.fields


@pytest.mark.real
def test_what_rsyslog_sends(receiver: Callable[..., Receiver], tmp_path: Path) -> None:
    """A genuine rsyslogd relays a NAS's messages in every framing and format it has; each is read alike."""
    one = receiver(timezone="UTC")
    port = free(socket.SOCK_STREAM)
    ways = [
        (one.tcp, 'protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"'),
        (one.tcp, 'protocol="tcp" TCP_Framing="traditional" template="RSYSLOG_ForwardFormat"'),
        (one.udp, 'protocol="udp" template="RSYSLOG_TraditionalForwardFormat"'),
    ]
    actions = [f'action(type="omfwd" target="127.0.0.1" port="{to}" {how})' for to, how in ways]
    (tmp_path / "rsyslog.conf").write_text(
        f'global(workDirectory="{tmp_path}")\nmodule(load="imtcp")\n'
        f'input(type="imtcp" port="{port}" address="127.0.0.1")\n' + "\n".join(actions) + "\n"
    )
    relay = subprocess.Popen(
        ["rsyslogd", "-n", "-f", str(tmp_path / "rsyslog.conf"), "-i", str(tmp_path / "pid")]
    )
    try:
        limit = time.monotonic() + 20
        while True:
            try:
                sender = socket.create_connection(("127.0.0.1", port), timeout=10)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < limit
                time.sleep(0.05)
        stamp = time.strftime("%b %d %H:%M:%S", time.gmtime()).encode()
        with sender:
            for message in (
                b"Connection: User [tanaka] from [192.0.2.61] failed to log in via [MailPlus-Server] due to "
                b"authorization failure.",
                b"System SYSTEM:\tHost [192.0.2.61] was blocked via [MailPlus-Server].",
                b"postfix/smtpd[7]: warning: unknown[192.0.2.62]: SASL LOGIN authentication failed: "
                b"(reason unavailable), sasl_username=\xff\x01x",
            ):
                sender.sendall(b"<12>" + stamp + b" nas-1 " + message + b"\n")
            one.until(lambda: one.counts()["messages"] == 9)
    finally:
        relay.terminate()
        relay.wait(20)
    scanner = Scanner(load_parsers(check=False))
    rules = [
        drafted(event)[2]
        for item in one.items
        if isinstance(item, Records)
        for event in scanner.scan_records(item)
    ]
    assert sorted(rules) == [
        *["postfix/auth-failure"] * 3,
        *["synology-connection/blocked"] * 3,
        *["synology-connection/failed"] * 3,
    ]
