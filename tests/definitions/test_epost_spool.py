"""A whole spool of E-Post, written by the stand-in for the server and read live by its root alone.

Every log is found in every layout, each act counts once, and what counts is what the server did.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mailguard.clock import ManualClock, SystemClock
from mailguard.core.joined import WAIT, Joined
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parser
from mailguard.feeds.files import FileSource
from mailguard.feeds.interface import EPOST_LOGS, LogOptions
from mailguard.feeds.live import LiveFeed
from mailguard.model import Block, Event
from mailguard.notation import format_address
from tests.epost_server import Options, Server

ROOT = Path(__file__).resolve().parents[2]
PARSERS = [load_parser(path) for path in sorted((ROOT / "parsers").glob("epost-*.toml"))]
BEGIN = 1_797_000_000.0  # 23:40 on 2026-12-11 in Japan: twenty minutes before midnight
OPTIONS = Options(
    accounts={"sato": "right", "tanaka": "right"},
    remote={"example.net": "198.51.100.25 mx.example.net", "example.org": "550 User Unknown"},
)
GUESSER, PARTNER, OFFICE, PROBER = "203.0.113.9", "192.0.2.10", "192.0.2.20", "203.0.113.50"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass
class Spool:
    """A spool, its servers and the guard that reads it."""

    folder: Path
    servers: list[Server] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = ManualClock(BEGIN)
        self.root = self.folder / "spool"
        self.root.mkdir()
        self.scanner, self.joined = Scanner(PARSERS, keep_lines=True), Joined(PARSERS)
        options = LogOptions(
            name="mail", kind="epost", paths=(str(self.root),), start="begin", timezone="Asia/Tokyo"
        )
        self.source = FileSource(options, {}, SystemClock())
        self.feed = LiveFeed([self.source], SystemClock(), watcher="auto", poll_interval=0.02, spacing=0.0)

    def serve(self, options: Options = OPTIONS) -> Server:
        program = self.folder / f"program{len(self.servers)}"
        self.servers.append(Server(self.root, program, self.clock, options))
        return self.servers[-1]

    def step(self, seconds: float) -> None:
        self.clock.set(self.clock.now() + seconds)

    def read(self) -> None:
        """Everything that is there now."""
        self.source.again()
        for path in self.source.follows.values():
            path.refresh()
        while items := self.feed.next(SystemClock().monotonic()):
            for item in items:
                if isinstance(item, Block):
                    self.joined.now = self.clock.now()
                    self.events += self.joined.join(
                        self.scanner.scan(item._replace(arrival=self.clock.now()))
                    )
        self.events += self.joined.release(self.clock.now())

    def end(self) -> None:
        for server in self.servers:
            server.close()
        self.read()
        self.step(WAIT + 1)
        self.read()

    def count(self, kind: str) -> Counter[str]:
        return Counter(
            {
                format_address(one.source) if one.source is not None else "-": 0
                for one in self.events
                if one.kind == kind
            }
        ) + Counter(
            format_address(one.source) if one.source is not None else "-"
            for one in self.events
            if one.kind == kind
        )


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    one = Spool(tmp_path)
    yield one
    one.feed.close()


def guess(spool: Spool, server: Server, times: int) -> None:
    session = server.smtp(GUESSER)
    spool.step(1)
    session.send("EHLO pc")
    for _ in range(times):
        spool.step(4)
        session.send("AUTH LOGIN")
        session.send(encoded("info"))
        session.send(encoded("wrong"))
    spool.read()  # the session is still open: acceptlog has not told its result
    spool.step(1)
    session.hang_up()


def post(spool: Spool, server: Server, address: str, sender: str, to: list[str], login: str = "") -> None:
    session = server.smtp(address)
    session.send("EHLO pc")
    if login:
        session.send("AUTH PLAIN " + encoded(f"\0{login}\0right"))
    spool.step(1)
    session.send(f"MAIL FROM:<{sender}>")
    for one in to:
        session.send(f"RCPT TO:<{one}>")
    session.send("DATA")
    spool.step(5)
    session.send("Subject: x")
    session.send(".")
    session.send("QUIT")
    spool.step(1)
    server.deliver()


def evening(spool: Spool, server: Server) -> None:
    """What one server sees, over midnight, in pieces."""
    for part in range(4):
        guess(spool, server, 3)
        post(spool, server, PARTNER, f"a{part}@example.net", ["sato@example.jp"])
        spool.read()
        post(spool, server, OFFICE, "sato@example.jp", ["b@example.net", "gone@example.org"], "sato")
        session = server.smtp(PROBER)
        session.send("HELO x")
        session.send("VRFY root")
        session.send("MAIL FROM:<>")
        session.send(f"RCPT TO:<nobody{part}@example.jp>")
        session.send("RCPT TO:<x@example.org>")
        session.reset()
        imap = server.imap(GUESSER)
        imap.send(f"a{part} LOGIN tanaka wrong")
        imap.hang_up()
        spool.step(500)
        spool.read()


@pytest.mark.parametrize("computer", ["MAIL1", ""])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("build", [(2026, 6), (2019, 2)])
def test_every_act_counts_once(spool: Spool, computer: str, end: bytes, build: tuple[int, int]) -> None:
    """All logs, found by the root alone, over midnight, in small pieces: what the server did, once."""
    server = spool.serve(replace(OPTIONS, computer=computer, line_end=end, build=build))
    evening(spool, server)
    spool.end()
    assert spool.count("auth_failure") == {GUESSER: 4 * 3 + 4}
    assert spool.count("mail_accepted") == {PARTNER: 4, OFFICE: 4}
    assert spool.count("mail_sent") == {PARTNER: 4, OFFICE: 4}
    assert spool.count("mail_bounced") == {OFFICE: 4}
    assert spool.count("auth_success")[OFFICE] >= 4
    assert spool.count("unknown_recipient") == {PROBER: 4}
    assert spool.count("relay_denied") == {PROBER: 4}
    assert spool.count("address_probe") == {PROBER: 4}
    assert spool.count("session_aborted") == {}
    read = {one.log.removeprefix(str(spool.root)).split("/")[1] for one in spool.events}
    assert read >= {"acceptlog", "inlog", "receivelog", "outlog", "outlocallog", "faillog", "imap4log"}


def test_the_feed_knows_every_log_that_a_parser_reads() -> None:
    """And every log of the server is known to the feed."""
    named = {log for parser in PARSERS for log in parser.logs}
    assert named <= set(EPOST_LOGS)
    assert set(EPOST_LOGS) == named


def test_without_the_dialogue_the_careful_count_stays(spool: Spool) -> None:
    """receivelog is switched off: one failure for each connection, and mail is told by inlog."""
    server = spool.serve(replace(OPTIONS, logs=OPTIONS.logs - {"receivelog"}))
    evening(spool, server)
    spool.end()
    assert spool.count("auth_failure") == {GUESSER: 4 + 4}
    assert spool.count("mail_accepted") == {PARTNER: 4, OFFICE: 4}
    assert spool.count("session_aborted") == {PROBER: 4}


def test_a_log_that_is_switched_off_in_between(spool: Spool) -> None:
    """The folder of receivelog is renamed, which ends it; acceptlog takes over at once."""
    server = spool.serve()
    guess(spool, server, 3)
    spool.read()
    spool.step(60)
    server.close()
    (spool.root / "receivelog").rename(spool.folder / "receivelog-off")
    server.options = server.logs.options = replace(OPTIONS, logs=OPTIONS.logs - {"receivelog"})
    guess(spool, server, 3)
    spool.end()
    assert spool.count("auth_failure") == {GUESSER: 3 + 1}


def test_two_servers_in_one_share(spool: Spool) -> None:
    """Each has its folder below every log; contexts and message ids may be the same in both."""
    one = spool.serve(replace(OPTIONS, computer="MAIL1"))
    other = spool.serve(replace(OPTIONS, computer="MAIL2"))
    for part in range(3):
        for server in (one, other):
            guess(spool, server, 2)
            post(spool, server, PARTNER, f"a{part}@example.net", ["sato@example.jp"])
        spool.read()
    spool.end()
    assert spool.count("auth_failure") == {GUESSER: 2 * 3 * 2}
    assert spool.count("mail_accepted") == {PARTNER: 6}
    assert spool.count("mail_sent") == {PARTNER: 6}


def test_broken_bytes_and_old_encodings(spool: Spool) -> None:
    """Names in CP932 and in nothing at all."""
    server = spool.serve(replace(OPTIONS, line_end=b"\n"))
    for name in (b"\x83\x5c\x95\x5c", b"\xff\xfe", "経理".encode()):
        session = server.smtp(GUESSER)
        session.send(b"EHLO " + name)
        session.send(b"AUTH LOGIN")
        session.send(base64.b64encode(name))
        session.send(b"\xff\xff")
        session.send("QUIT")
    spool.end()
    failed = [one for one in spool.events if one.kind == "auth_failure"]
    names = [one.fields["user"] for one in failed]
    assert (names[0], names[2]) == ("ソ表", "経理")
    assert len(failed) == 3
    assert all(value.isprintable() or " " in value for one in failed for value in one.fields.values())
