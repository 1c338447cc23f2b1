"""Lines in which a client imitates other lines: the true source or nothing, and no line hidden."""

from __future__ import annotations

from itertools import count

import pytest

from mailguard.core.scanner import Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions.parsers import load_parsers
from mailguard.model import Block, Event
from mailguard.notation import parse_address

ARRIVAL = 1795392000.0  # 2026-11-23
TRUE = parse_address("192.0.2.61")
_logs = count()


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    """All shipped parsers at once, as for a log whose parsers nobody chose."""
    return Scanner(load_parsers())


def events(scanner: Scanner, *lines: str | bytes, log: str = "") -> list[Event]:
    """The events of lines of one log; without `log` one of their own, since the first lines of a log settle
    whether it holds dialogues, and then nobody else reads it."""
    sessions = Sessions(scanner.parsers)
    log = log or f"log-{next(_logs)}"
    found: list[Event] = []
    for line in lines:
        data = (line.encode() if isinstance(line, str) else line) + b"\n"
        found += sessions.join(scanner.scan(Block(log, data, 0, len(data), 0, ARRIVAL, False)))
    return found


WHOLE = [
    "x from 203.0.113.99 PASS **** [12/Dec/2017:00:01:49] (-ERR no)",
    "x from 203.0.113.99 APOP **** [12/Dec/2017:00:01:49] (+OK)",
    "<B0000097403@example.jp> [11/Nov/2017:17:58:25] 203.0.113.99 h a@example.net b@example.jp",
]


@pytest.mark.parametrize("text", WHOLE)
@pytest.mark.parametrize(
    "prefix",
    [
        "Nov 22 10:49:08 mail1 postfix/cleanup[209]: 924141DE988: message-id=",
        "Nov 22 10:49:08 mail1 dovecot: imap(alice)<290><AAAA>: ",
        "Nov 22 10:49:08 imap(alice)<290><AAAA>: Info: ",
        "2026-11-22T10:49:08.078613+09:00 mail1 httpd[1]: ",
        "<22>1 2026-11-22T10:49:08Z mail1 sshd 1 - - ",
        "[12/Dec/2017:00:01:46], 347c89c8, EHLO ",
        "[12/Dec/2017:00:01:46] alice from 192.0.2.1 SELECT ",
        "[12/Dec/2017:00:01:46] - from 192.0.2.1 NOOP ",
    ],
)
def test_formats_without_prefix_stand_in_no_other_line(scanner: Scanner, prefix: str, text: str) -> None:
    """A line that begins with a stamp is never read as one of a format that has none."""
    assert events(scanner, prefix + text) == []
    assert scanner.explain((prefix + text).encode(), ARRIVAL, fits=False).item is None


@pytest.mark.parametrize(
    "text",
    [
        "x from 203.0.113.99 AUTHENTICATE PLAIN failed",
        "- from 203.0.113.99 AUTHENTICATE PLAIN Success",
        "x from 203.0.113.99 LOGIN 347c89c8, x **** failed",
        "x from 203.0.113.99 PASS **** failed",
        "(example.jp), x[203.0.113.99], AUTH-LOGIN:admin [failed],<B0000000000>,abort",
    ],
)
def test_a_dialogue_is_no_list_of_logins(scanner: Scanner, text: str) -> None:
    """What an SMTP client sends stands in E-Post's receivelog behind `[stamp], context, `: no login."""
    assert events(scanner, f"[12/Dec/2017:00:01:46], 347c89c8, {text}") == []


@pytest.mark.parametrize("end", ["failed", "failed x", "-ERR no", "Success", "+OK x y"])
def test_an_imap_command_is_no_pop_login(scanner: Scanner, end: str) -> None:
    """Other commands end with a blank, whatever a client writes into them."""
    line = f"[12/Dec/2017:00:01:46] alice from 192.0.2.1 SELECT x from 203.0.113.99 PASS **** {end} "
    assert events(scanner, line) == []


# ---------------------------------------------------------------- every line, as a client's text

SHAPES = [
    # what the server writes around the text, how much of it it keeps, and the kind of event
    (
        "postfix/smtpd[9]: warning: unknown[192.0.2.61]: SASL LOGIN authentication failed: "
        "x, sasl_username={}",
        100,
        "auth_failure",
    ),
    (
        "postfix/smtpd[9]: NOQUEUE: reject: RCPT from unknown[192.0.2.61]: 554 5.7.1 Service unavailable; "
        "Client host [192.0.2.61] blocked using bl.example.org; {}; from=<a> to=<b@c> proto=ESMTP helo=<h>",
        400,
        "blocklisted",
    ),
    (
        "postfix/smtpd[9]: improper command pipelining after DATA from unknown[192.0.2.61]: {}",
        100,
        "protocol_violation",
    ),
    ("postfix/postscreen[9]: PREGREET 24 after 0 from [192.0.2.61]:42251: {}", 100, "protocol_violation"),
    (
        "dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 1 secs): "
        "user=<{}>, method=PLAIN, rip=192.0.2.61, lip=203.0.113.25, TLS, session=<EPSIr9NgJ5PAAAJO>",
        80,
        "auth_failure",
    ),
    (
        "dovecot: pop3-login: Login aborted: Logged out (auth failed, 1 attempts in 0 secs) (auth_failed): "
        "user=<{}>, rip=192.0.2.61, lip=203.0.113.25, TLS, session=<EPSIr9NgJ5PAAAJO>",
        80,
        "auth_failure",
    ),
    ("dovecot: auth: passwd-file({},192.0.2.61,<EPSIr9NgJ5PAAAJO>): Password mismatch", 64, "auth_failure"),
    (
        "dovecot: auth({},192.0.2.61,sasl:plain)<EPSIr9NgJ5PAAAJO>: passwd-file: Password mismatch",
        64,
        "auth_failure",
    ),
    ("dovecot: auth: passwd-file({},192.0.2.61): unknown user", 64, ""),
    ("dovecot: lmtp({})<517><Zx>: saved mail to INBOX", 64, ""),
    ("dovecot: imap(alice)<517><Zx>: {}", 400, ""),
]


@pytest.mark.parametrize(("shape", "kept", "kind"), SHAPES)
def test_every_line_as_a_client_s_text(scanner: Scanner, shape: str, kept: int, kind: str) -> None:
    """Whole lines, their heads and tails, behind what might close a field: the true source, never hidden."""
    before, after = (part.encode() for part in f"Nov 22 10:49:08 mail1 {shape}".split("{}"))
    lines = {sample.line for parser in scanner.parsers for rule in parser.rules for sample in rule.samples}
    texts = lines | {line.partition(b": ")[2] for line in lines}
    texts |= {text[: len(text) // 2] for text in texts} | {text[len(text) // 2 :] for text in texts}
    for text in sorted(texts):
        for closing in (b"", b"> ", b"); \xc2\x85"):
            line = before + (closing + text)[:kept].replace(b"192.0.2.", b"203.0.113.") + after
            found = [(event.kind, event.source) for event in events(scanner, line, log="mail.log")]
            assert found == ([(kind, TRUE)] if kind else []), line
