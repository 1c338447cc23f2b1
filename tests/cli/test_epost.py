"""E-Post's tables on the command line: its own lock-outs in `bans` and `why`, and `epost prepare` and
`compact`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from mailguard.definitions import source
from mailguard.definitions.actions import load_action
from mailguard.epost.filetime import to_filetime
from mailguard.firewall import epostcare
from mailguard.firewall.actions import build
from mailguard.model import Ban
from mailguard.notation import parse_network

ACTION = """
format = 1
title = "E-Post here"
driver = "epost"
[options]
program = "{program}"
lock_time = "30m"
lock_time_imap = "unknown"
state = "{state}"
[[sample]]
effect = "lift 192.0.2.7"
expect = []
"""


class Site:
    """A program folder, and an action of the administrator's that names it."""

    def __init__(self, path: Path):
        self.program = path / "program"
        self.program.mkdir()
        self.now = time.time()
        actions = path / "etc" / "actions"
        actions.mkdir(parents=True)
        self.action = actions / "epost.toml"
        self.action.write_text(ACTION.format(program=self.program, state=path / "state" / "epost.sqlite"))

    def table(self, kind: str, *rows: bytes) -> Path:
        path = self.program / f"reject{kind}ip.dat"
        path.write_bytes(b"".join(row + b"\r\n" for row in rows))
        return path

    def timed(self, address: bytes, ago: float, more: bytes = b"") -> bytes:
        return address + b"\t%d" % to_filetime(self.now - ago) + more


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(source, "ETC", tmp_path / "etc")
    return Site(tmp_path)


@pytest.fixture
def nobody(guard: Any) -> Any:
    """A guard that bans nobody."""
    guard.answers["bans"] = {"ok": True, "id": "bans", "args": {"total": 0}, "bans": []}
    why = {"ok": True, "id": "why", "args": {}, "bans": [], "history": [], "effects": [], "lines": []}
    guard.answers["why"] = why | {"standing": None, "undo": [], "spared": None}
    return guard


def test_bans_tell_of_lock_outs(site: Site, nobody: Any, run: Any) -> None:
    """Rows of E-Post's that may count now, with their end where the lock time is known; not those that are
    over, white, damaged or ours."""
    path = site.table(
        "smtp",
        b"192.0.2.1\ttrue",
        site.timed(b"203.0.113.1", 60),
        site.timed(b"203.0.113.2", 7200),
        site.timed(b"203.0.113.3", 60, b"\tiplock"),
        b"nonsense",
        b"198.51.100.0/24",
    )
    imap = site.table("imap", site.timed(b"203.0.113.4", 7200))
    driver = build(load_action(site.action))
    site.table("pop")
    network = parse_network("192.0.2.99")
    assert network is not None
    driver.open([Ban(network, site.now, site.now + 60)], site.now)
    driver.close(keep=True)
    said = run("bans", "-o", "json")
    assert said.code == 0
    rows = [
        (one["network"], one["scope"], one["origin"], one["row"], one["ends_known"]) for one in said.objects
    ]
    assert rows == [
        ("203.0.113.1", "smtp", "auth", 2, True),
        ("203.0.113.3", "smtp", "ip", 4, False),
        ("198.51.100.0/24", "smtp", "hand", 6, True),
        ("203.0.113.4", "imap", "auth", 1, False),
    ]
    assert said.objects[0]["table"] == str(path)
    assert said.objects[3]["table"] == str(imap)
    plain = run("bans", "--detector", "epost").out.splitlines()
    assert plain[0].startswith("203.0.113.1 smtp until 20")
    assert plain[0].endswith("ban 203.0.113.1 by epost: auth lock-out by E-Post, rejectsmtpip.dat row 2")
    assert " until permanent: " in plain[2]
    assert " until unknown: " in plain[3]
    assert [verb for verb, _ in nobody.asked] == ["bans"]
    contains = run("bans", "--contains", "198.51.100.9").out.splitlines()
    assert len(contains) == 1
    assert run("bans", "--detector", "password-guessing").out == ""


