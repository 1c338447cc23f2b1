"""`mailguard tune` as a person and as a program sees it."""

from __future__ import annotations

import csv
import io
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailguard.definitions.settings import load_settings
from mailguard.tuning.sweep import Sweep

FAILED = (
    "2026-11-{day:02d}T{hour:02d}:{minute:02d}:20+00:00 mail1 dovecot: imap-login: Disconnected: Aborted "
    "login by logging out (auth failed, 1 attempts in 1 secs): user=<u{n}@example.net>, method=PLAIN, "
    "rip=198.51.100.{host}, lip=203.0.113.25, TLS, session=<{host}{n}>"
)
GRID = ("--detector", "password-guessing", "--grid", "count=3,5", "--grid", "within=10m,1h")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Thirty sources, each with eight guesses five minutes apart, on ten days."""
    path = tmp_path / "mail.log"
    made = [
        FAILED.format(day=1 + host % 10, hour=host % 20, minute=5 * n, n=n % 2, host=host)
        for host in range(30)
        for n in range(8)
    ]
    path.write_text("\n".join(sorted(made)) + "\n")
    return path


def tune(run: Any, log: Path, *arguments: str) -> Any:
    return run("tune", str(log), "--timezone", "UTC", "--workers", "1", *arguments)


def test_json_tells_every_setting(run: Any, log: Path) -> None:
    """An object for each setting, one for the detector, one for the whole; the present setting first."""
    said = tune(run, log, *GRID, "-o", "json")
    assert said.code == 0
    *settings, detector, summary = said.objects
    assert len(settings) == 4
    assert [one["present"] for one in settings] == [True, False, False, False]
    assert settings[0]["setting"] == {"count": "5", "within": "10m", "key": "source", "ban": "10m"}
    for one in settings:
        assert one["stopped"] + one["through"] == 240
    strict = next(
        one for one in settings if one["setting"]["count"] == "3" and one["setting"]["within"] == "1h"
    )
    assert strict["own"] >= 10
    assert (strict["hurt"], strict["median"]) == (0, 600)
    assert strict["caught"] > 10
    assert detector["recommended"]["count"] == "3"
    assert {one["id"] for one in detector["reasons"]} >= {"stops", "nobody"}
    assert {one["id"] for one in detector["doubts"]} == {"few-known"}
    assert summary["summary"]["settings"] == summary["summary"]["asked"] == 4
    assert summary["summary"]["events"] == 240


def test_the_present_setting_is_what_replay_says(run: Any, log: Path) -> None:
    """The figures of the policy as it is are those of `mailguard replay`."""
    present = tune(run, log, *GRID, "-o", "json").objects[0]
    replayed = run("replay", str(log), "--timezone", "UTC", "-o", "json").objects[-1]["summary"]
    assert present["bans"] == replayed["imposed"]
    assert present["caught"] == replayed["caught"]
    assert present["stopped"] == replayed["stopped"]
    assert present["hurt"] == replayed["hurt"]
    assert present["missed"] == replayed["never_caught"]["sources"]


def test_csv_has_every_setting(run: Any, log: Path) -> None:
    """A line each, with a heading."""
    rows = list(csv.DictReader(io.StringIO(tune(run, log, *GRID, "-o", "csv").out)))
    assert len(rows) == 4
    assert rows[0]["present"] == "true"
    assert [row["advised"] for row in rows].count("true") == 1


def test_what_is_printed_can_be_pasted(run: Any, log: Path, tmp_path: Path) -> None:
    """The recommended settings load, and are the recommended ones."""
    said = tune(run, log, *GRID, "-o", "json")
    paste = said.objects[-2]["settings"]
    assert tomllib.loads(paste)["detector"]["password-guessing"]["count"] == 3
    path = tmp_path / "mailguard.toml"
    path.write_text(paste)
    found = next(one for one in load_settings(path).detectors if one.name == "password-guessing")
    assert (found.count, found.cases) == (3, ())
    assert "count = 3" in tune(run, log, *GRID, "-o", "plain").out


def test_each_detector_that_bans_is_tuned(run: Any, log: Path) -> None:
    """Those that count nothing of these logs are left out, and no more than asked are tried."""
    said = tune(run, log, "--most", "60", "-o", "json")
    told = [one for one in said.objects if "tried" in one]
    names = {one["detector"] for one in told}
    assert {"password-guessing", "slow-guessing", "user-spray"} <= names
    assert "harvest" not in names
    assert sum(one["tried"] for one in told) <= 60


def test_a_table_for_people(run: Any, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frontier, the recommendation, its reasons, what is doubtful, and what to paste."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("mailguard.cli.frontiers.is_terminal", lambda: True)
    said = tune(run, log, *GRID)
    for words in ("Recommended: count 3, within 1", "It stops", "count = 3", "! Only 0 logins"):
        assert words in said.out


def test_a_plot_shows_the_frontier() -> None:
    """Where plotext is installed."""
    plotext = pytest.importorskip("plotext")
    from mailguard.cli.frontiers import drawn

    one = SimpleNamespace(hurt=0, share=0.5)
    other = SimpleNamespace(hurt=9, share=0.1)
    outcome = SimpleNamespace(found={0: one, 1: other}, line=[0, 1], advice=SimpleNamespace(place=1))
    told = drawn(plotext, outcome)  # type: ignore[arg-type]
    assert "advised" in told
    assert len(told.splitlines()) <= 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--detector", "password-gessing"), "password-guessing"),
        (("--grid", "count=3"), "--detector"),
        (("--detector", "vrfy", "--grid", "colour=3"), "count, distinct, within, key, ban"),
        (("--detector", "vrfy", "--grid", "count=0"), "whole number"),
        (("--detector", "vrfy", "--grid", "within=soon"), "length of time"),
        (("--detector", "vrfy", "--grid", "key=door"), "recipient_domain"),
        (("--detector", "vrfy", "--grid", "distinct=3"), "has no distinct"),
        (("--detector", "vrfy", "--grid", "count=3", "--grid", "count=4"), "twice"),
        (("--detector", "vrfy", "--grid", "count=2,3,4", "--most", "2"), "--most"),
    ],
)
def test_what_cannot_be_asked(run: Any, log: Path, arguments: tuple[str, ...], words: str) -> None:
    """Each mistake is told with what to do instead."""
    said = tune(run, log, *arguments)
    assert said.code == 64
    assert words in said.err


def test_nothing_to_read(run: Any, tmp_path: Path) -> None:
    """An empty folder is said, and is no success."""
    said = tune(run, tmp_path)
    assert said.code == 66
    assert "no log" in said.err


def test_ctrl_c_shows_what_was_found(run: Any, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that were tried, and that not all were."""
    measure = Sweep.measure

    def stops(self: Sweep, place: int) -> Any:
        if place == 2:
            raise KeyboardInterrupt
        return measure(self, place)

    monkeypatch.setattr(Sweep, "measure", stops)
    said = tune(run, log, *GRID, "-o", "json")
    assert said.code == 130
    assert "2 of 4" in said.err
    assert len([one for one in said.objects if "setting" in one]) == 2
    assert said.objects[-1]["summary"]["interrupted"] is True
