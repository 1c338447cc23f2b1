"""The whole way: E-Post writes its logs, the judge reads them, the driver writes the tables, and E-Post
itself turns the attacker away, until the ban is over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailguard.core.pardons import Pardons
from mailguard.firewall.epost import FILES, Epost
from tests.epost_server.theatre import BEGIN, EVERY_LOG, HOUR, MINUTE, TWO_LOGS, Theatre

ATTACKER, PARTNER = "203.0.113.9", "198.51.100.25"


class Guarded(Theatre):
    """A story in which only the server's own tables keep anybody out."""

    def __init__(self, folder: Path, lock: float | None, **options: Any):
        super().__init__(folder, **options)
        for kind in ("smtp", "pop", "imap"):
            (folder / "program" / FILES[kind]).write_bytes(b"' made once\r\n")
        locks = {} if lock is None else dict.fromkeys(("smtp", "pop", "imap"), lock)
        state = str(folder / "state" / "epost.sqlite")
        program = str(folder / "program")
        self.driver = Epost(program, ("smtp", "pop", "imap"), locks, state=state, clock=self.clock)
        self.driver.open([], BEGIN)
        self.loop.gate.firewall = self.driver
        self.greeted: dict[str, list[float]] = {}

    def _knocks(self, address: str) -> None:
        """Nobody but the server keeps a client out."""

    def _read(self) -> None:
        super()._read()
        self.driver.tick(self.clock.now())

    def tries(self, address: str, service: str = "smtp") -> None:
        """Connects; notes when that worked."""
        self.connects(address, service).hang_up()
        self.greeted.setdefault(address, []).append(self.clock.now() - BEGIN)


@pytest.mark.parametrize("lock", [None, 30 * MINUTE])
@pytest.mark.parametrize("logs", [EVERY_LOG, TWO_LOGS])
def test_an_attacker_is_turned_away_by_the_server_itself(
    tmp_path: Path, lock: float | None, logs: frozenset[str]
) -> None:
    """Who guesses passwords is refused on every service until the ban ends, whether E-Post's lock time is
    known or not, and whether receivelog is written or not; partners get in all the time; then the tables
    are as they were."""
    minutes = 0 if lock is None else round(lock / MINUTE)
    story = Guarded(tmp_path, lock, logs=logs, auth_lock_out=50, auth_lock_out_time=minutes)
    for number in range(12):
        story.at(60.0 + 5 * number, story.guesses, ATTACKER, "admin")
    for minute in range(3, 60 * 3):
        story.at(minute * MINUTE, story.tries, ATTACKER, "smtp" if minute % 2 else "imap")
        story.at(minute * MINUTE + 1, story.tries, PARTNER)
    story.play()
    assert story.banned
    ((network, _), at), *_ = story.banned.items()
    assert network == ATTACKER
    greeted = [moment for moment in story.greeted[ATTACKER] if moment < 2 * HOUR]
    ends = min(greeted)
    assert ends >= at + 10 * MINUTE - 1
    assert ends <= at + 12 * MINUTE
    assert len(story.greeted[PARTNER]) == 60 * 3 - 3
    for kind in ("smtp", "pop", "imap"):
        lines = (tmp_path / "program" / FILES[kind]).read_bytes().splitlines()
        assert lines[0] == b"' made once"
        assert all(line.startswith(b"'") for line in lines)


@pytest.mark.parametrize("known", [True, False])
def test_who_was_let_out_and_is_refused_by_an_old_copy(
    tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old copy of a table is put back by hand, with the row of an address that was let out meanwhile: it
    is refused until that is found, and that is not taken for the server's own lock-out. (It would be, were
    nobody known to have been let out.)"""
    if not known:
        monkeypatch.setattr(Pardons, "note", lambda self, network, now: None)
    story = Guarded(tmp_path, None, auth_lock_out=50, auth_lock_out_time=0)
    path = tmp_path / "program" / FILES["smtp"]
    copies: list[bytes] = []

    def unban() -> None:
        copies.append(path.read_bytes())
        story.loop.ask("unban", networks=[ATTACKER])

    def put_back() -> None:
        path.write_bytes(copies[0])

    for number in range(5):
        story.at(60.0 + 5 * number, story.guesses, ATTACKER, "admin")
    story.at(5 * MINUTE, unban)
    story.at(6 * MINUTE, story.tries, ATTACKER)
    story.at(
        2 * HOUR - 1, story.tries, PARTNER
    )  # the tables are looked at: the next time half a minute later
    story.at(2 * HOUR, put_back)
    for second in range(3, 12, 2):
        story.at(2 * HOUR + second, story.tries, ATTACKER)
    for second in range(29, 36):
        story.at(2 * HOUR + second, story.tries, PARTNER)  # the enforcer's clock goes on
    for minute in range(3, 20):
        story.at(2 * HOUR + minute * MINUTE, story.tries, ATTACKER)
    story.play()
    assert (ATTACKER, "password-guessing") in story.banned
    assert ((ATTACKER, "lock-out") in story.banned) is not known
    greeted = [moment for moment in story.greeted[ATTACKER] if moment > 2 * HOUR]
    if known:
        assert greeted == [2 * HOUR + minute * MINUTE for minute in range(3, 20)]
    else:
        assert greeted == []
