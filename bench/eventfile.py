"""How fast an events file is read back: as columns, and as the events themselves.

    python bench/eventfile.py [--events N]

The events are made up, of 40,000 sources and 5,000 users, as a busy server's.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailguard.eventfile import Facts, read, writer
from mailguard.model import Event

PROVED = frozenset({"source", "user", "session"})


def made_up(count: int) -> list[Event]:
    """Failed logins, connections and accepted mail."""
    chance = random.Random(7)
    found = []
    for number in range(count):
        source = 0x0A000000 + chance.randrange(40_000)
        user = f"u{chance.randrange(5000)}@example.com"
        at = 1.76e9 + number / 3
        draw = chance.random()
        if draw < 0.4:
            fields = {"user": user, "method": "PLAIN", "session": f"{number:x}"}
            found.append(
                Event("auth_failure", at, source, "dovecot/failed", 1, fields, "mail.log", number * 130,
                      "auth", True, PROVED)
            )  # fmt: skip
        elif draw < 0.7:
            fields = {"sender": user, "queue_id": f"{number:X}", "size": str(number % 9999)}
            found.append(
                Event("mail_accepted", at, source, "postfix/accepted", 1, fields, "mail.log", number * 130)
            )
        else:
            found.append(
                Event("connect", at, source, "postfix/connect", 1, {"host": "mx.example.org"}, "mail.log",
                      number * 130)
            )  # fmt: skip
    return found


def timed(work: Callable[[], int]) -> float:
    """Events a second, the best of three."""
    best = 0.0
    for _ in range(3):
        begun = time.perf_counter()
        best = max(best, work() / (time.perf_counter() - begun))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    count = parser.parse_args().events
    events = made_up(count)
    with tempfile.TemporaryDirectory() as folder:
        for form in ("parquet", "jsonl", "csv"):
            path = os.path.join(folder, f"events.{form}")
            begun = time.perf_counter()
            with open(path, "wb") as file:
                out = writer(form, file)
                out.write(events)
                out.close(Facts(count))
            wrote = count / (time.perf_counter() - begun)
            size = os.path.getsize(path) / count

            def columns(path: str = path) -> int:
                return sum(len(batch) for batch in read(path))

            def whole(path: str = path) -> int:
                return sum(len(batch.events()) for batch in read(path))

            print(
                f"{form:8} {size:6.1f} bytes an event   written {wrote:12,.0f}/s   "
                f"columns {timed(columns):12,.0f}/s   events {timed(whole):12,.0f}/s"
            )


if __name__ == "__main__":
    main()
