"""The engine: what follows from events, in every mode, at every moment of a restart, in any flood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailguard.core import state
from mailguard.core.bans import LINGER
from mailguard.core.detectors import BanRule, Detector
from mailguard.core.engine import Engine, Setup
from mailguard.core.policy import Rules
from mailguard.core.requests import Requests
from mailguard.core.window import LATENESS
from mailguard.model import Alert, Ban, Effect, Event, Impose, Lift, Network
from mailguard.notation import format_effect
from tests.written import address, network

pytestmark = pytest.mark.usefixtures("both_cores")

T = 1_800_000_000.0
DAY = 86400.0
MINUTE = BanRule(600.0, 4.0, 7 * DAY)
PROVED = frozenset({"user", "recipient", "sender", "stage"})

GUESS = Detector("guess", "", ("auth_failure",), "source", 600.0, count=5, who="stranger", ban=MINUTE)
SLOW = Detector(
    "slow", "", ("auth_failure",), "source", 7 * DAY, count=8, who="stranger", ban=BanRule(DAY, 4.0, 30 * DAY)
)
HARVEST = Detector(
    "harvest",
    "",
    ("unknown_recipient",),
    "source",
    3600.0,
    distinct="recipient",
    values=4,
    unless=(("sender", ""),),
    ban=MINUTE,
)
ACCOUNT = Detector(
    "account",
    "",
    ("auth_failure",),
    "user",
    DAY,
    distinct="network",
    values=4,
    who="stranger",
    ban=BanRule(3600.0, 4.0, 7 * DAY),
    alert=True,
)
RANGE = Detector(
    "range",
    "",
    ("auth_failure",),
    "network",
    DAY,
    distinct="source",
    values=3,
    count=6,
    who="stranger",
    ban=BanRule(6 * 3600.0, 4.0, 14 * DAY),
)
STALE = Detector("stale", "", ("auth_failure",), "user+network", 3600.0, count=10, who="known", alert=True)
BROKEN = Detector(
    "broken", "", ("auth_failure",), "user", DAY, count=6, who="stranger", then="auth_success", alert=True
)
ALL = (GUESS, SLOW, HARVEST, ACCOUNT, RANGE, STALE, BROKEN)


def made(detectors: Sequence[Detector] = ALL, enforcing: bool = True, **more: Any) -> Engine:
    engine = Engine(Setup(detectors, **more))
    engine.policy.enforcing = enforcing
    return engine


def event(
    time: float, source: str | None, kind: str = "auth_failure", user: str = "sato", **more: Any
) -> Event:
    scope = more.pop("scope", "auth" if kind.startswith("auth") else "mail")
    fields = more.pop("fields", {"user": user} if kind.startswith("auth") else {})
    packed = None if source is None else address(source)
    return Event(
        kind,
        T + time,
        packed,
        "postfix/rule",
        more.pop("weight", 1),
        fields,
        more.pop("log", "mail.log"),
        int(time * 100),
        scope,
        proved=more.pop("proved", PROVED),
        **more,
    )


def run(engine: Engine, events: Sequence[Event]) -> list[str]:
    return [format_effect(effect) for item in events for effect in engine.feed(item)]


def failures(source: str, count: int, start: float = 0.0, step: float = 10.0, **more: Any) -> list[Event]:
    return [event(start + step * number, source, **more) for number in range(count)]


# ---------------------------------------------------------------- from events to bans


def test_five_failures_are_a_ban() -> None:
    """The fifth failure within ten minutes bans, with its evidence, the time of the deciding event, and an
    end.
    """
    engine = made([GUESS])
    effects: list[Effect] = []
    for item in failures("192.0.2.7", 5):
        assert not effects
        effects += engine.feed(item)
    (impose,) = effects
    assert isinstance(impose, Impose)
    ban = impose.ban
    assert ban.network == network("192.0.2.7")
    assert (ban.since, ban.until, ban.ordinal, ban.scope) == (T + 40, T + 640, 1, "auth")
    offence = ban.offence
    assert offence is not None
    assert (offence.detector, offence.key, offence.count) == ("guess", "192.0.2.7", 5)
    assert (offence.first, offence.last) == (T, T + 40)
    assert [piece.position for piece in offence.evidence] == [0, 1000, 2000, 3000, 4000]
    assert {piece.log for piece in offence.evidence} == {"mail.log"}
    assert offence.sources == (address("192.0.2.7"),)


def test_under_a_ban_nothing_fires_and_nothing_is_remembered_against_the_source() -> None:
    """What a ban would have prevented does not count: replay and life agree."""
    engine = made([GUESS])
    assert len(run(engine, failures("192.0.2.7", 5))) == 1
    assert run(engine, failures("192.0.2.7", 50, 41.0)) == []
    held = engine.bans.get(network("192.0.2.7"), "auth")
    assert held is not None
    assert held.hits == 50
    assert run(engine, failures("192.0.2.7", 4, 700.0)) == []
    assert run(engine, failures("192.0.2.7", 1, 740.0)) == [
        "ban 192.0.2.7 for 40m by guess: 5 auth_failure in 40s (2. time)"
    ]


def test_a_ban_covers_its_scope_only() -> None:
    """Who is kept from the auth ports can still harvest on port 25, and is banned for it."""
    engine = made([GUESS, HARVEST])
    run(engine, failures("192.0.2.7", 5))
    found = run(
        engine,
        [
            event(50 + n, "192.0.2.7", "unknown_recipient", fields={"recipient": f"{n}@example.com"})
            for n in range(4)
        ],
    )
    assert found == [
        "ban 192.0.2.7 for 40m by harvest: 4 unknown_recipient of 4 recipients in 3s (2. time)",
        "lift 192.0.2.7: replaced",
    ]


def test_an_ipv6_source_is_its_64() -> None:
    """Hopping within a /64 changes nothing; the /64 is banned."""
    engine = made([GUESS])
    found = run(engine, [event(n, f"2001:db8:1:2::{n + 1:x}") for n in range(5)])
    assert found == ["ban 2001:db8:1:2::/64 for 10m by guess: 5 auth_failure in 4s"]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(1, 0), (4, 0), (5, 1), (500, 1)],
)
def test_a_line_may_stand_for_several_attempts(weight: int, expected: int) -> None:
    """`auth=0/5` is five attempts."""
    assert len(run(made([GUESS]), [event(0, "192.0.2.7", weight=weight)])) == expected


def test_where_two_fire_at_once_the_longer_ban_counts() -> None:
    """Not the order of the settings decides, and one event makes one ban."""
    names = Detector(
        "names", "", ("auth_failure",), "source", 600.0, distinct="user", values=5, ban=BanRule(DAY, 1, DAY)
    )
    for detectors in ((GUESS, names), (names, GUESS)):
        found = run(made(detectors), [event(n, "192.0.2.7", user=f"user{n}") for n in range(5)])
        assert found == ["ban 192.0.2.7 for 1d by names: 5 auth_failure of 5 users in 4s"]


def test_the_slow_attacker_is_caught() -> None:
    """One try every seven hours from one address: banned at the eighth."""
    found = run(made(), failures("192.0.2.7", 8, 0.0, 7 * 3600.0))
    assert found == ["ban 192.0.2.7 for 1d by slow: 8 auth_failure in 2d1h"]


def test_repeat_offenders_stay_out_longer_and_are_forgiven_after_a_clean_month() -> None:
    """Ordinals count over detectors, the escalation table is a floor, thirty clean days wipe the slate."""
    rules = Rules(escalation=(60.0, 3600.0, 6 * 3600.0), forget=30 * DAY)
    engine = made([GUESS, HARVEST], rules=rules)
    start, lengths = 0.0, []
    for _ in range(4):
        for item in failures("192.0.2.7", 5, start):
            for effect in engine.feed(item):
                assert isinstance(effect, Impose)
                until = effect.ban.until
                assert until is not None
                lengths.append((effect.ban.ordinal, until - effect.ban.since))
                start = until - T + 1
    assert lengths == [(1, 600.0), (2, 3600.0), (3, 21600.0), (4, 600.0 * 64)]
    found = run(engine, failures("192.0.2.7", 5, start + 30 * DAY))
    assert found == ["ban 192.0.2.7 for 10m by guess: 5 auth_failure in 40s"]


# ---------------------------------------------------------------- kindness


def test_a_mistyping_user_who_succeeds_is_forgiven() -> None:
    """A success takes away that user's failures from there."""
    engine = made()
    story = [*failures("192.0.2.7", 4), event(50, "192.0.2.7", "auth_success"), *failures("192.0.2.7", 4, 60)]
    assert run(engine, story) == []


