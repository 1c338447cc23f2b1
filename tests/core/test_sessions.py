"""What several lines tell together: queue ids, pid and client, session ids; bounded, and kept over a
restart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.core.rules import Parser
from mailguard.core.scanner import Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions.parsers import read_parser
from mailguard.model import Block, Event
from mailguard.notation import format_address

pytestmark = pytest.mark.usefixtures("both_cores")

ARRIVAL = 1_798_675_200.0
BASE = 1_795_344_540

TEXT = """
format = 1
title = "Sessions"
program = ["smtpd", "qmgr", "smtp", "login"]
guard = "the server writes it"
[session.queue]
key = ["queue_id"]
lifetime = "5d"
cap = 8
[session.smtp]
key = ["pid", "source"]
[session.login]
key = ["session"]

[[rule]]
name = "client"
event = "ignore"
match = "{queue_id:token}: client=[{source:ip}]{?, sasl_username={user:foreign}?}"
session = { open = "queue", carry = ["user"] }

[[rule]]
name = "active"
event = "mail_accepted"
match = "{queue_id:token}: from=<{sender:address}>, nrcpt={recipients:int} (queue active)"
session = { use = "queue", once = true, must = true, carry = ["sender"] }

[[rule]]
name = "sent"
event = "mail_sent"
match = "{queue_id:token}: to=<{recipient:address}>, status=sent"
session = { use = "queue" }

[[rule]]
name = "removed"
event = "ignore"
match = "{queue_id:token}: removed"
session = { close = "queue" }

[[rule]]
name = "unknown"
event = "unknown_recipient"
match = "{queue_id:token}: User unknown: {recipient:foreign}"
session = { use = "queue" }

[[rule]]
name = "fault"
event = "ignore"
match = "warning: [{source:ip}]: SASL failed: server fault"
session = { use = "smtp", tally = "auth" }

[[rule]]
name = "failed"
event = "auth_failure"
match = "warning: [{source:ip}]: SASL failed: {user:foreign}"
session = { use = "smtp", tally = "auth" }

[[rule]]
name = "bye"
event = "auth_failure"
weight = "attempts-limit"
match = "disconnect from [{source:ip}] auth={limit:int}/{attempts:int}"
session = { close = "smtp", less = "auth", otherwise = "disconnect" }

[[rule]]
name = "try"
event = "auth_failure"
match = "auth: {source:ip}: {session:base64}: wrong password"
session = { open = "login", tally = "tries" }

