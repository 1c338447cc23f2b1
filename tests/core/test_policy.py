"""Policy: how long, in which order, and who gives way; the book of bans against a plain list."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core.bans import LINGER, SCOPE_COVERS, Bans, Ordinals, is_wide
from mailguard.core.detectors import BanRule, Detector
from mailguard.core.networks import NetworkMap
from mailguard.core.policy import Policy, Rules
from mailguard.core.standing import DAY, Book
from mailguard.model import Alert, Ban, Impose, Lift, Network, Offence
from mailguard.notation import covers, network_of
from tests.written import address, network

pytestmark = pytest.mark.usefixtures("both_cores")

T = 1_800_000_000.0
DETECTOR = Detector("d", "", ("auth_failure",), "source", 600.0, count=5, ban=BanRule(600.0, 4.0, 7 * DAY))


def policy(rules: Rules | None = None, never: tuple[str, ...] = ()) -> Policy:
    rules = rules or Rules()
    made = Policy(
        rules,
        NetworkMap((network(text), "own") for text in never),
        NetworkMap(),
        Book(1000),
        Bans(rules.max_bans, rules.max_networks),
        Ordinals(1000, rules.forget),
    )
    made.enforcing = True
    return made


def offence(
    key: str = "192.0.2.7",
    kinds: tuple[str, ...] = ("auth_failure",),
    scope: str = "auth",
    may_ban: bool = True,
) -> Offence:
    return Offence("d", key, T - 60, T, 5, kinds, scope=scope, may_ban=may_ban)


@pytest.mark.parametrize(
    ("rule", "table", "lengths"),
    [
        (BanRule(600, 4, 7 * DAY), (), [600, 2400, 9600, 38400, 153600, 604800, 604800]),
        (BanRule(600, 1, 600), (), [600, 600, 600]),
        (BanRule(600, 1, 7 * DAY), (600, 3600, DAY), [600, 3600, DAY, DAY]),
        (BanRule(600, 4, 3600), (600, 6 * 3600), [600, 3600, 3600]),
        (BanRule(DAY, 4, 30 * DAY), (600, 3600), [DAY, 4 * DAY, 16 * DAY, 30 * DAY]),
    ],
)
def test_how_long(rule: BanRule, table: tuple[float, ...], lengths: list[float]) -> None:
    """First, times factor, at least the escalation table, never longer than the detector's longest."""
    made = policy(Rules(escalation=table))
    detector = Detector("d", "", ("auth_failure",), "source", 600.0, count=5, ban=rule)
    assert [made.length(detector, ordinal) for ordinal in range(1, len(lengths) + 1)] == lengths


def test_the_order_of_the_checks() -> None:
    """Trust before the never-list, the never-list before standing, standing before everything that bans."""
    made = policy(never=("192.0.2.0/24",))
    for day in range(3):
        made.book.mail(address("198.51.100.25"), T - (3 - day) * DAY)
    mine, partner = network("192.0.2.7"), network("198.51.100.25")
    told = made.decide(DETECTOR, offence(may_ban=False), mine, T)
    assert [effect.why for effect in told if isinstance(effect, Alert)] == ["trust"]
    told = made.decide(DETECTOR, offence(), mine, T)
    assert [effect.why for effect in told if isinstance(effect, Alert)] == ["never-list"]
    told = made.decide(DETECTOR, offence(kinds=("unknown_recipient",)), partner, T)
    assert [effect.why for effect in told if isinstance(effect, Alert)] == ["standing"]
    told = made.decide(DETECTOR, offence(kinds=("unknown_recipient", "auth_failure")), partner, T)
    assert [type(effect) for effect in told] == [Impose]
    told = made.decide(DETECTOR, offence(), network("198.51.100.0/24"), T)
    assert [effect.why for effect in told if isinstance(effect, Alert)] == ["standing"]


