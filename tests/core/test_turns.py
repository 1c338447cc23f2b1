"""Turns in compiled code are those of the Python loop: the same effects, evidence, state and words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mailguard.clock import ManualClock
from mailguard.core import native
from mailguard.core.loop import SET_BACK, Loop
from mailguard.core.ports import Pace, Row
from mailguard.daemon.build import load, make_judge
from mailguard.firewall.recording import Recording
from mailguard.ledger import Ledger
from mailguard.ledger.writer import Writer
from mailguard.model import Ban, Block, Effect, Event, Item, Network, Notice, Readings, Request

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(native.load("turn") is None, reason="the core was not compiled here"),
]
SAMPLES = sorted((Path(__file__).resolve().parents[2] / "samples" / "logs").glob("*.log"))
LOADED = load(Path(os.devnull))
T = 1_795_345_000.0
Batch = tuple[float, float, list[Item]]  # when it comes, and how far wall time was set back until then


class Clock(ManualClock):
    """Wall time may be set back."""

    back = 0.0  # seconds

    def now(self) -> float:
        return self._now - self.back


class ScriptedFeed:
    """Hands out prepared batches; those of one block as `quick` does, where that is wanted."""

    def __init__(self, clock: Clock, batches: list[Batch], compiled: bool):
        self.clock, self.batches, self.compiled = clock, batches, compiled
        self.began, self.taken, self.until, self.gather = 0, 0, 0.0, 0.0

    def next(self, deadline: float | None) -> list[Item] | None:
        if not self.batches:
            return None
        if deadline is not None and self.batches[0][0] > deadline > self.clock.monotonic():
            self.clock.set(deadline)
            return []
        return self._pop()

    def _pop(self) -> list[Item]:
        at, self.clock.back, items = self.batches.pop(0)
        self.clock.set(at)
        return items

    def quick(self, until: float, gather: float) -> Any:
        self.until, self.gather = until, gather
        self.began += 1
        return self if self.compiled else None

    def take(self) -> Item | None:
        if not self.batches or self.batches[0][0] > self.until:
            return None
        items = self.batches[0][2]
        if len(items) != 1 or not isinstance(items[0], Block):
            return None
        self.taken += 1
        (block,) = self._pop()
        self.until, self.gather = min(self.until, self.clock.monotonic() + self.gather), 1e9
        return block

    def end(self) -> None:
        self.began -= 1

    def positions(self) -> dict[str, bytes]:
        return {"left": b"%d" % len(self.batches)}


class Telling:
    """A firewall that begins bans ahead, and what it was asked."""

    def __init__(self, diary: list[Any]):
        self.diary = diary
        self.begun: list[Any] = []  # in the middle of a turn: whose lines are written down after it

    def begin(self, network: Network, scope: str, until: float, now: float) -> bool:
        self.begun.append((network, scope, until))
        return True

    def open(self, bans: Iterable[Ban], now: float) -> None:
        self.diary.append(("open", list(bans)))

    def panic(self) -> None:
        self.diary.append("panic")

    def impose(self, bans: Sequence[Ban], now: float) -> None:
        self.diary.append(("impose", list(bans)))

    def lift(self, places: Sequence[tuple[Network, str]]) -> None:
        self.diary.append(("lift", list(places)))

    def allow(self, networks: Sequence[Network]) -> None:
        self.diary.append(("allow", list(networks)))


class Noting(Writer):
    """Lines, effects and checkpoints, in order; lines as often as they like."""

    def __init__(self, diary: list[Any]):
        super().__init__(Ledger(":memory:"), threaded=False)
        self.diary = diary

    def evidence(self, events: Iterable[Event]) -> None:
        self.diary += [("line", event) for event in events]

    def record(self, effects: Sequence[Effect]) -> None:
        self.diary.append(("effects", list(effects)))

    def checkpoint(self, rows: Iterable[Row], positions: Mapping[str, bytes]) -> None:
        self.diary.append(("checkpoint", sorted(rows, key=repr), dict(positions)))


class Teller:
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.seen: list[Item] = []
        self.calls = 0

    def effects(self, effects: Sequence[Effect]) -> None:
        self.told += effects

    def notice(self, notice: Notice) -> None:
        self.told.append(notice)

    def answer(self, request: Request, now: float) -> dict[str, Any]:
        return {}

    def asked(
        self, request: Request, effects: Sequence[Effect], answer: dict[str, Any], now: float
    ) -> dict[str, Any]:
        self.told.append((request.verb, list(effects), answer["ok"]))
        return answer

    def watch(self, items: Sequence[Item], now: float) -> list[Notice]:
        self.seen += items
        self.calls += 1
        return []

    def next_deadline(self) -> float | None:
        return None


def story(data: bytes, random: Random) -> list[Batch]:
    """The lines in blocks of all sizes, at wall times that mostly go on, with what may come between them."""
    at, back, start, batches = T, 0.0, 0, list[Batch]()
    batches.append((at, back, [Readings(at, {"mail.log": 0}, {})]))
    while start < len(data):
        at += random.choice((0.001, 0.004, 0.03, 0.2, 5.0))
        kind = random.randrange(40)
        back += 2 * SET_BACK if kind == 3 else 0.0
        stop = min(len(data), start + random.choice((100, 300, 300, 900, 900, 2500, 5000)))
        stop = data.find(b"\n", stop - 1) + 1
        lines = bytearray(data[start:stop])
        items: list[Item] = [
            Block("mail.log", lines, 0, len(lines), start, at - back, True, timezone="UTC", year=2026)
        ]
        start = stop
        if kind == 0:
            batches.append((at, back, [Readings(at - back, {"mail.log": start}, {})]))
        elif kind == 1:
            batches.append((at, back, [Request("ban", {"network": "192.0.2.99", "for": 600.0})]))
        elif kind == 2:
            items.append(Notice("something"))
        batches.append((at, back, items))
    return batches


def judged(data: bytes, seed: int, compiled: bool, observed: bool = False) -> tuple[ScriptedFeed, Any]:
    """What a loop makes of the story."""
    clock, diary = Clock(T), list[Any]()
    feed = ScriptedFeed(clock, story(data, Random(seed)), compiled)
    judge, scanner = make_judge(LOADED, secret=b"s" * 16)
    judge.enforcing = True
    if observed:
        judge.observer = diary.append
    firewall, teller = Telling(diary), Teller()
    loop = Loop(
        feed,
        judge,
        firewall,
        Noting(diary),
        clock,
        teller,
        pace=Pace(2.0, checkpoint_bytes=20_000),
    )
    judge.foretell(loop.gate.ahead)
    loop.run()
    assert feed.began == 0 or not compiled
    assert judge.growth is not None
    known = (
        diary, teller.told, teller.seen, judge.status(clock.now()), judge.growth.status(),
        judge.growth._causes._spans, judge.growth.passed, judge.growth.later, repr(scanner.counters),
        sorted(judge.checkpoint(True), key=repr), judge._running, loop.notes.dirty, firewall.begun,
    )  # fmt: skip
    return feed, known


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_compiled_turns_are_those_of_python(path: Path) -> None:
    """Every sample log several times over (what was said once is known then), beside readings, requests,
    notices, large blocks, pauses and a clock that is set back."""
    data = (path.read_bytes().rstrip(b"\n") + b"\n") * 3
    for seed in (1, 2):
        plain, expected = judged(data, seed, False)
        quick, found = judged(data, seed, True)
        assert plain.taken == 0
        assert quick.taken > (0 if "epost" in path.stem else 3)  # there, much waits for another log
        for one, other in zip(found, expected, strict=True):
            assert one == other


def test_who_looks_at_every_event_has_turns_in_python() -> None:
    """An observer sees each event; before the first reading growth is told by the places of events."""
    data = SAMPLES[0].read_bytes()
    quick, found = judged(data, 1, True, observed=True)
    assert quick.taken == 0
    assert found == judged(data, 1, False, observed=True)[1]
    feed, clock = ScriptedFeed(Clock(T), story(data, Random(1))[1:], True), Clock(T)
    judge, _ = make_judge(LOADED, secret=b"s" * 16)
    Loop(feed, judge, Recording(), Noting([]), clock, Teller()).run()
    assert feed.taken == 0
