"""Detectors: what counts by which key, who is excused, what a sequence is."""

from __future__ import annotations

import pytest

from mailguard.core.cases import run_case
from mailguard.core.detectors import KIND_NUMBER, Case, Detector
from mailguard.core.keys import key_function, user_network
from mailguard.core.lanes import Lane, event_flags
from mailguard.core.marks import Marks
from mailguard.core.names import Hasher
from mailguard.core.networks import (
    NetworkMap,
    network_key,
    overlap,
    pack_network,
    source_key,
    source_network,
    source_of_value,
    source_value,
    unpack_network,
    value_network,
    wide_network,
)
from mailguard.core.table import Table
from mailguard.model import Event
from mailguard.notation import format_address, format_network
from tests.written import address, network

HASHER = Hasher(b"test")
PROVED = frozenset({"user", "helo", "sender", "recipient"})


def event(source: str | None = "192.0.2.7", proved: frozenset[str] = PROVED, **fields: str) -> Event:
    packed = None if source is None else address(source)
    return Event("auth_failure", 0.0, packed, "a/b", 1, fields, "log", 0, proved=proved)


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("text", "source", "wide"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
    ],
)
def test_what_one_source_is(text: str, source: str, wide: str) -> None:
    """An IPv4 address, or an IPv6 /64; its network is the /24 or /48."""
    packed = address(text)
    assert format_network(source_network(packed)) == source
    assert format_network(wide_network(packed)) == wide
    assert source_key(packed) == source_network(packed).address
    assert network_key(packed) == wide_network(packed).address
    assert source_of_value(source_value(packed)) == source_key(packed)
    assert unpack_network(pack_network(wide_network(packed))) == wide_network(packed)


def test_values_count_by_network() -> None:
    """Two addresses of a /24, or two /64s of a /48, are one network."""
    assert value_network(source_value(address("192.0.2.7"))) == value_network(
        source_value(address("192.0.2.9"))
    )
    one, other = address("2001:db8:1:2::1"), address("2001:db8:1:ffff::1")
    assert value_network(source_value(one)) == value_network(source_value(other))
    assert value_network(source_value(one)) != value_network(source_value(address("2001:db8:2::1")))


def test_an_address_that_cannot_be_told_is_no_value() -> None:
    """IPv6 ::/32 is routed nowhere; it could be taken for an IPv4 address, so it counts for none."""
    assert source_value(address("::1")) == 0
    assert source_value(address("::5:6:7:8")) == 0


@pytest.mark.parametrize(
    ("form", "fields", "same", "other"),
    [
        ("user", {"user": "Sato"}, {"user": "sato"}, {"user": "suzuki"}),
        ("helo", {"helo": "mx.example.net"}, {"helo": "MX.example.net"}, {"helo": "mx"}),
        ("sender", {"sender": "a@example.net"}, {"sender": "A@example.net"}, {"sender": "b@example.net"}),
        (
            "recipient_domain",
            {"recipient": "a@example.com"},
            {"recipient": "b@EXAMPLE.com"},
            {"recipient": "a@example.org"},
        ),
    ],
)
def test_names_are_keys_when_proved(
    form: str, fields: dict[str, str], same: dict[str, str], other: dict[str, str]
) -> None:
    """The same name whatever its case, another name another key, an unproved name none."""
    key_of = key_function(form, HASHER)
    assert key_of(event(**fields)) == key_of(event("198.51.100.1", **same))
    assert key_of(event(**fields)) != key_of(event(**other))
    assert key_of(event(**fields, proved=frozenset())) is None
    assert key_of(event()) is None


def test_user_and_network_together() -> None:
    """The same user from the same /24 is one key; another network or another user is another."""
    key_of = key_function("user+network", HASHER)
    one = key_of(event("192.0.2.7", user="sato"))
    assert one == key_of(event("192.0.2.99", user="sato"))
    assert one != key_of(event("198.51.100.7", user="sato"))
    assert one != key_of(event("192.0.2.7", user="suzuki"))
    assert one == user_network(HASHER("sato"), address("192.0.2.1"))
    assert key_of(event(None, user="sato")) is None


