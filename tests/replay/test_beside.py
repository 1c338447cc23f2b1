"""The reading in a process of its own: the same events and figures, whatever becomes of that process."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mailguard.core import native
from mailguard.model import Event, Notice
from mailguard.replay import beside
from mailguard.replay.reading import Progress, YearsError
from mailguard.replay.sources import PLAIN, Source
from mailguard.replay.summary import Summary

from .conftest import Try, output
from .test_workers import story

pytestmark = pytest.mark.skipif(not beside.possible(), reason="no process can be forked here")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Of many batches."""
    path = tmp_path / "mail.log"
    path.write_text(story(3, 6000))
    os.utime(path, (1_760_100_000, 1_760_100_000))
    return path


def event(number: int) -> Event:
    return Event("auth_failure", float(number), 1, "p/r", 1, {"user": "u"}, "log", number)


def count(batches: int, each: int = 3) -> beside.Read:
    """Reads so many batches, a line for each event and two of nobody, and says something at the third."""

    def read(summary: Summary, progress: Progress) -> Iterator[Sequence[Event]]:
        for number in range(batches):
            summary.records += each + 2
            progress.advance(100, each + 2)
            if number == 2:
                summary.notice(Notice("log-strange", {"log": "x"}))
            found = [event(number * each + one) for one in range(each)]
            summary.take(found)
            yield found
        summary.late = 7
        summary.span(1e6)

    return read


class Bar:
    """A progress bar."""

    def __init__(self) -> None:
        self.size = self.lines = self.calls = 0

    def advance(self, size: int, records: int) -> None:
        self.size += size
        self.lines += records
        self.calls += 1


def kill() -> None:
    """The process that reads."""
    (child,) = multiprocessing.active_children()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()


def test_the_figures_come_with_the_batches() -> None:
    """Those up to each; the events are counted by who takes them."""
    summary, bar = Summary(notices=[Notice("first")]), Bar()
    found: list[Event] = []
    for number, events in enumerate(beside.batches(count(5), summary, bar)):
        found += events
        assert (summary.records, summary.events) == (5 * (number + 1), 3 * (number + 1))
        assert len(summary.notices) == (1 if number < 2 else 2)
        assert bar.lines == summary.records
    assert found == [event(number) for number in range(15)]
    assert (summary.late, summary.first, summary.last) == (7, 0.0, 1e6)
    assert summary.by_kind == {"auth_failure": 15}
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("after", [0, 1, 4, 2000])
def test_a_process_that_dies_loses_nothing(after: int) -> None:
    """Nor does anything come twice."""
    summary, bar = Summary(), Bar()
    found: list[Event] = []
    for number, events in enumerate(beside.batches(count(20_000), summary, bar)):
        found += events
        if number == after:
            kill()
    assert found == [event(number) for number in range(60_000)]
    assert (summary.records, summary.events, summary.late) == (100_000, 60_000, 7)
    assert summary.notices == [Notice("log-strange", {"log": "x"})]


def test_a_log_is_read_to_its_end(rehearse: Try, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, sessions and all: what the process that died had not told is read here."""
    one = output(rehearse(log, workers=1))
    taken = beside._taken

    def dies(read: beside.Read) -> Iterator[Any]:
        for number, batch in enumerate(taken(read)):
            if number == 3:
                raise beside.Lost
            yield batch

    monkeypatch.setattr(beside, "_taken", dies)
    assert output(rehearse(log, workers=2, piece=30_000)) == one
    assert output(rehearse(log, workers=3, piece=30_000)) == one


def test_who_stops_early_leaves_nobody_behind() -> None:
    """However much is still to come."""
    summary = Summary()
    batches = beside.batches(count(1_000_000), summary)
    next(iter(batches))
    batches.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()
    assert summary.events == 3


def test_what_goes_wrong_there_goes_wrong_here() -> None:
    source = Source("a", PLAIN, 0.0, 7, yearless=True)

    def years(summary: Summary, progress: Progress) -> Iterator[Sequence[Event]]:
        yield [event(1)]
        raise YearsError(source)

    def missing(summary: Summary, progress: Progress) -> Iterator[Sequence[Event]]:
        yield [event(1)]
        raise FileNotFoundError(2, "no such file", "/var/log/mail.log")

    with pytest.raises(YearsError) as told:
        list(beside.batches(years, Summary()))
    assert told.value.source == source
    with pytest.raises(FileNotFoundError, match=r"mail\.log"):
        list(beside.batches(missing, Summary()))
    assert not multiprocessing.active_children()


def test_how_far_it_is_without_events() -> None:
    """A log in which nothing happens is told of as it is read."""
    bar = Bar()

    def quiet(summary: Summary, progress: Progress) -> Iterator[Sequence[Event]]:
        for _ in range(10):
            progress.advance(beside._STEP, 1)
        yield from ()

    assert list(beside.batches(quiet, Summary(), bar)) == []
    assert (bar.size, bar.lines) == (10 * beside._STEP, 10)
    assert bar.calls == 10


@pytest.mark.compiled
@pytest.mark.skipif(native.load("sessions") is None, reason="the compiled core was not built")
def test_rows_that_do_not_hold_together() -> None:
    """Are refused: every place in them is looked at before it is used."""
    told = native.load("sessions").Told([("p/r", frozenset())])
    told.extend([event(1), event(2)])
    rows, texts, logs, objects = told.rows, told.texts, told.logs, told.objects

    def fill(*parts: Any) -> list[Event]:
        other = native.load("sessions").Told([("p/r", frozenset())])
        other.fill(*parts)
        return list(other)

    assert fill(rows, texts, logs, objects) == [event(1), event(2)]
    for wrong in (
        (rows[:-1], texts, logs, objects),
        (rows, texts, [], objects),
        (rows, texts, logs, objects[:1]),
        (b"\0" * (len(rows) - 4) + b"\0\0\0\x05", texts, logs, objects),
        (b"\xff" * len(rows), texts, logs, []),
    ):
        with pytest.raises(ValueError, match="row"):
            fill(*wrong)
