"""The compiled scan and the Python one: the same events, drafts, counters and stamps, byte for byte.

Left out, and said, where the compiled core is not there.
"""

from __future__ import annotations

import random
import re
import sys
from dataclasses import asdict
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mailguard.core import native
from mailguard.core import pattern as patterns
from mailguard.core.items import time_of
from mailguard.core.packed import Batch
from mailguard.core.prefilter import choose
from mailguard.core.rules import Addresses, Parser
from mailguard.core.scanner import Scanner
from mailguard.model import Block, Record, Records
from mailguard.notation import V6, _plain_v6
from mailguard.problems import ProblemsError
from tests.hostile import definition_lines, mutated, recorded_lines, single_line_parsers

scan: Any = native.load("scan")
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(scan is None, reason="the compiled core is not there (make native)"),
]

ARRIVAL = 1_795_392_000.0  # 2026-11-23


class Twins:
    """A Python scanner and a compiled one that are given the same."""

    def __init__(self, parsers: list[Parser], **more: Any):
        self.plain = Scanner(parsers, native=False, **more)
        self.compiled = Scanner(parsers, native=True, **more)
        self.packed = Scanner(parsers, native=True, **more)
        self.position = 0

    def scan(self, data: bytes, **more: Any) -> list[Any]:
        """What both make of a block; fails where they differ in anything."""
        block = Block("/var/log/mail.log", data, 0, len(data), self.position, ARRIVAL, False, timezone="UTC")
        self.position += len(data)
        return self.scan_block(block._replace(**more))

    def scan_block(self, block: Block) -> list[Any]:
        """The same for a block that is made."""
        found = self._same(self.plain.scan(block), self.compiled.scan(block), block)
        batch = self.packed.pack(block)
        assert isinstance(batch, Batch)
        made = batch.items()
        assert repr(made) == repr(found), block
        assert [type(one) for one in made] == [type(one) for one in found]
        assert batch.times().tolist() == [time_of(one) for one in found]
        middle = len(made) // 2
        assert batch.items(0, middle) + batch.items(middle) == made
        assert asdict(self.packed.counters) == asdict(self.compiled.counters), block
        assert self.packed.running() == self.compiled.running(), block
        return found

    def same_of_both(self, block: Block) -> list[Any]:
        """What the Python and the compiled one make of a block, without rows."""
        return self._same(self.plain.scan(block), self.compiled.scan(block), block)

    def scan_records(self, records: Records) -> list[Any]:
        """The same for journal entries."""
        return self._same(self.plain.scan_records(records), self.compiled.scan_records(records), records)

    def _same(self, one: list[Any], two: list[Any], what: object) -> list[Any]:
        for first, second in zip(one, two, strict=False):
            assert first == second, what
            assert type(first) is type(second)
        assert len(one) == len(two), what
        assert repr(one) == repr(two), what  # 1 and 1.0, True and 1 are not the same
        assert asdict(self.plain.counters) == asdict(self.compiled.counters), what
        assert self.plain.running() == self.compiled.running(), what
        assert self.plain.ahead() == self.compiled.ahead(), what
        assert self.plain.taken() == self.compiled.taken(), what
        return one


@pytest.fixture(scope="module")
def parsers() -> list[Parser]:
    return single_line_parsers()


@pytest.fixture(scope="module")
def lines(parsers: list[Parser]) -> list[bytes]:
    return [*definition_lines(parsers), *recorded_lines()]


def test_it_is_used_where_it_is_there(parsers: list[Parser]) -> None:
    """None: where it is there; False and another prefilter: the Python path."""
    assert Scanner(parsers).native
    assert Scanner(parsers).engine == "native"
    assert not Scanner(parsers, native=False).native
    assert not Scanner(parsers, "find").native
    assert Scanner(parsers, "find", native=True).native


