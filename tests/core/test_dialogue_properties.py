"""Random clients, honest and hostile, against the stand-in for the server; its log read back.

The truth is what the server answered to whom. No event may be laid to anybody else, and in a whole log no
failure may be missed, whatever the clients send and wherever the log is cut into blocks.
"""

from __future__ import annotations

import base64
import tempfile
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.clock import ManualClock
from mailguard.core.dialogue import Reader
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block, Event
from mailguard.notation import format_address
from tests.epost_server import Options, Server, Session

PARSER = load_parser(Path(__file__).resolve().parents[2] / "parsers" / "epost-receivelog.toml")
VICTIM = "203.0.113.99"
ENDS = ("CloseClient Started.:SOCKET.C", "closesocket():SOCKET.C")
GREETING = "220 example.jp E-POST ESMTP Receiver (4.90) ..."
#: What a client sends to be taken for the server, for somebody else, or for nobody.
HOSTILE = (
    f"250 example.jp Hello [{VICTIM}], pleased to meet you",
    f"250-example.jp Hello [{VICTIM}], pleased to meet you",
    "535 5.7.0 Authentication failed.",
    "235 2.0.0 Authentication successful.",
    "334 dXNlcm5hbWU6",
    "354 Start mail; id <B0000000001@example.jp> end with <CRLF>.<CRLF>",
    "250 2.0.0 Message received ok.",
    "550 5.1.1 <x@example.jp> ... User unknown.",
    '500 5.5.2 command unrecognized: "x"',
    '500 5.5.2 command unrecognized: "220 example.jp"',
    "503 5.0.0 Need EHLO before AUTH",
    "221 2.0.0 example.jp closing connection",
    GREETING,
    "220 ",
    "CloseClient Started.:SOCKET.C",
    "closesocket():SOCKET.C",
    "get_reply() SOCKET_ERROR OTHER CODE=0",
    "read() SOCKET_ERROR WSAECONNRESET=10054",
    "send() SOCKET_ERROR",
    "_spawnl() 'Reject (SPF).'",
    f"reject address = [{VICTIM}]",
    "Query_FILTER_RBL(x)=found list",
    f"[12/Dec/2026:00:01:49], 347c89c8, 250 example.jp Hello [{VICTIM}], pleased to meet you",
    "[12/Dec/2026:00:01:49], 347c89c8, closesocket():SOCKET.C",
    "\r535 5.7.0 Authentication failed.",
    "",
    ".",
    "*",
    "EHLO",
    "HELO x",
    "AUTH LOGIN",
    "AUTH",
    "QUITE",
    "DATA",
    "\udc83\udcff",
)
#: Replies that make events: what they begin with behind the code, the client's word, the kind.
TOLD = (
    ("Authentication failed.", "auth_failure"),
    ("The client wanted to cancel authentication.", "auth_failure"),
    ("Authentication successful.", "auth_success"),
    ("Message received ok.", "mail_accepted"),
    ("Cannot VRFY user", "address_probe"),
    ("I don't allow unauthorized relaying", "relay_denied"),
    ("Need AUTH before MAIL", "policy_reject"),
)
KINDS = {kind for _, kind in TOLD} | {"unknown_recipient"}

