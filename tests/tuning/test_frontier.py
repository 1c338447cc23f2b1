"""The grid, the frontier, the advice and the doubts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from mailguard.core.detectors import BanRule, Detector
from mailguard.definitions.settings import load_settings
from mailguard.replay.summary import Summary
from mailguard.tuning.doubts import doubts
from mailguard.tuning.frontier import advise, frontier, knee
from mailguard.tuning.grid import GridError, make, parse_axis, present
from mailguard.tuning.measures import Measures
from mailguard.tuning.paste import settings_text

SETTINGS = load_settings()
BY_NAME = {one.name: one for one in SETTINGS.detectors}
D = Detector("d", "", ("auth_failure",), "source", 600.0, count=5, ban=BanRule(600.0, 4.0, 6000.0))


def measures(hurt: int, through: int, own: int = 50, accounts: int = 0) -> Measures:
    return Measures(10, 5, 20, own, 60.0, 90.0, 1000 - through, through, hurt, accounts, 0, 0, 0, 7)


def variants(count: int) -> list[Detector]:
    return [D, *(replace(D, count=5 + n) for n in range(1, count))]


def test_a_setting_is_on_the_frontier_when_none_is_better() -> None:
    """From the least harm to the most; of equals the one that changes least."""
    found = {
        0: measures(2, 300),
        1: measures(0, 500),
        2: measures(5, 100),
        3: measures(5, 200),
        4: measures(2, 300),
    }
    assert frontier(found, variants(5)) == [1, 0, 2]


def test_the_knee_is_where_more_begins_to_cost_more() -> None:
    """The point furthest below the line between the ends."""
    assert knee([(0, 1.0), (1, 0.2), (2, 0.15), (9, 0.1)]) == 1
    assert knee([(0, 1.0), (9, 0.1)]) == 0
    assert knee([]) == 0


def test_advice_says_why() -> None:
    """The knee, against the present setting, with what lies beyond."""
    found = {0: measures(1, 600), 1: measures(0, 900), 2: measures(1, 200), 3: measures(30, 150)}
    advice = advise(found, variants(4))
    assert advice is not None
    assert advice.place == 2
    told = dict(advice.reasons)
    assert told["stops"]["more"] == 400
    assert told["beyond"] == {"hurt": 29, "more": 50}
    assert told["somebody"]["hurt"] == 1


def test_harm_for_nothing_is_not_advised() -> None:
    """More harm must buy protection; and what changes nothing to speak of is no advice."""
    found = {0: measures(0, 500), 1: measures(2, 498), 2: measures(9, 497)}
    advice = advise(found, variants(3))
    assert advice is not None
    assert advice.place == 0
    assert advice.reasons[0][0] == "keep"


def test_where_there_is_nothing_to_choose() -> None:
    """No hostile event; a detector that never fires; a sweep that was broken off; nothing tried."""
    quiet = replace(measures(0, 0), stopped=0)
    assert advise({0: quiet}, variants(1)).reasons[0][0] == "quiet"  # type: ignore[union-attr]
    never = {0: measures(0, 500, own=0), 1: measures(0, 500, own=0)}
    assert advise(never, variants(2)).reasons[0][0] == "never-fires"  # type: ignore[union-attr]
    assert advise({1: measures(0, 500)}, variants(2)).reasons[0][0] == "unfinished"  # type: ignore[union-attr]
    assert advise({}, variants(2)) is None


@pytest.mark.parametrize(
    ("seconds", "kinds", "own", "expected"),
    [
        (90 * 86400.0, {"auth_success": 500, "mail_accepted": 500}, 50, set()),
        (3600.0, {"auth_success": 500, "mail_accepted": 500}, 50, {"one-day"}),
        (90 * 86400.0, {"auth_success": 3}, 50, {"few-known"}),
        (90 * 86400.0, {"auth_success": 300}, 50, {"no-mail"}),
        (90 * 86400.0, {"mail_accepted": 300}, 4, {"no-logins", "few-attackers"}),
        (300.0, {"auth_success": 500, "mail_accepted": 500}, 50, {"one-day", "window"}),
    ],
)
def test_thin_history_is_doubted(seconds: float, kinds: dict[str, int], own: int, expected: set[str]) -> None:
    """Too short for a window, one day, few attackers, few who speak for anybody."""
    summary = Summary(first=0.0, last=seconds, by_kind=Counter(kinds))
    told = doubts(summary, variants(2), {0: measures(0, 500, own), 1: measures(0, 400, own)}, 0)
    assert {name for name, _ in told} == expected
    assert ("shut-out", {"bans": 3}) in doubts(summary, variants(1), {0: measures(0, 5, own)}, 0, 3)


@pytest.mark.parametrize("name", sorted(one.name for one in SETTINGS.detectors if one.ban is not None))
def test_every_shipped_detector_can_be_tuned(name: str) -> None:
    """The present setting first, no setting twice, never more than asked for, and each can be pasted."""
    detector = BY_NAME[name]
    for most in (2, 12, 200):
        grid = make(detector, {}, most, SETTINGS.general.retention)
        assert grid.variants[0] == detector
        assert len(set(grid.variants)) == len(grid.variants) <= most
    for variant in grid.variants[:: max(1, len(grid.variants) // 8)]:
        text = settings_text(detector, variant)
        found = load_settings("tuned.toml", text=text)
        assert present(next(one for one in found.detectors if one.name == name)) == present(variant)


def test_the_grid_is_what_was_asked_for() -> None:
    """All combinations, with the present values; what cannot be is left out and counted."""
    grid = make(D, {"count": [3], "key": ["network", "source"], "within": [60.0, 200 * 86400.0]}, 50, 0.0)
    assert len(grid.variants) == 8
    assert grid.refused == 4
    with pytest.raises(GridError, match="many"):
        make(D, {"count": [*range(1, 60)]}, 50, 0.0)
    with pytest.raises(GridError, match="no-axis"):
        make(D, {"distinct": [3]}, 50, 0.0)
    assert parse_axis("ban=10m,1h") == ("ban", [600.0, 3600.0])


def test_the_paste_changes_only_what_differs() -> None:
    """Cases that would no longer hold are taken away, others stay."""
    detector = BY_NAME["password-guessing"]
    assert settings_text(detector, detector) == ""
    assert settings_text(detector, replace(detector, ban=BanRule(3600.0, 4.0, 604800.0))) == (
        '[detector.password-guessing]\nban = { first = "1h", factor = 4, longest = "7d" }\n'
    )
    assert "case = []" in settings_text(detector, replace(detector, count=3))


def test_fewer_bans_that_hurt_more_people_spare_nobody() -> None:
    """A ban of a network in place of five of addresses: that it hurts with fewer bans is no reason for it."""
    wide = measures(1, 100, accounts=27)
    for accounts, spared in ((14, False), (27, True)):
        advice = advise({0: measures(5, 300, accounts=accounts), 1: wide}, variants(2))
        assert advice is not None
        assert advice.place == 1
        names = [name for name, _ in advice.reasons]
        assert ("spares" in names, "somebody" in names) == (spared, True)
