"""Growth in the running guard: measured, told, shown, and known after a restart; and in recorded logs."""

from __future__ import annotations

import io
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mailguard.cli import program
from mailguard.cli.moments import timed
from mailguard.cli.status import facts, growing, verdict
from mailguard.clock import ManualClock
from mailguard.core.ports import Pace
from mailguard.daemon import Options
from mailguard.daemon.build import Loaded, options_of
from mailguard.daemon.door import Door
from mailguard.daemon.guard import Guard
from mailguard.daemon.learn import rotated_logs
from mailguard.daemon.meter import roots
from mailguard.daemon.printer import Printer
from mailguard.definitions.parsers import load_parsers
from mailguard.definitions.settings import Growth, Log, load_settings
from mailguard.firewall.recording import Recording
from mailguard.model import Request
from mailguard.problems import ProblemsError
from mailguard.sdnotify import Notifier
from tests.epost_server import Options as Installation
from tests.epost_server import Server

BEGIN = datetime(2026, 9, 7, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86400.0
PARSERS = tuple(load_parsers(["postfix"]))
EVERY = 300.0
LINE = 140  # bytes, about
REPLAY = ("replay", "--parser", "dovecot", "--timezone", "UTC", "-o", "plain")


class Place:
    """A guard that follows one log and counts one spool; the clock is moved by hand."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.log, self.spool, self.told = folder / "mail.log", folder / "spool", folder / "told"
        for path in (self.spool / "incoming", self.spool / "domains", folder / "state"):
            path.mkdir(parents=True)
        self.log.touch()
        command = folder / "tell"
        command.write_text(
            f"#!{sys.executable}\nimport sys\nopen({str(self.told)!r}, 'a').write(sys.stdin.read())\n"
        )
        command.chmod(0o755)
        self.clock = ManualClock(BEGIN)
        self.more = f'[growth]\nevery = "5m"\nspools = ["{self.spool}"]\n[alerts]\ncommand = ["{command}"]\n'
        self.out = io.StringIO()
        self.kept = [Log("mail", "file", (str(self.log),))]
        self.parsers = PARSERS
        self.guard: Guard

    def load(self) -> Loaded:
        return Loaded(load_settings("mailguard.toml", text=self.more), self.parsers)

    def start(self) -> None:
        logs = self.kept
        self.guard = Guard(
            Options(), self.load(), logs, Door(Recording(self.clock), "recording"),
            state=str(self.folder / "state"), socket=str(self.folder / "socket"), never=list,
            reload_with=lambda: (self.load(), logs), clock=self.clock, pace=Pace(checkpoint_every=0.0),
            printer=Printer("plain", self.out, io.StringIO()), notifier=Notifier({}),
        )  # fmt: skip
        self.guard.start()
        self.guard.loop.hurry = True

    def write(self, count: int, source: str = "198.51.100.10", user: str = "sato") -> None:
        stamp = datetime.fromtimestamp(self.clock.now(), UTC).isoformat()
        line = (
            f"{stamp} mx postfix/smtpd[1]: 3FA0C2126: client=pc[{source}], sasl_method=PLAIN,"
            f" sasl_username={user}\n"
        )
        with self.log.open("a") as file:
            file.write(line * count)

    def run(self, until: float, count: int = 10, **who: str) -> None:
        """Until then, with so many lines each time it is measured."""
        while self.clock.now() < until:
            self.clock.set(self.clock.now() + EVERY)
            self.write(count, **who)
            self.guard.loop.step()
            self.guard.loop.step()

    def ask(self, verb: str) -> dict[str, Any]:
        answers: list[dict[str, Any]] = []
        self.guard.loop._answer(Request(verb, {}, answers.append), self.clock.now())
        return answers[0]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.start()
    yield made
    made.guard.end()


def test_a_log_that_grows(place: Place) -> None:
    """Said in the log, given to the administrator's command, kept in the ledger, shown by `status`; over a
    restart and a reload."""
    place.run(BEGIN + 4 * DAY)
    place.guard.end()
    place.start()
    place.run(BEGIN + 6 * DAY)
    assert place.ask("reload")["ok"]
    place.run(BEGIN + 8 * DAY)
    status = place.ask("status")["growth"]["things"][str(place.log)]
    assert not status["learning"]
    assert status["since"] is None
    assert isinstance(timed(place.ask("status"))["growth"]["things"][str(place.log)]["amount"], int)
    assert 10 * LINE <= status["normal"] <= 40 * LINE
    assert "alert" not in place.out.getvalue()
    place.run(BEGIN + 8 * DAY + 900, 500, source="192.0.2.66", user="mori")
    said = [line for line in place.out.getvalue().splitlines() if "by growth" in line]
    assert len(said) == 1
    assert f"alert {place.log} by growth: " in said[0]
    assert said[0].endswith("[alert]")
    answer = place.ask("status")
    assert [name for name, _ in growing(answer)] == [str(place.log)]
    assert any(str(place.log) in warning for warning in verdict(answer)[1])
    assert str(dict(facts(answer))["growth"]).startswith("3 logs and folders watched")
    place.guard.writer.settle()
    kept = place.guard.ledger.answers.history(limit=10)
    assert [(one["detector"], one["key"]) for one in kept] == [("growth", str(place.log))]
    end = time.monotonic() + 20
    while not place.told.exists() or not place.told.read_text().endswith("\n"):
        assert time.monotonic() < end, "the command got nothing"
        time.sleep(0.02)
    alert = json.loads(place.told.read_text())["alert"]
    assert alert["key"] == str(place.log)
    assert int(alert["facts"]["normal"]) < alert["count"]


def test_folders_that_cannot_be_counted_are_shown(place: Place) -> None:
    answer = place.ask("status")
    answer["growth"]["unreadable"] = {"/var/spool/postfix/active": "Permission denied"}
    words = str(dict(facts(answer))["growth"])
    assert words.endswith("not counted: /var/spool/postfix/active (Permission denied)")


def test_switched_off(tmp_path: Path) -> None:
    made = Place(tmp_path)
    made.more = "[growth]\nenabled = false\n"
    made.start()
    assert made.guard.meter is None
    answer = made.ask("status")
    assert answer["growth"] is None
    assert "growth" not in dict(facts(answer))
    made.guard.end()


def test_which_spools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the logs and Postfix's; or what is written; or none."""
    logs = [Log("a", "epost", ("/m/spool", "/n/spool")), Log("b", "file", ("/var/log/mail.log",))]
    monkeypatch.setattr(os.path, "isdir", lambda path: path == "/var/spool/postfix")
    assert roots(Growth(), logs) == ("/m/spool", "/n/spool", "/var/spool/postfix")
    assert roots(Growth(spools=("/x",)), logs) == ("/x",)
    assert roots(load_settings("x.toml", text='[growth]\nspools = "off"\n').growth, logs) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('every = "8m"', "every is longer than half of within"),
        ('within = "2h"', "within is longer than an hour"),
        ("times = 1", "times must be a whole number from 2 to 1000"),
        ("least_bytes = true", "least_bytes must be a whole number"),
        ('spools = ["auto", "/x"]', "'auto' is no folder"),
        ('spools = "queue"', "'queue' is no folder"),
        ('learn = "1h"', "learn"),
        ('evry = "1m"', "unknown key 'evry'"),
    ],
)
def test_wrong_settings_are_refused(text: str, words: str) -> None:
    """With their line."""
    with pytest.raises(ProblemsError) as raised:
        load_settings("mailguard.toml", text=f"[growth]\n{text}\n")
    assert len(raised.value.problems) == 1
    assert words in raised.value.problems[0].what
    assert raised.value.problems[0].where.endswith(":2")


