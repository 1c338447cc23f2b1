"""The contract of `mailguard replay`, and of `check` and `test`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mailguard.definitions import source

FAILED = (
    "Nov 22 10:4{n}:20 mail1 dovecot: imap-login: Disconnected: Aborted login by logging out "
    "(auth failed, 1 attempts in 1 secs): user=<{user}>, method=PLAIN, rip=192.0.2.78, "
    "lip=203.0.113.25, TLS, session=<{session}>"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Six names tried from one address, a minute between."""
    path = tmp_path / "mail.log"
    lines = [FAILED.format(n=n, user=f"user{n}@example.net", session=f"EPSIr9NgJ5PAAAJ{n}") for n in range(6)]
    path.write_text("\n".join(lines) + "\n")
    return path


#: A threshold that stays as it is whatever the shipped one becomes.
POLICY = """
[policy]
escalation = ["1m"]
[detector.user-spray]
distinct = { field = "user", count = 4 }
within = "1h"
ban = { first = "FIRST", factor = 4, longest = "14d" }
  [[detector.user-spray.case]]
  at = ["0m", "1m", "2m", "3m"]
  values = ["a", "b", "c", "d"]
  fires = "3m"
  [[detector.user-spray.case]]
  at = ["0m", "1m", "2m"]
  values = ["a", "b", "c"]
  fires = false
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "mailguard.toml"
    path.write_text(POLICY.replace("FIRST", "1h"))
    return path


def replay(run: Any, settings: Path, *arguments: str) -> Any:
    return run("replay", "--year", "2026", "--timezone", "UTC", "--config", str(settings), *arguments)


def test_replay_keeps_its_contract(run: Any, log: Path, settings: Path) -> None:
    """One object for each effect with at least these keys, then the summary; wall time on standard error."""
    said = replay(run, settings, "-o", "json", str(log))
    assert said.code == 0
    assert "seconds)" in said.err
    effect, summary = said.objects
    assert (
        effect.items()
        >= {
            "time": "2026-11-22T10:43:20+00:00",
            "effect": "impose",
            "network": "192.0.2.78",
            "detector": "user-spray",
            "until": "2026-11-22T11:43:20+00:00",
            "ordinal": 1,
            "count": 4,
            "first": "2026-11-22T10:40:20+00:00",
            "last": "2026-11-22T10:43:20+00:00",
            "key": "192.0.2.78",
        }.items()
    )
    assert list(summary) == ["summary"]
    told = {name: summary["summary"][name] for name in ("records", "events", "imposed", "alerts", "seconds")}
    assert told == {"records": 6, "events": 6, "imposed": 1, "alerts": 0, "seconds": 300}
    assert summary["summary"]["by_kind"] == {"auth_failure": 6}


def test_replay_plain_is_the_notation(run: Any, log: Path, settings: Path) -> None:
    """Time and the one notation of effects; nothing else on standard output."""
    said = replay(run, settings, str(log))
    assert said.out == (
        "2026-11-22T10:43:20+00:00 ban 192.0.2.78 for 1h by user-spray: 4 auth_failure of 4 users in 3m\n"
    )


def test_replay_follows_the_settings(run: Any, log: Path, settings: Path) -> None:
    """--config changes what the policy does."""
    settings.write_text(POLICY.replace("FIRST", "2h"))
    assert " for 2h by " in replay(run, settings, str(log)).out


def test_replay_is_repeatable(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """The order of the arguments changes nothing."""
    other = tmp_path / "other.log"
    other.write_text(log.read_text().replace("192.0.2.78", "198.51.100.4"))
    assert replay(run, settings, str(log), str(other)).out == replay(run, settings, str(other), str(log)).out


def test_replay_refuses_bad_input(run: Any, settings: Path, tmp_path: Path) -> None:
    """A missing log is exit 66, wrong settings 78, no log 64."""
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[genera]\n")
    assert replay(run, settings, "/nowhere/mail.log").code == 66
    assert replay(run, wrong, "/nowhere/mail.log").code == 78
    assert run("replay").code == 64


# ---------------------------------------------------------------- check and test


def test_what_is_shipped_is_right(run: Any) -> None:
    """The shipped settings and definitions have no problem."""
    said = run("check", "--shipped")
    assert (said.code, said.err) == (0, "")
    assert "all is right" in said.out
    assert run("check", "--shipped", "-o", "json").out == ""


def test_check_lists_every_problem(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems of settings, parsers and actions come together, each with its place; exit 78."""
    etc = tmp_path / "etc"
    for kind in ("parsers", "actions"):
        (etc / kind).mkdir(parents=True)
        (etc / kind / "broken.toml").write_text("format = 7\n")
    monkeypatch.setattr(source, "ETC", etc)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[general]\nmode = "bann"\n[detector.vrfy]\ncuont = 3\n')
    said = run("check", "--config", str(wrong))
    assert said.code == 78
    for place in (f"{wrong}:2:", f"{wrong}:4:", "parsers/broken.toml", "actions/broken.toml"):
        assert place in said.err
    objects = run("check", "--config", str(wrong), "-o", "json").objects
    assert {"file": str(wrong), "line": 2}.items() <= objects[0].items()
    assert all({"what", "why", "instead"} <= one.keys() for one in objects)


def test_check_of_a_definition_alone(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong definition with right settings is exit 65."""
    (tmp_path / "parsers").mkdir()
    (tmp_path / "parsers" / "broken.toml").write_text("format = 1\n")
    monkeypatch.setattr(source, "ETC", tmp_path)
    assert run("check").code == 65


def test_test_runs_what_is_inside(run: Any) -> None:
    """`mailguard test NAME` tells how many tests a definition has and that they passed."""
    said = run("test", "dovecot", "user-spray", "-o", "json")
    assert said.code == 0
    parser, detector = said.objects
    assert (parser["kind"], parser["name"], parser["passed"]) == ("parser", "dovecot", True)
    assert parser["tests"] > 20
    assert (detector["kind"], detector["name"], detector["passed"]) == ("detector", "user-spray", True)


def test_test_of_a_failing_definition(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample that says something else than the rule is told with file and line; exit 65."""
    (tmp_path / "parsers").mkdir()
    own = tmp_path / "parsers" / "dovecot.toml"
    shutil.copy(source.shipped("parsers") / "dovecot.toml", own)
    text = own.read_text()
    own.write_text(text.replace('expect = { source = "192.0.2.77"', 'expect = { source = "192.0.2.99"', 1))
    monkeypatch.setattr(source, "ETC", tmp_path)
    said = run("test", "dovecot")
    assert said.code == 65
    assert str(own) in said.err
    assert run("test", "dovcot").code == 64
    assert json.loads(run("test", "dovecot", "-o", "json").out)["passed"] is False