def test_without_it(parsers: list[Parser], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was not compiled, or from another version, nothing fails, unless it was asked for."""
    monkeypatch.setitem(native.INTERFACE, "scan", -1)
    assert native.load("scan") is None
    assert "scan" not in native.there()
    scanner = Scanner(parsers)
    assert not scanner.native
    assert scanner.engine != "native"
    with pytest.raises(ValueError, match="not there"):
        Scanner(parsers, native=True)
    with pytest.raises(ImportError):
        choose([b"literal"], "native")
    monkeypatch.undo()
    monkeypatch.delattr(native, "scan")
    monkeypatch.setitem(sys.modules, "mailguard.core.native.scan", None)
    assert native.load("scan") is None


def test_every_line_alone_and_together(parsers: list[Parser], lines: list[bytes]) -> None:
    """Samples, forgeries and recorded logs: each line as a block of its own, and all as one."""
    twins = Twins(parsers, keep_lines=True)
    assert sum(len(twins.scan(line + b"\n")) for line in lines) > len(lines) // 3
    assert len(twins.scan(b"\n".join(lines) + b"\n")) > len(lines) // 3


@pytest.mark.parametrize("seed", range(6))
def test_accidents(parsers: list[Parser], lines: list[bytes], seed: int) -> None:
    """Lines that were cut, spliced, doubled, spoilt; blocks without an end, cut lines, stated years, live
    stamps far ahead, chosen kinds and parsers."""
    chance = random.Random(seed)
    kinds = (None, frozenset({"auth_failure", "unknown_recipient"}), frozenset({"mail_accepted"}))
    twins = Twins(parsers, keep_lines=bool(seed % 2), wanted_kinds=kinds[seed % 3])
    found = 0
    names = [parser.name for parser in parsers]
    for _ in range(150):
        made = [mutated(chance.choice(lines), lines, chance) for _ in range(chance.randrange(1, 30))]
        data = b"\n".join(made) + chance.choice((b"\n", b"\n", b"\n", b"", b"\r\n"))
        begins = [0, *(at + 1 for at, byte in enumerate(data[:-1]) if byte == 10)]
        found += len(
            twins.scan(
                data,
                log=chance.choice(("/var/log/mail.log", "spool/20171212.log")),
                cuts=(chance.choice(begins),) if chance.random() < 0.2 else (),
                live=chance.random() < 0.3,
                arrival=ARRIVAL + chance.choice((0.0, 0.0, 90_000.0, -90_000.0)),
                year=chance.choice((None, None, 2024)),
                may_ban=chance.random() < 0.9,
                timezone=chance.choice(("UTC", "UTC", "Europe/Berlin")),
                parsers=chance.choice(((), (), tuple(chance.sample(names, 2)))),
            )
        )
    assert found > (20 if seed % 3 else 200)


def test_tai64n_labels(parsers: list[Parser], lines: list[bytes]) -> None:
    """Before every line, with its own stamp and without one."""
    twins, chance, found = Twins(parsers, keep_lines=True), random.Random(1), 0
    for line in lines:
        label = b"@%016x%08x " % (
            (1 << 62) + int(ARRIVAL) - chance.randrange(10_000),
            chance.randrange(10**9),
        )
        found += len(twins.scan(label + line + b"\n"))
        found += len(twins.scan(label + line[16:] + b"\n"))
    assert found > len(lines) // 3


def test_part_of_a_buffer(parsers: list[Parser], lines: list[bytes]) -> None:
    """A block that is a piece of a larger buffer is read as if it stood alone."""
    data = b"\n".join(lines[:40]) + b"\n"
    twins = Twins(parsers)
    alone = twins.scan(data)
    for kind in (bytes, bytearray):
        larger = kind(b"x" * 7 + data + lines[0])
        block = Block("/var/log/mail.log", larger, 7, 7 + len(data), 0, ARRIVAL, False, timezone="UTC")
        assert twins.scan_block(block) == alone
        twins.scan_block(block._replace(cuts=(7,)))


def test_hours_said_twice_and_new_years(parsers: list[Parser]) -> None:
    """Stamps whose meaning depends on the lines before: the end of summer time, a year that begins."""
    tail = b" mail1 postfix/smtpd[7]: connect from x.example.net[192.0.2.7]\n"
    stamps = [
        b"Oct 25 %02d:%02d:%02d" % (hour, minute, second)
        for hour in (1, 2, 2, 3)
        for minute in (0, 30, 59)
        for second in (0, 59, 60, 61)
    ]
    stamps += [
        b"Dec 31 23:59:59",
        b"Jan  1 00:00:00",
        b"Dec 31 23:59:59",
        b"Feb 29 01:00:00",
        b"Feb 30 01:00:00",
    ]
    for year in (None, 2024, 2026):
        for live in (False, True):
            twins = Twins(parsers)
            for size in (1, 5, len(stamps)):
                for at in range(0, len(stamps), size):
                    data = b"".join(stamp + tail for stamp in stamps[at : at + size])
                    twins.scan(data, timezone="Europe/Berlin", year=year, live=live)


@pytest.mark.parametrize("seed", range(4))
def test_live_blocks_one_after_the_other(parsers: list[Parser], lines: list[bytes], seed: int) -> None:
    """The usual live block goes its own way (`Way`), whatever came between: the clock goes on by seconds or
    days and back over midnight, New Year and the repeated hour; a block of another zone, with cut lines, with
    stated parsers or not live at all comes between; the log is begun anew."""
    rng = random.Random(seed)
    twins = Twins(parsers, keep_lines=True)
    arena = bytearray(1 << 16)
    names = tuple(sorted({parser.name for parser in parsers}))[:6]
    twins.compiled.ways = ways = Ways()
    position = {"/var/log/mail.log": 0, "/var/log/epost/acceptlog": 0}
    arrival = 1_793_145_000.0 + seed * 5_875_200.0  # before the end of summer time, ... and New Year
    for _ in range(400):
        arrival += rng.choice((0.001, 1.0, 20.0, 61.0, 3000.0, 90_000.0, -30.0))
        log = rng.choice(sorted(position))
        data = (
            b"".join(
                restamped(rng.choice(lines), arrival + rng.choice((0, 0, 0, -3, -70, 100, -4000)), rng)
                + b"\n"
                for _ in range(rng.choice((1, 1, 3, 20)))
            )[:60_000].rpartition(b"\n")[0]
            + b"\n"
        )
        start = rng.randrange(64)
        arena[start : start + len(data)] = data
        block = Block(
            log, arena, start, start + len(data), position[log], arrival, True, timezone="Europe/Berlin"
        )
        position[log] += len(data)
        if rng.random() < 0.2:
            odd: list[dict[str, Any]] = [
                {"timezone": "Asia/Tokyo"},
                {"cuts": (start,)},
                {"parsers": names},
                {"live": False},
                {"year": 2026},
                {"may_ban": False},
                {"data": bytes(arena)},
                {"position": position[log] + 70_000},
            ]
            block = block._replace(**rng.choice(odd))
        if rng.random() < 0.01:
            twins.plain.begin(log)
            twins.compiled.begin(log)
        twins.same_of_both(block)
    assert ways.taken > 100
    assert len(ways) == 2


class Ways(dict[str, Any]):
    """Counts the blocks that went their own way."""

    taken = 0

    def get(self, log: str, default: Any = None) -> Any:
        """The way of a log."""
        way = super().get(log)
        return None if way is None else SimpleNamespace(scan=lambda block: self._count(way.scan(block)))

    def _count(self, found: Any) -> Any:
        self.taken += found is not None
        return found


def restamped(line: bytes, time: float, rng: random.Random) -> bytes:
    """The line with that time in its stamp, where it begins with one of the usual syslog's."""
    moment = datetime.fromtimestamp(time, ZoneInfo("Europe/Berlin"))
    stamp = moment.strftime("%b ").encode() + b"%2d " % moment.day + moment.strftime("%H:%M:%S").encode()
    if rng.random() < 0.2:
        stamp = moment.isoformat(timespec="seconds").encode()
    return re.sub(rb"\A[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", stamp, line)


def test_long_lines(parsers: list[Parser], lines: list[bytes]) -> None:
    """Lines around the limit of 8 KiB."""
    twins = Twins(parsers, keep_lines=True)
    for line in lines[::7]:
        for length in (8191, 8192, 8193, 20_000):
            middle = len(line) // 2
            filling = b"a" * max(0, length - len(line))
            twins.scan(line[:middle] + filling + line[middle:] + b"\n" + line + b"\n")


@pytest.mark.parametrize("seed", range(3))
def test_records(parsers: list[Parser], lines: list[bytes], seed: int) -> None:
    """Journal entries, with odd programs, hosts, process ids and line ends inside."""
    chance = random.Random(seed)
    twins = Twins(parsers, keep_lines=True)
    programs = (b"postfix/smtpd", b"dovecot", b"imap-login", b"x" * 200, b"", b"postfix/submission/smtpd")
    messages = [line.partition(b"]: ")[2] or line.partition(b"dovecot: ")[2] for line in lines]
    messages = [message for message in messages if message]
    for _ in range(60):
        made = [
            Record(
                ARRIVAL + chance.choice((0.0, 1.5, 61.0, -5.0)),
                chance.choice((b"mail1", b"")),
                chance.choice(programs),
                chance.choice((0, 7, 2**40, 2**70)),
                mutated(chance.choice(messages), messages, chance).replace(b"connect", b"con\nnect"),
                number,
                chance.random() < 0.1,
            )
            for number in range(chance.randrange(0, 30))
        ]
        twins.scan_records(Records("journal", made, ARRIVAL, chance.random() < 0.5))


# ---------------------------------------------------------------- the machine

WORDS = st.sampled_from(["a", "b", "ab", "aba", ">", ", ", "x=", "[", " "])
TYPES = st.sampled_from(
    ["{:int}", "{:word}", "{:host}", "{:address}", "{:prose}", "{:[ab]{1,3}}", "{:[ab>]{0,4}}", "{source:ip}",
     "{user:word}", "{host:host}", "{sender:address}", "{reason:prose}", "{stage:[a-b]{2,3}}"]
)  # fmt: skip
CHOICES = st.sampled_from(["{a|b}", "{a|ab}", "{ab|aba|b}", "{>|,}"])
FOREIGN = st.sampled_from(["{:foreign}", "{helo:foreign}", "{recipient:foreign}"])
PLAIN = st.one_of(WORDS, TYPES, CHOICES)


@st.composite
def templates(draw: st.DrawFn) -> str:
    """A template over a few letters, so that its parts can be taken for one another."""
    parts = draw(st.lists(st.one_of(PLAIN, PLAIN, FOREIGN), min_size=1, max_size=6))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(parts)))
        inside = "".join(draw(st.lists(PLAIN, min_size=1, max_size=3)))
        parts.insert(at, f"{{?{inside}?}}")
    return "".join(parts)


