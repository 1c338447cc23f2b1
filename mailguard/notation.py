"""Values and their one text form: addresses, networks, durations, times, effects. Round trips are tested.

`ban 192.0.2.7 for 10m by password-guessing: 5 auth_failure in 4m` is the same in ledger, golden files,
samples, replay output and log.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from struct import Struct
from typing import NamedTuple

from .model import Alert, Effect, Impose, Lift, Network, Offence

V6 = 1 << 128
_HEXTETS = Struct(">8H")
_ZEROS = tuple(":0" * count + ":" for count in range(8, 1, -1))
_MAPPED = 0xFFFF << 32
# The usual forms of addresses: four numbers without leading zeros, groups of at most four digits.
_DOTTED = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}\Z")
_GROUPS = re.compile(r"[0-9A-Fa-f:]{2,39}\Z")
_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:w|d|h|ms|m|s))+\Z", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(w|d|h|ms|m|s)", re.ASCII)


# ---------------------------------------------------------------- addresses


def parse_address(text: str | bytes) -> int | None:
    """Packed address of `text`, None when it is no address. `IPv6:` prefixes and zones are not addresses."""
    if isinstance(text, bytes):
        try:
            text = text.decode("ascii")
        except UnicodeDecodeError:
            return None
    if _DOTTED.match(text):
        a, b, c, d = map(int, text.split("."))
        if a < 256 and b < 256 and c < 256 and d < 256:
            return a << 24 | b << 16 | c << 8 | d
        return None
    try:
        if ":" in text:
            if "%" in text:
                return None
            if (plain := _plain_v6(text)) is not None:
                return plain
            value = int(ipaddress.IPv6Address(text))
            return value & 0xFFFFFFFF if value >> 32 == 0xFFFF else value + V6
        return int(ipaddress.IPv4Address(text))
    except ValueError:
        return None


def _plain_v6(text: str) -> int | None:
    """Packed address of groups of hexadecimal digits with at most one `::`; None: ask `ipaddress`, which
    takes five times as long."""
    if not _GROUPS.match(text):
        return None
    head, gap, tail = text.partition("::")
    left = head.split(":") if head else []
    right = tail.split(":") if tail else []
    missing = 8 - len(left) - len(right)
    if (missing < 1 if gap else missing) or not all(left) or not all(right):
        return None
    digits = "".join([group.zfill(4) for group in left + ["0"] * missing + right])
    if len(digits) != 32:
        return None
    value = int(digits, 16)
    return value & 0xFFFFFFFF if value >> 32 == 0xFFFF else value + V6


def format_address(address: int) -> str:
    """Canonical text of a packed address."""
    if address >= V6:
        groups = _HEXTETS.unpack((address - V6).to_bytes(16, "big"))
        text = ":{:x}:{:x}:{:x}:{:x}:{:x}:{:x}:{:x}:{:x}:".format(*groups)
        for zeros in _ZEROS:  # the longest run of two or more, the first of equals
            at = text.find(zeros)
            if at >= 0:
                return f"{text[1:at]}::{text[at + len(zeros) : -1]}"
        return text[1:-1]
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def is_v6(address: int) -> bool:
    return address >= V6


def host_prefix(address: int) -> int:
    """The prefix length that is one host in the address's family: 32 or 128."""
    return 128 if address >= V6 else 32


def network_of(address: int, prefix4: int, prefix6: int) -> Network:
    """The network of that length around a packed address; `prefix4` for IPv4, `prefix6` for IPv6."""
    if address >= V6:
        shift = 128 - prefix6
        return Network(((address - V6) >> shift << shift) + V6, prefix6)
    shift = 32 - prefix4
    return Network(address >> shift << shift, prefix4)


def parse_network(text: str) -> Network | None:
    """`192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`; None when it is no network or has host bits set."""
    body, slash, length = text.strip().partition("/")
    address = parse_address(body)
    if address is None:
        return None
    if not slash:
        return Network(address, host_prefix(address))
    if not length.isascii() or not length.isdigit() or int(length) > host_prefix(address):
        return None
    network = network_of(address, min(int(length), 32), int(length))
    return network if network.address == address else None


def format_network(network: Network) -> str:
    text = format_address(network.address)
    return text if network.prefix == host_prefix(network.address) else f"{text}/{network.prefix}"


def covers(outer: Network, inner: Network) -> bool:
    """True when every host of `inner` is in `outer`."""
    if (outer.address >= V6) != (inner.address >= V6) or outer.prefix > inner.prefix:
        return False
    shift = host_prefix(outer.address) - outer.prefix
    return outer.address >> shift == inner.address >> shift


