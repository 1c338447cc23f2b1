"""A sweep of settings over a month of events, beside a naive replay of the same.

    python bench/tune.py [--events N] [--settings N] [--workers N] [--naive N] [--detector NAME]

The events are made up, with the ground known: loud guessers, a slow botnet after the same few names, harvesters,
machines on block lists, monitors that only connect, partners' mail and users' logins, and some of each in the
same networks. `--naive`: how many settings are also replayed one by one, each with the timeline of `replay`;
their figures must be those of the sweep.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailguard.model import Event

DAY = 86400.0
MONTH = 30 * DAY
BEGIN = 1.8e9
AUTH = frozenset({"user"})
MAIL = frozenset({"sender", "recipient"})
_new = tuple.__new__

Made = tuple[float, str, int, dict[str, str]]


def address(number: int) -> int:
    """One of the documentation's addresses, then of those for benchmarks (198.18.0.0/15)."""
    if number < 768:
        return (0xC0000200, 0xC6336400, 0xCB007100)[number // 256] + number % 256
    return 0xC6120000 + ((number - 768) * 7919 & 0x1FFFF)


def name(chance: random.Random) -> str:
    """What attackers try: a few names all the time, thousands seldom."""
    return f"u{int(3000 * chance.random() ** 4)}@example.com"


def loud(chance: random.Random) -> Iterator[Made]:
    """Guesses for hours, a few times in the month."""
    source, begin = address(int(40_000 * chance.random() ** 1.5)), chance.random() * MONTH
    for _ in range(chance.randrange(1, 5)):
        at = begin + chance.random() * 5 * DAY
        pace = chance.choice((1.0, 4.0, 20.0))
        for _ in range(chance.randrange(20, 700)):
            at += pace * chance.expovariate(1.0)
            yield at, "auth_failure", source, {"user": name(chance)}


def slow(chance: random.Random) -> Iterator[Made]:
    """One of a botnet: a try every few hours."""
    source, at = address(40_000 + chance.randrange(60_000)), chance.random() * MONTH
    for _ in range(chance.randrange(2, 40)):
        at += chance.random() * 14 * 3600
        yield at, "auth_failure", source, {"user": name(chance)}


def harvester(chance: random.Random) -> Iterator[Made]:
    """Asks for recipients that do not exist."""
    source, at = address(int(60_000 * chance.random())), chance.random() * MONTH
    pace = chance.choice((2.0, 60.0, 1800.0))
    for _ in range(chance.randrange(5, 200)):
        at += pace * chance.expovariate(1.0)
        fields = {"sender": "a@example.org", "recipient": f"r{chance.randrange(5000)}@example.com"}
        yield at, "unknown_recipient", source, fields


def listed(chance: random.Random) -> Iterator[Made]:
    """Spammers on a block list, some of which break the protocol too."""
    source, at = address(int(100_000 * chance.random())), chance.random() * MONTH
    kind = chance.choice(("blocklisted", "blocklisted", "policy_reject", "protocol_violation", "session_aborted"))
    for _ in range(chance.randrange(1, 60)):
        at += 900.0 * chance.expovariate(1.0)
        yield at, kind, source, {"sender": "x@example.net", "recipient": "info@example.com"}


def partner(chance: random.Random) -> Iterator[Made]:
    """A mail server that writes to us, and now and then to somebody who has left."""
    number = chance.randrange(3000)
    source, at = address(100_000 + number), chance.random() * DAY
    for _ in range(chance.randrange(20, 200)):
        at += 0.3 * DAY * chance.expovariate(1.0)
        if at > MONTH:
            break
        fields = {
            "sender": f"p{chance.randrange(5)}@x{number}.example.org",
            "recipient": f"u{chance.randrange(300)}@example.com",
        }
        yield at, "unknown_recipient" if chance.random() < 0.01 else "mail_accepted", source, fields


def user(chance: random.Random) -> Iterator[Made]:
    """Somebody at home, now and then elsewhere; mistypes, and forgets a telephone with an old password."""
    number = chance.randrange(3000)
    home, fields = address(110_000 + number % 900), {"user": f"u{number}@example.com"}
    at = chance.random() * DAY
    while at < MONTH:
        at += DAY / 6 * chance.expovariate(1.0)
        source = home if chance.random() < 0.95 else address(40_000 + chance.randrange(60_000))
        draw = chance.random()
        if draw < 0.03:
            for _ in range(chance.randrange(1, 7)):
                at += 20.0
                yield at, "auth_failure", source, fields
        elif draw < 0.032:
            for _ in range(60):
                at += 60.0
                yield at, "auth_failure", source, fields
        yield at + 5.0, "auth_success", source, fields


SHARES = ((loud, 0.30), (slow, 0.16), (harvester, 0.10), (listed, 0.10), (partner, 0.17), (user, 0.17))


def month(count: int, seed: int = 11) -> list[Event]:
    """About `count` events of a month, in order."""
    chance = random.Random(seed)
    made: list[Made] = []
    for make, share in SHARES:
        until = len(made) + share * count
        while len(made) < until:
            made += make(chance)
    made.sort(key=lambda one: one[0])
    events = []
    for number, (at, kind, source, fields) in enumerate(made):
        auth = kind.startswith("auth")
        stamp = BEGIN + float(int(at))  # whole seconds, as in most logs
        scope, proved = ("auth", AUTH) if auth else ("mail", MAIL)
        row = kind, stamp, source, "made/up", 1, fields, "mail.log", 90 * number, scope, True, proved, b""
        events.append(_new(Event, row))
    return events
