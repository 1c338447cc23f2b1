"""The driver beside a server that appends: nothing lost, nothing doubled, nobody wrong kept out, at any
moment.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard.firewall.epoststate import State
from mailguard.firewall.interface import FirewallError
from mailguard.notation import covers
from tests.epost.beside import BEGIN, INNOCENT, KINDS, Crashed, Stage, ban, network

POOL = ("192.0.2.7", "192.0.2.8", "192.0.2.64/26", "198.51.100.0/24", "2001:db8:0:1::/64", "198.51.100.9")
#: A client of each network, and the longest ban that covers it follows from POOL.
CLIENTS = {
    "192.0.2.7": ("192.0.2.7",),
    "192.0.2.8": ("192.0.2.8",),
    "192.0.2.64/26": ("192.0.2.64", "192.0.2.127"),
    "198.51.100.0/24": ("198.51.100.0", "198.51.100.255"),
    "2001:db8:0:1::/64": ("2001:db8:0:1::7", "2001:db8:0:1:ffff::"),
    "198.51.100.9": ("198.51.100.9",),
}


@pytest.fixture
def quick() -> Iterator[Path]:
    """A folder in memory where there is one: the state file waits for the disk at each change."""
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="mailguard-test-", dir=shared) as folder:
        yield Path(folder)


def cover(wanted: dict[str, float | None], client: str, now: float) -> bool:
    """Whether a ban that stands covers a client."""
    host = network(client)
    return any(covers(network(text), host) for text, until in wanted.items() if until is None or until > now)


def check_end(stage: Stage, wanted: dict[str, float | None], sessions: bool = False) -> None:
    """What must be true when the driver has answered; with `sessions` by playing them."""
    now = stage.clock.now()
    stage.others_stand()
    standing = sorted(text for text, until in wanted.items() if until is None or until > now)
    for kind in KINDS:
        assert stage.ours(kind) == standing, kind
        clients = {one for text in POOL for one in CLIENTS[text]}
        out = {client for client in clients if cover(wanted, client, now)}
        assert stage.turned_away(clients | {*INNOCENT}, kind) == out, kind
        if sessions:
            assert {client for client in clients | {*INNOCENT} if stage.refused(client, kind)} == out, kind


def play(stage: Stage, chance: random.Random, steps: int) -> dict[str, float | None]:
    """Bans, lifts, ends and restarts while the server locks people out between any two calls."""
    wanted: dict[str, float | None] = {}

    def between() -> None:
        if chance.random() < 0.15:
            stage.lock_out(chance.randrange(100), chance.choice(KINDS))

    stage.disk.between = between
    stage.driver.open([], stage.clock.now())
    for _ in range(steps):
        now = stage.clock.now()
        verb = chance.choice(("ban", "ban", "ban", "lift", "pass", "restart", "open"))
        some = chance.sample(POOL, chance.randint(1, 3))
        if verb == "ban":
            for text in some:
                wanted[text] = chance.choice((None, now + 60, now + 600, now + 86400))
            stage.driver.impose([ban(text, wanted[text]) for text in some], now)
        elif verb == "lift":
            stage.driver.lift([(network(text), "mail") for text in some])
            for text in some:
                wanted.pop(text, None)
        elif verb == "pass":
            stage.clock.set(now + chance.choice((1.0, 61.0, 601.0)))
            stage.driver.tick(stage.clock.now())
            wanted = {t: end for t, end in wanted.items() if end is None or end > stage.clock.now()}
        elif verb == "restart":
            stage.die()
            stage.driver = stage.start()
            stage.driver.open([ban(text, until) for text, until in wanted.items()], now)
        else:
            stage.driver.open([ban(text, until) for text, until in wanted.items()], now)
        check_end(stage, wanted)
    check_end(stage, wanted, sessions=True)
    return wanted


@pytest.mark.parametrize("seed", range(40))
def test_driver_and_server_write_at_once(quick: Path, seed: int) -> None:
    """Forty plays of 25 acts, the server appending between any two calls of the driver (about a thousand
    places each): after each act exactly the wanted rows are in force once, the server's are all there
    byte for byte, the banned are turned away by the server itself and everybody else gets in."""
    chance = random.Random(seed)
    stage = Stage(quick, chance.choice((None, 1800.0)), chance.choice((b"\n", b"\r\n")))
    # The server keeps no row of its own in force here, or it would turn its own clients away.
    play(stage, chance, 25)
    stage.driver.close(keep=False)
    check_end(stage, {}, sessions=True)


@pytest.mark.parametrize("lock", [None, 1800.0])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_no_half_written_row_ever_counts(quick: Path, lock: float | None, end: bytes) -> None:
    """Whatever part of a write a reader sees, byte by byte, nobody is kept out who was never banned."""
    stage = Stage(quick, lock, end)
    stage.disk.seen = stage.nobody_wrong
    with pytest.raises(AssertionError):
        stage.nobody_wrong(stage.head + b"192.0.2.64/2")  # what a row cut short would do
    chance = random.Random(7)
    play(stage, chance, 60)


def crashes(stage: Stage, acts: list[tuple[str, float | None]], seed: int) -> bool:
    """Play the acts with a crash at the write set in the disk; True when it came. Then the next process
    comes."""
    chance = random.Random(seed)
    stage.disk.between = lambda: (
        stage.lock_out(chance.randrange(100), "smtp") if chance.random() < 0.1 else None
    )
    wanted: dict[str, float | None] = {}
    now = stage.clock.now()
    crashed, text = False, ACTS[0][0]
    try:
        stage.driver.open([], now)
        for text, seconds in acts:
            until = None if seconds is None else now + seconds
            if seconds is not None and seconds < 0:
                wanted.pop(text, None)
                stage.driver.lift([(network(text), "mail")])
            else:
                wanted[text] = until
                stage.driver.impose([ban(text, until)], now)
    except Crashed:
        crashed = True
    stage.die()
    stage.disk.crash_at = 0
    stage.driver = stage.start()
    # The judge's word: what was asked for is due, and a lift that was not answered is asked for again.
    stage.driver.open([ban(text, until) for text, until in wanted.items()], now)
    if crashed and text not in wanted:
        stage.driver.lift([(network(text), "mail")])
    check_end(stage, wanted)
    stage.driver.close(keep=False)
    check_end(stage, {})
    return crashed


ACTS: list[tuple[str, float | None]] = [
    ("192.0.2.7", 600.0), ("198.51.100.0/24", None), ("192.0.2.7", 60.0), ("192.0.2.7", -1.0),
    ("2001:db8:0:1::/64", 60.0), ("192.0.2.8", 86400.0), ("2001:db8:0:1::/64", -1.0), ("192.0.2.64/26", 60.0),
]  # fmt: skip


@pytest.mark.parametrize("lock", [None, 1800.0])
@pytest.mark.parametrize("torn", [0, 1, 5])
def test_a_crash_at_any_write_is_survived(quick: Path, lock: float | None, torn: int) -> None:
    """Killed at each of its writes in turn, half done or not done at all: the next process puts right what
    is not, no row of ours is left that nobody knows, no row of others is touched."""
    at = 1
    while True:
        stage = Stage(quick / str(at), lock)
        stage.disk.crash_at, stage.disk.torn = at, torn
        if not crashes(stage, ACTS, at):
            break
        at += 1
    assert at > 35


@pytest.mark.parametrize("lock", [None, 1800.0])
@pytest.mark.parametrize("written", [False, True])
def test_a_crash_around_the_state_file_is_survived(
    quick: Path, monkeypatch: pytest.MonkeyPatch, lock: float | None, written: bool
) -> None:
    """Killed before or after each write of the state file: the same promise."""
    commit = State.commit
    left = 0

    def crashing(state: State, *arguments: Any, **named: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0 and not written:
            raise Crashed
        commit(state, *arguments, **named)
        if left == 0:
            raise Crashed

    monkeypatch.setattr(State, "commit", crashing)
    at = 1
    while True:
        left = at
        try:
            assert crashes(Stage(quick / str(at), lock), ACTS, at)
        except Crashed:  # no write of the acts any more, but one of what follows them
            break
        at += 1
    assert at > len(ACTS)


def test_a_ban_ends_by_itself_when_the_guard_is_dead(quick: Path) -> None:
    """With a known lock time rows end with their bans, shorter or longer than it; without one they stand."""
    for lock in (1800.0, None):
        stage = Stage(quick / str(lock), lock)
        now = stage.clock.now()
        stage.driver.open([ban("192.0.2.7", now + 60), ban("192.0.2.8", now + 86400)], now)
        stage.die()
        assert stage.refused("192.0.2.7")
        stage.clock.set(now + 59)
        assert stage.refused("192.0.2.7")
        stage.clock.set(now + 61)
        assert stage.refused("192.0.2.7") == (lock is None)
        assert stage.refused("192.0.2.8")
        stage.clock.set(now + 86401)
        assert stage.refused("192.0.2.8") == (lock is None)
        stage.driver = stage.start()
        stage.driver.open([], stage.clock.now())
        assert not stage.refused("192.0.2.7")
        assert not stage.refused("192.0.2.8")
        assert stage.ours("smtp") == []


def test_the_attacker_of_the_server_itself_is_not_ours(quick: Path) -> None:
    """The server's own lock-outs stand before, during and after a ban of the same address."""
    stage = Stage(quick)
    now = stage.clock.now()
    stage.driver.open([], now)
    stage.lock_out(9, "smtp")
    stage.driver.impose([ban("203.0.113.9", now + 60)], now)
    assert stage.refused("203.0.113.9", "imap")
    stage.driver.lift([(network("203.0.113.9"), "mail")])
    assert stage.refused("203.0.113.9")
    assert not stage.refused("203.0.113.9", "imap")
    assert stage.path("smtp").read_bytes().count(b"\n203.0.113.9\t") == 1