def test_a_success_forgives_nobody_else() -> None:
    """An attacker with one account of his own cannot wash away his guesses at others."""
    engine = made([GUESS])
    story: list[Event] = []
    for number in range(4):
        story.append(event(20 * number, "192.0.2.7", user=f"user{number}"))
        story.append(event(20 * number + 10, "192.0.2.7", "auth_success", user="mallory"))
    assert run(engine, [*story, event(90, "192.0.2.7", user="user4")]) == [
        "ban 192.0.2.7 for 10m by guess: 5 auth_failure in 1m30s"
    ]


def test_a_stale_client_is_told_not_banned() -> None:
    """A user's own device with an old password, from where he logged in before: one alert, no ban."""
    engine = made()
    story = [event(0, "192.0.2.7", "auth_success"), *failures("192.0.2.7", 60, 100, 30)]
    assert run(engine, story) == [
        "alert sato at 192.0.2.0/24 by stale: 10 auth_failure in 4m30s [stale-client]"
    ]


def test_an_attacker_behind_the_same_nat_is_still_counted() -> None:
    """The excuse is per user: guessing other names from the office bans."""
    engine = made()
    story = [event(0, "192.0.2.7", "auth_success")]
    for number in range(5):
        story += [event(100 + 20 * number, "192.0.2.7"), event(110 + 20 * number, "192.0.2.7", user="tanaka")]
    assert run(engine, story) == ["ban 192.0.2.7 for 10m by guess: 5 auth_failure in 1m20s"]


