"""The bans that stand, and how often each network was banned before.

Owns: who is under a ban, in which scope, until when; the caps and who gives way at them; the ordinals.
Never: decides that somebody should be banned.
Limits: `max_bans` bans, of them `max_networks` of networks wider than one source (interval sets of the
kernel grow slow). At a cap the ban with the lowest ordinal goes, among those the one that ends soonest; a
ban an administrator asked for goes last.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from struct import Struct

from ..model import Ban, Network
from ..notation import V6, covers, network_of
from .networks import network_key, pack_network
from .table import SIEVE, Table, sieve_place

NEVER_ENDS = float("inf")
#: `a` covers `b` when b is in SCOPE_COVERS[a].
SCOPE_COVERS: dict[str, frozenset[str]] = {
    "auth": frozenset({"auth"}),
    "mail": frozenset({"auth", "mail"}),
    "all": frozenset({"auth", "mail", "all"}),
}
_ORDINAL = Struct("=Hd")
_MANUAL = 1 << 30  # ordinal for eviction of a ban an administrator asked for
#: A ban that has ended stays in the book this long, so that late events of its time are still laid to it.
LINGER = 3600.0

Key = tuple[Network, str]


@dataclass(slots=True)
class Held:
    """A ban that stands. `simulated`: it was only said, because the guard observes."""

    ban: Ban
    simulated: bool
    hits: int = 0  # hostile events since it was imposed
    last_hit: float = 0.0
    serial: int = 0
    until: float = field(init=False)
    key: Key = field(init=False)
    scopes: frozenset[str] = field(init=False)  # those it covers

    def __post_init__(self) -> None:
        ban = self.ban
        self.until = NEVER_ENDS if ban.until is None else ban.until
        self.key = ban.network, ban.scope
        self.scopes = SCOPE_COVERS[ban.scope]

    @property
    def rank(self) -> tuple[int, float]:
        """Order of eviction: the smallest goes first."""
        return (_MANUAL if self.ban.offence is None else self.ban.ordinal), self.until


def is_wide(network: Network) -> bool:
    """Wider than one source (an IPv4 address, an IPv6 /64)."""
    return network.prefix < (64 if network.address >= V6 else 32)


class Bans:
    """Bans by network and scope."""

    def __init__(self, max_bans: int, max_networks: int):
        self.max_bans = max_bans
        self.max_networks = max_networks
        self._held: dict[Key, Held] = {}
        # family -> prefix -> address -> scopes held there
        self._index: tuple[dict[int, dict[int, list[Held]]], dict[int, dict[int, list[Held]]]] = ({}, {})
        #: a bit for each network that ever was banned, see `Table.sieve`; the compiled engine asks it
        self.sieve = bytearray(1 << SIEVE - 3)
        self._inside: dict[int, set[Key]] = {}  # /24 or /48 -> narrower bans in it
        self._ends: list[tuple[float, int, Key]] = []
        self._ranks: tuple[list[tuple[int, float, int, Key]], list[tuple[int, float, int, Key]]] = ([], [])
        self._standing = [0, 0]  # of single sources, of networks
        self._ended: set[Key] = set()  # still in the book, no longer standing
        self._serial = 0
        self.soonest = NEVER_ENDS  # when `expire` has something to do
        self._dirty: set[Key] = set()
        self._hit: set[Key] = set()  # met since the last checkpoint; the very same set always

    def __len__(self) -> int:
        return len(self._held) - len(self._ended)

    def __iter__(self) -> Iterator[Held]:
        """The bans that stand, in the order in which they were imposed."""
        return (held for key, held in self._held.items() if key not in self._ended)

    def get(self, network: Network, scope: str) -> Held | None:
        """The ban of exactly that network in that scope, if it stands."""
        key = (network, scope)
        return None if key in self._ended else self._held.get(key)

    def covering(self, source: int, scope: str, time: float) -> Held | None:
        """A ban that a connection of this source in this scope would meet at `time` (or, for a late event,
        met).
        """
        v6 = source >= V6
        host = source - V6 if v6 else source
        for prefix, found in self._index[v6].items():
            shift = (128 if v6 else 32) - prefix
            there = found.get((host >> shift << shift) + (V6 if v6 else 0))
            if there is not None:
                for held in there:
                    if time < held.until and scope in held.scopes:
                        return held
        return None

    def around(self, network: Network, scope: str, time: float) -> list[Held]:
        """Bans of this network or wider ones that cover the scope and stand at `time`."""
        found = []
        for prefix, by_address in self._index[network.address >= V6].items():
            if prefix <= network.prefix:
                for held in by_address.get(network_of(network.address, prefix, prefix).address, ()):
                    if time < held.until and scope in held.scopes:
                        found.append(held)
        return found

    def within(self, network: Network, time: float) -> list[Held]:
        """Bans in the network (its own included) that stand at `time`, in the order in which they were
        imposed.
        """
        exact = 48 if network.address >= V6 else 24
        if network.prefix >= exact:
            keys = self._inside.get(network_key(network.address), set())
        else:
            keys = set(self._held)
        found = [self._held[key] for key in keys if covers(network, key[0]) and time < self._held[key].until]
        return sorted(found, key=lambda held: held.serial)

    # ------------------------------------------------------------ changing

    def put(self, ban: Ban, simulated: bool) -> Held:
        """Let a ban stand; one of the same network and scope is superseded."""
        self.remove(ban.network, ban.scope)
        self._serial += 1
        held = Held(ban, simulated, serial=self._serial)
        key = held.key
        self._held[key] = held
        place = sieve_place(ban.network.address)
        self.sieve[place >> 3] |= 1 << (place & 7)
        self._index[ban.network.address >= V6].setdefault(ban.network.prefix, {}).setdefault(
            ban.network.address, []
        ).append(held)
        if ban.network.prefix >= (48 if ban.network.address >= V6 else 24):
            self._inside.setdefault(network_key(ban.network.address), set()).add(key)
        wide = is_wide(ban.network)
        self._standing[wide] += 1
        heapq.heappush(self._ends, (held.until, held.serial, key))
        self.soonest = self._ends[0][0]
        heapq.heappush(self._ranks[wide], (*held.rank, held.serial, key))
        self._dirty.add(key)
        return held

    def remove(self, network: Network, scope: str) -> Held | None:
        """Let a ban stand no more; the ban, or None where there was none."""
        key = (network, scope)
        held = self._held.pop(key, None)
        if held is None:
            return None
        if key in self._ended:
            self._ended.discard(key)
        else:
            self._standing[is_wide(network)] -= 1
        by_prefix = self._index[network.address >= V6]
        by_address = by_prefix[network.prefix]
        there = by_address[network.address]
        there.remove(held)
        if not there:
            del by_address[network.address]
            if not by_address:
                del by_prefix[network.prefix]
        inside = self._inside.get(network_key(network.address))
        if inside is not None:
            inside.discard(key)
            if not inside:
                del self._inside[network_key(network.address)]
        self._dirty.add(key)
        return held

    def expire(self, time: float) -> None:
        """Take note of the bans that have ended by `time`."""
        while self._ends and self._ends[0][0] <= time:
            until, serial, key = heapq.heappop(self._ends)
            held = self._held.get(key)
            if held is None or held.serial != serial:
                continue
            if key not in self._ended:
                self._ended.add(key)
                self._standing[is_wide(key[0])] -= 1
                heapq.heappush(self._ends, (until + LINGER, serial, key))
            else:
                self.remove(*key)
        self.soonest = self._ends[0][0] if self._ends else NEVER_ENDS

    def make_real(self, held: Held) -> None:
        """What was only said is now done."""
        held.simulated = False
        self._dirty.add(held.key)

    def turn_back(self, now: float) -> None:
        """The clock was ahead when bans were put in: they begin now, and last as long as was said."""
        for held in [held for held in self if held.ban.since > now]:
            ban, until = held.ban, held.ban.until
            until = None if until is None else now + (until - ban.since)
            moved = self.put(replace(ban, since=now, until=until), held.simulated)
            moved.hits, moved.last_hit = held.hits, min(held.last_hit, now)

    def hit(self, held: Held, time: float) -> None:
        """A hostile event of somebody under this ban."""
        held.hits += 1
        held.last_hit = max(held.last_hit, time)
        self._hit.add(held.key)

    def overfull(self, wide: bool) -> list[Held]:
        """Who must give way so that one more ban (`wide`: of a network) fits; empty when there is room."""
        leaving: list[Held] = []
        if wide and self._standing[True] >= self.max_networks:
            leaving += self._lowest((True,))
        elif sum(self._standing) >= self.max_bans:
            leaving += self._lowest((False, True))
        return leaving

    def _lowest(self, kinds: tuple[bool, ...]) -> list[Held]:
        best: Held | None = None
        for wide in kinds:
            ranks = self._ranks[wide]
            while ranks:
                held = self._held.get(ranks[0][3])
                if held is not None and held.serial == ranks[0][2] and held.key not in self._ended:
                    if best is None or held.rank < best.rank:
                        best = held
                    break
                heapq.heappop(ranks)
        return [best] if best is not None else []

    def changed(self, full: bool = False) -> Iterator[tuple[Key, Held | None]]:
        """Bans that changed since the last call (None: gone), or all."""
        keys = list(self._held) if full else sorted(self._dirty)
        self._hit -= self._dirty  # those are told as a whole
        self._dirty.clear()
        if full:
            self._hit.clear()
        for key in keys:
            yield key, self._held.get(key)

    def met(self) -> Iterator[Held]:
        """Bans that somebody met since the last call, of those that `changed` did not tell. A ban is a large
        row, and those that hold are met all the time."""
        keys = list(self._hit)
        self._hit.clear()
        for key in keys:
            held = self._held.get(key)
            if held is not None:
                yield held


class Ordinals:
    """How many times each network was banned; forgotten after `forget` clean seconds."""

    def __init__(self, cap: int, forget: float, salt: int = 0, track: bool = False):
        self.table = Table("ordinal", cap, salt, track)
        self.forget = forget

    def next(self, network: Network, time: float) -> int:
        """The ordinal of the ban that would follow now."""
        value = self.table.get(pack_network(network))
        if value is None:
            return 1
        ordinal, end = _ORDINAL.unpack(value)
        return 1 if time - end >= self.forget else min(ordinal + 1, 0xFFFF)

    def last(self, network: Network, time: float) -> int:
        """How many bans are remembered."""
        return self.next(network, time) - 1

    def note(self, network: Network, ordinal: int, end: float) -> None:
        """The network was banned for the `ordinal`-th time, until `end`."""
        self.table.put(pack_network(network), _ORDINAL.pack(ordinal, end), ordinal > 1)

    def clear(self, network: Network) -> None:
        self.table.drop(pack_network(network))

    def sweep(self, clock: float) -> int:
        forget = self.forget
        return self.table.sweep(
            lambda keys: [key for key, value in keys.items() if clock - _ORDINAL.unpack(value)[1] >= forget]
        )
