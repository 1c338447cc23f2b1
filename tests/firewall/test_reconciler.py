"""When the reconciler looks, what it does about what it finds, and what it says."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import Any

import pytest

from mailguard.clock import ManualClock
from mailguard.firewall.desired import Bans, Key
from mailguard.firewall.driver import Differences
from mailguard.firewall.interface import FirewallError
from mailguard.firewall.reconcile import Reconciler
from mailguard.firewall.recording import Recording
from mailguard.model import Notice

HOST: Key = (1, 0xC0000207, 32)
OTHER: Key = (1, 0xC0000208, 32)


class Told(Recording):
    """A driver whose system is what the test says."""

    def __init__(self, clock: ManualClock):
        super().__init__(clock)
        self.layout: list[str] = []
        self.found: Differences | Exception = Differences([], [], [])
        self.broken: FirewallError | None = None
        self.restored = 0
        self.mendings: list[Differences] = []
        self.ticks: list[float] = []
        self.next_tick: float | None = None
        self.ears = os.pipe()

    def watch_fileno(self) -> int | None:
        return self.ears[0]

    def touched(self) -> bool:
        return os.read(self.ears[0], 100) == b"touched"

    def missing_layout(self) -> list[str]:
        return self.layout

    def restore(self, bans: Bans, now: float, gone: Any = ()) -> list[tuple[Key, float]]:
        if self.broken is not None:
            raise self.broken
        self.restored += 1
        self.layout = []
        return []

    def compare(self, now: float) -> Differences:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def mend(self, differences: Differences, now: float) -> None:
        self.mendings.append(differences)
        self.desired.adopt(differences.foreign)

    def tick(self, now: float) -> float | None:
        self.ticks.append(now)
        return self.next_tick


class Stage:
    """Driver, clock and reconciler, and what was said."""

    def __init__(self) -> None:
        self.clock = ManualClock(1000.0)
        self.driver = Told(self.clock)
        self.said: list[Notice] = []
        self.reconciler = Reconciler(self.driver, self.clock, self.said.append)
        self.driver.open_keys({HOST: 5000.0}, 1000.0)
        self.driver.restored = 0
        self.reconciler.opened(False)

    def hear(self, what: bytes = b"touched") -> None:
        os.write(self.driver.ears[1], what)
        self.reconciler.readable(self.driver.ears[0])

    def go(self, seconds: float) -> None:
        """Time passes; what is due is done, also by the child."""
        end = self.clock.now() + seconds
        while True:
            deadline = self.reconciler.deadline()
            if deadline is None or deadline > end:
                break
            self.clock.set(deadline)
            self.reconciler.run_due()
            self.finish()
        self.clock.set(end)

    def fork(self) -> None:
        """Time passes until the child compares."""
        self.clock.set(self.clock.now() + 0.2)
        self.reconciler.run_due()
        assert len(self.reconciler.descriptors()) == 2

    def finish(self) -> None:
        """Wait for the child that compares."""
        while True:
            child = [number for number in self.reconciler.descriptors() if number != self.driver.ears[0]]
            if not child:
                return
            assert select.select(child, [], [], 10)[0]
            self.reconciler.readable(child[0])

    def end(self) -> None:
        self.reconciler.stop()
        for number in self.driver.ears:
            os.close(number)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


def test_foreign_noise_is_nothing(stage: Stage) -> None:
    """Notices of other people's tables make it look at nothing."""
    stage.hear(b"noise")
    stage.go(30)
    assert stage.said == []
    assert stage.driver.restored == 0


def test_a_missing_layout_is_restored_and_said(stage: Stage) -> None:
    """Within a moment of the notice, once."""
    stage.driver.layout = ["the table is gone"]
    stage.hear()
    stage.go(0.2)
    assert stage.driver.restored == 1
    assert [notice.args for notice in stage.said] == [{"what": "the table is gone", "bans": 1}]


def test_without_a_notice_the_slow_look_finds_it(stage: Stage) -> None:
    """A notice may be lost; every minute it looks by itself."""
    stage.driver.layout = ["the table is gone"]
    stage.go(61)
    assert stage.driver.restored == 1


def test_repairs_are_apart(stage: Stage) -> None:
    """Somebody who flushes all the time is answered about once a second."""
    for _ in range(20):
        stage.driver.layout = ["rules of prerouting: gone"]
        stage.hear()
        stage.go(0.1)
    assert 1 <= stage.driver.restored <= 10