def test_an_unproved_name_excuses_nobody() -> None:
    """Where the client could have forged the name, the name is no excuse."""
    engine = made()
    story = [event(0, "192.0.2.7", "auth_success"), *failures("192.0.2.7", 5, 100, proved=frozenset())]
    assert run(engine, story) == ["ban 192.0.2.7 for 10m by guess: 5 auth_failure in 40s"]


def test_backscatter_is_not_harvest() -> None:
    """Bounces to forged senders of ours never count."""
    engine = made()
    story = [
        event(n, "192.0.2.7", "unknown_recipient", fields={"recipient": f"{n}@example.com", "sender": ""})
        for n in range(50)
    ]
    assert run(engine, story) == []


def test_a_partner_in_good_standing_is_not_banned_for_unknown_recipients() -> None:
    """A partner whose address book is old: an alert; but guessing passwords is never forgiven."""
    engine = made()
    for day in range(3):
        run(engine, [event(day * DAY, "192.0.2.25", "mail_accepted", fields={"sender": "a@example.org"})])
    start = 3 * DAY
    harvest = [
        event(start + n, "192.0.2.25", "unknown_recipient", fields={"recipient": f"{n}@example.com"})
        for n in range(4)
    ]
    assert run(engine, harvest) == [
        "alert 192.0.2.25 by harvest: 4 unknown_recipient of 4 recipients in 3s [standing]"
    ]
    assert run(engine, failures("192.0.2.25", 5, start + 60)) == [
        "ban 192.0.2.25 for 10m by guess: 5 auth_failure in 40s"
    ]


# ---------------------------------------------------------------- never-list and trust


def test_the_never_list_is_told_about_but_not_banned() -> None:
    """Own addresses attack too, when they are infected: said once an hour, never banned."""
    engine = made([GUESS], never=[(network("192.0.2.0/28"), "our gateway")])
    assert run(engine, failures("192.0.2.7", 300)) == [
        "alert 192.0.2.7 by guess: 5 auth_failure in 40s [never-list]"
    ]
    assert run(engine, failures("192.0.2.7", 5, 2 * 3600.0)) == [
        "alert 192.0.2.7 by guess: 5 auth_failure in 40s [never-list]"
    ]


def test_a_range_that_touches_the_never_list_is_not_banned() -> None:
    """Not even where the protected address is one of 256."""
    engine = made([RANGE], never=[(network("192.0.2.200"), "the gateway")])
    story = [event(n * 60, f"192.0.2.{1 + n % 3}") for n in range(12)]
    assert run(engine, story) == [
        "alert 192.0.2.0/24 by range: 6 auth_failure of 3 sources in 5m [never-list]"
    ]


def test_what_may_not_ban_alerts() -> None:
    """Events of a log that others can write into count, but only for an alert."""
    engine = made([GUESS])
    assert run(engine, failures("192.0.2.7", 30, may_ban=False)) == [
        "alert 192.0.2.7 by guess: 5 auth_failure in 40s [trust]"
    ]


def test_guessed_formats_say_so() -> None:
    """A guessed rule alerts, and the reason is that it is guessed."""
    engine = made([GUESS], guessed=frozenset({"postfix"}))
    assert run(engine, failures("192.0.2.7", 5, may_ban=False)) == [
        "alert 192.0.2.7 by guess: 5 auth_failure in 40s [guessed]"
    ]


