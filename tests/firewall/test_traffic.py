"""What bans do to real packets: server, banned host and bystander in network namespaces of their own."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard.enforcer import spawn
from mailguard.firewall import sockets
from mailguard.firewall.interface import Firewall
from mailguard.firewall.ipset import Ipset
from mailguard.firewall.nftables import Nftables
from mailguard.firewall.xtables import Commands
from tests.written import network

pytestmark = pytest.mark.kernel

SMTP, IMAP, SSH = 25, 143, 22
#: Addresses of each host on its link to the server, and the server's at that link.
HOSTS = {
    "bad": (("198.51.100.66", "198.51.100.1"), ("2001:db8:66::66", "2001:db8:66::1")),
    "good": (("203.0.113.77", "203.0.113.1"), ("2001:db8:77::77", "2001:db8:77::1")),
}
#: How long a connection that nothing stops may take; one that is dropped gets no answer at all.
PATIENCE = 0.6


class Net:
    """The three namespaces and their links; sockets stay in the namespace in which they were made."""

    def __init__(self, helpers: Any):
        self.server = helpers.Namespace()
        self.hosts = {name: helpers.Namespace() for name in HOSTS}
        self.listening: list[socket.socket] = []
        run = helpers.run
        with self.server.inside():
            for name, pairs in HOSTS.items():
                run("ip", "link", "add", name, "type", "veth", "peer", "name", "up0")
                run("ip", "link", "set", "up0", "netns", self.hosts[name].path)
                for _, near in pairs:
                    self._address(run, near, name)
                run("ip", "link", "set", name, "up")
            for port in (SMTP, IMAP, SSH):
                self.listening.append(self.listen(port))
        for name, pairs in HOSTS.items():
            with self.hosts[name].inside():
                for far, _ in pairs:
                    self._address(run, far, "up0")
                run("ip", "link", "set", "up0", "up")
                self.listening.append(self.listen(SMTP))

    @staticmethod
    def _address(run: Callable[..., str], address: str, device: str) -> None:
        length = "64" if ":" in address else "24"
        run("ip", "addr", "add", f"{address}/{length}", "dev", device, *(["nodad"] if ":" in address else []))

    @staticmethod
    def listen(port: int) -> socket.socket:
        """A listening socket for both families here; the kernel answers, no thread is needed."""
        made = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=50)
        made.settimeout(5)
        return made

    def connect(
        self, host: str, port: int, v6: bool = False, patience: float = PATIENCE
    ) -> socket.socket | None:
        """A connection from a host to the server, or None: nothing answered."""
        with self.hosts[host].inside():
            return reach(HOSTS[host][v6][1], port, patience)

    def passes(self, host: str, port: int, v6: bool = False, patience: float = PATIENCE) -> bool:
        made = self.connect(host, port, v6, patience)
        if made is not None:
            made.close()
        return made is not None

    def close(self) -> None:
        for made in self.listening:
            made.close()
        for namespace in (self.server, *self.hosts.values()):
            namespace.close()


def reach(address: str, port: int, patience: float = PATIENCE) -> socket.socket | None:
    """Connect from here."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(patience)
    try:
        made.connect((address, port))
    except TimeoutError:
        made.close()
        return None
    return made


@pytest.fixture
def net(helpers: Any) -> Iterator[Net]:
    made = Net(helpers)
    # The links come up after a moment.
    for name in HOSTS:
        for v6 in (False, True):
            helpers.until(lambda name=name, v6=v6: passes_now(made, name, v6))
    yield made
    made.close()


def passes_now(net: Net, name: str, v6: bool) -> bool:
    with contextlib.suppress(OSError):
        return net.passes(name, SSH, v6)
    return False


DRIVERS: dict[str, Callable[[], Firewall]] = {
    "nftables": Nftables,
    "enforcer": lambda: spawn(Nftables()),
    "ipset": lambda: Ipset(writers={"4": Commands("iptables-legacy"), "6": Commands("ip6tables-legacy")}),
}


@pytest.fixture(params=DRIVERS)
def guard(request: pytest.FixtureRequest, net: Net, tmp_path: Path) -> Iterator[Firewall]:
    """A driver in the server's namespace, opened."""
    with net.server.inside():
        made = DRIVERS[request.param]()
        made.open([], time.time())
        yield made
        made.close(keep=False)


