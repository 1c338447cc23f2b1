"""Dialogues in which no line tells the client's address: IMAP and POP3. Honest and hostile clients against
the stand-in for the server; what it judged is the truth, by account.
"""

from __future__ import annotations

import base64
import tempfile
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.clock import ManualClock
from mailguard.core.dialogue import Reader
from mailguard.core.joined import Joined
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block, Event
from tests.epost_server import Options, Server, Session

ROOT = Path(__file__).resolve().parents[2]
PARSERS = {
    name: load_parser(ROOT / "parsers" / f"epost-{name}.toml")
    for name in ("receiveimap4", "receivepop3", "imap4log", "pop3log")
}
NOW = 1_797_100_000.0
HOSTILE = (
    "* OK example.jp E-POST IMAP4rev1 Server ready",
    "+OK example.jp E-POST POP3 Server ready",
    "+OK x",
    "-ERR authentication failed",
    "a NO LOGIN fails",
    "a OK LOGIN completed",
    "b BAD illegal argument",
    "LOGIN sato x",
    "LOGIN OK LOGIN completed",
    "+ VXNlcm5hbWU6",
    "+",
    "*",
    ".",
    "",
    "CloseClient Started.:SOCKET.C",
    "closesocket():SOCKET.C",
    "get_reply() SOCKET_ERROR OTHER CODE=0",
    "send() SOCKET_ERROR",
    "reject address = [203.0.113.99]",
    "[12/Dec/2026:00:01:49], 347c89c8, a NO LOGIN fails",
    "a LOGIN",
    "a LOGIN {4}",
    'a LOGIN "sato',
    "a AUTHENTICATE",
    "a AUTHENTICATE XYZ",
    "a CAPABILITY",
    "a SELECT INBOX",
    "USER ito",
    "PASSWORD",
    "AUTH",
    "APOP",
    "LIST",
    "RETR 1",
    "STAT",
    "NOOP",
    "\udc83\udcff",
)
NAMES = ("sato", "ito@example.jp", "nobody", "x y", 'q"q', "表")
lines = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=30),
)
acts = st.one_of(
    st.tuples(st.sampled_from(("say", "say", "auth", "plain")), lines),
    st.tuples(st.sampled_from(("word", "quoted", "login", "right", "cram")), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(("quit", "leave", "reset")), st.just("")),
)
script = st.lists(st.tuples(st.integers(0, 2), acts), max_size=50)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


class Play:
    """Clients of one service; what it judged, by account."""

    def __init__(self, spool: Path, service: str, **options: Any):
        self.clock = ManualClock(1_797_000_000.0)
        self.service = service
        accounts = {"sato": "himitsu", "ito": "himitsu"}
        self.server = Server(
            spool / "spool", spool / "program", self.clock, Options(accounts=accounts, **options)
        )
        self.sessions: dict[int, Session] = {}
        self.truth: Counter[tuple[str, str]] = Counter()

    def session(self, who: int) -> Session:
        session = self.sessions.get(who)
        if session is None or not session.open:
            address = f"198.51.100.{who + 1}"
            session = self.server.imap(address) if self.service == "imap" else self.server.pop3(address)
            self.sessions[who] = session
        return session

    def send(self, who: int, line: str) -> list[str]:
        self.clock.set(self.clock.now() + 0.3)
        return self.session(who).send(line)

    def tries(self, who: int, user: str, said: list[str]) -> None:
        """The server has judged a try of that name."""
        right = "OK LOGIN" in said[-1] or "OK AUTHENTICATE" in said[-1] or "maildrop is ready" in said[-1]
        self.truth["auth_success" if right else "auth_failure", user] += 1

    def act(self, who: int, what: str, text: str) -> None:
        if what in ("quit", "leave", "reset", "say"):
            session = self.session(who)
            if what == "leave":
                session.hang_up()
            elif what == "reset":
                session.reset()
            elif what == "quit":
                self.send(who, "z LOGOUT" if self.service == "imap" else "QUIT")
            else:
                self.send(who, text)
            return
        session = self.session(who)
        if getattr(session, "account", None) is not None:
            session.hang_up()  # who is in tries no more
        for _ in range(3):  # whatever a hostile line has begun is over
            self.send(who, "*")
        password = "himitsu" if what == "right" else "x" if what != "say" else ""
        user = text
        if self.service == "imap":
            if what == "word":
                if '"' in text or " " in text:
                    return
                said = self.send(who, f"c LOGIN {text} {password}")
            elif what in ("quoted", "right", "login"):
                name = text.replace("\\", "\\\\").replace('"', '\\"')
                if '"' in text:
                    return  # the server takes the backslash for a part of the name
                said = self.send(who, f'd LOGIN "{name}" "{password}"')
            else:
                said, user = self.sasl(who, "e AUTHENTICATE ", what, text)
        elif what in ("auth", "plain", "cram"):
            said, user = self.sasl(who, "AUTH ", what, text)
        elif what == "word":
            if " " in text:
                return
            said = self.send(who, f"APOP {text} {'0' * 32}")
        else:
            self.send(who, f"USER {text}")
            said = self.send(who, f"PASS {password}")
        if user.strip():
            self.tries(who, user, said)

    def sasl(self, who: int, head: str, what: str, text: str) -> tuple[list[str], str]:
        if what == "cram":
            self.send(who, head + "CRAM-MD5")
            return self.send(who, encoded(f"{text} {'0' * 32}")), text
        if what == "plain":
            return self.send(who, head + "PLAIN " + encoded(f"\0sato\0{text}x")), "sato"
        self.send(who, head + "PLAIN")
        return self.send(who, encoded(f"\0{text or 'sato'}\0x")), text or "sato"

    def log(self, name: str) -> bytes:
        self.server.close()
        return b"".join(path.read_bytes() for path in sorted((self.server.spool / name).rglob("*.log")))


