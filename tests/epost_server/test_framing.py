"""Whatever a client sends to the stand-in for the server, no event that could ban is laid to anybody else,
however the log is cut into readings."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.clock import ManualClock
from mailguard.core.joined import WAIT, Joined
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parsers
from mailguard.model import Block, Event
from mailguard.notation import parse_address
from tests.epost_server.options import Options
from tests.epost_server.server import Server

BEGIN = 1_791_129_600.0
OFFICE, ATTACKER = "198.51.100.10", "203.0.113.9"
PARSERS = load_parsers(["epost-acceptlog", "epost-inlog", "epost-receivelog"])
STAMP = b"[05/Oct/2026:01:00:00]"
HERE = OFFICE.encode()
RECORD = b", (example.jp), %b[%b], AUTH-LOGIN:admin [failed],<B0000000000>,abort" % (HERE, HERE)
PIECES = st.sampled_from((
    b"\n", b"\r\n", b"\r", b"x", b" ", b",", b"a@example.net", b"\x83\x5c", b"\xff",
    STAMP + b", (example.jp), ", b"%b[%b], " % (HERE, HERE), b"[%b]:25, Client accept now." % HERE,
    b"AUTH-LOGIN:admin", b" [failed]", b" [success]", b"It was in the ORDB IP.",
    b",<B0000000000>,abort", b",<B0000097586>,ok", STAMP + RECORD,
    b"<B0000097403@example.jp> " + STAMP + b" " + HERE + b" pc a@example.jp b@example.jp",
))  # fmt: skip
TEXTS = st.lists(PIECES | st.binary(max_size=4), max_size=12).map(b"".join)
LINES = TEXTS.map(lambda text: text.replace(b"\n", b""))


@st.composite
def sessions(draw: st.DrawFn) -> list[bytes]:
    """What one client sends."""
    lines = [b"EHLO " + draw(LINES)]
    for _ in range(draw(st.integers(1, 4))):
        name, way = draw(TEXTS), draw(st.sampled_from(("login", "plain", "mail", "raw")))
        if way == "login":
            lines += [b"AUTH LOGIN", base64.b64encode(name), base64.b64encode(draw(TEXTS))]
        elif way == "plain":
            lines += [b"AUTH PLAIN " + base64.b64encode(b"\0" + name + b"\0x")]
        elif way == "mail":
            lines += [b"MAIL FROM:<" + draw(LINES) + b">", b"RCPT TO:<" + draw(LINES) + b">"]
        else:
            lines += [draw(LINES)]
    return lines


@given(
    st.lists(sessions(), min_size=1, max_size=6),
    st.sampled_from((frozenset({"acceptlog"}), frozenset({"acceptlog", "inlog", "receivelog"}))),
    st.booleans(),
    st.sampled_from((b"\n", b"\r\n")),
    st.lists(st.integers(0, 4000), max_size=6),
)
@settings(max_examples=120, deadline=None)
def test_nobody_else_is_laid_anything(
    played: list[list[bytes]], logs: frozenset[str], compiled: bool, end: bytes, cuts: list[int]
) -> None:
    """Blocks end anywhere, also inside of a record, and the guard is restarted between any two."""
    native = None if compiled else False
    scanner, joined = Scanner(PARSERS, native=native), Joined(PARSERS, native=native)
    clock = ManualClock(BEGIN)
    told: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        options = Options(accounts={"sato": "x"}, logs=logs, line_end=end)
        server = Server(Path(folder) / "spool", Path(folder) / "program", clock, options)
        read: dict[str, int] = {}
        for lines in played:
            clock.set(clock.now() + 20)
            session = server.smtp(ATTACKER, 25)
            for line in lines:
                if session.open:
                    session.send(line)
            session.hang_up()
            for log in sorted(logs):
                path = server.logs.path(log, clock.now())
                data = path.read_bytes() if path.exists() else b""
                place = read.get(log, 0)
                fresh, read[log] = data[place:], len(data)
                for piece in pieces(fresh, cuts):
                    now = clock.now()
                    joined.now = now
                    block = Block(
                        str(path), bytearray(piece), 0, len(piece), place, now, True, timezone="Asia/Tokyo"
                    )
                    place += len(piece)
                    found = scanner.scan(block)
                    rows = [(key, value) for key, value in joined.snapshot(True) if value is not None]
                    joined = Joined(PARSERS, native=native)
                    joined.restore(rows)
                    joined.now = now
                    told += joined.join(found)
                    clock.set(now + 0.01)
            told += joined.release(clock.now() + WAIT)
        server.close()
    office = parse_address(OFFICE)
    assert [one for one in told if one.source == office and one.may_ban] == []
    assert {one.source for one in told if one.may_ban} <= {parse_address(ATTACKER), None}


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Whole lines, cut after the first line end behind each of `cuts`."""
    ends = sorted({data.find(b"\n", cut) + 1 for cut in cuts} - {0} | {len(data)})
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False) if a < b]
