"""The ipset driver: what it plans, the chain it makes, bans longer than its kernel counts."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mailguard.clock import ManualClock
from mailguard.firewall.ipset import LONGEST, Ipset
from mailguard.firewall.xtables import Commands, Legacy, Writer, rules
from mailguard.model import Ban
from mailguard.notation import parse_network

DAY = 86400.0


def ban(text: str, until: float | None, scope: str = "mail") -> Ban:
    network = parse_network(text)
    assert network is not None
    return Ban(network, 0.0, until, scope=scope)


def planned(driver: Ipset, bans: list[Ban], now: float = 0.0) -> list[str]:
    from mailguard.firewall.desired import changes_of_bans

    return [driver.text(operation) for operation in driver.plan(changes_of_bans(bans, now), now)]


def test_plan() -> None:
    """Hosts, networks, everything in halves, seconds rounded up and cut at what the kernel counts."""
    driver = Ipset(ManualClock())
    bans = [
        ban("192.0.2.7", 0.2),
        ban("::/0", None),
        ban("2001:db8::7", 365 * DAY),
        ban("0.0.0.0/0", 9.0, "all"),
    ]
    assert planned(driver, bans) == [
        "add mailguard-mail-host4 192.0.2.7 timeout 1",
        "add mailguard-mail-net6 ::/1 timeout 0",
        "add mailguard-mail-net6 8000::/1 timeout 0",
        f"add mailguard-mail-host6 2001:db8::7 timeout {LONGEST}",
        "add mailguard-all-net4 0.0.0.0/1 timeout 9",
        "add mailguard-all-net4 128.0.0.0/1 timeout 9",
    ]


def test_rules_take_any_number_of_ports() -> None:
    """A multiport match takes 15 ports: more of them make more rules; "all" names none."""
    made = rules("mailguard", {"auth": (143,), "mail": tuple(range(1, 21))}, "4")
    words = [" ".join(rule.arguments()) for rule in made]
    assert words[:2] == ["-i lo -j RETURN", "-m set --match-set mailguard-allowed4 src -j RETURN"]
    assert "-m set --match-set mailguard-all-net4 src -j DROP" in words
    assert "-p tcp -m multiport --dports 143 -m set --match-set mailguard-auth-host4 src -j DROP" in words
    assert sum("mailguard-mail-host4" in one for one in words) == 2
    assert [rule.ports for rule in made if rule.match_set == "mailguard-mail-host4"] == [
        tuple(range(1, 16)),
        tuple(range(16, 21)),
    ]


@pytest.mark.kernel
def test_a_ban_longer_than_the_kernel_counts_is_renewed(namespace: Any, helpers: Any) -> None:
    """A year's ban stands in the kernel for 24 days and is renewed each day, so that it lasts a year."""
    clock = ManualClock(time.time())
    now = clock.now()
    driver = Ipset(clock, writers={"4": Commands("iptables-legacy"), "6": Commands("ip6tables-legacy")})
    driver.open([ban("192.0.2.7", now + 365 * DAY), ban("192.0.2.8", now + 60), ban("192.0.2.9", None)], now)

    def timeout(address: str) -> int:
        (line,) = [one for one in helpers.run("ipset", "save").splitlines() if f"{address} " in one]
        return int(line.split()[4])

    assert LONGEST - 5 <= timeout("192.0.2.7") <= LONGEST
    assert not driver.compare(now)
    helpers.run("ipset", "-exist", "add", "mailguard-mail-host4", "192.0.2.7", "timeout", "2000000")
    assert not driver.compare(now)  # a day or two off is how it always is
    assert driver.tick(now + 1) == now + DAY
    assert timeout("192.0.2.7") <= 2_000_000
    clock.set(now + DAY)
    assert driver.tick(now + DAY) == now + 2 * DAY
    assert LONGEST - 5 <= timeout("192.0.2.7") <= LONGEST
    assert timeout("192.0.2.8") <= 60
    assert timeout("192.0.2.9") == 0
    helpers.run("ipset", "-exist", "add", "mailguard-mail-host4", "192.0.2.7", "timeout", "60")
    assert [key[1] & 255 for key in driver.compare(now).wrong] == [7]
    driver.close(keep=False)


def _writers() -> dict[str, Any]:
    return {
        "legacy-commands": lambda: (Commands("iptables-legacy"), Commands("ip6tables-legacy")),
        "nft-commands": lambda: (Commands("iptables-nft"), Commands("ip6tables-nft")),
        "python-iptables": lambda: (Legacy("4"), Legacy("6")),
    }


@pytest.mark.kernel
@pytest.mark.parametrize("name", _writers())
def test_the_chain_is_made_once_and_removed_whole(namespace: Any, helpers: Any, name: str) -> None:
    """Each way to write it makes the same chain, leaves other rules alone, can be repeated and undone."""
    other = ["-p", "tcp", "--dport", "80", "-j", "ACCEPT"]
    for family, writer in zip("46", _writers()[name](), strict=True):
        assert isinstance(writer, Commands | Legacy)
        tool = f"ip{'6' if family == '6' else ''}tables-{'nft' if name.startswith('nft') else 'legacy'}"
        helpers.run(tool, "-t", "raw", "-A", "PREROUTING", *other)
        helpers.run("ipset", "-exist", "restore", given=_sets(family))
        made = rules("mailguard", {"auth": (143, 993), "mail": (25, 143)}, family)
        _twice(writer, made)
        first, second, *rest = helpers.run(tool, "-t", "raw", "-S", "PREROUTING").splitlines()
        assert (first, second) == ("-P PREROUTING ACCEPT", "-A PREROUTING -j MAILGUARD")
        assert len(rest) == 1
        listed = helpers.run(tool, "-t", "raw", "-S", "MAILGUARD").splitlines()[1:]
        assert len(listed) == len(made) == 8
        for line, rule in zip(listed, made, strict=True):
            assert line.endswith(f"-j {rule.target}")
            assert f"--match-set {rule.match_set} src" in line or not rule.match_set
            assert f"--dports {','.join(map(str, rule.ports))}" in line or not rule.ports
        before = writer.listed("MAILGUARD")
        assert before
        helpers.run(tool, "-t", "raw", "-D", "MAILGUARD", "3")
        assert writer.listed("MAILGUARD") != before
        writer.remove("MAILGUARD")
        writer.remove("MAILGUARD")
        assert writer.listed("MAILGUARD") == ""
        assert "MAILGUARD" not in helpers.run(tool, "-t", "raw", "-S")
        assert "--dport 80" in helpers.run(tool, "-t", "raw", "-S")


def _twice(writer: Writer, made: Any) -> None:
    writer.make("MAILGUARD", made)
    writer.make("MAILGUARD", made)


def _sets(family: str) -> str:
    kind = "inet6" if family == "6" else "inet"
    names = [
        f"mailguard-{scope}-{sort}{family}" for scope in ("auth", "mail", "all") for sort in ("host", "net")
    ]
    return "".join(f"create {one} hash:net family {kind}\n" for one in [*names, f"mailguard-allowed{family}"])