[[rule]]
name = "end"
event = "auth_failure"
weight = "attempts"
match = "login: {attempts:int} attempts, rip={source:ip}{?, session={session:base64}?}"
session = { close = "login", less = "tries" }
"""

PARSER: Parser = read_parser(TEXT, "s.toml", check=False)


class Guard:
    """Scanner and sessions over lines given one by one; each line is a second later."""

    def __init__(self, parser: Parser = PARSER):
        self.scanner = Scanner([parser])
        self.sessions = Sessions([parser])
        self.time = 0

    def feed(
        self, *messages: str, program: str = "smtpd[7]", host: str = "mail1", log: str = "l"
    ) -> list[Event]:
        out: list[Event] = []
        for message in messages:
            self.time += 1
            stamp = f"{(BASE + self.time):d}.000000"
            data = f"{stamp} {host} {program}: {message}\n".encode()
            block = Block(log, data, 0, len(data), 0, ARRIVAL, False, timezone="UTC")
            out += self.sessions.join(self.scanner.scan(block))
        return out


def told(events: list[Event]) -> list[tuple[str, str | None, int, dict[str, str]]]:
    return [
        (
            event.kind,
            None if event.source is None else format_address(event.source),
            event.weight,
            event.fields,
        )
        for event in events
    ]


def test_queue_id_joins_client_sender_and_recipients() -> None:
    """The source and user of `client=` come to the acceptance and each delivery; a retry is accepted once."""
    guard = Guard()
    events = guard.feed(
        "A1: client=[192.0.2.7], sasl_username=alice",
        "A1: from=<alice@example.net>, nrcpt=2 (queue active)",
        "A1: to=<bob@example.org>, status=sent",
        "A1: from=<alice@example.net>, nrcpt=1 (queue active)",
        "A1: to=<carol@example.org>, status=sent",
        "A1: removed",
        "A1: to=<late@example.org>, status=sent",
    )
    base = {"queue_id": "A1", "user": "alice", "sender": "alice@example.net"}
    assert told(events) == [
        ("mail_accepted", "192.0.2.7", 1, base | {"recipients": "2"}),
        ("mail_sent", "192.0.2.7", 1, base | {"recipient": "bob@example.org"}),
        ("mail_sent", "192.0.2.7", 1, base | {"recipient": "carol@example.org"}),
        ("mail_sent", None, 1, {"queue_id": "A1", "recipient": "late@example.org"}),
    ]
    assert "user" in events[0].proved
    assert len(guard.sessions) == 0


def test_no_session_no_event() -> None:
    """`must`, and every hostile kind without a source of its own, need an open session."""
    guard = Guard()
    assert guard.feed("B1: from=<a@example.net>, nrcpt=1 (queue active)", "B1: User unknown: x") == []
    assert guard.sessions.lost == 1
    guard.feed("B1: client=[192.0.2.7]")
    (event,) = guard.feed("B1: User unknown: x")
    assert told([event]) == [("unknown_recipient", "192.0.2.7", 1, {"queue_id": "B1", "recipient": "x"})]


def test_reused_key_starts_anew() -> None:
    """A queue id that comes again belongs to its new client only."""
    guard = Guard()
    guard.feed("A1: client=[192.0.2.7], sasl_username=alice", "A1: client=[198.51.100.9]")
    (event,) = guard.feed("A1: from=<x@example.org>, nrcpt=1 (queue active)")
    assert told([event])[0][1] == "198.51.100.9"
    assert "user" not in event.fields


def test_counter_less_what_was_seen() -> None:
    """`auth=0/N` counts N minus the warnings of that session, server faults too; nothing left is a
    disconnect."""
    guard = Guard()
    seen = guard.feed(
        "warning: [192.0.2.7]: SASL failed: a", "warning: [192.0.2.7]: SASL failed: server fault"
    )
    assert [event.weight for event in seen] == [1]
    (event,) = guard.feed("disconnect from [192.0.2.7] auth=0/3")
    assert (event.kind, event.weight) == ("auth_failure", 1)
    (event,) = guard.feed("disconnect from [192.0.2.7] auth=0/3")
    assert (event.kind, event.weight) == ("auth_failure", 3), "the session before was closed"
    guard.feed("warning: [192.0.2.7]: SASL failed: a")
    (event,) = guard.feed("disconnect from [192.0.2.7] auth=0/1")
    assert (event.kind, event.weight) == ("disconnect", 1)
    (event,) = guard.feed("disconnect from [192.0.2.7] auth=1/1")
    assert (event.kind, event.weight) == ("disconnect", 1), "nothing failed"


def test_sessions_do_not_mix() -> None:
    """Another pid, another client or another host is another session."""
    guard = Guard()
    guard.feed("warning: [192.0.2.7]: SASL failed: a")
    others: list[dict[str, Any]] = [{"program": "smtpd[8]"}, {"host": "mail2"}]
    for other in others:
        (event,) = guard.feed("disconnect from [192.0.2.7] auth=0/1", **other)
        assert event.kind == "auth_failure"
    (event,) = guard.feed("disconnect from [192.0.2.8] auth=0/1")
    assert event.kind == "auth_failure"
    (event,) = guard.feed("disconnect from [192.0.2.7] auth=0/1")
    assert event.kind == "disconnect"


def test_last_line_of_a_login_counts_the_rest() -> None:
    """Tries that were logged singly are taken off the number of the last line; an absent key is no
    session."""
    guard = Guard()
    tries = guard.feed(*["auth: 192.0.2.7: AbC: wrong password"] * 2, program="login[1]")
    assert len(tries) == 2
    (event,) = guard.feed("login: 5 attempts, rip=192.0.2.7, session=AbC", program="login[1]")
    assert event.weight == 3
    guard.feed("auth: 192.0.2.7: AbC: wrong password", program="login[1]")
    assert guard.feed("login: 1 attempts, rip=192.0.2.7, session=AbC", program="login[1]") == []
    (event,) = guard.feed("login: 2 attempts, rip=192.0.2.7", program="login[1]")
    assert event.weight == 2
    assert len(guard.sessions) == 0


def test_lifetime() -> None:
    """A session that no line used for longer than its lifetime is over; the time is that of the lines."""
    guard = Guard()
    guard.feed("warning: [192.0.2.7]: SASL failed: a")
    guard.time += 3601
    (event,) = guard.feed("disconnect from [192.0.2.7] auth=0/1")
    assert event.kind == "auth_failure"


def test_bounded() -> None:
    """However many sessions are opened, no more than the cap are kept, the forgotten ones are counted, and
    one that is used meanwhile stays."""
    guard = Guard()
    guard.feed("KEEP: client=[192.0.2.7]")
    for number in range(100):
        guard.feed(f"Q{number}: client=[192.0.2.8]")
        guard.feed("KEEP: to=<a@example.org>, status=sent")
        assert len(guard.sessions) <= 8 + 1
    assert guard.sessions.evicted > 80
    (event,) = guard.feed("KEEP: to=<a@example.org>, status=sent")
    assert told([event])[0][1] == "192.0.2.7"


LINES = st.lists(
    st.sampled_from(
        [
            "A1: client=[192.0.2.7], sasl_username=alice",
            "A2: client=[2001:db8::7]",
            "A3: client=[198.51.100.9]",
            "A4: client=[198.51.100.10]",
            "A5: client=[198.51.100.11]",
            "A1: from=<a@example.net>, nrcpt=2 (queue active)",
            "A2: from=<>, nrcpt=1 (queue active)",
            "A1: to=<bob@example.org>, status=sent",
            "A2: to=<bob@example.org>, status=sent",
            "A1: removed",
            "A2: removed",
            "warning: [192.0.2.7]: SASL failed: a",
            "warning: [192.0.2.7]: SASL failed: server fault",
            "disconnect from [192.0.2.7] auth=0/3",
        ]
    ),
    max_size=40,
)


@given(LINES, st.lists(st.integers(0, 40), max_size=5))
def test_a_restart_changes_nothing(lines: list[str], stops: list[int]) -> None:
    """A guard that is killed and restored from its checkpoints, at any point, tells the same events."""
    steady, killed = Guard(), Guard()
    table: dict[bytes, bytes] = {}
    for number, text in enumerate(lines):
        if number in stops:
            for key, value in killed.sessions.snapshot():
                if value is None:
                    table.pop(key, None)
                else:
                    table[key] = value
            assert dict(killed.sessions.snapshot(full=True)) == table
            killed.sessions = Sessions([PARSER])
            killed.sessions.restore(table.items())
        assert steady.feed(text) == killed.feed(text)


@given(st.lists(st.tuples(st.integers(0, 13), st.sampled_from("ours")), max_size=80))
def test_rows_tell_what_is_open(steps: list[tuple[int, str]]) -> None:
    """The rows of all checkpoints together are the open sessions, though sessions are forgotten, begin anew
    and end between two checkpoints; one that began and ended there leaves no row at all."""
    guard = Guard()
    table: dict[bytes, bytes] = {}
    for number, what in steps:
        if what == "o":
            guard.feed(f"Q{number}: client=[192.0.2.8]")
        elif what == "u":
            guard.feed(f"Q{number}: to=<a@example.org>, status=sent")
        elif what == "r":
            guard.feed(f"Q{number}: removed")
        else:
            for key, value in guard.sessions.snapshot():
                if value is None:
                    table.pop(key, None)
                else:
                    table[key] = value
            assert len(table) == len(guard.sessions)
    list(guard.sessions.snapshot())
    guard.feed("NEW: client=[192.0.2.8]")
    guard.feed("NEW: removed")
    assert not [key for key, _ in guard.sessions.snapshot() if b"NEW" in key]


def test_strange_rows_are_left_out() -> None:
    """Rows that are damaged or of sessions no longer declared do not stop a restore."""
    guard = Guard()
    guard.feed("A1: client=[192.0.2.7]")
    rows = [(key, value) for key, value in guard.sessions.snapshot(full=True) if value is not None]
    again = Sessions([PARSER])
    again.restore(
        [*rows, (rows[0][0] + b"x", b"\x00"), (b"gone/queue\0k", rows[0][1]), (b"\xff", b""), (b"", b"{}")]
    )
    assert len(again) == 1


@pytest.mark.parametrize("count", [0, 1])
def test_events_without_session_pass_through(count: int) -> None:
    """Events are neither changed nor reordered by the join."""
    event = Event("connect", 1.0, None, "x/y", 1, {}, "l", 0)
    assert Sessions([PARSER]).join([event] * count) == [event] * count
