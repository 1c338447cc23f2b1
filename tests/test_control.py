"""The control socket: who may ask what, and that nobody can make the guard wait."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard import control
from mailguard.clock import SystemClock
from mailguard.control import ControlError, Server, ask
from mailguard.feeds.wait import Wait
from mailguard.model import Item, Request

Answerer = Callable[[Request], dict[str, Any]]


class Guard:
    """A server in a thread of its own, answering by a function."""

    def __init__(self, path: Path, answer: Answerer):
        self.path = str(path)
        self.answer = answer
        self.clock = SystemClock()
        self.wait = Wait(self.clock)
        self.server = Server(self.path, self.clock.monotonic)
        self.server.open(self.wait)
        self.seen: list[Request] = []
        self._end, self._tell = os.pipe()
        self._ended = False
        self.wait.add(self._end, self._stop)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _stop(self, _events: int) -> None:
        self._ended = True

    def _run(self) -> None:
        while not self._ended:
            items: list[Item] = []
            timer = self.wait.next_timer()
            now = self.clock.monotonic()
            self.wait.dispatch(self.wait.poll(None if timer is None else max(0.0, timer - now)), items)
            for item in items:
                assert isinstance(item, Request)
                self.seen.append(item)
                item.reply(self.answer(item))

    def close(self) -> None:
        os.write(self._tell, b"x")
        self._thread.join()
        self.server.close()
        self.wait.close()
        os.close(self._end)
        os.close(self._tell)

    def connect(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(5)
        line.connect(self.path)
        return line


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    guard = Guard(tmp_path / "socket", lambda request: {"ok": True, "verb": request.verb, **request.args})
    yield guard
    guard.close()


def test_a_question_gets_its_answer(guard: Guard) -> None:
    """One JSON object there, one back."""
    assert ask(guard.path, "why", {"network": "192.0.2.7"}) == {
        "ok": True,
        "verb": "why",
        "network": "192.0.2.7",
    }


def test_several_requests_on_one_connection(guard: Guard) -> None:
    """Also when they come in one piece: each is answered, in order, one at a time."""
    with guard.connect() as line:
        line.sendall(b"".join(b'{"verb": "status", "args": {"n": %d}}\n' % n for n in range(5)))
        got = b""
        while got.count(b"\n") < 5:
            got += line.recv(65536)
    assert [json.loads(one)["n"] for one in got.splitlines()] == [0, 1, 2, 3, 4]


def test_an_answer_larger_than_the_socket_buffer_arrives_whole(tmp_path: Path) -> None:
    """The rest is sent when the peer has read; the guard goes on meanwhile."""
    guard = Guard(tmp_path / "socket", lambda request: {"ok": True, "text": "x" * 5_000_000})
    try:
        with guard.connect() as slow:
            slow.sendall(b'{"verb": "status"}\n')
            assert len(ask(guard.path, "bans")["text"]) == 5_000_000
            got = 0
            while got < 5_000_000:
                got += len(slow.recv(1 << 20))
    finally:
        guard.close()


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b'{"verb": 1}\n',
        b'{"verb": "x", "args": 3}\n',
        b"\xff\xfe\n",
        b"[" * 9000 + b"\n",
    ],
)
def test_nonsense_is_told_so(guard: Guard, line: bytes) -> None:
    """What is no request gets an answer in words and reaches nobody."""
    with guard.connect() as peer:
        peer.sendall(line)
        assert json.loads(peer.recv(65536))["ok"] is False
    assert guard.seen == []


def test_a_request_too_long_is_refused(guard: Guard) -> None:
    """64 KiB are enough for anybody."""
    with guard.connect() as peer:
        peer.sendall(b'{"verb": "' + b"x" * 70_000)
        assert b"too long" in peer.recv(65536)
        assert peer.recv(10) == b""


def test_who_says_nothing_is_hung_up(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a whole request ends by itself, so eight silent ones do not lock the door for
    long."""
    monkeypatch.setattr(control, "PATIENCE", 0.05)
    silent = [guard.connect() for _ in range(control.CLIENTS)]
    silent[0].sendall(b'{"verb": "sta')
    for one in silent:
        assert one.recv(10) == b""
        one.close()
    assert ask(guard.path, "status")["ok"] is True


