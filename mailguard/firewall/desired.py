"""What must be blocked, and how overlapping networks become pieces that do not overlap.

Pure: no clock, no system. A ban is a *key* (scope number, packed address, prefix length) with an end in
seconds since 1970, `FOREVER` for a permanent one. Kernel interval sets refuse overlapping elements, and
joining them silently (as `auto-merge` does) gives ranges nobody asked for when one of two timeouts ends.
Networks of one family nest or are disjoint, so they have one exact flat form: every point belongs to the
covering ban that ends last. A network inside a wider one that ends no earlier needs no piece of its own;
one that ends later is cut out of the wider one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import NamedTuple

from mailguard.firewall.interface import SCOPES
from mailguard.model import Ban, Effect, Impose, Lift, Network
from mailguard.notation import V6

FOREVER = inf
Key = tuple[int, int, int]
#: Ends by key.
Bans = dict[Key, float]
#: New ends by key; None: the ban is lifted.
Changes = dict[Key, float | None]

HOST4, HOST6, PREFIX6, NET4, NET6 = "host4", "host6", "prefix6", "net4", "net6"
KINDS: tuple[str, ...] = (HOST4, HOST6, PREFIX6, NET4, NET6)

_SCOPE_NUMBER = {name: number for number, name in enumerate(SCOPES)}


class Piece(NamedTuple):
    """One element of an interval set: both ends inclusive, the ban's end, and the ban it comes from."""

    low: int
    high: int
    until: float
    owner: Key


def scope_number(scope: str) -> int:
    """The number of a scope's name; ValueError for an unknown one."""
    try:
        return _SCOPE_NUMBER[scope]
    except KeyError:
        raise ValueError(f"{scope!r} is no scope; there are {', '.join(SCOPES)}") from None


def kind_of(address: int, prefix: int) -> str:
    """Which sort of set holds that network."""
    if address < V6:
        return HOST4 if prefix == 32 else NET4
    return HOST6 if prefix == 128 else PREFIX6 if prefix == 64 else NET6


def key_of(network: Network, scope: str) -> Key:
    """The key of a network; ValueError when it is none (host bits set, prefix too long)."""
    address, prefix = network
    if prefix == 32 and 0 <= address < 1 << 32:
        return scope_number(scope), address, prefix
    bits = 128 if address >= V6 else 32
    known = 0 <= address < 1 << 32 or V6 <= address < 2 * V6
    if not known or not 0 <= prefix <= bits or address & ((1 << (bits - prefix)) - 1):
        raise ValueError(f"no network: {network!r}")
    return scope_number(scope), address, prefix


def bounds(address: int, prefix: int) -> tuple[int, int]:
    """First and last packed address of a network."""
    bits = 128 if address >= V6 else 32
    return address, address | ((1 << (bits - prefix)) - 1)


def networks_between(low: int, high: int) -> Iterator[Network]:
    """The fewest networks that make up the range (packed addresses of one family, inclusive)."""
    bits = 128 if low >= V6 else 32
    base = V6 if low >= V6 else 0
    low, high = low - base, high - base
    while low <= high:
        size = min((low & -low).bit_length() - 1 if low else bits, (high - low + 1).bit_length() - 1)
        yield Network(low + base, bits - size)
        low += 1 << size


def changes_of(effects: Iterable[Effect], now: float) -> Changes:
    """What effects ask for: the last word on each network counts, a ban already over asks for nothing."""
    changes: Changes = {}
    for effect in effects:
        if isinstance(effect, Impose):
            changes |= changes_of_bans((effect.ban,), now)
        elif isinstance(effect, Lift):
            changes[key_of(effect.network, effect.scope)] = None
    return changes


def changes_of_bans(bans: Iterable[Ban], now: float) -> Changes:
    """The changes that impose `bans`."""
    changes: Changes = {}
    for ban in bans:
        until = FOREVER if ban.until is None else ban.until
        if until > now:
            changes[key_of(ban.network, ban.scope)] = until
    return changes


