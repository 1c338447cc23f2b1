"""Random stories and policies for the tests of tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from mailguard.core.detectors import BanRule, Detector
from mailguard.core.engine import Engine, Setup
from mailguard.definitions.settings import load_settings
from mailguard.model import CONTEXT, HOSTILE, Event
from mailguard.notation import V6
from mailguard.replay.shutouts import Shutouts
from mailguard.replay.summary import Summary
from mailguard.replay.trial import Trial
from mailguard.tuning.measures import Measures, of_trial

SHIPPED = load_settings().setup()
ALL = frozenset({"user", "recipient", "sender", "stage", "helo"})
NEXT = 500  # events of a batch


def story(seed: int) -> list[Event]:
    """Crowds, loners, neighbours, own users who mistype; stamps with and without fractions, late lines, lines
    for several attempts, lines that may not ban, IPv4 and IPv6."""
    chance = Random(seed)
    count = chance.choice((60, 300, 1200, 3000))
    sources = chance.choice((4, 30, 300, 3000))
    users, step = chance.choice((3, 60, 2000)), chance.choice((0.3, 8.0, 400.0, 8000.0))
    late, whole, distrust = (
        chance.choice((0.0, 0.02, 0.2)),
        chance.random() < 0.6,
        chance.choice((0.0, 0.03, 0.3)),
    )
    heavy, neighbours = chance.choice((0.0, 0.1)), chance.choice((1, 7, 300))
    kinds = (*HOSTILE, *CONTEXT, *10 * ("auth_failure",), *3 * ("unknown_recipient", "auth_success"))
    kinds += chance.choice(((), 6 * ("mail_accepted",), 12 * ("auth_success",), 12 * ("connect",)))
    time, made = 1.8e9, []
    for number in range(count):
        time += step * chance.random()
        kind = chance.choice(kinds)
        chosen = int(sources * chance.random() ** chance.choice((1, 3)))
        source: int | None = 0xC6336400 + neighbours * chosen
        if chosen % 4 == 0:
            source = V6 + (0x20010DB8 << 96) + (chosen * neighbours << 64) + chance.randrange(3)
        if chosen % 50 == 7:
            source = 0x0A000000 + chosen  # private use: never banned
        if kind in CONTEXT and chance.random() < 0.05:
            source = None
        user = chance.choice(("u", "U")) + str(int(users * chance.random() ** 2))
        user += chance.choice(("", "", "@example.net", "@example.com"))
        if kind in ("auth_failure", "auth_success", "locked_out"):
            fields = {"user": user} if chance.random() < 0.97 else {}
        else:
            fields = {
                "sender": chance.choice(("a@example.org", f"b@x{chosen}.example.org", "")),
                "recipient": f"R{chance.randrange(40)}@example.com",
                "stage": chance.choice(("CONNECT", "DATA")),
                "helo": f"h{chance.randrange(5)}",
            }
        at = time - (chance.choice((2.0, 300.0, 9000.0)) * chance.random() if chance.random() < late else 0.0)
        made.append(
            Event(
                kind,
                float(int(at)) if whole else at,
                source,
                "made/up",
                chance.choice((0, 2, 7)) if chance.random() < heavy else 1,
                fields,
                f"log{number % 2}",
                number,
                chance.choice(("auth", "mail", "mail", "all")),
                chance.random() >= distrust,
                ALL if chance.random() < 0.95 else frozenset(),
            )
        )
    return made


def varied(chance: Random, found: Detector) -> Detector:
    """Other thresholds, another key, other bans."""
    if chance.random() < 0.4:
        return found
    key, ban = found.key, found.ban
    if not found.distinct and not found.then and chance.random() < 0.3:
        key = chance.choice(("source", "network", "helo", "user"))
    if ban is not None and chance.random() < 0.5:
        ban = BanRule(chance.choice((5.0, 600.0, 86400.0)), chance.choice((1.0, 4.0)), 10 * 86400.0)
    return replace(
        found,
        count=max(1, found.count + chance.randrange(-4, 3)) if found.count else 0,
        values=max(2, found.values + chance.randrange(-3, 2)) if found.values else 0,
        within=found.within * chance.choice((0.1, 1.0, 5.0)),
        key=key,
        ban=ban,
        who=chance.choice((found.who, found.who, "any")),
    )


def policies(seed: int, count: int = 2) -> list[Setup]:
    """Policies that differ in their detectors only, as those of a sweep."""
    chance = Random(f"policy {seed}")
    rules = replace(
        SHIPPED.rules,
        escalation=chance.choice((SHIPPED.rules.escalation, (), (1.0, 50.0))),
        forget=chance.choice((SHIPPED.rules.forget, 3600.0)),
        max_networks=chance.choice((2000, 2000, 2)),
        max_bans=chance.choice((100_000, 100_000, 6)),
    )
    room = chance.choice((1_000_000, 1_000_000, 2000))
    base = replace(SHIPPED, rules=rules, max_keys=room)
    return [
        replace(base, detectors=tuple(varied(chance, found) for found in base.detectors))
        for _ in range(count)
    ]


def replayed(events: Sequence[Event], setup: Setup, detector: str) -> tuple[Measures, Trial]:
    """What a replay says, in the batches of a replay."""
    trial, summary = Trial(Engine(setup)), Summary()
    for start in range(0, len(events), NEXT):
        batch = list(events[start : start + NEXT])
        trial.take(batch)
        summary.take(batch)
    trial.close(Shutouts(), summary.last)
    return of_trial(trial, summary, detector), trial
