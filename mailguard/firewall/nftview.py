"""What the elements of a set say about bans: pure comparisons between the kernel's elements and what is
desired.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mailguard.firewall.desired import FOREVER, Bans, Key, bounds, flatten, kind_of, networks_between
from mailguard.firewall.driver import expires
from mailguard.firewall.elements import Found
from mailguard.firewall.interface import Standing
from mailguard.notation import V6, format_address, format_network

#: Ends that differ by fewer seconds are the same: the kernel counts ticks of a clock of its own.
TOLERANCE = 5.0


class Operation(NamedTuple):
    """One element to `add`, `renew` or `delete`: its set by scope and kind, both ends, milliseconds (0:
    ever).
    """

    verb: str
    scope: int
    kind: str
    low: int
    high: int
    timeout: int = 0


def host(verb: str, key: Key, until: float = FOREVER, now: float = 0.0) -> Operation:
    """The operation on the one element of a host or /64."""
    scope, address, prefix = key
    return Operation(verb, scope, kind_of(address, prefix), address, address, milliseconds(until, now))


def milliseconds(until: float, now: float) -> int:
    """A timeout for the kernel; 0: permanent."""
    return 0 if until == FOREVER else max(1, int((until - now) * 1000))


def range_text(low: int, high: int) -> str:
    """A range as nft writes it: an address, a network, or both ends."""
    nets = list(networks_between(low, high))
    if len(nets) == 1:
        return format_network(nets[0])
    return f"{format_address(low)}-{format_address(high)}"


def end_of(item: Found, now: float) -> float:
    return FOREVER if item.remaining is None else now + item.remaining / 1000


def same_end(item: Found, until: float, now: float) -> bool:
    """Whether an element ends when it should, within the tolerance."""
    if item.remaining is None or until == FOREVER:
        return item.remaining is None and until == FOREVER
    return abs(now + item.remaining / 1000 - until) <= TOLERANCE


def foreign_hosts(there: Iterable[Found], known: Container[Key], scope: int, prefix: int, now: float) -> Bans:
    """The elements of one host set that are no ban of `known`, with their ends."""
    return {
        (scope, item.low, prefix): end_of(item, now)
        for item in there
        if (scope, item.low, prefix) not in known
    }


def foreign_ranges(there: Iterable[Found], known: Mapping[Key, float], scope: int, now: float) -> Bans:
    """The elements of one interval set that no network of `known` explains, as bans with ends of their own.

    A network explains the ranges inside it that end no later than it does: they are pieces of it.
    """
    found: Bans = {}
    for item in there:
        ends = end_of(item, now)
        around = max((known[key] for key in _around(item, scope) if key in known), default=0.0)
        if ends > around + TOLERANCE:
            for network in networks_between(item.low, item.high):
                key = (scope, network.address, network.prefix)
                if key not in known:
                    found[key] = ends
    return found


def _around(item: Found, scope: int) -> Iterator[Key]:
    """All networks that contain a whole range, from the widest."""
    base, bits = (V6, 128) if item.low >= V6 else (0, 32)
    same = bits - (item.low ^ item.high).bit_length()
    for prefix in range(same + 1):
        shift = bits - prefix
        yield scope, ((item.low - base) >> shift << shift) + base, prefix


def wrong_hosts(
    there: Iterable[Found], wanted: Mapping[Key, float], now: float
) -> tuple[list[Key], list[Key]]:
    """Of the bans of one host set: which are not there, and which end at another time."""
    seen = {item.low: item for item in there}
    missing, other = [], []
    for key, until in wanted.items():
        item = seen.get(key[1])
        if item is None:
            missing.append(key)
        elif not same_end(item, until, now):
            other.append(key)
    return missing, other


def wrong_pieces(
    there: Iterable[Found], wanted: Mapping[Key, float], scope: int, kind: str, now: float
) -> tuple[list[Operation], list[Key]]:
    """The operations that turn the elements of an interval set into what is wanted, and the bans they
    concern.
    """
    pieces = {(piece.low, piece.high): piece for piece in flatten(wanted)}
    operations: list[Operation] = []
    kept = set()
    for item in there:
        piece = pieces.get((item.low, item.high))
        if piece is not None and same_end(item, piece.until, now):
            kept.add((item.low, item.high))
        else:
            operations.append(Operation("delete", scope, kind, item.low, item.high))
    concerned = []
    for ends, piece in pieces.items():
        if ends not in kept:
            operations.append(Operation("add", scope, kind, *ends, milliseconds(piece.until, now)))
            concerned.append(piece.owner)
    return operations, concerned


def standing_hosts(there: Iterable[Found], scope: int, prefix: int, now: float) -> dict[Key, Standing]:
    """What the elements of a host set say."""
    return {
        (scope, item.low, prefix): Standing(expires(end_of(item, now)), item.packets, item.bytes)
        for item in there
    }


def standing_nets(
    there: Sequence[Found], wanted: Mapping[Key, float], scope: int, now: float
) -> dict[Key, Standing]:
    """The networks of one interval set that stand, that is, all pieces that touch them are there; and
    foreign ones.

    A piece's counter belongs to the ban that the piece comes from.
    """
    by_ends = {(item.low, item.high): item for item in there}
    pieces = flatten(wanted)
    highs = [piece.high for piece in pieces]
    seen: dict[Key, Standing] = {}
    for key, until in wanted.items():
        low, high = bounds(key[1], key[2])
        packets = octets = 0
        complete = True
        at = bisect_left(highs, low)
        while at < len(pieces) and pieces[at].low <= high:
            item = by_ends.get((pieces[at].low, pieces[at].high))
            complete = complete and item is not None
            if item is not None and pieces[at].owner == key:
                packets, octets = packets + item.packets, octets + item.bytes
            at += 1
        if complete:
            seen[key] = Standing(expires(until), packets, octets)
    for key, until in foreign_ranges(there, wanted, scope, now).items():
        seen.setdefault(key, Standing(expires(until)))
    return seen
