"""What systemd hears: the datagrams of sd_notify(3), and nothing where nobody listens."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailguard.sdnotify import Notifier


@pytest.fixture
def line(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(5)
        yield made


def heard(line: socket.socket) -> str:
    return line.recv(4096).decode()


def test_each_word(line: socket.socket) -> None:
    """Ready, reloading with its time, a status in one line, alive, more time, stopping."""
    notifier = Notifier({"NOTIFY_SOCKET": line.getsockname()})
    assert notifier.wanted
    notifier.ready("observing,\n2 logs")
    assert heard(line) == "READY=1\nSTATUS=observing, 2 logs"
    notifier.reloading()
    assert heard(line).startswith("RELOADING=1\nMONOTONIC_USEC=")
    notifier.status("x\ny")
    assert heard(line) == "STATUS=x y"
    notifier.alive()
    assert heard(line) == "WATCHDOG=1"
    notifier.patience(60)
    assert heard(line) == "EXTEND_TIMEOUT_USEC=60000000"
    notifier.stopping()
    assert heard(line) == "STOPPING=1"


def test_an_abstract_socket() -> None:
    """A name that begins with @ stands for a NUL."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        name = f"mailguard-test-{os.getpid()}"
        made.bind("\0" + name)
        made.settimeout(5)
        Notifier({"NOTIFY_SOCKET": "@" + name}).alive()
        assert heard(made) == "WATCHDOG=1"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_whether_signs_of_life_are_expected(environment: dict[str, str], seconds: float | None) -> None:
    """Only where the watchdog is meant for this process."""
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environment}).watchdog == seconds


def test_nobody_listens() -> None:
    """Without a socket, or with one that has gone, every call does nothing."""
    for environment in ({}, {"NOTIFY_SOCKET": "/nowhere/at/all"}):
        notifier = Notifier(environment)
        notifier.ready("x")
        notifier.alive()
