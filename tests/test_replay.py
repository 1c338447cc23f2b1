"""Replay: the same loop on recorded logs, in one order, with the rows that others script against."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailguard.core.detectors import BanRule, Detector
from mailguard.core.engine import Engine, Setup
from mailguard.core.judge import Judge
from mailguard.core.rules import Parser
from mailguard.core.scanner import Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions.parsers import load_parser
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.recorded import RecordedLog
from mailguard.model import Alert, Effect, Lift, Network, Offence
from mailguard.replay import Summary, replay, row, rows

T = 1_760_000_000.0
PARSER = """
format = 1
title = "A log for this test"
envelope = ["syslog"]
program = ["door"]

[[rule]]
name = "knocks"
event = "auth_failure"
match = "refused {source:ip}"
  [[rule.sample]]
  line = "2025-10-09T08:53:20+00:00 mx door[1]: refused 192.0.2.7"
  expect = { source = "192.0.2.7" }

[[rule]]
name = "comes"
event = "connect"
match = "visit from {source:ip}"
  [[rule.sample]]
  line = "2025-10-09T08:53:20+00:00 mx door[1]: visit from 192.0.2.7"
  expect = { source = "192.0.2.7" }
"""
DETECTORS = (
    Detector(
        "guessing", "many", ("auth_failure",), "source", 600.0, count=4, ban=BanRule(120.0, 2.0, 86400.0)
    ),
    Detector("range", "net", ("auth_failure",), "network", 3600.0, distinct="source", values=3, alert=True),
)


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Parser:
    path = tmp_path_factory.mktemp("parsers") / "door.toml"
    path.write_text(PARSER)
    return load_parser(path)


@pytest.fixture
def judge(parser: Parser) -> Callable[[], Judge]:
    def make() -> Judge:
        made = Judge(Scanner([parser]), Sessions([parser]), Engine(Setup(DETECTORS)), evidence=False)
        made.enforcing = True
        return made

    return make


def stamp(at: float) -> str:
    return datetime.fromtimestamp(T + at, UTC).isoformat()


def line(at: float, host: int, what: str = "refused") -> str:
    return f"{stamp(at)} mx door[1]: {what} 192.0.2.{host}\n"


def told(judge: Judge, paths: list[Path]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    summary = Summary()
    effects = list(rows(replay([RecordedLog(str(path)) for path in paths], judge, summary), "UTC"))
    return effects, summary.row()["summary"]


def test_the_contract(judge: Callable[[], Judge], tmp_path: Path) -> None:
    """Every key is there in every row, times are RFC 3339 with zone, and the summary counts what was seen."""
    log = tmp_path / "door.log"
    log.write_text(
        "".join(line(60 * n, 7) for n in range(4)) + "no line of ours\n" + line(400, 9, "visit from")
    )
    effects, summary = told(judge(), [log])
    assert effects == [
        {
            "time": stamp(180),
            "effect": "impose",
            "network": "192.0.2.7",
            "detector": "guessing",
            "until": stamp(300),
            "ordinal": 1,
            "count": 4,
            "first": stamp(0),
            "last": stamp(180),
            "key": "192.0.2.7",
        }
    ]
    assert summary == {
        "records": 6,
        "events": 5,
        "by_kind": {"auth_failure": 4, "connect": 1},
        "imposed": 1,
        "alerts": 0,
        "seconds": 400,
    }


def test_effects_that_lack_something_have_nulls() -> None:
    """A lift has no detector, an alert without a ban no end; the keys are the same for all."""
    offence = Offence("range", "192.0.2.0/24", T, T + 1, 3)
    some: list[Effect] = [
        Lift(Network(0xC0000207, 32), T, "replaced"),
        Alert(offence, T + 1, "standing", Network(0xC0000200, 24)),
        Alert(offence, T + 1, "user"),
    ]
    keys = set(row(some[0], str))
    told = [row(effect, str) for effect in some]
    assert all(set(one) == keys for one in told)
    assert [one["effect"] for one in told] == ["lift", "alert", "alert"]
    assert [one["network"] for one in told] == ["192.0.2.7", "192.0.2.0/24", None]
    assert told[1]["until"] is None
    json.dumps(told)


def test_the_order_of_the_arguments_does_not_matter(judge: Callable[[], Judge], tmp_path: Path) -> None:
    """Logs merge by their stamps, ties by name: any order of the files gives the same output, byte for
    byte."""
    random.seed(1)
    paths = []
    for name in ("a", "b", "c"):
        times = sorted(random.uniform(0, 2000) // 1 for _ in range(60))
        path = tmp_path / f"{name}.log"
        path.write_text("".join(line(at, random.randrange(6)) for at in times))
        paths.append(path)
    stories = [told(judge(), list(order)) for order in itertools.permutations(paths)]
    assert len(stories[0][0]) > 5
    assert all(story == stories[0] for story in stories)


def test_split_logs_give_what_the_whole_log_gives(judge: Callable[[], Judge], tmp_path: Path) -> None:
    """Rotated files, the older one compressed, are judged like the one log they were."""
    lines = [line(30 * n, n % 3) for n in range(60)]
    whole = tmp_path / "whole.log"
    whole.write_text("".join(lines))
    new, old = tmp_path / "door.log", tmp_path / "door.log.1.gz"
    new.write_text("".join(lines[30:]))
    old.write_bytes(gzip.compress("".join(lines[:30]).encode()))
    effects, summary = told(judge(), [whole])
    parts, summed = told(judge(), [new, old])
    assert parts == effects
    assert summed == summary


def test_a_late_line_does_not_move_the_log_back(judge: Callable[[], Judge], tmp_path: Path) -> None:
    """A log's place in the order is its newest stamp so far; its events keep their own."""
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_text(line(0, 1) + line(100, 1) + line(50, 1) + line(101, 1))
    two.write_text(line(99, 2, "visit from") + line(102, 2, "visit from"))
    (effect,), _ = told(judge(), [one, two])
    assert effect["first"] == stamp(0)
    assert effect["last"] == stamp(101)


