"""Addresses and networks as tests write them: text that is right."""

from __future__ import annotations

from mailguard.model import Network
from mailguard.notation import parse_address, parse_network


def address(text: str) -> int:
    """The packed address."""
    found = parse_address(text)
    assert found is not None, text
    return found


def network(text: str) -> Network:
    """The network; an address is one of its own."""
    found = parse_network(text)
    assert found is not None, text
    return found