def test_untrusted_events_cannot_shield_an_attacker() -> None:
    """Whoever mixes untrusted events in still meets his ban when the trusted ones suffice."""
    engine = made([GUESS])
    story: list[Event] = []
    for number in range(5):
        story += failures("192.0.2.7", 3, number * 20.0, 1.0, may_ban=False)
        story += failures("192.0.2.7", 1, number * 20.0 + 5)
    found = run(engine, story)
    assert [text for text in found if text.startswith("ban")] == [
        "ban 192.0.2.7 for 10m by guess: 5 auth_failure in 1m20s"
    ]


# ---------------------------------------------------------------- keys other than the source


def test_untrusted_events_speak_for_nobody() -> None:
    """A success or a message that anybody may have written down forgives nothing and earns no standing."""
    engine = made([GUESS])
    success = event(50, "192.0.2.7", "auth_success", may_ban=False)
    assert run(engine, [*failures("192.0.2.7", 4), success, *failures("192.0.2.7", 1, 60)]) == [
        "ban 192.0.2.7 for 10m by guess: 5 auth_failure in 1m"
    ]
    engine = made([HARVEST])
    for day in range(3):
        mail = event(day * DAY, "192.0.2.25", "mail_accepted", fields={"sender": "a@x"}, may_ban=False)
        run(engine, [mail])
    harvest = [
        event(3 * DAY + n, "192.0.2.25", "unknown_recipient", fields={"recipient": f"{n}@example.com"})
        for n in range(4)
    ]
    assert run(engine, harvest) == [
        "ban 192.0.2.25 for 10m by harvest: 4 unknown_recipient of 4 recipients in 3s"
    ]


def test_an_attacked_account_bans_strangers_only() -> None:
    """The owner's own networks are never punished for what others do to his name."""
    engine = made([ACCOUNT])
    story = [event(0, "192.0.2.7", "auth_success")]
    story += [event(100 + n, text) for n, text in enumerate(("192.0.2.8", "198.51.100.1", "203.0.113.1"))]
    story += [event(200, "2001:db8:1::1"), event(300, "2001:db8:2::1")]
    assert run(engine, story) == [
        "alert sato by account: 4 auth_failure of 4 networks in 3m19s [user]",
        "ban 198.51.100.1 for 1h by account: 4 auth_failure of 4 networks in 3m19s",
        "ban 203.0.113.1 for 1h by account: 4 auth_failure of 4 networks in 3m19s",
        "ban 2001:db8:1::/64 for 1h by account: 4 auth_failure of 4 networks in 3m19s",
        "ban 2001:db8:2::/64 for 1h by account: 4 auth_failure of 4 networks in 3m19s",
    ]


def test_names_that_never_existed_are_hashed() -> None:
    """People type passwords where the name belongs: only names that have logged in are shown."""
    engine = made([ACCOUNT])
    story = [
        event(n, text, user="hunter2")
        for n, text in enumerate(("192.0.2.8", "198.51.100.1", "203.0.113.1", "2001:db8:1::1"))
    ]
    alert = engine.feed(story[0]) + engine.feed(story[1]) + engine.feed(story[2]) + engine.feed(story[3])
    assert isinstance(alert[0], Alert)
    assert alert[0].offence.key.startswith("user#")
    assert not any("hunter2" in repr(effect) for effect in alert)


def test_unproved_names_are_no_keys() -> None:
    """A name that the client could have forged is counted under nobody."""
    engine = made([ACCOUNT])
    story = [event(n, f"198.51.{n}.1", proved=frozenset()) for n in range(20)]
    assert run(engine, story) == []


def test_a_range_is_banned_on_evidence_from_several_addresses() -> None:
    """Three addresses, six events: the /24, and the bans inside it are replaced."""
    engine = made([GUESS, RANGE])
    story = failures("192.0.2.7", 5) + [event(100 + n, f"192.0.2.{8 + n % 2}") for n in range(4)]
    assert run(engine, story) == [
        "ban 192.0.2.7 for 10m by guess: 5 auth_failure in 40s",
        "ban 192.0.2.0/24 for 6h by range: 7 auth_failure of 3 sources in 1m41s",
        "lift 192.0.2.7: replaced",
    ]


