"""`--html`: the page of `replay` and `tune` from real lines, and what happens when it cannot be written."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from mailguard.core.loop import Loop

FAILED = (
    "Nov {day:2} 10:{minute:02}:20 mail1 dovecot: imap-login: Disconnected: Aborted login by logging out "
    "(auth failed, 1 attempts in 1 secs): user=<{user}>, method=PLAIN, rip={source}, "
    "lip=203.0.113.25, TLS, session=<S{day}{minute}>"
)
LOGIN = (
    "Nov {day:2} 10:{minute:02}:40 mail1 dovecot: imap-login: Login: user=<{user}>, method=PLAIN, "
    "rip={source}, lip=203.0.113.25, mpid=7, TLS, session=<L{day}{minute}>"
)
HOSTILE = "<script>alert(1)</script>\u202egpj.exe"
SETTINGS = """
[detector.password-guessing]
count = 3
within = "10m"
ban = { first = "1h", factor = 4, longest = "7d" }
case = []
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three days on each of which one address guesses a password nine times, and once its owner comes."""
    lines = []
    for day in (20, 21, 22):
        lines += [
            FAILED.format(day=day, minute=minute, user=user, source="192.0.2.78")
            for minute, user in enumerate(["sato@example.jp", HOSTILE, "A" * 3000] * 3)
        ]
        lines.append(LOGIN.format(day=day, minute=30, user="sato@example.jp", source="192.0.2.78"))
    path = tmp_path / "mail.log"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "mailguard.toml"
    path.write_text(SETTINGS)
    return path


def call(run: Any, command: str, settings: Path, *arguments: object) -> Any:
    common = ("--year", "2026", "--timezone", "UTC", "--config", str(settings))
    return run(command, *common, *map(str, arguments))


def words(page: Path) -> str:
    """The text of a page, without markup."""
    content = page.read_text(encoding="utf-8")
    body = content[content.index("<body>") :]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_replay_writes_a_page(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """Beside its output, which stays as it is, replay writes the page; only its owner may read it."""
    page = tmp_path / "report.html"
    plain = call(run, "replay", settings, "-o", "json", log)
    said = call(run, "replay", settings, "-o", "json", "--html", page, log)
    assert said.code == 0
    assert said.out == plain.out
    assert f"{page}: the report" in said.err
    assert page.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.glob(".report*")] == []

    summary = said.objects[-1]["summary"]
    text = words(page)
    assert f"Hostile events {summary['hostile']} " in text
    assert f"Would have been stopped {summary['stopped']} (" in text
    assert f"Bans {summary['imposed']} " in text
    assert "192.0.2.78" in text
    assert "1 account would have been locked out" in text


def test_the_same_logs_give_the_same_page(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """The page is the same byte for byte for one worker and several, for logs and for their events file."""
    one, two, three = (tmp_path / f"{name}.html" for name in ("one", "two", "three"))
    call(run, "replay", settings, "--workers", 1, "--html", one, log)
    call(run, "replay", settings, "--workers", 2, "--html", two, log)
    assert one.read_bytes() == two.read_bytes()
    events = tmp_path / "mail.jsonl"
    run("events", "--year", "2026", "--timezone", "UTC", "-o", "jsonl", "--to", str(events), str(log))
    call(run, "replay", settings, "--html", three, events)
    assert three.read_text("utf-8").replace(str(events), str(log)) == one.read_text("utf-8")


def test_figures_over_time_add_up(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """What the rows of the chart say together is what the summary says."""
    page = tmp_path / "report.html"
    summary = call(run, "replay", settings, "-o", "json", "--html", page, log).objects[-1]["summary"]
    titles = re.findall(
        r"failed logins: ([\d,]+) events, of which ([\d,]+) would have been stopped", page.read_text("utf-8")
    )
    assert titles == [(str(summary["hostile"]), str(summary["stopped"]))]


def test_names_from_the_log(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """Names that nobody logged in with are shortened; with evidence = "full" they are shown, harmlessly."""
    page = tmp_path / "report.html"
    call(run, "replay", settings, "--html", page, log)
    content = page.read_text("utf-8")
    assert "sato@example.jp" in content
    assert "<script" not in content
    assert "alert(1)" not in content
    settings.write_text(SETTINGS + '[general]\nevidence = "full"\n')
    call(run, "replay", settings, "--html", page, log)
    content = page.read_text("utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in content
    assert "<script" not in content
    assert "\u202e" not in content
    assert "A" * 60 not in content


@pytest.mark.parametrize(
    ("arguments", "variable", "setting", "language"),
    [
        ((), "", "", "en"),
        ((), "ja_JP.UTF-8", "", "ja"),
        (("-o", "json"), "ja_JP.UTF-8", "", "ja"),
        (("--language", "en"), "ja_JP.UTF-8", "", "en"),
        (("--language", "ja"), "", "", "ja"),
        ((), "", '[general]\nlanguage = "ja"\n', "ja"),
        ((), "ja_JP.UTF-8", '[general]\nlanguage = "en"\n', "en"),
    ],
)
def test_the_language_of_the_page(
    run: Any,
    log: Path,
    settings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    variable: str,
    setting: str,
    language: str,
) -> None:
    """--language, else the settings, else the environment; the form of the output does not matter."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANGUAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", variable)
    settings.write_text(SETTINGS + setting)
    page = tmp_path / "report.html"
    assert call(run, "replay", settings, *arguments, "--html", page, log).code == 0
    content = page.read_text("utf-8")
    assert f'<html lang="{language}">' in content
    assert ("攻撃の推移" in content) == (language == "ja")
    assert ("Attacks over time" in content) == (language == "en")


