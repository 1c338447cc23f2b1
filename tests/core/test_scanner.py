"""From blocks and records to events: the same ones with every prefilter, and never a wrong source."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core.rules import Parser
from mailguard.core.scanner import LINE_LIMIT, Draft, Scanner, family
from mailguard.definitions.parsers import load_parsers, read_parser
from mailguard.model import Block, Event, Record, Records
from mailguard.notation import parse_address
from tests.engines import HERE

ARRIVAL = 1_798_675_200.0

TINY = r"""
format = 1
title = "A tiny server"
envelope = ["syslog", "dovecot"]
program = ["smtpd", "dovecot"]
guard = "the server writes it"

[[rule]]
name = "fault"
event = "ignore"
match = "warning: [{source:ip}]: login failed: server fault{? ({user:foreign})?}"

[[rule]]
name = "failed"
event = "auth_failure"
match = "warning: [{source:ip}]: login failed: {user:foreign}"
scope = "auth"

[[rule]]
name = "many"
event = "auth_failure"
weight = "attempts"
match = "imap-login: Aborted ({attempts:int} attempts): user=<{user:foreign}>, rip={source:ip}"

[[rule]]
name = "hello"
event = "connect"
match = "connect from [{source:ip}]"

[[rule]]
name = "bye"
event = "disconnect"
match = "disconnect from [{source:ip}]"

[[rule]]
name = "short"
event = "session_aborted"
match = "x [{source:ip}]"

[[rule]]
name = "helo"
event = "policy_reject"
match = "reject [{source:ip}] helo={helo:foreign} end"
"""

WHOLE = """
format = 1
title = "A log whose stamp stands inside"
envelope = ["none"]
[[rule]]
name = "in"
event = "mail_accepted"
match = "<{queue_id:token}@{:host}> [{time:stamp}] {source:ip} {sender:foreign}"
"""

BRACKETS = """
format = 1
title = "Bracketed stamps"
envelope = ["epost"]
guessed = true
[[rule]]
name = "login"
event = "auth_failure"
match = "{user:foreign} from {source:ip} LOGIN failed"
"""


def parser(text: str = TINY, name: str = "tiny") -> Parser:
    return read_parser(text, f"{name}.toml", check=False)


def block(data: bytes, **more: Any) -> Block:
    given: dict[str, Any] = {
        "log": "mail.log",
        "data": data,
        "start": 0,
        "end": len(data),
        "position": 0,
        "arrival": ARRIVAL,
        "live": False,
        "timezone": "UTC",
    } | more
    return Block(**given)


def line(message: str | bytes, program: str = "postfix/smtpd[7]") -> bytes:
    raw = message.encode() if isinstance(message, str) else message
    return b"Nov 22 10:49:07 mail1 " + program.encode() + b": " + raw + b"\n"


def events(scanner: Scanner, data: bytes, **more: Any) -> list[Event]:
    found = scanner.scan(block(data, **more))
    assert all(isinstance(item, Event) for item in found)
    return found  # type: ignore[return-value]


def packed(text: str) -> int:
    address = parse_address(text)
    assert address is not None
    return address


FAILED = "warning: [192.0.2.7]: login failed: "


@pytest.fixture(params=HERE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_event_is_whole(engine: str) -> None:
    """Kind, time, source, rule, weight, fields, log, position, scope and proofs come with an event."""
    first = line("nothing of interest")
    data = first + line(FAILED + "yamamoto")
    (event,) = events(Scanner([parser()], engine), data, position=1000, may_ban=True)
    assert event == Event(
        "auth_failure",
        1_795_344_547.0,
        packed("192.0.2.7"),
        "tiny/failed",
        1,
        {"user": "yamamoto"},
        "mail.log",
        1000 + len(first),
        "auth",
        True,
        frozenset({"user"}),
    )


def test_part_of_a_buffer(engine: str) -> None:
    """Only data[start:end] is read; positions count from the block's own; memoryviews and bytearrays do."""
    before, middle, after = line(FAILED + "a"), line(FAILED + "b"), line(FAILED + "c")
    whole = before + middle + after
    for data in (whole, bytearray(whole), memoryview(whole)):
        (event,) = events(
            Scanner([parser()], engine),
            data,
            start=len(before),
            end=len(before + middle),
            position=50,  # type: ignore[arg-type]
        )
        assert (event.fields["user"], event.position) == ("b", 50)


