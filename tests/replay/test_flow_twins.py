"""What a replay does with batches besides judging them: the compiled way and the Python way are equal."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from mailguard.core import native
from mailguard.core.items import Draft
from mailguard.model import Ban, Event, Evidence, Impose, Lift, Network, Offence
from mailguard.notation import V6, parse_address
from mailguard.replay import known, merging, timeline
from mailguard.replay.known import inside
from mailguard.replay.summary import Summary
from mailguard.replay.timeline import BanRecord, Timeline
from tests.rows import told_of

flow = native.load("flow")
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(flow is None, reason="the compiled core was not built"),
]

KINDS = ("auth_failure", "unknown_recipient", "locked_out", "mail_accepted", "auth_success", "connect", "x")
HOSTS = [parse_address("192.0.2.0") or 0, parse_address("198.51.100.0") or 0]
LOCAL = parse_address("2001:db8::") or 0


@pytest.fixture(params=[True, False], ids=["compiled", "python"])
def both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Once with the compiled functions, once without."""
    if not request.param:
        monkeypatch.setitem(native.INTERFACE, "flow", 0)
    return bool(request.param)


def source_of(chance: random.Random) -> int | None:
    draw = chance.random()
    if draw < 0.05:
        return None
    if draw < 0.25:
        return LOCAL + (chance.randrange(3) << 80) + (chance.randrange(3) << 64) + chance.randrange(9)
    return chance.choice(HOSTS) + chance.randrange(20)


def event_of(chance: random.Random, time: float, position: int) -> Event:
    fields = {
        name: f"{name[0]}{chance.randrange(3)}@example.org"
        for name in ("user", "sender", "recipient")
        if chance.random() < 0.8
    }
    return Event(
        chance.choice(KINDS), time, source_of(chance), "p/rule", 1, fields, chance.choice("ab"), position,
        chance.choice(("auth", "mail", "all")),
    )  # fmt: skip


def impose(chance: random.Random, event: Event) -> Impose | Lift | None:
    """A ban, or the end of one, that the event might have led to."""
    source = event.source
    if source is None:
        return None
    prefix = chance.choice((64, 48, 44)) if source >= V6 else chance.choice((32, 32, 32, 24, 20))
    shift = (128 if source >= V6 else 32) - prefix
    base = V6 if source >= V6 else 0
    network = Network((source - base >> shift << shift) + base, prefix)
    scope = chance.choice(("auth", "mail", "all"))
    if chance.random() < 0.2:
        return Lift(network, event.time, "asked", scope)
    evidence = (Evidence(event.time, event.rule, event.log, event.position, 1),)
    offence = Offence(
        "guessing", "key", event.time, event.time, 1, (event.kind,), evidence, scope, True, (), 0, ""
    )
    return Impose(
        Ban(network, event.time, event.time + chance.randrange(500), 1, offence, scope=scope), event.time
    )


