"""Which addresses count as one, and whether an address lies in a list of networks.

Owns: the key of a source (an IPv4 address, an IPv6 /64) and of its network (/24, /48).
Never: parses text; addresses come packed (see `model`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..model import Network
from ..notation import V6, covers, network_of

SOURCE4, SOURCE6 = 32, 64  # what one source is: whoever has an IPv6 address has its whole /64
NETWORK4, NETWORK6 = 24, 48  # what one network is
_MASK64 = (1 << 64) - 1


def source_key(address: int) -> int:
    """The packed address that stands for the source: IPv4 itself, the first address of an IPv6 /64."""
    return address if address < V6 else address >> 64 << 64


def network_key(address: int) -> int:
    """The packed first address of the source's network: /24 or /48."""
    return address & ~0xFF if address < V6 else address >> 80 << 80


def source_network(address: int) -> Network:
    """What is banned for an offence of this source: the IPv4 address or the IPv6 /64."""
    return network_of(address, SOURCE4, SOURCE6)


def wide_network(address: int) -> Network:
    """The source's network: /24 or /48."""
    return network_of(address, NETWORK4, NETWORK6)


def without(network: Network, holes: Sequence[Network]) -> list[Network]:
    """What is left of `network` without these networks, in as few pieces as there can be."""
    if any(covers(hole, network) for hole in holes):
        return []
    inside = [hole for hole in holes if covers(network, hole)]
    if not inside:
        return [network]
    size = 1 << ((128 if network.address >= V6 else 32) - network.prefix - 1)
    halves = (Network(network.address + more, network.prefix + 1) for more in (0, size))
    return [piece for half in halves for piece in without(half, inside)]


def source_value(address: int) -> int:
    """A source in 64 bits, as the value a record carries; 0 where it cannot be told (IPv6 ::/32, routed
    nowhere).
    """
    if address < V6:
        return address
    value = (address - V6) >> 64
    return value if value >> 32 else 0


def source_of_value(value: int) -> int:
    """The packed address (of an IPv6 /64 the first) that `source_value` gave this value."""
    return value if value >> 32 == 0 else V6 + (value << 64)


def value_network(value: int) -> int:
    """The network (/24 or /48) of a source value, as a 64-bit value."""
    return value & ~0xFF if value >> 32 == 0 else value & (_MASK64 ^ 0xFFFF)


def pack_network(network: Network) -> int:
    """A network as one integer key."""
    return network.address << 8 | network.prefix


def unpack_network(key: int) -> Network:
    return Network(key >> 8, key & 0xFF)


def overlap(a: Network, b: Network) -> bool:
    """True when some host is in both."""
    return covers(a, b) or covers(b, a)


class NetworkMap:
    """Networks with a text each (the reason they are in the list); looked up by prefix lengths in use.

    A look-up costs one dictionary probe for each different prefix length of the family.
    """

    def __init__(self, networks: Iterable[tuple[Network, str]] = ()):
        self._by_prefix: tuple[dict[int, dict[int, str]], dict[int, dict[int, str]]] = ({}, {})
        for network, reason in networks:
            self.add(network, reason)

    def __len__(self) -> int:
        return sum(len(found) for family in self._by_prefix for found in family.values())

    def __iter__(self) -> Iterator[tuple[Network, str]]:
        for family in self._by_prefix:
            for prefix, found in sorted(family.items()):
                for address, reason in sorted(found.items()):
                    yield Network(address, prefix), reason

    def add(self, network: Network, reason: str) -> None:
        family = self._by_prefix[network.address >= V6]
        family.setdefault(network.prefix, {})[network.address] = reason

    def remove(self, network: Network) -> bool:
        """True when exactly this network was in the list."""
        family = self._by_prefix[network.address >= V6]
        found = family.get(network.prefix)
        if not found or network.address not in found:
            return False
        del found[network.address]
        if not found:
            del family[network.prefix]
        return True

    def covering(self, address: int) -> tuple[Network, str] | None:
        """The widest network of the list that contains the address, with its reason."""
        for prefix, found in sorted(self._by_prefix[address >= V6].items()):
            network = network_of(address, prefix, prefix)
            if network.address in found:
                return network, found[network.address]
        return None

    def touching(self, network: Network) -> tuple[Network, str] | None:
        """A network of the list that shares a host with `network`: one around it, or else one inside it."""
        v6 = network.address >= V6
        base, bits = (V6, 128) if v6 else (0, 32)
        host = network.address - base
        for prefix, found in sorted(self._by_prefix[v6].items()):
            if prefix <= network.prefix:
                first = base + (host >> bits - prefix << bits - prefix)
                if first in found:
                    return Network(first, prefix), found[first]
            else:
                for address in sorted(found):
                    if covers(network, Network(address, prefix)):
                        return Network(address, prefix), found[address]
        return None