lines = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=40),
    st.builds(
        "{}{}".format, st.sampled_from(HOSTILE), st.text(st.characters(codec="ascii", min_codepoint=32))
    ),
)
volleys = st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=6).map("\n".join)
acts = st.one_of(
    st.tuples(st.just("volley"), volleys),
    st.tuples(st.just("ehlo"), st.just("")),
    st.tuples(st.just("say"), lines),
    st.tuples(st.just("say"), lines),
    st.tuples(st.just("login"), lines),
    st.tuples(st.just("guess"), lines),
    st.tuples(st.just("guess"), lines),
    st.tuples(st.just("harvest"), lines),
    st.tuples(st.just("post"), lines),
    st.tuples(st.just("spoof"), lines),
    st.tuples(st.just("plain"), st.sampled_from(["", "sato", "x"])),
    st.tuples(st.just("right"), st.just("")),
    st.tuples(st.just("mail"), st.sampled_from(["<>", "<a@example.net>", "<sato@example.jp>", "x"])),
    st.tuples(st.just("rcpt"), st.sampled_from(["<sato@example.jp>", "<no@example.jp>", "<b@example.org>"])),
    st.tuples(st.just("message"), lines),
    st.tuples(st.just("vrfy"), st.just("sato")),
    st.tuples(st.just("quit"), st.just("")),
    st.tuples(st.just("leave"), st.just("")),
    st.tuples(st.just("reset"), st.just("")),
)
script = st.lists(st.tuples(st.integers(0, 3), acts), max_size=60)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Play:
    """Clients with an address each, and what the server answered to them."""

    def __init__(self, spool: Path, options: Options, ends: Container[int] | None = None):
        self.ends = ends
        self.traced = 0
        self.clock = ManualClock(1_797_000_000.0)
        self.server = Server(spool / "spool", spool / "program", self.clock, options)
        self.sessions: dict[int, Session] = {}
        self.truth: Counter[tuple[str, str]] = Counter()
        self.greeted: dict[int, bool] = {}

    def send(self, who: int, line: str) -> list[str]:
        session = self.sessions.get(who)
        if session is None or not session.open:
            session = self.sessions[who] = self.server.smtp(f"198.51.100.{who + 1}")
            self.greeted[who] = False
            session.trace = self.traced_by(session.trace)  # type: ignore[assignment]
            if not session.open:
                return []
        self.clock.set(self.clock.now() + 0.3)
        said = session.send(line)
        address = session.address
        for reply in said[:1]:
            if "Hello [" in reply and reply.startswith("250"):
                self.greeted[who] = True
            for words, kind in TOLD:
                if words in reply and reply[:1] in "2345" and "unrecognized" not in reply:
                    self.truth[address, kind] += self.greeted[who]
            if "... User unknown." in reply and reply.startswith("550") and "unrecognized" not in reply:
                self.truth[address, "unknown_recipient"] += self.greeted[who]
        return said

    def traced_by(self, trace: Callable[[str | bytes], None]) -> Callable[[str | bytes], None]:
        """`trace`, which leaves ends of sessions out but for those that were asked for."""

        def write(text: str | bytes) -> None:
            if text in ENDS and self.ends is not None:
                self.traced += 1
                if self.traced not in self.ends:
                    return
            trace(text)

        return write

    def act(self, who: int, what: str, text: str) -> None:
        if what == "ehlo":
            self.send(who, "EHLO pc")
        elif what == "say":
            self.send(who, text)
        elif what == "volley":
            self.act(who, "ehlo", "")
            for line in text.split("\n"):
                self.send(who, line)
            self.act(who, "login", "x")
        elif what == "login":
            if self.send(who, "AUTH LOGIN")[:1] and self.sessions[who].open:
                self.send(who, encoded("sato"))
                if self.sessions[who].open:
                    self.send(who, text)
        elif what == "guess":
            self.act(who, "ehlo", "")
            self.act(who, "login", text)
        elif what == "harvest":
            for line in (
                "EHLO pc",
                "MAIL FROM:<>",
                text,
                "RCPT TO:<no@example.jp>",
                "RCPT TO:<b@example.org>",
            ):
                self.send(who, line)
        elif what == "post":
            for line in ("EHLO pc", "MAIL FROM:<a@example.net>", "RCPT TO:<sato@example.jp>"):
                self.send(who, line)
            self.act(who, "message", text)
        elif what == "spoof":
            for line in ("EHLO pc", text, "MAIL FROM:<sato@example.jp>"):
                self.send(who, line)
        elif what == "plain":
            self.send(who, "AUTH PLAIN " + encoded(f"\0{text}\0wrong"))
        elif what == "right":
            self.send(who, "EHLO pc")
            self.send(who, "AUTH PLAIN " + encoded("\0sato\0secret"))
        elif what == "mail":
            self.send(who, f"MAIL FROM:{text}")
        elif what == "rcpt":
            self.send(who, f"RCPT TO:{text}")
        elif what == "vrfy":
            self.send(who, f"VRFY {text}")
        elif what == "message":
            if self.send(who, "DATA")[:1] and self.sessions[who].open:
                for line in (text, "Subject: x", "."):
                    if self.sessions[who].open:
                        self.send(who, line)
        elif what == "quit":
            self.send(who, "QUIT")
        elif who in self.sessions and self.sessions[who].open:
            if what == "leave":
                self.sessions[who].hang_up()
            else:
                self.sessions[who].reset()

    def log(self) -> bytes:
        for session in self.sessions.values():
            if session.open:
                session.hang_up()
        self.server.close()
        folder = self.server.logs.folder("receivelog")
        return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def read(data: bytes, cuts: list[int]) -> list[Event]:
    """The events of a log that comes in pieces of whole lines."""
    reader = Reader([PARSER])
    found: list[Event] = []
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        stop = data.rfind(b"\n", 0, cut) + 1
        if stop > at:
            piece = bytearray(data[at:stop])
            block = Block(
                "receivelog", piece, 0, len(piece), at, 1_797_100_000.0, False, timezone="Asia/Tokyo"
            )
            found += [one for one in reader.scan(block) if isinstance(one, Event)]
            at = stop
    return found


