"""A sweep over logs: read once, tried by any number of processes, and equal to replays of the same logs."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.core.detectors import Detector
from mailguard.core.engine import Engine, Setup
from mailguard.core.rules import Parser
from mailguard.definitions.parsers import load_parsers
from mailguard.definitions.settings import load_settings
from mailguard.feeds.interface import LogOptions
from mailguard.replay.rehearsal import Rehearsal
from mailguard.replay.sources import find
from mailguard.tuning.grid import make
from mailguard.tuning.measures import Measures, of_trial
from mailguard.tuning.sweep import Sweep, tasks_of

T = 1_760_000_000
DETECTOR = "password-guessing"


@pytest.fixture(scope="module")
def parsers() -> list[Parser]:
    return load_parsers(None)


@pytest.fixture(scope="module")
def setup() -> Setup:
    return load_settings().setup()


def found(setup: Setup, name: str = DETECTOR) -> Detector:
    return next(one for one in setup.detectors if one.name == name)


def lines(seed: int, count: int) -> str:
    """A log of guesses, logins and mail from neighbouring addresses, in order, some lines late."""
    chance = random.Random(seed)
    made = []
    at = float(T)
    for number in range(count):
        at += chance.expovariate(1 / chance.choice((1.0, 60.0, 3000.0)))
        stamp = datetime.fromtimestamp(at - (3.0 if chance.random() < 0.05 else 0.0), UTC).isoformat()
        host, user = (
            f"192.0.2.{int(40 * chance.random() ** 2)}",
            f"u{int(9 * chance.random() ** 2)}@example.com",
        )
        draw = chance.random()
        if draw < 0.6:
            made.append(
                f"{stamp} mx dovecot: imap-login: Disconnected (auth failed, "
                f"{chance.choice((1, 1, 3))} attempts in 2 secs): user=<{user}>, method=PLAIN, rip={host}, "
                f"lip=203.0.113.1, TLS, session=<{number}>"
            )
        elif draw < 0.8:
            made.append(
                f"{stamp} mx dovecot: imap-login: Login: user=<{user}>, method=PLAIN, rip={host}, "
                f"lip=203.0.113.1, mpid=7, TLS, session=<{number}>"
            )
        else:
            queue = f"4711{number:X}".replace("1", "2")
            made.append(f"{stamp} mx postfix/smtpd[9]: {queue}: client=mail.example.org[{host}]")
            made.append(
                f"{stamp} mx postfix/qmgr[5]: {queue}: from=<p{chance.randrange(4)}@example.org>, size=77, "
                "nrcpt=1 (queue active)"
            )
    return "".join(f"{line}\n" for line in made)


def rehearsal(path: Path, parsers: list[Parser], *setups: Setup, workers: int = 1) -> Rehearsal:
    sources = find([str(path)], LogOptions()).sources
    return Rehearsal(sources, parsers, [lambda one=one: Engine(one) for one in setups], workers=workers)  # type: ignore[misc]


def swept(path: Path, parsers: list[Parser], setup: Setup, variants: list[Detector], **more: object) -> Sweep:
    sweep = Sweep(rehearsal(path, parsers), tasks_of(setup, variants, variants[0].name), **more)  # type: ignore[arg-type]
    sweep.read()
    sweep.run()
    return sweep


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 400),
    counts=st.lists(st.integers(1, 12), max_size=3),
    windows=st.lists(st.sampled_from((5.0, 90.0, 600.0, 86400.0)), max_size=2),
    workers=st.sampled_from((1, 2, 3)),
    native=st.sampled_from((None, None, False)),
)
def test_a_sweep_says_what_replays_say(
    tmp_path: Path,
    parsers: list[Parser],
    setup: Setup,
    seed: int,
    count: int,
    counts: list[int],
    windows: list[float],
    workers: int,
    native: bool | None,
) -> None:
    """The present setting and every other one, over random logs, settings and numbers of workers."""
    path = tmp_path / "mail.log"
    path.write_text(lines(seed, count))
    os.utime(path, (T + 10_000_000, T + 10_000_000))
    asked = {"count": [*counts, 5], "within": [*windows, 600.0], "key": ["source", "network"]}
    grid = make(found(setup), asked, 500, 0.0)
    variants = list(grid.variants)[:9]
    tasks = tasks_of(setup, variants, DETECTOR)
    rehearsed = rehearsal(path, parsers, setup, *[task.setup for task in tasks])
    rehearsed.run()
    expected = [of_trial(trial, rehearsed.summary, DETECTOR) for trial in rehearsed.trials]
    sweep = swept(path, parsers, setup, variants, workers=workers, native=native)
    assert sweep.done[0] == expected[0]  # the present policy
    assert [sweep.done[place] for place in range(len(variants))] == expected[1:]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "mail.log"
    path.write_text(lines(3, 300))
    os.utime(path, (T + 10_000_000, T + 10_000_000))
    return path


def test_what_cannot_be_tried_quickly_is_replayed(log: Path, parsers: list[Parser], setup: Setup) -> None:
    """At a cap on bans: the same figures, and how many were replayed is known."""
    small = replace(setup, rules=replace(setup.rules, max_bans=2))
    grid = make(found(small), {"count": [2, 5]}, 10, 0.0)
    rehearsed = rehearsal(log, parsers, *[task.setup for task in tasks_of(small, grid.variants, DETECTOR)])
    rehearsed.run()
    sweep = swept(log, parsers, small, list(grid.variants), workers=1)
    assert 0 < sweep.replayed <= len(grid.variants)
    assert [sweep.done[place] for place in sorted(sweep.done)] == [
        of_trial(trial, rehearsed.summary, DETECTOR) for trial in rehearsed.trials
    ]


def test_a_process_that_dies_owes_nothing(
    log: Path, parsers: list[Parser], setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was at is tried by the parent."""
    grid = make(found(setup), {"count": [2, 3, 4, 5]}, 10, 0.0)
    expected = swept(log, parsers, setup, list(grid.variants), workers=1).done
    parent, measure = os.getpid(), Sweep.measure

    def dies(self: Sweep, place: int) -> tuple[int, Measures, bool]:
        if os.getpid() != parent and place == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return measure(self, place)

    monkeypatch.setattr(Sweep, "measure", dies)
    assert swept(log, parsers, setup, list(grid.variants), workers=2).done == expected


