"""Files that commands write: whole or as they were, never over a log, never in the place of a device."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailguard.cli.writing import Target

SAMPLE = Path(__file__).parents[2] / "samples" / "logs" / "brute-force.log"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "mail.log"
    path.write_bytes(SAMPLE.read_bytes())
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("replay", "--html"),
        ("events", "--to"),
        ("events", "-o", "jsonl", "--to"),
        ("tune", "--detector", "password-guessing", "--grid", "count=3,4", "--html"),
    ],
)
def test_a_log_is_not_written_over(run: Any, log: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Neither by its name nor through a link."""
    (tmp_path / "link").symlink_to(log)
    for target in (log, tmp_path / "link"):
        said = run(*command, str(target), str(log))
        assert said.code == 64
        assert "is one of the logs to read" in said.err
    assert log.read_bytes() == SAMPLE.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["link", "mail.log"]


def test_devices_pipes_and_links_stay(tmp_path: Path) -> None:
    """What is no ordinary file is written to; a link stays, and what it leads to is replaced."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with Target(str(tmp_path / "pipe")) as target:
        target.file.write(b"page")
        target.keep()
    assert os.read(reader, 100) == b"page"
    os.close(reader)
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    (tmp_path / "link").symlink_to("real")
    with Target(str(tmp_path / "link"), 0o600) as target:
        target.file.write(b"page")
        target.keep()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"page"
    assert stat.S_IMODE(os.stat(tmp_path / "real").st_mode) == 0o600


def test_what_is_not_whole_is_not_kept(tmp_path: Path) -> None:
    """What was there before stays, and nothing lies about."""
    (tmp_path / "page").write_text("before")
    with Target(str(tmp_path / "page")) as target:
        target.file.write(b"half of")
    assert (tmp_path / "page").read_text() == "before"
    assert os.listdir(tmp_path) == ["page"]
    with pytest.raises(FileNotFoundError, match="none/page"):
        Target(str(tmp_path / "none" / "page"))


def test_a_full_disk_is_said(run: Any, log: Path) -> None:
    """One line, an exit code of its own, and no report of a defect."""
    for command in (("events", "--to"), ("events", "-o", "jsonl", "--to"), ("replay", "--html")):
        said = run(*command, "/dev/full", str(log))
        assert (said.code, "No space left on device" in said.err) == (74, True)
        assert "should not happen" not in said.err
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.parametrize("command", [("replay", "-o", "json"), ("events",), ("events", "-o", "csv")])
def test_standard_output_that_takes_no_more(log: Path, command: tuple[str, ...]) -> None:
    """A full disk behind it is an error, a reader that left (`| head`) is none."""
    whole = [sys.executable, "-m", "mailguard", *command, str(log)]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(whole, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, b"should not happen" in ended.stderr) == (74, False)
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(whole, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, b"Traceback" in ended.stderr, b"ignored" in ended.stderr) == (0, False, False)


def test_the_last_day_there_is(run: Any, log: Path) -> None:
    """A time that no clock reaches is said to be none."""
    said = run("replay", "--from", "9999-12-31T23:59:59-12:00", str(log))
    assert said.code == 64
    assert "is neither a time" in said.err
