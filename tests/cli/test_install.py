"""`mailguard install`: what it would do, what it writes, and how little the units may do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mailguard.cli import install
from mailguard.definitions.settings import load_settings

DROP_INS = ["enforcer-ipset.conf", "enforcer-command.conf", "enforcer-synology.conf"]
UNITS = ["mailguard-enforcer.service", "mailguard-enforcer.socket", "mailguard.service"]


def test_dry_run_prints_every_step(run: Any) -> None:
    """Each file with its text and each command is printed; nothing is written."""
    said = run("install", "--dry-run")
    assert said.code == 0
    for place in install.PLACES.values():
        assert f"write {place}\n" in said.out
    assert "run   systemctl enable --now mailguard-enforcer.socket mailguard.service\n" in said.out
    assert "    CapabilityBoundingSet=CAP_NET_ADMIN\n" in said.out
    assert "@" not in re.sub(r"@system-service|@privileged|@resources", "", said.out)


def test_root_writes_below_a_folder(run: Any, tmp_path: Path) -> None:
    """--root writes the same files below a folder, runs nothing, and leaves settings that exist alone."""
    settings = tmp_path / "etc/mailguard/mailguard.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("# mine\n")
    assert run("install", "--root", str(tmp_path)).code == 0
    assert settings.read_text() == "# mine\n"
    for place in install.PLACES.values():
        assert (tmp_path / place.lstrip("/")).is_file()
    assert (tmp_path / "usr/local/share/man/man8/mailguard.8").is_file()
    assert (tmp_path / "usr/local/share/man/ja/man8/mailguard.8").is_file()
    settings.unlink()
    assert run("install", "--root", str(tmp_path), "--enforce").code == 0
    assert 'mode = "enforce"' in settings.read_text()


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_first_settings_are_right(mode: str) -> None:
    """What is written into a new settings file loads."""
    settings = load_settings(install.CONFIG, text=install.FIRST_SETTINGS.format(mode=mode))
    assert settings.general.mode == mode


def test_the_enforcer_is_for_the_action_of_the_settings(run: Any, tmp_path: Path) -> None:
    """The unit names the action; one that needs more gets a drop-in, and loses it again."""
    settings = tmp_path / "mailguard.toml"
    drop_in = tmp_path / install.DROP_IN.lstrip("/")
    unit = tmp_path / install.PLACES["mailguard-enforcer.service"].lstrip("/")
    for action, more in (
        ("nftables", ""),
        ("ipset", "CAP_NET_RAW"),
        ("command", "User=root"),
        ("nftables", ""),
    ):
        settings.write_text(f'[firewall]\naction = "{action}"\n')
        assert run("install", "--root", str(tmp_path), "--config", str(settings)).code == 0
        assert f"--action {action}\n" in unit.read_text()
        assert drop_in.exists() == bool(more)
        if more:
            assert more in drop_in.read_text()


def test_an_ordinary_user_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root nothing is written and the way out is said; exit 77."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = run("install")
    assert said.code == 77
    assert "--dry-run" in said.err


def test_a_closed_folder_is_found(tmp_path: Path) -> None:
    """A program that the guard's own user could not read is found before the units fail at night."""
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert install.unreadable(Path("/usr/bin/env")) is None
    assert install.unreadable(closed / "bin" / "mailguard") == str(closed)
    assert install.unreadable(Path("/root/x/bin/mailguard")) == "/root"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    for name in UNITS:
        text = (install.UNITS / name).read_text()
        for placeholder in ("@MAILGUARD@", "@PYTHON@", "@ACTION@"):
            text = text.replace(placeholder, "/bin/true")
        text = re.sub(r"^Documentation=.*\n", "", text.replace("@CONFIG@", "/etc/x.toml"), flags=re.MULTILINE)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_judge_may_listen_where_it_must(run: Any, tmp_path: Path) -> None:
    """A log of kind syslog gives the judge's unit the network, and taking it out takes that away."""
    settings = tmp_path / "mailguard.toml"
    drop_in = tmp_path / install.JUDGE_DROP_IN.lstrip("/")
    log = '[log.nas]\nkind = "syslog"\nlisten = "udp://192.0.2.1:5514"\nsenders = ["192.0.2.9"]\n'
    for text, there in (("", False), (log, True), ("", False)):
        settings.write_text(text)
        assert run("install", "--root", str(tmp_path), "--config", str(settings)).code == 0
        assert drop_in.exists() == there
    assert "AF_INET" in (install.UNITS / "judge-syslog.conf").read_text()


@pytest.mark.real
@pytest.mark.parametrize("drop_in", [None, *DROP_INS])
def test_systemd_finds_nothing_wrong(units: Path, drop_in: str | None) -> None:
    """systemd reads the units without a word, with each drop-in too."""
    if drop_in:
        folder = units / "mailguard-enforcer.service.d"
        folder.mkdir()
        shutil.copy(install.UNITS / drop_in, folder / "action.conf")
    assert shutil.which("systemd-analyze"), "systemd is missing"
    told = subprocess.run(
        ["systemd-analyze", "verify", *(str(units / name) for name in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.real
@pytest.mark.parametrize(("name", "most"), [("mailguard.service", 1.2), ("mailguard-enforcer.service", 1.5)])
def test_least_privilege(units: Path, name: str, most: float) -> None:
    """systemd's own measure of exposure stays near its best (0 is none, 10 is all)."""
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(units / name)],
        capture_output=True,
        text=True,
        check=True,
    )
    exposure = re.search(r"Overall exposure level for .*: ([0-9.]+)", told.stdout)
    assert exposure is not None
    assert float(exposure.group(1)) <= most


def test_capabilities() -> None:
    """The judge holds no capability; the enforcer holds CAP_NET_ADMIN and runs as another user."""
    judge = (install.UNITS / "mailguard.service").read_text().splitlines()
    enforcer = (install.UNITS / "mailguard-enforcer.service").read_text().splitlines()
    assert "CapabilityBoundingSet=" in judge
    assert "AmbientCapabilities=" in judge
    assert "CapabilityBoundingSet=CAP_NET_ADMIN" in enforcer
    assert "User=mailguard" in judge
    assert "User=mailguard-enforcer" in enforcer
    for unit in (judge, enforcer):
        assert "NoNewPrivileges=yes" in unit
        assert "ProtectSystem=strict" in unit