BAD4, BAD6 = "198.51.100.66", "2001:db8:66::66"


@pytest.mark.parametrize(
    "networks", [(BAD4, BAD6), ("198.51.100.0/24", "2001:db8:66::/64"), ("198.51.0.0/16", "2001:db8:66::/48")]
)
def test_a_ban_stops_the_banned_host_and_nobody_else(
    guard: Firewall, net: Net, helpers: Any, networks: tuple[str, str]
) -> None:
    """New connections to the mail ports stop for host, /64 and range, both families; bystander and SSH go on;
    a lift lets the host in again; the counters tell what knocked."""
    guard.impose([helpers.ban(one) for one in networks], time.time())
    for v6 in (False, True):
        assert not net.passes("bad", SMTP, v6)
        assert not net.passes("bad", IMAP, v6)
        assert net.passes("bad", SSH, v6)
        assert net.passes("good", SMTP, v6, 5)
        assert net.passes("good", IMAP, v6, 5)
    for place, standing in guard.banned().items():
        assert standing.packets >= 2, place
        assert standing.bytes >= standing.packets * 40, place
    guard.lift([(network(one), "mail") for one in networks])
    for v6 in (False, True):
        assert net.passes("bad", SMTP, v6, 5)


def test_scopes_block_their_ports(guard: Firewall, net: Net, helpers: Any) -> None:
    """`auth` leaves port 25 open; `all` closes every port."""
    guard.impose([helpers.ban(BAD4, scope="auth")], time.time())
    assert not net.passes("bad", IMAP)
    assert net.passes("bad", SMTP, patience=5)
    guard.impose([helpers.ban(BAD4, scope="all")], time.time())
    assert not net.passes("bad", SSH)
    assert net.passes("good", SSH, patience=5)


def test_our_own_deliveries_to_a_banned_host_go_on(guard: Firewall, net: Net, helpers: Any) -> None:
    """We connect to the banned host's port 25, it answers, and its replies arrive."""
    guard.impose([helpers.ban(BAD4), helpers.ban("2001:db8:66::/64")], time.time())
    for address in (BAD4, BAD6):
        ours = reach(address, SMTP, 5)
        assert ours is not None
        theirs = net.listening[3].accept()[0]
        theirs.sendall(b"220 mx.example ESMTP\r\n")
        ours.settimeout(5)
        assert ours.recv(100) == b"220 mx.example ESMTP\r\n"
        ours.sendall(b"QUIT\r\n")
        theirs.settimeout(5)
        assert theirs.recv(100) == b"QUIT\r\n"
        ours.close()
        theirs.close()


@pytest.mark.parametrize("v6", [False, True])
def test_an_open_session_of_the_banned_host_stops(guard: Firewall, net: Net, helpers: Any, v6: bool) -> None:
    """What the banned host sends in a session opened before never arrives; the bystander's goes on."""
    sessions = {}
    for name in HOSTS:
        client = net.connect(name, IMAP, v6, 5)
        assert client is not None
        server = net.listening[1].accept()[0]
        server.settimeout(5)
        client.sendall(b"a NOOP\r\n")
        assert server.recv(100) == b"a NOOP\r\n"
        sessions[name] = client, server
    guard.impose([helpers.ban(BAD6 if v6 else BAD4)], time.time())
    for name, (client, server) in sessions.items():
        with contextlib.suppress(OSError):
            client.sendall(b"a LOGIN\r\n")
        server.settimeout(PATIENCE if name == "bad" else 5)
        got = b""
        with contextlib.suppress(OSError):
            got = server.recv(100)
        assert got == (b"" if name == "bad" else b"a LOGIN\r\n")
        client.close()
        server.close()