def test_a_last_line_without_its_end_is_no_record(judge: Callable[[], Judge], tmp_path: Path) -> None:
    """`records` are line ends seen; and an address at the end of a torn line may be another one's
    beginning."""
    log = tmp_path / "door.log"
    log.write_text(line(0, 1) + line(1, 1).rstrip("\n"))
    _, summary = told(judge(), [log])
    assert (summary["records"], summary["events"]) == (1, 1)


def test_nothing_gives_a_summary_of_nothing(judge: Callable[[], Judge], tmp_path: Path) -> None:
    """An empty log, and one in which no line has a stamp."""
    empty, strange = tmp_path / "empty.log", tmp_path / "strange.log"
    empty.touch()
    strange.write_text("what\nis\nthis\n")
    assert told(judge(), [empty])[1] == {
        "records": 0, "events": 0, "by_kind": {}, "imposed": 0, "alerts": 0, "seconds": 0,
    }  # fmt: skip
    assert told(judge(), [strange])[1]["records"] == 3


def test_the_span_holds_lines_that_make_no_event(judge: Callable[[], Judge], tmp_path: Path) -> None:
    """The log time spanned is that of its lines, also where the first and the last mean nothing to any
    rule."""
    log = tmp_path / "door.log"
    log.write_text(
        f"{stamp(0)} mx cron[1]: begin\n" + line(500, 1) + f"{stamp(900)} mx cron[1]: end\n" + "torn line\n"
    )
    assert told(judge(), [log])[1]["seconds"] == 900


def test_options_reach_the_logs(judge: Callable[[], Judge], tmp_path: Path) -> None:
    """The year and the zone of year-less stamps are those that were asked for."""
    log = tmp_path / "door.log"
    log.write_text("".join(f"Mar  3 10:0{n}:00 mx door[1]: refused 192.0.2.7\n" for n in range(4)))
    options = LogOptions(year=2019, timezone="Asia/Tokyo")
    (effect,) = rows(replay([RecordedLog(str(log), options)], judge()), "Asia/Tokyo")
    assert effect["time"] == "2019-03-03T10:03:00+09:00"
