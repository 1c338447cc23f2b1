"""The shipped policy on whole stories: attackers of every sort are caught, and innocents are not."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from mailguard.core.engine import Engine
from mailguard.definitions.settings import load_settings
from mailguard.model import Alert, Effect, Event, Impose
from mailguard.notation import format_network, parse_address

T = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SETTINGS = load_settings()
PROVED = frozenset({"user", "sender", "recipient", "stage", "helo"})


def event(at: float, kind: str, source: str, **fields: str) -> Event:
    scope = "auth" if kind.startswith("auth") else "mail"
    packed = parse_address(source)
    return Event(kind, T + at, packed, "postfix/x", 1, fields, "mail.log", int(at), scope, proved=PROVED)


def run(events: Iterable[Event]) -> list[Effect]:
    engine = Engine(SETTINGS.setup())
    engine.policy.enforcing = True
    ordered = sorted(events, key=lambda item: item.time)
    return [effect for item in ordered for effect in engine.feed(item)]


def banned(effects: list[Effect]) -> dict[str, list[str]]:
    """Network -> the detectors that banned it."""
    found: dict[str, list[str]] = {}
    for effect in effects:
        if isinstance(effect, Impose) and effect.ban.offence is not None:
            found.setdefault(format_network(effect.ban.network), []).append(effect.ban.offence.detector)
    return found


def alerts(effects: list[Effect]) -> list[tuple[str, str]]:
    return [(effect.offence.detector, effect.why) for effect in effects if isinstance(effect, Alert)]


# ---------------------------------------------------------------- innocents


def test_a_monitoring_host_may_knock_every_minute() -> None:
    """Connections that end after CONNECT or EHLO, on four ports, every minute, for a week."""
    story = []
    for minute in range(7 * 24 * 60):
        for port in range(4):
            at = minute * MINUTE + port
            story.append(event(at, "connect", "192.0.2.10"))
            stage = "CONNECT" if port else "EHLO"
            story.append(event(at + 0.1, "session_aborted", "192.0.2.10", stage=stage))
            story.append(event(at + 0.2, "disconnect", "192.0.2.10"))
    assert run(story) == []


@pytest.mark.parametrize("failures", [1, 2, 3, 4])
def test_people_mistype(failures: int) -> None:
    """A few wrong passwords every morning, then the right one, at home and on the road."""
    story = []
    for day in range(14):
        where = f"198.51.{day % 3}.7"
        for number in range(failures):
            story.append(event(day * DAY + 20 * number, "auth_failure", where, user="sato"))
        story.append(event(day * DAY + 120, "auth_success", where, user="sato"))
    assert banned(run(story)) == {}


def test_an_office_behind_one_address() -> None:
    """Fifty people behind one NAT, some mistype, one changed the password and two devices do not know yet."""
    story = []
    people = [f"user{number}" for number in range(50)]
    chance = random.Random(1)
    for day in range(10):
        for person in people:
            start = day * DAY + 8 * HOUR + chance.random() * HOUR
            if chance.random() < 0.2 and day:
                story.append(event(start, "auth_failure", "192.0.2.1", user=person))
            for more in range(6):
                story.append(event(start + 30 + more * HOUR, "connect", "192.0.2.1"))
                story.append(event(start + 31 + more * HOUR, "auth_success", "192.0.2.1", user=person))
        if day >= 4:
            for device in range(2):
                for minute in range(0, 8 * 60, 3):
                    at = day * DAY + 8 * HOUR + minute * MINUTE + device
                    story.append(event(at, "auth_failure", "192.0.2.1", user="user0"))
    effects = run(story)
    assert banned(effects) == {}
    assert set(alerts(effects)) == {("stale-client", "stale-client")}
    assert len(effects) == 6  # once a day


def test_a_partner_with_an_old_address_book() -> None:
    """A mailing list host that sends to three former colleagues every day."""
    story = []
    for day in range(30):
        for number in range(20):
            at = day * DAY + number * MINUTE
            story.append(event(at, "mail_accepted", "192.0.2.25", sender="list@example.net"))
        for number in range(3):
            story.append(
                event(
                    day * DAY + number,
                    "unknown_recipient",
                    "192.0.2.25",
                    sender="list@example.net",
                    recipient=f"former{number}@example.com",
                )
            )
    assert run(story) == []


def test_backscatter() -> None:
    """Somebody forges our domain: a hundred servers bounce to names we never had."""
    story = [
        event(
            number * 3.0,
            "unknown_recipient",
            f"198.51.100.{number % 100}",
            sender="",
            recipient=f"x{number}@example.com",
        )
        for number in range(3000)
    ]
    assert run(story) == []


def test_a_wandering_telephone() -> None:
    """A telephone with an old password in the mobile network, from ever new addresses of three /24s."""
    story = [
        event(number * 10 * MINUTE, "auth_failure", f"198.51.{number % 3}.{number % 200}", user="sato")
        for number in range(144)
    ]
    assert (
        banned(run([event(-DAY, "auth_success", f"198.51.{n}.1", user="sato") for n in range(3)] + story))
        == {}
    )


def test_a_listed_partner_that_retries() -> None:
    """On a block list by mistake for a day, with a queue of five messages that retry every half hour."""
    story = [
        event(retry * 30 * MINUTE + message, "blocklisted", "192.0.2.25", list="bl.example.net")
        for retry in range(48)
        for message in range(4)
    ]
    assert run(story) == []


# ---------------------------------------------------------------- attackers


def test_brute_force_is_stopped_at_the_fifth_try() -> None:
    """Ten tries a minute."""
    effects = run(event(6.0 * n, "auth_failure", "192.0.2.7", user="admin") for n in range(500))
    assert banned(effects)["192.0.2.7"][0] == "password-guessing"
    first = effects[0]
    assert isinstance(first, Impose)
    assert first.time == T + 24


@pytest.mark.parametrize("seed", range(5))
def test_one_try_at_random_intervals_of_up_to_seven_hours(seed: int) -> None:
    """The attacker who stays under every short threshold is out within three days, and stays out longer
    each time.
    """
    chance = random.Random(seed)
    story, at = [], 0.0
    while at < 60 * DAY:
        at += chance.random() * 7 * HOUR
        story.append(event(at, "auth_failure", "192.0.2.7", user=chance.choice(["sato", "suzuki", "tanaka"])))
    effects = run(story)
    bans = [effect.ban for effect in effects if isinstance(effect, Impose)]
    assert bans[0].since < T + 3 * DAY
    assert all(ban.until is not None for ban in bans)
    lengths = [ban.until - ban.since for ban in bans if ban.until is not None]
    assert lengths == sorted(lengths)
    assert lengths[1] >= 4 * DAY


def test_japanese_names_one_after_the_other() -> None:
    """A spray of names is caught by its names before it is caught by its number."""
    names = ["sato", "suzuki", "takahashi", "tanaka", "ito", "watanabe"]
    effects = run(
        event(n * 10 * MINUTE, "auth_failure", "192.0.2.7", user=name) for n, name in enumerate(names)
    )
    assert banned(effects) == {"192.0.2.7": ["user-spray"]}


def test_a_botnet_after_one_account() -> None:
    """Two tries from each of two hundred addresses all over the world: told once, strangers banned, owner
    spared.
    """
    story = [event(-HOUR, "auth_success", "192.0.2.1", user="sato")]
    for number in range(200):
        source = f"{10 + number}.{number}.2.{number}" if number > 117 else f"{129 + number % 60}.{number}.7.1"
        story += [event(number * 5 * MINUTE + more, "auth_failure", source, user="sato") for more in (0, 60)]
    story += [event(n * HOUR, "auth_failure", "192.0.2.1", user="sato") for n in range(1, 16)]
    effects = run(story)
    assert ("attacked-account", "user") in alerts(effects)
    assert len(alerts(effects)) <= 3
    assert len(banned(effects)) > 100
    assert "192.0.2.1" not in banned(effects)


def test_changing_addresses_within_one_network() -> None:
    """A rented /24 that uses each address twice: the network is banned, with an end."""
    effects = run(
        event(n * 20 * MINUTE, "auth_failure", f"203.0.113.{n // 2}", user="sato") for n in range(40)
    )
    assert banned(effects)["203.0.113.0/24"][0] == "network-guessing"
    effects = run(
        event(n * 20 * MINUTE, "auth_failure", f"2001:db8:1:{n:x}::1", user="sato") for n in range(40)
    )
    assert banned(effects)["2001:db8:1::/48"][0] == "network-guessing"


def test_a_network_with_a_partner_in_it_is_not_banned_as_a_whole() -> None:
    """The partner's mail server stands in a range full of attackers: they go one by one, it stays."""
    story = [event(day * DAY, "mail_accepted", "203.0.113.200", sender="a@example.net") for day in range(4)]
    story += [
        event(4 * DAY + n * MINUTE, "auth_failure", f"203.0.113.{n % 20}", user="sato") for n in range(400)
    ]
    effects = run(story)
    assert "203.0.113.0/24" not in banned(effects)
    assert ("network-guessing", "standing") in alerts(effects)
    assert "203.0.113.200" not in banned(effects)
    assert len(banned(effects)) == 20


