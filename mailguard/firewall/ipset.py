"""The ipset driver, for hosts whose firewall is legacy iptables: hash sets with kernel timeouts, one chain
that asks.

`hash:net` sets take networks that overlap, each with its own end, so nothing is flattened here. Changes go
through `ipset restore`, one process a batch. The kernel's timeouts end after 24 days at most; longer bans
are renewed by `tick`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

from mailguard.clock import Clock
from mailguard.firewall import tools, xtables
from mailguard.firewall.desired import FOREVER, HOST4, HOST6, Bans, Changes, Key, kind_of
from mailguard.firewall.driver import Differences, Driver
from mailguard.firewall.interface import SCOPES, Standing
from mailguard.model import Network
from mailguard.notation import V6, format_network, host_prefix, parse_network

#: The longest timeout of an ipset element in seconds (2**31 milliseconds).
LONGEST = 2_147_483
_RENEW_EVERY = 86400.0
_MOST = 1_048_576
#: Ends are whole seconds here.
_TOLERANCE = 5.0
_SORTS = {"host4": "hash:ip family inet", "host6": "hash:ip family inet6"}
_SORTS |= {"net4": "hash:net family inet", "net6": "hash:net family inet6"}


class Operation(NamedTuple):
    """One line of `ipset restore`: `add` or `del`, seconds 0: permanent."""

    verb: str
    set: str
    network: Network
    seconds: int = 0


class Ipset(Driver):
    """Bans in sets `mailguard-SCOPE-KIND`, asked by a chain in the raw table.

    Owns: the sets and the chain. Needs CAP_NET_ADMIN, and CAP_NET_RAW for iptables. Raises FirewallError.
    """

    name = "ipset"
    capabilities = ("net_admin", "net_raw")
    keeps_root = True  # iptables takes a lock in /run
    remakes = True
    close_sockets = True
    look_every = 5.0  # nobody tells of changes

    def __init__(
        self,
        clock: Clock | None = None,
        ports: Mapping[str, Sequence[int]] | None = None,
        prefix: str = "mailguard",
        chain: str = "MAILGUARD",
        iptables: str = "iptables",
        writers: Mapping[str, xtables.Writer] | None = None,
    ):
        super().__init__(clock, ports)
        self._prefix = prefix
        self._chain = chain
        self._iptables = iptables
        self._writers = dict(writers) if writers is not None else None
        self._stands: dict[str, str] = {}
        self._renew_at = 0.0

    # ---- plan and apply

    def _set(self, key: Key) -> str:
        kind = kind_of(key[1], key[2])
        if kind not in (HOST4, HOST6):
            kind = "net6" if key[1] >= V6 else "net4"
        return f"{self._prefix}-{SCOPES[key[0]]}-{kind}"

    def _operations(self, verb: str, key: Key, until: float, now: float) -> list[Operation]:
        seconds = 0 if until == FOREVER else min(LONGEST, max(1, ceil(until - now)))
        return [Operation(verb, self._set(key), network, seconds) for network in _halves(key)]

    def plan(self, changes: Changes, now: float) -> list[Operation]:
        operations = []
        for key, until in changes.items():
            if until is None:
                operations += self._operations("del", key, FOREVER, now)
            elif self.desired.bans.get(key) != until:
                operations += self._operations("add", key, until, now)
        return operations

    def text(self, operation: Operation) -> str:
        line = f"{operation.verb} {operation.set} {format_network(operation.network)}"
        return f"{line} timeout {operation.seconds}" if operation.verb == "add" else line

    def apply(self, operations: Sequence[Operation]) -> None:
        self._restore([self.text(operation) for operation in operations])

    def _restore(self, lines: Sequence[str]) -> None:
        # -exist: adding what is there renews it, deleting what is not there is no error.
        if lines:
            tools.run(["ipset", "-exist", "restore"], "\n".join([*lines, ""]))

    # ---- making everything

    def _all_sets(self) -> list[str]:
        return [f"{self._prefix}-{scope}-{sort}" for scope in SCOPES for sort in _SORTS]

    def restore(self, bans: Bans, now: float, gone: Sequence[Key] = ()) -> list[tuple[Key, float]]:
        lines = []
        for name in self._all_sets():
            sort = _SORTS[name.rpartition("-")[2]]
            lines.append(f"create {name} {sort} maxelem {_MOST} timeout 0 counters")
        for family, sort in (("4", "inet"), ("6", "inet6")):
            lines.append(f"create {self._prefix}-allowed{family} hash:net family {sort} maxelem 65536")
        self._restore(lines)
        there = self._read(now)
        found = {
            key: _until(standing)
            for key, standing in there.items()
            if key not in bans and key not in gone and not _half_of(key, bans)
        }
        operations = [line for key in gone for line in self._operations("del", key, FOREVER, now)]
        for key, until in bans.items():
            operations += self._operations("add", key, until, now)
        self.apply(operations)
        self.set_allowed(self.allowed)
        for family, writer in self._raw().items():
            writer.make(self._chain, xtables.rules(self._prefix, self.ports, family))
        self._stands = {family: writer.listed(self._chain) for family, writer in self._raw().items()}
        self._renew_at = now + _RENEW_EVERY
        return list(found.items())

    def _raw(self) -> Mapping[str, xtables.Writer]:
        if self._writers is None:
            self._writers = xtables.writers(self._iptables)
        return self._writers

    def set_allowed(self, networks: Sequence[Network]) -> None:
        lines = []
        for family in ("4", "6"):
            name, spare = f"{self._prefix}-allowed{family}", f"{self._prefix}-spare{family}"
            sort = "inet6" if family == "6" else "inet"
            lines.append(f"create {spare} hash:net family {sort} maxelem 65536")
            lines.append(f"flush {spare}")
            for network in networks:
                if (network.address >= V6) == (family == "6"):
                    lines += [f"add {spare} {format_network(half)}" for half in _halves((0, *network))]
            lines += [f"swap {spare} {name}", f"destroy {spare}"]
        self._restore(lines)

    def remove(self) -> None:
        for writer in self._raw().values():
            writer.remove(self._chain)
        self._stands = {}
        names = tools.run(["ipset", "list", "-name"]).split()
        ours = [*self._all_sets(), f"{self._prefix}-allowed4", f"{self._prefix}-allowed6"]
        self._restore([f"destroy {name}" for name in ours if name in names])

    # ---- reading

    def _read(self, now: float) -> dict[Key, Standing]:
        """Every element of our sets that are there."""
        seen: dict[Key, Standing] = {}
        names = set(tools.run(["ipset", "list", "-name"]).split())
        scopes = {name: SCOPES.index(name.split("-")[-2]) for name in self._all_sets() if name in names}
        if not scopes:
            return seen
        # `ipset restore` answers `save` too: one process for all of them, and none of anybody else's sets.
        asked = "".join(f"save {name}\n" for name in scopes)
        for line in tools.run(["ipset", "restore"], asked).splitlines():
            words = line.split()
            network = parse_network(words[2]) if words[0] == "add" else None
            if network is not None:
                facts = dict(zip(words[3::2], words[4::2], strict=False))
                left = int(facts.get("timeout", "0"))
                packets, octets = int(facts.get("packets", "0")), int(facts.get("bytes", "0"))
                standing = Standing(now + left if left else None, packets, octets)
                seen[scopes[words[1]], network.address, network.prefix] = standing
        return seen

    def look(self) -> dict[Key, Standing]:
        now = self.clock.now()
        there = self._read(now)
        bans = self.desired.alive(now)
        seen = {key: standing for key, standing in there.items() if not _half_of(key, bans)}
        for key, until in bans.items():
            parts = [there.get((key[0], *network)) for network in _halves(key)]
            standing = [part for part in parts if part is not None]
            if len(standing) == len(parts):
                packets, octets = sum(part.packets for part in standing), sum(part.bytes for part in standing)
                seen[key] = Standing(None if until == FOREVER else until, packets, octets)
        return seen

    # ---- the reconciler's side

    def missing_layout(self) -> list[str]:
        if not self._stands:
            return []
        names = set(tools.run(["ipset", "list", "-name"]).split())
        wanted = [*self._all_sets(), f"{self._prefix}-allowed4", f"{self._prefix}-allowed6"]
        words = [f"set {name}: gone" for name in wanted if name not in names]
        for family, writer in self._raw().items():
            if writer.listed(self._chain) != self._stands[family]:
                words.append(f"chain {self._chain} of IPv{family}: gone or changed")
        return words

    def compare(self, now: float) -> Differences:
        there = self._read(now)
        bans = self.desired.bans
        wrong = []
        for key, until in bans.items():
            if until > now + 2:
                for network in _halves(key):
                    part = there.get((key[0], *network))
                    ends = FOREVER if until == FOREVER else min(until, now + LONGEST)
                    # A ban longer than the kernel counts is renewed each day: any end far away will do.
                    near = part is not None and (
                        _until(part) == ends
                        or abs(_until(part) - ends) <= _TOLERANCE
                        or (ends != FOREVER and until > now + LONGEST - 2 * _RENEW_EVERY < _until(part))
                    )
                    if not near:
                        wrong.append(key)
                        break
        strange = [
            (key, _until(standing))
            for key, standing in there.items()
            if key not in bans and not _half_of(key, bans)
        ]
        return Differences(sorted(wrong), sorted(strange), [])

    def mend(self, differences: Differences, now: float) -> None:
        bans = self.desired.bans
        self.desired.adopt(differences.foreign)
        wrong = [key for key in differences.wrong if bans.get(key, 0.0) > now]
        self.apply([line for key in wrong for line in self._operations("add", key, bans[key], now)])

    def tick(self, now: float) -> float | None:
        """Once a day, renew what lasts longer than the kernel counts."""
        if now >= self._renew_at:
            bans = self.desired.bans.items()
            long = [
                (key, until) for key, until in bans if now + LONGEST - 2 * _RENEW_EVERY < until != FOREVER
            ]
            self.apply([line for key, until in long for line in self._operations("add", key, until, now)])
            self._renew_at = now + _RENEW_EVERY
        return self._renew_at


def _halves(key: Key) -> tuple[Network, ...]:
    """The network itself; the two halves of everything, which a hash:net set cannot hold."""
    _, address, prefix = key
    if prefix:
        return (Network(address, prefix),)
    return Network(address, 1), Network(address + (1 << (host_prefix(address) - 1)), 1)


def _half_of(key: Key, bans: Mapping[Key, float]) -> bool:
    """Whether an element is a half of a ban of everything."""
    whole = (key[0], V6 if key[1] >= V6 else 0, 0)
    return key[2] == 1 and key not in bans and whole in bans


def _until(standing: Standing) -> float:
    return FOREVER if standing.expires is None else standing.expires


def probe(iptables: str = "iptables") -> None:
    """Raises FirewallError when this host has no working ipset and iptables, or this process may not use
    them.
    """
    name = "mailguard-probe"
    tools.run(["ipset", "-exist", "create", name, "hash:net", "timeout", "1", "counters"])
    tools.run(["ipset", "destroy", name])
    tools.run([iptables, "-w", "5", "-t", "raw", "-S", "PREROUTING"])
