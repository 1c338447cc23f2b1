"""Somebody changes the firewall behind the guard's back: noticed within seconds, repaired, said."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mailguard.enforcer import spawn
from mailguard.firewall.ipset import Ipset
from mailguard.firewall.nftables import Nftables
from mailguard.firewall.remote import RemoteFirewall
from mailguard.firewall.xtables import Commands
from mailguard.notation import format_network
from tests.written import network

pytestmark = pytest.mark.kernel


def texts(firewall: Any) -> set[str]:
    return {format_network(network) for network, _ in firewall.banned()}


NETWORKS = {"192.0.2.7", "192.0.2.8", "198.51.100.0/24", "198.51.100.64/26", "2001:db8::7", "2001:db8:1::/64"}


@pytest.fixture
def opened(enforced: RemoteFirewall, helpers: Any) -> RemoteFirewall:
    """nftables behind an enforcer with some bans, overlapping ones among them."""
    bans = [helpers.ban(one, None if "/26" in one else 600) for one in NETWORKS]
    enforced.open(bans, time.time())
    enforced.allow([network("192.0.2.99"), network("2001:db8:9::/48")])
    return enforced


def whole(helpers: Any) -> str:
    """The ruleset without what changes by itself."""
    lines = helpers.run("nft", "--stateless", "list", "ruleset").splitlines()
    return "\n".join(sorted(line for line in lines if "elements" not in line and "timeout " not in line))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("flush ruleset", "the table is gone"),
        ("delete table inet mailguard", "the table is gone"),
        ("flush chain inet mailguard prerouting", "rules of prerouting: gone"),
        ("delete chain inet mailguard prerouting", "chain prerouting: gone"),
        ("insert rule inet mailguard prerouting accept", "rules of prerouting: changed"),
        ("add table inet mailguard { flags dormant; }", "table: changed"),
        ("add chain inet mailguard prerouting { policy drop; }", "chain prerouting: changed"),
        ("flush chain inet mailguard prerouting; flush chain inet mailguard mail_ports; "
         "delete set inet mailguard mail_host4", "set mail_host4: gone"),
    ],
)  # fmt: skip
def test_a_changed_layout_is_made_again(
    opened: RemoteFirewall, helpers: Any, command: str, said: str
) -> None:
    """Table, chains, rules, sets and hooks come back with every ban, within seconds, and it is said."""
    before = whole(helpers)
    start = time.monotonic()
    helpers.run("nft", command)
    (notice,) = helpers.heard(opened)
    assert time.monotonic() - start < 5
    assert notice.id == "firewall-repaired"
    assert said in notice.args["what"]
    assert whole(helpers) == before
    assert texts(opened) == NETWORKS
    assert "192.0.2.99" in helpers.run("nft", "list", "set", "inet", "mailguard", "allowed4")


@pytest.mark.parametrize(
    ("command", "networks"),
    [
        ("delete element inet mailguard mail_host4 { 192.0.2.7 }", {"192.0.2.7"}),
        ("flush set inet mailguard mail_host4", {"192.0.2.7", "192.0.2.8"}),
        ("flush set inet mailguard mail_net4", {"198.51.100.0/24", "198.51.100.64/26"}),
        ("delete element inet mailguard mail_net4 { 198.51.100.64/26 }", {"198.51.100.64/26"}),
        ("flush set inet mailguard mail_prefix6", {"2001:db8:1::/64"}),
    ],
)
def test_elements_that_were_removed_come_back(
    opened: RemoteFirewall, helpers: Any, command: str, networks: set[str]
) -> None:
    """Bans that somebody took out stand again with their own ends, and the notice names them."""
    ends = opened.banned()
    helpers.run("nft", command)
    (notice,) = helpers.heard(opened)
    assert notice.id == "firewall-repaired"
    assert set(notice.args["networks"]) == networks
    assert notice.args["wrong"] == len(networks)
    after = opened.banned()
    assert after.keys() == ends.keys()
    for place, standing in after.items():
        expected = ends[place].expires
        assert (standing.expires is None) == (expected is None)
        assert standing.expires is None or expected is None or abs(standing.expires - expected) < 2


def test_a_changed_end_is_put_right(opened: RemoteFirewall, helpers: Any) -> None:
    """An element that somebody gave another timeout gets its own again."""
    where = "element inet mailguard mail_host4"
    helpers.run("nft", f"delete {where} {{ 192.0.2.7 }}; add {where} {{ 192.0.2.7 timeout 9s }}")
    (notice,) = helpers.heard(opened)
    assert notice.args["networks"] == ["192.0.2.7"]
    ends = opened.banned()[network("192.0.2.7"), "mail"].expires
    assert ends is not None
    assert ends > time.time() + 500


def test_foreign_elements_are_adopted_until_their_end(opened: RemoteFirewall, helpers: Any) -> None:
    """What somebody else put in stays, is told, survives a repair, and ends when it should."""
    helpers.run("nft", "add element inet mailguard mail_host4 { 203.0.113.5 timeout 4s }")
    (notice,) = helpers.heard(opened)
    assert notice.args["adopted_networks"] == ["203.0.113.5"]
    helpers.run("nft", "add element inet mailguard auth_net4 { 203.0.113.64-203.0.113.191 timeout 1h }")
    (notice,) = helpers.heard(opened)
    assert set(notice.args["adopted_networks"]) == {"203.0.113.64/26", "203.0.113.128/26"}
    helpers.run("nft", "flush", "ruleset")
    helpers.heard(opened)
    assert texts(opened) == NETWORKS | {"203.0.113.5", "203.0.113.64/26", "203.0.113.128/26"}
    helpers.until(lambda: "203.0.113.5" not in texts(opened))


def test_a_foreign_range_in_the_way_is_no_obstacle(opened: RemoteFirewall, helpers: Any) -> None:
    """A ban that overlaps somebody's range stands all the same, and so does the range."""
    opened.pause(time.time() + 60)
    helpers.run("nft", "add element inet mailguard mail_net4 { 203.0.113.64-203.0.113.191 timeout 1h }")
    opened.impose([helpers.ban("203.0.113.0/24", 60)], time.time())
    assert texts(opened) == NETWORKS | {"203.0.113.0/24", "203.0.113.64/26", "203.0.113.128/26"}


