"""What is counted of all events is what there was, whatever the order and the number."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.model import HOSTILE, Event
from mailguard.notation import V6, network_of
from mailguard.report import watching
from mailguard.report.watching import Watcher

T = 1_760_000_000.0
SOURCES = (0xC0000201, 0xC0000202, 0xC6336407, V6 + (0x20010DB8 << 96), V6 + (0x20010DB8 << 96) + 5, None)
KINDS = (*HOSTILE, "auth_success", "mail_accepted")


def event(kind: str, at: float, source: int | None, user: str = "anna") -> Event:
    return Event(kind, T + at, source, "p/r", 1, {"user": user}, "log", 0)


EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(KINDS),
        st.floats(0, 400_000),
        st.sampled_from(SOURCES),
        st.sampled_from(("anna", "bert", "", "x" * 500)),
    ),
    max_size=80,
)


@given(EVENTS, st.integers(1, 9))
def test_counts_are_those_of_the_events(events: list[Event], batch: int) -> None:
    """Volumes, sources, networks and accounts are what plain counting gives, for any size of batches."""
    watcher = Watcher()
    for start in range(0, len(events), batch):
        watcher.take(events[start : start + batch])
    hostile = [one for one in events if one.kind in HOSTILE]
    for one in hostile[::2]:
        watcher.stopped(one.kind, one.time)

    edges = [T, T + 100_000, T + 300_000, T + 400_001]
    volumes = watcher.volumes(edges)
    assert {one.kind: sum(one.events) for one in volumes} == Counter(one.kind for one in hostile)
    assert sum(sum(one.stopped) for one in volumes) == len(hostile[::2])
    for volume in volumes:
        for at in range(3):
            between = [
                one.time
                for one in hostile
                # by the minute: an edge inside a minute belongs to the stretch in which the minute begins
                if one.kind == volume.kind and edges[at] <= max(T, one.time // 60 * 60) < edges[at + 1]
            ]
            assert volume.events[at] == len(between)

    keys = [
        one.source if one.source < V6 else one.source >> 64 << 64 for one in hostile if one.source is not None
    ]
    assert {key: source.events for key, source in watcher.sources(99)} == Counter(keys)
    assert {where: one.events for where, one in watcher.networks(99)} == Counter(
        network_of(key, 24, 48) for key in keys
    )
    for where, one in watcher.networks(99):
        assert one.sources == len({key for key in keys if network_of(key, 24, 48) == where})

    failed = [
        one for one in hostile if one.kind == "auth_failure" and one.source is not None and one.fields["user"]
    ]
    assert {one.name: one.failures for one in watcher.accounts(99)} == Counter(
        one.fields["user"][: watching.NAME] for one in failed
    )
    for account in watcher.accounts(99):
        logins = [one for one in events if one.kind == "auth_success"]
        assert account.logins == sum(one.fields["user"][: watching.NAME] == account.name for one in logins)


def test_ranked_by_what_they_did() -> None:
    """The most active come first; of equals the lower address and name."""
    watcher = Watcher()
    watcher.take([event("auth_failure", at, source, user) for at, source, user in ((1, 9, "b"), (2, 7, "a"))])
    watcher.take([event("relay_denied", 3, 8), event("relay_denied", 4, 8)])
    assert [key for key, _ in watcher.sources(2)] == [8, 7]
    assert [one.name for one in watcher.accounts(2)] == ["a", "b"]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources that did most are kept, the others counted, and networks keep the figures of all."""
    monkeypatch.setattr(watching, "SOURCES", 100)
    monkeypatch.setattr(watching, "ACCOUNTS", 100)
    watcher = Watcher()
    busy = [event("auth_failure", at, 0xC6336401, "root") for at in range(50)]
    watcher.take(busy)
    for number in range(1000):
        watcher.take([event("auth_failure", number, 0xCB007100 + (number << 8), f"name{number}")])
    assert len(watcher._sources) <= 101
    assert len(watcher._accounts) <= 101
    assert watcher.forgotten + len(watcher._sources) == 1001
    assert watcher.names_forgotten + len(watcher._accounts) == 1001
    assert watcher.sources(1)[0][1].events == watcher.accounts(1)[0].failures == 50
    assert sum(one.events for _, one in watcher.networks(5000)) == 1050


def test_long_spans_are_counted_coarsely() -> None:
    """A year of events is kept by the quarter of an hour, and none is lost."""
    watcher = Watcher()
    begin = -(T % 86400)
    for day in range(365):
        at = begin + day * 86400
        watcher.take([event("auth_failure", at + minute * 60, 7) for minute in range(0, 1440, 30)])
        watcher.stopped("auth_failure", T + at)
    (volume,) = watcher.volumes([T + begin + days * 86400 for days in (0, 180, 400)])
    assert len(watcher._volume) <= 365 * 96
    assert volume.events == [180 * 48, 185 * 48]
    assert volume.stopped == [180, 185]
