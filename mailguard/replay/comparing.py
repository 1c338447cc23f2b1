"""Two timelines side by side: which bans only one has, and which come earlier or later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..model import Network
from .timeline import BanRecord

SAME, ONLY_A, ONLY_B, EARLIER, LATER = "same", "only-a", "only-b", "earlier", "later"


class Pair(NamedTuple):
    """One ban of A and the ban of B that answers it. `where` is one of the words above: how B differs from
    A; `seconds` is how much later B is (None where one is missing)."""

    network: Network
    where: str
    a: BanRecord | None
    b: BanRecord | None
    seconds: float | None = None


def compare(a: Iterable[BanRecord], b: Iterable[BanRecord]) -> list[Pair]:
    """The n-th ban of a network and its ports in A answers the n-th in B; in order of time."""
    first, second = _numbered(a), _numbered(b)
    pairs = []
    for place in first.keys() | second.keys():
        one, two = first.get(place), second.get(place)
        network = place[0]
        if one is None:
            pairs.append(Pair(network, ONLY_B, None, two))
        elif two is None:
            pairs.append(Pair(network, ONLY_A, one, None))
        else:
            seconds = two.effect.time - one.effect.time
            where = SAME if not seconds else LATER if seconds > 0 else EARLIER
            pairs.append(Pair(network, where, one, two, seconds))
    return sorted(pairs, key=_order)


def _numbered(bans: Iterable[BanRecord]) -> dict[tuple[Network, str, int], BanRecord]:
    found: dict[tuple[Network, str, int], BanRecord] = {}
    counts: dict[tuple[Network, str], int] = {}
    for record in bans:
        ban = record.effect.ban
        place = ban.network, ban.scope
        counts[place] = number = counts.get(place, 0) + 1
        found[*place, number] = record
    return found


def _order(pair: Pair) -> tuple[float, Network, str]:
    times = [one.effect.time for one in (pair.a, pair.b) if one is not None]
    scope = next(one.effect.ban.scope for one in (pair.a, pair.b) if one is not None)
    return min(times), pair.network, scope


def counts(pairs: Sequence[Pair]) -> dict[str, int]:
    """How many there are of each sort."""
    found = {word.replace("-", "_"): 0 for word in (SAME, ONLY_A, ONLY_B, EARLIER, LATER)}
    for pair in pairs:
        found[pair.where.replace("-", "_")] += 1
    return found