def test_order_of_rules(engine: str) -> None:
    """The first rule that fits takes the line: what is set aside makes no event."""
    scanner = Scanner([parser()], engine)
    assert events(scanner, line(FAILED + "server fault")) == []
    assert events(scanner, line(FAILED + "server fault (x)")) == []
    assert len(events(scanner, line(FAILED + "server faults"))) == 1
    assert scanner.taken() == {"tiny/failed": 1}


def test_doubtful_lines_are_sampled() -> None:
    """Thousands of lines that no rule takes are counted without asking every rule about every one."""
    scanner = Scanner([parser()])
    events(scanner, line("warning: [nobody]: login failed: x") * 3200)
    assert 2900 <= scanner.counters.unmatched["postfix/smtpd"] <= 3500


def test_rules_nobody_wants_keep_their_place(engine: str) -> None:
    """With only some kinds wanted, a line that an earlier rule sets aside is still no event of a later
    one."""
    wanted = Scanner([parser()], engine, frozenset({"auth_failure"}))
    assert events(wanted, line(FAILED + "server fault") + line("connect from [192.0.2.7]")) == []
    assert len(events(wanted, line(FAILED + "x"))) == 1
    assert wanted.counters.hits == 2


def test_one_literal_inside_another(engine: str) -> None:
    """`connect from` stands inside `disconnect from`: both rules are asked, the right one takes the line."""
    data = line("connect from [192.0.2.7]") + line("disconnect from [192.0.2.7]")
    assert [event.kind for event in events(Scanner([parser()], engine), data)] == ["connect", "disconnect"]


def test_short_literal(engine: str) -> None:
    """A rule whose longest literal is short is found all the same."""
    (event,) = events(Scanner([parser()], engine), line("x [192.0.2.7]"))
    assert event.rule == "tiny/short"


def test_weight_and_dovecots_own_file(engine: str) -> None:
    """A slot's number is the weight; in Dovecot's own file `Info:` stands in the middle of the literal."""
    text = b"Aborted (3 attempts): user=<a>, rip=192.0.2.7\n"
    data = (
        b"Nov 22 10:49:07 imap-login: Info: " + text + b"Nov 22 10:49:07 mail1 dovecot: imap-login: " + text
    )
    found = events(Scanner([parser()], engine), data)
    assert [(event.weight, event.source) for event in found] == [(3, packed("192.0.2.7"))] * 2


def test_repetition_multiplies() -> None:
    """A repetition notice counts as often as it says, within bounds."""
    (event,) = events(Scanner([parser()]), line("message repeated 4 times: [ " + FAILED + "x]"))
    assert (event.weight, event.fields) == (4, {"user": "x"})
    (event,) = events(Scanner([parser()]), line("message repeated 999999 times: [ " + FAILED + "x]"))
    assert event.weight == 65535


def test_other_programs_lines() -> None:
    """The same text from another program is no event."""
    assert events(Scanner([parser()]), line(FAILED + "x", "evil[7]")) == []


def test_any_instance_name() -> None:
    """The last component of the program counts, and a cut name of RFC 5424 only where it is listed."""
    scanner = Scanner([parser()])
    assert len(events(scanner, line(FAILED + "x", "postfix-in/submission/smtpd[7]"))) == 1
    assert (
        events(scanner, b"<22>1 2026-11-22T10:49:07Z mail1 postfix 7 - -  " + FAILED.encode() + b"x\n") == []
    )


def test_cut_lines() -> None:
    """A line that was cut matches only where its source stands before everything foreign."""
    scanner = Scanner([parser()])
    data = line(FAILED + "x" * 20)
    (event,) = events(scanner, data, cuts=(0,))
    assert (event.source, event.fields) == (packed("192.0.2.7"), {})
    cut = b"Nov 22 10:49:07 mail1 dovecot: imap-login: Aborted (3 attempts): user=<a>, rip=192.0.2.7\n"
    assert events(scanner, cut, cuts=(0,)) == []
    assert len(events(scanner, cut)) == 1
    assert scanner.counters.cut == 2