def test_why_explains_rows(site: Site, nobody: Any, run: Any) -> None:
    """Table, row, since when, until when, and what sort of lock-out; rows that are over too."""
    path = site.table(
        "smtp", site.timed(b"203.0.113.2", 7200), b"203.0.113.0/24\t", b"203.0.113.2\ttrue", b"203.0.113.2\tx"
    )
    site.table("imap", site.timed(b"203.0.113.2", 60))
    said = run("why", "203.0.113.2")
    assert said.code == 0
    assert "In E-Post's own tables (not by mailguard):" in said.out
    for number, words in (
        (1, "locked out by E-Post after failed logins, since"),
        (2, "is refused; it has no time, so a hand wrote it; it has no end"),
        (3, "is on the white list"),
        (4, "is damaged"),
    ):
        (line,) = [line for line in said.out.splitlines() if f"{path}, row {number}:" in line]
        assert words in line
    assert "; that ended at " in said.out
    assert "its end is not known here" in said.out
    assert len(run("why", "203.0.113.2", "-o", "json").objects[0]["epost"]) == 5
    assert "E-Post" not in run("why", "192.0.2.1").out


def test_without_a_server_nothing_is_said(
    nobody: Any, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a host without E-Post `bans` and `why` are what they were."""
    monkeypatch.setattr(source, "ETC", tmp_path)
    assert run("bans").out == ""
    assert "E-Post" not in run("why", "192.0.2.1").out


def test_prepare_and_compact(site: Site, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be done, what is refused, what is done; each step said."""
    monkeypatch.setattr(epostcare, "running", list)
    dry = run("epost", "prepare", "--dry-run", "--reject", "3")
    assert dry.code == 0
    assert dry.out.count("would do: ") == 3
    assert list(site.program.iterdir()) == []
    made = run("epost", "prepare")
    assert made.out.count(": made, empty\n") == 3
    assert "setfacl -m u:mailguard-enforcer:rw" in made.out
    refused = run("epost", "prepare", "--reject", "3")
    assert refused.code == 64
    assert "--service-stopped" in refused.err
    done = run("epost", "prepare", "--reject", "3", "--allow", "1", "--service-stopped")
    assert done.out.count("4 lines set aside (0 -> 288 bytes)") == 3
    assert run("epost", "compact").code == 64
    nothing = run("epost", "compact", "--service-stopped")
    assert nothing.out.count("0 dead rows taken out (288 -> 288 bytes)") == 3


def test_services_that_run_are_not_overtaken(site: Site, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is said, a table is not rewritten while E-Post runs on this host."""
    site.table("smtp", b"192.0.2.1")
    monkeypatch.setattr(epostcare, "running", lambda: ["epstrd"])
    said = run("epost", "compact", "--service-stopped")
    assert said.code == 69
    assert "epstrd runs here" in said.err


def test_running_services_are_found(tmp_path: Path) -> None:
    """By their names in /proc."""
    for number, name in (("7", "epstrd"), ("8", "bash"), ("9", "epstimap4d")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "comm").write_text(name + "\n")
    (tmp_path / "self").mkdir()
    assert epostcare.running(str(tmp_path)) == ["epstimap4d", "epstrd"]


def test_audit_asks_the_guard_for_partners(site: Site, nobody: Any, run: Any, tmp_path: Path) -> None:
    """Whoever is kept out by a row of E-Post's and is known here is found; without a guard that is said."""
    site.table("smtp", site.timed(b"198.51.100.9", 60), site.timed(b"203.0.113.2", 7200))
    nobody.answers["why"]["standing"] = {"mail_days": 12, "login_days": 0, "revoked": False}
    where = ("--program", str(site.program), "--spool", str(tmp_path))
    said = run("epost", "audit", *where, "-o", "json")
    assert said.code == 2
    (found,) = [one for one in said.objects if one["id"] == "partner"]
    assert found["where"].endswith("rejectsmtpip.dat:1")
    assert "mail accepted on 12 days" in found["text"]
    assert "locked out 1m" in found["text"]
    assert [args["network"] for verb, args in nobody.asked] == ["198.51.100.9"]
    nobody.answers["why"]["standing"] = {"mail_days": 12, "login_days": 3, "revoked": True}
    assert run("epost", "audit", *where).code != 2
    alone = run("epost", "audit", *where, "--socket", str(tmp_path / "none"), "-o", "json")
    assert "unseen-partners" in {one["id"] for one in alone.objects}
