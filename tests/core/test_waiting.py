"""What waits is found as by looking through all of it, and as quickly however much waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import process_time
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core import heard as module
from mailguard.core.acts import NEAR, NEVER
from mailguard.core.heard import Heard
from mailguard.core.rules import IGNORE
from mailguard.core.waiting import Held, Side
from mailguard.model import Event

NOW = 1_797_040_000.0
SERVERS = ("", "2")


class PlainWaiting:
    """The reference: one list for each side, looked through."""

    def __init__(self) -> None:
        self.due = NEVER
        self.sides: dict[Side, list[Held]] = {}

    def __len__(self) -> int:
        return sum(len(part) for part in self.sides.values())

    def __contains__(self, one: Held) -> bool:
        return one in self.sides.get(one.side, ())

    def __iter__(self) -> Iterator[Held]:
        return iter(sorted((one for part in self.sides.values() for one in part), key=lambda one: one.turn))

    def hold(self, one: Held) -> None:
        self.sides.setdefault(one.side, []).append(one)
        self.due = min(self.due, one.due)

    def take(self, one: Held) -> None:
        self.sides[one.side].remove(one)
        if not self.sides[one.side]:
            del self.sides[one.side]

    def find(self, side: Side, line: bool, name: str | None, method: str, time: float) -> Held | None:
        for one in self.sides.get(side, ()):
            named = one.name == name if name is not None else bool(method)
            near = abs(one.event.time - time) <= NEAR
            if named and near and one.line == line and one.method == method:
                return one
        return None

    def lines(self, side: Side, time: float) -> int:
        return sum(one.line and abs(one.event.time - time) <= NEAR for one in self.sides.get(side, ()))

    def first(self) -> Held:
        return min((part[0] for part in self.sides.values()), key=lambda one: one.turn)

    def freed(self, at: float) -> list[Held]:
        free = [one for part in self.sides.values() for one in part if one.due <= at]
        return sorted(free, key=lambda one: (not one.line, one.turn))

    def renew(self) -> None:
        self.due = min((one.due for part in self.sides.values() for one in part), default=NEVER)


class PlainLately:
    """The reference: what happened, in line."""

    def __init__(self, most: int) -> None:
        self.kept: deque[tuple[float, str, str]] = deque(maxlen=most)

    def add(self, time: float, method: str = "", name: str = "") -> None:
        self.kept.append((time, method, name))

    def near(self, time: float) -> int:
        return sum(abs(one - time) <= NEAR for one, _, _ in self.kept)

    def names(self, time: float, method: str) -> Iterator[str]:
        return (name for one, how, name in self.kept if how == method and abs(one - time) <= NEAR)


class Servers:
    """By the name of the log."""

    def of(self, event: Event) -> bytes:
        return event.log.encode()


def rule(parser: str, heard_by: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(full_name=f"{parser}/told", heard_by=heard_by)


PARSERS: list[Any] = [
    SimpleNamespace(name="lines", dialogue=None, rules=[rule("lines", ("talk",))]),
    SimpleNamespace(name="talk", dialogue=object(), rules=[rule("talk")]),
]


def event(parser: str, kind: str, time: float, user: str, method: str, server: str, number: int) -> Event:
    fields = {"user": user, "method": method}
    source = number if parser == "lines" else None
    return Event(
        kind, time, source, f"{parser}/told", 1, fields, server, number, "mail", True, frozenset(), b""
    )


class Step(NamedTuple):
    """Something is told, or time passes; `later`: the stamp against the clock."""

    parser: str  # "": time passes
    kind: str
    later: float
    user: str
    method: str
    server: str
    passes: float


steps = st.builds(
    Step,
    st.sampled_from(("lines", "lines", "talk", "talk", "talk", "")),
    st.sampled_from(("auth_failure", "auth_failure", "auth_success", IGNORE)),
    st.sampled_from((0.0, 0.0, -1.0, -2.0, -3.0, 1.0, 2.0, 2.5, -0.25, -2.25, 5.0)),
    st.sampled_from(("sato", "ito", "mori", "", "-", '"sato')),
    st.sampled_from(("", "plain", "PLAIN", "login")),
    st.sampled_from((*SERVERS, "")),
    st.sampled_from((0.0, 0.0, 0.0, 0.5, 1.0, 3.0)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=120), st.integers(2, 12), st.integers(1, 6))
def test_what_waits_is_found_as_by_looking_through_all(told: list[Step], cap: int, lately: int) -> None:
    """What counts, what is covered, when something is due, what a checkpoint holds and is taken up of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CAP", cap)
        patch.setattr(module, "_LATELY", lately)
        pair = [Heard(PARSERS, Servers(), True) for _ in range(2)]  # type: ignore[arg-type]
        pair[1]._waiting = PlainWaiting()  # type: ignore[assignment]
        at = NOW
        for number, step in enumerate(told):
            at += step.passes
            found: list[list[Event]] = []
            for heard, kind in zip(pair, (module.Lately, PlainLately), strict=True):
                with pytest.MonkeyPatch.context() as kept:
                    kept.setattr(module, "Lately", kind)
                    counts = heard.release(at)
                    if step.parser:
                        told_now = event(
                            step.parser,
                            step.kind,
                            at + step.later,
                            step.user,
                            step.method,
                            step.server,
                            number,
                        )
                        if step.parser == "talk":
                            counts += heard.said(told_now, at)
                        elif step.kind != IGNORE:
                            counts += heard.line(told_now, at)
                    found.append(counts)
            assert found[0] == found[1], step
            assert_alike(pair)
        again = [Heard(PARSERS, Servers(), True) for _ in range(2)]  # type: ignore[arg-type]
        again[1]._waiting = PlainWaiting()  # type: ignore[assignment]
        for heard, other in zip(pair, again, strict=True):
            row = heard.row()
            if row is not None:
                other.restore(row)
        assert_alike(again)
        assert again[0].release(NEVER) == again[1].release(NEVER)
        assert pair[0].release(NEVER) == pair[1].release(NEVER)
        assert not pair[0]._waiting._keys, "nothing is left behind"
        assert not pair[0]._waiting._lines