def test_long_lines_are_cut() -> None:
    """A line above 8 KiB is cut there: the end that a client could have moved out of sight is not asked
    for."""
    scanner = Scanner([parser()])
    data = line("reject [192.0.2.7] helo=" + "x" * LINE_LIMIT + " end") + line(FAILED + "y" * LINE_LIMIT)
    assert [event.source for event in events(scanner, data)] == [packed("192.0.2.7")] * 2
    assert scanner.counters.cut == 2


def test_bytes_that_are_no_text(engine: str) -> None:
    """NUL, CR, U+0085, U+2028 and broken UTF-8 neither split a line nor hide it."""
    scanner = Scanner([parser()], engine)
    odd = "a\u0085b\u2028c".encode() + b"\0\x0b\x0c\x1c\xff"
    data = b"\0\0" + line(FAILED.encode() + odd)[:-1] + b"\r\n"
    (event,) = events(scanner, data)
    assert event.source == packed("192.0.2.7")
    assert len(event.fields["user"].splitlines()) == 1


def test_evidence_lines() -> None:
    """Only hostile events carry their line, and only where it was asked for."""
    data = line(FAILED + "x") + line("connect from [192.0.2.7]")
    assert [event.line for event in events(Scanner([parser()]), data)] == [b"", b""]
    assert [event.line for event in events(Scanner([parser()], keep_lines=True), data)] == [
        line(FAILED + "x")[:-1],
        b"",
    ]


def test_trust() -> None:
    """A log that may not ban, and a parser whose shapes were guessed, make events that may not ban."""
    (event,) = events(Scanner([parser()]), line(FAILED + "x"), may_ban=False)
    assert event.may_ban is False
    (event,) = events(
        Scanner([parser(BRACKETS, "b")]), b"[22/Nov/2026:10:49:07] a from 192.0.2.7 LOGIN failed\r\n"
    )
    assert (event.may_ban, event.time) == (False, 1_795_344_547.0)


def test_stamp_in_the_message() -> None:
    """With envelope none the whole line is the message, and its stamp is the event's time, no field."""
    scanner = Scanner([parser(WHOLE, "w"), parser()])
    data = b"<B1@example.jp> [22/Nov/2026:10:49:07] 192.0.2.7 a@example.jp\r\n" + line(FAILED + "x")
    first, second = events(scanner, data)
    assert (first.rule, first.time, first.fields) == (
        "w/in",
        1_795_344_547.0,
        {"queue_id": "B1", "sender": "a@example.jp"},
    )
    assert second.rule == "tiny/failed"
    assert events(scanner, b"<B1@example.jp> [31/Nov/2026:10:49:07] 192.0.2.7 x\n") == []


def test_chosen_parsers_only() -> None:
    """A log is read only by the parsers it names."""
    scanner = Scanner([parser(), parser(BRACKETS, "b")])
    assert events(scanner, line(FAILED + "x"), parsers=("b",)) == []
    assert len(events(scanner, line(FAILED + "x"), parsers=("tiny",))) == 1


def test_two_parsers_that_disagree() -> None:
    """A line that two parsers read with different sources makes no event, and is counted; agreement is one
    event."""
    other = TINY.replace("[{source:ip}]: login failed: {user:foreign}", "[{:ip}]: login failed: {source:ip}")
    scanner = Scanner([parser(), parser(other, "other")])
    assert events(scanner, line(FAILED + "198.51.100.9")) == []
    assert scanner.counters.ambiguous == 1
    (event,) = events(scanner, line("connect from [192.0.2.7]"))
    assert event.rule == "tiny/hello"


def test_unmatched_lines_are_counted() -> None:
    """Lines of a known program with a literal that no rule takes are counted, and the latest is kept,
    harmless."""
    scanner = Scanner([parser()])
    assert events(scanner, line(b"warning: [nobody]: login failed: \x1b[2J")) == []
    assert scanner.counters.unmatched == {"postfix/smtpd": 1}
    assert "\x1b" not in scanner.counters.latest["postfix/smtpd"]
    unwanted = Scanner([parser()], wanted_kinds=frozenset({"auth_failure"}))
    events(unwanted, line("disconnect from [192.0.2.7]"))
    assert unwanted.counters.unmatched == {}


