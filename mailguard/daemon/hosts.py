"""For a way to ban that knows single addresses only (DSM's block list): of a banned IPv6 network, whose hosts
nobody can count, the addresses that did something, as they come.

Each becomes a ban of its own beside that of its network, with the same end, and is lifted with it. Nothing
of it is known to the judge: these addresses are under the network's ban already. A host that was banned for
itself keeps that ban.

Limits: `MOST` addresses of a network, and the last 16 of each of 4,096 networks that are not banned yet. What
one network sends from more addresses than that is not kept out, which the driver has said.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..firewall.desired import FOREVER
from ..firewall.interface import SCOPES, Firewall, FirewallError, Standing
from ..model import Ban, Event, Network, Notice, Offence
from ..notation import V6, covers, network_of

PREFIX = 64  # of the networks by which IPv6 is judged
MOST = 256
_RECENT, _NETWORKS = 16, 4096
Place = tuple[Network, str]


class HostsToo:
    """A firewall before another one: what it is asked for, and the hosts that belong to it.

    Owns: which IPv6 networks are banned, which of their addresses were seen. `saw` takes hostile events.
    """

    def __init__(self, inner: Firewall):
        self.inner = inner
        self.name = getattr(inner, "name", "")
        self.pid: int | None = getattr(inner, "pid", None)
        self._bans: dict[Place, float] = {}  # FOREVER: for ever
        self._given: dict[Place, set[int]] = {}
        self._prefixes: set[int] = set()  # of bans
        self._own: set[Place] = set()  # hosts that were banned for themselves
        self._least = _NETWORKS  # bans below which nobody looks for those that are over
        self._recent: OrderedDict[Network, OrderedDict[int, None]] = OrderedDict()

    @property
    def worker(self) -> int | None:
        """As the firewall behind has it."""
        worker: int | None = getattr(self.inner, "worker", None)
        return worker

    # ---- hosts

    def saw(self, events: Iterable[Event], now: float) -> None:
        """Hostile events. Never raises: a host that could not be banned is by its next deed."""
        for event in events:
            source = event.source
            if source is None or source < V6 or not event.may_ban:
                continue
            self._remember(network_of(source, 32, PREFIX), source)
            for prefix in self._prefixes:
                network = network_of(source, 32, prefix)
                for scope in SCOPES:
                    self._also((network, scope), source, now)

    def _also(self, place: Place, source: int, now: float) -> None:
        """One more host of a banned network, where it is one."""
        until = self._bans.get(place, 0.0)
        if until <= now:
            return
        given = self._given.setdefault(place, set())
        if source in given or len(given) >= MOST or (Network(source, 128), place[1]) in self._own:
            return
        with suppress(FirewallError, OSError):
            self.inner.impose([self._host(source, now, until, place[1])], now)
            given.add(source)

    def _remember(self, network: Network, source: int) -> None:
        hosts = self._recent.setdefault(network, OrderedDict())
        self._recent.move_to_end(network)
        hosts[source] = None
        hosts.move_to_end(source)
        if len(hosts) > _RECENT:
            hosts.popitem(last=False)
        if len(self._recent) > _NETWORKS:
            self._recent.popitem(last=False)

    def _host(self, address: int, now: float, until: float, scope: str) -> Ban:
        return Ban(Network(address, 128), now, None if until == FOREVER else until, scope=scope)

    def _with_hosts(self, bans: Sequence[Ban], now: float) -> list[Ban]:
        """These bans and those of hosts in them."""
        found = list(bans)
        for ban in bans:
            network, until = ban.network, FOREVER if ban.until is None else ban.until
            if network.address < V6 or until <= now:
                continue
            place = network, ban.scope
            if network.prefix == 128:
                self._own.add(place)
                continue
            self._bans[place] = until
            self._prefixes.add(network.prefix)
            offence: Offence | None = getattr(ban, "offence", None)  # after a restart nobody has it
            hosts = {*self._given.get(place, ()), *(offence.sources if offence is not None else ())}
            hosts.update(self._seen_in(network))
            inside = {one for one in hosts if one >= V6 and covers(network, Network(one, 128))}
            known = sorted(one for one in inside if (Network(one, 128), ban.scope) not in self._own)[:MOST]
            self._given[place] = set(known)
            found += [self._host(one, now, until, ban.scope) for one in known]
        if len(self._bans) > 2 * self._least:
            for place in [place for place, until in self._bans.items() if until <= now]:
                self._forget(*place)
            self._least = max(_NETWORKS, len(self._bans))
        return found

    def _seen_in(self, network: Network) -> Iterator[int]:
        """The addresses in a network that did something of late."""
        if network.prefix >= PREFIX:
            yield from self._recent.get(network_of(network.address, 32, PREFIX), ())
            return
        for one, hosts in self._recent.items():
            if covers(network, one):
                yield from hosts

    def _forget(self, network: Network, scope: str) -> None:
        self._bans.pop((network, scope), None)
        self._given.pop((network, scope), None)

    # ---- the protocol

    def open(self, bans: Iterable[Ban], now: float) -> None:
        self._bans.clear()
        self._own.clear()
        self.inner.open(self._with_hosts(list(bans), now), now)
        self._find_hosts()

    def _find_hosts(self) -> None:
        """After a restart: hosts that stand and that nobody asked for came with their network."""
        if not self._bans:
            return
        with suppress(FirewallError, OSError):
            for network, scope in self.inner.banned():
                if network.address < V6 or network.prefix != 128 or (network, scope) in self._own:
                    continue
                for prefix in self._prefixes:
                    place = network_of(network.address, 32, prefix), scope
                    if place in self._bans:
                        self._given.setdefault(place, set()).add(network.address)

    def impose(self, bans: Sequence[Ban], now: float) -> None:
        self.inner.impose(self._with_hosts(bans, now), now)

    def lift(self, networks: Sequence[tuple[Network, str]]) -> None:
        hosts = [
            (Network(host, 128), scope)
            for network, scope in networks
            for host in sorted(self._given.get((network, scope), ()))
        ]
        self.inner.lift([*networks, *(place for place in hosts if place not in self._own)])
        for network, scope in networks:
            self._forget(network, scope)
            self._own.discard((network, scope))

    def allow(self, networks: Sequence[Network]) -> None:
        self.inner.allow(networks)

    def banned(self) -> dict[tuple[Network, str], Standing]:
        return self.inner.banned()

    def set_ports(self, ports: Mapping[str, Sequence[int]]) -> None:
        """Ports of the scopes from the next `open` on."""
        change: Any = getattr(self.inner, "set_ports", None)
        if change is not None:
            change(ports)

    def pause(self, until: float | None) -> None:
        self.inner.pause(until)

    def panic(self) -> None:
        for known in (self._bans, self._given, self._own):
            known.clear()
        self.inner.panic()

    def close(self, keep: bool) -> None:
        self.inner.close(keep)

    def fileno(self) -> int | None:
        return self.inner.fileno()

    def notices(self) -> list[Notice]:
        return self.inner.notices()
