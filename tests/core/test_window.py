"""Windows: exactly what a list of all events and a double loop would say, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core.table import Table
from mailguard.core.window import (
    HEAVY,
    LATENESS,
    RECORD,
    SIZE,
    UNTRUSTED,
    Ask,
    History,
    View,
    find,
    find_before,
    needs_of,
)

KEY = 7


@dataclass
class Made:
    """An event of the naive reference."""

    time: float
    kind: int
    value: int
    weight: int
    consumed: bool = False


class Naive:
    """The reference: keeps every event for ever, tries every window."""

    def __init__(self, ask: Ask):
        self.ask = ask
        self.events: list[Made] = []

    def add(self, event: Made) -> bool:
        self.events.append(event)
        ask = self.ask
        if event.kind not in ask.kinds:
            return False
        fresh = [old for old in self.events if old.kind in ask.kinds and not old.consumed]
        ends = sorted({old.time for old in fresh if event.time <= old.time <= event.time + ask.within})
        for end in ends:
            inside = [old for old in fresh if end - ask.within <= old.time <= end]
            others = {old.value for old in inside if old.value}
            if sum(old.weight for old in inside) >= ask.count and len(others) >= ask.distinct:
                for old in self.events:
                    if old.time <= end:
                        old.consumed = True
                return True
        return False


def packed(event: Made, flags: int = 0) -> bytes:
    flags |= HEAVY if event.weight > 1 else 0
    return RECORD.pack(event.time, 0, event.value, 0, 0, event.weight, event.kind, flags)


class Exact:
    """The same question put to a `History`."""

    def __init__(self, ask: Ask, *others: Ask):
        self.ask = ask
        self.history = History(Table("t", 64), needs_of([ask, *others]))
        self.mark = float("-inf")
        self.clock = float("-inf")

    def add(self, event: Made) -> bool:
        self.clock = max(self.clock, event.time)
        buffer, place = self.history.add(KEY, packed(event), event.time, self.clock)
        if event.kind not in self.ask.kinds or event.time <= self.mark:
            return False
        span = find(View(buffer), place, self.ask, self.mark, True)
        if span is None:
            return False
        self.mark = span.last
        return True


asks = st.builds(
    Ask,
    kinds=st.sampled_from([b"\0", b"\1", b"\0\1"]),
    within=st.sampled_from([1.0, 5.0, 10.0, 60.0]),
    count=st.integers(1, 6),
    distinct=st.just(0),
) | st.builds(
    Ask,
    kinds=st.sampled_from([b"\0", b"\0\1"]),
    within=st.sampled_from([1.0, 5.0, 10.0, 60.0]),
    count=st.sampled_from([0, 0, 4, 7]),
    distinct=st.integers(2, 5),
)
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 11.0, 40.0]),
        st.integers(0, 1),
        st.integers(0, 6),
        st.sampled_from([1, 1, 1, 1, 2, 3]),
    ),
    max_size=120,
)


@given(ask=asks, other=asks, moves=steps)
@settings(max_examples=400, deadline=None)
def test_in_order_it_fires_exactly_when_the_naive_reference_does(
    ask: Ask, other: Ask, moves: list[tuple[float, int, int, int]]
) -> None:
    """For events in the order of their stamps: never earlier, never later, whatever else shares the
    history.
    """
    naive, exact, time = Naive(ask), Exact(ask, other), 0.0
    for step, kind, value, weight in moves:
        time += step
        if time <= exact.mark:
            time = exact.mark + 0.5  # what has the stamp of an offence's last event belongs to the offence
        said = naive.add(Made(time, kind, value, weight))
        assert exact.add(Made(time, kind, value, weight)) == said


@given(
    ask=asks,
    events=st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 1), st.integers(0, 6), st.sampled_from([1, 1, 2])),
        max_size=80,
    ),
)
@settings(max_examples=300, deadline=None)
def test_a_late_event_never_makes_it_fire_on_something_that_is_not_so(
    ask: Ask, events: list[tuple[int, int, int, int]]
) -> None:
    """In any order of arrival: when it fires, the events of some window really fulfil the question."""
    exact = Exact(ask)
    seen: list[Made] = []
    for time, kind, value, weight in events:
        event = Made(float(time), kind, value, weight)
        seen.append(event)
        before = exact.mark
        if exact.add(event):
            fresh = [old for old in seen if old.kind in ask.kinds and old.time > before]
            inside = [old for old in fresh if exact.mark - ask.within <= old.time <= exact.mark]
            assert event in inside
            assert sum(old.weight for old in inside) >= ask.count
            assert len({old.value for old in inside if old.value}) >= ask.distinct


@given(
    count=st.integers(2, 6),
    within=st.sampled_from([3.0, 10.0]),
    times=st.lists(st.integers(0, 60), min_size=1, max_size=60),
    late=st.integers(0, 120),
)
@settings(max_examples=400, deadline=None)
def test_an_event_overtaken_by_fewer_than_n_newer_ones_is_counted_completely(
    count: int, within: float, times: list[int], late: int
) -> None:
    """A late event completes every window that it would have completed in time."""
    ask = Ask(b"\0", within, count)
    exact, naive = Exact(ask), Naive(ask)
    ordered = sorted(float(time) for time in times)
    for time in ordered:
        if time > exact.mark:
            assert exact.add(Made(time, 0, 0, 1)) == naive.add(Made(time, 0, 0, 1))
    moment = late / 2
    newer = sum(1 for time in ordered if time > moment)
    if newer < count and moment > exact.mark:
        assert exact.add(Made(moment, 0, 0, 1)) == naive.add(Made(moment, 0, 0, 1))


@given(times=st.lists(st.integers(0, 3000), min_size=1, max_size=200), values=st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_a_history_is_in_order_and_bounded(times: list[int], values: int) -> None:
    """Whatever arrives, records stand in the order of their stamps and no more are kept than questions
    need.
    """
    ask, other = Ask(b"\0", 600.0, 5), Ask(b"\0", 3000.0, 0, 4)
    history = History(Table("t", 8), needs_of([ask, other]))
    clock = 0.0
    for index, time in enumerate(times):
        clock = max(clock, float(time))
        history.add(KEY, packed(Made(float(time), 0, 1 + index % values, 1)), float(time), clock)
    kept = View(history.table.get(KEY) or b"")
    assert kept.times == sorted(kept.times)
    assert kept.size <= (2 * 5 - 1) + (2 * 4 - 1) + 16


def test_a_record_is_32_bytes() -> None:
    """The packed form that the memory figure rests on."""
    assert SIZE == RECORD.size == 32


def test_windows_include_both_ends() -> None:
    """Five in ten minutes: the first and the fifth may be exactly ten minutes apart, and no more."""
    ask = Ask(b"\0", 600.0, 2)
    exact = Exact(ask)
    assert not exact.add(Made(0.0, 0, 0, 1))
    assert exact.add(Made(600.0, 0, 0, 1))
    exact = Exact(ask)
    assert not exact.add(Made(0.0, 0, 0, 1))
    assert not exact.add(Made(600.001, 0, 0, 1))


def test_a_weight_counts_as_that_many() -> None:
    """One line that stands for five attempts is five attempts."""
    exact = Exact(Ask(b"\0", 600.0, 5))
    assert exact.add(Made(0.0, 0, 0, 5))


def test_the_offence_consumes_its_evidence() -> None:
    """After five, it takes five more."""
    exact = Exact(Ask(b"\0", 600.0, 5))
    fired = [exact.add(Made(float(second), 0, 0, 1)) for second in range(20)]
    assert [index for index, said in enumerate(fired) if said] == [4, 9, 14, 19]


def test_untrusted_records_do_not_count_for_a_ban() -> None:
    """What others could have written counts only where the question allows it."""
    ask = Ask(b"\0", 600.0, 2)
    history = History(Table("t", 8), needs_of([ask]))
    history.add(KEY, packed(Made(0.0, 0, 0, 1), UNTRUSTED), 0.0, 0.0)
    buffer, place = history.add(KEY, packed(Made(1.0, 0, 0, 1)), 1.0, 1.0)
    assert find(View(buffer), place, ask, -1.0, False) is None
    assert find(View(buffer), place, ask, -1.0, True) is not None


def test_forgetting_takes_one_value_of_one_kind() -> None:
    """A user who succeeds is forgiven his own failures, nobody else's."""
    ask = Ask(b"\0\1", 600.0, 2)
    history = History(Table("t", 8), needs_of([ask]))
    for time, kind, value in ((0.0, 0, 5), (1.0, 0, 6), (2.0, 1, 5), (3.0, 0, 5)):
        history.add(KEY, packed(Made(time, kind, value, 1)), time, time)
    assert history.forget(KEY, 0, 5) == 2
    left = View(history.table.get(KEY) or b"")
    assert list(zip(left.times, left.values, strict=True)) == [(1.0, 6), (2.0, 5)]
    assert history.forget(KEY, 0, 6) == 1
    assert history.forget(KEY, 1, 5) == 1
    assert history.table.get(KEY) is None


