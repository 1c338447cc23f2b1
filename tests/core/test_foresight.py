"""Bans that are said before they are decided: never another one, and in the usual case always."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core import native
from mailguard.core.engine import Engine, Setup
from mailguard.definitions.settings import load_settings
from mailguard.model import Event, Impose, Network
from mailguard.notation import V6, parse_address, parse_network

from .test_engine_twins import setups, stories

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(native.load("engine") is None, reason="the engine is not compiled here"),
]

SHIPPED = load_settings().setup(track=True)
T = 1_800_000_000.0
Told = tuple[int, int, str, float]


class Watched:
    """An engine, and what it told of each event."""

    def __init__(self, setup: Setup = SHIPPED):
        self.told: list[Told] = []
        self.engine = Engine(setup, True)
        self.engine.policy.enforcing = True
        self.engine.foretell(lambda *what: self.told.append(what))

    def feed(self, event: Event) -> tuple[list[Told], list[Told]]:
        """What was told, and the bans that followed."""
        self.told.clear()
        effects = self.engine.feed(event)
        bans = [effect.ban for effect in effects if isinstance(effect, Impose)]
        return list(self.told), [(*ban.network, ban.scope, ban.until or 0.0) for ban in bans]


def failure(source: str, number: int, at: float = T, user: str = "") -> Event:
    fields = {"user": user or f"u{number}"}
    return Event(
        "auth_failure", at, parse_address(source), "paper/rule", 1, fields, "log", number, "auth",
        proved=frozenset(fields),
    )  # fmt: skip


def guess(watched: Watched, source: str, at: float = T) -> tuple[list[Told], list[Told]]:
    """Failures until somebody is banned."""
    for number in range(30):
        told, bans = watched.feed(failure(source, number, at + number))
        if told or bans:
            return told, bans
    raise AssertionError("nobody was banned")


@given(stories, setups, st.integers(0, 900))
@settings(max_examples=60, deadline=None)
def test_what_is_told_is_what_follows(events: list[Event], setup: Setup, turn: int) -> None:
    """At most one ban for an event, and the first that follows from it has just this end, scope and network;
    also under caps, with networks that are spared, and where others ban first."""
    never = tuple((net, "ours") for text in ("192.0.2.3", "2001:db8:2::/48") if (net := parse_network(text)))
    watched = Watched(dataclasses.replace(setup, never=never))
    for number, event in enumerate(events):
        if number == turn:
            watched.engine.set_allow(Network(V6 + (0x20010DB8 << 96), 48), "theirs")
        told, bans = watched.feed(event)
        assert told in ([], bans[:1])


@pytest.mark.parametrize("source", ["192.0.2.7", "2001:db8:7::7"])
def test_the_usual_ban_is_told(source: str) -> None:
    """Somebody who guesses passwords: told with the first ban, and with the longer second one."""
    watched = Watched()
    told, bans = guess(watched, source)
    assert told == bans != []
    (again, bans_again) = guess(watched, source, bans[0][3] + 10)
    assert again == bans_again != []
    assert again[0][3] - (bans[0][3] + 10) > bans[0][3] - T


def test_nothing_is_told_of_what_is_not_banned() -> None:
    """Observing, on the never-list, on the allow list."""
    for prepare in ("observe", "never", "allow"):
        net = parse_network("192.0.2.7")
        assert net is not None
        setup = dataclasses.replace(SHIPPED, never=((net, "ours"),)) if prepare == "never" else SHIPPED
        watched = Watched(setup)
        if prepare == "observe":
            watched.engine.policy.enforcing = False
        if prepare == "allow":
            watched.engine.set_allow(net, "a friend")
        for number in range(30):
            assert watched.feed(failure("192.0.2.7", number, T + number)) == ([], [])


def test_it_goes_on_after_a_restore() -> None:
    """An engine that looks anew at its tables tells as before."""
    watched = Watched()
    watched.engine.rewire()
    told, bans = guess(watched, "192.0.2.7")
    assert told == bans != []