TEXT = st.lists(
    st.sampled_from(
        [b"a", b"b", b"ab", b"aba", b">", b", ", b"x=", b"[", b" ", b"192.0.2.7", b"2001:db8::1", b"1.2",
         b'"a"', b'"', b'"\\"b"', b"7", b"\xff", b"\0"]
    ), max_size=10,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(templates(), st.lists(TEXT, min_size=1, max_size=12))
def test_the_machine_reads_as_re_does(template: str, texts: list[list[bytes]]) -> None:
    """Any template that may be loaded: the same readings, or none."""
    try:
        pattern = patterns.compile(template)
    except ProblemsError:
        assume(False)
    machine = scan.Matcher(pattern, Addresses())
    for text in texts:
        data = b"<" + b"".join(text) + b">"
        assert machine.match(data, 1, len(data) - 1) == pattern.match(data, 1, len(data) - 1), data


def test_a_text_said_twice() -> None:
    """`{=name}`: for each length of the middle, as in Python."""
    pattern = patterns.compile("{user:foreign} from {source:ip} LOGIN {=user} failed")
    machine = scan.Matcher(pattern, Addresses())
    for user in (b"a", b"", b"x from 192.0.2.9 LOGIN x", b" from 1.2 LOGIN ", b"a" * 3000):
        for again in (user, user + b"b"):
            data = user + b" from 192.0.2.7 LOGIN " + again + b" failed"
            assert machine.match(data, 0, len(data)) == pattern.match(data, 0, len(data))


@given(
    st.lists(
        st.binary(min_size=1, max_size=12).map(lambda raw: bytes(byte % 3 + 97 for byte in raw)), max_size=20
    ),
    st.binary(max_size=2000),
    st.integers(0, 50),
)
def test_the_search_finds_what_find_does(literals: list[bytes], raw: bytes, start: int) -> None:
    """Short and long literals, on both sides of the pieces in which the search goes; with and without wide
    instructions, and whatever was learned of the log."""
    literals = list(dict.fromkeys([*literals, b"\n"]))
    data = bytes(byte % 4 + 97 for byte in raw)
    start = min(start, len(data))
    expected = choose(literals, "find").find(data, start, len(data))
    assert scan.Finder(literals).find(data, start, len(data)) == expected
    assert scan.Finder(literals).find(bytearray(data), start, len(data)) == expected
    assert scan.Finder(literals, wide=False).find(data, start, len(data)) == expected
    seen = scan.seen_in(data, start, len(data))
    assert sum(seen) == max(0, len(data) - start - 3)
    for wide in (True, False):
        assert scan.Finder(literals, seen, wide).find(data, start, len(data)) == expected


def test_a_finder_that_learned(parsers: list[Parser], lines: list[bytes]) -> None:
    """Once much was read the grams are chosen anew, by what these logs hold; the events stay the same."""
    scanner = Scanner(parsers, native=True)
    data = b"".join(line + b"\n" for line in lines)
    block = Block("mail.log", data, 0, len(data), 0, ARRIVAL, False, timezone="UTC")
    first = scanner.pack(block)
    compiled = scanner._native_lines(())
    before, compiled.unlearned = compiled.finder, 9
    few = data.index(b"\n") + 1
    scanner.pack(block._replace(end=few))  # a line tells nothing of a log
    assert compiled.finder is before
    again = scanner.pack(block)
    assert compiled.finder is not before
    assert compiled.unlearned == 0
    learned = compiled.finder
    third = scanner.pack(block)
    assert compiled.finder is learned
    assert isinstance(first, Batch)
    assert isinstance(again, Batch)
    assert isinstance(third, Batch)
    assert first.items() == again.items() == third.items() != []


def test_a_piece_outside_its_data() -> None:
    for start, end in ((-1, 2), (3, 2), (0, 9)):
        with pytest.raises(ValueError, match="outside"):
            scan.seen_in(b"abcdefgh", start, end)


def test_too_many_literals(parsers: list[Parser], monkeypatch: pytest.MonkeyPatch) -> None:
    """More literals than it takes: the Python path, unless it was asked for."""
    monkeypatch.setattr(scan, "MOST_LITERALS", 3)
    assert not Scanner(parsers).native
    with pytest.raises(ValueError, match="literals"):
        Scanner(parsers, native=True)


_GROUP = st.one_of(
    st.sampled_from(["0", "ffff", "FFFF", "2001", "db8", "00a", "12345", "g", ""]),
    st.text("0123456789abcdefAF", max_size=5),
)


@given(st.lists(_GROUP, max_size=10), st.integers(0, 10), st.sampled_from(["", ":", "::", ":::"]))
def test_addresses_of_ipv6(groups: list[str], at: int, gap: str) -> None:
    """What the compiled scan packs by itself is what Python packs; it leaves the rest to Python."""
    text = ":".join(groups[:at]) + gap + ":".join(groups[at:])
    expected = _plain_v6(text)
    assert scan.packed_v6(text.encode()) == (None if expected is None or expected < V6 else expected)
