"""One act counts once, whichever of a server's logs tells it, and messages are followed over their logs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mailguard.core.items import Draft, family
from mailguard.core.joined import WAIT, Joined
from mailguard.core.judge import Judge
from mailguard.core.scanner import Scanner
from mailguard.core.servers import Servers
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block, Effect, Event
from mailguard.notation import format_address
from mailguard.replay.merging import Chunk, Stream, merge, running, times_of

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("acceptlog", "inlog", "receivelog", "faillog", "outlog")
PARSERS = [load_parser(ROOT / "parsers" / f"epost-{name}.toml") for name in NAMES]
HEAD = "[12/Dec/2026:00:01:%02d], "
ACCEPT = "(example.jp), 203.0.113.9[203.0.113.9], "


def talk(context: str, second: int, *texts: str) -> list[str]:
    """A session's beginning, then `texts`, one in a second."""
    said = [
        "220 example.jp E-POST ESMTP Receiver (4.90) ...",
        "EHLO pc",
        "250-example.jp Hello [203.0.113.9], pleased to meet you",
    ]
    return [
        HEAD % (second + max(0, at - len(said) + 1)) + f"{context}, {text}"
        for at, text in enumerate([*said, *texts])
    ]


GUESS = ("AUTH LOGIN YWRtaW4=", "334 UGFzc3dvcmQ6", "c2VjcmV0", "535 5.7.0 Authentication failed.")
END = ("CloseClient Started.:SOCKET.C", "closesocket():SOCKET.C")


def drafts(scanner: Scanner, log: str, lines: list[str]) -> list[Event | Draft]:
    data = bytearray(("\n".join(lines) + "\n").encode())
    block = Block(log, data, 0, len(data), 0, 1_800_000_000.0, False, timezone="UTC")
    return scanner.scan(block)


def replayed(logs: dict[str, list[str]]) -> list[Event]:
    """The events of several logs in the one order."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    streams = []
    for log, lines in logs.items():
        found = drafts(scanner, log, lines)
        streams.append(Stream(log, iter([Chunk(running(times_of(found), 0.0), found)])))
    events: list[Event] = []
    for batch in merge(streams, 16):
        events += joined.join(batch)
    return events + joined.flush()


def arriving(logs: list[tuple[str, list[str]]], pause: float = 0.0) -> list[Event]:
    """The events of blocks that arrive one after the other, live."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    now, events = 1_797_040_000.0, []
    positions: Counter[str] = Counter()
    for log, lines in logs:
        joined.now = now
        data = bytearray(("\n".join(lines) + "\n").encode())
        block = Block(log, data, 0, len(data), positions[log], now, True, timezone="UTC")
        positions[log] += len(data)
        events += joined.join(scanner.scan(block))
        now += pause
        events += joined.release(now)
    return events + joined.release(now + WAIT)


def failures(events: list[Event]) -> int:
    return sum(one.weight for one in events if one.kind == "auth_failure")


SPOKEN = talk("347c89c8", 10, *GUESS, *GUESS, *END)  # failures at second 14 and 18
RESULT = HEAD % 18 + ACCEPT + "AUTH-LOGIN:admin [failed],<B0000000000>,abort"
CONNECT = HEAD % 10 + "(example.jp), [203.0.113.9]:25, Client accept now."
A, R = "/var/spool/epms/acceptlog/MAIL1/261212.log", "/var/spool/epms/receivelog/MAIL1/261212.log"


def test_each_try_counts_where_the_dialogue_is_logged() -> None:
    """Two tries in one session: two failures, not the one of acceptlog, and not three."""
    assert failures(replayed({A: [CONNECT, RESULT], R: SPOKEN})) == 2


def test_the_result_counts_where_there_is_no_dialogue() -> None:
    """A log that is switched off covers nothing."""
    assert failures(replayed({A: [CONNECT, RESULT]})) == 1


def test_another_servers_dialogue_covers_nothing() -> None:
    """Two servers in one share: each has its own logs."""
    other = R.replace("MAIL1", "MAIL2")
    assert failures(replayed({A: [CONNECT, RESULT], other: SPOKEN})) == 3