def test_a_change_of_wording_shows() -> None:
    """One line in 64 KiB is looked at without a literal, so that new wording is seen as unmatched."""
    scanner = Scanner([parser()])
    data = line("Warnung: [192.0.2.7]: Anmeldung verweigert") * 10
    for number in range(200):
        events(scanner, data, position=number * len(data))
    assert scanner.counters.hits == 0
    assert 1 <= scanner.counters.sampled == scanner.counters.sampled_unmatched <= 4


def test_counters() -> None:
    """Lines, bytes, hits and the last match of each log are kept."""
    scanner = Scanner([parser()])
    data = line("nothing") * 3 + line(FAILED + "x")
    events(scanner, data)
    counters = scanner.counters
    assert (counters.lines, counters.bytes, counters.hits) == (4, len(data), 1)
    assert counters.matched == {"mail.log": 1_795_344_547.0}


def records(*messages: bytes, **more: Any) -> Records:
    made = [
        Record(ARRIVAL, b"mail1", b"postfix/smtpd", 7, message, 100 + at)
        for at, message in enumerate(messages)
    ]
    return Records("journal", made, ARRIVAL, more.pop("live", False), **more)


def test_records(engine: str) -> None:
    """Journal entries make the same events, at their own times and positions; a line end inside is a
    blank."""
    scanner = Scanner([parser()], engine)
    found = scanner.scan_records(
        records(
            b"connect from [192.0.2.7]", b"nothing", FAILED.encode() + b"a\nconnect from [192.0.2.9]", b""
        )
    )
    assert [(event.kind, event.position, event.source) for event in found if isinstance(event, Event)] == [
        ("connect", 100, packed("192.0.2.7")),
        ("auth_failure", 102, packed("192.0.2.7")),
    ]
    assert scanner.counters.lines == 4


def test_records_cut_and_ahead() -> None:
    """Cut entries follow the rule for cut lines; a live entry far ahead counts as now."""
    scanner = Scanner([parser()])
    item = records(b"reject [192.0.2.7] helo=abc")
    item = item._replace(records=[item.records[0]._replace(cut=True)])
    (event,) = scanner.scan_records(item)
    assert isinstance(event, Event)
    assert event.source == packed("192.0.2.7")
    item = records(b"connect from [192.0.2.7]", live=True)
    item = item._replace(records=[item.records[0]._replace(time=ARRIVAL + 3600)])
    (event,) = scanner.scan_records(item)
    assert isinstance(event, Event)
    assert event.time == ARRIVAL


def test_explain() -> None:
    """Every rule of the program is asked, how far each fits is told, and nothing is counted."""
    scanner = Scanner([parser()])
    explained = scanner.explain(line(FAILED + "x"), ARRIVAL, timezone="UTC")
    assert explained.rule is not None
    assert explained.rule.name == "failed"
    assert isinstance(explained.item, Event)
    assert explained.message == FAILED.encode() + b"x"
    fits = {tried.rule: tried.fits for tried in explained.tried}
    assert fits["tiny/failed"] == len(explained.message)
    assert fits["tiny/fault"] == len(FAILED)
    assert fits["tiny/hello"] == 0
    assert scanner.taken() == {}
    assert scanner.counters.matched == {}


@pytest.mark.parametrize(
    ("raw", "opened", "tried"),
    [(b"no prefix at all", False, 0), (line("x", "cron[1]"), True, 0), (line("hello"), True, 7)],
)
def test_explain_what_is_not_taken(raw: bytes, opened: bool, tried: int) -> None:
    """A line without prefix, of a strange program, or that no rule fits, is explained as that."""
    explained = Scanner([parser()]).explain(raw, ARRIVAL)
    assert (explained.opened is not None, len(explained.tried), explained.rule) == (opened, tried, None)


