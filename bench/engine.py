"""What one event costs in the engine and one draft in the sessions, under the shipped policy. CPU time, best
of three.

    python bench/engine.py [--python]

`--python`: without the compiled core.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mixes

from mailguard.core import state
from mailguard.core.engine import Engine
from mailguard.core.scanner import Draft, Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions.parsers import load_parsers
from mailguard.definitions.settings import load_settings
from mailguard.model import Block, Event

PROVED = frozenset({"user", "recipient", "sender", "stage"})
COUNT = 50_000
LINES = 300_000


def made(number: int, at: float, source: int, kind: str, **fields: str) -> Event:
    scope = "auth" if kind.startswith("auth") else "mail"
    return Event(
        kind, 1.8e9 + at, source, "postfix/rule", 1, fields, "mail.log", number, scope, proved=PROVED
    )


def attackers() -> list[Event]:
    """A bad day: 10,000 sources, five acts each, two thousand names; most histories are short."""
    return [
        made(n, n * 1.7, 0xC0000000 + n % 10_000 * 7919, "auth_failure", user=f"user{n * 31 % 2000}")
        if n & 1
        else made(
            n,
            n * 1.7,
            0xC0000000 + n % 10_000 * 7919,
            "unknown_recipient",
            recipient=f"{n * 31 % 2000}",
            sender="a",
        )
        for n in range(COUNT)
    ]


def three_names() -> list[Event]:
    """5,000 sources after the same three names: nearly every event bans somebody."""
    return [
        made(n, n * 0.72, 0xC0000000 + n % 5000 * 7919, "auth_failure", user=f"user{n % 3}")
        for n in range(COUNT)
    ]


def new_sources() -> list[Event]:
    """Every event from a new source, with a new name."""
    return [made(n, n / 1000, 0x0A000000 + n * 401, "auth_failure", user=f"user{n}") for n in range(COUNT)]


def banned() -> list[Event]:
    """A thousand sources that go on and on."""
    return [
        made(n, n / 1000, 0xC0000000 + n % 1000 * 7919, "auth_failure", user="sato") for n in range(COUNT)
    ]


def harvesters() -> list[Event]:
    """1,000 sources, five recipients each, again and again: histories at their fullest."""
    return [
        made(
            n,
            n / 10,
            0xC0000000 + n % 1000 * 7919,
            "unknown_recipient",
            recipient=f"{n // 1000 % 5}",
            sender="a@b",
        )
        for n in range(COUNT)
    ]


def connects() -> list[Event]:
    """Connections of 2,000 clients, ten a minute each."""
    return [made(n, n * 0.003, 0xC0000000 + n % 2000 * 7919, "connect") for n in range(COUNT)]


def accepted() -> list[Event]:
    """Accepted mail of 2,000 partners."""
    return [
        made(n, n / 10, 0xC0000000 + n % 2000 * 7919, "mail_accepted", sender=f"a{n % 999}@b")
        for n in range(COUNT)
    ]


def logins() -> list[Event]:
    """Logins of 3,000 users."""
    return [
        made(n, n / 10, 0xC0000000 + n % 2000 * 7919, "auth_success", user=f"user{n % 3000}")
        for n in range(COUNT)
    ]


def measure(make: Callable[[], Sequence[Event]], native: bool | None) -> tuple[float, float, Engine]:
    """Mean and worst microseconds an event (best of three)."""
    best, worst = float("inf"), float("inf")
    for _ in range(3):
        engine = Engine(load_settings().setup(track=True), native)
        engine.policy.enforcing = True
        events = make()
        gc.collect()
        gc.disable()
        began, slowest = time.process_time(), 0.0
        for start in range(0, COUNT, 100):
            inner = time.perf_counter()
            engine.feed_many(events[start : start + 100])
            slowest = max(slowest, time.perf_counter() - inner)
        best = min(best, time.process_time() - began)
        worst = min(worst, slowest)
        gc.enable()
    return 1e6 * best / COUNT, 1e6 * worst / 100, engine


def day(native: bool | None) -> None:
    """A rich log, from the scanner's drafts on; then a checkpoint."""
    parsers, setup = load_parsers(), load_settings().setup()
    lines = list(mixes.rich(LINES))
    data = b"\n".join(lines) + b"\n"
    scanner = Scanner(parsers, wanted_kinds=Engine(setup).wanted)
    batches: list[list[Event | Draft]] = []
    begin = 0
    while begin < len(data):
        end = data.rfind(b"\n", begin, begin + (1 << 18)) + 1 or len(data)
        batches.append(scanner.scan(Block("mail.log", data, begin, end, begin, 1.8e9, False, year=2026)))
        begin = end
    drafts = sum(map(len, batches))
    joining = judging = float("inf")
    for _ in range(3):
        sessions, engine = Sessions(parsers, native), Engine(setup, native)
        engine.policy.enforcing = True
        gc.collect()
        gc.disable()
        joined = judged = 0.0
        events: list[Event] = []
        for batch in batches:
            at = time.process_time()
            found = sessions.join(batch)
            between = time.process_time()
            engine.feed_many(found)
            joined, judged = joined + between - at, judged + time.process_time() - between
            events += found
        joining, judging = min(joining, joined), min(judging, judged)
        gc.enable()
    counts = engine.counts
    print(
        f"\na rich log: {len(lines):,} lines, {drafts:,} drafts, {len(events):,} events, "
        f"{counts['hostile']:,} hostile, {counts['under_ban']:,} under a ban, {counts['imposed']:,} bans"
    )
    print(f"sessions  {1e6 * joining / drafts:6.2f} µs a draft  {1e6 * joining / len(lines):6.2f} µs a line")
    each = 1e6 * judging / len(events)
    print(f"engine    {each:6.2f} µs an event {1e6 * judging / len(lines):6.2f} µs a line")
    checkpoint(events, native)


def checkpoint(events: Sequence[Event], native: bool | None) -> None:
    """How long the rows of a checkpoint take, one after each 4,000 events."""
    engine = Engine(load_settings().setup(track=True), native)
    engine.policy.enforcing = True
    rows, spent = 0, []
    for start in range(0, len(events), 4000):
        engine.feed_many(events[start : start + 4000])
        at = time.perf_counter()
        rows += len(list(state.save(engine)))
        spent.append(time.perf_counter() - at)
    spent.sort()
    print(
        f"rows      {1e6 * sum(spent) / rows:6.2f} µs each; a checkpoint after 4,000 events "
        f"{1e3 * spent[len(spent) // 2]:.1f} ms (median), {1e3 * spent[-1]:.1f} ms (worst)"
    )


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--python", action="store_true")
    asked = reader.parse_args()
    native = False if asked.python else None
    print(f"{'events':<16}{'µs each':>10}{'worst 100':>11}  bans, alerts, keys")
    for make in (attackers, three_names, new_sources, banned, harvesters, connects, accepted, logins):
        mean, worst, engine = measure(make, native)
        counts = engine.counts
        print(
            f"{make.__name__:<16}{mean:>10.2f}{worst:>11.2f}  {counts['imposed']}, {counts['alerts']}, "
            f"{sum(engine.keys().values())}"
        )
    day(native)


if __name__ == "__main__":
    main()
