"""The whole guard with E-Post's tables as its only way to ban, and their share away at the start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard.daemon import guard
from mailguard.daemon.door import Door
from mailguard.definitions.parsers import load_parser
from mailguard.enforcer import spawn
from mailguard.firewall.epost import Epost, probe
from mailguard.firewall.interface import FirewallError
from tests.test_daemon import PARSER, Place, wait_for


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("parsers") / "door.toml"
    path.write_text(PARSER)
    return load_parser(path)


@pytest.fixture
def place(tmp_path: Path, parser: Any) -> Iterator[Place]:
    place = Place(tmp_path, parser)
    yield place
    if hasattr(place, "guard"):
        place.guard.end()


def test_a_share_that_is_away_at_the_start_keeps_no_guard_from_starting(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts and reads, says once that bans wait, and when the share is there its rows are as they must
    be: those of the time before, those since, and not the one that was lifted meanwhile."""
    program = place.folder / "program"
    program.mkdir()
    table = program / "rejectsmtpip.dat"
    table.write_bytes(b"198.51.100.1\t0\n")

    def driver() -> Epost:
        return Epost(str(program), ("smtp",), state=str(place.folder / "epost.sqlite"))

    def start() -> None:
        place.start(Door(spawn(driver()), "epost"))

    place.clock.wall = time.time()
    start()
    for host in ("203.0.113.7", "203.0.113.8"):
        place.attack(host, every=0.0)
        place.step()
    place.end()
    assert probe(driver()) == ""
    away = program.with_name("away")
    program.rename(away)
    assert "is the share mounted" in probe(driver())
    start()
    assert place.err.getvalue().count("the firewall does not take bans") == 1
    assert "is the share mounted" in place.err.getvalue()
    assert place.ask("status")["firewall"]["lost"]
    said = place.err.getvalue()
    place.attack("203.0.113.9", every=0.0)
    place.step()
    assert place.ask("unban", network="203.0.113.8")["ok"]
    place.step()
    assert place.err.getvalue().count("the firewall does not take bans") == 1, said
    away.rename(program)

    def back() -> bool:
        place.step()
        return "the firewall is back" in place.err.getvalue()

    wait_for(back)
    rows = [row for row in table.read_bytes().splitlines() if row[:1] != b"'"]
    assert sorted(rows) == [b"198.51.100.1\t0", b"203.0.113.7\t0", b"203.0.113.9\t0"]
    assert not place.ask("status")["firewall"]["lost"]


def test_what_was_said_with_the_way_to_ban_is_not_said_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guard in the foreground begins with a sentence that has the reason already."""
    recording = place.firewall
    reason = "it is away"

    def refuse(*_: Any) -> None:
        raise FirewallError(reason, later=True)

    opens, recording.open = recording.open, refuse  # type: ignore[assignment,method-assign]
    made = guard.Guard.__init__

    def told(self: Any, *args: Any, **named: Any) -> None:
        made(self, *args, **{**named, "firewall_words": f"bans by epost; not yet: {reason}"})

    monkeypatch.setattr(guard.Guard, "__init__", told)
    place.start()
    assert reason not in place.err.getvalue()
    assert place.ask("status")["firewall"]["lost"]
    recording.open = opens  # type: ignore[method-assign]
    place.guard.loop.gate.make_good(place.clock.now())
    assert "the firewall is back" in place.err.getvalue()


def test_any_other_failure_at_the_start_ends_it(place: Place) -> None:
    """Nothing hides a firewall that does not work."""

    def refuse(*_: Any) -> None:
        raise FirewallError("no such chain")

    place.firewall.open = refuse  # type: ignore[assignment,method-assign]
    with pytest.raises(FirewallError, match="no such chain"):
        place.start()


def test_a_share_that_goes_away_and_returns_is_said_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the guard runs and bans nobody: the enforcer's own looks find it. One sentence when it goes, one
    when it is back; then what was owed stands, and what ended meanwhile does not."""
    monkeypatch.setattr(Epost, "look_every", 0.3)
    program = place.folder / "program"
    program.mkdir()
    table = program / "rejectsmtpip.dat"
    table.write_bytes(b"198.51.100.1\n")
    place.clock.wall = time.time()
    place.start(
        Door(spawn(Epost(str(program), ("smtp",), state=str(place.folder / "epost.sqlite"))), "epost")
    )
    place.attack("203.0.113.7", every=0.0)
    place.step()
    assert b"203.0.113.7\t0" in table.read_bytes()
    away = program.with_name("away")
    program.rename(away)

    def said(words: str) -> int:
        place.step()
        return place.err.getvalue().count(words)

    wait_for(lambda: bool(said("the firewall does not take bans")))
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        place.step()
    place.attack("203.0.113.9", every=0.0)
    place.step()
    assert place.ask("unban", network="203.0.113.7")["ok"]
    assert said("the firewall does not take bans") == 1
    assert said("cannot be compared") == 0
    away.rename(program)
    wait_for(lambda: bool(said("the firewall is back")))
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        place.step()
    assert [row for row in table.read_bytes().splitlines() if row[:1] != b"'"] == [
        b"198.51.100.1",
        b"203.0.113.9\t0",
    ]
    assert said("the firewall is back") == 1
    assert said("the firewall does not take bans") == 1
    assert said("somebody changed mailguard's own") == 0