def test_earlier_days_teach_what_is_normal(tmp_path: Path) -> None:
    """At the first start, the day-named files that are there already; the newest two are followed."""
    place = Place(tmp_path)
    server = Server(tmp_path / "spool", tmp_path / "program", place.clock, Installation(zone="UTC"))
    for _ in range(10 * 24 * 6):
        place.clock.set(place.clock.now() + 600)
        session = server.smtp("198.51.100.25")
        session.send("MAIL FROM:<a@example.net>")
        session.hang_up()
    server.close()
    folder = server.logs.folder("acceptlog")
    for number, path in enumerate(sorted(folder.iterdir())):
        os.utime(path, (BEGIN + (number + 1) * DAY,) * 2)
    log = Log("epost", "epost", (str(tmp_path / "spool"),), timezone="UTC")
    recorded = [one.path for one in rotated_logs([(log, options_of(log, True))], place.clock.now())]
    assert [path for path in recorded if path.startswith(str(folder))] == [
        str(folder / f"2609{day:02}.log") for day in range(7, 16)
    ]
    place.kept = [log]
    place.parsers = tuple(load_parsers(["epost-acceptlog"]))
    place.start()
    status = place.ask("status")["growth"]["things"][str(folder)]
    assert not status["learning"]
    place.guard.end()


def test_recorded_logs(tmp_path: Path) -> None:
    """`mailguard replay --growth` tells the same for any number of processes, and nothing without it."""
    chance = random.Random(5)
    flood = BEGIN + 8 * DAY + 11 * HOUR
    for day in range(9):
        lines = []
        for minute in range(24 * 60):
            at = BEGIN + day * DAY + 60 * minute
            count = chance.randint(1, 3) * (200 if flood <= at < flood + HOUR else 1)
            stamp = datetime.fromtimestamp(at, UTC).isoformat()
            source = "192.0.2.66" if flood <= at < flood + HOUR else "198.51.100.10"
            line = f"{stamp} mx dovecot: imap-login: Login: user=<sato>, method=PLAIN, rip={source},"
            lines.append(f"{line} lip=203.0.113.25, mpid=273, TLS, session=<F8G0L9pgLbfLAHGg>\n" * count)
        (tmp_path / f"mail.log-202609{day + 7:02}").write_text("".join(lines))
    logs = [str(path) for path in sorted(tmp_path.iterdir())]
    said = []
    for more in (["--growth"], ["--growth", "--workers", "2"], []):
        result = CliRunner().invoke(program, [*REPLAY, *more, *logs])
        assert result.exit_code == 0, result.output
        said.append([line for line in result.stdout.splitlines() if "growth" in line])
    assert said[0] == said[1]
    assert said[2] == []
    assert len(said[0]) == 1
    assert f"alert {tmp_path}/mail.log by growth: " in said[0][0]
    assert "accounts sato " in said[0][0]
    assert "sources 192.0.2.66 " in said[0][0]
    assert datetime.fromisoformat(said[0][0].split()[0]).timestamp() - flood <= 600
