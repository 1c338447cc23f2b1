"""Types of arguments: networks, durations, points in time, zones. What is wrong is said with an example."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import click

from mailguard.model import Network
from mailguard.notation import (
    format_network,
    host_prefix,
    network_of,
    parse_address,
    parse_duration,
    parse_network,
)

from .messages import text


class NetworkType(click.ParamType[Network]):
    """`192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        if isinstance(value, Network):
            return value
        network = parse_network(value)
        if network is None:
            address = parse_address(value.partition("/")[0])
            length = value.partition("/")[2]
            if address is not None and length.isdecimal() and int(length) <= host_prefix(address):
                meant = format_network(network_of(address, min(int(length), 32), int(length)))
                self.fail(text("usage.network-host-bits", text=value, network=meant), param, ctx)
            self.fail(text("usage.network", text=value), param, ctx)
        return network


class DurationType(click.ParamType[float]):
    """`10m`, `1h30m`, `7d`: seconds. With `permanent=True` that word too, as infinity."""

    name = "duration"

    def __init__(self, permanent: bool = False):
        self.permanent = permanent

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if self.permanent and value == "permanent":
            return float("inf")
        seconds = parse_duration(value)
        if not seconds:
            extra = text("usage.or-permanent") if self.permanent else ""
            self.fail(text("usage.duration", text=value, extra=extra), param, ctx)
        return seconds


class MomentType(click.ParamType[float]):
    """A point in time: RFC 3339 text (this host's zone when it names none), or a duration before now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        ago = parse_duration(value)
        if ago is not None:
            return time.time() - ago
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(text("usage.time", text=value), param, ctx)
        return (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC).timestamp()


class ZoneType(click.ParamType[str]):
    """The name of a time zone."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            self.fail(text("usage.zone", text=value), param, ctx)
        return str(value)


NETWORK = NetworkType()
DURATION = DurationType()
LENGTH = DurationType(permanent=True)
MOMENT = MomentType()
ZONE = ZoneType()