@pytest.mark.parametrize("pause", [0.0, 0.5, 10.0])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_arrival_does_not_matter(order: tuple[int, ...], pause: float) -> None:
    """Blocks of both logs in any order, at once, soon, or too late to be waited for."""
    blocks = [(A, [CONNECT, RESULT]), (R, SPOKEN[:7]), (R, SPOKEN[7:])]
    if order.index(1) > order.index(2):
        return  # one log's blocks come in their order
    assert failures(arriving([blocks[at] for at in order], pause)) == 2


def test_a_dialogue_that_began_unseen_leaves_the_careful_count() -> None:
    """What the better log cannot lay to an address, the other still tells."""
    assert failures(replayed({A: [CONNECT, RESULT], R: SPOKEN[3:]})) == 1


def test_a_mail_that_three_logs_tell_is_one() -> None:
    """inlog tells it best."""
    spoken = talk(
        "347c89c8",
        10,
        "MAIL FROM:<a@example.net>",
        "250 2.0.0 <a@example.net>... Sender ok.",
        "RCPT TO:<sato@example.jp>",
        "250 2.0.0 <sato@example.jp>... Recipient ok.",
        "DATA",
        "354 Start mail; id <B0000097586@example.jp> end with <CRLF>.<CRLF>",
        "250 2.0.0 Message received ok.",
        "QUIT",
        "221 2.0.0 example.jp closing connection",
        *END,
    )
    accept = [CONNECT, HEAD % 12 + ACCEPT + "a@example.net,<B0000097586>,ok"]
    taken = ["<B0000097586@example.jp> [12/Dec/2026:00:01:17] 203.0.113.9 pc a@example.net sato@example.jp"]
    i = A.replace("acceptlog", "inlog")
    for logs, rule in (
        ({A: accept, R: spoken, i: taken}, "epost-inlog/accepted"),
        ({A: accept, R: spoken}, "epost-receivelog/received"),
        ({A: accept, i: taken}, "epost-inlog/accepted"),
        ({A: accept}, "epost-acceptlog/accepted"),
    ):
        events = [one for one in replayed(logs) if one.kind == "mail_accepted"]
        assert [one.rule for one in events] == [rule], logs.keys()


def test_what_became_of_a_message_is_laid_to_who_sent_it() -> None:
    """Delivered here, refused there: both by the id, over retries, with the sender's address."""
    i = "/spool/inlog/MAIL1/261212.log"
    taken = [
        "<B0000097586@example.jp> [12/Dec/2026:00:01:17] 192.0.2.20 pc sato@example.jp a@example.net b@x.org"
    ]
    sent = [
        "B0000097586@example.jp sent on [12/Dec/2026:00:01:19] to 198.51.100.25 mx.x.net "
        "from sato@example.jp to a@example.net"
    ]
    failed = [
        "B0000097586-R0001@example.jp send fail on [12/Dec/2026:00:31:19] from sato@example.jp "
        "to b@x.org [550 User Unknown]",
        "B0000097999@example.jp send fail on [12/Dec/2026:00:31:20] from sato@example.jp to c@x.org [550 no]",
    ]
    events = replayed({
        i: taken, i.replace("inlog", "outlog"): sent, i.replace("inlog", "faillog"): failed,
    })  # fmt: skip
    told = [(one.kind, one.source and format_address(one.source), one.fields["sender"]) for one in events]
    assert told == [
        ("mail_accepted", "192.0.2.20", "sato@example.jp"),
        ("mail_sent", "192.0.2.20", "sato@example.jp"),
        ("mail_bounced", "192.0.2.20", "sato@example.jp"),
        ("mail_bounced", None, "sato@example.jp"),
    ]
    assert events[2].fields["reason"] == "550 User Unknown"


def test_two_servers_messages_are_two() -> None:
    """Ids are counters: two servers give the same ones."""
    i = "/spool/inlog/MAIL1/261212.log"
    taken = ["<B0000097586@example.jp> [12/Dec/2026:00:01:17] 192.0.2.20 pc sato@example.jp a@example.net"]
    failed = [
        "B0000097586@example.jp send fail on [12/Dec/2026:00:31:19] from x@example.jp to b@x.org [550 no]"
    ]
    events = replayed({i: taken, "/spool/faillog/MAIL2/261212.log": failed})
    assert [one.source is None for one in events] == [False, True]


