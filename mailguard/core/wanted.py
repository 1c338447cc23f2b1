"""The arguments of what an administrator asks: values from outside, read or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import Network
from ..notation import V6, network_of, parse_duration, parse_network

Answer = dict[str, Any]


class BadArgument(Exception):
    """An argument that cannot be read."""

    def __init__(self, name: str, value: object):
        super().__init__(name, value)
        self.answer: Answer = {
            "ok": False,
            "id": "bad-argument",
            "args": {"name": name, "value": str(value)[:200]},
        }


def network_in(args: Mapping[str, Any], name: str = "network") -> Network:
    """The network named `name`; BadArgument where there is none."""
    value = args.get(name)
    network = parse_network(value) if isinstance(value, str) else None
    if network is None:
        raise BadArgument(name, value)
    return network


def networks_in(args: Mapping[str, Any]) -> list[Network]:
    """`networks`, a list, or the one `network`; empty where neither is given."""
    values = args.get("networks")
    if values is None:
        return [network_in(args)] if "network" in args else []
    if not isinstance(values, list):
        raise BadArgument("networks", values)
    return [network_in({"networks": value}, "networks") for value in values]


def seconds_in(args: Mapping[str, Any], name: str) -> float | None:
    """A duration: seconds or `10m`; None when it is not given."""
    value = args.get(name)
    if value is None:
        return None
    found = parse_duration(value) if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e10:
        raise BadArgument(name, value)
    return float(found)


def text_in(args: Mapping[str, Any], name: str) -> str:
    """A text of 500 characters at most, all of them printable; empty where none is given."""
    value = args.get(name, "")
    if not isinstance(value, str):
        raise BadArgument(name, value)
    return "".join(char if char.isprintable() else "?" for char in value[:500])


def one_source(network: Network) -> Network:
    """A single IPv6 address stands for its /64."""
    if network.address >= V6 and network.prefix > 64:
        return network_of(network.address, 32, 64)
    return network


def since_in(args: Mapping[str, Any], now: float) -> float | None:
    """`since`: an age (`2h`) or a time (seconds since 1970); the time it means."""
    value = args.get("since")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    seconds = seconds_in(args, "since")
    return None if seconds is None else now - seconds