def test_find_before_looks_at_the_window_that_ends_now() -> None:
    """A sequence counts what lies within the window before its end, and nothing after it."""
    ask = Ask(b"\0", 10.0, 2)
    history = History(Table("t", 8), needs_of([ask]))
    for time in (0.0, 5.0, 9.0):
        buffer, _ = history.add(KEY, packed(Made(time, 0, 0, 1)), time, time)
    view = View(buffer)
    assert find_before(view, 5.0, ask, -1.0, True) is not None
    assert find_before(view, 4.0, ask, -1.0, True) is None
    assert find_before(view, 16.0, ask, -1.0, True) is None
    assert find_before(view, 9.0, ask, 5.0, True) is None


@pytest.mark.parametrize("visits", [1, 3])
def test_sweeping_drops_what_no_window_can_want(visits: int) -> None:
    """A key leaves when its newest record is older than the widest window and the allowance for late
    events.
    """
    ask = Ask(b"\0", 600.0, 2)
    history = History(Table("t", 8), needs_of([ask]))
    history.add(1, packed(Made(0.0, 0, 0, 1)), 0.0, 0.0)
    history.add(2, packed(Made(500.0, 0, 0, 1)), 500.0, 500.0)
    for _ in range(visits):
        history.sweep(600.0 + LATENESS + 1.0)
    assert 1 not in history.table
    assert 2 in history.table


@given(
    ask=asks,
    moves=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 700.0, 5000.0, -6000.0, -100.0]), st.booleans()), max_size=60
    ),
)
@settings(max_examples=200, deadline=None)
def test_when_sweeping_happens_changes_nothing(ask: Ask, moves: list[tuple[float, bool]]) -> None:
    """Housekeeping at any moments, late events included: the same firings."""
    swept, unswept = Exact(ask), Exact(ask)
    time = 0.0
    for number, (step, sweep) in enumerate(moves):
        time += step
        event = Made(max(0.0, time), 0, number % 5, 1)
        assert swept.add(event) == unswept.add(event)
        if sweep:
            swept.history.sweep(swept.clock)
