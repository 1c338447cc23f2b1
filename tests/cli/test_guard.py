"""The commands and a real guard: one that reads a file and records its bans, as any user may run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 30.0
FAILED = (
    "{stamp} mail1 dovecot: imap-login: Aborted login (auth failed, 1 attempts): "
    "user=<u{number}@example.org>, method=PLAIN, rip={rip}, lip=203.0.113.25, TLS"
)


class Standing:
    """A guard in a process of its own."""

    def __init__(self, folder: Path, run: Callable[..., Any]):
        self.log = folder / "mail.log"
        self.log.touch()
        self.socket = str(folder / "control")
        self._run = run
        self._number = 0
        settings = folder / "mailguard.toml"
        settings.write_text("[never]\nprivate = false\n")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "mailguard", "run", "--enforce", "--log", self.log, "-o", "plain",
                "--state", folder / "state", "--config", settings, "--socket", self.socket,
                "--firewall", "recording",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"TZ": "UTC"},
        )  # fmt: skip
        self.until(lambda: self("status").code < 2)

    def __call__(self, *arguments: str) -> Any:
        return self._run(*arguments, "--socket", self.socket)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, looking again and again."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.02)

    def guess(self, rip: str, times: int) -> None:
        """Failed logins of one address, each under another name."""
        stamp = time.strftime("%b %e %H:%M:%S", time.gmtime())
        with self.log.open("a") as file:
            for _ in range(times):
                self._number += 1
                file.write(FAILED.format(stamp=stamp, number=self._number, rip=rip) + "\n")

    def end(self) -> tuple[str, str]:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, err
        return out, err


@pytest.fixture
def standing(tmp_path: Path, run: Callable[..., Any]) -> Iterator[Standing]:
    guard = Standing(tmp_path, run)
    yield guard
    if guard.process.poll() is None:
        guard.process.kill()
        guard.process.communicate()


def banned(guard: Standing) -> set[str]:
    return {ban["network"] for ban in guard("bans", "-o", "json").objects}


def test_a_ban_from_the_line_to_why(standing: Standing) -> None:
    """An address guesses, is banned, explained, and let in again by one command; the log has each step."""
    standing.guess("192.0.2.9", 6)
    standing.until(lambda: banned(standing) == {"192.0.2.9"})
    why = standing("why", "192.0.2.9").out
    assert why.startswith("192.0.2.9 is banned from the ports for logins until ")
    assert "What still counts in the windows:" in why
    assert "dovecot/auth-failed" in why
    assert "  mailguard unban 192.0.2.9\n" in why
    assert "u1@example.org" not in why  # a name that is nobody's may be a password
    assert standing("unban", "192.0.2.9").code == 0
    assert banned(standing) == set()
    assert standing("why", "192.0.2.9").out.startswith("192.0.2.9 is not banned.\n")
    out, err = standing.end()
    assert [line.split(" ", 1)[1].split(" for ")[0].split(":")[0] for line in out.splitlines()] == [
        "ban 192.0.2.9", "lift 192.0.2.9",
    ]  # fmt: skip
    assert "Traceback" not in err


def test_an_administrators_ban(standing: Standing) -> None:
    """A ban that was asked for stands with its reason; what must not be banned is refused until --force."""
    assert standing("ban", "198.51.100.7", "--for", "permanent", "--reason", "noise").code == 0
    (ban,) = standing("bans", "--detector", "administrator", "-o", "json").objects
    assert (ban["network"], ban["until"], ban["reason"]) == ("198.51.100.7", None, "noise")
    for network in ("0.0.0.0/0", "::/0", "127.0.0.1"):
        refused = standing("ban", network)
        assert refused.code == 1
        assert "was refused" in refused.err
    assert standing("allow", "add", "203.0.113.0/24", "--reason", "partner").code == 0
    assert "partner" in standing("ban", "203.0.113.4").err
    assert standing("ban", "203.0.113.4", "--force").code == 0
    assert standing("bans", "--contains", "203.0.113.4", "-o", "json").objects[0]["network"] == "203.0.113.4"
    assert standing("allow", "del", "203.0.113.0/24").code == 0
    assert standing("allow", "check", "203.0.113.4").code == 1
    assert standing("unban", "--all").code == 0
    assert banned(standing) == set()


def test_the_doors_at_night(standing: Standing) -> None:
    """observe, enforce, pause and panic do what they say, and status says so."""
    assert standing("observe").code == 0
    standing.guess("192.0.2.9", 6)
    standing.until(lambda: standing("status", "-o", "json").objects[0]["would"] == 1)
    assert "would be banned" in standing("why", "192.0.2.9").out
    assert banned(standing) == set()
    assert standing("enforce").out == "bans are on; 1 that were observed stand now\n"
    assert banned(standing) == {"192.0.2.9"}
    assert standing("pause", "1h").code == 0
    assert "paused until" in standing("status").out
    assert standing("pause", "0s").out == "no pause; the bans are in the firewall\n"
    assert standing("panic").out == "1 ban lifted; only observing until `mailguard enforce`\n"
    (status,) = standing("status", "-o", "json").objects
    assert (status["exit"], status["mode"], status["bans"]) == (1, "observe", 0)
