"""kill -9 at any moment: a guard that was killed and started again comes to the same as one that never
stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.clock import ManualClock
from mailguard.core.detectors import BanRule, Detector
from mailguard.core.engine import Engine, Setup
from mailguard.core.judge import Judge
from mailguard.core.loop import Loop
from mailguard.core.ports import Pace
from mailguard.core.rules import Parser
from mailguard.core.scanner import Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions.parsers import load_parser
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.live import LiveFeed, make_source
from mailguard.firewall.recording import Recording
from mailguard.ledger import Ledger
from mailguard.ledger.writer import Writer
from mailguard.model import Item
from mailguard.replay import Collector, Summary

T = 1_760_000_000.0
PARSER = """
format = 1
title = "A log for this test"
envelope = ["syslog"]
program = ["door"]
scope = "auth"
guard = "the door writes all but the name, and that is letters"

[session.visit]
key = ["session"]
lifetime = "1h"
cap = 1000

[[rule]]
name = "comes"
event = "connect"
match = "visit {session:[a-z0-9]{1,8}} from {source:ip}"
session = { open = "visit" }
  [[rule.sample]]
  line = "2025-10-09T08:53:20+00:00 mx door[1]: visit a1 from 192.0.2.7"
  expect = { session = "a1", source = "192.0.2.7" }

[[rule]]
name = "knocks"
event = "auth_failure"
match = "visit {session:[a-z0-9]{1,8}} refused for {user:[a-z]{1,16}}"
session = { use = "visit" }
  [[rule.sample]]
  after = ["2025-10-09T08:53:20+00:00 mx door[1]: visit a1 from 192.0.2.7"]
  line = "2025-10-09T08:53:21+00:00 mx door[1]: visit a1 refused for john"
  expect = { session = "a1", source = "192.0.2.7", user = "john" }

[[rule]]
name = "enters"
event = "auth_success"
match = "{user:[a-z]{1,16}} entered from {source:ip}"
  [[rule.sample]]
  line = "2025-10-09T08:53:21+00:00 mx door[1]: john entered from 192.0.2.7"
  expect = { user = "john", source = "192.0.2.7" }