def assert_alike(pair: list[Heard]) -> None:
    assert pair[0].due == pair[1].due
    assert pair[0].covered == pair[1].covered
    assert bool(pair[0]) == bool(pair[1])
    assert pair[0].row() == pair[1].row()


@pytest.mark.parametrize("parser", ["lines", "talk"])
@pytest.mark.parametrize("users", [1, 20_000])
def test_a_flood_costs_the_same_for_each(parser: str, users: int) -> None:
    """Ten thousand wait, and each that comes lets the one go that has waited longest."""
    heard = Heard(PARSERS, Servers(), True)  # type: ignore[arg-type]
    tell = heard.line if parser == "lines" else heard.said
    flood = [
        event(parser, "auth_failure", NOW + number // 5000, f"u{number % users}", "PLAIN", "", number)
        for number in range(20_000)
    ]
    for one in flood[:10_000]:
        tell(one, NOW)
    assert heard.release(NOW) == []
    begun = process_time()
    counted = sum(len(tell(one, NOW)) for one in flood[10_000:])
    taken = process_time() - begun
    assert counted == 10_000
    assert taken < 3.0, f"{taken / 10_000 * 1e6:.0f} µs each; looking through all takes 500 and more"


def test_what_was_taken_is_not_kept_by_its_due() -> None:
    """Line and act meet at once for hours: nothing of them stays."""
    heard = Heard(PARSERS, Servers(), True)  # type: ignore[arg-type]
    for number in range(5_000):
        heard.said(event("talk", "auth_failure", NOW, "sato", "PLAIN", "", number), NOW)
        heard.line(event("lines", "auth_failure", NOW, "sato", "PLAIN", "", number), NOW)
    assert not heard
    assert heard.covered == 5_000
    assert len(heard._waiting._dues) < 200
