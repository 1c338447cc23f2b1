"""A NAS and the machine that guards it: its log comes by syslog or from its databases, bans go into its
list."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIST = (
    "CREATE TABLE AutoBlockIP (IP varchar(50) PRIMARY KEY, RecordTime date NOT NULL, "
    "ExpireTime date NOT NULL, Deny boolean NOT NULL, IPStd varchar(50) NOT NULL, Type INTEGER, "
    "Meta varchar(256))"
)
LOGS = "CREATE TABLE logs (id INTEGER PRIMARY KEY, time INT, level TEXT, username TEXT, msg TEXT)"
ACTION = """
format = 1
title = "the NAS of this test"
driver = "synology"
[options]
database = "{folder}/synoautoblock.db"
state = "{folder}/synology.sqlite"
[[sample]]
effect = "ban 192.0.2.7 for 10m"
expect = ["block list: put in 192.0.2.7 for 10m"]
"""
#: The program with another folder for the administrator's definitions.
PROGRAM = """
import sys
from pathlib import Path
from mailguard.definitions import source
source.ETC = Path(sys.argv.pop(1))
from mailguard.cli import main
sys.exit(main())
"""
FAILED = "User [{}] from [{}] failed to log in via [MailPlus-Server] due to authorization failure."


class Nas:
    """The guard of a NAS as a process, with the NAS's files beside it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = self._free()
        for name, schema in (("synoautoblock.db", LIST), (".SYNOCONNDB", LOGS)):
            with contextlib.closing(sqlite3.connect(folder / name)) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute(schema)
        (folder / "definitions" / "actions").mkdir(parents=True)
        (folder / "definitions" / "actions" / "nas.toml").write_text(ACTION.format(folder=folder))
        self.said = ""
        self.process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def _free() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            return int(one.getsockname()[1])

    def start(self, logs: str) -> None:
        """With these `[log.NAME]` tables; returns when the guard watches."""
        settings = self.folder / "mailguard.toml"
        settings.write_text(
            f'[general]\nmode = "enforce"\n[firewall]\naction = "nas"\n[never]\nprivate = false\n{logs}'
        )
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        command = [
            *(
                sys.executable,
                "-c",
                PROGRAM,
                str(self.folder / "definitions"),
                "run",
                "--config",
                str(settings),
                "--output",
                "plain",
            ),
            *("--state", str(self.folder / "state"), "--socket", str(self.folder / "socket")),
        ]
        self.said = ""
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.until(lambda: "watching" in self.said)

    def until(self, ready: object) -> None:
        limit = time.monotonic() + 60
        assert callable(ready)
        while not ready():
            assert time.monotonic() < limit, self.said
            assert self.process is not None
            assert self.process.stdout is not None
            self.said += (self.process.stdout.read() or b"").decode()
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def send(self, *lines: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for line in lines:
                sender.sendto(line.encode(), ("127.0.0.1", self.port))

    def blocked(self) -> dict[str, int]:
        with contextlib.closing(sqlite3.connect(self.folder / "synoautoblock.db")) as db:
            return dict(db.execute("SELECT IP, ExpireTime FROM AutoBlockIP WHERE Deny = 1"))

    def write(self, user: str, source: str, age: float = 0.0) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / ".SYNOCONNDB")) as db, db:
            db.execute(
                "INSERT INTO logs (time, level, username, msg) VALUES (?, 'warning', ?, ?)",
                (int(time.time() - age), user, FAILED.format(user, source)),
            )


@pytest.fixture
def nas(tmp_path: Path) -> Iterator[Nas]:
    made = Nas(tmp_path)
    yield made
    made.stop(signal.SIGKILL)


def stamp(ago: float = 0.0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="seconds")


def test_what_a_nas_sends_is_banned_on_the_nas(nas: Nas) -> None:
    """Its connection log comes by syslog; the ban goes into its own block list, with its end; a forged name
    bans nobody else; by its default trust the same only alerts."""
    log = f'[log.nas]\nkind = "syslog"\nlisten = "udp://127.0.0.1:{nas.port}"\nsenders = ["127.0.0.1"]\n'
    forged = "x] from [203.0.113.99] failed to log in via [MailPlus-Server] due to authorization failure."
    lines = [
        f"<12>1 {stamp(30 - n)} nas Connection - - - " + FAILED.format(forged, "192.0.2.61") for n in range(6)
    ]
    nas.start(log)
    nas.send(*lines)
    nas.until(lambda: "alert 192.0.2.61 by password-guessing: 5 auth_failure" in nas.said)
    assert "[trust]" in nas.said
    assert nas.blocked() == {}
    nas.stop()
    nas.start(log + 'trust = "ban"\n')
    nas.send(*(line.replace("192.0.2.61", "192.0.2.62") for line in lines))
    nas.until(lambda: nas.blocked())
    assert list(nas.blocked()) == ["192.0.2.62"]
    (expires,) = nas.blocked().values()
    assert 0 < expires - time.time() <= 3600
    nas.until(lambda: "ban 192.0.2.62 for " in nas.said)


def test_a_reload_loses_nothing(nas: Nas) -> None:
    """Connections that are open stay open, and what waits unread is read."""
    nas.start(f'[log.nas]\nkind = "syslog"\nlisten = "tcp://127.0.0.1:{nas.port}"\n')
    lines = [
        f"<12>1 {stamp(30 - n)} nas Connection - - - " + FAILED.format("x", "192.0.2.61") for n in range(6)
    ]
    with socket.create_connection(("127.0.0.1", nas.port), timeout=10) as sender:
        sender.sendall("".join(line + "\n" for line in lines[:3]).encode() + lines[3][:20].encode())
        assert nas.process is not None
        nas.process.send_signal(signal.SIGHUP)
        nas.until(lambda: "new settings and definitions are in use" in nas.said)
        sender.sendall((lines[3][20:] + "\n" + lines[4] + "\n").encode())
        nas.until(lambda: "alert 192.0.2.61 by password-guessing: 5 auth_failure" in nas.said)


def test_the_databases_across_a_kill(nas: Nas) -> None:
    """A guard on the NAS itself follows the databases: killed half-way through an attack it goes on where it
    was, and the attack is counted exactly once."""
    nas.start(f'[log.nas]\nkind = "synology-db"\npath = "{nas.folder}/.SYNOCONNDB"\nstart = "begin"\n')
    for number in range(3):
        nas.write("info", "192.0.2.61", 300 - number)
    nas.write("info", "192.0.2.63")
    nas.write("admin", "192.0.2.63")
    time_limit = time.monotonic() + 30
    while b"synology-db" not in (nas.folder / "state" / "ledger.db").read_bytes() + b"".join(
        path.read_bytes() for path in (nas.folder / "state").glob("ledger.db-wal")
    ):
        assert time.monotonic() < time_limit
        time.sleep(0.05)
    nas.stop(signal.SIGKILL)
    nas.write("info", "192.0.2.61", 100)
    nas.start(f'[log.nas]\nkind = "synology-db"\npath = "{nas.folder}/.SYNOCONNDB"\n')
    assert nas.blocked() == {}  # four tries so far
    nas.write("info", "192.0.2.61")
    nas.until(lambda: "192.0.2.61" in nas.blocked())
    assert list(nas.blocked()) == ["192.0.2.61"]
    nas.until(lambda: "ban 192.0.2.61 for 10m by password-guessing: 5 auth_failure in" in nas.said)