def test_the_allow_list_spares_like_the_never_list() -> None:
    """What an administrator allowed at run time is never banned."""
    made = policy()
    made.allow.add(network("192.0.2.0/24"), "office")
    told = made.decide(DETECTOR, offence(), network("192.0.2.7"), T)
    assert [effect.why for effect in told if isinstance(effect, Alert)] == ["never-list"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (("192.0.2.7", "auth", 100), ("192.0.2.0/24", "auth", 100), "replaced"),
        (("192.0.2.7", "auth", 101), ("192.0.2.0/24", "auth", 100), "both"),
        (("192.0.2.7", "mail", 50), ("192.0.2.0/24", "auth", 100), "both"),
        (("192.0.2.7", "auth", 50), ("192.0.2.7", "mail", 100), "replaced"),
        (("192.0.2.7", "auth", 50), ("192.0.2.7", "auth", 100), "renewed"),
        (("192.0.2.7", "auth", None), ("192.0.2.0/24", "auth", 100), "both"),
        (("192.0.2.7", "auth", None), ("192.0.2.0/24", "auth", None), "replaced"),
        (("198.51.100.1", "auth", 50), ("192.0.2.0/24", "auth", 100), "both"),
    ],
)
def test_overlap(
    old: tuple[str, str, float | None], new: tuple[str, str, float | None], expected: str
) -> None:
    """A wider ban replaces those that it covers in network and scope and that end no later."""
    made = policy()

    def ban(told: tuple[str, str, float | None]) -> Ban:
        text, scope, length = told
        return Ban(
            network(text), T, None if length is None else T + length, 1, offence(scope=scope), scope=scope
        )

    made.impose(ban(old), T)
    effects = made.impose(ban(new), T)
    assert isinstance(effects[0], Impose)  # first the new one stands, then the old one goes: no gap
    assert [effect.reason for effect in effects if isinstance(effect, Lift)] == (
        ["replaced"] if expected == "replaced" else []
    )
    assert len(made.bans) == (2 if expected == "both" else 1)


def test_a_narrow_offence_inside_a_wide_ban_does_nothing() -> None:
    """What stands covers it already."""
    made = policy()
    made.impose(Ban(network("192.0.2.0/24"), T, T + 100, 1, offence(), scope="mail"), T)
    assert made.decide(DETECTOR, offence(), network("192.0.2.7"), T) == []


def test_networks_have_a_cap_of_their_own() -> None:
    """Ranges are dear in the kernel: the cheapest range gives way, not a host."""
    made = policy(Rules(max_bans=10, max_networks=1))
    made.impose(Ban(network("198.51.100.7"), T, T + 10, 1, offence()), T)
    made.impose(Ban(network("192.0.2.0/24"), T, T + 100, 1, offence()), T)
    effects = made.impose(Ban(network("203.0.113.0/24"), T, T + 200, 1, offence()), T)
    assert [(effect.network, effect.reason) for effect in effects if isinstance(effect, Lift)] == [
        (network("192.0.2.0/24"), "evicted")
    ]
    assert made.bans.get(network("198.51.100.7"), "mail") is not None


def test_an_administrators_ban_always_fits_and_goes_last() -> None:
    """At the cap others give way to it; it gives way to no detector's."""
    made = policy(Rules(max_bans=1))
    made.impose(Ban(network("192.0.2.7"), T, T + 100, 3, offence()), T)
    made.impose(Ban(network("192.0.2.8"), T, T + 100, 1, None, "asked"), T, asked=True)
    assert [held.ban.network for held in made.bans] == [network("192.0.2.8")]
    told = made.impose(Ban(network("192.0.2.9"), T, T + 1000, 9, offence()), T)
    assert not [effect for effect in told if isinstance(effect, Impose | Lift)]


def test_the_cap_is_told_once_until_there_is_room_again() -> None:
    """A cap that is full for hours is one alert."""
    made = policy(Rules(max_bans=2))
    told = []
    for number in range(10):
        ban = Ban(network(f"192.0.2.{number}"), T, T + 100, 1, offence())
        told += [effect for effect in made.impose(ban, T) if isinstance(effect, Alert)]
    assert [alert.why for alert in told] == ["cap"]
    made.expire(T + 101)
    for number in range(3):
        ban = Ban(network(f"198.51.100.{number}"), T + 101, T + 200, 1, offence())
        told += [effect for effect in made.impose(ban, T + 101) if isinstance(effect, Alert)]
    assert [alert.why for alert in told] == ["cap", "cap"]