def test_a_range_with_somebody_of_good_standing_is_not_banned() -> None:
    """The customer inside the range: an alert, no ban."""
    engine = made([RANGE])
    for day in range(3):
        run(engine, [event(day * DAY, "192.0.2.25", "mail_accepted")])
    story = [event(3 * DAY + n, f"192.0.2.{1 + n % 5}") for n in range(20)]
    assert run(engine, story) == ["alert 192.0.2.0/24 by range: 6 auth_failure of 5 sources in 5s [standing]"]


def test_a_narrow_ban_that_ends_later_stays_beside_the_wide_one() -> None:
    """A wider ban replaces only those that end no later."""
    engine = made([SLOW, RANGE])
    story = failures("192.0.2.7", 8, 0.0, 3 * 3600.0)  # one day
    late = 22 * 3600.0
    story += [event(late + n, f"192.0.2.{8 + n % 3}") for n in range(6)]
    found = run(engine, story)
    assert found[0].startswith("ban 192.0.2.7 for 1d by slow")
    assert found[1].startswith("ban 192.0.2.0/24 for 6h by range")
    assert len(found) == 2
    assert engine.bans.get(network("192.0.2.7"), "auth") is not None


# ---------------------------------------------------------------- sequences


def test_a_login_after_many_failures_is_an_alert_and_earns_nothing() -> None:
    """The password may be stolen: a person is told, and the thief's network earns no trust."""
    engine = made([BROKEN, STALE])
    story = [event(n, f"203.0.113.{n}") for n in range(6)] + [event(10, "198.51.100.9", "auth_success")]
    found = run(engine, story)
    assert len(found) == 1
    assert found[0].endswith("by broken: 6 auth_failure in 5s [user]")
    assert not engine.book.known(engine.hasher("sato"), address("198.51.100.9"), T + 20)


def test_the_owner_may_log_in_while_he_is_attacked() -> None:
    """A success from a network he used before is no alarm."""
    engine = made([BROKEN])
    story = [event(-5, "192.0.2.7", "auth_success")] + [event(n, f"203.0.113.{n}") for n in range(6)]
    assert run(engine, [*story, event(10, "192.0.2.99", "auth_success")]) == []


# ---------------------------------------------------------------- modes and caps


def test_observing_says_what_it_would_do_and_nothing_else() -> None:
    """The same bans at the same moments as enforcing, as alerts; nothing is lifted that never stood."""
    story = failures("192.0.2.7", 30) + [event(500 + n, f"192.0.2.{8 + n % 2}") for n in range(6)]
    story += failures("192.0.2.7", 5, 8 * 3600.0)
    real, said = made([GUESS, RANGE]), made([GUESS, RANGE], enforcing=False)
    imposed = [effect.ban for item in story for effect in real.feed(item) if isinstance(effect, Impose)]
    would = [effect for item in story for effect in said.feed(item)]
    assert all(isinstance(effect, Alert) and effect.why == "observe" for effect in would)
    assert [effect.would for effect in would if isinstance(effect, Alert)] == imposed


def test_at_the_cap_the_lowest_ordinal_that_ends_soonest_gives_way() -> None:
    """Said once; repeat offenders stay."""
    engine = made([GUESS], rules=Rules(max_bans=3, max_networks=2))
    run(engine, failures("192.0.2.1", 5))
    run(engine, failures("192.0.2.1", 5, 650))  # second time, 40 minutes
    found = run(engine, failures("192.0.2.2", 5, 700) + failures("192.0.2.3", 5, 800))
    assert len(found) == 2
    assert run(engine, failures("192.0.2.4", 5, 900)) == [
        "alert 192.0.2.4 by guess: 5 auth_failure in 40s [cap]",
        "lift 192.0.2.2: evicted",
        "ban 192.0.2.4 for 10m by guess: 5 auth_failure in 40s",
    ]
    assert run(engine, failures("192.0.2.5", 5, 1000)) == [
        "lift 192.0.2.3: evicted",
        "ban 192.0.2.5 for 10m by guess: 5 auth_failure in 40s",
    ]
    assert engine.bans.get(network("192.0.2.1"), "auth") is not None


def test_a_newcomer_never_evicts_worse_offenders() -> None:
    """At a cap full of repeat offenders a first offence is not imposed, and counted."""
    engine = made([GUESS], rules=Rules(max_bans=1))
    run(engine, failures("192.0.2.1", 5) + failures("192.0.2.1", 5, 650))
    found = run(engine, failures("192.0.2.2", 5, 700))
    assert found == ["alert 192.0.2.2 by guess: 5 auth_failure in 40s [cap]"]
    assert engine.policy.refused_at_cap == 1
    assert len(engine.bans) == 1


