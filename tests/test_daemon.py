"""The guard put together: start, restart, modes, reload, questions, the end. On real files, with a clock of
its own."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailguard import daemon
from mailguard.cli.why import explanation
from mailguard.clock import SystemClock
from mailguard.control import DEFAULT_SOCKET, ControlError
from mailguard.core.ports import Pace
from mailguard.core.scanner import Scanner
from mailguard.daemon import Options, choose_logs, find_logs
from mailguard.daemon.alerts import Runner
from mailguard.daemon.build import Loaded
from mailguard.daemon.door import Door
from mailguard.daemon.guard import Guard
from mailguard.daemon.printer import Printer
from mailguard.daemon.words import SENTENCES, sentence
from mailguard.definitions.parsers import load_parser
from mailguard.definitions.settings import Log, load_settings
from mailguard.definitions.source import shipped
from mailguard.feeds.detect import Found
from mailguard.feeds.wait import Wait
from mailguard.firewall.interface import FirewallError, ports_of
from mailguard.firewall.reach import connect_to
from mailguard.firewall.recording import Recording
from mailguard.firewall.remote import RemoteFirewall
from mailguard.ledger import Ledger, LedgerError
from mailguard.ledger.writer import MOST_CHECKPOINTS
from mailguard.model import Ban, Block, Network, Notice, Record, Records, Request
from mailguard.notation import format_network, parse_network
from mailguard.problems import Problem, ProblemsError
from mailguard.sdnotify import Notifier

T = 1_760_000_000.0
PARSER = """
format = 1
title = "A log for this test"
envelope = ["syslog"]
program = ["door"]
guard = "the door writes all of it"

[[rule]]
name = "knocks"
event = "auth_failure"
match = "refused {user:[a-z0-9]{1,16}} from {source:ip}"
  [[rule.sample]]
  line = "2025-10-09T08:53:20+00:00 mx door[1]: refused john from 192.0.2.7"
  expect = { source = "192.0.2.7", user = "john" }

[[rule]]
name = "enters"
event = "auth_success"
match = "{user:[a-z0-9]{1,16}} entered from {source:ip}"
  [[rule.sample]]
  line = "2025-10-09T08:53:20+00:00 mx door[1]: john entered from 192.0.2.7"
  expect = { source = "192.0.2.7", user = "john" }
"""
SETTINGS = """
[general]
mode = "{mode}"
heartbeat = "1h"
[never]
networks = [{{ network = "198.51.100.0/24", reason = "our office" }}]
"""


class Clock:
    """Wall time of 2025, standing still; the monotonic one runs, as epoll's does."""

    def __init__(self) -> None:
        self.wall = T

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return time.monotonic()


class Place:
    """Where a guard lives; it may be started there again and again."""

    def __init__(self, folder: Path, parser: Any):
        self.folder = folder
        self.log = folder / "door.log"
        self.log.touch()
        self.state = folder / "state"
        self.state.mkdir()
        self.clock = Clock()
        self.parser = parser
        self.mode = "enforce"
        self.more = ""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.firewall = Recording(self.clock)
        self.guard: Guard
        self.pid = 0

    def load(self) -> Loaded:
        settings = load_settings("mailguard.toml", text=SETTINGS.format(mode=self.mode) + self.more)
        return Loaded(settings, (self.parser,))

    def again(self) -> tuple[Loaded, list[Log]]:
        return self.load(), self.logs()

    def logs(self) -> list[Log]:
        return [Log("door", "file", (str(self.log),))]

    def start(self, door: Door | None = None, **options: Any) -> Guard:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.guard = Guard(
            Options(**options), self.load(), self.logs(), door or Door(self.firewall, "recording"),
            state=str(self.state), socket=str(self.folder / "socket"),
            never=lambda: [(Network(0xC0000201, 32), "an address of this host")],
            reload_with=self.again, clock=self.clock, pace=Pace(checkpoint_every=0.0),
            printer=Printer("plain", self.out, self.err), notifier=Notifier({}),
        )  # fmt: skip
        self.guard.start()
        return self.guard

    def end(self) -> int:
        return self.guard.end()

    def write(self, *texts: str, path: Path | None = None, every: float = 1.0) -> None:
        with (path or self.log).open("a") as file:
            for text in texts:
                self.clock.wall += every
                stamp = datetime.fromtimestamp(self.clock.wall, UTC).isoformat()
                file.write(f"{stamp} mx door[{self.pid}]: {text}\n")
                self.pid += 1

    def attack(self, host: str, times: int = 5, **more: Any) -> None:
        self.write(*[f"refused john from {host}"] * times, **more)

    def step(self) -> None:
        """Until nothing more is to be done."""
        self.guard.loop.hurry = True
        while True:
            before = self.guard.feed.positions()
            self.guard.loop.step()
            if self.guard.feed.positions() == before:
                break
        self.guard.loop.hurry = False
        assert self.guard.writer.settle()

    def ask(self, verb: str, **args: Any) -> dict[str, Any]:
        got: list[dict[str, Any]] = []
        self.guard.loop._answer(Request(verb, args, got.append), self.clock.now())
        json.dumps(got[0])
        return got[0]

    def held(self) -> set[str]:
        return {format_network(network) for network, _ in self.firewall.banned()}


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("parsers") / "door.toml"
    path.write_text(PARSER)
    return load_parser(path)


