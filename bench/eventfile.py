"""How fast an events file is read back: as columns, and by those who judge from it.

    python bench/eventfile.py [--events N]

The events are made up, of 40,000 sources and 5,000 users, as a busy server's; of the text forms a tenth
is read. `columns`: kind, time, source, rule, weight, log, position, scope and what was proved, with every
address parsed. `tune`: the rows that a sweep of settings walks, made of the columns; no event is made (where
the core is compiled, of a single file without --from and --until). `replay`: the events themselves, as a
replay judges them. Each by the clock, and by the processor time of all threads: the clock gives the smaller
figure on a machine that others keep busy, and the greater one on two free cores.
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

from mailguard.definitions.settings import load_settings
from mailguard.eventfile import Facts, read, writer
from mailguard.model import Event
from mailguard.tuning.quick import Quick

BATCH = 4096  # events at once, as a replay takes them
SETUP = load_settings().setup()
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


def timed(work: Callable[[], int]) -> str:
    """Events a second by the clock and by the processor's time (of all threads), the best of three."""
    wall = processor = 0.0
    for _ in range(3):
        begun, spent = time.perf_counter(), time.process_time()
        count = work()
        wall = max(wall, count / (time.perf_counter() - begun))
        processor = max(processor, count / (time.process_time() - spent))
    return f"{wall:12,.0f}/s ({processor:,.0f} by CPU)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    count = parser.parse_args().events
    events = made_up(count)
    with tempfile.TemporaryDirectory() as folder:
        for form, share in (("parquet", 1), ("jsonl", 10), ("csv", 10)):
            path, some = os.path.join(folder, f"events.{form}"), events[: count // share]
            begun, spent = time.perf_counter(), time.process_time()
            with open(path, "wb") as file:
                out = writer(form, file)
                for at in range(0, len(some), BATCH):
                    out.write(some[at : at + BATCH])
                out.close(Facts(len(some)))
            wall, processor = time.perf_counter() - begun, time.process_time() - spent
            size = os.path.getsize(path) / len(some)

            def columns(path: str = path) -> int:
                return sum(len(batch) for batch in read(path))

            def whole(path: str = path) -> int:
                found = 0
                for batch in read(path):
                    for at in range(0, len(batch), BATCH):
                        found += len(batch.events(at, at + BATCH))
                return found

            def rows(path: str = path) -> int:
                quick, found = Quick([SETUP]), 0
                for batch in read(path, fields=quick.fields()):
                    found += sum(quick.take_columns(batch))
                return found

            print(f"{form}: {len(some):,} events, {size:.1f} bytes an event")
            print(f"  written  {len(some) / wall:12,.0f}/s ({len(some) / processor:,.0f} by CPU)")
            print(f"  columns  {timed(columns)}")
            print(f"  tune     {timed(rows)}")
            print(f"  replay   {timed(whole)}", flush=True)


if __name__ == "__main__":
    main()