def test_network_lists() -> None:
    """The widest entry around an address, and any entry that touches a network."""
    listed = NetworkMap([(network(text), text) for text in ("192.0.2.0/28", "192.0.2.0/24", "2001:db8::/32")])
    assert len(listed) == 3
    assert listed.covering(address("192.0.2.3")) == (network("192.0.2.0/24"), "192.0.2.0/24")
    assert listed.covering(address("198.51.100.1")) is None
    assert listed.touching(network("192.0.0.0/16")) is not None
    assert listed.touching(network("192.0.2.77")) == (network("192.0.2.0/24"), "192.0.2.0/24")
    assert listed.touching(network("2001:db8:1::/48")) is not None
    assert listed.touching(network("198.51.100.0/24")) is None
    assert listed.remove(network("192.0.2.0/24"))
    assert not listed.remove(network("192.0.2.0/24"))
    assert listed.covering(address("192.0.2.77")) is None
    assert overlap(network("192.0.2.0/24"), network("192.0.2.7"))
    assert not overlap(network("192.0.2.0/24"), network("192.0.3.7"))


# ---------------------------------------------------------------- counting

COUNT = Detector("count", "", ("auth_failure",), "source", 60.0, count=3, alert=True)
DISTINCT = Detector("distinct", "", ("auth_failure",), "source", 60.0, distinct="user", values=3, alert=True)
BOTH = Detector(
    "both", "", ("auth_failure",), "network", 60.0, distinct="source", values=2, count=4, alert=True
)
NETWORKS = Detector("networks", "", ("auth_failure",), "user", 60.0, distinct="network", values=2, alert=True)
SEQUENCE = Detector("sequence", "", ("auth_failure",), "user", 60.0, count=3, then="auth_success", alert=True)
STRANGER = Detector("stranger", "", ("auth_failure",), "source", 60.0, count=2, who="stranger", alert=True)
KNOWN = Detector("known", "", ("auth_failure",), "user+network", 60.0, count=2, who="known", alert=True)
UNLESS = Detector(
    "unless", "", ("unknown_recipient",), "source", 60.0, count=2, unless=(("sender", ""),), alert=True
)
MIXED = Detector("mixed", "", ("auth_failure", "connect"), "source", 60.0, count=3, alert=True)