def test_ended_bans_take_no_room() -> None:
    """The cap counts bans that stand at the moment of the decision."""
    engine = made([GUESS], rules=Rules(max_bans=1))
    run(engine, failures("192.0.2.1", 5))
    assert run(engine, failures("192.0.2.2", 5, 5000)) == [
        "ban 192.0.2.2 for 10m by guess: 5 auth_failure in 40s"
    ]


# ---------------------------------------------------------------- floods


@pytest.mark.parametrize("family", [4, 6])
def test_the_slow_attacker_is_caught_during_a_flood_of_new_keys(family: int) -> None:
    """Fifty thousand new sources with new names, a table for two thousand keys: still caught, still
    bounded.
    """
    engine = made(max_keys=2000, max_standing=1000)
    slow = failures("192.0.2.7", 8, 0.0, 3600.0)
    found: list[str] = []
    base = address("2001:db8::") if family == 6 else address("198.18.0.0")
    for number, attempt in enumerate(slow):
        found += run(engine, [attempt])
        if number == 0:
            found += run(engine, failures("192.0.2.7", 1, 1.0))  # two hits make it strong
        for more in range(50_000 // len(slow)):
            count = number * 7000 + more
            source = base + (count << 64) if family == 6 else base + count * 7
            flood = event(number * 3600.0 + 2 + more / 10, None, user=f"name{count}")._replace(source=source)
            engine.feed(flood)
        assert sum(engine.keys().values()) <= 2000
    assert "ban 192.0.2.7 for 1d by slow: 8 auth_failure in 6h" in found


def test_one_ipv6_owner_cannot_push_others_out() -> None:
    """A /32 full of sources takes an eighth of the table at most."""
    engine = made([SLOW], max_keys=16_000)
    victims = [event(n / 1000, f"198.51.100.{n % 250}") for n in range(250)]
    run(engine, victims)
    base = address("2001:db8::")
    for number in range(20_000):
        engine.feed(event(10 + number / 100, None, user="x")._replace(source=base + (number << 72)))
    lane = engine.lanes[0]
    assert len(lane.history.table) <= 16_000 // 8 + 400
    assert all(address(f"198.51.100.{n}") in lane.history.table for n in range(250))
    assert engine.folded > 0


# ---------------------------------------------------------------- restart

SOURCES = (
    "192.0.2.7",
    "192.0.2.8",
    "192.0.2.9",
    "198.51.100.1",
    "203.0.113.1",
    "2001:db8:1:1::1",
    "2001:db8:1:2::1",
)
moves = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 5.0, 60.0, 900.0, 7 * 3600.0, 2 * DAY, -30.0, -5000.0]),
        st.sampled_from(SOURCES),
        st.sampled_from(
            ["auth_failure"] * 6 + ["unknown_recipient"] * 3 + ["auth_success", "mail_accepted", "connect"]
        ),
        st.sampled_from(["sato", "tanaka", "suzuki"]),
        st.sampled_from([1, 1, 1, 3]),
        st.booleans(),
    ),
    min_size=20,
    max_size=150,
)


#: Late events, whose ban has ended, by the newest time, when it is imposed.
OVER_AT_ONCE = [
    *[(0.0, "192.0.2.7", "auth_failure", "sato", 1, False)] * 5,
    (-5000.0, "192.0.2.7", "auth_failure", "sato", 1, False),
    (0.0, "192.0.2.8", "auth_failure", "sato", 3, True),
    (0.0, "192.0.2.8", "auth_failure", "sato", 3, False),
    *[(0.0, "192.0.2.7", "auth_failure", "sato", 1, False)] * 20,
    *[(0.0, "192.0.2.8", "auth_failure", "sato", 1, False)] * 2,
]


def story_of(steps: list[tuple[float, str, str, str, int, bool]]) -> list[Event]:
    time, story = 0.0, []
    for number, (step, source, kind, user, weight, trusted) in enumerate(steps):
        time += step
        fields = {"user": user} if kind.startswith("auth") else {"recipient": f"{number % 9}@example.com"}
        story.append(
            event(
                time,
                source,
                kind,
                fields=fields,
                weight=weight,
                may_ban=trusted or number % 3 > 0,
                log=f"log{number % 2}",
            )
        )
    return story