def test_imposing_right_after_a_flush_makes_everything_again(opened: RemoteFirewall, helpers: Any) -> None:
    """A ban that comes before the reconciler looked does not fail: the table is made anew with every ban."""
    opened.pause(time.time() + 60)
    helpers.run("nft", "flush", "ruleset")
    opened.impose([helpers.ban("192.0.2.9")], time.time())
    assert texts(opened) == NETWORKS | {"192.0.2.9"}
    (notice,) = helpers.heard(opened)
    assert notice.id == "firewall-repaired"


def test_other_tables_are_none_of_its_business(opened: RemoteFirewall, helpers: Any) -> None:
    """Somebody's own tables come and go without a word, and are left alone."""
    helpers.run("nft", "add table inet other; add set inet other mail_host4 { type ipv4_addr; }")
    helpers.run("nft", "add element inet other mail_host4 { 192.0.2.7 }; delete table inet other")
    helpers.run("nft", "add table inet another")
    helpers.run("nft", "delete element inet mailguard mail_host4 { 192.0.2.7 }")
    (notice,) = helpers.heard(opened)
    assert notice.args["networks"] == ["192.0.2.7"]
    assert "another" in helpers.run("nft", "list", "tables")


def test_pause_stops_repairs_until_it_is_over(opened: RemoteFirewall, helpers: Any) -> None:
    """Within a pause the table stays as somebody left it; afterwards it is put right."""
    opened.pause(time.time() + 2.0)
    start = time.monotonic()
    helpers.run("nft", "flush", "ruleset")
    (notice,) = helpers.heard(opened)
    assert notice.id == "firewall-repaired"
    assert 1.9 <= time.monotonic() - start < 8
    assert texts(opened) == NETWORKS
    opened.pause(time.time() + 3600)
    helpers.run("nft", "flush", "ruleset")
    opened.pause(None)
    helpers.heard(opened)
    assert texts(opened) == NETWORKS


def test_panic_stays_lifted(opened: RemoteFirewall, helpers: Any) -> None:
    """After `panic` the table is gone and nothing brings it back but `open`."""
    opened.panic()
    assert helpers.run("nft", "list", "ruleset") == ""
    helpers.run("nft", "add table inet other; delete table inet other")
    for _ in range(3):
        opened.pause(None)  # asks it to look again; answered in turn, so what it heard before is dealt with
    assert helpers.run("nft", "list", "ruleset") == ""
    assert opened.notices() == []
    opened.open([helpers.ban("192.0.2.7")], time.time())
    assert texts(opened) == {"192.0.2.7"}