@pytest.mark.parametrize(
    ("detector", "case", "fires"),
    [
        (COUNT, Case((0, 30, 60), None), 60),
        (COUNT, Case((0, 30, 61), None), None),
        (COUNT, Case((0, 30, 61, 62), None), 62),
        (DISTINCT, Case((0, 1, 2), None, ("a", "b", "c")), 2),
        (DISTINCT, Case((0, 1, 2, 3), None, ("a", "b", "A", "b")), None),
        (DISTINCT, Case((0, 1, 2), None), None),
        (DISTINCT, Case((0, 50, 70, 71), None, ("a", "b", "c", "a")), 71),
        (BOTH, Case((0, 1, 2, 3), None, ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2")), 3),
        (BOTH, Case((0, 1, 2), None, ("192.0.2.1", "192.0.2.2", "192.0.2.3")), None),
        (BOTH, Case((0, 1, 2, 3, 4), None, ("192.0.2.1",) * 5), None),
        (NETWORKS, Case((0, 1), None, ("192.0.2.1", "192.0.2.2")), None),
        (NETWORKS, Case((0, 1), None, ("192.0.2.1", "198.51.100.2")), 1),
        (SEQUENCE, Case((0, 1, 2, 3), None), 3),
        (SEQUENCE, Case((0, 1, 2), None), None),
        (SEQUENCE, Case((0, 1, 2, 61), None), None),
        (SEQUENCE, Case((0, 1, 2, 60), None), 60),
        (KNOWN, Case((0, 1), None), 1),
        (UNLESS, Case((0, 1), None), 1),
        (UNLESS, Case((0, 1), None, fields=(("sender", ""),)), None),
        (UNLESS, Case((0, 1), None, fields=(("sender", "a@example.net"),)), 1),
        (MIXED, Case((0, 1, 2), None, kind="connect"), 2),
    ],
)
def test_when_a_detector_fires(detector: Detector, case: Case, fires: float | None) -> None:
    """The table of what counting means."""
    assert run_case(detector, case) == fires


def test_who_counts() -> None:
    """Strangers' failures count for one detector, known users' for another, nobody's for both."""
    lane = Lane("source", [STRANGER], Table("t", 64), HASHER)
    kind = KIND_NUMBER["auth_failure"]
    item = event(user="sato")
    for _ in range(5):
        assert not lane.feed(1, item, kind, event_flags(item, True), 0, 0, 0.0)
    assert lane.history.table.get(1) is None  # not even remembered: nobody here wants it
    assert not lane.feed(1, item, kind, event_flags(item, False), 0, 0, 0.0)
    assert lane.feed(1, item, kind, event_flags(item, False), 0, 0, 0.0)


def test_an_unproved_field_excuses_nothing() -> None:
    """`unless` holds only for what the server itself wrote there."""
    lane = Lane("source", [UNLESS], Table("t", 64), HASHER)
    kind = KIND_NUMBER["unknown_recipient"]
    item = Event("unknown_recipient", 0.0, 1, "a/b", 1, {"sender": ""}, "log", 0, proved=frozenset())
    assert not lane.feed(1, item, kind, 0, 0, 0, 0.0)
    assert lane.feed(1, item, kind, 0, 0, 0, 0.0)


def test_a_light_event_completes_what_a_heavy_one_began() -> None:
    """One line may stand for several attempts; the line after it counts on, however short the history is."""
    lane = Lane("source", [COUNT], Table("t", 64), HASHER)
    kind, heavy = KIND_NUMBER["auth_failure"], event()._replace(weight=COUNT.count - 1)
    assert not lane.feed(1, heavy, kind, event_flags(heavy, False), 0, 0, 0.0)
    (fired,) = lane.feed(1, event(), kind, event_flags(event(), False), 0, 0, 0.0)
    assert fired.span.total == COUNT.count


def test_detectors_of_one_key_share_one_history() -> None:
    """However many look: one record an event."""
    lane = Lane("source", [COUNT, DISTINCT, STRANGER, MIXED], Table("t", 64), HASHER)
    item = event(user="sato")
    lane.feed(1, item, KIND_NUMBER["auth_failure"], 0, 0, 0, 0.0)
    assert len(lane.history.table) == 1
    assert len(lane.history.table.get(1) or b"") == 32


def test_marks_are_bounded_and_tidied() -> None:
    """What was consumed is remembered as long as it matters, for a bounded number of keys."""
    marks = Marks("m", 10, track=True)
    for key in range(20):
        marks.set(key, float(key))
    assert len(marks) == 10
    assert marks.get(19) == 19.0
    assert marks.get(0) == float("-inf")
    marks.set(19, 5.0)
    assert marks.get(19) == 19.0
    rows = {key: value for _, key, value in marks.changes(False) if value is not None}
    copy = Marks("m", 10, track=False)
    for key, value in rows.items():
        copy.restore(key, value)
    assert all(copy.get(key) == marks.get(key) for key in range(20))
    many = Marks("m", 100_000, track=False)
    for key in range(5000):
        many.set(key, float(key))
    many.tidy(4000.0)
    assert len(many) == 1000


def test_hashes_are_keyed_and_never_zero() -> None:
    """Another installation's key gives other hashes; letter case does not count."""
    assert HASHER("Sato") == HASHER("sATO")
    assert HASHER("sato") != Hasher(b"other")("sato")
    assert HASHER("") != 0
    assert format_address(address("192.0.2.7")) == "192.0.2.7"
