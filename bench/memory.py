"""How much memory a million live keys take: the shipped policy, hostile sources with ever new names.

    python bench/memory.py [KEYS]

Prints bytes a key, the resident set, and what a flood far above the cap does to it.
"""

from __future__ import annotations

import gc
import resource
import sys
import time

from mailguard.core.engine import Engine
from mailguard.definitions.settings import load_settings
from mailguard.model import Event
from mailguard.notation import V6, format_duration

PROVED = frozenset({"user", "recipient", "sender"})


def resident() -> int:
    """Bytes of the resident set now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def flood(engine: Engine, start: int, count: int) -> float:
    """Hostile events of `count` new sources, half of them failed logins, an eighth IPv6; seconds used."""
    began = time.perf_counter()
    for number in range(start, start + count):
        mixed = number * 2654435761 & 0xFFFFFFFF
        source = (
            V6 + (0x20010DB8 << 96) + (mixed << 70) if number % 8 == 0 else 0x01000000 + mixed % 0xDF000000
        )
        if number & 1:
            kind, fields = "auth_failure", {"user": f"user{mixed}"}
        else:
            kind, fields = (
                "unknown_recipient",
                {"recipient": f"{mixed}@example.com", "sender": "a@example.org"},
            )
        engine.feed(
            Event(
                kind,
                1.8e9 + number / 1000,
                source,
                "bench/rule",
                1,
                fields,
                "mail.log",
                number,
                proved=PROVED,
            )
        )
    return time.perf_counter() - began


def main() -> None:
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    settings = load_settings()
    engine = Engine(settings.setup())
    gc.collect()
    before = resident()
    fed = 0
    used = 0.0
    while sum(engine.keys().values()) < 0.995 * keys and fed < 6 * keys:
        used += flood(engine, fed, keys // 20)
        fed += keys // 20
    gc.collect()
    after, live = resident(), sum(engine.keys().values())
    print(f"live keys            {live:>12,}  {engine.keys()}")
    print(f"resident before      {before / 1e6:>12.1f} MB")
    print(f"resident after       {after / 1e6:>12.1f} MB")
    print(f"bytes a key          {(after - before) / live:>12.0f}")
    print(f"events fed           {fed:>12,}  {1e6 * used / fed:.2f} µs each")
    used = flood(engine, fed, keys)
    gc.collect()
    live = sum(engine.keys().values())
    print(
        f"after {keys:,} more  {resident() / 1e6:>10.1f} MB, {live:,} keys, {1e6 * used / keys:.2f} µs each"
    )
    print(f"peak resident        {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:>12.1f} MB")
    spanned = format_duration((fed + keys) / 1000)
    print(f"log time {spanned}, bans {engine.counts['imposed']}, alerts {engine.counts['alerts']}")


if __name__ == "__main__":
    main()
