"""The compiled sessions are the Python ones, only faster: same events, same rows, same forgetting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core import judge, native
from mailguard.core.packed import Batch
from mailguard.core.rules import IGNORE, Parser, SessionKind, SessionUse
from mailguard.core.scanner import Draft
from mailguard.core.sessions import Sessions
from mailguard.model import Event
from tests.rows import batch_of

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(native.load("sessions") is None, reason="the sessions are not compiled here"),
]

KINDS = ("auth_failure", "connect", "disconnect", "mail_accepted", "session_aborted", IGNORE)
uses = st.builds(
    SessionUse,
    st.sampled_from(("one", "two")),
    st.sampled_from(("open", "use", "use", "close")),
    carry=st.sampled_from(((), (), ("user",), ("user", "sender"))),
    tally=st.sampled_from(("", "", "auth", "seen")),
    less=st.sampled_from(("", "", "auth", "seen")),
    otherwise=st.sampled_from(("", "", "disconnect")),
    once=st.sampled_from((False, False, True)),
    must=st.sampled_from((False, False, True)),
)
rules = st.lists(st.lists(uses, min_size=1, max_size=3).map(tuple), min_size=1, max_size=5)
moves = st.lists(
    st.tuples(
        st.integers(0, 4),  # which rule
        st.sampled_from((0.0, 0.5, 30.0, 200.0, -5.0)),  # later by
        st.sampled_from(KINDS),
        st.sampled_from((None, None, 0xC0000207, 0xC6336401)),
        st.sampled_from((1, 1, 2, 0, 5)),
        st.dictionaries(
            st.sampled_from(("user", "sender", "helo")), st.sampled_from(("a", "", "é")), max_size=3
        ),
        st.tuples(*3 * [st.sampled_from((b"", b"1", b"2", b"3", b"4", b"5"))]),
    ),
    max_size=80,
)


def made(chosen: list[tuple[SessionUse, ...]], cap: int, compiled: bool, track: bool = True) -> Sessions:
    rules: list[Any] = [SimpleNamespace(full_name=f"p/{n}", sessions=found) for n, found in enumerate(chosen)]
    kinds = SessionKind("one", ("pid",), 100.0, cap), SessionKind("two", ("pid",), 300.0, 3)
    parser = Parser("p", "", tuple(rules), sessions=kinds)
    sessions = Sessions([parser], compiled, track=track)
    assert sessions.compiled == compiled
    return sessions


@given(rules, moves, st.integers(2, 8), st.lists(st.integers(0, 80), max_size=3))
@settings(max_examples=300, deadline=None)
def test_same_events_and_same_rows(
    chosen: list[tuple[SessionUse, ...]], story: list[Any], cap: int, marks: list[int]
) -> None:
    """Draft by draft the same event or none; at every checkpoint the same rows, from which either goes on."""
    pair = [made(chosen, cap, compiled) for compiled in (True, False)]
    time = 1.8e9
    for number, (rule, later, kind, source, weight, fields, keys) in enumerate(story):
        time += later
        if number in marks:
            full = marks.index(number) == 0
            one, other = (sorted(sessions.snapshot(full), key=repr) for sessions in pair)
            assert one == other
            if full:
                pair = [made(chosen, cap, compiled) for compiled in (True, False)]
                for sessions in pair:
                    sessions.restore([(key, value) for key, value in one if value is not None])
        rule %= len(chosen)
        event = Event(
            kind,
            time,
            source,
            f"p/{rule}",
            weight,
            fields,
            "log",
            number,
            proved=frozenset(fields),
            line=b"raw",
        )
        draft = Draft(event, keys[: len(chosen[rule])])
        one_event, other_event = (sessions.join([draft, event]) for sessions in pair)
        assert one_event == other_event
        assert [type(found) for found in one_event] == [type(found) for found in other_event]
    assert len(pair[0]) == len(pair[1])
    assert (pair[0].lost, pair[0].evicted) == (pair[1].lost, pair[1].evicted)
    assert sorted(pair[0].snapshot(True)) == sorted(pair[1].snapshot(True))


def test_what_is_no_draft_is_refused() -> None:
    """A wrong type or a wrong number of keys is an error, never a crash."""
    sessions = made([(SessionUse("one", "open"),)], 4, True)
    event = Event("connect", 1.0, 1, "p/0", 1, {}, "log", 0)
    for wrong in (None, 3, ("a", "b"), (event, ("text",)), (event, ()), (event, (b"1", b"2")), ((), (b"1",))):
        with pytest.raises((TypeError, ValueError)):
            sessions.join([wrong])  # type: ignore[list-item]
    with pytest.raises(KeyError):
        sessions.join([Draft(event._replace(rule="p/unknown"), (b"1",))])


@given(rules, moves, st.integers(2, 8), st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_nobody_tracks_is_the_same(
    chosen: list[tuple[SessionUse, ...]], story: list[Any], cap: int, compiled: bool
) -> None:
    """Without checkpoints: the same events, the same open sessions, and nothing is gathered."""
    tracked, untracked = made(chosen, cap, compiled), made(chosen, cap, compiled, track=False)
    time = 1.8e9
    for number, (rule, later, kind, source, weight, fields, keys) in enumerate(story):
        time += later
        rule %= len(chosen)
        event = Event(kind, time, source, f"p/{rule}", weight, fields, "log", number)
        drafts = [Draft(event, keys[: len(chosen[rule])])]
        assert tracked.join(drafts) == untracked.join(drafts)
        assert untracked.concerns(drafts, frozenset({f"p/{rule}"}))
        assert not untracked.concerns(drafts, frozenset({"p/9"}))
    assert list(untracked.snapshot()) == []
    assert list(untracked.snapshot(True)) == list(tracked.snapshot(True))
    assert all(store.changed is None for store in untracked._stores.values())


@given(rules, moves, st.integers(2, 8), st.booleans())
@settings(max_examples=200, deadline=None)
def test_rows_are_joined_as_objects_are(
    chosen: list[tuple[SessionUse, ...]], story: list[Any], cap: int, track: bool
) -> None:
    """Rows of a scan, objects among them, in pieces: the same events, the same open sessions."""
    compiled, plain = made(chosen, cap, True, track), made(chosen, cap, False, track)
    time, drafts = 1.8e9, list[Any]()
    for number, (rule, later, kind, source, weight, fields, keys) in enumerate(story):
        time += later
        rule %= len(chosen)
        name = f"p/{rule}" if number % 9 else "p/unused"
        event = Event(kind, time, source, name, weight, fields, "log", number, proved=frozenset(fields))
        drafts.append(event if name == "p/unused" else Draft(event, keys[: len(chosen[rule])]))
    batch, half = batch_of(drafts), len(drafts) // 2
    told = compiled.gather([(batch, 0, half), (drafts[half : half + 3], 1, 3), (batch, half, len(batch))])
    expected = plain.join(drafts[:half] + drafts[half + 1 : half + 3] + drafts[half:])
    assert list(told) == expected
    assert [list(event.fields) for event in told] == [list(event.fields) for event in expected]
    assert len(told) == len(expected)
    assert bool(told) == bool(expected)
    assert [told[at] for at in range(len(told))] == told[:] == expected
    assert (compiled.lost, compiled.evicted) == (plain.lost, plain.evicted)
    assert sorted(compiled.snapshot(True)) == sorted(plain.snapshot(True))


def test_rows_that_are_none_are_refused() -> None:
    """Texts that end early, rows that are not there: an error, never a crash."""
    sessions = made([(SessionUse("one", "open"),)], 4, True)
    event = Event("connect", 1.0, 1, "p/0", 1, {"user": "a"}, "log", 0)
    batch = batch_of([Draft(event, (b"1",))])
    for end in range(len(batch.texts)):
        cut = Batch(batch.table, batch.log, batch.rows, batch.texts[:end], [])
        with pytest.raises(ValueError, match="without its text"):
            sessions.gather([(cut, 0, 1)])
    for begin, stop in ((0, 2), (-1, 1), (1, 0)):
        with pytest.raises(IndexError):
            sessions.gather([(batch, begin, stop)])


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(-1e9, 1e10), st.sampled_from(["auth_failure", "connect"])),
        min_size=1,
    )
)
def test_what_the_judge_asks_of_a_batch(found: list[tuple[bool, float, str]]) -> None:
    """Its latest stamp and its hostile events, as in Python."""
    made = [Event(kind, time, None, "p/r", 1, {}, "log", 0) for _, time, kind in found]
    items = [event if alone else Draft(event, ()) for (alone, _, _), event in zip(found, made, strict=True)]
    module = native.load("sessions")
    assert module.newest(items) == judge.newest(items)
    assert module.hostile_of(made) == judge.hostile_of(made)
    with pytest.raises(ValueError, match="no stamp"):
        module.newest([])