def test_the_table_outlives_judge_and_enforcer(opened: RemoteFirewall, helpers: Any) -> None:
    """Both end: the bans stand. The next pair adopts what its ledger does not know."""
    opened.close(keep=True)
    assert "192.0.2.7" in helpers.run("nft", "list", "ruleset")
    after = spawn(Nftables())
    after.open([helpers.ban("192.0.2.7", 900), helpers.ban("192.0.2.77")], time.time())
    # What was cut out of the range stays apart: nobody knows any more that it was one.
    pieces = {"198.51.100.0/26", "198.51.100.64/26", "198.51.100.128/25"}
    assert texts(after) == NETWORKS - {"198.51.100.0/24"} | {"192.0.2.77"} | pieces
    after.close(keep=False)


@pytest.mark.parametrize(
    "script",
    [
        "add table inet mailguard; add set inet mailguard mail_host4 { type ipv4_addr; }",
        "add table inet mailguard; add chain inet mailguard prerouting "
        "{ type filter hook prerouting priority 0; policy accept; }",
        "add table inet mailguard; add chain inet mailguard prerouting",
    ],
)
def test_a_table_of_another_shape_is_replaced(enforced: RemoteFirewall, helpers: Any, script: str) -> None:
    """What an older version or somebody else left under our name does not keep the guard from standing."""
    helpers.run("nft", script)
    enforced.open([helpers.ban("192.0.2.7")], time.time())
    assert texts(enforced) == {"192.0.2.7"}
    assert "hook prerouting priority raw - 10" in helpers.run("nft", "list", "ruleset")


def test_a_saved_ruleset_can_be_loaded(opened: RemoteFirewall, helpers: Any) -> None:
    """`nft list ruleset` of a host with bans is text that nft takes: nobody's boot fails over it."""
    opened.pause(time.time() + 60)
    saved = helpers.run("nft", "list", "ruleset")
    helpers.run("nft", "-f", "-", given="flush ruleset\n" + saved)
    assert texts(opened) == NETWORKS


def test_many_bans_get_their_counters_later(enforced: RemoteFirewall, helpers: Any) -> None:
    """A large restore goes in without counters, which follow by themselves."""
    bans = [helpers.ban(f"198.51.{high}.{low}") for high in range(10) for low in range(256)]
    enforced.open(bans, time.time())
    assert len(enforced.banned()) == len(bans)
    listed = "nft", "list", "set", "inet", "mailguard", "mail_host4"
    helpers.until(lambda: helpers.run(*listed).count("counter packets") == len(bans))
    assert len(enforced.banned()) == len(bans)
    assert enforced.notices() == []


@pytest.mark.parametrize("spoil", ["chain", "set", "element"])
def test_ipset_is_repaired_too(namespace: Any, helpers: Any, spoil: str) -> None:
    """Nobody tells of changes to iptables and ipset: the reconciler looks by itself, and repairs."""
    driver = Ipset(writers={"4": Commands("iptables-legacy"), "6": Commands("ip6tables-legacy")})
    driver.look_every = 0.5
    guard = spawn(driver)
    guard.open([helpers.ban("192.0.2.7"), helpers.ban("2001:db8::/48")], time.time())
    if spoil == "chain":
        helpers.run("iptables-legacy", "-t", "raw", "-F")
    elif spoil == "set":
        helpers.run("ip6tables-legacy", "-t", "raw", "-F", "MAILGUARD")
        helpers.run("ipset", "destroy", "mailguard-mail-net6")
    else:
        helpers.run("ipset", "del", "mailguard-mail-host4", "192.0.2.7")
    notices = helpers.heard(guard)
    assert {notice.id for notice in notices} == {"firewall-repaired"}
    assert texts(guard) == {"192.0.2.7", "2001:db8::/48"}
    assert "MAILGUARD" in helpers.run("iptables-legacy", "-t", "raw", "-S", "PREROUTING")
    guard.close(keep=False)
    assert helpers.run("ipset", "list", "-name") == ""