def revived(engine: Engine, rows: dict[tuple[str, bytes], bytes]) -> Engine:
    """A new engine from stored rows, as after kill -9."""
    new = Engine(engine.setup)
    meta = state.restore(new, [(table, key, value) for (table, key), value in sorted(rows.items())])
    new.policy.enforcing = bool(meta["enforcing"])
    return new


def store(rows: dict[tuple[str, bytes], bytes], engine: Engine, full: bool = False) -> None:
    if full:
        rows.clear()
    for table, key, value in state.save(engine, full):
        if value is None:
            rows.pop((table, key), None)
        else:
            rows[table, key] = value


@given(
    steps=moves,
    saves=st.sets(st.integers(0, 150), max_size=8),
    kills=st.sets(st.integers(0, 150), max_size=5),
    full=st.booleans(),
    enforcing=st.booleans(),
)
@example(steps=OVER_AT_ONCE, saves={8}, kills={8}, full=False, enforcing=False)
@settings(max_examples=150, deadline=None)
def test_a_restart_at_any_moment_changes_nothing(
    steps: list[tuple[float, str, str, str, int, bool]],
    saves: set[int],
    kills: set[int],
    full: bool,
    enforcing: bool,
) -> None:
    """Checkpoints and kills anywhere: read again from the last one, the effects are those of a guard that
    never stopped.
    """
    story = story_of(steps)
    straight = made(enforcing=enforcing)
    expected = [straight.feed(item) for item in story]
    engine = made(enforcing=enforcing, track=True)
    rows: dict[tuple[str, bytes], bytes] = {}
    store(rows, engine)
    place = saved = 0
    got: list[list[Effect]] = []
    pending = set(kills)
    while place < len(story):
        if place in saves:
            store(rows, engine, full)
            saved = place
        if place in pending:
            pending.discard(place)
            engine, place = revived(engine, rows), saved
            del got[saved:]
        got.append(engine.feed(story[place]))
        place += 1
    assert got == expected


@given(steps=moves)
@settings(max_examples=60, deadline=None)
def test_effects_obey_the_promises(steps: list[tuple[float, str, str, str, int, bool]]) -> None:
    """No ban twice while it stands, none without end or of the never-list, each known by its offence."""
    engine = made(never=[(network("198.51.100.0/24"), "office")])
    standing: dict[tuple[Network, str], float] = {}
    seen: set[tuple[str, str, float]] = set()
    for item in story_of(steps):
        for effect in engine.feed(item):
            if isinstance(effect, Lift):
                assert (effect.network, effect.scope) in standing
                del standing[effect.network, effect.scope]
            elif isinstance(effect, Impose):
                ban, offence = effect.ban, effect.ban.offence
                assert offence is not None
                assert ban.until is not None
                assert ban.until > ban.since == item.time == effect.time
                if engine.clock - item.time <= LINGER:
                    assert standing.get((ban.network, ban.scope), 0.0) <= item.time
                assert engine.policy.spared(ban.network) is None
                assert all(piece.weight > 0 for piece in offence.evidence)
                name = (offence.detector, offence.key, offence.first)
                assert name not in seen
                seen.add(name)
                standing[ban.network, ban.scope] = ban.until


def test_kinds_and_conditions_may_be_renumbered() -> None:
    """After an upgrade that numbers kinds or conditions anew, stored records mean what they meant."""
    other = Detector(
        "other",
        "",
        ("unknown_recipient",),
        "source",
        3600.0,
        distinct="recipient",
        values=9,
        unless=(("stage", "VRFY"),),
        alert=True,
    )
    engine = made([HARVEST], track=True)
    for number in range(3):
        run(
            engine,
            [event(number, "192.0.2.7", "unknown_recipient", fields={"recipient": f"{number}@example.com"})],
        )
        run(
            engine,
            [
                event(
                    number,
                    "192.0.2.8",
                    "unknown_recipient",
                    fields={"recipient": f"{number}@example.com", "sender": ""},
                )
            ],
        )
    rows: dict[tuple[str, bytes], bytes] = {}
    store(rows, engine)
    meta = state.load(rows["engine", b""])
    kinds = meta["kinds"]
    assert kinds != list(reversed(kinds))
    new = made([other, HARVEST])
    state.restore(new, [(table, key, value) for (table, key), value in rows.items()])
    last = {"recipient": "9@example.com"}
    assert run(new, [event(9, "192.0.2.8", "unknown_recipient", fields=last)]) == []
    assert run(new, [event(9, "192.0.2.7", "unknown_recipient", fields=last)]) == [
        "ban 192.0.2.7 for 10m by harvest: 4 unknown_recipient of 4 recipients in 9s"
    ]


