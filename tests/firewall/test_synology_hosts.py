"""IPv6 networks and a list of single addresses: the hosts that did something are kept out, as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard.clock import ManualClock
from mailguard.daemon.door import Door
from mailguard.daemon.hosts import MOST, HostsToo
from mailguard.definitions.parsers import load_parser
from mailguard.enforcer import spawn
from mailguard.firewall.interface import FirewallError
from mailguard.firewall.recording import Recording
from mailguard.firewall.several import Several
from mailguard.firewall.synology import Synology
from mailguard.model import Ban, Event, Offence
from mailguard.notation import parse_address
from tests.firewall.test_synology import NOW, Nas, ban, net, said
from tests.test_daemon import PARSER, Place

WIDE = "2001:db8:1:2::/64"


@pytest.fixture
def nas(tmp_path: Path) -> Nas:
    return Nas(tmp_path)


def packed(text: str) -> int:
    address = parse_address(text)
    assert address is not None
    return address


def event(text: str, may_ban: bool = True) -> Event:
    return Event("auth_failure", NOW, packed(text), "x/y", 1, {}, "log", 0, "mail", may_ban)


def offended(text: str, *sources: str, seconds: float | None = 600.0) -> Ban:
    made = ban(text, seconds)
    offence = Offence("d", text, NOW, NOW, 5, sources=tuple(packed(one) for one in sources))
    return Ban(made.network, made.since, made.until, offence=offence)


def held(nas: Nas) -> set[str]:
    return set(nas.rows())


def test_hosts_before_at_and_after_the_ban(nas: Nas) -> None:
    """Those that tried before, the one that completed it, and those that come later; nobody else of the
    network, nobody of another one. They end with the network's ban."""
    driver = nas.driver()
    firewall = HostsToo(driver)
    firewall.open([], NOW)
    firewall.saw([event("2001:db8:1:2::1"), event("2001:db8:1:3::1"), event("192.0.2.1")], NOW)
    assert held(nas) == set()
    firewall.impose([offended(WIDE, "2001:db8:1:2::5")], NOW)
    assert held(nas) == {"2001:db8:1:2::1", "2001:db8:1:2::5"}
    firewall.saw([event("2001:db8:1:2::9"), event("2001:db8:1:2::a", may_ban=False)], NOW + 1)
    assert held(nas) == {"2001:db8:1:2::1", "2001:db8:1:2::5", "2001:db8:1:2::9"}
    assert (net(WIDE), "mail") not in firewall.banned()  # nothing claims that all of it is kept out
    assert (net("2001:db8:1:2::9"), "mail") in firewall.banned()
    (words,) = said(driver)
    assert words.startswith(f"{WIDE} is not kept out of the NAS: ")
    assert "those that did something are, as they come, and no others" in words
    firewall.impose([offended(WIDE, seconds=900)], NOW)
    assert {row[1] for row in nas.rows().values()} == {int(NOW) + 900}
    firewall.lift([(net(WIDE), "mail")])
    assert held(nas) == set()
    firewall.saw([event("2001:db8:1:2::9")], NOW + 2)
    assert held(nas) == set()


def test_a_network_without_known_hosts_claims_nothing(nas: Nas) -> None:
    driver = nas.driver()
    firewall = HostsToo(driver)
    firewall.open([], NOW)
    firewall.impose([ban(WIDE)], NOW)
    assert firewall.banned() == {}


def test_after_a_restart(nas: Nas) -> None:
    """The ledger knows of networks only; the driver kept the hosts, and ends them with the network's ban."""
    firewall = HostsToo(nas.driver())
    firewall.open([], NOW)
    firewall.impose([offended(WIDE, "2001:db8:1:2::5")], NOW)
    again = HostsToo(nas.driver())
    again.open([ban(WIDE)], NOW)
    assert held(nas) == {"2001:db8:1:2::5"}
    again.saw([event("2001:db8:1:2::6")], NOW)
    assert held(nas) == {"2001:db8:1:2::5", "2001:db8:1:2::6"}
    again.lift([(net(WIDE), "mail")])
    assert held(nas) == set()