def told(events: list[Event]) -> Counter[tuple[str, str]]:
    assert VICTIM not in {format_address(one.source) for one in events if one.source is not None}
    return Counter(
        (format_address(one.source), one.kind)
        for one in events
        if one.source is not None and one.kind in KINDS
    )


OPTIONS = st.builds(
    Options,
    accounts=st.just({"sato": "secret"}),
    own_ends=st.sampled_from(["none", "multi", "all"]),
    line_end=st.sampled_from([b"\r\n", b"\n"]),
    codes=st.booleans(),
    auth_lock_out=st.sampled_from([0, 2]),
    auth_lock_out_time=st.just(1),
)
slow = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def play(
    script: list[tuple[int, tuple[str, str]]], options: Options, ends: Container[int] | None = None
) -> tuple[bytes, Counter[tuple[str, str]]]:
    """The log of these acts, and what is true of them. `ends`: ends of sessions that are logged."""
    with tempfile.TemporaryDirectory() as folder:
        one = Play(Path(folder), options, ends)
        for who, (what, text) in script:
            one.act(who, what, text)
        return one.log(), one.truth


@slow
@given(script, OPTIONS, st.lists(st.integers(0, 20_000), max_size=6))
def test_every_event_is_told_once_and_of_the_true_client(
    script: list[tuple[int, tuple[str, str]]], options: Options, cuts: list[int]
) -> None:
    """A log that is whole: exactly the server's answers, whatever the clients sent, wherever it is cut."""
    data, truth = play(script, options)
    assert told(read(data, cuts)) == +truth


@slow
@given(script, OPTIONS)
def test_logged_messages_are_no_dialogue(script: list[tuple[int, tuple[str, str]]], options: Options) -> None:
    """Where the lines of messages are logged too, which the first message shows, they tell nothing."""
    honest = [
        (9, ("ehlo", "")),
        (9, ("mail", "<>")),
        (9, ("rcpt", "<sato@example.jp>")),
        (9, ("message", "hi")),
    ]
    data, truth = play(honest + script, replace(options, log_data=True))
    found = told(read(data, []))
    assert not found - truth
    assert VICTIM not in {address for address, _ in found}


@slow
@given(script, OPTIONS, st.integers(0, 4000))
def test_a_log_that_begins_in_the_middle_accuses_nobody_falsely(
    script: list[tuple[int, tuple[str, str]]], options: Options, at: int
) -> None:
    """Of a session whose beginning is missing nothing is told."""
    data, truth = play(script, options)
    cut = data.find(b"\n", at) + 1
    assert not told(read(data[cut:], [])) - truth


@slow
@given(script, OPTIONS, st.sets(st.integers(0, 12)))
def test_missing_ends_accuse_nobody_falsely(
    script: list[tuple[int, tuple[str, str]]], options: Options, kept: set[int]
) -> None:
    """Where the ends of sessions are not logged, contexts begin anew all the same. (What a client sends that
    looks like an end is logged, as all it sends.)"""
    data, truth = play(script, options, ends=kept)
    assert not told(read(data, [])) - truth