class Endpoint(NamedTuple):
    """Where somebody listens: "udp" or "tcp", the packed address, the port."""

    transport: str
    address: int
    port: int

    @property
    def host(self) -> str:
        """The address as text."""
        return format_address(self.address)

    def __str__(self) -> str:
        return f"{self.transport}://{f'[{self.host}]' if is_v6(self.address) else self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint | None:
    """`udp://192.0.2.1:5514`, `tcp://[2001:db8::1]:6514`; None when it is no such address with a port."""
    transport, mark, rest = text.partition("://")
    host, colon, port = rest.rpartition(":")
    if transport not in ("udp", "tcp") or not mark or not colon or not port.isascii() or not port.isdigit():
        return None
    bracketed = host.startswith("[") and host.endswith("]")
    address = parse_address(host[1:-1] if bracketed else host)
    if address is None or bracketed != is_v6(address) or not 0 < int(port) < 65536:
        return None
    return Endpoint(transport, address, int(port))


# ---------------------------------------------------------------- durations and times


def parse_duration(text: str) -> float | None:
    """Seconds in `10m`, `1h30m`, `7d`, `500ms`; None when it is no duration."""
    text = text.strip()
    if not _DURATION.match(text):
        return None
    return sum(float(n) * (0.001 if unit == "ms" else _UNITS[unit]) for n, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """The shortest exact text in whole seconds, two units at most above a minute: `10m`, `1h30m`, `7d`."""
    rest = max(0, round(seconds))
    if rest == 0:
        return "0s"
    parts = []
    for unit, size in _UNITS.items():
        if unit == "w":
            continue  # 7d is what people write
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def format_time(time: float, zone: tzinfo | None = None) -> str:
    """RFC 3339 with zone, whole seconds unless there is a fraction. `zone` None: UTC."""
    moment = datetime.fromtimestamp(time, zone or UTC)
    return moment.isoformat(timespec="seconds" if moment.microsecond == 0 else "microseconds")


def times_in(zone: str) -> Callable[[float], str]:
    """A writer of times as `format_time` in the zone of that name; empty: in this host's, whose offset may
    change with the season. Raises ZoneInfoNotFoundError."""
    if zone:
        from zoneinfo import ZoneInfo

        named = ZoneInfo(zone)
        return lambda time: format_time(time, named)
    # Of this host, by the minute: to ask for one costs more than all the rest.
    offsets: dict[float, tzinfo | None] = {}

    def here(time: float) -> str:
        minute = time // 60
        if minute not in offsets:
            if len(offsets) >= _MINUTES:
                offsets.clear()
            offsets[minute] = datetime.fromtimestamp(time).astimezone().tzinfo
        return format_time(time, offsets[minute])

    return here


_MINUTES = 10_000  # of which a writer of times remembers the offset


# ---------------------------------------------------------------- effects


def _found(offence: Offence) -> str:
    kinds = "+".join(offence.kinds) or "event"
    values = f" of {offence.different} {offence.of}s" if offence.different else ""
    span = format_duration(offence.last - offence.first)
    if offence.facts:
        within = f" in {span}" if offence.last > offence.first else ""
        facts = "".join(f", {name} {value}" for name, value in offence.facts)
        return f"{offence.detector}: {offence.count} {offence.of}{within}{facts}"
    return f"{offence.detector}: {offence.count} {kinds}{values} in {span}"


def format_effect(effect: Effect) -> str:
    """The one-line text of an effect, without its time."""
    if isinstance(effect, Impose):
        ban = effect.ban
        length = "ever" if ban.until is None else format_duration(ban.until - ban.since)
        why = (
            f"by {_found(ban.offence)}"
            if ban.offence
            else f"by administrator: {ban.reason or 'no reason given'}"
        )
        again = f" ({ban.ordinal}. time)" if ban.ordinal > 1 else ""
        return f"ban {format_network(ban.network)} for {length} {why}{again}"
    if isinstance(effect, Lift):
        return f"lift {format_network(effect.network)}: {effect.reason}"
    if isinstance(effect, Alert):
        about = format_network(effect.network) if effect.network else effect.offence.key
        if effect.network and effect.why == "user":
            about = f"{effect.offence.key} at {about}"
        return f"alert {about} by {_found(effect.offence)} [{effect.why}]"
    raise TypeError(f"not an effect: {effect!r}")
