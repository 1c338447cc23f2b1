"""Kinds of arguments: networks, durations, points in time, zones. What is wrong is said with an example.

Each is a function from the text on the command line to its value, which raises click.BadParameter.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from mailguard.locale import length as length_of
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

LONGEST = 10000 * 86400.0  # what a length of time may be; more is meant to be for ever


def network(value: str) -> Network:
    """`192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`."""
    found = parse_network(value)
    if found is not None:
        return found
    body, _, length = value.strip().partition("/")
    address = parse_address(body)
    if address is not None and ":" in body and host_prefix(address) == 32 and length.isdecimal():
        # IPv4 written as IPv6: ::ffff:192.0.2.0/120 is 192.0.2.0/24.
        if 96 <= int(length) <= 128:
            return network(f"{format_network(network_of(address, 32, 128))}/{int(length) - 96}")
        raise click.BadParameter(text("usage.network", text=value))
    if address is not None and length.isdecimal() and int(length) <= host_prefix(address):
        meant = format_network(network_of(address, min(int(length), 32), int(length)))
        raise click.BadParameter(text("usage.network-host-bits", text=value, network=meant))
    raise click.BadParameter(text("usage.network", text=value))


def duration(value: str) -> float:
    """`10m`, `1h30m`, `7d`: seconds, more than none."""
    seconds = parse_duration(value)
    if not seconds:
        raise click.BadParameter(text("usage.duration", text=value, extra=""))
    return _bounded(value, seconds)


def pause(value: str) -> float:
    """A duration, or `0s`."""
    seconds = parse_duration(value)
    if seconds is None:
        raise click.BadParameter(text("usage.duration", text=value, extra=""))
    return _bounded(value, seconds)


def length(value: str) -> float:
    """A duration, or the word `permanent`, which is infinite."""
    if value == "permanent":
        return float("inf")
    seconds = parse_duration(value)
    if not seconds:
        raise click.BadParameter(text("usage.duration", text=value, extra=text("usage.or-permanent")))
    return _bounded(value, seconds, text("usage.permanent"))


def _bounded(value: str, seconds: float, extra: str = "") -> float:
    if seconds > LONGEST:
        raise click.BadParameter(
            text("usage.duration-long", text=value, longest=length_of(LONGEST), extra=extra)
        )
    return seconds


def moment(value: str) -> float:
    """Seconds since 1970 of an RFC 3339 time (this host's zone where it names none), or of a duration ago."""
    ago = parse_duration(value)
    if ago is not None:
        return time.time() - ago
    try:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.astimezone()).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):  # the latter at the first and last days that there are
        raise click.BadParameter(text("usage.time", text=value)) from None


def zone(value: str) -> str:
    """The name of a time zone; empty: none is named."""
    if not value:
        return value
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError):
        raise click.BadParameter(text("usage.zone", text=value)) from None
    return value
