"""Bans that stand in the firewall though the judge knows nothing of them: somebody put them into mailguard's
own table, or the ledger was lost. They stand until their end, are shown as what they are, and can be
lifted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..firewall.interface import Standing
from ..model import Network
from ..notation import V6, covers, format_network, network_of

DETECTOR = "unknown"
Place = tuple[Network, str]


def strays(
    standing: Mapping[Place, Standing],
    known: Collection[Place],
    now: float,
    networks: Collection[Network] = (),
) -> dict[Place, Standing]:
    """What stands and is not `known`; with `networks` only what lies in one of them.

    What ends this moment may have been known until now.
    """
    return {
        place: seen
        for place, seen in standing.items()
        if place not in known
        and (seen.expires is None or seen.expires > now + 2)
        and (not networks or any(covers(network, place[0]) for network in networks))
    }


def around(place: Place, known: Collection[Place]) -> Network | None:
    """The banned IPv6 network of which the firewall holds this host, because it cannot hold the network."""
    address, prefix = place[0]
    if address < V6 or prefix != 128:
        return None
    wider = (network_of(address, 32, shorter) for shorter in range(64, 15, -1))
    return next((one for one in wider if (one, place[1]) in known), None)


def row(place: Place, seen: Standing, known: Collection[Place] = ()) -> dict[str, Any]:
    """As `bans` and `why` tell of any other ban."""
    network = format_network(place[0])
    whole = around(place, known)
    why = "it was found in the firewall" if whole is None else f"a host of {format_network(whole)}"
    return {
        "id": 0,
        "network": network,
        "scope": place[1],
        "since": None,
        "until": seen.expires,
        "ordinal": 0,
        "detector": DETECTOR if whole is None else f"{format_network(whole)}",
        "key": "",
        "first": None,
        "last": None,
        "count": 0,
        "kinds": [],
        "reason": "",
        "text": f"ban {network} by {DETECTOR}: {why}" if whole is None else f"ban {network}: {why}",
        "packets": seen.packets,
        "bytes": seen.bytes,
    }