@pytest.fixture
def place(tmp_path: Path, parser: Any) -> Iterator[Place]:
    place = Place(tmp_path, parser)
    yield place
    if hasattr(place, "guard"):
        place.guard.end()


class TestLife:
    def test_from_a_line_to_a_ban_and_its_explanation(self, place: Place) -> None:
        """Five failed logins, one ban in the firewall, one line that tells it, and `why` with the lines
        behind it."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        assert place.held() == {"192.0.2.7"}
        assert "ban 192.0.2.7 for 10m by password-guessing: 5 auth_failure in 4s\n" in place.out.getvalue()
        why = place.ask("why", network="192.0.2.7")
        assert why["banned"] is True
        assert why["lines"][0]["line"].partition("]: ")[2].startswith("refused j…#")
        assert why["undo"] == ["mailguard unban 192.0.2.7"]
        assert why["times_banned"] == 1

    def test_a_restart_keeps_bans_counts_and_the_place_in_the_log(self, place: Place) -> None:
        """Three failures before a clean end and two after it are five; a standing ban comes back with its
        end."""
        place.start()
        place.attack("192.0.2.7")
        place.attack("192.0.2.9", 3)
        place.step()
        until = place.guard.ledger.due(place.clock.now())[0].until
        assert place.end() == 0
        place.firewall = Recording(place.clock)
        place.attack("192.0.2.9", 2)
        place.start()
        assert place.held() == {"192.0.2.7", "192.0.2.9"}
        assert until in {standing.expires for standing in place.firewall.banned().values()}

    @pytest.mark.parametrize("restarted", [False, True])
    def test_a_clock_that_was_ahead(self, place: Place, restarted: bool) -> None:
        """A host that took itself to be a year later for a while: bans of that time last as long as was said,
        whoever was banned may be lifted, and comes again like anybody else."""
        place.clock.wall = T + 365 * 86400
        place.start()
        place.attack("192.0.2.7")
        place.attack("192.0.2.9")
        place.step()
        assert place.held() == {"192.0.2.7", "192.0.2.9"}
        if restarted:
            place.end()
            place.firewall = Recording(place.clock)
        place.clock.wall = T
        if restarted:
            place.start()
        else:
            place.step()
            assert "set back by 365d" in place.err.getvalue()
        bans = place.guard.ledger.due(T)
        assert {ban.until for ban in bans} == {T + 600}
        assert {standing.expires for standing in place.firewall.banned().values()} == {T + 600}
        place.ask("unban", networks=["192.0.2.9"])
        assert [ban.network for ban in place.guard.ledger.due(T)] == [parse_network("192.0.2.7")]
        place.attack("192.0.2.9")
        place.step()
        assert place.held() == {"192.0.2.7", "192.0.2.9"}

    def test_a_ban_that_is_over_does_not_come_back(self, place: Place) -> None:
        """Ended while the guard was away: the ledger remembers it, the firewall does not get it."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        place.end()
        place.clock.wall += 3600
        place.firewall = Recording(place.clock)
        place.start()
        assert place.held() == set()
        assert place.ask("why", network="192.0.2.7")["times_banned"] == 1

    def test_flush_takes_the_bans_along(self, place: Place) -> None:
        """Stopping leaves bans standing; `--flush` removes them."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        place.end()
        assert place.held() == {"192.0.2.7"}
        place.start(flush=True)
        place.end()
        assert place.held() == set()

    def test_own_and_configured_networks_are_spared(self, place: Place) -> None:
        """This host's addresses and the settings' networks are alerted with the reason, never banned."""
        place.start()
        place.attack("192.0.2.1")
        place.attack("198.51.100.3")
        place.step()
        assert place.held() == set()
        assert place.out.getvalue().count("[never-list]") == 2

    def test_signals_stop_and_reload(self, place: Place) -> None:
        """SIGHUP reloads, SIGTERM ends after what was read."""
        place.start()
        os.kill(os.getpid(), signal.SIGHUP)
        place.step()
        assert "new settings and definitions are in use" in place.err.getvalue()
        place.attack("192.0.2.7")
        os.kill(os.getpid(), signal.SIGTERM)
        assert place.guard.run() == 0
        assert "stopping; bans stand" in place.err.getvalue()

    def test_no_firewall_no_start(self, place: Place) -> None:
        """A guard that silently does not stand is worse than a stop."""

        class Gone(Recording):
            def open(self, *_: Any, **__: Any) -> None:
                raise FirewallError("there is none", lost=True)

        with pytest.raises(FirewallError):
            place.start(Door(Gone(place.clock), "gone"))

    def test_two_guards_do_not_share_a_socket(self, place: Place, tmp_path: Path, parser: Any) -> None:
        """The second one is told so and ends."""
        place.start()
        second = Place(tmp_path / "other", parser) if (tmp_path / "other").mkdir() is None else place
        second.folder = place.folder
        with pytest.raises(ControlError, match="another guard"):
            second.start()
        second.guard.end()
        assert (place.folder / "socket").exists()

    def test_two_guards_do_not_share_a_state(self, place: Place, tmp_path: Path, parser: Any) -> None:
        """Whatever socket it is told to use: two would count and write over each other."""
        place.start()
        (tmp_path / "other").mkdir()
        second = Place(tmp_path / "other", parser)
        second.state = place.state
        with pytest.raises(LedgerError, match="another guard runs already"):
            second.start()
        place.end()
        second.start()
        second.end()

    def test_the_watchdog_outlives_a_clock_that_is_set_back(self, place: Place) -> None:
        """systemd hears of the guard although its next look lies a day ahead."""
        place.start()
        place.step()
        alive: list[float] = []
        place.guard.notifier.watchdog = 3.0
        place.guard.notifier.alive = lambda: alive.append(place.clock.wall)  # type: ignore[method-assign]
        place.clock.wall -= 86400
        place.step()
        assert alive == [place.clock.wall]
        place.clock.wall += 1
        place.step()
        assert alive[-1] == place.clock.wall
        place.attack("192.0.2.7")
        place.step()
        assert place.held() == {"192.0.2.7"}

    def test_the_end_of_a_pause_is_said(self, place: Place) -> None:
        """It ends by itself, and nobody is left to wonder."""
        place.start()
        place.ask("pause", **{"for": 60})
        place.clock.wall += 61
        place.step()
        assert place.err.getvalue().count("the pause is over") == 1

    def test_a_repair_that_failed_is_said(self, place: Place) -> None:
        """The enforcer is there, but its table is in other hands: said, and tried again."""

        class Held(Recording):
            def fileno(self) -> int | None:
                return 0

            def notices(self) -> list[Notice]:
                return [Notice("firewall-lost", {"reason": "not permitted"})]

        place.start()
        door = Door(Held(place.clock), "held")
        for notice in door._ready(1):
            place.guard.loop._heard(notice, [])
        assert "the firewall does not take bans: not permitted" in place.err.getvalue()


class TestFirstStart:
    def test_it_observes_and_says_what_it_would_have_done(self, place: Place) -> None:
        """Old lines are learned from quietly; what they would have led to is one number."""
        place.mode = "observe"
        place.attack("192.0.2.7", path=place.folder / "door.log.1")
        place.attack("192.0.2.9")
        place.start()
        assert place.held() == set()
        assert place.out.getvalue() == ""
        assert "10 lines from before were read: 10 events, 2 reasons for a ban" in place.err.getvalue()
        assert "would stand now: ban 192.0.2.9 for 10m by" in place.err.getvalue()
        assert "`mailguard enforce`" in place.err.getvalue()
        place.attack("192.0.2.11")
        place.step()
        (said,) = place.out.getvalue().splitlines()
        assert said.endswith("[observe] would ban for 10m")

    def test_what_is_normal_is_learned_from_rotated_logs(self, place: Place) -> None:
        """A user's own network, known from last week's log, is not banned for his mistyped password."""
        place.write(*["john entered from 192.0.2.7"] * 3, path=place.folder / "door.log.1", every=86400.0 * 2)
        place.start()
        place.attack("192.0.2.7", 6)
        place.attack("203.0.113.9", 5)
        place.step()
        assert place.held() == {"203.0.113.9"}

    def test_the_second_start_learns_nothing_again(self, place: Place) -> None:
        """What was read at the first start is known; lines are judged once."""
        place.attack("192.0.2.7", 3)
        place.start()
        place.end()
        place.start()
        place.attack("192.0.2.7", 1)
        place.step()
        assert place.held() == set()
        place.attack("192.0.2.7", 1)
        place.step()
        assert place.held() == {"192.0.2.7"}


class TestMode:
    def test_what_was_asked_outlives_a_restart(self, place: Place) -> None:
        """`mailguard enforce` needs no change of the settings."""
        place.mode = "observe"
        place.start()
        assert place.ask("status")["mode"] == "observe"
        assert place.ask("enforce")["ok"] is True
        place.end()
        place.start()
        assert place.guard.judge.enforcing
        assert "mode: enforce" in place.err.getvalue()

    def test_a_change_of_the_settings_counts_again(self, place: Place) -> None:
        """Who writes the mode into the file means it, whatever was asked before."""
        place.start()
        place.ask("observe")
        place.end()
        place.start()
        assert not place.guard.judge.enforcing
        place.end()
        place.mode = "observe"
        place.start()
        place.end()
        place.mode = "enforce"
        place.start()
        assert place.guard.judge.enforcing

    def test_the_command_line_comes_first(self, place: Place) -> None:
        """`--observe` and `--enforce` decide."""
        place.start(enforce=False)
        assert not place.guard.judge.enforcing

    def test_enforcing_makes_the_observed_bans_real(self, place: Place) -> None:
        """Those that have not ended are in the firewall when the answer comes."""
        place.mode = "observe"
        place.start()
        place.attack("192.0.2.7")
        place.step()
        answer = place.ask("enforce")
        assert answer["effects"] == ["ban 192.0.2.7 for 10m by password-guessing: 5 auth_failure in 4s"]
        assert place.held() == {"192.0.2.7"}
        assert [ban["network"] for ban in place.ask("bans")["bans"]] == ["192.0.2.7"]

    def test_a_pause_survives_a_restart(self, place: Place) -> None:
        """And ends when it was said to end."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        place.ask("pause", **{"for": 300})
        assert place.held() == set()
        place.end()
        place.start()
        assert place.held() == set()
        assert place.ask("status")["paused_until"] == place.clock.now() + 300
        place.clock.wall += 301
        place.guard.loop.hurry = True
        place.guard.loop.step()
        assert place.held() == {"192.0.2.7"}

    def test_panic(self, place: Place) -> None:
        """Everything open, observing, and a restart does not change that."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        assert place.ask("panic")["args"] == {"lifted": 1}
        assert place.held() == set()
        place.end()
        place.start()
        assert (place.held(), place.guard.judge.enforcing) == (set(), False)


class TestReload:
    def test_new_settings_with_all_that_is_known(self, place: Place) -> None:
        """Counts, bans and the place in the log go over to the new settings."""
        place.start()
        place.attack("192.0.2.7", 3)
        place.step()
        place.more = "[detector.password-guessing]\ncount = 4\ncase = []\n"
        assert place.ask("reload")["ok"] is True
        place.attack("192.0.2.7", 1)
        place.step()
        assert place.held() == {"192.0.2.7"}

    def test_wrong_settings_change_nothing(self, place: Place) -> None:
        """All problems are told, and the old settings go on."""
        place.start()
        place.more = "[detector.password-guessing]\ncuont = 4\n[genral]\n"
        answer = place.ask("reload")
        assert answer["ok"] is False
        assert "cuont" in answer["error"]
        assert "genral" in answer["error"]
        assert "the old ones stay in use" in place.err.getvalue()
        place.attack("192.0.2.7")
        place.step()
        assert place.held() == {"192.0.2.7"}

    def test_other_ports_and_what_waits_for_the_next_start(self, place: Place) -> None:
        """Ports go to the firewall, with the bans that stand; what a running guard cannot change it says."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        place.more = '[firewall]\nports = { auth = [143], mail = [25, 2525] }\naction = "recording"\n'
        assert place.ask("reload")["ok"] is True
        assert place.firewall.ports["mail"] == ports_of({"auth": [143], "mail": [25, 2525]})["mail"]
        assert place.held() == {"192.0.2.7"}
        assert "from the next start of the guard on: action\n" in place.err.getvalue()

    def test_a_reload_that_cannot_be_written_ends_for_systemd_too(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever was told RELOADING is told READY, also when the old settings stay."""
        place.start()
        said: list[str] = []
        monkeypatch.setattr(place.guard.notifier, "ready", said.append)
        monkeypatch.setattr(place.guard.loop, "checkpoint", lambda: None)
        place.guard.writer._checkpoints = MOST_CHECKPOINTS
        assert place.ask("reload")["ok"] is False
        place.guard.writer._checkpoints = 0
        assert len(said) == 1

    def test_a_reload_is_on_disk(self, place: Place) -> None:
        """A guard that is killed right after it goes on from there."""
        place.start()
        place.attack("192.0.2.7", 4)
        place.step()
        place.ask("reload")
        rows = {(table, key) for table, key, _ in Ledger(place.state / "ledger.db", readonly=True).restore()}
        assert any(table == "history/source" for table, _ in rows)

    def test_new_logs_are_read(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A log that was added is read from then on, one that was taken out no more."""
        place.start()
        other = place.folder / "other.log"
        other.touch()
        monkeypatch.setattr(place, "logs", lambda: [Log("other", "file", (str(other),))])
        place.ask("reload")
        place.step()
        place.attack("192.0.2.7")
        place.attack("192.0.2.9", path=other)
        place.step()
        assert place.held() == {"192.0.2.9"}


class TestQuestions:
    def test_status_tells_what_matters(self, place: Place) -> None:
        """Mode, firewall, logs, counters, blindness, ledger."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        status = place.ask("status")
        assert (status["mode"], status["bans"], status["lines"], status["events"]) == ("enforce", 1, 5, 5)
        assert status["firewall"] == {"name": "recording", "words": "", "lost": False, "owed": 0}
        (log,) = status["logs"].values()
        assert log["kind"] == "file"
        assert log["silent"] is False
        assert status["blind"] == []
        assert status["ledger"]["failing"] is False

    def test_an_unreadable_log_is_blindness(self, place: Place) -> None:
        """A log that is not there shows in `status` and is said once."""
        place.log.unlink()
        place.start()
        place.step()
        assert place.err.getvalue().count("BLIND") == 1

    def test_bans_tell_what_still_knocks(self, place: Place) -> None:
        """Pages of bans, with the firewall's counters."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        place.ask("ban", network="203.0.113.0/24", reason="noise", scope="all", **{"for": "permanent"})
        one, two = place.ask("bans")["bans"]
        assert (one["network"], one["packets"], one["detector"]) == ("192.0.2.7", 0, "password-guessing")
        assert (two["network"], two["until"], two["detector"]) == ("203.0.113.0/24", None, "administrator")
        assert [ban["network"] for ban in place.ask("bans", after=one["id"])["bans"]] == ["203.0.113.0/24"]
        assert [ban["network"] for ban in place.ask("bans", detector="administrator")["bans"]] == [
            "203.0.113.0/24"
        ]
        assert place.ask("bans", contains="203.0.113.9")["bans"][0]["network"] == "203.0.113.0/24"
        assert place.ask("bans", contains="nonsense")["ok"] is False
        for number in (float("nan"), float("inf"), -float("inf"), 10**30):
            assert place.ask("bans", after=number, limit=number, since=number)["ok"] is True

    def test_what_somebody_else_put_into_the_firewall(self, place: Place) -> None:
        """It keeps people out, so `bans` and `why` show it, and `unban` lifts it."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        stray, wide = Network(0xC6336409, 32), Network(0xCB007100, 24)
        now = place.clock.now()
        place.firewall.impose([Ban(stray, now, now + 600, 1, None), Ban(wide, now, None, 1, None)], now)
        bans = {ban["network"]: ban for ban in place.ask("bans")["bans"]}
        assert set(bans) == {"192.0.2.7", "198.51.100.9", "203.0.113.0/24"}
        assert bans["198.51.100.9"]["text"].endswith("by unknown: it was found in the firewall")
        assert [ban["network"] for ban in place.ask("bans", contains="203.0.113.9")["bans"]] == [
            "203.0.113.0/24"
        ]
        assert [ban["network"] for ban in place.ask("bans", detector="unknown")["bans"]] == [
            "198.51.100.9",
            "203.0.113.0/24",
        ]
        why = place.ask("why", network="203.0.113.9")
        assert why["banned"] is True
        assert why["undo"][0] == "mailguard unban 203.0.113.0/24"
        assert "somebody else put it there" in "\n".join(explanation("203.0.113.9", why))
        assert place.ask("unban", networks=["198.51.100.9"])["args"]["lifted"] == ["198.51.100.9"]
        assert place.held() == {"192.0.2.7", "203.0.113.0/24"}
        assert place.ask("unban", networks=["198.51.100.9"])["ok"] is False
        assert len(place.ask("unban", all=True)["effects"]) == 2
        assert place.held() == set()

    def test_an_administrator_s_word_is_kept_and_told(self, place: Place) -> None:
        """ban, unban, allow: effects in the answer, a line in the log, and all of it after a restart."""
        place.start()
        assert place.ask("ban", network="192.0.2.1")["ok"] is False
        assert place.ask("ban", network="203.0.113.9")["effects"][0].startswith("ban 203.0.113.9 for 1d")
        assert place.ask("allow", network="192.0.2.64/26", reason="partner")["ok"] is True
        assert place.ask("allow-check", network="192.0.2.70")["allowed"] is True
        place.end()
        place.start()
        assert place.held() == {"203.0.113.9"}
        assert [one["network"] for one in place.ask("allow-list")["entries"]] == ["192.0.2.64/26"]
        assert place.ask("unban", networks=["203.0.113.9"])["ok"] is True
        assert place.held() == set()

    def test_what_it_does_not_know_it_says(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """An unknown question, and one that trips over a defect, get an answer; the guard goes on."""
        place.start()
        assert place.ask("sing")["id"] == "unknown-verb"
        monkeypatch.setattr(place.guard.judge, "status", lambda now: 1 / 0)
        answer = place.ask("status")
        assert answer["ok"] is False
        assert "ZeroDivisionError" in place.err.getvalue()


class TestAround:
    def test_the_heartbeat_says_that_it_lives(self, place: Place) -> None:
        """Once in its time, with what it saw."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        place.clock.wall += 3700
        place.step()
        assert "5 lines, 5 events, 0 bans stand" in place.err.getvalue()

    def test_alerts_reach_the_administrator_s_command(self, tmp_path: Path) -> None:
        """One process each, JSON on standard input; too many at once are counted, hanging ones ended."""
        out = tmp_path / "out"
        runner = Runner(["/bin/sh", "-c", f"cat >> {out}"])
        runner.tell({"alert": {"text": "x" * 100}}, 0.0)
        for process, _ in runner._running:
            process.wait()
        runner.tick(1.0)
        assert json.loads(out.read_text()) == {"alert": {"text": "x" * 100}}
        slow = Runner(["/bin/sleep", "100"])
        for _ in range(12):
            slow.tell({}, 0.0)
        assert slow.left_out == 4
        slow.tick(1000.0)
        assert (slow._running, slow.failed) == ([], 8)
        missing = Runner(["/nowhere/at/all"])
        missing.tell({}, 0.0)
        assert missing.failed == 1

    def test_every_notice_has_its_sentence(self) -> None:
        """Whatever a feed, the firewall or the loop says by id has words, also with arguments missing; what
        only a replay says has them among the texts of its commands."""
        import re

        from mailguard.cli.messages_replay import REPLAY

        root = Path(daemon.__file__).resolve().parent.parent
        ids: dict[bool, set[str]] = {True: set(), False: set()}
        for path in root.rglob("*.py"):
            only = path.is_relative_to(root / "replay") or path == root / "cli" / "events.py"
            ids[only].update(re.findall(r'Notice\(\s*"([a-z-]+)"', path.read_text()))
        assert len(ids[False]) > 20
        assert ids[False] <= set(SENTENCES), ids[False] - set(SENTENCES)
        replayed = {name.removeprefix("notice.") for name in REPLAY if name.startswith("notice.")}
        assert ids[True] <= replayed, ids[True] - replayed
        for name in SENTENCES:
            assert sentence(Notice(name))

    def test_nothing_in_a_notice_reaches_the_terminal_raw(self) -> None:
        """A log line quoted in a notice cannot steer the terminal."""
        err = io.StringIO()
        Printer("plain", io.StringIO(), err).notice(
            Notice("suppressed", {"log": "x", "line": "\x1b]0;hi\x07"})
        )
        assert "\x1b" not in err.getvalue()

    def test_json_lines_are_those_of_replay(self, place: Place) -> None:
        """`mailguard run -o json` writes the same objects."""
        place.start()
        place.guard.printer.form = "json"
        place.attack("192.0.2.7")
        place.step()
        told = json.loads(place.out.getvalue())
        assert (told["effect"], told["network"], told["count"]) == ("impose", "192.0.2.7", 5)

    def test_under_systemd_lines_carry_their_priority(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And no time, which the journal knows itself."""
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
        err = io.StringIO()
        Printer("auto", io.StringIO(), err).notice(Notice("disk-full", {"reason": "no room"}))
        assert err.getvalue().startswith("<4>mailguard: the ledger cannot be written")

    def test_its_own_lines_are_no_events(self, place: Place) -> None:
        """What the guard itself writes into syslog or journal is understood by no shipped parser."""
        place.start()
        place.attack("192.0.2.7")
        place.step()
        said = (place.out.getvalue() + place.err.getvalue()).splitlines()
        said += [sentence(Notice(name, {"log": "x", "line": "192.0.2.9"})) for name in SENTENCES]
        assert len(said) > 20
        paths = sorted(shipped("parsers").glob("*.toml"))
        scanner = Scanner([load_parser(path, check=False) for path in paths])
        stamp = datetime.fromtimestamp(T, UTC).isoformat()
        texts = [text for line in said for text in (line, line.partition(" ")[2]) if "\n" not in text]
        data = "".join(f"{stamp} mx mailguard[7]: {text}\n" for text in texts).encode()
        block = Block("mail.log", bytearray(data), 0, len(data), 0, T, True)
        assert scanner.scan(block) == []
        records = [
            Record(T, b"mx", b"mailguard", 7, text.encode(), number) for number, text in enumerate(texts)
        ]
        assert scanner.scan_records(Records("journal", records, T, True)) == []

    def test_which_logs_are_read(self) -> None:
        """Each thing once: the journal only where no syslog file has the same lines."""
        mail = Found("file", "mail", ("/var/log/mail.log",), "", shared=True, size=10)
        empty = Found("file", "mail", ("/var/log/mail.log",), "", shared=True, size=0)
        own = Found("file", "dovecot", ("/var/log/dovecot.log",), "", size=10)
        journal = Found("journal", "journal", (), "", size=10)
        closed = Found("file", "mail", ("/var/log/mail.log",), "", shared=True, readable=False, size=10)

        def names(*found: Found) -> list[str]:
            return [log.kind for log in choose_logs(found)]

        assert names(mail, journal) == ["file"]
        assert names(empty, journal) == ["journal"]
        assert names(own, mail, journal) == ["file", "file"]
        assert names(own, journal) == ["file", "journal"]
        assert names(closed, journal) == ["journal"]
        assert names(closed) == ["file"]
        assert names() == []

    def test_logs_of_the_command_line(self, place: Place) -> None:
        """`--log` replaces those of the settings; `-` is standard input."""
        logs = find_logs(Options(logs=("mail.log", "-")), place.load())
        assert [(log.kind, log.path) for log in logs] == [
            ("file", (os.path.abspath("mail.log"),)), ("stdin", ()),
        ]  # fmt: skip


class TestMain:
    def test_wrong_settings_and_definitions_are_told_before_anything_is_touched(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Problems of both at once; no folder was made, no firewall was asked."""
        broken = Problem("x.toml:1", "is wrong")

        def refuse() -> None:
            raise ProblemsError([broken])

        monkeypatch.setattr("mailguard.daemon.build.load_parsers", refuse)
        config = tmp_path / "mailguard.toml"
        config.write_text("[genral]\n")
        with pytest.raises(ProblemsError) as raised:
            daemon.main(Options(config=config, state=str(tmp_path / "state")))
        assert broken in raised.value.problems
        assert raised.value.exit_code == 78
        assert not (tmp_path / "state").exists()

    def test_guard_and_commands_meet_at_one_socket(self) -> None:
        """The settings' default is where the commands look."""
        assert str(load_settings(None).general.socket) == DEFAULT_SOCKET

    def test_folders_that_cannot_be_made_have_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without privileges the state goes home, and both paths are said."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(daemon.privileges, "account", lambda name: None)
        (tmp_path / "file").touch()
        err = io.StringIO()
        state, path = daemon.make_folders(
            str(tmp_path / "file" / "state"), str(tmp_path / "file" / "socket"), Printer("plain", err, err)
        )
        assert state == str(tmp_path / "home" / "mailguard")
        assert path == state + "/control.sock"
        assert state in err.getvalue()


def wait_for(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll with a deadline: other processes have no clock that we could move."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.kernel
def test_an_enforcer_that_is_killed_is_said_once_and_made_good(place: Place) -> None:
    """Bans go on in the ledger while it is away; the next enforcer gets all of them."""
    path = str(place.folder / "enforcer")

    def enforcer() -> subprocess.Popen[bytes]:
        started = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-m", "mailguard.enforcer", "--socket", path],
            stderr=subprocess.DEVNULL, cwd=Path(daemon.__file__).resolve().parent.parent.parent,
        )  # fmt: skip
        wait_for(lambda: os.path.exists(path))
        return started

    def networks() -> set[str]:
        return {format_network(network) for network, _ in place.guard.door.standing()}

    place.clock.wall = time.time()
    process = enforcer()
    try:
        remote = RemoteFirewall(connect_to(path))
        wait_for(lambda: connects(path))
        place.start(Door(remote, "enforcer"))
        place.attack("203.0.113.7", every=0.0)
        place.step()
        assert networks() == {"203.0.113.7"}
        process.kill()
        process.wait()
        os.unlink(path)
        place.attack("203.0.113.9", every=0.0)
        place.step()
        assert place.err.getvalue().count("the firewall does not take bans") == 1
        process = enforcer()

        def back() -> bool:
            place.step()
            return "the firewall is back" in place.err.getvalue()

        wait_for(back)
        assert networks() == {"203.0.113.7", "203.0.113.9"}
        assert place.err.getvalue().count("the firewall does not take bans") == 1
        place.attack("203.0.113.11", every=0.0)
        place.step()
        assert "203.0.113.11" in networks()
    finally:
        process.kill()
        process.wait()


def connects(path: str) -> bool:
    """Somebody listens at the path."""
    with socket.socket(socket.AF_UNIX) as line:
        return line.connect_ex(path) == 0


@pytest.mark.parametrize("early", [False, True])
def test_a_connection_that_is_lost_leaves_no_number_behind(early: bool) -> None:
    """Lost while a ban is put in: the next descriptor of that number, a client's perhaps, is its own."""
    ours, theirs = socket.socketpair()
    number = ours.fileno()

    class Losing(Recording):
        def fileno(self) -> int | None:
            return ours.fileno() if ours.fileno() >= 0 else None

        def impose(self, bans: Any, now: float) -> None:
            ours.close()
            raise FirewallError("it ended", lost=True)

        def begin(self, *_: Any) -> bool:
            ours.close()
            return False

    wait, said = Wait(SystemClock()), []
    door = Door(Losing(), "losing")
    door.attend(wait)
    if early:
        assert not door.begin(parse_network("192.0.2.7") or Network(0, 0), "mail", T + 9, T)
    else:
        with pytest.raises(FirewallError):
            door.impose([], T)
    client, other = socket.socketpair()
    assert client.fileno() == number
    wait.add(number, lambda _: said.append("client"))
    with pytest.raises(FirewallError):
        door.impose([], T)
    other.send(b"x")
    wait.dispatch(wait.poll(1.0), [])
    assert said == ["client"]
    for one in (theirs, client, other):
        one.close()
    wait.close()


@pytest.mark.kernel
def test_the_whole_program_in_a_namespace(tmp_path: Path) -> None:
    """Two processes, a kernel firewall: from a line in a file to an element in nftables, kept after
    SIGTERM."""
    log, config = tmp_path / "mail.log", tmp_path / "mailguard.toml"
    log.touch()
    config.write_text('[general]\nmode = "enforce"\n[never]\nown = "off"\n')
    script = (
        "import sys; from pathlib import Path; from mailguard.daemon import Options, main\n"
        "c, l, s = sys.argv[1:]\n"
        "sys.exit(main(Options(config=Path(c), logs=(l,), state=s + '/state', socket=s + '/socket')))"
    )
    root = str(Path(daemon.__file__).resolve().parent.parent.parent)
    shell = (
        f'ip link set lo up; {sys.executable} -c "$0" "$@" & guard=$!; trap \'kill -TERM $guard\' TERM; '
        "wait $guard; wait $guard; nft list ruleset"
    )
    process = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", shell, script, str(config), str(log), str(tmp_path)],
        stdout=subprocess.PIPE, stderr=(tmp_path / "err").open("wb"), env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    from mailguard.control import ask

    control = str(tmp_path / "socket")
    try:
        wait_for(lambda: os.path.exists(control) and "watching" in (tmp_path / "err").read_text())
        stamp = datetime.now(UTC).isoformat(timespec="microseconds")
        with log.open("a") as file:
            for number in range(5):
                file.write(
                    f"{stamp} mx postfix/smtpd[{number}]: warning: unknown[203.0.113.7]: SASL LOGIN "
                    "authentication failed: authentication failure, sasl_username=john@example.net\n"
                )
        wait_for(lambda: ask(control, "status")["bans"] == 1)
        assert ask(control, "why", {"network": "203.0.113.7"})["banned"] is True
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=30)
    assert b"203.0.113.7" in out
    assert "stopping; bans stand until their end" in (tmp_path / "err").read_text()
    assert parse_network("203.0.113.7") is not None
