"""Network namespaces for the firewall's tests, and one of each driver.

A namespace is entered by this thread alone and has no name: it vanishes when nothing in it is open any more,
even when the test process is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mailguard.enforcer import spawn
from mailguard.firewall import native
from mailguard.firewall.command import Command
from mailguard.firewall.driver import Driver
from mailguard.firewall.epost import FILES, Epost
from mailguard.firewall.interface import Firewall
from mailguard.firewall.ipset import Ipset
from mailguard.firewall.nftables import Nftables
from mailguard.firewall.recording import Recording
from mailguard.firewall.several import Several
from mailguard.firewall.synology import Synology
from mailguard.firewall.xtables import Commands, Legacy
from mailguard.model import Ban, Notice
from mailguard.notation import parse_network

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_SELF = "/proc/thread-self/ns/net"


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Namespace:
    """A network namespace; `with` enters it for this thread."""

    def __init__(self) -> None:
        before = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_LIBC.unshare(_CLONE_NEWNET))
            self.descriptor = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
            run("ip", "link", "set", "lo", "up")
        finally:
            _check(_LIBC.setns(before, _CLONE_NEWNET))
            os.close(before)

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        before = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        _check(_LIBC.setns(self.descriptor, _CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_LIBC.setns(before, _CLONE_NEWNET))
            os.close(before)

    def close(self) -> None:
        os.close(self.descriptor)


def run(*arguments: str, given: str = "") -> str:
    """Run a tool here; its output. A failure shows what it said."""
    done = subprocess.run(arguments, input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def until(done: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Poll until `done()` is true and return that; fail after `seconds`."""
    limit = time.monotonic() + seconds
    while True:
        result = done()
        if result:
            return result
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.02)


def ban(network: str, seconds: float | None = 600.0, scope: str = "mail") -> Ban:
    """A ban from now for so many seconds; None: permanent."""
    parsed = parse_network(network)
    assert parsed is not None, network
    now = time.time()
    return Ban(parsed, now, None if seconds is None else now + seconds, scope=scope)


def heard(firewall: Firewall, seconds: float = 10.0) -> list[Notice]:
    """The next notices of a firewall, waited for."""
    limit = time.monotonic() + seconds
    while True:
        notices = firewall.notices()
        if notices:
            return notices
        assert time.monotonic() < limit, "nothing was said in time"
        number = firewall.fileno()
        assert number is not None
        select.select([number], [], [], max(0.0, limit - time.monotonic()))


class Helpers:
    """What tests use of this file."""

    Namespace, run, until, ban, heard = Namespace, staticmethod(run), staticmethod(until), ban, heard
    ban, heard = staticmethod(ban), staticmethod(heard)


@pytest.fixture
def helpers() -> type[Helpers]:
    return Helpers


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """The test runs inside a fresh network namespace."""
    made = Namespace()
    try:
        with made.inside():
            yield made
    finally:
        made.close()


def _script(path: Path) -> list[str]:
    """A program for the command driver that writes down how it was called."""
    program = path / "banner"
    program.write_text(f'#!/bin/sh\necho "$@" >> {path}/calls\n')
    program.chmod(0o755)
    return [str(program)]


def _epost(path: Path, lock: float | None = None) -> Epost:
    """E-Post's tables in a folder of their own."""
    for name in FILES.values():
        (path / name).write_bytes(b"")
    locks = {} if lock is None else dict.fromkeys(("smtp", "pop", "imap"), lock)
    return Epost(str(path), ("smtp", "pop", "imap"), locks, state=str(path / "state" / "epost.sqlite"))


def _synology(path: Path) -> Synology:
    """The block list of a NAS, as DSM 7 makes it."""
    database = path / "synoautoblock.db"
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute(
            "CREATE TABLE AutoBlockIP (IP varchar(50) PRIMARY KEY, RecordTime date NOT NULL, "
            "ExpireTime date NOT NULL, Deny boolean NOT NULL, IPStd varchar(50) NOT NULL, "
            "Type INTEGER, Meta varchar(256))"
        )
    return Synology(database=str(database), state=str(path / "synology.sqlite"))


def _synology_webapi(path: Path) -> Synology:
    """The same by a command that takes networks as a whole."""
    program = path / "synowebapi"
    program.write_text(f'#!/bin/sh\necho "$@" >> {path}/calls\necho \'{{"success":true}}\'\n')
    program.chmod(0o755)
    return Synology(
        "webapi",
        create=[str(program), "method=create", "ip={network}"],
        delete=[str(program), "method=delete", "ip={network}"],
        state=str(path / "synology.sqlite"),
    )


#: Every driver by name; each takes a folder of its own.
DRIVERS: dict[str, Callable[[Path], Driver]] = {
    "recording": lambda path: Recording(),
    "command": lambda path: Command(
        [*_script(path), "ban", "{network}"], [*_script(path), "unban", "{network}"]
    ),
    "epost": _epost,
    "epost-timed": lambda path: _epost(path, 1800.0),
    "synology": _synology,
    "synology-webapi": _synology_webapi,
    "several": lambda path: Several([Nftables(), _epost(path)]),
    "nftables": lambda path: Nftables(),
    "ipset-commands": lambda path: Ipset(writers=_commands("iptables-legacy")),
    "ipset-nft-variant": lambda path: Ipset(writers=_commands("iptables-nft")),
    "ipset-python-iptables": lambda path: Ipset(writers={"4": Legacy("4"), "6": Legacy("6")}),
}
_ELSEWHERE = ("recording", "command", "epost", "epost-timed", "synology", "synology-webapi")
IN_KERNEL = [name for name in DRIVERS if name not in _ELSEWHERE]


def _commands(program: str) -> dict[str, Commands]:
    return {"4": Commands(program), "6": Commands(program.replace("iptables", "ip6tables", 1))}


def _parameters(names: Sequence[str]) -> list[Any]:
    kernel = pytest.mark.kernel
    return [
        pytest.param(name, marks=[kernel] if name in IN_KERNEL or "enforcer" in name else [])
        for name in names
    ]


@pytest.fixture(params=_parameters([*DRIVERS, "enforcer-nftables", "enforcer-nftables-python"]))
def firewall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Firewall]:
    """Each driver, and nftables behind an enforcer with and without the compiled way; kernel ones in a
    namespace. Not yet opened."""
    name = request.param
    if name not in IN_KERNEL and not name.startswith("enforcer"):
        yield DRIVERS[name](tmp_path)
        return
    made = Namespace()
    try:
        with made.inside():
            made_firewall: Firewall
            if name.startswith("enforcer"):
                with pytest.MonkeyPatch.context() as patch:
                    if name.endswith("python"):  # without the compiled shortest way
                        patch.setattr(native, "load", lambda: None)
                    made_firewall = spawn(Nftables())
            else:
                made_firewall = DRIVERS[name](tmp_path)
            yield made_firewall
            made_firewall.close(keep=False)
    finally:
        made.close()


@pytest.fixture
def enforced(namespace: Namespace) -> Iterator[Firewall]:
    """nftables behind an enforcer, in a namespace, not yet opened."""
    made = spawn(Nftables())
    yield made
    made.close(keep=True)
    if made.pid is not None:
        os.waitpid(made.pid, 0)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    yield ours, theirs
    ours.close()
    theirs.close()
