"""Many settings over one set of events: each as if it alone were replayed."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core import native
from mailguard.core.detectors import Detector
from mailguard.core.engine import Engine, Setup
from mailguard.core.rehearsal import Rehearsal, loosest
from mailguard.definitions.settings import load_settings
from mailguard.model import CONTEXT, HOSTILE, Event
from mailguard.notation import V6

COMPILED = native.load("engine") is not None
SHIPPED = load_settings().setup()
PROVED = frozenset({"user", "recipient", "sender", "stage"})


def story(seed: int, count: int, sources: int, users: int, step: float) -> list[Event]:
    """Crowds and loners: most sources and names come seldom, a few all the time; some lines are late."""
    random = Random(seed)
    time, made = 1.8e9, []
    kinds = (
        *HOSTILE,
        *CONTEXT,
        *12 * ("mail_bounced",),
        *8 * ("auth_failure",),
        *4 * ("unknown_recipient", "connect", "auth_success", "mail_accepted"),
    )
    for number in range(count):
        time += step * random.random()
        kind = random.choice(kinds)
        chosen = int(sources * random.random() ** 3)
        source = 0xC6336400 + 37 * chosen if chosen % 5 else V6 + (0x20010DB8 << 96) + (chosen << 70)
        user = f"u{int(users * random.random() ** 2)}" + random.choice(("", "@example.net"))
        fields = {
            "auth": {"user": user},
            "mail": {"sender": random.choice(("a@example.org", "")), "recipient": f"r{random.randrange(50)}"},
        }["auth" if kind in ("auth_failure", "auth_success", "locked_out") else "mail"]
        late = 90_000.0 * random.random() if random.random() < 0.03 else 0.0
        weight = random.choice((*20 * (1,), 0, 3))
        made.append(
            Event(
                kind,
                time - late,
                source,
                "p/r",
                weight,
                fields,
                f"log{number % 2}",
                number,
                random.choice(("auth", "mail")),
                random.random() > 0.03,
                PROVED,
            )
        )
    return made


def varied(seed: int, found: Detector) -> Detector:
    random = Random(f"{seed} {found.name}")
    if random.random() < 0.5:
        return found
    return replace(
        found,
        count=max(1, found.count + random.randrange(-3, 4)) if found.count else 0,
        values=max(2, found.values + random.randrange(-2, 3)) if found.values else 0,
        within=found.within * random.choice((0.2, 1.0, 3.0)),
    )


def policy(seed: int, **more: int) -> Setup:
    return replace(SHIPPED, detectors=tuple(varied(seed, found) for found in SHIPPED.detectors), **more)


stories = st.builds(
    story,
    st.integers(0, 2**32),
    st.sampled_from((200, 1500)),
    st.sampled_from((30, 1000, 20_000)),
    st.sampled_from((5, 3000)),
    st.sampled_from((20.0, 3000.0, 100_000.0)),
)
policies = st.builds(
    policy,
    st.integers(0, 2**32),
    max_keys=st.sampled_from((1_000_000, 1_000_000, 400)),
    max_standing=st.sampled_from((200_000, 200_000, 40)),
)


@given(stories, st.lists(policies, min_size=1, max_size=3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_each_setting_is_as_if_it_were_replayed_alone(
    events: list[Event], setups: list[Setup], enforcing: bool
) -> None:
    """Effects with their evidence, the bans at the end and what met them are those of a replay."""
    for use in (True, False) if COMPILED else (False,):
        rehearsal = Rehearsal(events, setups, use)
        assert 0 <= rehearsal.kept <= len(events)
        for setup in (*setups, setups[0]):  # a run leaves no trace
            expected = Engine(setup, False)
            expected.policy.enforcing = enforcing
            effects, engine = rehearsal.run(setup, enforcing=enforcing)
            assert effects == expected.feed_many(events)
            assert engine.counts["under_ban"] == expected.counts["under_ban"]
            assert [(held.ban, held.hits, held.last_hit) for held in engine.bans] == [
                (held.ban, held.hits, held.last_hit) for held in expected.bans
            ]


@pytest.mark.compiled
@pytest.mark.skipif(not COMPILED, reason="nothing is left out where the engine is not compiled")
def test_what_cannot_matter_is_left_out() -> None:
    """Sources that come once, and the mail of partners nobody suspects, are not looked at again and again."""
    events = [
        Event("connect", 1.8e9 + 60.0 * n, 0xC6000000 + 256 * n, "p/r", 1, {}, "log", n, proved=PROVED)
        for n in range(2000)
    ]
    attack = [
        Event("auth_failure", 1.8e9 + n, 0xCB007107, "p/r", 1, {"user": "x"}, "log", n, "auth", proved=PROVED)
        for n in range(20)
    ]
    rehearsal = Rehearsal([*attack, *events], [SHIPPED])
    assert rehearsal.kept == len(attack)
    effects, engine = rehearsal.run(SHIPPED, brief=True)
    assert [type(effect).__name__ for effect in effects] == ["Impose"]
    assert all(effect.ban.offence.evidence == () for effect in effects)  # type: ignore[union-attr]
    assert engine.clock == events[-1].time


def test_settings_it_was_not_made_for_are_refused() -> None:
    """A detector that was not announced may fire on what was left out."""
    rehearsal = Rehearsal([], [SHIPPED])
    other = replace(SHIPPED, detectors=(replace(SHIPPED.detectors[0], count=1),))
    with pytest.raises(ValueError, match="not made for"):
        rehearsal.run(other)
    with pytest.raises(ValueError, match="same secret"):
        Rehearsal([], [SHIPPED, replace(SHIPPED, secret=b"another")])
    with pytest.raises(ValueError, match="same secret"):
        Rehearsal([], [])


def test_the_loosest_asks_for_the_least() -> None:
    """One for each way of counting, with the lowest count and the widest window; nobody is excused."""
    one = Detector("a", "", ("auth_failure",), "source", 60.0, count=5, who="stranger")
    two = replace(one, name="b", within=600.0, count=9, unless=(("user", ""),))
    (found,) = loosest([one, two])
    assert (found.count, found.within, found.who, found.unless) == (5, 600.0, "any", ())
