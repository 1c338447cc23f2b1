"""What every driver promises, run against each of them: in memory always, in the kernel when root."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.firewall.interface import Firewall, Standing
from mailguard.firewall.recording import Recording
from mailguard.model import Ban, Network
from tests.written import network

Places = dict[tuple[Network, str], Standing]

POOL = [
    *("192.0.2.7", "192.0.2.8", "192.0.2.0/24", "192.0.2.0/25", "192.0.2.64/26", "192.0.2.128/30"),
    *("198.51.100.0/24", "198.51.100.255", "203.0.113.0/28", "203.0.113.8/29", "240.0.0.0/4"),
    *("2001:db8::7", "2001:db8::/64", "2001:db8::/48", "2001:db8::/32", "2001:db8:0:8000::/49", "ff00::/8"),
]


def able(firewall: Firewall, text: str) -> bool:
    """Whether that driver's system can hold such a network at all; one that cannot says so and goes on."""
    refusal = getattr(firewall, "refusal", None)
    return refusal is None or not refusal(network(text))


def same(one: Places, other: Places) -> None:
    """The same bans with the same ends, within what a kernel's clock tells."""
    assert one.keys() == other.keys()
    for place, standing in one.items():
        ends, expected = standing.expires, other[place].expires
        assert (ends is None) == (expected is None), place
        assert ends is None or expected is None or abs(ends - expected) < 2.5, place


def test_opening_puts_the_bans_in(firewall: Firewall, helpers: Any) -> None:
    """After `open` exactly the bans given stand, with their ends."""
    bans = [
        helpers.ban("192.0.2.7", 60),
        helpers.ban("2001:db8::7", None, "auth"),
        helpers.ban("192.0.2.0/24", 90),
    ]
    firewall.open(bans, time.time())
    seen = firewall.banned()
    assert set(seen) == {(one.network, one.scope) for one in bans}
    for one in bans:
        ends = seen[one.network, one.scope].expires
        assert (ends is None) == (one.until is None)
        assert ends is None or one.until is None or abs(ends - one.until) < 2.5


def test_imposing_twice_is_once(firewall: Firewall, helpers: Any) -> None:
    """The same ban again changes nothing; a later end replaces an earlier one, and the other way round."""
    firewall.open([], time.time())
    one, longer = helpers.ban("192.0.2.7", 60), helpers.ban("192.0.2.7", 600)
    firewall.impose([one], time.time())
    once = firewall.banned()
    firewall.impose([one], time.time())
    same(firewall.banned(), once)
    for end in (longer, one):
        firewall.impose([end], time.time())
        ((_, standing),) = firewall.banned().items()
        assert standing.expires is not None
        assert abs(standing.expires - end.until) < 2.5


def test_lifting_what_is_not_there_is_fine(firewall: Firewall, helpers: Any) -> None:
    """`lift` of hosts and networks never banned, or lifted before, is no error."""
    firewall.open([helpers.ban("192.0.2.7", 60)], time.time())
    places = [(network(text), scope) for text in POOL for scope in ("auth", "mail", "all")]
    firewall.lift(places)
    firewall.lift(places)
    assert firewall.banned() == {}


def test_scopes_are_apart(firewall: Firewall, helpers: Any) -> None:
    """A ban in one scope is neither seen nor lifted in another."""
    firewall.open([], time.time())
    firewall.impose([helpers.ban("192.0.2.7", 60, scope) for scope in ("auth", "mail", "all")], time.time())
    firewall.lift([(network("192.0.2.7"), "mail")])
    assert set(firewall.banned()) == {(network("192.0.2.7"), "auth"), (network("192.0.2.7"), "all")}


@pytest.mark.parametrize(("outer", "inner"), [(600, 60), (60, 600), (60, None), (None, 60), (60, 60)])
def test_networks_may_overlap(
    firewall: Firewall, helpers: Any, outer: float | None, inner: float | None
) -> None:
    """A network within another stands beside it, whichever ends first, and lifting one leaves the other."""
    firewall.open([], time.time())
    wide, narrow = helpers.ban("192.0.2.0/24", outer), helpers.ban("192.0.2.64/26", inner)
    for first, second in ((wide, narrow), (narrow, wide)):
        firewall.impose([first], time.time())
        firewall.impose([second], time.time())
        assert {place[0] for place in firewall.banned()} == {wide.network, narrow.network}
        firewall.lift([(first.network, "mail")])
        assert {place[0] for place in firewall.banned()} == {second.network}
        firewall.lift([(second.network, "mail")])
        assert firewall.banned() == {}