def test_an_error_in_a_process_is_told(
    log: Path, parsers: list[Parser], setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own words."""

    def fails(self: Sweep, place: int) -> tuple[int, Measures, bool]:
        raise ValueError("what went wrong")

    monkeypatch.setattr(Sweep, "measure", fails)
    with pytest.raises(RuntimeError, match="what went wrong"):
        swept(log, parsers, setup, [found(setup), replace(found(setup), count=3)], workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_what_was_tried(log: Path, parsers: list[Parser], setup: Setup, workers: int) -> None:
    """The settings that were done by then have their figures."""
    grid = make(found(setup), {"count": [2, 3, 4, 5, 6, 7]}, 10, 0.0)
    sweep = Sweep(rehearsal(log, parsers), tasks_of(setup, grid.variants, DETECTOR), workers)

    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    sweep.advance = stop
    sweep.read()
    sweep.run()
    assert sweep.interrupted
    assert len(sweep.done) == 3


def test_ctrl_c_while_reading(
    log: Path, parsers: list[Parser], setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing was tried."""

    def batches(self: Rehearsal) -> Iterator[list[object]]:
        raise KeyboardInterrupt
        yield []

    monkeypatch.setattr(Rehearsal, "batches", batches)
    sweep = Sweep(rehearsal(log, parsers), tasks_of(setup, [found(setup)], DETECTOR))
    sweep.read()
    assert sweep.interrupted
    assert not sweep.done
