"""The flat form of networks: exact, without overlaps, whatever nests in whatever."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.firewall.desired import (
    FOREVER,
    Bans,
    Desired,
    bounds,
    changes_of,
    flatten,
    key_of,
    kind_of,
    networks_between,
)
from mailguard.firewall.nftsets import plan_nets
from mailguard.firewall.nftview import range_text
from mailguard.model import Ban, Impose, Lift, Network
from mailguard.notation import V6, network_of, parse_address, parse_network

BASE = parse_address("198.51.100.0") or 0


@st.composite
def nets(draw: st.DrawFn) -> Bans:
    """Networks within 198.51.100.0/24, with ends or without."""
    listed = draw(
        st.lists(st.tuples(st.integers(0, 255), st.integers(24, 31), st.integers(1, 5)), max_size=12)
    )
    found: Bans = {}
    for offset, prefix, end in listed:
        network = network_of(BASE + offset, prefix, 64)
        found[1, network.address, network.prefix] = FOREVER if end == 5 else float(end)
    return found


def at(bans: Bans, address: int) -> float:
    """When the ban of one address ends, by the definition: the latest of all networks around it."""
    ends = [
        until
        for key, until in bans.items()
        if bounds(key[1], key[2])[0] <= address <= bounds(key[1], key[2])[1]
    ]
    return max(ends, default=0.0)


@given(nets())
def test_every_address_is_blocked_as_long_as_its_longest_ban(bans: Bans) -> None:
    """The pieces block each address exactly until its latest ban ends, and no two pieces overlap."""
    pieces = flatten(bans)
    for before, after in pairwise(pieces):
        assert before.high < after.low
    for address in range(BASE, BASE + 256):
        covering = [piece.until for piece in pieces if piece.low <= address <= piece.high]
        assert covering == ([at(bans, address)] if at(bans, address) else [])
    for piece in pieces:
        assert bans[piece.owner] == piece.until


@given(nets(), nets(), st.sets(st.integers(0, 11)))
def test_planned_operations_lead_from_one_flat_form_to_the_next(
    before: Bans, come: Bans, gone: set[int]
) -> None:
    """Doing what is planned turns the old pieces into the new; nothing is deleted that is not there."""
    lifted = [key for index, key in enumerate(before) if index in gone]
    changes: dict[tuple[int, int, int], float | None] = {**dict.fromkeys(lifted), **come}
    pieces = {(piece.low, piece.high): piece.until for piece in flatten(before)}
    for operation in plan_nets(before, changes, 1, "net4", 0.0):
        ends = (operation.low, operation.high)
        if operation.verb != "add":
            del pieces[ends]
        if operation.verb != "delete":
            assert ends not in pieces
            pieces[ends] = operation.timeout / 1000 if operation.timeout else FOREVER
    after = {key: until for key, until in before.items() if key not in lifted} | come
    assert pieces == {(piece.low, piece.high): piece.until for piece in flatten(after)}


@given(st.integers(0, (1 << 32) - 1), st.integers(0, 1 << 16), st.booleans())
def test_networks_between_are_the_range(low: int, size: int, v6: bool) -> None:
    """The networks of a range are disjoint, in order, and together exactly the range."""
    base = V6 if v6 else 0
    high = min(low + size, (1 << 32) - 1)
    expected = base + low
    for network in networks_between(base + low, base + high):
        first, last = bounds(*network)
        assert first == expected
        assert network == network_of(first, network.prefix, network.prefix)
        expected = last + 1
    assert expected == base + high + 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("192.0.2.7", "host4"),
        ("192.0.2.0/24", "net4"),
        ("192.0.2.6/31", "net4"),
        ("0.0.0.0/0", "net4"),
        ("2001:db8::7", "host6"),
        ("2001:db8::/64", "prefix6"),
        ("2001:db8::/48", "net6"),
        ("2001:db8::/65", "net6"),
        ("::/0", "net6"),
    ],
)
def test_kinds(text: str, kind: str) -> None:
    """Hosts and /64 networks go into hash sets, all others into interval sets."""
    network = parse_network(text)
    assert network is not None
    assert kind_of(*network) == kind
    assert range_text(*bounds(*network)) == text


@pytest.mark.parametrize(
    "network",
    [
        Network(7, 24),
        Network(1 << 32, 32),
        Network(V6 + 1, 64),
        Network(7, 33),
        Network(-1, 32),
        Network(7, -1),
    ],
)
def test_what_is_no_network_is_refused(network: Network) -> None:
    """Host bits, lengths and addresses out of range never become a key."""
    with pytest.raises(ValueError, match="no network"):
        key_of(network, "mail")


def test_an_unknown_scope_is_refused() -> None:
    """A scope that is none is named with those there are."""
    with pytest.raises(ValueError, match="auth, mail, all"):
        key_of(Network(7, 32), "web")


def test_the_last_word_on_a_network_counts() -> None:
    """Of several effects on one network the last is done; bans that are over and alerts ask for nothing."""
    host = Network(BASE + 7, 32)
    effects = [
        Impose(Ban(host, 0.0, 10.0), 0.0),
        Lift(host, 1.0, "unban"),
        Impose(Ban(Network(BASE + 8, 32), 0.0, 10.0, scope="auth"), 0.0),
        Impose(Ban(Network(BASE + 9, 32), 0.0, 3.0), 0.0),
    ]
    assert changes_of(effects, 5.0) == {(1, BASE + 7, 32): None, (0, BASE + 8, 32): 10.0}


def test_desired_forgets_what_is_over() -> None:
    """`alive` and `nets` leave bans out that are over; `purge` forgets them."""
    desired = Desired({(1, BASE, 24): 5.0, (1, BASE, 25): FOREVER, (1, BASE + 1, 32): 9.0})
    assert set(desired.alive(5.0)) == {(1, BASE, 25), (1, BASE + 1, 32)}
    assert set(desired.nets(1, "net4", 5.0)) == {(1, BASE, 25)}
    assert desired.purge(5.0) == [(1, BASE, 24)]
    assert len(desired.bans) == 2
