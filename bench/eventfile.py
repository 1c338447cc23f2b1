"""How fast an events file is read back: as columns, and by those who judge from it.

    python bench/eventfile.py [--events N] [--lines N]

The events are made up, of 40,000 sources and 5,000 users, as a busy server's; of the text forms a tenth
is read. `columns`: kind, time, source, rule, weight, log, position, scope and what was proved, with every
address parsed. `tune`: the rows that a sweep of settings walks, made of the columns; no event is made (where
the core is compiled, of a single file without --from and --until). `replay`: what a replay hands to its
judge, of Parquet rows (where the core is compiled), of text the events themselves.

`rich`: the events of so many lines of the rich log of `bench/replay.py`, in Parquet. `judged`: replayed with
the whole policy, in this process, from the file and from the log; what remains without reading is judging.

Each by the clock, and by the processor time of all threads: the clock gives the smaller figure on a machine
that others keep busy, and the greater one on two free cores.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mixes

from mailguard.core.engine import Engine
from mailguard.definitions.parsers import load_parsers
from mailguard.definitions.settings import load_settings
from mailguard.eventfile import Facts, read, writer
from mailguard.feeds.interface import LogOptions
from mailguard.model import Event
from mailguard.replay.rehearsal import Rehearsal
from mailguard.replay.sources import find
from mailguard.tuning.quick import Quick

BATCH = 4096  # events that are written at once
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


PARSERS = load_parsers(("postfix", "dovecot"))


def rehearsal(path: str) -> Rehearsal:
    """A replay of one file by this process, with the whole policy."""
    options = LogOptions(timezone="UTC", year=2026)
    return Rehearsal(find([path], options).sources, PARSERS, [lambda: Engine(SETUP)], options, workers=1)


def handed(path: str) -> int:
    """Events as a replay hands them to its judge."""
    return sum(len(batch) for batch in rehearsal(path)._read(frozenset()))


def judged(path: str) -> int:
    """The same, judged."""
    tried = rehearsal(path)
    tried.run()
    return tried.summary.events


def columns(path: str) -> int:
    return sum(len(batch) for batch in read(path))


def swept(path: str) -> int:
    """Rows that a sweep walks."""
    quick, found = Quick([SETUP]), 0
    for batch in read(path, fields=quick.fields()):
        found += sum(quick.take_columns(batch))
    return found


def put(path: str, form: str, events: Sequence[Event]) -> None:
    """Write an events file, and say what it took."""
    begun, spent = time.perf_counter(), time.process_time()
    with open(path, "wb") as file:
        out = writer(form, file)
        for at in range(0, len(events), BATCH):
            out.write(events[at : at + BATCH])
        out.close(Facts(len(events)))
    wall, processor = time.perf_counter() - begun, time.process_time() - spent
    size = os.path.getsize(path) / len(events)
    print(f"{form}: {len(events):,} events, {size:.1f} bytes an event")
    print(f"  written  {len(events) / wall:12,.0f}/s ({len(events) / processor:,.0f} by CPU)")


def say(what: str, work: Callable[[str], int], path: str) -> None:
    print(f"  {what:9}{timed(lambda: work(path))}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--lines", type=int, default=1_000_000, help="of the rich log; 0: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        events = made_up(options.events)
        for form, share in (("parquet", 1), ("jsonl", 10), ("csv", 10)):
            path = os.path.join(folder, f"events.{form}")
            put(path, form, events[: len(events) // share])
            say("columns", columns, path)
            say("tune", swept, path)
            say("replay", handed, path)
        if not options.lines:
            return
        log, path = os.path.join(folder, "rich.log"), os.path.join(folder, "rich.parquet")
        Path(log).write_bytes(b"".join(line + b"\n" for line in mixes.rich(options.lines)))
        print(f"rich: {options.lines:,} lines")
        put(path, "parquet", [event for batch in rehearsal(log).batches() for event in batch])
        say("columns", columns, path)
        say("replay", handed, path)
        say("judged", judged, path)
        say("  log", handed, log)  # both of the log itself, in events a second
        say("  judged", judged, log)


if __name__ == "__main__":
    main()
