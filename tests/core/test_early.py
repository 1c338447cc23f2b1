"""What is said about a message before the line that says where it came from: every order tells the same."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mailguard.core.early import EARLY
from mailguard.core.joined import Joined
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block, Event
from mailguard.notation import format_address
from mailguard.replay.merging import Chunk, Stream, merge, running, times_of

ROOT = Path(__file__).resolve().parents[2]
PARSERS = [load_parser(ROOT / "parsers" / f"epost-{name}.toml") for name in ("inlog", "faillog", "outlog")]
IN, OUT, LOCAL, FAIL = (
    f"/spool/{name}/MAIL1/261212.log" for name in ("inlog", "outlog", "outlocallog", "faillog")
)
TAKEN = "<B0000097586@example.jp> [12/Dec/2026:00:01:17] 192.0.2.20 pc sato@example.jp a@example.net b@x.org"
STAMP, ID = "[12/Dec/2026:00:01:17] ", "B0000097586@example.jp "
SENT = ID + "sent on " + STAMP + "to 198.51.100.25 mx.x.net from sato@example.jp to a@example.net"
KEPT = ID + "sent on " + STAMP + "to 192.0.2.1 example.jp from sato@example.jp to i@example.jp"
FAILED = ID + "send fail on " + STAMP + "from sato@example.jp to b@x.org [550 no]"
STRAY = "B0000099999@example.jp send fail on [12/Dec/2026:00:01:17] from sato@example.jp to c@x.org [550 no]"
LINES = {IN: TAKEN, OUT: SENT, LOCAL: KEPT, FAIL: FAILED}
NOW = 1_797_040_000.0


def block(log: str, lines: list[str], position: int = 0) -> Block:
    data = bytearray(("\n".join(lines) + "\n").encode())
    return Block(log, data, 0, len(data), position, NOW, True, timezone="UTC")


def told(events: list[Event]) -> list[tuple[str, str]]:
    return sorted((one.kind, format_address(one.source) if one.source else "-") for one in events)


WHOLE = [("mail_accepted", "192.0.2.20"), ("mail_bounced", "192.0.2.20"), *[("mail_sent", "192.0.2.20")] * 2]


@pytest.mark.parametrize("pause", [0.0, 1.0, 2.9])
@pytest.mark.parametrize("order", list(itertools.permutations(LINES)))
def test_live_in_every_order(order: tuple[str, ...], pause: float) -> None:
    """Blocks of four logs, one after the other."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    events: list[Event] = []
    for at, log in enumerate(order):
        joined.now = NOW + at * pause
        events += joined.release(joined.now)
        events += joined.join(scanner.scan(block(log, [LINES[log]])))
    assert told(events) == WHOLE
    assert joined.next_release() is None


def test_recorded_logs_of_one_second() -> None:
    """Logs of one second are merged by their names, and faillog comes before inlog."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    streams = []
    for log, line in LINES.items():
        found = scanner.scan(block(log, [line])._replace(live=False, arrival=1_800_000_000.0))
        streams.append(Stream(log, iter([Chunk(running(times_of(found), 0.0), found)])))
    events: list[Event] = []
    for batch in merge(streams, 2):
        events += joined.join(batch)
    assert told(events + joined.flush()) == WHOLE


def test_what_waits_in_vain_is_told_as_it_is() -> None:
    """After ten seconds, and at once where nobody opens messages any more."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    joined.now = NOW
    assert joined.join(scanner.scan(block(FAIL, [STRAY]))) == []
    assert joined.next_release() == NOW + EARLY
    assert joined.release(NOW + EARLY - 0.1) == []
    assert told(joined.release(NOW + EARLY)) == [("mail_bounced", "-")]
    later = STRAY.replace("00:01:17", "00:31:17")
    assert told(joined.join(scanner.scan(block(FAIL, [later], 1000)))) == [("mail_bounced", "-")]


def test_what_waits_survives_a_restart() -> None:
    """The line that opens the message comes after it."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    joined.now = NOW
    joined.join(scanner.scan(block(FAIL, [FAILED])))
    rows = [(key, value) for key, value in joined.snapshot(True) if value is not None]
    again = Joined(PARSERS)
    again.restore(rows)
    again.now = NOW + 1
    assert told(again.join(scanner.scan(block(IN, [TAKEN])))) == WHOLE[:2]


def test_a_flood_of_them_is_bounded() -> None:
    """The oldest is told first, where more wait than may."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    joined.now = NOW
    lines = [STRAY.replace("B0000099999", f"B{number:010}") for number in range(1, 10_101)]
    events = joined.join(scanner.scan(block(FAIL, lines)))
    assert len(events) == 100
    assert len(joined.release(NOW + EARLY)) == 10_000