def shown(kept: Timeline) -> Any:
    return (
        [entry if not isinstance(entry, BanRecord) else repr(entry) for entry in kept.entries],
        dict(kept.stopped), kept.caught, kept.forgotten, kept._young, kept._old,
        kept.known.young, kept.known.old,
        kept.known.forgotten, kept.known._pairs, kept.known._users, repr(kept.scores),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("small", [False, True])
def test_timelines_are_equal(seed: int, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bans of sources and networks, both families, lifts, generations that fill."""
    if small:
        monkeypatch.setattr(timeline, "CAP", 20)
        monkeypatch.setattr(known, "CAP", 12)
        monkeypatch.setattr(timeline, "MOST", 2)
        monkeypatch.setattr(known, "MOST", 2)
        monkeypatch.setattr(timeline, "PAIRS_KEPT", 7)
        monkeypatch.setattr(known, "PAIRS_KEPT", 7)
    chance = random.Random(seed)
    compiled, plain = Timeline(True), Timeline(False)
    heard: list[list[tuple[str, float]]] = [[], []]
    if seed % 2:
        compiled.tell_stopped = lambda *what: heard[0].append(what)
        plain.tell_stopped = lambda *what: heard[1].append(what)
    time, position = 1000.0, 0
    for _ in range(30):
        events, effects = [], []
        for _ in range(chance.randrange(60)):
            time += chance.choice((0.0, 0.5, 7.0))
            position += 1
            event = event_of(chance, time - chance.choice((0.0, 0.0, 30.0)), position)
            events.append(event)
            effect = impose(chance, event) if chance.random() < 0.05 else None
            if effect is not None:
                effects.append(effect)
        compiled.take(told_of(events) if events and seed % 3 else events, effects)
        plain.take(events, effects)
        assert shown(compiled) == shown(plain)
    assert heard[0] == heard[1]
    assert compiled.uncaught(5) == plain.uncaught(5)
    assert plain.stopped
    assert plain.bans()


def test_stamps_and_figures(both: bool) -> None:
    chance = random.Random(5)
    drafts: list[Event | Draft] = []
    for position in range(200):
        event = event_of(chance, float(chance.randrange(1000)), position)
        drafts.append(Draft(event, (b"k",)) if position % 3 else event)
    times = merging.times_of(drafts)
    assert times == [(one if isinstance(one, Event) else one.event).time for one in drafts]
    stamps = merging.running(times, 100.0)
    assert stamps == [max(100.0, *times[: at + 1]) for at in range(len(times))]
    assert merging.running(sorted(times), -1.0) == sorted(times)
    assert merging.running(sorted(times), 500.0) == [max(500.0, time) for time in sorted(times)]
    assert merging.running([], 5.0) == []
    events = [one if isinstance(one, Event) else one.event for one in drafts]
    assert merging.newest(events) == max(times)
    summary = Summary(by_kind=Counter(connect=2))
    summary.take(events[:100])
    summary.take(events[100:])
    summary.take([])
    assert summary.by_kind == Counter(event.kind for event in events) + Counter(connect=2)
    assert (summary.events, summary.first, summary.last) == (200, min(times), max(times))


def test_many_kinds(both: bool) -> None:
    events = [
        Event(f"kind-{number % 100}", 1.0, None, "p/r", 1, {}, "l", number, "all") for number in range(500)
    ]
    summary = Summary()
    summary.take(events)
    assert summary.by_kind == Counter({f"kind-{number}": 5 for number in range(100)})


def test_sources_in_a_network(both: bool) -> None:
    records: dict[int, list[Any]] = {key: [key] for key in (HOSTS[0], HOSTS[0] + 255, HOSTS[0] + 256, LOCAL)}
    records[LOCAL + (1 << 64)] = [1]
    records[LOCAL + (1 << 80)] = [2]
    assert list(inside(records, Network(HOSTS[0], 24))) == [[HOSTS[0]], [HOSTS[0] + 255]]
    assert list(inside(records, Network(LOCAL, 48)))[1:] == [[1]]
    assert list(inside({}, Network(HOSTS[0], 24))) == []


@pytest.mark.parametrize("wrong", [(1, 2), "x", [1], (("a",), ())])
def test_what_is_no_event_is_an_error(wrong: Any) -> None:
    """No read outside of what was handed over."""
    assert flow is not None
    with pytest.raises(TypeError):
        flow.times_of([wrong])
    with pytest.raises(TypeError):
        flow.tally([wrong], {})
    with pytest.raises(TypeError):
        Timeline(True)._twin.take([wrong], 0, 1)


def test_rotated_logs_that_begin_at_once_come_in_their_age() -> None:
    """The oldest has the highest number, and the log itself none."""
    names = ["mail.log", "mail.log.10.gz", "mail.log.2.gz", "mail.log.1", "mail.err"]
    assert sorted(names, key=merging._age) == [
        "mail.err", "mail.log.10.gz", "mail.log.2.gz", "mail.log.1", "mail.log",
    ]  # fmt: skip


def test_figures_of_rows_are_those_of_events() -> None:
    """How many of which kind, the earliest and the newest stamp, and where an event stands."""
    chance = random.Random(7)
    for size in (1, 2, 300):
        events = [event_of(chance, chance.choice((5.0, 7.5)) + at // 3, at) for at in range(size)]
        told, whole = told_of(events), Summary()
        whole.take(told)
        expected = Summary()
        expected.take(events)
        assert whole == expected
        assert merging.newest(told) == merging.newest(events)
        times = {event.time for event in events[::2]}
        assert flow.places(told, times) == flow.places(events, times)