def test_no_more_than_eight_at_once(guard: Guard) -> None:
    """The ninth is neither served nor sent away: a monitor must not take a busy guard for a dead one."""
    held = [guard.connect() for _ in range(control.CLIENTS)]
    with guard.connect() as ninth:
        ninth.sendall(b'{"verb": "status"}\n')
        ninth.settimeout(0.1)
        with pytest.raises(TimeoutError):
            ninth.recv(10)
        held.pop().close()
        ninth.settimeout(5)
        assert b"ok" in ninth.recv(100)
    for one in held:
        one.close()


def test_twenty_at_once_are_all_answered(guard: Guard) -> None:
    """Connected together, asked together: eight at a time, each gets its answer."""
    lines = [guard.connect() for _ in range(20)]
    for line in lines:
        line.sendall(b'{"verb": "status"}\n')
    for line in lines:
        assert b'"ok": true' in line.recv(100)
        line.close()


@pytest.mark.parametrize(
    ("rights", "verb", "allowed"),
    [
        ((True, False), "status", True),
        ((True, False), "why", True),
        ((True, False), "unban", False),
        ((True, False), "anything-new", False),
        ((False, False), "status", False),
        ((True, True), "unban", True),
    ],
)
def test_rights(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, rights: tuple[bool, bool], verb: str, allowed: bool
) -> None:
    """The group may read, root may change, others nothing; an unknown word counts as a change."""
    monkeypatch.setattr(Server, "_rights", lambda self, line: rights)
    answer = ask(guard.path, verb)
    assert answer["ok"] is allowed
    assert answer.get("denied", False) is not allowed
    assert len(guard.seen) == allowed


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("uid", "groups", "may"), [(65534, (), None), (65534, (4242,), "status"), (0, (), "unban")]
)
def test_the_kernel_says_who_asks(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, uid: int, groups: tuple[int, ...], may: str | None
) -> None:
    """A stranger is refused, a member of the group (also by a supplementary group) may read, root may
    change."""
    monkeypatch.setattr(control, "_group_id", lambda name: 4242)
    guard = Guard(open_folder / "socket", lambda request: {"ok": True})
    os.chmod(guard.path, 0o666)  # the file's mode would keep the stranger out before he is asked
    script = (
        "import os, sys, json, socket\n"
        f"os.setgroups({list(groups)!r}); os.setgid({uid}); os.setuid({uid})\n"
        "for verb in ('status', 'unban'):\n"
        "    line = socket.socket(socket.AF_UNIX); line.connect(sys.argv[1])\n"
        "    line.sendall(json.dumps({'verb': verb}).encode() + b'\\n')\n"
        "    if json.loads(line.recv(65536))['ok']: print(verb)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", script, guard.path], capture_output=True, text=True, check=True
        )
    finally:
        guard.close()
    allowed = done.stdout.split()
    assert (allowed[-1] if allowed else None) == may


class TestPath:
    def test_a_socket_left_by_a_killed_guard_is_taken_over(self, tmp_path: Path) -> None:
        """Nobody listens there any more, so the path is free."""
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        guard = Guard(path, lambda request: {"ok": True})
        assert ask(guard.path, "status")["ok"] is True
        guard.close()
        assert not path.exists()

    def test_a_second_guard_is_refused(self, guard: Guard) -> None:
        """Two guards with one socket would fight over one firewall."""
        with pytest.raises(ControlError, match="another guard"):
            Server(guard.path, time.monotonic).open(guard.wait)
        assert ask(guard.path, "status")["ok"] is True

    def test_only_owner_and_group_may_connect(self, guard: Guard) -> None:
        """Others have no access to the path at all."""
        assert os.stat(guard.path).st_mode & 0o007 == 0

    def test_the_client_says_why_nobody_answers(self, tmp_path: Path) -> None:
        """No guard, a guard that has gone, a path too long: each in words."""
        with pytest.raises(ControlError, match="does not run"):
            ask(str(tmp_path / "nothing"), "status")
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / "left"))
        with pytest.raises(ControlError, match="does not run"):
            ask(str(tmp_path / "left"), "status")
        with pytest.raises(ControlError):
            ask(str(tmp_path / ("x" * 200)), "status")

    def test_the_client_does_not_wait_for_ever(self, tmp_path: Path) -> None:
        """A guard that hangs is said to hang."""
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(str(tmp_path / "deaf"))
            deaf.listen()
            with pytest.raises(ControlError, match="did not answer"):
                ask(str(tmp_path / "deaf"), "status", timeout=0.05)


def test_the_client_is_light() -> None:
    """Asking loads nothing heavy: `status` has 100 ms for the whole process."""
    script = "import sys; import mailguard.control; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"sqlite3", "click", "rich", "asyncio", "subprocess", "logging"} & set(loaded)
