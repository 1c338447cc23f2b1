"""`replay` beyond its contract, `compare`, `impact`, events files, and what `ban` asks first."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import FakeGuard

LINE = (
    "Nov 22 10:{minute:02d}:20 mail1 dovecot: imap-login: Disconnected: Aborted login by logging out "
    "(auth failed, 1 attempts in 1 secs): user=<{user}>, method=PLAIN, rip={host}, "
    "lip=203.0.113.25, TLS, session=<EPSIr9NgJ5PAAAJ{minute}>\n"
)
GOOD = (
    "Nov 22 10:{minute:02d}:40 mail1 dovecot: imap-login: Login: user=<bob@example.net>, method=PLAIN, "
    "rip={host}, lip=203.0.113.25, mpid=7, TLS, session=<EPSIr9NgJ5PAAAK{minute}>\n"
)
FIXED = ("--year", "2026", "--timezone", "UTC")
ONLY = ("--only", "user-spray")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Ten names tried from one address, a minute between; Bob logs in from there."""
    path = tmp_path / "mail.log"
    path.write_text(
        "".join(LINE.format(minute=n, user=f"u{n}@example.net", host="192.0.2.78") for n in range(10))
        + GOOD.format(minute=11, host="192.0.2.78")
    )
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "a.toml"
    spray = '[detector.user-spray]\nban = { first = "1h", factor = 4, longest = "14d" }\n'
    path.write_text(spray + "[detector.password-guessing]\nenabled = false\n")
    return path


def test_the_timeline_as_json(run: Any, log: Path, settings: Path) -> None:
    """A ban with its story and its verdict in words; the summary tells what the rest did."""
    *rows, last = run("replay", *FIXED, "--config", str(settings), *ONLY, "-o", "json", str(log)).objects
    (ban,) = rows
    assert ban["verdict"]["text"].startswith("1 account would have been locked out for ")
    assert ban["hostile_before"] + ban["stopped"] == 10
    summary = last["summary"]
    assert (summary["hurt"], summary["caught"], summary["problems"]) == (1, 1, [])


def test_csv_has_a_heading_and_one_line_for_each_effect(run: Any, log: Path, settings: Path) -> None:
    """Columns for a spreadsheet."""
    said = run("replay", *FIXED, "--config", str(settings), *ONLY, "-o", "csv", str(log))
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert (row["effect"], row["network"], row["during_logins"]) == ("impose", "192.0.2.78", "1")
    assert "1 account" in row["verdict"]


def test_settings_can_be_tried(run: Any, log: Path, settings: Path) -> None:
    """--set counts over the file and is checked like it; --only leaves the other detectors out."""
    usual = run("replay", *FIXED, "--config", str(settings), str(log)).out
    more = run(
        "replay", *FIXED, "--config", str(settings), "--set", "detector.user-spray.ban.first=7h", str(log)
    ).out
    assert " for 1h " in usual
    assert " for 7h " in more
    said = run("replay", "--set", "detector.user-spray.cuont=3", str(log))
    assert said.code == 78
    assert "--set detector.user-spray.cuont=3" in said.err
    assert run("replay", *FIXED, "--only", "vrfy", str(log)).out == ""
    said = run("replay", "--only", "user-sprey", str(log))
    assert (said.code, "user-spray" in said.err) == (64, True)


def test_a_part_of_the_time(run: Any, log: Path, settings: Path) -> None:
    """--from and --until leave the rest out."""
    base = ("replay", *FIXED, "--config", str(settings), "-o", "json")
    part = run(*base, "--from", "2026-11-22T10:08:00+00:00", str(log)).objects
    assert part[-1]["summary"]["events"] == 3
    part = run(*base, "--until", "2026-11-22T10:02:00+00:00", str(log)).objects
    assert part[-1]["summary"]["events"] == 2
    times = ("--from", "2026-11-22T10:02:00+00:00", "--until", "2026-11-22T10:02:00+00:00")
    assert run(*base, *times, str(log)).code == 64


def test_nothing_to_read(run: Any, tmp_path: Path) -> None:
    """An empty folder and a binary file: said, counted, exit 66."""
    folder = tmp_path / "empty"
    folder.mkdir()
    said = run("replay", "-o", "json", str(folder))
    assert said.code == 66
    assert said.objects[-1]["summary"]["problems"] == [{"id": "folder-empty", "args": {"log": str(folder)}}]
    binary = tmp_path / "wtmp"
    binary.write_bytes(bytes(range(256)) * 9)
    said = run("replay", str(binary))
    assert (said.code, "is no text" in said.err) == (66, True)