def test_a_changed_policy_takes_up_what_it_can() -> None:
    """Rows of detectors that are gone are passed over; bans stand on."""
    engine = made(track=True)
    run(engine, failures("192.0.2.7", 5))
    rows: dict[tuple[str, bytes], bytes] = {}
    store(rows, engine)
    new = made([HARVEST])
    state.restore(new, [(table, key, value) for (table, key), value in rows.items()])
    assert new.bans.get(network("192.0.2.7"), "auth") is not None


def test_requests_survive_a_restart() -> None:
    """An allow entry and an administrator's ban are in the checkpoint."""
    engine = made(track=True)
    requests = Requests(engine)
    requests.request("allow", {"network": "192.0.2.0/24", "reason": "office"}, T)
    requests.request("ban", {"network": "203.0.113.0/24", "for": "permanent", "reason": "enough"}, T)
    rows: dict[tuple[str, bytes], bytes] = {}
    store(rows, engine)
    new = revived(engine, rows)
    assert list(new.allow) == [(network("192.0.2.0/24"), "office")]
    held = new.bans.get(network("203.0.113.0/24"), "mail")
    assert held is not None
    assert held.ban.reason == "enough"
    assert held.ban.until is None
    Requests(new).request("disallow", {"network": "192.0.2.0/24"}, T)
    store(rows, new)
    assert not [key for key in rows if key[0] == "allow"]


def test_bans_that_would_stand_are_told_apart() -> None:
    """`bans` answers all, the real ones, or those that are merely observed; each with its notation."""
    engine = made()
    requests = Requests(engine)
    requests.request("ban", {"network": "203.0.113.7", "for": "1h"}, T)
    engine.bans.put(Ban(network("192.0.2.7"), T, T + 600, 1, None, "", "auth"), True)

    def told(**asked: object) -> list[str]:
        answer = requests.request("bans", asked, T)[1]
        return [ban["text"].partition(" by administrator")[0] for ban in answer["bans"]]

    assert told(would=True) == ["ban 192.0.2.7 for 10m"]
    assert told(would=False) == ["ban 203.0.113.7 for 1h"]
    assert told() == ["ban 203.0.113.7 for 1h", "ban 192.0.2.7 for 10m"]


def test_an_attacked_colleague_does_not_cost_the_office_its_standing() -> None:
    """A first login of an attacked user from where others have long been logging in: only told."""
    engine = made([BROKEN, HARVEST])
    for day in range(4):
        run(engine, [event(day * DAY, "192.0.2.1", "auth_success", user="tanaka")])
    story = [event(4 * DAY + n, f"203.0.113.{n}") for n in range(6)]
    story += [event(4 * DAY + 10, "192.0.2.1", "auth_success")]
    assert len(run(engine, story)) == 1
    assert engine.book.source(address("192.0.2.1")).good(T + 4 * DAY + 20)
    assert engine.book.known(engine.hasher("sato"), address("192.0.2.1"), T + 4 * DAY + 20)


def test_a_clock_that_was_ahead_blinds_nobody() -> None:
    """A host that believed to be in another year: what comes after the clock was set right still counts."""
    engine = made()
    engine.feed(event(400 * DAY, "192.0.2.1"))
    engine.turn_back(T)
    assert run(engine, failures("192.0.2.7", 5)) == ["ban 192.0.2.7 for 10m by guess: 5 auth_failure in 40s"]
    engine.turn_back(T + 40 - LATENESS)
    assert engine.clock == T + 40  # no more than late lines are


def test_bans_of_a_clock_that_was_ahead_last_as_long_as_was_said() -> None:
    """They would stand for years otherwise, and what their sources do meanwhile would be no news."""
    engine = made()
    shifted = [event(400 * DAY + 10 * n, "192.0.2.7") for n in range(5)]
    assert run(engine, shifted) == ["ban 192.0.2.7 for 10m by guess: 5 auth_failure in 40s"]
    engine.set_back(T)
    (held,) = engine.bans
    assert (held.ban.since, held.until) == (T, T + 600)
    assert run(engine, [event(20 + n, "192.0.2.7") for n in range(5)]) == []
    engine.bans.expire(T + 601)
    assert run(engine, failures("192.0.2.7", 5, 700)) == [
        "ban 192.0.2.7 for 40m by guess: 5 auth_failure in 40s (2. time)"
    ]