def test_a_page_that_cannot_be_written(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """It is said before anything is read, and nothing is left behind."""
    said = call(run, "replay", settings, "--html", tmp_path / "nowhere" / "report.html", log)
    assert said.code != 0
    assert said.out == ""
    assert "nowhere" in said.err
    assert call(run, "replay", settings, "--html", tmp_path, log).code == 64


def test_the_page_of_before_stays(
    run: Any, log: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the command fails, the file that was there is still there, whole, and nothing beside it."""
    page = tmp_path / "report.html"
    page.write_text("of yesterday")

    def fail(self: Loop) -> bool:
        raise MemoryError("no room")

    monkeypatch.setattr(Loop, "step", fail)
    assert call(run, "replay", settings, "--html", page, log).code == 70
    assert page.read_text() == "of yesterday"
    assert [one.name for one in tmp_path.glob(".report*")] == []


def test_interrupted(
    run: Any, log: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C the page has what was found so far and says that it was interrupted."""
    page = tmp_path / "report.html"
    step = Loop.step

    def once(self: Loop) -> bool:
        step(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "step", once)
    assert call(run, "replay", settings, "--html", page, log).code == 130
    assert "Interrupted: this is what was found up to there." in words(page)


def test_tune_writes_a_page(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """The settings that were tried, the advice with its reasons, and what to paste."""
    page = tmp_path / "tuning.html"
    said = call(
        run,
        "tune",
        settings,
        "--detector",
        "password-guessing",
        "--grid",
        "count=2,3,5,9",
        "--html",
        page,
        log,
    )
    assert said.code == 0
    text = words(page)
    assert "What other settings would have done" in text
    assert "Settings tried 4 " in text
    assert "Recommended: " in text
    assert "in force" in text


def test_replay_draws_a_tuning_result(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """What tune wrote as JSON stands on replay's page as on tune's own, with reasons in its language."""
    page, own, found = tmp_path / "report.html", tmp_path / "tuning.html", tmp_path / "tuning.jsonl"
    tune = ("--detector", "password-guessing", "--grid", "count=2,3,5,9", "-o", "json", "--html", own, log)
    found.write_text(call(run, "tune", settings, *tune).out)
    assert call(run, "replay", settings, "--tuning", found, "--html", page, log).code == 0

    def tuning(path: Path) -> str:
        content = path.read_text("utf-8")
        begin = content.index('<section id="tuning"')
        return content[begin : content.index("</section>", begin)]

    assert tuning(page) == tuning(own)
    assert "Bans over time" in words(page)
    call(run, "replay", settings, "--tuning", found, "--language", "ja", "--html", page, log)
    assert "試した設定" in tuning(page)
    assert "Recommended" not in tuning(page)


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", "7", "no JSON", '{"axes": 7, "detector": "x"}', "\0\xff"]
)
def test_another_file_is_no_tuning_result(
    run: Any, log: Path, settings: Path, tmp_path: Path, content: str
) -> None:
    """What tune did not write is refused before anything is read; so is a result without a page."""
    found, page = tmp_path / "tuning.jsonl", tmp_path / "report.html"
    found.write_text(content)
    said = call(run, "replay", settings, "--tuning", found, "--html", page, log)
    assert (said.code, said.out) == (64, "")
    assert "is not what `mailguard tune -o json` writes" in said.err
    assert not page.exists()
    assert call(run, "replay", settings, "--tuning", found, log).code == 64


def test_nothing_to_report(run: Any, settings: Path, tmp_path: Path) -> None:
    """An empty folder gives a page that says so."""
    folder = tmp_path / "logs"
    folder.mkdir()
    page = tmp_path / "report.html"
    assert call(run, "replay", settings, "--html", page, folder).code == 66
    assert "There was nothing to judge" in words(page)
    assert "holds no log" in words(page)
