"""Real Postfix and Dovecot, real clients: every deed makes exactly the events that it should.

All deeds of the `attacks_*` modules are done to a running server, from an address of their own each. What the
servers logged is then read with the shipped parsers, in every layout that syslog writes.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import attacks_dovecot  # noqa: F401 (these four register their acts)
import attacks_login  # noqa: F401
import attacks_mail  # noqa: F401
import attacks_protocol  # noqa: F401
import pytest
import serverconfig
from attacks import ACTS, HOSTILE_NAMES, Act
from mailhost import Mailhost, wait_for

from mailguard.core.rules import clean, decode
from mailguard.core.scanner import Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions.parsers import load_parsers
from mailguard.model import HOSTILE, Block, Event, Record, Records
from mailguard.notation import format_address

pytestmark = pytest.mark.real

PARSERS = load_parsers(["postfix", "dovecot"])
COUNTED = {*HOSTILE, "auth_success", "mail_accepted", "mail_sent", "mail_bounced", "mail_deferred"}
SMTP_PORTS = {
    number
    for name, number in serverconfig.PORTS.items()
    if not name.startswith(("imap", "pop3", "sieve", "dovecot"))
}
_TRADITIONAL = re.compile(rb"\S+ +\d+ [\d:]{8} (\S+) ([^:\[]+)(?:\[(\d+)\])?: (.*)", re.DOTALL)
_SETTLED = re.compile(rb" disconnect from | DISCONNECT ")


def read(data: bytes, log: str, arrival: float) -> list[Event]:
    """The events of a log, read alone."""
    scanner, sessions = Scanner(PARSERS), Sessions(PARSERS)
    return sessions.join(scanner.scan(Block(log, data, 0, len(data), 0, arrival, False)))


def by_source(events: Iterable[Event]) -> dict[str, Counter[str]]:
    """Source -> kind -> attempts."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        if event.source is not None and event.kind in COUNTED:
            found[format_address(event.source)][event.kind] += event.weight
    return found


@dataclass(frozen=True)
class Captured:
    """What the servers wrote, and what the parsers read in it."""

    logs: dict[str, bytes]
    arrival: float
    events: tuple[Event, ...]
    connections: tuple[tuple[int, str], ...]


def _read_all(host: Mailhost) -> tuple[dict[str, bytes], float, list[Event]]:
    paths = {
        "mail": host.log,
        "mail-3339": host.log3339,
        "mail-5424": host.log5424,
        "dovecot": host.dovecot_log,
    }
    logs = {name: path.read_bytes() for name, path in paths.items()}
    arrival = host.log.stat().st_mtime
    return logs, arrival, [*read(logs["mail"], "mail", arrival), *read(logs["dovecot"], "dovecot", arrival)]


@pytest.fixture(scope="module")
def captured(mailhost: Mailhost) -> Captured:
    """All deeds done and logged. Waits until every deed has left its events, or
    lets the tests say which has not.
    """
    with ThreadPoolExecutor(12) as pool:
        for done in [pool.submit(act.run, mailhost, act.source) for act in ACTS if not act.alone]:
            done.result()
    for act in ACTS:
        if act.alone:
            act.run(mailhost, act.source)
    size = 0

    def settled() -> bool:
        nonlocal size
        before, size = size, mailhost.log.stat().st_size
        if size != before:
            return False
        found = by_source(_read_all(mailhost)[2])
        return all(found.get(act.source, {}) == act.expect for act in ACTS)

    with contextlib.suppress(TimeoutError):
        wait_for("the log", settled, 20)
    logs, arrival, events = _read_all(mailhost)
    return Captured(logs, arrival, tuple(events), tuple(mailhost.connections))


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
def test_a_deed_is_counted_once(captured: Captured, act: Act) -> None:
    """Each deed leaves the events it should, no more and no fewer, laid to the address that did it."""
    found = by_source(captured.events)[act.source]
    lines = [
        line.decode(errors="replace")
        for log in ("mail", "dovecot")
        for line in captured.logs[log].split(b"\n")
        if act.source.encode() in line
    ]
    assert found == act.expect, "\n".join(lines)