def block(log: str, data: bytes, position: int = 0) -> Block:
    return Block(log, bytearray(data), 0, len(data), position, NOW, False, timezone="Asia/Tokyo")


def clean(counts: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Without names that are read in another way than the server does: those with characters that steer."""
    return Counter(
        {
            (kind, name.strip()): count
            for (kind, name), count in counts.items()
            if name.isprintable() and name.isascii() and name.strip() == name
        }
    )


def heard(events: list[Any]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for one in events:
        if isinstance(one, Event) and one.kind.startswith("auth_"):
            assert one.source is None
            assert not one.may_ban
            if "user" in one.fields:
                found[one.kind, one.fields["user"]] += 1
    return found


@pytest.mark.parametrize("service", ["imap", "pop"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=script, cut=st.integers(7, 4000), ends=st.sampled_from(["multi", "all", "none"]))
def test_every_try_is_told_once(service: str, script: Any, cut: int, ends: str) -> None:
    """Whatever else clients send, and wherever the log is cut into blocks: each try that the server judged,
    by its account. (Hostile lines may be tries too, of names that they hold.)"""
    with tempfile.TemporaryDirectory() as folder:
        play = Play(Path(folder), service, own_ends=ends)
        for who, (what, text) in script:
            play.act(who, what, text)
        data = play.log("receiveimap4" if service == "imap" else "receivepop3")
    reader = Reader([PARSERS["receiveimap4" if service == "imap" else "receivepop3"]])
    events: list[Any] = []
    start = 0
    while start < len(data):
        stop = data.find(b"\n", min(len(data), start + cut)) + 1 or len(data)
        events += reader.scan(block("/spool/x", data[start:stop], start))
        start = stop
    told, truth = clean(heard(events)), clean(play.truth)
    assert not truth - told


def acts_of(log: str, data: bytes, parsers: list[Any]) -> Counter[tuple[str, str]]:
    """What one log alone tells, by account."""
    found: Counter[tuple[str, str]] = Counter()
    for one in Scanner(parsers).scan(block(log, data)):
        if isinstance(one, Event) and one.kind.startswith("auth_"):
            found[one.kind, one.fields.get("user", "-")] += 1
    return found


def pieces(log: str, data: bytes, cut: int) -> list[Block]:
    found, start = [], 0
    while start < len(data):
        stop = data.find(b"\n", min(len(data), start + cut)) + 1 or len(data)
        found.append(block(log, data[start:stop], start)._replace(live=True))
        start = stop
    return found


@pytest.mark.parametrize("service", ["imap", "pop"])
@pytest.mark.parametrize("order", ["lines first", "dialogue first", "in turn"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=script, cut=st.integers(40, 900))
def test_one_act_counts_once(service: str, order: str, script: Any, cut: int) -> None:
    """Both logs together tell as many tries as the one with addresses, and each with an address; whichever is
    read first."""
    names = ("imap4log", "receiveimap4") if service == "imap" else ("pop3log", "receivepop3")
    parsers = [PARSERS[name] for name in names]
    with tempfile.TemporaryDirectory() as folder:
        play = Play(Path(folder), service)
        for who, (what, text) in script:
            play.act(who, what, text)
        data = [play.log(name) for name in names]
    logs = [f"/spool/{name}/MAIL1" for name in names]
    alone = acts_of(logs[0], data[0], [parsers[0]])
    blocks = [pieces(log, one, cut) for log, one in zip(logs, data, strict=True)]
    if order == "in turn":
        queue = [one for pair in zip_longest(*blocks) for one in pair if one is not None]
    else:
        queue = [*blocks[0], *blocks[1]] if order == "lines first" else [*blocks[1], *blocks[0]]
    scanner, joined = Scanner(parsers), Joined(parsers)
    joined.now = NOW
    events: list[Event] = []
    for one in queue:
        events += joined.join(scanner.scan(one))
    events += joined.flush()
    told = [one for one in events if one.kind.startswith("auth_")]
    assert Counter(one.kind for one in told) == Counter(
        kind for (kind, _), count in alone.items() for _ in range(count)
    )
    assert all(one.source is not None for one in told)
    assert joined.next_release() is None
