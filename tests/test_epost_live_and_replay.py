"""What a spool tells live, as it is written, and what it tells when it is read from its files afterwards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mailguard.core.joined import Joined
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parsers
from mailguard.model import Block, Event
from mailguard.notation import format_address
from mailguard.replay.merging import Chunk, Stream, merge, running, times_of
from tests.epost_server.options import ALL_LOGS
from tests.epost_server.theatre import DAY, HOUR, Theatre, encoded

OFFICE, ATTACKER = "198.51.100.10", "203.0.113.9"
PARSERS = load_parsers(
    sorted(path.stem for path in (Path(__file__).resolve().parents[1] / "parsers").glob("epost-*.toml"))
)
KINDS = {"auth_failure", "auth_success", "mail_accepted", "mail_bounced", "unknown_recipient", "locked_out"}


def counted(events: list[Event]) -> Counter[tuple[str, float, str, str, bool]]:
    """What counts of them, and for whom; which log tells an act may differ with the order of reading."""
    return Counter(
        (
            one.kind, one.time if one.kind.startswith("auth_") else 0.0,
            format_address(one.source) if one.source is not None else "-", one.fields.get("user", ""),
            one.may_ban,
        )
        for one in events
        if one.kind in KINDS
    )  # fmt: skip


def recorded(spool: Path) -> list[Event]:
    """The events of all files, in the order of a replay."""
    scanner, joined = Scanner(PARSERS), Joined(PARSERS)
    streams = []
    for name in sorted(ALL_LOGS):
        for path in sorted((spool / name).rglob("*.log")):
            data = bytearray(path.read_bytes())
            found = scanner.scan(
                Block(str(path), data, 0, len(data), 0, path.stat().st_mtime, False, timezone="Asia/Tokyo")
            )
            if found:
                streams.append(Stream(str(path), iter([Chunk(running(times_of(found), 0.0), found)])))
    events: list[Event] = []
    for batch in merge(streams, 50):
        events += joined.join(batch)
    return events + joined.flush()


def evening(theatre: Theatre) -> None:
    """Over midnight: people, a partner, guesses by every service and mechanism, mail that fails."""
    for number in range(40):
        at = DAY - 10 * 60 + 31 * number
        theatre.at(at, theatre.logs_in, OFFICE, "sato")
        theatre.at(at + 3, theatre.submits, OFFICE, "ito", ["a@gone.example", "b@partner.example"])
        theatre.at(at + 9, theatre.mails, "198.51.100.25", "p@partner.example", ["sato@example.jp"])
    for number in range(4):
        at = DAY - 60 + 31 * number
        theatre.at(at, theatre.guesses, ATTACKER, "admin", "info")
        theatre.at(at + 11, theatre.logs_in, f"203.0.{number}.7", "mori", "guess")

        def tries(number: int = number) -> None:
            session = theatre.connects(f"203.0.{number}.8", "imap")
            session.send("a AUTHENTICATE PLAIN " + encoded("\0kato\0guess"))
            session.hang_up()

        theatre.at(at + 17, tries)
    theatre.at(2 * HOUR, theatre.mails, ATTACKER, "a@example.org", [f"n{n}@example.jp" for n in range(3)])


@pytest.mark.parametrize(
    "without",
    [frozenset(), frozenset({"receivelog"}), frozenset({"imap4log"}), frozenset({"receiveimap4", "inlog"})],
)
@pytest.mark.parametrize("computer", ["MAIL1", ""])
def test_the_same_counts(without: frozenset[str], computer: str, tmp_path: Path) -> None:
    """Whichever logs are written, and in both layouts of folders."""
    theatre = Theatre(
        tmp_path, ALL_LOGS - without, computer=computer,
        remote={"gone.example": "550 5.1.1 no", "partner.example": "198.51.100.25 mx"},
    )  # fmt: skip
    evening(theatre)
    live: list[Event] = []
    theatre.judge.observer = live.append
    theatre.play()
    live += theatre.judge.sessions.flush()
    replayed = counted(recorded(theatre.server.spool))
    told = counted(live)
    assert told == replayed
    failures = sum(count for (kind, *_), count in told.items() if kind == "auth_failure")
    assert failures == (12 if "receivelog" in without else 14), "each try, until who makes them is banned"
    users = {user for kind, _, _, user, _ in told if kind == "auth_failure"}
    assert ("kato" in users) is ("receiveimap4" not in without)
    bounces = {source for kind, _, source, _, _ in told if kind == "mail_bounced"}
    assert bounces == ({OFFICE} if "inlog" not in without else {"-"})