def test_nobody_else_is_blamed(captured: Captured) -> None:
    """Addresses inside user names, HELOs, addresses, commands and block list texts never become a source."""
    known = {act.source for act in ACTS} | {"127.0.0.1"}  # Dovecot's submission service hands mail to Postfix
    sources = {format_address(event.source) for event in captured.events if event.source is not None}
    assert sources <= known


@pytest.mark.parametrize("log", ["mail", "mail-3339", "mail-5424", "dovecot"])
def test_every_line_is_understood(captured: Captured, log: str) -> None:
    """No line of Postfix or Dovecot is left over: each is an event or set aside on purpose."""
    scanner = Scanner(PARSERS)
    left = [
        line
        for line in captured.logs[log].split(b"\n")[:-1]
        if scanner.explain(line, captured.arrival, fits=False).rule is None
    ]
    assert left == []


@pytest.mark.parametrize("log", ["mail-3339", "mail-5424"])
def test_layouts_agree(captured: Captured, log: str) -> None:
    """RFC 3339 stamps, and RFC 5424 with the program cut to `postfix`, give the same events."""

    def told(events: Iterable[Event]) -> Counter[tuple[object, ...]]:
        return Counter((e.kind, e.source, e.rule, e.weight, tuple(sorted(e.fields.items()))) for e in events)

    expected = told(read(captured.logs["mail"], "mail", captured.arrival))
    assert told(read(captured.logs[log], log, captured.arrival)) == expected


def test_the_journal_agrees(captured: Captured) -> None:
    """The same messages as journal entries, apart from their envelope, give the same events."""
    records = []
    for number, line in enumerate(captured.logs["mail"].split(b"\n")[:-1]):
        host, program, pid, message = _TRADITIONAL.fullmatch(line).groups()  # type: ignore[union-attr]
        records.append(Record(captured.arrival, host, program, int(pid or 0), message, number))
    scanner, sessions = Scanner(PARSERS), Sessions(PARSERS)
    events = sessions.join(scanner.scan_records(Records("journal", records, captured.arrival, False)))
    of_file = read(captured.logs["mail"], "mail", captured.arrival)
    assert [(e.kind, e.source, e.rule, e.weight) for e in events] == [
        (e.kind, e.source, e.rule, e.weight) for e in of_file
    ]


def test_a_connection_is_counted_once(captured: Captured) -> None:
    """One TCP connection to an SMTP port is one `connect`, even where postscreen hands it on to smtpd."""
    made = Counter(source for port, source in captured.connections if port in SMTP_PORTS)
    counted = Counter(
        format_address(event.source)
        for event in captured.events
        if event.kind == "connect" and event.source is not None
    )
    del counted["127.0.0.1"]
    assert counted == made


def test_fields_hold_no_control_characters(captured: Captured) -> None:
    """Whatever a client chose, the fields of an event are safe to print."""
    for event in captured.events:
        for text in event.fields.values():
            assert text == clean(text)


def test_hostile_names_are_read_whole(captured: Captured) -> None:
    """A user name that imitates a log line is that event's user name, as far as the server wrote it."""
    sources = {act.name: act.source for act in ACTS}
    users = defaultdict(set)
    for event in captured.events:
        if event.kind == "auth_failure" and event.source is not None:
            users[format_address(event.source)].add(event.fields.get("user"))
    for name in (
        "dovecot-tail",
        "dovecot-auth",
        "second-name",
        "postfix-head",
        "postfix-line",
        "brackets",
        "hash",
    ):
        wanted = decode(HOSTILE_NAMES[name])
        assert users[sources[f"smtp-plain-{name}"]] == {wanted}
        assert users[sources[f"imap-name-{name}"]] == {wanted}


def test_samples_name_nobody() -> None:
    """The shipped log samples hold documentation addresses only."""
    folder = Path(__file__).parents[2] / "samples" / "logs"
    allowed = re.compile(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+|127\.0\.0\.\d+")
    for path in folder.glob("*.log"):
        for text in re.findall(
            r"(?<![\w.:/-])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])", path.read_text(errors="replace")
        ):
            assert allowed.fullmatch(text), (path.name, text)
