"""A line with an address and a dialogue without: which name a line gets, and which line is doubted."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from mailguard.core.acts import WAIT
from mailguard.core.joined import Joined
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block, Event
from mailguard.notation import format_address

ROOT = Path(__file__).resolve().parents[2]
PARSERS = [load_parser(ROOT / "parsers" / f"epost-{name}.toml") for name in ("imap4log", "receiveimap4")]
LINES, DIALOGUE = "/spool/imap4log/MAIL1", "/spool/receiveimap4/MAIL1"
NOW = 1_797_040_000.0
Told = tuple[str, str, str, bool]


def line(second: int, address: str, what: str, user: str = "-") -> str:
    return f"[12/Dec/2026:00:01:{second:02}] {user} from {address} {what}"


def talk(second: int, context: int, *texts: str, greeting: bool = True) -> str:
    said = ["* OK example.jp ready"] * greeting + list(texts)
    return "\n".join(f"[12/Dec/2026:00:01:{second:02}], {context:08x}, {text}" for text in said)


def plain(user: str) -> str:
    return "a AUTHENTICATE PLAIN " + base64.b64encode(f"\0{user}\0x".encode()).decode()


NO = "a NO AUTHENTICATE fails"
FAILED = "AUTHENTICATE PLAIN failed"


class Guard:
    """Blocks of both logs, as they come."""

    def __init__(self) -> None:
        self.scanner, self.joined = Scanner(PARSERS), Joined(PARSERS)
        self.positions = {LINES: 0, DIALOGUE: 0}
        self.now = NOW
        self.found: list[Event] = []

    def reads(self, log: str, *lines: str) -> None:
        data = bytearray(("\n".join(lines) + "\n").encode())
        block = Block(log, data, 0, len(data), self.positions[log], self.now, True, timezone="UTC")
        self.positions[log] += len(data)
        self.joined.now = self.now
        self.found += self.joined.join(self.scanner.scan(block))

    def waits(self, seconds: float = WAIT + 0.1) -> list[Told]:
        self.now += seconds
        self.found += self.joined.release(self.now)
        told, self.found = self.found, []
        return [
            (
                one.kind, format_address(one.source) if one.source else "-", one.fields.get("user", ""),
                one.may_ban,
            )
            for one in told
        ]  # fmt: skip

    def proves(self) -> None:
        """The dialogue shows that it tells what the lines tell."""
        for second in range(3):
            self.reads(DIALOGUE, talk(second, 0x1000_0000 + second, "a LOGIN sato x", "a NO LOGIN fails"))
            self.reads(LINES, line(second, "192.0.2.1", "LOGIN sato **** failed", "sato"))
        assert [one[1] for one in self.waits()] == ["192.0.2.1"] * 3


@pytest.mark.parametrize("first", [LINES, DIALOGUE])
def test_a_failed_authenticate_gets_its_name(first: str) -> None:
    """imap4log has `-` there."""
    guard = Guard()
    blocks = {LINES: line(10, "203.0.113.9", FAILED), DIALOGUE: talk(10, 0x347C89C8, plain("sato"), NO)}
    for log in (first, *(other for other in blocks if other != first)):
        guard.reads(log, blocks[log])
    assert guard.waits() == [("auth_failure", "203.0.113.9", "sato", True)]


def test_two_names_in_one_second_are_nobodys() -> None:
    """Which of two addresses tried which of two accounts is not known; that two tried is."""
    guard = Guard()
    guard.reads(LINES, line(10, "203.0.113.9", FAILED), line(10, "203.0.113.8", FAILED))
    guard.reads(DIALOGUE, talk(10, 0x10000000, plain("sato"), NO), talk(11, 0x20000000, plain("ito"), NO))
    assert guard.waits() == [
        ("auth_failure", "203.0.113.9", "", True),
        ("auth_failure", "203.0.113.8", "", True),
    ]
    guard.reads(LINES, line(20, "203.0.113.9", FAILED), line(20, "203.0.113.8", FAILED))
    guard.reads(DIALOGUE, talk(20, 0x10000000, plain("sato"), NO), talk(21, 0x20000000, plain("sato"), NO))
    assert [one[2] for one in guard.waits()] == ["sato", "sato"], "the same name, whichever it was"


def test_a_session_that_is_not_followed_may_have_been_it() -> None:
    """Somebody speaks whose beginning was not seen: no name is certain."""
    guard = Guard()
    guard.reads(DIALOGUE, talk(10, 0x10000000, plain("sato"), NO))
    guard.reads(DIALOGUE, talk(10, 0x20000000, "+ x", greeting=False))
    guard.reads(LINES, line(10, "203.0.113.9", FAILED))
    assert guard.waits() == [("auth_failure", "203.0.113.9", "", True)]


def test_without_the_lines_acts_count_by_account() -> None:
    """imap4log is switched off: laid to nobody."""
    guard = Guard()
    for second in range(5):
        guard.reads(DIALOGUE, talk(second, 0x10000000, "a LOGIN sato x", "a NO LOGIN fails"))
    assert guard.waits() == [("auth_failure", "-", "sato", False)] * 5


def test_without_the_dialogue_lines_count_at_once() -> None:
    """receiveimap4 has said nothing since the server was first met, ten minutes ago."""
    guard = Guard()
    guard.reads(LINES, line(1, "203.0.113.9", "LOGIN sato **** failed", "sato"))
    guard.waits()
    late = line(1, "203.0.113.9", "LOGIN sato **** failed", "sato").replace("00:01", "00:12")
    guard.reads(LINES, late)
    assert guard.waits(0.0) == [("auth_failure", "203.0.113.9", "sato", True)]


FORGED = line(20, "198.51.100.10", "LOGIN mori **** failed", "mori")


def test_a_line_that_the_dialogue_refutes_bans_nobody() -> None:
    """Whoever could write lines into imap4log: what nobody said there is laid to nobody for good."""
    guard = Guard()
    guard.proves()
    guard.reads(LINES, FORGED)
    guard.reads(DIALOGUE, talk(20, 0x10000000, "a LOGIN ito x", "a NO LOGIN fails"))
    guard.reads(LINES, line(20, "203.0.113.9", "LOGIN ito **** failed", "ito"))
    told = guard.waits()
    assert ("auth_failure", "198.51.100.10", "mori", False) in told
    assert ("auth_failure", "203.0.113.9", "ito", True) in told


def test_a_build_that_lets_line_ends_into_names_frames_nobody() -> None:
    """No such build is known. Every line that such a name makes in imap4log is refuted, also the first; the
    name stands before the address there. A client that spoils its own name so that it cannot be read is not
    let off, and lets only as many lines pass as it tried."""
    guard = Guard()
    guard.proves()
    head = "mori from 198.51.100.10 LOGIN mori **** failed"
    name = f"{head}\n{FORGED}\n[12/Dec/2026:00:01:20] mori from 198.51.100.10 LOGIN mori"
    whole = f"[12/Dec/2026:00:01:20] {name} from 203.0.113.9 LOGIN {name} **** failed"
    lines = name.replace("\n", "\r\n")
    said = talk(20, 0x10000000, f"a LOGIN {{{len(name)}}}", "+ go on", f"{lines} x", "a NO LOGIN fails")
    for first, second in ((LINES, DIALOGUE), (DIALOGUE, LINES)):
        guard.reads(first, whole if first == LINES else said)
        guard.reads(second, whole if second == LINES else said)
        told = guard.waits()
        assert len([one for one in told if one[1] == "198.51.100.10"]) >= 3
        assert not [one for one in told if one[1] == "198.51.100.10" and one[3]]
    odd = 'a LOGIN "i\\\\t\\"o" x'
    guard.reads(DIALOGUE, talk(30, 0x10000000, odd, "a NO LOGIN fails"))
    guard.reads(LINES, line(30, "203.0.113.9", 'LOGIN i\\t\\"o **** failed', 'i\\t\\"o'))
    assert guard.waits() == [("auth_failure", "203.0.113.9", 'i\\t\\"o', True)]
    guard.reads(DIALOGUE, talk(40, 0x10000000, 'a LOGIN "ito x', "a NO LOGIN fails"))
    guard.reads(LINES, line(40, "203.0.113.9", 'LOGIN "ito **** failed', '"ito'))
    assert guard.waits() == [("auth_failure", "203.0.113.9", '"ito', True)]


def test_a_dialogue_that_has_proved_nothing_refutes_nothing() -> None:
    """Another build may say NO in other words, and a log that lags behind has not come so far."""
    guard = Guard()
    guard.reads(DIALOGUE, talk(20, 0x10000000, "a LOGIN mori x", "a LOGIN refused"))
    guard.reads(LINES, FORGED)
    assert guard.waits() == [("auth_failure", "198.51.100.10", "mori", True)]
    guard = Guard()
    guard.proves()
    guard.reads(LINES, FORGED)
    assert guard.waits() == [("auth_failure", "198.51.100.10", "mori", True)], "read up to second 2 only"


def test_another_servers_dialogue_says_nothing() -> None:
    """Two servers in one share."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    joined.now = NOW
    events: list[Event] = []
    for log, text in (
        (LINES, line(10, "203.0.113.9", FAILED)),
        (DIALOGUE.replace("MAIL1", "MAIL2"), talk(10, 0x10000000, plain("sato"), NO)),
    ):
        data = bytearray(text.encode() + b"\n")
        events += joined.join(scanner.scan(Block(log, data, 0, len(data), 0, NOW, True, timezone="UTC")))
    events += joined.release(NOW + WAIT)
    assert [(one.source is None, one.fields.get("user", "")) for one in events] == [
        (False, ""), (True, "sato"),
    ]  # fmt: skip