class _Open:
    """A network being flattened: `at` is its first address that is in no piece yet."""

    __slots__ = ("at", "high", "owner", "until")

    def __init__(self, low: int, high: int, until: float, owner: Key):
        self.at, self.high, self.until, self.owner = low, high, until, owner

    def emit(self, pieces: list[Piece], upto: int) -> None:
        if self.at <= upto:
            pieces.append(Piece(self.at, upto, self.until, self.owner))
            self.at = upto + 1


def flatten(nets: Mapping[Key, float]) -> list[Piece]:
    """The flat form of networks of one family and scope, in order of address. See the module."""
    pieces: list[Piece] = []
    stack: list[_Open] = []  # outermost first; each ends later than the one around it

    def close() -> None:
        inner = stack.pop()
        inner.emit(pieces, inner.high)
        if stack:
            stack[-1].at = inner.at

    for key, until in sorted(nets.items(), key=lambda item: (item[0][1], item[0][2])):
        low, high = bounds(key[1], key[2])
        while stack and stack[-1].high < low:
            close()
        if stack:
            if stack[-1].until >= until:
                continue
            stack[-1].emit(pieces, low - 1)
        stack.append(_Open(low, high, until, key))
    while stack:
        close()
    return pieces


class Desired:
    """The bans that must stand, by key, each with its end.

    Owns: `bans` (read it freely, change it by the methods only). Never asks a clock: `now` arrives, and
    bans over by then do not count.
    """

    __slots__ = ("_bans", "_nets")

    def __init__(self, bans: Mapping[Key, float] | None = None):
        self._bans: Bans = dict(bans or {})
        #: The networks of each interval set; None: to be gathered when next asked for.
        self._nets: dict[tuple[int, str], Bans] | None = None

    @property
    def bans(self) -> Mapping[Key, float]:
        return self._bans

    def replace(self, bans: Bans) -> None:
        """From now on exactly these, and the dictionary belongs here."""
        self._bans = bans
        self._nets = None

    def alive(self, now: float) -> Bans:
        """The bans that are not over."""
        return {key: until for key, until in self._bans.items() if until > now}

    def commit(self, changes: Mapping[Key, float | None]) -> None:
        """Take changes over, after the system has taken them."""
        for key, until in changes.items():
            kind = kind_of(key[1], key[2])
            ranges = self._nets.setdefault((key[0], kind), {}) if self._nets and kind in (NET4, NET6) else {}
            if until is None:
                self._bans.pop(key, None)
                ranges.pop(key, None)
            else:
                self._bans[key] = ranges[key] = until

    def adopt(self, found: Iterable[tuple[Key, float]]) -> None:
        """Bans that stand unasked become desired; what is desired already keeps its own end."""
        self.commit({key: until for key, until in found if key not in self._bans})

    def purge(self, now: float) -> list[Key]:
        """Forget the bans that are over; their keys."""
        over = [key for key, until in self._bans.items() if until <= now]
        self.commit(dict.fromkeys(over))
        return over

    def nets(self, scope: int, kind: str, now: float) -> Bans:
        """The living networks of one interval set."""
        if self._nets is None:
            self._nets = {}
            for key, until in self._bans.items():
                sort = kind_of(key[1], key[2])
                if sort in (NET4, NET6):
                    self._nets.setdefault((key[0], sort), {})[key] = until
            self._nets.setdefault((scope, kind), {})
        return {key: until for key, until in self._nets.get((scope, kind), {}).items() if until > now}


def concerned(nets: Mapping[Key, float], changed: Iterable[Key]) -> Bans:
    """Of the networks of one set, those whose pieces depend on the changed ones: all within the widest
    network around each of them.
    """
    spans: list[tuple[int, int]] = []
    for _, address, prefix in changed:
        low, high = bounds(address, prefix)
        for _, other, length in nets:
            first, last = bounds(other, length)
            if first <= low and high <= last:
                low, high = first, last
        spans.append((low, high))
    if len(spans) > 16:
        return dict(nets)  # gathering costs more than flattening all
    return {key: until for key, until in nets.items() if any(low <= key[1] <= high for low, high in spans)}
