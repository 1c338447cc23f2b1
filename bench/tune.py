"""A sweep of settings over a month of events, beside a naive replay of the same.

    python bench/tune.py [--events N] [--settings N] [--workers N] [--naive N] [--detector NAME]

The events are made up, with the ground known: loud guessers, a slow botnet after the same few names,
harvesters, machines on block lists, partners' mail and users' logins, with some users among the attackers.
`--naive`: how many settings are also replayed one by one, each with the timeline of `replay`;
their figures must be those of the sweep.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailguard.core.engine import Engine
from mailguard.definitions.settings import load_settings
from mailguard.model import HOSTILE, Event
from mailguard.replay import BATCH
from mailguard.replay.shutouts import Shutouts
from mailguard.replay.summary import Summary
from mailguard.replay.trial import Trial
from mailguard.tuning.grid import Axes, make
from mailguard.tuning.measures import Measures, of_trial
from mailguard.tuning.sweep import Sweep, Task, tasks_of

DAY = 86400.0
MONTH = 30 * DAY
BEGIN = 1.8e9
AUTH = frozenset({"user"})
MAIL = frozenset({"sender", "recipient"})
_new = tuple.__new__

Made = tuple[float, str, int, dict[str, str]]


def address(number: int) -> int:
    """A packed address; where attackers live, few others do. They are numbers only and never written."""
    return 0xC0000000 + number * 40_503 % 0x1FFFFFFF


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
    kind = chance.choice(
        ("blocklisted", "blocklisted", "policy_reject", "protocol_violation", "session_aborted")
    )
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
    for sort, share in SHARES:
        until = len(made) + share * count
        while len(made) < until:
            made += sort(chance)
    made.sort(key=lambda one: one[0])
    events = []
    for number, (at, kind, source, fields) in enumerate(made):
        auth = kind.startswith("auth")
        stamp = BEGIN + float(int(at))  # whole seconds, as in most logs
        scope, proved = ("auth", AUTH) if auth else ("mail", MAIL)
        row = kind, stamp, source, "made/up", 1, fields, "mail.log", 90 * number, scope, True, proved, b""
        events.append(_new(Event, row))
    return events


class Month:
    """The events in the place of a rehearsal's logs."""

    def __init__(self, events: list[Event]):
        self.events = events
        self.sources: list[Any] = []
        self.summary = Summary()

    def batches(self) -> Iterator[list[Event]]:
        self.summary = Summary()
        for start in range(0, len(self.events), BATCH):
            batch = self.events[start : start + BATCH]
            self.summary.take(batch)
            yield batch


def naive(events: list[Event], task: Task) -> tuple[float, Measures]:
    """Seconds of processor time that one replay of the events takes, and its figures."""
    begun = time.process_time()
    trial, summary = Trial(Engine(task.setup)), Summary()
    for start in range(0, len(events), BATCH):
        batch = events[start : start + BATCH]
        trial.take(batch)
        summary.take(batch)
    trial.close(Shutouts(), summary.last)
    return time.process_time() - begun, of_trial(trial, summary, task.detector)


def cpu() -> float:
    """Processor seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_500_000)
    parser.add_argument("--settings", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--naive", type=int, default=3)
    parser.add_argument("--detector", default="password-guessing")
    options = parser.parse_args()
    settings = load_settings()
    setup = settings.setup()
    (detector,) = [one for one in setup.detectors if one.name == options.detector]
    first = detector.ban.first if detector.ban else 600.0
    axes: Axes = {
        "count" if detector.count else "distinct": [2, 3, 4, 5, 6, 8, 10, 14, 20, 30],
        "within": [60.0, 300.0, 600.0, 1800.0, 3600.0, 6 * 3600.0, DAY, 2 * DAY, 7 * DAY, 14 * DAY],
        "ban": [first, 36 * first],
    }
    variants = list(make(detector, axes, 5000, settings.general.retention).variants)[: options.settings]
    events = month(options.events)
    sources = {event[2] for event in events}
    hostile = sum(event[0] in HOSTILE for event in events)
    print(
        f"{len(events):,} events of {len(sources):,} sources, {hostile:,} hostile; {len(variants)} settings"
    )
    tasks = tasks_of(setup, variants, detector.name)
    sweep = Sweep(cast(Any, Month(events)), tasks, options.workers)
    begun, used = time.perf_counter(), cpu()
    sweep.read()
    read, used_read = time.perf_counter() - begun, cpu() - used
    sweep.run()
    seconds, used = time.perf_counter() - begun, cpu() - used
    each = 1e6 * (used - used_read) / len(events) / len(variants)
    print(
        f"sweep     {seconds:8.1f} s with {options.workers} processes ({read:.1f} s to take the events in); "
        f"{used:.1f} s of processor time, {each:.3f} us an event and setting; {sweep.replayed} replayed"
    )
    places = [round(n * (len(variants) - 1) / max(1, options.naive - 1)) for n in range(options.naive)]
    spent = []
    for place in places:
        took, measures = naive(events, tasks[place])
        spent.append(took)
        if measures != sweep.done[place]:
            print(f"NOT THE SAME: {variants[place]}\n  replay {measures}\n  sweep  {sweep.done[place]}")
    if spent:
        whole = sum(spent) / len(spent) * len(variants)
        print(
            f"naive     {whole:8.0f} s of processor time for as many replays "
            f"({sum(spent) / len(spent):.1f} s each, "
            f"{len(spent)} were made): {whole / used:.0f} times the sweep's"
        )


if __name__ == "__main__":
    main()
