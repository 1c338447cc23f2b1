"""effect.dat, "relay per machine": first match decides about mail, not about connections."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

ACCEPT, NORMAL, REFUSE, LOCAL_ONLY = "accept", "normal", "refuse", "local-only"


@dataclass(frozen=True)
class Entry:
    """One line: a pattern, its type in lower case, and the option behind the comma."""

    pattern: str
    type: str
    option: str


def entries(path: Path) -> list[Entry]:
    """The lines that count; [] without a file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for raw in data.split(b"\n"):
        line = raw.rstrip(b"\r").decode("latin-1")
        if not line or line[0] in " '":
            continue
        pattern, _, rest = line.partition(" ")
        kind, _, option = rest.partition(",")
        found.append(Entry(pattern, kind.strip().lower() or "true", option.strip()))
    return found


def verdict(path: Path, address: str, sender: str | None, authenticated: bool) -> str:
    """What a table says about mail from `sender` (None: MAIL FROM without an address at all)."""
    for entry in entries(path):
        if entry.type == "only":
            return NORMAL if matches(entry.pattern, address, sender) else REFUSE
        if not matches(entry.pattern, address, sender):
            continue
        if entry.type == "default":
            return NORMAL
        if entry.type == "true":
            return ACCEPT
        if authenticated and entry.option != "0":
            return NORMAL
        if entry.type == "false":
            return REFUSE
        if entry.type == "norelay":
            return LOCAL_ONLY
        continue  # an unknown word: as if the line were not there
    return NORMAL


def matches(pattern: str, address: str, sender: str | None) -> bool:
    """Is this client or this sender meant?"""
    if pattern.startswith("#"):
        return _special(pattern.lower(), sender)
    if "@" in pattern:
        return sender is not None and _like(pattern, sender)
    if _is_network(pattern):
        network = ipaddress.ip_network(pattern, strict=False)
        client = ipaddress.ip_address(address)
        return client.version == network.version and client in network
    if re.fullmatch(r"[0-9.*]+", pattern):
        return address.startswith(pattern.partition("*")[0]) if "*" in pattern else address == pattern
    return bool(sender) and _like(pattern, str(sender).rpartition("@")[2])


def _special(pattern: str, sender: str | None) -> bool:
    if pattern == "#blank":
        return sender is None
    if pattern == "#<>":
        return sender == ""
    domain = (sender or "").partition("@")[2]
    if pattern == "#nodomain":
        return bool(sender) and not domain
    if pattern == "#number":
        return re.fullmatch(r"\[?[0-9.]+\]?", domain) is not None
    return pattern == "#host" and bool(domain) and "." not in domain


def _is_network(pattern: str) -> bool:
    try:
        ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False
    return True


def _like(pattern: str, text: str) -> bool:
    """Up to two asterisks, any case."""
    parts = [re.escape(part) for part in pattern.split("*", 2)]
    return re.fullmatch(".*".join(parts), text, re.IGNORECASE | re.DOTALL) is not None
