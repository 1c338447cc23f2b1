"""Refusals of the mail server's that may be a row of ours which came back, of those who were let out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailguard.core import state
from mailguard.core.detectors import BanRule, Detector
from mailguard.core.engine import Engine, Setup
from mailguard.core.pardons import REVIVED, Pardons
from mailguard.core.requests import Requests
from mailguard.model import Event, Offence
from mailguard.notation import format_effect
from tests.written import address, network

pytestmark = pytest.mark.usefixtures("both_cores")

T = 1_800_000_000.0
LOCKED = Detector(
    "lock-out",
    "",
    ("locked_out",),
    "source",
    3600.0,
    count=3,
    who="stranger",
    ban=BanRule(3600.0, 4.0, 604800.0),
)
GUESS = Detector("guess", "", ("auth_failure",), "source", 600.0, count=5, ban=BanRule(600.0, 4.0, 604800.0))
HOST = "203.0.113.9"


def made() -> Engine:
    engine = Engine(Setup((LOCKED, GUESS), track=True))
    engine.policy.enforcing = True
    return engine


def told(engine: Engine, *times: float, host: str = HOST, kind: str = "locked_out") -> list[str]:
    return [
        format_effect(effect)
        for time in times
        for effect in engine.feed(
            Event(
                kind, T + time, address(host), "p/r", 1, {}, "log", int(time), "auth", True, frozenset(), b""
            )
        )
    ]


def let_out(engine: Engine, *networks: str, at: float = 0.0) -> None:
    Requests(engine).request("unban", {"networks": list(networks)}, T + at)


@pytest.mark.parametrize("what", [HOST, "203.0.113.0/24"])
def test_who_was_let_out_is_not_banned_by_a_row_that_came_back(what: str) -> None:
    """However often he knocks until it is found, which is said once; others are banned as ever."""
    engine = made()
    let_out(engine, what)
    found = told(engine, 5000, 5010, 5020, 5030, 5031, 5032)
    assert found == [f"alert {HOST} by lock-out: 3 locked_out in 20s [unbanned]"]
    assert told(engine, 5040, 5041, 5042, host="192.0.2.1")[0].startswith("ban 192.0.2.1 for 1h by lock-out")


@pytest.mark.parametrize("times", [(100, 110, 120, 170, 175, 180), (100, 140, 180)])
def test_the_servers_own_lock_out_lasts_longer(times: tuple[float, ...]) -> None:
    """A row of ours is found within a minute: what is refused for longer is the server's."""
    engine = made()
    let_out(engine, HOST)
    assert told(engine, *times)[-1].startswith(f"ban {HOST} for 1h by lock-out")


def test_nothing_else_is_excused() -> None:
    """Who guesses again is banned again."""
    engine = made()
    let_out(engine, HOST)
    assert told(engine, 100, 101, 102, 103, 104, kind="auth_failure")[0].startswith(f"ban {HOST} for 10m")


def test_a_later_copy_is_excused_too() -> None:
    """A backup that is put back the day after next, again."""
    engine = made()
    let_out(engine, HOST)
    assert told(engine, 100, 101, 102)[0].endswith("[unbanned]")
    assert told(engine, 200_000, 200_001, 200_002)[0].endswith("[unbanned]")


def test_no_ban_of_theirs_is_told_ahead() -> None:
    """What is told ahead is sent to the firewall before the policy was asked."""
    engine = made()
    ahead: list[int] = []
    engine.foretell(lambda address, prefix, scope, until: ahead.append(address))
    let_out(engine, HOST)
    told(engine, 100, 101, 102)
    assert ahead == []
    told(engine, 100, 101, 102, host="192.0.2.1")
    assert ahead in ([], [address("192.0.2.1")])  # never without the compiled twin


def test_it_survives_a_restart_and_why_says_it() -> None:
    """The checkpoint has who was let out, and when."""
    engine = made()
    let_out(engine, HOST)
    let_out(engine, "2001:db8::1", at=7)
    rows = [row for row in state.save(engine) if row[2] is not None]
    again = made()
    state.restore(again, rows)
    for one, at in ((HOST, 0), ("2001:db8::/64", 7), ("203.0.113.8", None)):
        _, answer = Requests(again).request("why", {"network": one}, T + 10)
        assert answer["unbanned"] == (None if at is None else T + at)
    assert told(again, 100, 101, 102)[0].endswith("[unbanned]")


def test_it_is_bounded() -> None:
    """A thousand networks, the newest; and what they were refused of as many."""
    pardons = Pardons()
    offence = Offence("lock-out", "", T, T + 20, 3, ("locked_out",), scope="auth")
    hosts = [network(f"192.0.{number >> 8}.{number & 255}") for number in range(1_500)]
    for number, host in enumerate(hosts):
        pardons.note(host, T + number)
        assert pardons.excuses(offence, host)
    assert len(pardons.marks) == len(pardons._refused) == 1_000
    assert pardons.of(hosts[0]) is None
    assert pardons.of(hosts[-1]) == T + 1_499
    pardons.note(hosts[600], T + 2_000)
    assert pardons.of(network("192.0.0.0/16")) == T + 2_000
    longer = replace(offence, last=T + REVIVED + 1)
    assert not pardons.excuses(longer, hosts[600])