def test_time_is_not_lost_in_filetimes(quick: Path) -> None:
    """The end of a row is the end of its ban to the microsecond."""
    stage = Stage(quick, 1800.0)
    stage.driver.open([ban("192.0.2.7", BEGIN + 0.5)], BEGIN)
    rows = stage.server.tables["smtp"].rows()
    assert rows[-1].since is not None
    assert abs(rows[-1].since + 1800.0 - (BEGIN + 0.5)) < 1e-5


def test_a_missing_table_keeps_nobody_from_the_others(quick: Path) -> None:
    """One table gone: the others take the ban, the error names it, and it is made good when the table is
    back."""
    stage = Stage(quick)
    now = stage.clock.now()
    stage.driver.open([], now)
    kept = stage.path("pop").read_bytes()
    stage.path("pop").unlink()
    for _ in range(2):
        with pytest.raises(FirewallError, match=r"rejectpopip\.dat: No such file .*create it once"):
            stage.driver.impose([ban("192.0.2.7", now + 60)], now)
    assert stage.ours("smtp") == stage.ours("imap") == ["192.0.2.7"]
    assert stage.driver.missing_layout() != []
    assert not stage.path("pop").exists()
    stage.path("pop").write_bytes(kept)
    stage.driver.impose([ban("192.0.2.7", now + 60)], now)
    assert [stage.ours(kind) for kind in KINDS] == [["192.0.2.7"]] * 3
    assert [notice.args["what"] for notice in stage.driver.notices()] == [
        f"{stage.path('pop')} takes bans again"
    ]
