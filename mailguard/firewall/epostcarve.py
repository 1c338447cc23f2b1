"""Banned networks without the hosts that pass: E-Post's first matching row decides, and ours stand below
those of others, so a host that passes is cut out of the rows instead of being named above them. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from mailguard.core.networks import without
from mailguard.firewall.desired import bounds
from mailguard.model import Network
from mailguard.notation import V6, network_of


class Allowed:
    """The networks that pass, so that a hundred thousand bans are cut quickly."""

    def __init__(self, networks: Iterable[Network]):
        self.networks = sorted(set(networks))
        self._set = frozenset(self.networks)
        self._first = [network.address for network in self.networks]
        self._lengths = {
            6 if v6 else 4: sorted({one.prefix for one in self.networks if (one.address >= V6) == v6})
            for v6 in (False, True)
        }

    def pieces(self, banned: Network) -> list[Network]:
        """What of a banned network does not pass."""
        if not self.networks:
            return [banned]
        for length in self._lengths[6 if banned.address >= V6 else 4]:
            if length <= banned.prefix and network_of(banned.address, min(length, 32), length) in self._set:
                return []
        low, high = bounds(banned.address, banned.prefix)
        inside = self.networks[bisect_left(self._first, low) : bisect_right(self._first, high)]
        return without(banned, inside) if inside else [banned]

    def touches(self, banned: Network, changed: Iterable[Network]) -> bool:
        """Whether one of the changed networks lies in a banned one or around it."""
        low, high = bounds(banned.address, banned.prefix)
        return any(not (last < low or high < first) for first, last in (bounds(*one) for one in changed))