@pytest.mark.parametrize("few", [200, -1])
def test_the_enforcer_ends_open_sessions_at_this_end_too(
    net: Net, helpers: Any, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """The server's process hears at once that a banned host's session is over, not so the bystander's."""
    monkeypatch.setattr(sockets, "_FEW", few)  # in place, and in a child
    with net.server.inside():
        guard = spawn(Nftables())
        guard.open([], time.time())
        sessions = {}
        for name in HOSTS:
            client = net.connect(name, IMAP, patience=5)
            assert client is not None
            sessions[name] = client, net.listening[1].accept()[0]
        guard.impose([helpers.ban(BAD4)], time.time())
        sessions["bad"][1].settimeout(5)
        with pytest.raises(ConnectionError):
            sessions["bad"][1].recv(100)
        sessions["good"][0].sendall(b"a NOOP\r\n")
        sessions["good"][1].settimeout(5)
        assert sessions["good"][1].recv(100) == b"a NOOP\r\n"
        guard.close(keep=False)
        for pair in sessions.values():
            for one in pair:
                one.close()


def test_an_allowed_host_inside_a_banned_range_passes(guard: Firewall, net: Net, helpers: Any) -> None:
    """The allowed set is asked first, and can be taken back."""
    ranges = ["198.51.100.0/24", "2001:db8:66::/64"]
    guard.impose([helpers.ban(one) for one in ranges], time.time())
    guard.allow([network(BAD4), network(BAD6)])
    assert net.passes("bad", SMTP, patience=5)
    assert net.passes("bad", SMTP, v6=True, patience=5)
    guard.allow([])
    assert not net.passes("bad", SMTP)
    assert not net.passes("bad", SMTP, v6=True)


def test_the_kernel_ends_a_ban_on_time(guard: Firewall, net: Net, helpers: Any) -> None:
    """The host comes in again when the ban is over, and not before, without anybody doing anything."""
    start = time.monotonic()
    guard.impose([helpers.ban(BAD4, 2.0), helpers.ban("2001:db8:66::/48", 2.0)], time.time())
    assert not net.passes("bad", SMTP)
    assert not net.passes("bad", SMTP, v6=True)
    assert time.monotonic() - start < 2.0
    helpers.until(lambda: net.passes("bad", SMTP) and net.passes("bad", SMTP, v6=True), 8)
    assert time.monotonic() - start >= 1.9


def test_other_ports_can_be_named(net: Net, helpers: Any) -> None:
    """The ports of the scopes come from the settings."""
    with net.server.inside():
        guard = Nftables(ports={"auth": (IMAP,), "mail": (SSH,)})
        guard.open([helpers.ban(BAD4)], time.time())
        assert not net.passes("bad", SSH)
        assert not net.passes("bad", IMAP)
        assert net.passes("bad", SMTP, patience=5)
        guard.close(keep=False)


def test_stopping_leaves_the_bans_and_flushing_removes_them(net: Net, helpers: Any) -> None:
    """`close(keep=True)` leaves table and bans standing, `close(keep=False)` removes the table."""
    with net.server.inside():
        for keep in (True, False):
            guard = Nftables()
            guard.open([helpers.ban(BAD4)], time.time())
            guard.close(keep=keep)
            assert net.passes("bad", SMTP, patience=PATIENCE if keep else 5) != keep
            assert ("mailguard" in helpers.run("nft", "list", "tables")) == keep


def test_sessions_are_closed_by_scope_and_not_for_allowed_hosts(net: Net, helpers: Any) -> None:
    """Only sessions on the ports of the ban's scope end, not allowed hosts', nor our own deliveries."""
    bad = network(BAD4)
    ports = {"auth": (IMAP,), "mail": (SMTP, IMAP)}
    with net.server.inside():
        delivery = reach(BAD4, SMTP, 5)
        sessions = {port: net.connect("bad", port, patience=5) for port in (SMTP, IMAP, SSH)}
        v6 = net.connect("bad", IMAP, v6=True, patience=5)
        assert sockets.sockets_in_use() >= 5
        assert sockets.close_sessions([(1, *bad)], ports, [network("198.51.100.0/24")]) == 0
        assert sockets.close_sessions([(0, *bad)], ports) == 1
        assert sockets.close_sessions([(0, *bad)], ports) == 0
        assert sockets.close_sessions([(1, *network("198.51.100.0/24"))], ports) == 1
        assert sockets.close_sessions([(0, *network("2001:db8:66::/64"))], ports) == 1
        assert sockets.close_sessions([(2, *bad)], ports) >= 2  # SSH and our own delivery: "all" is all
        for one in (delivery, v6, *sessions.values()):
            assert one is not None
            one.close()