def test_differences_are_mended_and_told(stage: Stage) -> None:
    """Counts and the first few names, for what was missing and what was adopted."""
    foreign = [((1, 0xC6336400 + index, 32), 5000.0) for index in range(7)]
    stage.driver.found = Differences([HOST], foreign, [])
    stage.hear()
    stage.go(0.2)
    assert stage.driver.mendings == [Differences([HOST], foreign, [])]
    ((notice),) = stage.said
    assert notice.args["what"] == (
        "1 ban was missing or changed: 192.0.2.7; 7 bans that nobody asked for were adopted: "
        "198.51.100.0, 198.51.100.1, 198.51.100.2, 198.51.100.3, 198.51.100.4, ..."
    )
    assert (notice.args["wrong"], notice.args["adopted"]) == (1, 7)
    assert len(stage.driver.desired.bans) == 8


def test_what_changed_during_the_comparison_is_left_alone(stage: Stage) -> None:
    """Bans imposed or lifted while the child read are neither repaired nor adopted."""
    stage.driver.found = Differences([HOST], [(OTHER, 5000.0)], [])
    stage.hear()
    stage.fork()
    stage.driver.change({HOST: None, OTHER: 2000.0}, stage.clock.now())
    stage.driver.change({OTHER: None}, stage.clock.now())
    stage.reconciler.changed([HOST, OTHER])
    stage.finish()
    assert stage.driver.mendings == []
    assert stage.said == []
    assert stage.driver.desired.bans == {}


def test_a_comparison_that_fails_is_tried_later_and_later(stage: Stage) -> None:
    """Said after some failures, once; it goes on trying, and forgets it when it works again."""
    stage.driver.found = OSError(11, "the ruleset changes faster than it can be read")
    stage.hear()
    stage.go(5)
    assert stage.said == []
    stage.go(300)
    ((notice),) = stage.said
    assert notice.id == "firewall-table"
    assert "faster than it can be read" in notice.args["what"]
    stage.driver.found = Differences([HOST], [], [])
    stage.go(61)
    assert len(stage.driver.mendings) == 1


def test_a_repair_that_fails_is_said_once_and_tried_again(stage: Stage) -> None:
    """Until it works; then the next failure is news again."""
    stage.driver.layout = ["the table is gone"]
    stage.driver.broken = FirewallError("no memory", lost=True)
    stage.hear()
    stage.go(20)
    assert [notice.id for notice in stage.said] == ["firewall-lost"]
    stage.driver.broken = None
    stage.go(61)
    assert [notice.id for notice in stage.said] == ["firewall-lost", "firewall-repaired"]
    assert stage.driver.restored == 1
    stage.driver.layout = ["the table is gone"]
    stage.driver.broken = FirewallError("no memory", lost=True)
    stage.go(61)
    assert [notice.id for notice in stage.said][2:] == ["firewall-lost"]


def test_a_pause_is_kept_and_ends(stage: Stage) -> None:
    """Nothing is repaired within it; what was heard meanwhile is looked at when it is over."""
    stage.reconciler.pause(600)
    stage.driver.layout = ["the table is gone"]
    for _ in range(5):
        stage.hear()
        stage.go(100)
    assert stage.driver.restored == 0
    stage.go(101)
    assert stage.driver.restored == 1


def test_stopping_ends_the_child(stage: Stage) -> None:
    """`stop` waits for nothing; nothing is due and nothing is watched afterwards."""
    stage.driver.found = Differences([HOST], [], [])
    stage.hear()
    stage.fork()
    stage.reconciler.stop()
    assert stage.reconciler.descriptors() == []
    assert stage.reconciler.deadline() is None


def test_ticks_come_when_the_driver_asked(stage: Stage) -> None:
    """After opening, at the time it names, and after every change."""
    stage.driver.next_tick = 1010.0
    stage.reconciler.changed([HOST])
    stage.go(5)
    assert stage.driver.ticks == [1000.0]
    stage.go(6)
    assert stage.driver.ticks[:2] == [1000.0, 1010.0]


def test_over_bans_are_forgotten(stage: Stage) -> None:
    """Bans that the kernel ended long ago do not pile up in memory."""
    stage.go(4100)
    assert stage.driver.desired.bans == {}