def test_what_waits_survives_a_restart() -> None:
    """An event that waits when the guard stops counts once it runs again."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    joined.now = 1_797_000_000.0
    assert failures(joined.join(drafts(scanner, A, [CONNECT, RESULT]))) == 0
    rows = [(key, value) for key, value in joined.snapshot(True) if value is not None]
    again = Joined(PARSERS)
    again.restore(rows)
    assert failures(again.release(1_797_000_000.0 + WAIT)) == 1


def test_what_the_dialogue_told_survives_a_restart() -> None:
    """The result of a session that was followed before the restart counts no more after it."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    joined.now = 1_797_000_000.0
    assert failures(joined.join(drafts(scanner, R, SPOKEN))) == 2
    rows = [(key, value) for key, value in joined.snapshot(True) if value is not None]
    again = Joined(PARSERS)
    again.restore(rows)
    again.now = 1_797_000_000.0
    found = again.join(drafts(Scanner(PARSERS), A, [CONNECT, RESULT]))
    assert failures([*found, *again.release(1_797_000_000.0 + WAIT)]) == 0


def test_single_lines_are_not_covered() -> None:
    """Who looks at lines one by one sees each event."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS, covering=False)
    events = joined.join(drafts(scanner, R, SPOKEN) + drafts(scanner, A, [CONNECT, RESULT]))
    assert failures(events) == 3


class Heard:
    """An engine that only listens."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def feed_many(self, events: Iterable[Event]) -> list[Effect]:
        self.events += events
        return []

    def turn_back(self, now: float) -> None: ...


def test_the_guard_wakes_up_for_what_waits() -> None:
    """Live, nothing else has to happen for a careful event to count."""
    engine: Any = Heard()
    judge = Judge.__new__(Judge)
    judge.scanner, judge.sessions, judge.engine = Scanner(PARSERS), Joined(PARSERS), engine
    judge.observer, judge.growth, judge._keep, judge._running = None, None, False, {}
    data = bytearray(f"{CONNECT}\n{RESULT}\n".encode())
    now = 1_797_100_000.0
    judge.feed([Block(A, data, 0, len(data), 0, now, True, timezone="UTC")], now)
    assert judge.next_deadline() == now + WAIT
    judge.tick(now + 1)
    assert failures(engine.events) == 0
    judge.tick(now + WAIT)
    assert failures(engine.events) == 1
    assert judge.next_deadline() is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/s/acceptlog/MAIL1", "/s/acceptlog/MAIL2", False),
        ("/s/acceptlog/MAIL1/261212.log", "/s/acceptlog/MAIL1/261213.log", True),
        ("/s/acceptlog/MAIL1/261212.log", "/s/acceptlog/MAIL2/261212.log", False),
        ("/s/acceptlog/261212.log", "/s/acceptlog/26121307.log", True),
        ("/s/acceptlog/SV-100101", "/s/acceptlog/SV-100102", False),
        ("/s/acceptlog/mx1.example.jp", "/s/acceptlog/mx2.example.jp", False),
        ("/var/log/maillog", "/var/log/maillog.3.xz", True),
        ("/var/log/maillog-20261005", "/var/log/maillog-2026100612-1760000000.gz", True),
        ("/var/log/mail.2026-10-05.log", "/var/log/mail.log.12.gz", True),
        ("/var/log/mail1.log", "/var/log/mail2.log", False),
    ],
)
def test_files_of_one_log_and_of_two(one: str, other: str, same: bool) -> None:
    """Days and turns make no other log; servers do."""
    assert (family(one) == family(other)) is same


@pytest.mark.parametrize("folder", ["%s", "%s/MAIL1"])
def test_logs_of_one_server_are_found_together(folder: str) -> None:
    """Live, the log is the folder; on Windows its name may be written in any way."""
    servers = Servers(PARSERS)
    accept, receive = "/s/" + folder % "AcceptLog", "/s/" + folder % "receivelog"
    one, other = servers.named("epost-acceptlog", accept), servers.named("epost-receivelog", receive)
    assert one == other
    assert one != servers.named("epost-receivelog", receive.replace("MAIL1", "MAIL2").replace("/s/", "/t/"))
