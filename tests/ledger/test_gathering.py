"""The thread that writes lets jobs gather: what is written together, in which order, who need not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mailguard.ledger import Ledger, evidence, writer
from mailguard.ledger.writer import MOST_CHECKPOINTS, Row, Writer
from mailguard.model import Ban, Effect, Event, Evidence, Lift, Network

T = 1_760_000_000.0


class Diary:
    """A ledger that writes down what it was asked."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.open = threading.Event()
        self.open.set()

    def record(self, effects: Sequence[Effect]) -> None:
        self.open.wait(10)
        self.entries.append(("effects", [effect.time for effect in effects]))

    def evidence(self, events: Iterable[Event]) -> None:
        self.entries.append(("lines", [event.position for event in events]))

    def checkpoint(self, rows: Iterable[Row], positions: Mapping[str, bytes]) -> None:
        self.open.wait(10)
        self.entries.append(("checkpoint", list(rows), dict(positions)))

    def due(self, now: float) -> list[Ban]:
        return []


def effect(number: int) -> Lift:
    return Lift(Network(0xC0000200 + number, 32), T + number, "unban")


def line(number: int) -> Event:
    return Event("auth_failure", T, 1, "paper/rule", 1, {}, "log", number)


def test_checkpoints_that_gathered_are_one() -> None:
    """Of each key the last value, the last positions; effects and lines before them are written first, and
    what came behind the last checkpoint goes into the next transaction, never before its positions."""
    diary = Diary()
    made = Writer(diary)
    made.evidence([line(1)])
    made.record([effect(1)])
    made.evidence([line(2)])
    made.checkpoint([("t", b"a", b"1"), ("t", b"b", b"1")], {"log": b"2"})
    made.checkpoint([("t", b"a", b"2"), ("t", b"c", None)], {"log": b"3"})
    made.evidence([line(4)])
    made.record([effect(4)])
    assert made.settle()
    assert diary.entries == [
        ("lines", [1]), ("lines", [2]), ("effects", [T + 1]),
        ("checkpoint", [("t", b"a", b"2"), ("t", b"b", b"1"), ("t", b"c", None)], {"log": b"3"}),
        ("lines", [4]), ("effects", [T + 4]),
    ]  # fmt: skip
    assert made.close()


def test_nobody_who_asks_waits_for_more_to_gather(monkeypatch: Any) -> None:
    """`settle`, named values and the end are at once."""
    monkeypatch.setattr(writer, "GATHER", 60.0)
    diary = Diary()
    made = Writer(diary)
    begun = time.monotonic()
    made.record([effect(1)])
    assert made.settle()
    done = threading.Event()
    made.record([effect(2)])
    made.later(done.set)
    assert done.wait(10)
    made.record([effect(3)])
    assert made.close()
    assert time.monotonic() - begun < 10
    assert [entry[1] for entry in diary.entries] == [[T + 1], [T + 2], [T + 3]]


def test_it_writes_by_itself(monkeypatch: Any) -> None:
    """Nobody has to ask."""
    monkeypatch.setattr(writer, "GATHER", 0.05)
    diary = Diary()
    made = Writer(diary)
    made.checkpoint([("t", b"a", b"1")], {})
    end = time.monotonic() + 10
    while not diary.entries and time.monotonic() < end:
        time.sleep(0.005)
    assert diary.entries == [("checkpoint", [("t", b"a", b"1")], {})]
    assert made.close()


def test_a_slow_disk_ends_the_gathering() -> None:
    """Checkpoints do not pile up without end while one is being written."""
    diary = Diary()
    diary.open.clear()
    made = Writer(diary)
    for number in range(MOST_CHECKPOINTS):
        assert not made.busy
        made.checkpoint([("t", b"a", b"%d" % number)], {})
    assert made.busy
    diary.open.set()
    assert made.settle(10)
    assert not made.busy
    assert made.close()


def test_lines_that_find_no_room_are_left_out_seldom(monkeypatch: Any) -> None:
    """While a disk takes nothing: never more than an eighth above the limit, the newest of each source, and
    they are looked through only when that much came."""
    monkeypatch.setattr(evidence, "WAITING", 80)
    looked: list[int] = []
    newest = evidence.newest

    def noted(batches: Sequence[list[Event]], most: int) -> tuple[list[Event], list[int]]:
        looked.append(1)
        return newest(batches, most)

    monkeypatch.setattr(evidence, "newest", noted)
    ledger = Ledger(":memory:")
    for number in range(200):
        ledger.evidence([line(2 * number), line(2 * number + 1)._replace(source=1000 + number)])
        assert ledger.waiting <= 80 + 10 + 2
    assert len(looked) <= 400 / 10
    kept = ledger.answers.why(Network(1, 32), T)["lines"]
    assert [one["position"] for one in kept] == list(range(398 - 62, 399, 2))
    ledger.checkpoint([], {})
    assert ledger.answers.why(Network(1, 32), T)["lines"] == kept
    assert ledger.waiting == 0
    assert ledger.counts()["evidence_dropped"] > 0


def test_what_stands_behind_an_effect_is_found_wherever_it_is() -> None:
    """Lines that are written already and lines that wait, of these sources only."""
    ledger = Ledger(":memory:")
    ledger.evidence([line(1)._replace(line=b"written"), line(2)._replace(line=b"another's", source=2)])
    ledger.checkpoint([], {})
    ledger.evidence([line(3)._replace(line=b"waiting"), line(2)._replace(line=b"another's", source=2)])
    wanted = [Evidence(T, "paper/rule", "log", number) for number in (1, 2, 3, 4)]
    found = ledger._lines.behind(wanted, (1,))
    assert [one[5] for one in found] == ["written", "", "waiting", ""]
