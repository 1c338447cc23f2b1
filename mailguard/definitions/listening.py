"""The keys `listen` and `senders` of a log that comes over the net."""

from __future__ import annotations

from typing import Any

from ..model import Network
from ..notation import V6, parse_endpoint, parse_network
from .reading import Reading

_ANY = (0, V6)  # 0.0.0.0 and ::


def listening(
    reading: Reading, kind: str, table: dict[str, Any], keys: tuple[str | int, ...], about: str
) -> tuple[tuple[str, ...], tuple[Network, ...]]:
    """Where a log of kind "syslog" listens, and the networks that may send. Mistakes become problems."""
    if kind != "syslog":
        for key in ("listen", "senders"):
            if key in table:
                reading.problem(
                    (*keys, key), f"{about}: {key} is for syslog only", f"this log is of kind {kind!r}"
                )
        return (), ()
    if table.get("path"):
        reading.problem((*keys, "path"), f"{about}: what comes over the net has no path", "", "Use listen.")
    listen = reading.texts(table, "listen", keys, about)
    if not listen:
        reading.problem(
            keys,
            f"{about}: listen is missing",
            "nobody listens at every address unless that is written",
            'Write listen = "udp://192.0.2.1:5514", with this host\'s own address.',
        )
    anywhere = ""
    for text in listen:
        place = parse_endpoint(text)
        if place is None:
            reading.problem(
                (*keys, "listen"),
                f"{about}: {text!r} is no place to listen at",
                "it must name udp or tcp, an address and a port",
                'Write "udp://192.0.2.1:5514" or "tcp://[2001:db8::1]:5514".',
            )
        elif place.address in _ANY:
            anywhere = text
    senders = []
    for text in reading.texts(table, "senders", keys, about):
        network = parse_network(text)
        if network is None:
            reading.problem(
                (*keys, "senders"),
                f"{about}: {text!r} is no network",
                instead='Write "192.0.2.7" or "192.0.2.0/24".',
            )
        else:
            senders.append(network)
    if not senders and (anywhere or table.get("trust") == "ban"):
        reading.problem(
            keys,
            f"{about}: senders is missing",
            f"{anywhere} is open to everybody" if anywhere else "what anybody may send must not ban anybody",
            'Write senders = ["192.0.2.7"], the hosts that send their logs.',
        )
    return listen, tuple(senders)
