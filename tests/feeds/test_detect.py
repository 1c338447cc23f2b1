"""Finding the logs of a host."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from mailguard.daemon import choose_logs
from mailguard.feeds.detect import ask, detect


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "var" / "log").mkdir(parents=True)
    return tmp_path


def silent(command: list[str]) -> str:
    return ""


def test_an_empty_host(root: Path) -> None:
    """Nothing there, nothing found."""
    assert detect(str(root), silent) == []


def test_system_logs_with_their_rotated_files(root: Path) -> None:
    """The shared system logs, their older files oldest first, each file once."""
    logs = root / "var" / "log"
    (logs / "mail.log").write_bytes(b"x\n")
    for age, name in enumerate(["mail.log.1", "mail.log.2.gz", "mail.log.10.gz"], 1):
        (logs / name).write_bytes(gzip.compress(b"x\n") if name.endswith("gz") else b"x\n")
        os.utime(logs / name, (0, 1_000_000 - age * 86400))
    (logs / "maillog").symlink_to("mail.log")
    (found,) = detect(str(root), silent)
    assert (found.kind, found.name, found.paths) == ("file", "mail", (str(logs / "mail.log"),))
    assert [os.path.basename(path) for path in found.rotated] == [
        "mail.log.10.gz",
        "mail.log.2.gz",
        "mail.log.1",
    ]
    assert found.shared
    assert found.readable
    assert not found.covered


def test_what_the_servers_say(root: Path) -> None:
    """Dovecot's and Postfix's own log files come first and are not shared; no file, no find."""
    (root / "var" / "log" / "dovecot.log").write_bytes(b"")
    (root / "var" / "log" / "postfix.log").write_bytes(b"")
    told = {"log_path": "/var/log/dovecot.log", "info_log_path": "/var/log/none.log",
            "maillog_file": "/var/log/postfix.log"}  # fmt: skip
    found = detect(str(root), lambda command: told[command[-1]])
    assert [(log.name, log.shared) for log in found] == [("dovecot", False), ("postfix", False)]
    assert "Dovecot" in found[0].words


def test_folders_of_logs(root: Path) -> None:
    """SUSE and others keep mail logs in a folder of their own."""
    folder = root / "var" / "log" / "mail"
    folder.mkdir()
    (folder / "mail.log").write_bytes(b"")
    (folder / "mail.log.1").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    found = detect(str(root), silent)
    assert [os.path.basename(log.paths[0]) for log in found] == ["mail.log"]


def test_an_epost_spool(root: Path) -> None:
    """Known by its day-named files; which logs are written is said; the days are there for learning."""
    spool = root / "var" / "spool" / "epms"
    (spool / "acceptlog" / "MAIL1").mkdir(parents=True)
    (spool / "inlog").mkdir()
    (spool / "dead").mkdir()
    assert detect(str(root), silent) == []
    (spool / "acceptlog" / "MAIL1" / "261122.log").write_bytes(b"")
    (spool / "inlog" / "261121.log").write_bytes(b"")
    (found,) = detect(str(root), silent)
    assert (found.kind, found.paths) == ("epost", (str(spool),))
    assert found.words == "E-Post spool: acceptlog, inlog"
    assert [os.path.basename(path) for path in found.rotated] == ["261121.log", "261122.log"]


def test_a_journal_that_is_none(root: Path) -> None:
    """A damaged journal file is found, but claims nothing about mail."""
    folder = root / "var" / "log" / "journal" / "5f0c2d1e8a7b4c3d9e6f1a2b3c4d5e6f"
    folder.mkdir(parents=True)
    (folder / "system.journal").write_bytes(b"rubbish")
    (root / "var" / "log" / "mail.log").write_bytes(b"")
    logs = detect(str(root), silent)
    assert [log.kind for log in logs] == ["file", "journal"]
    assert "without entries" in logs[1].words


def test_asking_programs() -> None:
    """A program's answer; nothing where there is no such program or it fails."""
    assert ask(["echo", "/var/log/x"]) == "/var/log/x"
    assert ask(["false"]) == ""
    assert ask(["no-such-program-anywhere"]) == ""


def test_a_nas(root: Path) -> None:
    """The log databases of a Synology NAS; where the mail server's own log is there too, it is preferred."""
    folder = root / "var" / "log" / "synolog"
    folder.mkdir()
    for name in (".SYNOCONNDB", ".SYNOSYSDB"):
        (folder / name).write_bytes(b"SQLite format 3\0")
    (found,) = detect(str(root), silent)
    assert (found.kind, found.covered, found.readable) == ("synology-db", False, True)
    assert found.paths == (str(folder / ".SYNOCONNDB"), str(folder / ".SYNOSYSDB"))
    assert [(log.kind, log.path) for log in choose_logs([found])] == [("synology-db", found.paths)]
    (root / "var" / "log" / "maillog").write_bytes(b"x\n")
    mail, nas = detect(str(root), silent)
    assert (mail.kind, nas.covered) == ("file", True)
    assert [log.kind for log in choose_logs([mail, nas])] == ["file"]
    (root / "var" / "log" / "maillog").write_bytes(b"")
    assert [log.kind for log in choose_logs(detect(str(root), silent))] == ["synology-db"]
