"""The figures of a setting are those of a replay, however they are found."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailguard.core import native
from mailguard.core.detectors import KIND_NUMBER
from mailguard.eventfile.columns import from_events
from mailguard.model import HOSTILE, Event
from mailguard.notation import V6
from mailguard.tuning.measures import Measures, peak
from mailguard.tuning.quick import Quick

from .made import NEXT, SHIPPED, policies, replayed, story

compiled = pytest.mark.skipif(native.load("trying") is None, reason="the core is not compiled here")
DETECTOR = "password-guessing"


def quick(events: list[Event], setups: list[object]) -> Quick:
    made = Quick(setups)  # type: ignore[arg-type]
    for start in range(0, len(events), NEXT):
        made.take(events[start : start + NEXT])
    made.close()
    return made


@pytest.mark.compiled
@compiled
@given(st.integers(0, 2**32))
@example(415218)  # more accounts under one ban than are told
@example(10122)  # a late event, and a ban that was over before it was imposed
@example(10214)
@settings(max_examples=100, deadline=None)
def test_the_quick_way_is_a_replay(seed: int) -> None:
    """Every figure of every setting, or the quick way says that it cannot tell."""
    events, setups = story(seed), policies(seed)
    made = quick(events, [*setups])
    for setup in setups:
        found = made.measure(setup, DETECTOR)
        if found is not None:
            assert found == replayed(events, setup, DETECTOR)[0]


@pytest.mark.compiled
@compiled
def test_the_stories_are_worth_telling() -> None:
    """Most can be told the quick way, with bans of hosts and networks, with harm, lifts and second bans."""
    told: Counter[str] = Counter()
    for seed in range(60):
        events, setups = story(seed), policies(seed)
        made = quick(events, [*setups])
        for setup in setups:
            found = made.measure(setup, DETECTOR)
            told["quick" if found is not None else "replayed"] += 1
            if found is None:
                continue
            _, trial = replayed(events, setup, DETECTOR)
            bans = trial.timeline.bans()
            told["bans"] += len(bans)
            told["wide"] += sum(one.effect.ban.network.prefix in (24, 48) for one in bans)
            told["six"] += sum(one.effect.ban.network.address >= V6 for one in bans)
            told["lifted"] += sum(bool(one.lifted) for one in bans)
            told["again"] += sum(one.effect.ban.ordinal > 1 for one in bans)
            told["earlier"] += sum(one.earlier is not None for one in bans)
            told["hurt"] += found.hurt
            told["accounts"] += found.accounts
            told["partners"] += found.partners
            told["own"] += found.own
    assert told["quick"] > 2 * told["replayed"] > 0, told
    for name in ("bans", "wide", "six", "lifted", "again", "hurt", "accounts", "partners", "own"):
        assert told[name] > 20, told


@pytest.mark.compiled
@compiled
@pytest.mark.parametrize("seed", range(8))
def test_what_was_left_out_matters_to_no_setting(seed: int) -> None:
    """Settings tried together or alone have the same figures, in any order."""
    events = story(1000 + seed)
    setups = policies(1000 + seed, 4)
    together = quick(events, [*setups])
    for setup in reversed(setups):
        found = together.measure(setup, DETECTOR)
        alone = quick(events, [setup]).measure(setup, DETECTOR)
        if found is not None:
            assert alone in (None, found)


@pytest.mark.compiled
@compiled
def test_who_gives_way_is_left_to_a_replay() -> None:
    """At a cap, and where not all can be remembered, the quick way does not guess."""
    events = [
        # each from a network of its own: not one ban for all of them (198.18.0.0/15, RFC 2544)
        Event("auth_failure", 1.8e9 + n, 0xC6120001 + n // 9 * 256, "p/r", 1, {"user": "a"}, "log", n, "auth",
              proved=frozenset({"user"}))
        for n in range(9 * 200)
    ]  # fmt: skip
    assert quick(events, [SHIPPED]).measure(SHIPPED, DETECTOR) is not None
    few = replace(SHIPPED, rules=replace(SHIPPED.rules, max_bans=10))
    assert quick(events, [few]).measure(few, DETECTOR) is None
    small = replace(SHIPPED, max_keys=100)
    made = quick(events, [small])
    assert made.measure(small, DETECTOR) is None
    assert made.why_not == "room"
    long = [events[0], events[0]._replace(time=1.8e9 + 400 * 86400)]
    assert quick(long, [SHIPPED]).why_not == "year"


def test_settings_that_differ_in_more_are_refused() -> None:
    """The quick way knows one never-list and one set of rules."""
    with pytest.raises(ValueError, match="more than their detectors"):
        Quick([SHIPPED, replace(SHIPPED, max_keys=5000)])


def test_without_the_compiled_core() -> None:
    """It says so, and a replay is asked."""
    made = Quick([SHIPPED], native=False)
    made.take(story(1))
    made.close()
    assert made.why_not == "compiled"
    assert made.measure(SHIPPED, DETECTOR) is None


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12))))
def test_the_peak_is_the_most_that_stand_together(spans: list[tuple[int, int]]) -> None:
    """Counted moment by moment."""
    ends = [(float(since), float(since + length)) for since, length in spans]
    most = max((sum(since <= at < until for since, until in ends) for at in range(45)), default=0)
    assert peak(ends) == most


@pytest.mark.parametrize("seed", range(6))
def test_measures_are_those_of_the_timeline(seed: int) -> None:
    """What a replay prints and what a sweep prints is one thing."""
    events = story(seed)
    found, trial = replayed(events, SHIPPED, DETECTOR)
    timeline = trial.timeline
    assert isinstance(found, Measures)
    assert found.stopped + found.through == sum(event.kind in HOSTILE for event in events)
    assert found.caught == timeline.caught
    assert found.missed == timeline.uncaught(1)[0]
    assert found.hurt == sum(score.hurt for score in timeline.scores.values())
    assert found.own == (timeline.scores[DETECTOR].bans if DETECTOR in timeline.scores else 0)
    delays = [delay for score in timeline.scores.values() for delay in score.delays]
    assert found.median == (median(delays) if delays else None)


@pytest.mark.compiled
@compiled
@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_columns_are_as_good_as_events(seed: int) -> None:
    """What a file of events gives is taken without making an event, and is the same."""
    events, setups = story(seed), policies(seed)
    of_columns = Quick([*setups])
    counted: Counter[str] = Counter()
    for start in range(0, len(events), NEXT):
        counts = of_columns.take_columns(from_events(events[start : start + NEXT]))
        counted.update(dict(zip(KIND_NUMBER, counts, strict=True)))
    of_columns.close()
    of_events = quick(events, [*setups])
    assert +counted == Counter(event.kind for event in events)
    assert of_columns.span == of_events.span == (min(e.time for e in events), max(e.time for e in events))
    assert of_columns.why_not == of_events.why_not
    for setup in setups:
        assert of_columns.measure(setup, DETECTOR) == of_events.measure(setup, DETECTOR)


@pytest.mark.compiled
@compiled
def test_weights_that_only_one_setting_heeds() -> None:
    """A line of weight 0 counts as one until a heavier one is remembered, which another setting may never do:
    who could matter is found for both."""
    events, setups = story(50106), policies(50106)
    made = quick(events, [*setups])
    assert made.measure(setups[0], DETECTOR) == replayed(events, setups[0], DETECTOR)[0]