"""
DETECTORS = (
    Detector(
        "guessing", "many", ("auth_failure",), "source", 600.0, count=4, ban=BanRule(120.0, 2.0, 86400.0)
    ),
    Detector(
        "slow",
        "few, for long",
        ("auth_failure",),
        "source",
        86400.0,
        count=7,
        ban=BanRule(600.0, 2.0, 86400.0),
    ),
    Detector("names", "names", ("auth_failure",), "source", 3600.0, distinct="user", values=3, alert=True),
    Detector(
        "account", "one account", ("auth_failure",), "user", 3600.0, distinct="source", values=3, alert=True
    ),
)


class Killed(BaseException):
    """SIGKILL, as far as one process can do that to itself."""


class Mortal:
    """Stands before an object and dies at the n-th call, before or after it was carried out."""

    def __init__(self, inner: Any, life: Life):
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **named: Any) -> Any:
            self._life.breath()
            result = found(*args, **named)
            self._life.breath()
            return result

        return call


class Life:
    def __init__(self, breaths: int | None):
        self.left = breaths

    def breath(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


class Ready:
    """A feed that never waits."""

    def __init__(self, feed: LiveFeed, clock: ManualClock):
        self.feed = feed
        self.clock = clock
        self.positions = feed.positions

    def next(self, deadline: float | None) -> list[Item] | None:
        return self.feed.next(self.clock.monotonic())


class House:
    """A guard on one log, which can be killed and started again."""

    def __init__(self, folder: Path, parser: Parser, now: float = T, threaded: bool = False):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.log = folder / "door.log"
        self.log.touch()
        self.parser = parser
        self.threaded = threaded  # only one that is really killed may have a thread
        self.clock = ManualClock(now)
        self.lines = 0
        self.rotations = 0
        self.start(None)
        self.loop.step()  # the first checkpoint, from which on nothing is lost
        self.loop.checkpoint()

    def start(self, breaths: int | None) -> None:
        life = Life(breaths)
        self.ledger = Ledger(self.folder / "ledger.db")
        rows = list(self.ledger.restore())
        engine = Engine(Setup(DETECTORS, secret=b"the same on every start", track=True))
        self.judge = Judge(Scanner([self.parser], keep_lines=True), Sessions([self.parser]), engine)
        self.judge.restore(rows)
        self.judge.enforcing = True
        options = LogOptions(name="door", paths=(str(self.log),), start="begin")
        self.feed = LiveFeed(
            [make_source(options, self.ledger.positions(), self.clock)], self.clock, spacing=0
        )
        self.firewall = Recording(self.clock)
        self.firewall.open(self.ledger.due(self.clock.now()), self.clock.now())
        self.teller = Collector(Summary())
        self.loop = Loop(
            Mortal(Ready(self.feed, self.clock), life),
            Mortal(self.judge, life),
            Mortal(self.firewall, life),
            Writer(Mortal(self.ledger, life), threaded=self.threaded),
            self.clock,
            self.teller,
            pace=Pace(checkpoint_every=5.0),
        )

    def die(self) -> None:
        """Descriptors are closed by the kernel; nothing else is done for a killed process."""
        self.feed.close()
        self.ledger._store.db.close()
        self.ledger._reader.db.close()

    def write(self, sources: list[tuple[int, int]]) -> None:
        """Each (source, user) is one visit of two lines, 40 seconds apart from the next one."""
        for source, user in sources:
            self.clock.set(self.clock.now() + 40)
            stamp = datetime.fromtimestamp(self.clock.now(), UTC).isoformat()
            name = ("john", "mary", "root", "info")[user]
            with self.log.open("a") as file:
                if user == 3 and source == 0:
                    file.write(f"{stamp} mx door[1]: {name} entered from 192.0.2.{source}\n")
                else:
                    file.write(f"{stamp} mx door[1]: visit s{self.lines} from 192.0.2.{source}\n")
                    file.write(f"{stamp} mx door[1]: visit s{self.lines} refused for {name}\n")
            self.lines += 1

    def rotate(self) -> None:
        """As logrotate does it: log.1 becomes log.2, and so on."""
        for number in range(self.rotations, 0, -1):
            os.rename(f"{self.log}.{number}", f"{self.log}.{number + 1}")
        os.rename(self.log, f"{self.log}.1")
        self.log.touch()
        self.rotations += 1

    def rest(self) -> None:
        """Until nothing is left to read, then a clean end."""
        while True:
            before = self.feed.positions()
            self.loop.step()
            if self.feed.positions() == before:
                break
        self.loop.checkpoint()

    def story(self) -> dict[str, Any]:
        """What is in the ledger: effects, standing bans, and the lines of each source."""
        effects = [
            (row["effect"], row["detector"], row["key"], row["first"], row["until"], row["ordinal"],
             row["count"], tuple(line["line"] for line in row["evidence"]))
            for row in self.ledger.answers.every_effect()
        ]  # fmt: skip
        lines = self.ledger._db.execute(
            "SELECT address, time, line FROM evidence ORDER BY address, time, position"
        ).fetchall()
        hashed = json.dumps([effects, lines], ensure_ascii=False)
        for name in ("john", "mary", "root", "info"):  # each ledger hashes with a key of its own
            hashed = hashed.replace(self.ledger.redactor.name(name), name)
        told, kept = json.loads(hashed)
        return {
            "effects": sorted(map(str, told)),
            "lines": kept,
            "due": sorted((ban.network, ban.until) for ban in self.ledger.due(self.clock.now())),
            "firewall": sorted(network for network, _ in self.firewall.banned()),
        }


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Parser:
    path = tmp_path_factory.mktemp("parsers") / "door.toml"
    path.write_text(PARSER)
    return load_parser(path)


VISITS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8)
DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), VISITS),
        st.tuples(st.just("step"), st.integers(1, 3)),
        st.tuples(st.just("rotate"), st.none()),
        st.tuples(st.just("kill"), st.integers(0, 24)),
    ),
    min_size=4,
    max_size=24,
)


@settings(max_examples=40, deadline=None)
@given(deeds=DEEDS)
def test_the_same_effects_whenever_it_is_killed(parser: Parser, deeds: list[tuple[str, Any]]) -> None:
    """Effects, standing bans and kept lines are those of a guard that was never killed, rotations included.

    "kill n" gives the next guard n calls to its neighbours to live; it dies before or after any of them.
    """
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        mortal, immortal = House(Path(one), parser), House(Path(two), parser)
        for what, value in deeds:
            if what == "write":
                mortal.write(value)
                immortal.write(value)
            elif what == "rotate":
                mortal.rotate()
                immortal.rotate()
            elif what == "kill":
                mortal.die()
                mortal.start(value)
            else:
                for _ in range(value):
                    immortal.loop.step()
                    try:
                        mortal.loop.step()
                    except Killed:
                        mortal.die()
                        mortal.start(None)
        try:
            mortal.rest()
        except Killed:
            mortal.die()
            mortal.start(None)
            mortal.rest()
        immortal.rest()
        try:
            assert mortal.story() == immortal.story()
        finally:
            for house in (mortal, immortal):
                house.feed.close()
                house.ledger.close()


def test_the_story_is_not_an_empty_one(parser: Parser, tmp_path: Path) -> None:
    """The comparison above compares bans, alerts and lines, not nothing with nothing."""
    house = House(tmp_path, parser)
    house.write([(1, 0), (1, 1), (1, 2), (1, 0), (2, 0), (3, 0)] * 2)
    house.rest()
    story = house.story()
    assert any("'impose', 'guessing', '192.0.2.1'" in effect for effect in story["effects"])
    assert any("'alert', 'names'" in effect for effect in story["effects"])
    assert any("'alert', 'account'" in effect for effect in story["effects"])
    assert len(story["lines"]) >= 8
    assert "refused for john" in str(story["effects"])
    house.feed.close()
    house.ledger.close()


VISITS_OF_A_DAY = [(n % 3 + 1, n % 4) for n in range(30)]


def test_killed_after_every_single_call(parser: Parser, tmp_path: Path) -> None:
    """The same, with every place in two batches at which it can die, one after the other."""
    whole = House(tmp_path / "whole", parser)
    whole.write(VISITS_OF_A_DAY)
    whole.rest()
    assert len(whole.story()["effects"]) > 3
    for breath in range(40):
        house = House(tmp_path / str(breath), parser)
        house.write(VISITS_OF_A_DAY[:15])
        house.die()
        house.start(breath)
        try:
            house.loop.step()
            house.write(VISITS_OF_A_DAY[15:])
            house.rest()
        except Killed:
            house.die()
            house.start(None)
            house.write(VISITS_OF_A_DAY[house.lines :])
            house.rest()
        assert house.story() == whole.story(), f"killed after {breath} calls"
        house.feed.close()
        house.ledger.close()
    whole.feed.close()
    whole.ledger.close()


CHILD = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
import test_loop_killed as room
folder = Path(sys.argv[1])
house = room.House(folder, room.load_parser(folder / "door.toml"), float(sys.argv[2]), True)
print("up", flush=True)
while True:
    house.loop.step()
    house.clock.set(house.clock.now() + 0.001)
"""


@pytest.mark.parametrize("delay", [1, 7, 20])
def test_a_real_kill(parser: Parser, tmp_path: Path, delay: int) -> None:
    """SIGKILL to a real process while it works; the next one on the same files ends up where it would
    have."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()
        (folder / "door.toml").write_text(PARSER)
    visits = [(n % 3 + 1, n % 4) for n in range(40)]
    immortal = House(whole, parser)
    immortal.write(visits)
    immortal.rest()
    (killed / "door.log").write_bytes(immortal.log.read_bytes())
    here = Path(__file__).resolve()
    script = CHILD.format(root=str(here.parent.parent), tests=str(here.parent))
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(killed), str(immortal.clock.now())], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    _until(lambda: (killed / "ledger.db-wal").stat().st_size > 4096 * delay or child.poll() is not None)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    mortal = House(killed, parser, immortal.clock.now())
    mortal.rest()
    assert mortal.story() == immortal.story()
    for house in (mortal, immortal):
        house.feed.close()
        house.ledger.close()


def _until(true: Callable[[], bool]) -> None:
    """Wait, at most for some seconds; whatever the moment, the kill that follows is a fair one."""
    import time

    end = time.monotonic() + 3
    while time.monotonic() < end and not true():
        time.sleep(0.001)