def test_a_cracked_account() -> None:
    """Many failures, then a success from somewhere new: told at once, and that place earns no trust."""
    story = [event(-DAY, "auth_success", "192.0.2.1", user="sato")]
    story += [event(n * HOUR, "auth_failure", f"{60 + n}.0.2.1", user="sato") for n in range(12)]
    story += [event(13 * HOUR, "auth_success", "203.0.113.9", user="sato")]
    assert ("broken-in", "user") in alerts(run(story))


@pytest.mark.parametrize(
    ("kind", "fields", "step", "detector"),
    [
        ("relay_denied", {"recipient": "x@example.org"}, 10.0, "relay-attempts"),
        ("address_probe", {}, 1.0, "vrfy"),
        ("protocol_violation", {}, 10.0, "protocol-abuse"),
        ("protocol_violation", {}, 20 * MINUTE, "slow-protocol-abuse"),
        ("blocklisted", {"list": "bl.example.net"}, 30.0, "blocklisted"),
        ("policy_reject", {}, 20.0, "policy-rejects"),
        ("session_aborted", {"stage": "EHLO"}, 2.0, "aborted-sessions"),
        ("tls_failure", {}, 2.0, "aborted-sessions"),
        ("connect", {}, 0.01, "connection-flood"),
        ("rate_exceeded", {}, 5.0, "rate-exceeded"),
        ("locked_out", {"user": "sato"}, 60.0, "lock-out"),
    ],
)
def test_every_other_sort_is_caught(kind: str, fields: dict[str, str], step: float, detector: str) -> None:
    """Each kind of abuse meets its detector; whoever goes on stays out longer."""
    effects = run(event(n * step, kind, "192.0.2.7", **fields) for n in range(2000))
    assert banned(effects)["192.0.2.7"][0] == detector
    ordinals = [effect.ban.ordinal for effect in effects if isinstance(effect, Impose)]
    assert ordinals == list(range(1, len(ordinals) + 1))


def test_harvest_fast_and_slow() -> None:
    """A dictionary at once, or four names a day."""
    fast = run(
        event(
            n * 5.0, "unknown_recipient", "192.0.2.7", sender="a@example.net", recipient=f"n{n}@example.com"
        )
        for n in range(50)
    )
    assert banned(fast) == {"192.0.2.7": ["harvest"]}
    slow = run(
        event(
            n * 6 * HOUR,
            "unknown_recipient",
            "192.0.2.7",
            sender="a@example.net",
            recipient=f"n{n}@example.com",
        )
        for n in range(28)
    )
    assert banned(slow) == {"192.0.2.7": ["slow-harvest"]}
