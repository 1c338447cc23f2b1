"""Which way to ban a host gets, and whom it must never ban."""

from __future__ import annotations

import os
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailguard.enforcer import start
from mailguard.firewall import choose as choosing
from mailguard.firewall import privileges, xtables
from mailguard.firewall.choose import choose
from mailguard.firewall.interface import FirewallError, ports_of
from mailguard.firewall.own import own_networks
from mailguard.firewall.recording import DryRun, Recording
from mailguard.notation import format_network, parse_network


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked process, which may give its privileges up; it must not raise."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.kernel
def test_nftables_where_it_works(namespace: Any, helpers: Any) -> None:
    """Root on a host with nftables gets it, and the asking leaves nothing behind."""
    driver, words = choose()
    assert driver.name == "nftables"
    assert words.startswith("bans by nftables")
    assert helpers.run("nft", "list", "ruleset") == ""


@pytest.mark.kernel
def test_ipset_where_nftables_does_not(namespace: Any, monkeypatch: pytest.MonkeyPatch, helpers: Any) -> None:
    """Without nftables a host with legacy iptables gets ipset; one with the nft variant only a recording."""
    monkeypatch.setattr(choosing, "_probe_nftables", lambda action: "the kernel has no nftables")
    monkeypatch.setattr(xtables, "is_legacy", lambda program="iptables": True)
    assert choose()[0].name == "ipset"
    assert helpers.run("ipset", "list", "-name") == ""
    monkeypatch.setattr(xtables, "is_legacy", lambda program="iptables": False)
    driver, words = choose()
    assert driver.name == "recording"
    assert "nothing is blocked" in words
    assert "the kernel has no nftables" in words
    assert "nftables variant" in words


@pytest.mark.kernel
def test_a_recording_without_privileges(namespace: Any) -> None:
    """Who may not change a firewall gets a recording, and why; an action by name is refused."""

    def work() -> None:
        # Reading is kept: the definitions of a checkout in root's own folder are nobody else's to read.
        privileges.give_up(("dac_read_search",), (65534, 65534, ()))
        firewall, words = start()
        assert isinstance(firewall, Recording)
        assert "nothing is blocked" in words
        assert "not root" in words
        for name in ("nftables", "ipset"):
            with pytest.raises(FirewallError, match="not root"):
                choose(name)

    in_child(work)


def test_recording_by_name() -> None:
    """Whoever asks for a recording gets one, in this very process."""
    firewall, words = start("recording")
    assert isinstance(firewall, Recording)
    assert "recording" in words


@pytest.mark.kernel
def test_the_judge_keeps_nothing_but_reading(helpers: Any, tmp_path: Path) -> None:
    """Root without a user for the judge: only CAP_DAC_READ_SEARCH is left, for good."""
    secret = tmp_path / "log"
    secret.write_text("line")
    secret.chmod(0)
    os.chown(secret, 65534, 65534)

    def work() -> None:
        assert "without any capability" in privileges.become_judge("no-such-user")
        assert privileges.effective() == 1 << 2
        assert secret.read_text() == "line"
        with pytest.raises(PermissionError):
            secret.write_text("changed")
        with pytest.raises(PermissionError):
            os.setuid(65534)

    in_child(work)


@pytest.mark.kernel
def test_the_judge_becomes_its_user() -> None:
    """Where the user exists the judge is that user, without any capability."""

    def work() -> None:
        assert privileges.become_judge("nobody") == "user nobody, no capability"
        assert os.geteuid() == 65534
        assert privileges.effective() == 0
        assert set(os.getgroups()) <= {65534, *_gids(privileges.LOG_GROUPS)}
        assert privileges.become_judge("nobody") == "user 65534"

    in_child(work)


def _gids(names: tuple[str, ...]) -> set[int]:
    import grp

    return {group.gr_gid for group in grp.getgrall() if group.gr_name in names}


def test_ports_have_defaults_and_nest() -> None:
    """What is not set is the default; the scope mail contains auth."""
    assert ports_of(None)["auth"] == (110, 143, 465, 587, 993, 995, 4190)
    assert ports_of({"auth": [993], "mail": [25]}) == {"auth": (993,), "mail": (25, 993)}


def test_a_dry_run_says_what_it_would_do(helpers: Any) -> None:
    """Each operation as a line of text, once."""
    said: list[str] = []
    driver = DryRun(said.append)
    driver.impose([helpers.ban("192.0.2.7", None, "auth")], 0.0)
    driver.impose([helpers.ban("192.0.2.7", None, "auth")], 0.0)
    network = parse_network("192.0.2.7")
    assert network is not None
    driver.lift([(network, "auth")])
    assert said == ["put 192.0.2.7 auth for ever", "drop 192.0.2.7 auth"]


def _utmp(kind: int, address: bytes) -> bytes:
    return struct.pack(
        "=hxxi32s4s32s256shhiii16s20s", kind, 1, b"pts/0", b"", b"root", b"", 0, 0, 0, 0, 0, address, b""
    )


def test_sessions_and_resolvers_are_found(tmp_path: Path) -> None:
    """Resolvers, the SSH session of this terminal, and everybody logged in, each with its reason."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "etc/resolv.conf").write_text(
        "nameserver 192.0.2.53\nnameserver fe80::1%eth0\nsearch example\n"
    )
    v6 = bytes.fromhex("20010db8000000000000000000000007")
    records = [_utmp(7, bytes([198, 51, 100, 7]) + bytes(12)), _utmp(8, bytes([9] * 16)), _utmp(7, v6)]
    (tmp_path / "run/utmp").write_bytes(b"".join(records) + b"cut off")
    found = {
        format_network(network): reason
        for network, reason in own_networks(
            {"SSH_CONNECTION": "203.0.113.9 5000 192.0.2.1 22"}, str(tmp_path)
        )
    }
    assert found["192.0.2.53"] == "a resolver of this host"
    assert found["203.0.113.9"] == "the administrator's session"
    assert found["198.51.100.7"] == found["2001:db8::7"] == "a session of somebody logged in"
    assert found["127.0.0.0/8"] == "loopback"
    assert "9.9.9.9" not in found
    assert "fe80::1" in found


@pytest.mark.kernel
def test_addresses_and_gateways_are_found(namespace: Any, helpers: Any, tmp_path: Path) -> None:
    """Own addresses and gateways of both families, several paths too; not the neighbours' addresses."""
    run = helpers.run
    run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
    run("ip", "addr", "add", "192.0.2.10/24", "dev", "here")
    run("ip", "addr", "add", "2001:db8::10/64", "dev", "here", "nodad")
    run("ip", "link", "set", "here", "up")
    run("ip", "route", "add", "default", "nexthop", "via", "192.0.2.1", "nexthop", "via", "192.0.2.2")
    run("ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.3")
    run("ip", "-6", "route", "add", "default", "via", "2001:db8::1")
    found = {format_network(network): reason for network, reason in own_networks({}, str(tmp_path))}
    assert {one for one, reason in found.items() if "address" in reason} >= {"192.0.2.10", "2001:db8::10"}
    assert {one for one, reason in found.items() if "gateway" in reason} == {
        "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1",
    }  # fmt: skip