def test_everything_can_be_banned(firewall: Firewall, helpers: Any) -> None:
    """Even 0.0.0.0/0 and ::/0, when somebody insists."""
    bans = [helpers.ban("0.0.0.0/0", 60), helpers.ban("::/0", None)]
    firewall.open([], time.time())
    firewall.impose(bans, time.time())
    standing = [one for one, text in zip(bans, ("0.0.0.0/0", "::/0"), strict=True) if able(firewall, text)]
    assert set(firewall.banned()) == {(one.network, "mail") for one in standing}
    firewall.lift([(one.network, "mail") for one in bans])
    assert firewall.banned() == {}


def test_a_ban_that_is_over_is_left_out(firewall: Firewall, helpers: Any) -> None:
    """Bans whose end has passed are neither opened nor imposed."""
    firewall.open([helpers.ban("192.0.2.7", -1)], time.time())
    firewall.impose([helpers.ban("192.0.2.8", -1), helpers.ban("192.0.2.0/24", -1)], time.time())
    assert firewall.banned() == {}


def test_bans_end_by_themselves(firewall: Firewall, helpers: Any) -> None:
    """Hosts and networks vanish at their end, a longer one inside a shorter one stays."""
    firewall.open([helpers.ban("192.0.2.7", 1.5)], time.time())
    bans = [helpers.ban("2001:db8:1::/64", 1.5), helpers.ban("198.51.100.0/24", 1.5)]
    stays = [helpers.ban("198.51.100.64/26", 60), helpers.ban("203.0.113.9", None)]
    firewall.impose([*bans, *stays], time.time())
    assert len(firewall.banned()) == 4 + able(firewall, "2001:db8:1::/64")
    helpers.until(lambda: set(firewall.banned()) == {(one.network, "mail") for one in stays})


def test_opening_again_adopts_what_stands(firewall: Firewall, helpers: Any) -> None:
    """Bans that stood before and are not among those given stay until their end, never removed silently."""
    firewall.open([helpers.ban("192.0.2.7", 60), helpers.ban("198.51.100.0/24", 60)], time.time())
    firewall.open([helpers.ban("192.0.2.8", 60), helpers.ban("192.0.2.7", 300)], time.time())
    seen = firewall.banned()
    assert {place[0] for place in seen} == {
        network(text) for text in ("192.0.2.7", "192.0.2.8", "198.51.100.0/24")
    }
    ends = seen[network("192.0.2.7"), "mail"].expires
    assert ends is not None
    assert ends > time.time() + 200


def test_panic_lifts_all_and_open_comes_back(firewall: Firewall, helpers: Any) -> None:
    """After `panic` nothing is blocked; `open` starts anew."""
    firewall.open([helpers.ban("192.0.2.7", 60), helpers.ban("2001:db8::/48", None)], time.time())
    firewall.panic()
    assert firewall.banned() == {}
    firewall.open([helpers.ban("192.0.2.8", 60)], time.time())
    assert {place[0] for place in firewall.banned()} == {network("192.0.2.8")}


def test_allowed_networks_may_overlap(firewall: Firewall) -> None:
    """`allow` takes any networks, again and again, and none."""
    firewall.open([], time.time())
    for texts in (POOL, POOL[:3], [], ["0.0.0.0/0"]):
        firewall.allow([network(text) for text in texts])


_bans = st.lists(
    st.tuples(
        st.sampled_from(POOL),
        st.sampled_from([60.0, 600.0, 86400.0, None]),
        st.sampled_from(["auth", "mail"]),
    ),
    max_size=5,
)
_step = st.one_of(
    st.tuples(st.just("impose"), _bans), st.tuples(st.just("lift"), _bans), st.tuples(st.just("open"), _bans)
)


def test_any_sequence_is_what_the_recording_says(firewall: Firewall, request: pytest.FixtureRequest) -> None:
    """After any sequence of calls `banned()` equals the recording twin's: overlaps, renewals, scopes, all."""
    # Processes for each look, or hundreds of rows for each network.
    dear = any(word in request.node.name for word in ("ipset", "synology"))
    held = {network(text) for text in POOL if able(firewall, text)}

    @given(steps=st.lists(_step, max_size=8))
    @settings(max_examples=6 if dear else 40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def check(steps: list[tuple[str, list[tuple[str, float | None, str]]]]) -> None:
        twin = Recording()
        now = time.time()
        firewall.panic()
        firewall.open([], now)
        twin.open([], now)
        for verb, listed in steps:
            bans = [
                Ban(network(text), now, None if seconds is None else now + seconds, scope=scope)
                for text, seconds, scope in listed
            ]
            for one in (firewall, twin):
                if verb == "impose":
                    one.impose(bans, now)
                elif verb == "lift":
                    one.lift([(each.network, each.scope) for each in bans])
                else:
                    one.open(bans, now)
        expected = {place: standing for place, standing in twin.banned().items() if place[0] in held}
        same(firewall.banned(), expected)

    firewall.open([], time.time())
    check()