def test_what_waits_survives_a_restart() -> None:
    """A line before it, its act behind it."""
    guard = Guard()
    guard.reads(LINES, line(10, "203.0.113.9", FAILED))
    rows = [(key, value) for key, value in guard.joined.snapshot(True) if value is not None]
    guard.joined = Joined(PARSERS)
    guard.joined.restore(rows)
    guard.reads(DIALOGUE, talk(10, 0x10000000, plain("sato"), NO))
    assert guard.waits() == [("auth_failure", "203.0.113.9", "sato", True)]


def test_a_flood_is_bounded() -> None:
    """Of what waits, the oldest counts first."""
    guard = Guard()
    guard.reads(LINES, *(line(10, "203.0.113.9", f"LOGIN u{n} **** failed", f"u{n}") for n in range(10_050)))
    assert len(guard.found) == 50
    assert len(guard.waits()) == 10_050


def test_more_acts_than_can_wait() -> None:
    """Thousands of passwords within seconds: what has waited longest is told, one act after the other."""
    guard = Guard()
    guard.proves()
    guard.now += 10
    tries = [talk(10, 0x2000_0000 + at, *[plain(f"u{at}"), NO] * 100) for at in range(105)]
    guard.reads(DIALOGUE, *tries[:50])
    guard.now += 0.5
    guard.reads(LINES, line(10, "192.0.2.9", FAILED))  # each of those acts may be this line's
    guard.reads(DIALOGUE, *tries[50:])
    told = guard.waits(10)
    assert [one[1] for one in told if one[1] != "-"] == ["192.0.2.9"]
    assert len(told) == 10_500
