"""The compiled engine is the Python one, only faster: same effects, same rows, same forgetting."""

from __future__ import annotations

import dataclasses
from random import Random
from struct import Struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core import native, state
from mailguard.core.engine import Engine, Setup
from mailguard.core.names import Hasher
from mailguard.core.networks import source_key
from mailguard.definitions.settings import load_settings
from mailguard.model import CONTEXT, HOSTILE, Effect, Event
from mailguard.notation import V6
from tests.rows import told_of

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(native.load("engine") is None, reason="the engine is not compiled here"),
]

SHIPPED = load_settings().setup(track=True)
USERS = ("sato", "Sato@example.net", "mori", "mori@example.net", "x" * 140, "名前", "", "a@b@c", "@", "é@x")
KINDS = (*HOSTILE, *CONTEXT) + 8 * ("auth_failure",) + 5 * ("unknown_recipient", "connect", "mail_accepted")
LOGINS = ("auth_success",) * 4


def sources(count: int) -> list[int]:
    """Documentation addresses: half IPv4, some /24 apart; the rest IPv6, several /64s of a /48."""
    v4 = [0xC0000200 + n * 3 % 256 if n % 3 else 0xC6336400 + n % 256 for n in range(count // 2)]
    base = V6 + (0x20010DB8 << 96)
    return v4 + [base + (n % 7 << 80) + (n << 64) + n for n in range(count - count // 2)]


def story(seed: int, count: int, pool: list[int], step: float) -> list[Event]:
    """Events of all sorts: in order, at once, late, far apart; of strangers and of people who log in."""
    random = Random(seed)
    time, made = 1_800_000_000.0, []
    for number in range(count):
        time += random.choice((0.0, 0.0, step / 10, step, 5 * step)) * random.random()
        if random.random() < 0.003:
            time += 3 * 86400.0 * random.random()
        late = (
            random.choice((1.0, 100.0, 5000.0, 90000.0)) * random.random() if random.random() < 0.06 else 0.0
        )
        kind = random.choice(KINDS + LOGINS)
        source = random.choice(pool) if random.random() < 0.7 else random.choice(pool[:4])
        fields = {}
        if kind in ("auth_failure", "auth_success", "locked_out"):
            fields["user"] = random.choice((*USERS, f"u{random.randrange(9)}"))
        if kind in ("unknown_recipient", "relay_denied", "address_probe", "mail_accepted", "mail_bounced"):
            fields["recipient"] = random.choice((f"r{random.randrange(30)}@example.com", "x", ""))
            fields["sender"] = random.choice(("", "a@example.org", "é"))
        if kind in ("session_aborted", "tls_failure"):
            fields["stage"] = random.choice(("CONNECT", "RCPT"))
        known = frozenset(
            random.sample(("user", "recipient", "sender", "stage"), random.choice((4, 4, 4, 2)))
        )
        made.append(
            Event(
                kind,
                time - late,
                None if kind in CONTEXT and random.random() < 0.2 else source,
                f"parser{random.randrange(3)}/rule{random.randrange(4)}",
                random.choice(20 * (1,) + (0, -1, 2, 3, 70_000)),
                fields,
                f"log{random.randrange(2)}",
                100 * number,
                random.choice(("auth", "mail", "mail", "all")),
                random.random() > 0.04,
                known,
            )
        )
    return made


def rows(engine: Engine, full: bool = False) -> list[tuple[str, bytes, bytes | None]]:
    return sorted(state.save(engine, full), key=repr)


def told(engine: Engine) -> object:
    """What an engine says about itself."""
    tables = [(table.name, len(table), table.evicted, table.evicted_strong) for table in engine.tables()]
    late = [lane.history.late for lane in engine.lanes]
    quota = engine._quota
    used = None if quota is None else (quota._in48, quota._in32)
    return engine.counts, engine.keys(), engine.folded, engine.clock, tables, late, used


stories = st.builds(
    story,
    st.integers(0, 2**32),
    st.sampled_from((20, 300, 900)),
    st.sampled_from((4, 16, 60, 400)).map(sources),
    st.sampled_from((0.5, 20.0, 300.0, 20_000.0)),
)
setups = st.builds(
    dataclasses.replace,
    st.just(SHIPPED),
    max_keys=st.sampled_from((1_000_000, 2000, 200)),
    max_standing=st.sampled_from((200_000, 40)),
    secret=st.sampled_from((b"", b"mailguard", b"k" * 64)),
)


@given(stories, setups, st.booleans(), st.lists(st.integers(0, 900), max_size=4))
@settings(max_examples=60, deadline=None)
def test_same_effects_and_same_rows(
    events: list[Event], setup: Setup, enforcing: bool, marks: list[int]
) -> None:
    """Event by event the same effects, at every checkpoint the same rows, at the end the same counters; the
    one goes on from the other's checkpoint."""
    pair = [Engine(setup, True), Engine(setup, False)]
    assert [engine.compiled for engine in pair] == [True, False]
    saved: dict[tuple[str, bytes], bytes | None] = {}
    for engine in pair:
        engine.policy.enforcing = enforcing
    for number, event in enumerate(events):
        if number in marks:
            one, other = (rows(engine, marks.index(number) == 1) for engine in pair)
            assert one == other
            if marks.index(number) == 1:
                saved.clear()
            saved |= {row[:2]: row[2] for row in one}
            if marks.index(number) >= 2 and len(marks) > 2:
                kept = [(name, key, value) for (name, key), value in saved.items() if value is not None]
                pair = [Engine(setup, False), Engine(setup, True)]
                for engine in pair:
                    state.restore(engine, kept)
                    engine.policy.enforcing = enforcing
        one_effects, other_effects = (engine.feed(event) for engine in pair)
        assert one_effects == other_effects
    assert told(pair[0]) == told(pair[1])
    assert rows(pair[0], True) == rows(pair[1], True)


def test_one_network_of_ever_new_sources() -> None:
    """Beyond the quota of its /48, then of its /32, they share keys, and the counts stay the same."""
    setup = dataclasses.replace(SHIPPED, max_keys=2000)
    pair = [Engine(setup, True), Engine(setup, False)]
    known = frozenset({"user", "sender"})
    for number in range(1500):
        source = V6 + (0x20010DB8 << 96) + (number % 97 << 80) + (number << 64)
        fields = {"user": f"u{number % 7}", "sender": f"s{number % 5}@example.org"}
        event = Event(
            "auth_failure",
            1000.0 + number,
            source,
            "parser/rule",
            1,
            fields,
            "log",
            number,
            "auth",
            True,
            known,
        )
        one, other = (engine.feed(event) for engine in pair)
        assert one == other
    assert pair[0].folded
    assert told(pair[0]) == told(pair[1])
    assert rows(pair[0], True) == rows(pair[1], True)


@given(stories, st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_standing_from_before_the_counts(events: list[Event], seed: int) -> None:
    """Rows without counts, full counts, all numbers of pairs: they go on in the same way."""
    random = Random(seed)
    pair = [Engine(SHIPPED, True), Engine(SHIPPED, False)]
    for key in sorted({source_key(event.source) for event in events if event.source is not None}):
        flags = random.choice((0, 0, 1, 2, 6, 10, 14))
        most = random.choice((0, 7, 2**32 - 2, 2**32 - 1))
        counts = Struct("=II").pack(most, 2**32 - 1 - most) if flags & 2 else b""
        begin = 1_800_000_000.0 - random.choice((0.0, 500.0, 90_000.0))
        days = random.choice(((1, 0), (0, 1), (2, 2), (65_535, 65_535)))
        value = Struct("=ddddHHB").pack(begin, begin, begin, begin, *days, flags)
        value += counts + random.randbytes(4 * random.randrange(9))
        for engine in pair:
            engine.book.sources.put(key, value, max(days) > 1)
    for number, event in enumerate(events):
        one, other = (engine.feed(event) for engine in pair)
        assert one == other
        if number % 97 == 0:
            assert rows(pair[0]) == rows(pair[1])
    for engine in pair:
        engine.book.settle_counts()
    assert rows(pair[0]) == rows(pair[1])
    assert rows(pair[0], True) == rows(pair[1], True)


@given(stories, setups)
@settings(max_examples=20, deadline=None)
def test_many_at_once_are_one_after_the_other(events: list[Event], setup: Setup) -> None:
    """`feed_many` is `feed` again and again, for both."""
    expected: list[Effect] = []
    single = Engine(setup, True)
    for event in events:
        expected += single.feed(event)
    for use in (True, False):
        assert Engine(setup, use).feed_many(iter(events)) == expected


@given(st.text(max_size=300) | st.text("aB@0", max_size=300), st.binary(max_size=64))
@settings(max_examples=300, deadline=None)
def test_names_have_the_same_hash(text: str, secret: bytes) -> None:
    """What a login name is kept as does not depend on who kept it."""
    detector = next(found for found in SHIPPED.detectors if found.key == "user" and not found.then)
    setup = Setup([detector], secret=secret, track=True)
    event = Event(
        "auth_failure",
        1.8e9,
        0xC0000207,
        "p/r",
        1,
        {"user": text},
        "l",
        0,
        "auth",
        proved=frozenset({"user"}),
    )
    made = [Engine(setup, use) for use in (True, False)]
    for engine in made:
        engine.feed(event)
    one, other = ([key for key, _ in engine.lanes[0].history.table.items()] for engine in made)
    assert one == other == ([Hasher(secret)[text]] if text else [])


def test_what_is_no_event_is_refused() -> None:
    """A wrong type is an error, never a crash; what came before it counts."""
    engine = Engine(SHIPPED, True)
    good = story(1, 1, sources(4), 1.0)[0]
    for wrong in (None, (), tuple(good)[:5], (*tuple(good)[:5], None, *tuple(good)[6:])):
        with pytest.raises(TypeError):
            engine.feed_many([good, wrong])  # type: ignore[list-item]
    with pytest.raises((TypeError, OverflowError)):
        engine.feed(good._replace(position=1 << 80, kind="auth_failure", source=1))
    with pytest.raises(TypeError):
        engine.feed(good._replace(source="192.0.2.1"))  # type: ignore[arg-type]
    assert engine.counts["events"] >= 4


@pytest.mark.parametrize("address", [0, 1, 0xFFFFFFFF, V6, V6 + 1, V6 + (1 << 64), (1 << 129) - 1])
def test_the_ends_of_the_addresses(address: int) -> None:
    """The first and the last address of either family."""
    events = [
        event._replace(source=address if event.source is not None else None)
        for event in story(5, 300, sources(4), 20.0)
    ]
    one, other = (Engine(SHIPPED, use) for use in (True, False))
    for event in events:
        assert one.feed(event) == other.feed(event)
    assert rows(one, True) == rows(other, True)


@given(stories, setups, st.booleans(), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_rows_are_judged_as_events_are(events: list[Event], setup: Setup, enforcing: bool, size: int) -> None:
    """Batches of rows, other batches as objects: the same effects, the same rows of a checkpoint."""
    engines = [Engine(setup, compiled) for compiled in (True, False)]
    for engine in engines:
        engine.policy.enforcing = enforcing
    for start in range(0, len(events), size):
        part = events[start : start + size]
        one = engines[0].feed_many(told_of(part) if start // size % 4 != 3 else part)
        assert one == engines[1].feed_many(part)
        assert rows(engines[0]) == rows(engines[1])
    assert told(engines[0]) == told(engines[1])
    assert rows(engines[0], True) == rows(engines[1], True)


def test_a_batch_of_rows_may_be_empty() -> None:
    """Nothing happened: nothing follows."""
    assert Engine(SHIPPED, True).feed_many(told_of([])) == []
