"""The sets of the table as the kernel has them: reading, writing, filling."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mailguard.firewall import elements, netlink, nftlayout
from mailguard.firewall.desired import (
    FOREVER,
    HOST4,
    HOST6,
    KINDS,
    NET4,
    NET6,
    PREFIX6,
    Bans,
    Key,
    concerned,
    flatten,
    kind_of,
)
from mailguard.firewall.interface import MOST_AT_ONCE, SCOPES, FirewallError
from mailguard.firewall.nftview import (
    Operation,
    foreign_hosts,
    foreign_ranges,
    host,
    milliseconds,
    wrong_hosts,
    wrong_pieces,
)
from mailguard.model import Network
from mailguard.notation import V6

NETS = (NET4, NET6)
HOSTS = (HOST4, HOST6, PREFIX6)
PREFIX = {HOST4: 32, HOST6: 128, PREFIX6: 64}
_V4 = (HOST4, NET4)
#: More bans than this are put in without counters, which follow a few at a time.
MANY = 2000
_READINGS = 5


class Sets:
    """The sets of one table, by one netlink socket. Raises FirewallError where it writes, OSError where it
    reads.
    """

    def __init__(self, table: str):
        self.table = table
        self.link = netlink.Netlink()
        self._prepared: dict[tuple[int, bool, int], netlink.Prepared] = {}

    def close(self) -> None:
        self.link.close()

    # ---- writing

    def apply(self, operations: Sequence[Operation]) -> None:
        """All operations; up to `MOST_AT_ONCE` of them in one transaction."""
        # Pieces of networks depend on each other and are few: they go first and together.
        ordered = sorted(operations, key=lambda operation: operation.kind not in NETS)
        for start in range(0, len(ordered), MOST_AT_ONCE):
            self.commit(self._requests(ordered[start : start + MOST_AT_ONCE]))

    def _requests(self, operations: Sequence[Operation]) -> list[tuple[int, int, bytes]]:
        sets: dict[tuple[int, str], list[Operation]] = {}
        for operation in operations:
            sets.setdefault((operation.scope, operation.kind), []).append(operation)
        requests: list[tuple[int, int, bytes]] = []
        for (scope, kind), listed in sets.items():
            name, v6 = nftlayout.set_name(scope, kind), kind not in _V4
            gone = [(low, high, 0) for verb, _, _, low, high, _ in listed if verb != "add"]
            come = [(low, high, timeout) for verb, _, _, low, high, timeout in listed if verb != "delete"]
            if gone:
                keys = elements.ranges(gone, v6) if kind in NETS else elements.hosts(gone, v6)
                requests += elements.requests(netlink.NEWSETELEM, self.table, name, keys)
                requests += elements.requests(netlink.DELSETELEM, self.table, name, keys)
            made = elements.ranges(come, v6) if kind in NETS else elements.counted(come, v6)
            requests += elements.requests(netlink.NEWSETELEM, self.table, name, made)
        return requests

    def commit(self, requests: Sequence[tuple[int, int, bytes]]) -> None:
        """One transaction, acknowledged on return."""
        try:
            self.link.commit(requests)
        except OSError as error:
            reason = f"nftables: {error.strerror or error}"
            raise FirewallError(reason, lost=error.errno == errno.EPERM) from error

    def add_host(self, scope: int, address: int, prefix: int, timeout: int) -> bool:
        """A host, or a /64, that stands nowhere yet, for so many milliseconds, as fast as can be; False: not
        done, do it by `apply`. Raises OSError."""
        v6 = address >= V6
        prepared = self.prepared(scope, v6, prefix)
        key = (address - V6).to_bytes(16, "big") if v6 else address.to_bytes(4, "big")
        return self.link.add_one(prepared, (key, timeout.to_bytes(8, "big")))

    def prepared(self, scope: int, v6: bool, prefix: int) -> netlink.Prepared:
        """The transaction that adds one host, or /64, with a counter and a timeout."""
        known = self._prepared.get((scope, v6, prefix))
        if known is None:
            known = self._prepared[scope, v6, prefix] = self._prepare(scope, v6, prefix)
        return known

    def _prepare(self, scope: int, v6: bool, prefix: int) -> netlink.Prepared:
        address = 0x20010DB8DEADBEEF0123456789ABCDEF if v6 else 0xC00002A5
        timeout = 0x0123456789ABCDEF
        name = nftlayout.set_name(scope, kind_of(V6 if v6 else 0, prefix))
        made = elements.counted([(address, address, timeout)], v6)
        (operation,) = elements.requests(netlink.NEWSETELEM, self.table, name, made)
        return netlink.Prepared(
            operation, (address.to_bytes(16 if v6 else 4, "big"), timeout.to_bytes(8, "big"))
        )

    # ---- reading

    def read(self, scope: int, kind: str) -> list[elements.Found]:
        """All elements of one set, read again while somebody changes the ruleset. OSError ENOENT: no
        set.
        """
        name, v6 = nftlayout.set_name(scope, kind), kind not in _V4
        for _ in range(_READINGS):
            try:
                return elements.read(self.link, self.table, name, v6, kind in NETS)
            except netlink.InterruptedDump:
                continue
        raise OSError(errno.EAGAIN, "the ruleset changes faster than it can be read")

    def read_hosts(self, scope: int, kind: str, wanted: Iterable[Key]) -> list[elements.Found]:
        """All elements of one host set. A hash set that grows while it is read hides elements (the kernel
        lets it grow some time after many came), so it is read again while some of `wanted` are not seen and
        a reading still brings new ones; what any reading saw counts. Raises as `read`."""
        seen: dict[int, elements.Found] = {}
        awaited = {address for _, address, _ in wanted}
        for _ in range(_READINGS):
            known = len(seen)
            seen |= {item.low: item for item in self.read(scope, kind)}
            awaited -= seen.keys()
            if not awaited or 0 < known == len(seen):
                break
        return list(seen.values())

    def there(self, key: Key) -> bool:
        """Whether the one element of a host stands, asked for by name."""
        name, v6 = nftlayout.set_name(key[0], kind_of(key[1], key[2])), key[1] >= V6
        ((_kind, _flags, body),) = elements.requests(
            netlink.GETSETELEM, self.table, name, elements.hosts([(key[1], key[1], 0)], v6)
        )
        try:
            self.link.get(netlink.GETSETELEM, body)
        except FileNotFoundError:
            return False
        return True

    def foreign(self, known: Mapping[Key, float], now: float) -> Bans:
        """What stands in any set although it is not `known`. Sets that are not there hold nothing."""
        found: Bans = {}
        for scope, kind in every(*KINDS):
            try:
                there = self.read(scope, kind)
            except FileNotFoundError:
                continue
            found |= foreign(there, known, scope, kind, now)
        return found

    # ---- filling

    def pour_hosts(self, bans: Mapping[Key, float], now: float) -> list[Key]:
        """Put all hosts in without reading what is there. Returns those that got no counter yet."""
        many = len(bans) > MANY
        plain: list[list[elements.Element]] = [[] for _ in SCOPES]  # nearly all are IPv4 hosts
        sets: dict[tuple[int, str], list[elements.Element]] = {}
        for (scope, address, prefix), until in bans.items():
            timeout = 0 if until == FOREVER else max(1, int((until - now) * 1000))
            if prefix == 32 and address < V6:
                plain[scope].append((address, address, timeout))
            else:
                sets.setdefault((scope, kind_of(address, prefix)), []).append((address, address, timeout))
        sets |= {(scope, HOST4): listed for scope, listed in enumerate(plain)}
        uncounted: list[Key] = []
        for (scope, kind), listed in sets.items():
            if kind in NETS:
                continue
            name, v6, prefix = nftlayout.set_name(scope, kind), kind not in _V4, PREFIX[kind]
            for start in range(0, len(listed), MOST_AT_ONCE):
                part = listed[start : start + MOST_AT_ONCE]
                made = elements.hosts(part, v6) if many else elements.counted(part, v6)
                self.commit(list(elements.requests(netlink.NEWSETELEM, self.table, name, made)))
            if many:
                uncounted += [(scope, address, prefix) for address, _, _ in listed]
        return uncounted

    def fit_hosts(self, bans: Mapping[Key, float], now: float, gone: Sequence[Key] = ()) -> Bans:
        """Read the host sets and mend what differs from `bans`; foreign elements stay and are returned."""
        found: Bans = {}
        operations = [host("delete", key) for key in gone if kind_of(key[1], key[2]) not in NETS]
        for scope, kind in every(*HOSTS):
            there = self.read(scope, kind)
            wanted = of_set(bans, scope, kind)
            found |= foreign(there, {**wanted, **dict.fromkeys(gone, FOREVER)}, scope, kind, now)
            missing, other = wrong_hosts(there, wanted, now)
            operations += [host("add", key, bans[key], now) for key in missing]
            operations += [host("renew", key, bans[key], now) for key in other]
        self.apply(operations)
        return found

    def fit_nets(
        self,
        bans: Mapping[Key, float],
        now: float,
        explained: Mapping[Key, float] | None = None,
        read: bool = True,
    ) -> Bans:
        """The same for the interval sets, whose elements are the flat form of all networks.

        `explained`: networks whose pieces may still stand, with their ends, though they are not among `bans`.
        """
        found: Bans = {}
        for scope, kind in every(*NETS):
            wanted = of_set(bans, scope, kind)
            there = self.read(scope, kind) if read else []
            if there or wanted:
                strange = foreign(there, {**wanted, **(explained or {})}, scope, kind, now)
                found |= strange
                self.apply(wrong_pieces(there, wanted | strange, scope, kind, now)[0])
        return found

    def fill_allowed(self, networks: Sequence[Network]) -> None:
        """Replace the allowed sets, in one transaction."""
        requests = []
        for v6, name in ((False, "allowed4"), (True, "allowed6")):
            nets = {(0, *network): FOREVER for network in networks if (network.address >= V6) == v6}
            made = elements.ranges([(piece.low, piece.high, 0) for piece in flatten(nets)], v6)
            requests.append(elements.emptied(self.table, name))
            requests += elements.requests(netlink.NEWSETELEM, self.table, name, made)
        self.commit(requests)


def foreign(
    there: Iterable[elements.Found], known: Mapping[Key, float], scope: int, kind: str, now: float
) -> Bans:
    """The elements of one set that no ban of `known` explains, with their ends."""
    if kind in NETS:
        return foreign_ranges(there, known, scope, now)
    return foreign_hosts(there, known, scope, PREFIX[kind], now)


def every(*kinds: str) -> Iterator[tuple[int, str]]:
    """(scope, kind) of all sets of those kinds."""
    for scope in range(len(SCOPES)):
        for kind in kinds:
            yield scope, kind


def of_set(bans: Mapping[Key, float], scope: int, kind: str) -> Bans:
    """The bans that belong in one set."""
    return {key: until for key, until in bans.items() if key[0] == scope and kind_of(key[1], key[2]) == kind}


def plan_nets(
    before: Mapping[Key, float], changes: Mapping[Key, float | None], scope: int, kind: str, now: float
) -> list[Operation]:
    """The pieces that appear, change and disappear when networks of one set change."""
    before = concerned(before, changes)
    after = {key: until for key, until in before.items() if key not in changes}
    after |= {key: until for key, until in changes.items() if until is not None}
    old = {(piece.low, piece.high): piece.until for piece in flatten(before)}
    new = {(piece.low, piece.high): piece.until for piece in flatten(after)}
    operations = [Operation("delete", scope, kind, *ends) for ends in old if ends not in new]
    for ends, until in new.items():
        if old.get(ends) != until:
            verb = "renew" if ends in old else "add"
            operations.append(Operation(verb, scope, kind, *ends, milliseconds(until, now)))
    return operations