def test_running_stamps_survive_a_restart() -> None:
    """What `running` gives is taken up again by `restore`, also for logs not read since."""
    scanner = Scanner([parser()])
    events(scanner, line(FAILED + "x"))
    again = Scanner([parser()])
    again.restore(scanner.running())
    events(again, line(FAILED + "x"), log="other.log")
    assert again.running() == {"mail.log": 1_795_344_547.0, "other.log": 1_795_344_547.0}


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("/spool/imap4log/MX1/261122.log", b"/spool/imap4log/MX1/.log"),
        ("/var/log/mail.log.2.gz", b"/var/log/mail.log"),
        ("/var/log/mail.log", b"/var/log/mail.log"),
        ("journal", b"journal"),
        ("syslog/192.0.2.1", b"syslog/192.0.2.1"),  # its last number is no rotation's
        ("/spool/inlog/192.0.2.2", b"/spool/inlog/192.0.2.2"),
    ],
)
def test_log_families(log: str, expected: bytes) -> None:
    """Day-named and rotated files of one log are one family, different folders are different ones."""
    assert family(log) == expected


PIECES = st.sampled_from(
    [
        b"warning: [192.0.2.7]: login failed: ",
        b"server fault",
        b"connect from [192.0.2.7]",
        b"dis",
        b"\r",
        b"\0",
        b"Nov 22 10:49:07 mail1 postfix/smtpd[7]: ",
        b"Nov 22 10:49:07 imap-login: Info: ",
        b"\n",
        b"\n",
        b"\n",
        b"Aborted (3 attempts): user=<a>, rip=192.0.2.7",
        b"mail1 dovecot: imap-login: ",
        b"x [192.0.2.7]",
        b"]",
        b"reject [2001:db8::7] helo=",
        b" end",
        b"message repeated 2 times: [ ",
        b"\xe2\x80\xa8",
        b"x" * 3000,
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=40), st.integers(1, 5))
def test_prefilters_and_blocks_agree(pieces: list[bytes], parts: int) -> None:
    """The events of any text are equal with each prefilter, and equal however it is divided into blocks."""
    data = b"".join(pieces) + b"\n"
    made = parser()
    whole = [events(Scanner([made], engine), data) for engine in HERE]
    assert whole == [whole[0]] * len(whole)
    scanner, divided, start = Scanner([made]), [], 0
    for part in range(1, parts + 1):
        stop = data.rfind(b"\n", 0, len(data) * part // parts) + 1 if part < parts else len(data)
        divided += events(scanner, data, start=start, end=stop, position=start)
        start = stop
    assert divided == whole[0]


@settings(deadline=None)
@given(st.binary(max_size=60).filter(lambda text: b"\n" not in text))
def test_a_name_neither_forges_nor_hides(name: bytes) -> None:
    """Whatever user name a client chooses, its failure is laid to it and to nobody else."""
    data = line(FAILED.encode() + b"~" + name)
    (event,) = events(Scanner([parser()]), data)
    assert event.source == packed("192.0.2.7")
    data = (
        b"Nov 22 10:49:07 mail1 dovecot: imap-login: Aborted (1 attempts): user=<"
        + name
        + b">, rip=192.0.2.7\n"
    )
    (event,) = events(Scanner([parser()]), data)
    assert event.source == packed("192.0.2.7")


def test_drafts_name_their_sessions() -> None:
    """A rule with a session leaves a draft whose key holds host, parser, session and the captured values."""
    text = TINY + '\n[session.smtp]\nkey = ["pid", "source"]\n'
    text = text.replace('name = "hello"', 'name = "hello"\nsession = { open = "smtp" }')
    (draft,) = Scanner([parser(text)]).scan(block(line("connect from [192.0.2.7]")))
    assert isinstance(draft, Draft)
    assert draft.keys == (b"mail1\0tiny/smtp\x007\x00192.0.2.7",)


def test_a_guess_casts_no_doubt_on_a_known_format() -> None:
    """A login name that fits a guessed format too is read by the known one; else it would hide its try."""
    parsers = load_parsers(["epost-pop3log", "epost-imap4log"])
    name = b"x from 203.0.113.99 PASS"
    line = b"[12/Dec/2026:00:01:49] %b from 192.0.2.9 LOGIN %b **** failed\n" % (name, name)
    found = Scanner(parsers).scan(Block("imap4log", line, 0, len(line), 0, 1797000000.0, False))
    assert [(event.rule, event.source) for event in found if isinstance(event, Event)] == [
        ("epost-imap4log/login-failed", parse_address("192.0.2.9"))
    ]