def test_ordinals_are_forgotten_after_clean_days() -> None:
    """Counted from the end of the last ban."""
    ordinals = Ordinals(100, 30 * DAY)
    host = network("192.0.2.7")
    assert ordinals.next(host, T) == 1
    ordinals.note(host, 1, T + 600)
    assert ordinals.next(host, T + 601) == 2
    assert ordinals.next(host, T + 600 + 30 * DAY - 1) == 2
    assert ordinals.next(host, T + 600 + 30 * DAY) == 1
    ordinals.clear(host)
    assert ordinals.last(host, T + 601) == 0


NETWORKS = [
    network(text)
    for text in (
        "192.0.2.7",
        "192.0.2.8",
        "192.0.2.0/24",
        "192.0.0.0/16",
        "198.51.100.7",
        "2001:db8:1:2::/64",
        "2001:db8:1::/48",
        "2001:db8::/32",
    )
]
SOURCES = [
    address(text)
    for text in (
        "192.0.2.7",
        "192.0.2.200",
        "192.0.9.9",
        "198.51.100.7",
        "2001:db8:1:2::9",
        "2001:db8:1:9::9",
        "2001:db8:9::9",
    )
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "remove", "expire"]),
            st.sampled_from(NETWORKS),
            st.sampled_from(["auth", "mail", "all"]),
            st.sampled_from([5.0, 50.0, 500.0, None]),
            st.floats(0, 30),
        ),
        max_size=60,
    )
)
@settings(max_examples=200, deadline=None)
def test_the_book_of_bans_is_a_list_that_answers_fast(
    moves: list[tuple[str, Network, str, float | None, float]],
) -> None:
    """Who is under which ban, what lies inside what, how many stand: as a plain list says."""
    book, plain, now = Bans(1000, 1000), {}, T
    for what, where, scope, length, step in moves:
        now += step
        if what == "put":
            ban = Ban(where, now, None if length is None else now + length, 1, None, scope=scope)
            book.expire(now)
            book.put(ban, False)
            plain[where, scope] = ban
        elif what == "remove":
            book.remove(where, scope)
            plain.pop((where, scope), None)
        else:
            book.expire(now)
        standing = [ban for ban in plain.values() if ban.until is None or ban.until > now]
        book.expire(now)
        assert len(book) == len(standing)
        assert {(held.ban.network, held.ban.scope) for held in book} == {
            (b.network, b.scope) for b in standing
        }
        for source in SOURCES:
            host = network_of(source, 32, 128)
            expected = any(covers(b.network, host) and "auth" in SCOPE_COVERS[b.scope] for b in standing)
            assert (book.covering(source, "auth", now) is not None) == expected
        for other in NETWORKS:
            inside = {(held.ban.network, held.ban.scope) for held in book.within(other, now)}
            assert inside == {(b.network, b.scope) for b in standing if covers(other, b.network)}
            around = {(held.ban.network, held.ban.scope) for held in book.around(other, "mail", now)}
            assert around == {
                (b.network, b.scope)
                for b in standing
                if covers(b.network, other) and b.scope in ("mail", "all")
            }


def test_a_late_event_meets_the_ban_of_its_time() -> None:
    """A ban that has ended is known for another hour, for events that arrive late."""
    book = Bans(10, 10)
    book.put(Ban(network("192.0.2.7"), T, T + 100, 1, None, scope="auth"), False)
    book.expire(T + 200)
    assert book.covering(address("192.0.2.7"), "auth", T + 50) is not None
    assert book.covering(address("192.0.2.7"), "auth", T + 150) is None
    book.expire(T + 100 + LINGER)
    assert book.covering(address("192.0.2.7"), "auth", T + 50) is None


def test_what_is_wide() -> None:
    """More than one source: IPv4 below /32, IPv6 below /64."""
    assert [is_wide(one) for one in NETWORKS] == [False, False, True, True, False, False, True, True]