def test_events_files_give_the_same_effects(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """Whatever the form; the name of the file does not matter."""
    pytest.importorskip("pyarrow")
    base = ("replay", *FIXED, "--config", str(settings), "-o", "json")
    rows = run(*base, str(log)).objects
    for form in ("parquet", "jsonl", "csv"):
        target = tmp_path / f"events-{form}"
        said = run("events", *FIXED, "-o", form, "--to", str(target), str(log))
        assert (said.code, said.out) == (0, "")
        back = run(*base, str(target)).objects
        assert back[:-1] == rows[:-1]
        if form != "csv":
            assert back == rows
    said = run("events", *FIXED, "-o", "jsonl", str(log))
    assert len(said.objects) == 12
    broken = tmp_path / "broken.jsonl"
    broken.write_text(said.out.splitlines()[0] + "\n{}\n")
    said = run(*base, str(broken))
    assert (said.code, "broken.jsonl:2" in said.err) == (66, True)


def test_compare(run: Any, log: Path, settings: Path, tmp_path: Path) -> None:
    """A policy that waits longer bans later; one that is switched off bans nobody."""
    later, never = tmp_path / "b.toml", tmp_path / "c.toml"
    off = "[detector.password-guessing]\nenabled = false\n"
    spray = '[detector.user-spray]\nban = { first = "1h", factor = 4, longest = "14d" }\ncase = []\n'
    later.write_text(spray + 'distinct = { field = "user", count = 7 }\n' + off)
    never.write_text(off + "[detector.user-spray]\nenabled = false\n")
    only = tmp_path / "d.toml"
    only.write_text(spray + off)
    rows = run("compare", *FIXED, "-o", "json", str(only), str(later), str(log)).objects
    assert [(row["network"], row["where"]) for row in rows[:-1]] == [("192.0.2.78", "later")]
    assert rows[0]["seconds"] > 0
    assert rows[-1]["summary"]["compared"]["later"] == 1
    assert rows[-1]["summary"]["b"]["settings"] == str(later)
    said = run("compare", *FIXED, str(only), str(never), str(log))
    assert said.code == 0
    assert "A (" in said.out
    assert run("compare", str(only), str(tmp_path / "gone"), str(log)).code == 78


def test_impact_from_logs(run: Any, log: Path) -> None:
    """Who would be locked out, and what came that was hostile."""
    (said,) = run("impact", "192.0.2.0/24", *FIXED, "-o", "json", str(log)).objects
    assert said["friendly"]["users"] == ["bob@example.net"]
    assert said["hostile"]["kinds"] == {"auth_failure": 10}
    assert said["verdict"]["text"] == "A ban would lock out: 1 account."
    out = run("impact", "198.51.100.0/24", *FIXED, str(log)).out
    assert "nobody who is known" in out


STANDING = {"mail_days": 0, "login_days": 3, "last_login": 1_700_000_000.0, "revoked": False, "good": True}


def test_impact_from_the_guard(run: Any, guard: FakeGuard) -> None:
    """What the guard remembers, in words and as JSON."""
    assert "nobody who is known" in run("impact", "192.0.2.7").out
    guard.answers["why"] = {"ok": True, "standing": STANDING, "bans": []}
    assert "3 days" in run("impact", "192.0.2.7").out
    assert "lock out: people who log in." in run("impact", "192.0.2.7").out
    (said,) = run("impact", "192.0.2.7", "-o", "json").objects
    assert (said["empty"], said["from"], said["standing"]["login_days"]) == (False, "guard", 3)


def test_impact_counts_what_the_guard_keeps(run: Any, guard: FakeGuard) -> None:
    """Addresses, pairs and accounts; what is not kept is said, and where it can be found."""
    friends = {"mail_sources": 2, "login_sources": 1, "pairs": 9, "more_pairs": True, "accounts": 1}
    guard.answers["why"] = {"ok": True, "standing": STANDING, "friends": friends, "bans": []}
    out = run("impact", "192.0.2.0/24").out
    assert "from 2 addresses in it, of at least 9 sender/recipient pairs" in out
    assert "from 1 address in it, of 1 account." in out
    assert "is not kept" in out
    assert "mailguard impact 192.0.2.0/24 FILE" in out
    assert "lock out: 1 account and the senders who write from 2 addresses." in out
    out = run("impact", "192.0.2.7").out
    assert "1 account logged in from it or from its neighbours in 192.0.2.0/24" in out
    assert "at most 1 account" in out
    guard.answers["why"]["friends"] = friends | {"mail_sources": 0, "accounts": None}
    assert "lock out: people who log in." in run("impact", "192.0.0.0/16").out
    (said,) = run("impact", "192.0.2.0/24", "-o", "json").objects
    assert said["friends"]["login_sources"] == 1


class Terminal(io.StringIO):
    """Somebody sits there."""

    def isatty(self) -> bool:
        return True


COUNTED = {"messages": 1234, "more_messages": False, "logins": 1, "more_logins": True}


@pytest.mark.parametrize("command", ["impact", "why", "ban"])
def test_messages_and_logins_that_the_guard_counted(
    run: Any, guard: FakeGuard, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of the answer from logs; what was not counted is said. An older guard counted nothing."""
    monkeypatch.setattr("sys.stdin", Terminal("n\n" * 4))  # `ban` asks there
    friends = {"mail_sources": 2, "login_sources": 1, "pairs": 9, "more_pairs": True, "accounts": 1}
    answer: dict[str, Any] = {"ok": True, "args": {"network": "192.0.2.7"}, "standing": STANDING, "bans": []}
    guard.answers["why"] = answer | {"friends": friends | COUNTED}

    def said() -> str:
        told = run(command, "192.0.2.7", *(() if command == "ban" else ("-o", "plain")))
        return str(told.out + told.err)

    assert "  Mail: 1234 messages accepted." in said()
    assert "  Logins: at least 1 login succeeded; earlier ones were not counted." in said()
    guard.answers["why"] = answer | {"friends": friends | COUNTED | {"logins": 0}}
    assert "  Logins: some succeeded, but were not counted then." in said()
    guard.answers["why"] = answer | {"friends": friends}
    assert "  Mail: messages were accepted, but not counted then." in said()
    guard.answers["why"] = answer | {"friends": friends | COUNTED | {"mail_sources": 0}}
    assert "Mail: " not in said()
    (told,) = run("impact", "192.0.2.7", "-o", "json").objects
    assert told["friends"]["messages"] == 1234


@pytest.mark.parametrize("more", [[], ["-o", "json"]])
def test_ban_asks_first(run: Any, guard: FakeGuard, more: list[str]) -> None:
    """Where nobody can be asked, a ban that would lock out somebody known is refused; --yes does it."""
    guard.answers["why"] = {"ok": True, "standing": STANDING, "bans": []}
    guard.answers["ban"] = {"ok": True, "id": "banned", "args": {"network": "192.0.2.7"}, "ban": {}}
    said = run("ban", "192.0.2.7", *more)
    assert (said.code, "--yes" in said.err) == (1, True)
    assert [verb for verb, _ in guard.asked] == ["why"]
    for option in ("--yes", "--force"):
        assert run("ban", "192.0.2.7", option, *more).code == 0
        assert guard.asked[-1][0] == "ban"


def test_ctrl_c_shows_what_was_found(tmp_path: Path) -> None:
    """The effects up to then, the summary says so, exit 130."""
    log = tmp_path / "mail.log"
    with log.open("w") as file:
        for n in range(200_000):
            host = f"192.0.{n // 250 % 250}.{n % 250}"
            file.write(LINE.format(minute=n % 60, user=f"u{n}@example.net", host=host))
    started = tmp_path / "started"
    program = (
        "import signal, sys, time; from pathlib import Path; from mailguard import cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background has it ignored
        "import mailguard.replay.trial as t\n"
        f"take = t.Trial.take\n"
        # Interrupted in the middle, however fast it is: there it stands and waits for that.
        f"def tell(self, events): take(self, events); Path({str(started)!r}).touch(); time.sleep(60)\n"
        "t.Trial.take = tell\n"
        "cli.main(sys.argv[1:])\n"
    )
    arguments = [sys.executable, "-c", program, "replay", *FIXED, "-o", "json", "--workers", "2", str(log)]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"TZ": "UTC"}
    ) as process:
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    summary = json.loads(out.splitlines()[-1])["summary"]
    assert summary["interrupted"] is True
    assert 0 < summary["events"] < 200_000
    assert "interrupted" in err
