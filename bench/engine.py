"""What one event costs in the engine, under the shipped policy. CPU time, best of three.

python bench/engine.py
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

from mailguard.core.engine import Engine
from mailguard.definitions.settings import load_settings
from mailguard.model import Event

PROVED = frozenset({"user", "recipient", "sender", "stage"})
COUNT = 50_000


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


def measure(make: Callable[[], Sequence[Event]]) -> tuple[float, float, Engine]:
    """Mean and worst microseconds an event (best of three)."""
    best, worst = float("inf"), float("inf")
    for _ in range(3):
        engine = Engine(load_settings().setup(track=True))
        engine.policy.enforcing = True
        events = make()
        gc.collect()
        gc.disable()
        began, slowest = time.process_time(), 0.0
        for start in range(0, COUNT, 100):
            inner = time.perf_counter()
            for event in events[start : start + 100]:
                engine.feed(event)
            slowest = max(slowest, time.perf_counter() - inner)
        best = min(best, time.process_time() - began)
        worst = min(worst, slowest)
        gc.enable()
    return 1e6 * best / COUNT, 1e6 * worst / 100, engine


def main() -> None:
    print(f"{'events':<16}{'µs each':>10}{'worst 100':>11}  bans, alerts, keys")
    for make in (attackers, three_names, new_sources, banned, harvesters, connects, accepted, logins):
        mean, worst, engine = measure(make)
        counts = engine.counts
        print(
            f"{make.__name__:<16}{mean:>10.2f}{worst:>11.2f}  {counts['imposed']}, {counts['alerts']}, "
            f"{sum(engine.keys().values())}"
        )


if __name__ == "__main__":
    main()