def test_a_list_that_is_locked_loses_no_host(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next deed of the host is another try."""
    driver = nas.driver()
    firewall = HostsToo(driver)
    firewall.open([], NOW)
    firewall.impose([ban(WIDE)], NOW)

    def refuse(*_: Any) -> None:
        raise FirewallError("somebody has been writing into it")

    with monkeypatch.context() as patch:
        patch.setattr(driver, "change", refuse)
        firewall.saw([event("2001:db8:1:2::6")], NOW)
    assert held(nas) == set()
    firewall.saw([event("2001:db8:1:2::6")], NOW)
    assert held(nas) == {"2001:db8:1:2::6"}


def test_it_is_bounded() -> None:
    """A sender with a whole network fills neither memory nor the list."""
    clock = ManualClock(NOW)
    recording = Recording(clock)
    firewall = HostsToo(recording)
    firewall.open([ban(WIDE)], NOW)
    firewall.saw([event(f"2001:db8:1:2::{number:x}") for number in range(1, 2000)], NOW)
    assert len(recording.banned()) == MOST + 1
    firewall.saw([event(f"2001:db8:{number:x}::1") for number in range(1, 9000)], NOW)
    assert len(firewall._recent) <= 4096


def test_beside_a_way_that_bans_networks(nas: Nas) -> None:
    """The kernel has the network and is not told of hosts, which would overlap with it."""
    recording = Recording(nas.clock)
    both = Several([recording, nas.driver()], nas.clock)
    assert both.wants_hosts
    firewall = HostsToo(both)
    firewall.open([], NOW)
    firewall.impose([offended(WIDE, "2001:db8:1:2::5"), ban("192.0.2.7")], NOW)
    firewall.saw([event("2001:db8:1:2::6")], NOW)
    assert {place for place, _ in recording.banned()} == {net(WIDE), net("192.0.2.7")}
    assert held(nas) == {"2001:db8:1:2::5", "2001:db8:1:2::6", "192.0.2.7"}
    hosts = {net("2001:db8:1:2::5"), net("2001:db8:1:2::6")}
    assert {place for place, _ in both.banned()} == {net("192.0.2.7"), *hosts}
    again = Several([Recording(nas.clock), nas.driver()], nas.clock)
    again.open([ban(WIDE), ban("192.0.2.7")], NOW)
    assert {place for place, _ in again.parts[0].banned()} == {net(WIDE), net("192.0.2.7")}
    after = HostsToo(Several([Recording(nas.clock), nas.driver()], nas.clock))
    after.open([ban(WIDE), ban("192.0.2.7")], NOW)
    after.lift([(net(WIDE), "mail"), (net("192.0.2.7"), "mail")])
    assert held(nas) == set()


def test_a_host_that_was_banned_for_itself_keeps_its_ban(nas: Nas) -> None:
    """Also when its network is banned and lifted, and when it did something meanwhile."""
    firewall = HostsToo(nas.driver())
    firewall.open([ban("2001:db8:1:2::5", 5000)], NOW)
    firewall.impose([offended(WIDE, "2001:db8:1:2::5", "2001:db8:1:2::6")], NOW)
    firewall.saw([event("2001:db8:1:2::5")], NOW)
    assert held(nas) == {"2001:db8:1:2::5", "2001:db8:1:2::6"}
    assert nas.rows()["2001:db8:1:2::5"][1] == int(NOW) + 5000
    again = HostsToo(nas.driver())
    again.open([ban("2001:db8:1:2::5", 5000), ban(WIDE)], NOW)
    again.lift([(net(WIDE), "mail")])
    assert held(nas) == {"2001:db8:1:2::5"}
    again.lift([(net("2001:db8:1:2::5"), "mail")])
    assert held(nas) == set()


def test_what_is_handed_over_whole_needs_no_hosts() -> None:
    """With {network} DSM takes networks as they are."""
    driver = Synology("webapi", create=["/bin/true", "{network}"], delete=["/bin/true", "{network}"])
    assert not driver.wants_hosts
    assert "IPv6" not in driver.caveat
    assert "of IPv6 networks it holds the addresses that did something" in Synology().caveat


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("parsers") / "door.toml"
    path.write_text(PARSER)
    return load_parser(path)


@pytest.fixture
def place(tmp_path: Path, parser: Any) -> Iterator[Place]:
    (tmp_path / "guard").mkdir()
    place = Place(tmp_path / "guard", parser)
    yield place
    if hasattr(place, "guard"):
        place.guard.end()


def test_from_a_line_to_the_list_of_the_nas(place: Place, tmp_path: Path) -> None:
    """The whole guard: tries from one address after another of a /64; each that tried is kept out, `bans`
    names the network and its hosts, and `unban` of the network lets all in."""
    nas = Nas(tmp_path)
    place.clock.wall = nas.clock.now()
    place.clock.wall = time.time()
    place.start(Door(HostsToo(spawn(nas.driver(place.clock))), "synology"))
    for number in range(1, 8):
        place.attack(f"2001:db8:1:2::{number}", times=1, every=0.0)
    place.step()
    assert held(nas) == {f"2001:db8:1:2::{number}" for number in range(1, 8)}
    place.attack("2001:db8:1:2::99", times=1, every=0.0)
    place.step()
    assert "2001:db8:1:2::99" in held(nas)
    listed = {row["network"]: row["text"] for row in place.ask("bans")["bans"]}
    assert listed["2001:db8:1:2::99"] == f"ban 2001:db8:1:2::99: a host of {WIDE}"
    assert WIDE in listed
    assert place.ask("unban", network=WIDE)["ok"]
    assert held(nas) == set()
