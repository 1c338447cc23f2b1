"""By what an event is counted: from each form of key in `detectors.KEYS` to a number.

Never: a key of a field that was not proved to be what the server wrote in that place.
"""

from __future__ import annotations

from collections.abc import Callable

from ..model import Event
from .names import Hasher
from .networks import network_key, source_key

KeyOf = Callable[[Event], int | None]


def key_function(form: str, hasher: Hasher) -> KeyOf:
    """How an event's key of that form is found; None from it: the event has no such key."""

    def of_source(event: Event) -> int | None:
        return None if event.source is None else source_key(event.source)

    def of_network(event: Event) -> int | None:
        return None if event.source is None else network_key(event.source)

    def of_user(event: Event) -> int | None:
        user = event.fields.get("user")
        return hasher(user) if user and "user" in event.proved else None

    def of_user_network(event: Event) -> int | None:
        user = event.fields.get("user")
        if not user or event.source is None or "user" not in event.proved:
            return None
        return user_network(hasher(user), event.source)

    def of_domain(event: Event) -> int | None:
        recipient = event.fields.get("recipient")
        if not recipient or "recipient" not in event.proved:
            return None
        domain = recipient.rpartition("@")[2]
        return hasher(domain) if domain else None

    def of_field(event: Event) -> int | None:
        text = event.fields.get(form)
        return hasher(text) if text and form in event.proved else None

    return {
        "source": of_source,
        "network": of_network,
        "user": of_user,
        "user+network": of_user_network,
        "recipient_domain": of_domain,
    }.get(form, of_field)


def user_network(user: int, source: int) -> int:
    """One key for a hashed user together with the network of a packed address."""
    return (user ^ (network_key(source) % 0xFFFFFFFFFFFFFFC5) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
