"""Who must never be banned on this host, as it can find out itself: for the head of the never-list.

Its own addresses, its gateways, its resolvers, and the hosts from which administrators are logged in right
now.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mailguard.model import Network
from mailguard.notation import V6, host_prefix, parse_address, parse_network

_RESOLVERS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
_SESSIONS = "/run/utmp"
#: struct utmp of glibc on every 64-bit Linux (utmp(5)): type, line, id, user, host, ..., address, reserve.
_UTMP = struct.Struct("=hxxi32s4s32s256shhiii16s20s")
_USER_PROCESS = 7
_LOCAL = (("127.0.0.0/8", "loopback"), ("::1", "loopback"), ("fe80::/10", "link-local"))


def own_networks(environment: Mapping[str, str] | None = None, root: str = "/") -> list[tuple[Network, str]]:
    """(network, reason), each network once, in a stable order. What cannot be found out is left out."""
    found: dict[Network, str] = {}
    for text, reason in _LOCAL:
        network = parse_network(text)
        if network is not None:
            found.setdefault(network, reason)
    for address, reason in (
        *_interfaces(),
        *_resolvers(Path(root)),
        *_sessions(Path(root), os.environ if environment is None else environment),
    ):
        found.setdefault(Network(address, host_prefix(address)), reason)
    return sorted(found.items())


def _interfaces() -> Iterator[tuple[int, str]]:
    """This host's addresses and the gateways of its routes, by rtnetlink."""
    try:
        from pyroute2 import IPRoute
    except ImportError:
        return
    try:
        with IPRoute() as route:
            addresses = [dict(one["attrs"]) for one in route.get_addr()]
            routes = [dict(one["attrs"]) for one in route.get_routes()]
    except Exception:  # pyroute2 raises many kinds; without an answer the list is shorter, no more
        return
    for attributes in addresses:
        for name in ("IFA_LOCAL", "IFA_ADDRESS"):
            address = parse_address(str(attributes.get(name, "")))
            if address is not None and (name == "IFA_LOCAL" or address >= V6):
                yield address, "an address of this host"
    for attributes in routes:
        for gateway in _gateways(attributes):
            address = parse_address(gateway)
            if address is not None:
                yield address, "a gateway of this host"


def _gateways(attributes: Mapping[str, Any]) -> Iterator[str]:
    if "RTA_GATEWAY" in attributes:
        yield str(attributes["RTA_GATEWAY"])
    if isinstance(attributes.get("RTA_VIA"), Mapping):
        yield str(attributes["RTA_VIA"].get("addr", ""))
    for hop in attributes.get("RTA_MULTIPATH") or ():
        yield str(dict(hop["attrs"]).get("RTA_GATEWAY", ""))


def _resolvers(root: Path) -> Iterator[tuple[int, str]]:
    for name in _RESOLVERS:
        try:
            lines = (root / name.lstrip("/")).read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                address = parse_address(words[1].partition("%")[0])
                if address is not None:
                    yield address, "a resolver of this host"


def _sessions(root: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Where people are logged in from: this terminal's SSH connection, and everybody in utmp."""
    for name in ("SSH_CONNECTION", "SSH_CLIENT"):
        words = environment.get(name, "").split()
        address = parse_address(words[0].partition("%")[0]) if words else None
        if address is not None:
            yield address, "the administrator's session"
    try:
        data = (root / _SESSIONS.lstrip("/")).read_bytes()
    except OSError:
        return
    for fields in _UTMP.iter_unpack(data[: len(data) // _UTMP.size * _UTMP.size]):
        kind, remote = fields[0], fields[11]
        if kind == _USER_PROCESS and any(remote):
            whole = int.from_bytes(remote, "big")
            address = int.from_bytes(remote[:4], "big") if not any(remote[4:]) else V6 + whole
            yield address, "a session of somebody logged in"
