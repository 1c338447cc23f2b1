"""What stands beside each ban: what led to it, what it would have stopped, whom it would have hurt."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from mailguard.ledger import Ledger
from mailguard.model import Ban, Impose, Lift, Network
from mailguard.notation import parse_network
from mailguard.replay import known as known_module
from mailguard.replay import timeline as timeline_module
from mailguard.replay.known import Known
from mailguard.replay.shutouts import Shutout, Shutouts, from_ledger
from mailguard.replay.timeline import LANES, kinds_of, total

from .conftest import T, Try, failed, login, mail, told

BAD = "192.0.2.7"


def log(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "mail.log"
    path.write_text("".join(lines))
    return path


def bans(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["effect"] == "impose"]


def test_what_led_to_a_ban(rehearse: Try, tmp_path: Path) -> None:
    """The first hostile event, how many until the ban, the seconds between; then what it would have
    stopped."""
    lines = [failed(at, BAD, f"u{at}") for at in (0, 60, 90, 100, 101, 150, 219)]
    lines += [failed(at, BAD, f"v{at}") for at in (220, 230, 240, 250)]  # the ban of 120 seconds is over
    rows, summary = told(rehearse(log(tmp_path, *lines)))
    first, second = bans(rows)
    assert (first["time"], first["hostile_first"], first["delay"]) == ("100", "0", 100)
    assert (first["hostile_before"], first["stopped"]) == (4, 3)
    # What the first ban would have stopped does not count towards the second.
    assert (second["time"], second["hostile_first"], second["hostile_before"]) == ("250", "220", 4)
    assert (summary["hostile"], summary["stopped"], summary["caught"]) == (11, 3, 1)
    assert summary["stopped_by_kind"] == {"auth_failure": 3}
    assert summary["detectors"]["guessing"] == {
        "bans": 2, "alerts": 0, "stopped": 3, "hurt": 0, "median_delay": 65,
    }  # fmt: skip


def test_lines_of_one_second_are_kept_apart(rehearse: Try, tmp_path: Path) -> None:
    """Ten tries within a second: the fourth decides, six came under the ban."""
    rows, _ = told(rehearse(log(tmp_path, *(failed(0, BAD, f"u{n}") for n in range(10)))))
    (ban,) = bans(rows)
    assert (ban["hostile_before"], ban["stopped"], ban["delay"]) == (4, 6, 0)


def test_collateral_before_during_and_after(rehearse: Try, tmp_path: Path) -> None:
    """Accepted mail and logins from the banned address, by the time at which they came."""
    tries = [failed(1000 + n, BAD, f"u{n}") for n in range(4)]
    lines = [mail(10, BAD), mail(20, BAD), login(30, BAD, "bob"), *tries]
    lines += [login(1010, BAD, "bob"), login(1011, BAD, "eve"), mail(1020, BAD)]
    lines += [mail(5000, BAD, "new@example.org")]
    rows, summary = told(rehearse(log(tmp_path, *lines)))
    (ban,) = bans(rows)
    before, during, after = (ban["collateral"][phase] for phase in ("before", "during", "after"))
    assert (before["messages"], before["pairs"], before["last_mail"]) == (2, 1, "20")
    assert (before["logins"], before["accounts"], before["last_login"]) == (1, 1, "30")
    assert (during["messages"], during["logins"], during["accounts"]) == (0, 2, 2)
    assert during["users"] == ["bob@example.com", "eve@example.com"]
    assert (after["messages"], after["domains"]) == (1, ["example.org"])
    assert ban["verdict"]["id"] == "hurt"
    assert (ban["verdict"]["accounts"], summary["hurt"]) == (2, 1)


def test_a_ban_of_the_login_ports_leaves_mail_alone(rehearse: Try, tmp_path: Path) -> None:
    """Mail through port 25 goes on while only the ports for logins are closed; so it is hurt by none."""
    lines = [failed(n, BAD, f"u{n}") for n in range(4)] + [mail(10, BAD)]
    (ban,) = bans(told(rehearse(log(tmp_path, *lines)))[0])
    assert ban["collateral"]["during"]["messages"] == 0
    assert ban["verdict"]["id"] == "nobody"


def test_a_range_gathers_its_members(rehearse: Try, tmp_path: Path) -> None:
    """A banned network counts what all its addresses did and what speaks for all of them."""
    lines = [mail(1, "192.0.2.200"), login(2, "192.0.2.201", "bob")]
    lines += [failed(10 * n, f"192.0.2.{n}", f"u{n}") for n in (1, 2, 3)]
    lines += [failed(31, "192.0.2.9"), login(32, "192.0.2.201", "bob"), failed(33, "198.51.100.1")]
    rows, summary = told(rehearse(log(tmp_path, *lines)))
    (ban,) = bans(rows)
    assert (ban["network"], ban["detector"], ban["hostile_before"]) == ("192.0.2.0/24", "range", 3)
    assert (ban["hostile_first"], ban["stopped"]) == ("10", 1)
    assert ban["collateral"]["before"]["messages"] == ban["collateral"]["before"]["accounts"] == 1
    assert ban["collateral"]["during"]["users"] == ["bob@example.com"]
    assert (summary["caught"], summary["never_caught"]["sources"]) == (3, 1)


def test_who_was_never_caught(rehearse: Try, tmp_path: Path) -> None:
    """The worst first, with what they did; the rest as a number."""
    lines = [failed(1000 * n + 10 * host, f"10.0.{host}.7") for n in range(3) for host in range(30)]
    lines += [failed(90_000, "10.0.5.7")]
    _, summary = told(rehearse(log(tmp_path, *lines)))
    never = summary["never_caught"]
    assert (never["sources"], never["events"], len(never["worst"])) == (30, 91, 20)
    assert never["worst"][0] == {
        "source": "10.0.5.7", "first": "50", "last": "90000", "events": 4, "kinds": {"auth_failure": 4},
    }  # fmt: skip


def test_ipv6_counts_by_64(rehearse: Try, tmp_path: Path) -> None:
    """What any address of the /64 did belongs to its ban."""
    lines = [login(0, "2001:db8:0:1::99", "bob")]
    lines += [failed(n, f"2001:db8:0:1::{n + 1}", f"u{n}") for n in range(6)]
    (ban,) = bans(told(rehearse(log(tmp_path, *lines)))[0])
    assert (ban["network"], ban["hostile_before"], ban["stopped"]) == ("2001:db8:0:1::/64", 4, 2)
    assert ban["collateral"]["before"]["accounts"] == 1


def test_what_was_shut_out_is_not_told_as_nobody(rehearse: Try, tmp_path: Path) -> None:
    """While the guard really kept the network out, its people could not be seen; the verdict says so."""
    path = tmp_path / "ledger.db"
    network = parse_network(BAD)
    assert network is not None
    ledger = Ledger(path)
    ledger.record([Impose(Ban(network, T + 60, T + 1000), T + 60), Lift(network, T + 100, "unban")])
    ledger.close()
    lines = [failed(n, BAD, f"u{n}") for n in range(4)]
    lines += [failed(n, "192.0.2.8", f"u{n}") for n in range(4)] + [failed(5000, "198.51.100.1")]
    rehearsed = rehearse(log(tmp_path, *lines), shutouts=from_ledger(path))
    first, second = bans(told(rehearsed)[0])
    assert (first["verdict"]["id"], first["collateral"]["hidden_seconds"]) == ("hidden", 40)
    assert second["verdict"]["id"] == "nobody"


def test_shutouts_of_networks_around_and_inside() -> None:
    """A real ban of a wider or narrower network hides some of it; stretches are not counted twice."""

    def net(text: str) -> Network:
        found = parse_network(text)
        assert found is not None
        return found

    shut = Shutouts(
        [
            Shutout(net("192.0.2.0/24"), 0, 10),
            Shutout(net("192.0.2.7"), 5, 20),
            Shutout(net("192.0.0.0/16"), 30, 40),
            Shutout(net("198.51.100.0/24"), 0, 99),
        ]
    )
    assert shut.hidden(net("192.0.2.7"), 2, 35) == [(2, 20), (30, 35)]
    assert shut.hidden(net("192.0.2.0/24"), 2, 15) == [(2, 15)]
    assert shut.hidden(net("192.0.0.0/8"), 0, 50) == [(0, 20), (30, 40)]
    assert shut.hidden(net("2001:db8::/32"), 0, 50) == []


def test_a_server_that_locked_out_by_itself_is_told(tmp_path: Path) -> None:
    """Counted in the packed counters under its own kind."""
    packed = LANES["locked_out"] * 3 + LANES["auth_failure"] * 70_000
    assert kinds_of(packed) == {"auth_failure": 70_000, "locked_out": 3}
    assert total(packed) == 70_003


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, rehearse: Try, tmp_path: Path) -> None:
    """A flood of sources is forgotten in turn and counted; the worst are kept."""
    monkeypatch.setattr(timeline_module, "CAP", 200)
    monkeypatch.setattr(timeline_module, "WORST", 5)
    slow = [failed(1000 * n, "10.9.9.9", f"w{n}") for n in range(40)]
    flood = [failed(40 * n, f"10.{n // 250}.{n % 250}.1") for n in range(1000)]
    lines = sorted(slow + flood)
    _, summary = told(rehearse(log(tmp_path, *lines)))
    never = summary["never_caught"]
    assert never["worst"][0]["source"] == "10.9.9.9"
    assert never["worst"][0]["events"] == 40
    assert never["forgotten"] > 500
    assert never["sources"] + never["forgotten"] == 1001


def test_the_known_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes again stays, whoever came once long ago is forgotten and counted."""
    monkeypatch.setattr(known_module, "CAP", 100)
    known = Known()
    for n in range(1000):
        known.mail(n, float(n), {"sender": "a@example.org"})
        known.login(5, float(n), {"user": f"u{n}"})
    tally = known.of(Network(5, 32))
    assert (tally.logins, tally.accounts, tally.last_login) == (1000, known_module.MOST, 999.0)
    assert known.forgotten > 700
    assert len(known.young) + len(known.old) <= 100


def test_totals_agree_with_the_engine(rehearse: Try, tmp_path: Path) -> None:
    """On random logs, every hostile event is either stopped or laid to a source; and the engine counts
    alike."""
    for seed in range(5):
        chance = random.Random(seed)
        lines = [
            failed(at, f"192.0.{chance.randrange(3)}.{chance.randrange(5)}", f"u{chance.randrange(9)}")
            for at in sorted(chance.randrange(5000) for _ in range(400))
        ]
        rehearsed = rehearse(log(tmp_path, *lines))
        rows, summary = told(rehearsed)
        counts = rehearsed.trials[0].judge.engine.counts
        assert summary["stopped"] == counts["under_ban"] == sum(ban["stopped"] for ban in bans(rows)) > 0
        assert summary["hostile"] == 400
