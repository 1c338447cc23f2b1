"""Dialogue logs: what is kept of them, for how long, and what a log tells that is not whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard.core.dialogue import Reader
from mailguard.core.dialogue_claims import Claims, is_spoken
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block, Event
from mailguard.notation import format_address

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("acceptlog", "receivelog", "receiveimap4", "imap4log")
PARSERS = {name: load_parser(ROOT / "parsers" / f"epost-{name}.toml") for name in NAMES}
RECEIVE = PARSERS["receivelog"]
LOG = "/spool/receivelog/MAIL1"
HELLO = (
    "220 example.jp E-POST ESMTP Receiver (4.90) ...",
    "EHLO pc",
    "250-example.jp Hello [203.0.113.9], pleased to meet you",
)
GUESS = ("AUTH LOGIN", "334 dXNlcm5hbWU6", "YWRtaW4=", "334 UGFzc3dvcmQ6", "c2VjcmV0")
FAILED = "535 5.7.0 Authentication failed."
END = ("CloseClient Started.:SOCKET.C", "closesocket():SOCKET.C")


def lines(*texts: str, context: str = "347c89c8", stamp: str = "12/Dec/2026:10:00:00") -> bytes:
    return "".join(f"[{stamp}], {context}, {text}\r\n" for text in texts).encode()


def block(data: bytes, position: int = 0, log: str = LOG, **more: object) -> Block:
    return Block(log, bytearray(data), 0, len(data), position, 1_797_100_000.0, False, timezone="UTC", **more)  # type: ignore[arg-type]


def events(reader: Reader, data: bytes, position: int = 0, log: str = LOG) -> list[str]:
    found = reader.scan(block(data, position, log))
    return [
        f"{one.kind} {format_address(one.source)}"
        for one in found
        if isinstance(one, Event) and one.source is not None and one.kind != "disconnect"
    ]


def test_a_session_survives_a_restart_at_any_line() -> None:
    """Whatever line the guard stops after, the failure is told once, with its name."""
    whole = [*HELLO, *GUESS, FAILED, *END]
    for stop in range(len(whole) + 1):
        before, behind = lines(*whole[:stop]), lines(*whole[stop:])
        one, two = Reader([RECEIVE]), Reader([RECEIVE])
        told = events(one, before) if before else []
        two.restore((key, value) for key, value in one.snapshot(True) if value is not None)
        told += events(two, behind, len(before)) if behind else []
        assert told == ["auth_failure 203.0.113.9"], stop


def test_a_checkpoint_tells_what_changed() -> None:
    """Rows of the sessions that had a line since; closed ones are gone."""
    reader = Reader([RECEIVE])
    events(reader, lines(*HELLO))
    (row,) = reader.snapshot()
    assert row[1] is not None
    assert list(reader.snapshot()) == []
    assert len(list(reader.snapshot(True))) == 1
    events(reader, lines(*END), len(lines(*HELLO)))
    assert [value for _, value in reader.snapshot()] == [None]


def test_a_gap_in_the_log_ends_all_certainty() -> None:
    """Bytes that nobody read: what goes on behind them is laid to nobody."""
    reader = Reader([RECEIVE])
    before = lines(*HELLO, *GUESS[:2])
    events(reader, before)
    assert events(reader, lines(*GUESS[2:], FAILED), len(before) + 100) == []


def test_a_line_that_was_cut_is_no_gap() -> None:
    """A client cannot end its session by a line longer than is kept."""
    reader = Reader([RECEIVE])
    before = lines(*HELLO, "X" * 8000)
    start = before.rfind(b"[12/Dec")
    reader.scan(block(before, cuts=(start,)))
    rest = lines('500 5.5.2 command unrecognized: "X', *GUESS, FAILED)
    assert events(reader, rest, len(before) + 5000)[-1] == "auth_failure 203.0.113.9"


def test_sessions_that_never_close_are_forgotten() -> None:
    """At most the declared number of contexts is kept, and none beyond its lifetime."""
    reader = Reader([RECEIVE])
    position = 0
    for number in range(25_000):
        data = lines(*HELLO, context=f"{0x10000000 + 64 * number:08x}")
        reader.scan(block(data, position))
        position += len(data)
    assert len(reader) <= 20_000
    assert reader.evicted > 0
    late = lines(*GUESS, FAILED, context=f"{0x10000000 + 64 * 24_999:08x}", stamp="12/Dec/2026:11:00:01")
    assert events(reader, late, position) == []


def test_the_day_changes_in_a_session() -> None:
    """In one followed folder, and over the files of a replay."""
    evening, morning = lines(*HELLO, stamp="11/Dec/2026:23:59:58"), lines(*GUESS, FAILED)
    reader = Reader([RECEIVE])
    events(reader, evening, 1 << 40)
    assert events(reader, lines(*GUESS, FAILED, stamp="12/Dec/2026:00:00:03"), 2 << 40) == [
        "auth_failure 203.0.113.9"
    ]
    reader = Reader([RECEIVE])
    events(reader, evening, log="/spool/receivelog/261211.log")
    next_day = lines(*GUESS, FAILED, stamp="12/Dec/2026:00:00:03")
    assert events(reader, next_day, log="/spool/receivelog/261212.log") == ["auth_failure 203.0.113.9"]
    reader = Reader([RECEIVE])
    events(reader, evening, log="/spool/receivelog/261211.log")
    assert events(reader, morning, log="/spool/receivelog/261212.log") == [], "ten hours later"


def test_nobody_else_reads_a_dialogue_log() -> None:
    """A line of another log that a client writes into it makes no event there, whoever is loaded."""
    forged = (
        b"[12/Dec/2026:10:00:00], (example.jp), 203.0.113.99[203.0.113.99], AUTH-LOGIN:x [failed],,abort\r\n"
        b"[12/Dec/2026:10:00:00] x from 203.0.113.99 LOGIN x **** failed\r\n"
    )
    for log in (LOG, "unnamed.log"):
        scanner = Scanner(PARSERS.values())
        found = scanner.scan(block(lines(*HELLO) + forged + lines(*GUESS, FAILED), log=log))
        told = [one for one in found if isinstance(one, Event)]
        assert [one.rule for one in told] == ["epost-receivelog/auth-failed"]


def test_other_logs_stay_with_their_parsers() -> None:
    """A client cannot turn another log into a dialogue, whatever it is called."""
    line = b"[12/Dec/2026:10:00:00], (example.jp), 203.0.113.9[203.0.113.9], AUTH-LOGIN:x [failed],,abort\r\n"
    for log in ("/spool/acceptlog/MAIL1", "unnamed.log"):
        scanner = Scanner(PARSERS.values())
        (one,) = scanner.scan(block(line + lines(*HELLO), log=log))
        assert isinstance(one, Event)
        assert one.rule == "epost-acceptlog/auth-failed"
    assert is_spoken(line) is False
    assert is_spoken(lines(*HELLO)) is True
    assert is_spoken(b"250-SIZE 20971520\r\n") is None


def test_a_log_of_another_kind_is_asked_about_only_so_often() -> None:
    """Sixteen large blocks without one stamp at a line's beginning settle it, or as many bytes in small ones;
    fifteen do not."""
    one = b"Nov 22 09:05:07 mail1 postfix/smtpd[202]: connect from unknown[192.0.2.7]\n"
    for other, most in ((one * 300, 16), (one * 13, 16 * 16384 // (13 * len(one)) + 1)):
        for before, claimed in ((most - 1, True), (most, False)):
            claims = Claims([RECEIVE])
            for number in range(before):
                assert not claims.claims(block(other, number * len(other), "/var/log/any"))
            hello = block(lines(*HELLO), before * len(other), "/var/log/any")
            assert claims.settled(hello) is not claimed
            assert claims.claims(hello) is claimed
            assert not claims.settled(hello) or not claimed


@pytest.mark.parametrize("wide", [False, True])
def test_refused_connections_of_imap(wide: bool) -> None:
    """The trace counts when a greeting follows in its context, and not when the server answers it."""
    context = "7f3a347c89c8" if wide else "347c89c8"
    reader = Reader([PARSERS["receiveimap4"]])
    refused = lines("reject address = [203.0.113.9]", "* OK example.jp ready", context=context)
    log = "/spool/receiveimap4/MAIL1"
    assert events(reader, refused, log=log) == ["locked_out 203.0.113.9"]
    sent = lines("reject address = [203.0.113.99]", "reject BAD illegal argument", context=context)
    assert events(reader, sent, len(refused), log) == []


def test_single_lines_are_explained_without_their_text() -> None:
    """`explain` joins lines that come one after the other and shows none of them."""
    scanner = Scanner([RECEIVE])
    told = [
        scanner.explain(line, 1_797_100_000.0)
        for line in lines(*HELLO, *GUESS, FAILED).splitlines(keepends=True)
    ]
    assert told[-1].item is not None
    assert told[-1].rule is not None
    assert told[-1].rule.name == "auth-failed"
    assert all(one.shown == b"[12/Dec/2026:10:00:00], 347c89c8, ..." for one in told)
    assert all(one.message == b"" for one in told)


LIE = "250-example.jp Hello [203.0.113.99], pleased to meet you"
UNKNOWN = '500 5.5.2 command unrecognized: "..."'


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ((*HELLO, "STARTTLS", "220 2.0.0 Ready to start TLS", *HELLO[1:], *GUESS, FAILED), True),
        ((*HELLO, "STARTTLS", "220 2.0.0 Ready to start TLS", *GUESS, FAILED), False),
        ((*HELLO, "STARTTLS", "220 2.0.0 Ready to start TLS", LIE, UNKNOWN, *GUESS, FAILED), False),
        ((*HELLO, "STARTTLS", "220 2.0.0 Ready to start TLS", "EHLO x", UNKNOWN, LIE, *GUESS, FAILED), False),
        ((*HELLO, "STARTTLS", "454 4.7.0 TLS not available", LIE, UNKNOWN, *GUESS, FAILED), True),
        # What was sent in the clear behind STARTTLS, and is taken for sent under TLS.
        ((*HELLO, "STARTTLS", "220 2.0.0 Ready", "220 x", UNKNOWN, LIE, UNKNOWN, *GUESS, FAILED), False),
    ],
)
def test_starttls_frames_nobody(texts: tuple[str, ...], told: bool) -> None:
    """The session begins anew: the address is that of the EHLO after it, never what the client says it is."""
    found = [one for one in events(Reader([RECEIVE]), lines(*texts)) if "auth" in one]
    assert found == ["auth_failure 203.0.113.9"] * told


def test_lines_that_were_logged_before_their_answers() -> None:
    """A build that notes all that a client sent at once, then its own answers: nothing is told wrongly."""
    sent = ("MAIL FROM:<>", "RCPT TO:<a@example.jp>", LIE, "AUTH PLAIN AGEAYQ==", "QUIT")
    said = ("250 2.0.0 ok", "550 5.1.1 <a@example.jp> ... User unknown.", UNKNOWN, FAILED, "221 2.0.0 bye")
    reader = Reader([RECEIVE])
    before = lines(*HELLO, *sent, *said, *END)
    assert all("203.0.113.9" in one.split() for one in events(reader, before))
    assert events(reader, lines(*HELLO, *GUESS, FAILED), len(before)) == ["auth_failure 203.0.113.9"]


@pytest.mark.parametrize("log", ["receiveimap4", "receivepop3"])
def test_a_session_without_addresses_survives_a_restart(log: str) -> None:
    """Whatever line the guard stops after, the failure is told once, with its name."""
    parser = load_parser(ROOT / "parsers" / f"epost-{log}.toml")
    if log == "receiveimap4":
        whole = ["* OK ready", "a CAPABILITY", "* CAPABILITY x", "a OK done", "b AUTHENTICATE PLAIN", "+ ",
                 "AHNhdG8AeA==", "b NO AUTHENTICATE fails", *END]  # fmt: skip
    else:
        whole = [
            "+OK POP3 server ready",
            "CAPA",
            "+OK",
            "USER",
            "UIDL",
            ".",
            "USER sato",
            "+OK",
            "PASS x",
            "-ERR",
            *END,
        ]
    for stop in range(len(whole) + 1):
        before, behind = lines(*whole[:stop]), lines(*whole[stop:])
        one, two = Reader([parser]), Reader([parser])
        told = one.scan(block(before, log=log)) if before else []
        two.restore((key, value) for key, value in one.snapshot(True) if value is not None)
        told += two.scan(block(behind, len(before), log)) if behind else []
        users = [event.fields.get("user") for event in told if isinstance(event, Event)]
        assert users == ["sato"], stop


def test_ten_thousand_open_sessions_of_imap_are_small() -> None:
    """Sessions that never close are bounded there too."""
    parser = load_parser(ROOT / "parsers" / "epost-receiveimap4.toml")
    reader = Reader([parser])
    position = 0
    for number in range(25_000):
        data = lines("* OK ready", "a LOGIN sato x", context=f"{0x10000000 + 64 * number:08x}")
        reader.scan(block(data, position, "receiveimap4"))
        position += len(data)
    assert 10_000 <= len(reader) <= 20_000
    assert reader.evicted > 0
