"""The control socket between the guard and its command line: one JSON object a line, both ways.

Root and the guard's own user may change things, members of the group `mailguard` may read; the kernel says
who asks (SO_PEERCRED), never the asker. The guard never waits for a client: 8 clients, 64 KiB a request, one
second to say it. `ask` is the client; it imports nothing but json and socket, because `mailguard status` has
100 ms for all it does.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from .model import Item, Request

DEFAULT_SOCKET = "/run/mailguard/control.sock"
GROUP = "mailguard"
CLIENTS = 8
QUEUE = 128  # who comes when all are taken waits for a second or two, and is not sent away
REQUEST = 64 * 1024
PATIENCE = 1.0  # seconds for a whole request
SLOW = 10.0  # seconds for a client to take its whole answer
#: What members of the group may ask; all else changes something.
READING = frozenset({"status", "bans", "why", "history", "explain", "allow-list", "allow-check"})

_SO_PEERGROUPS = 59  # Linux 4.13; the socket module has no name for it
READ, WRITE = 0x1, 0x4  # epoll's bits


class ControlError(Exception):
    """The guard could not be asked: it does not run, may not be reached, or does not answer. The text says
    which."""


class ControlDenied(ControlError):
    """Whoever asks may not reach the guard, so nothing is known about it."""


def ask(path: str, verb: str, args: dict[str, Any] | None = None, timeout: float = 5.0) -> dict[str, Any]:
    """Ask the guard that listens at `path`; its answer. Raises ControlError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout)
        try:
            line.connect(path)
        except FileNotFoundError:
            raise ControlError(f"the guard does not run (there is no {path})") from None
        except ConnectionRefusedError:
            raise ControlError(f"the guard does not run (nobody listens at {path})") from None
        except PermissionError:
            raise ControlDenied(
                f"you may not ask the guard at {path}: be root or of the group {GROUP}"
            ) from None
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or error}") from None
        try:
            line.sendall(json.dumps({"verb": verb, "args": args or {}}).encode() + b"\n")
            answer = bytearray()
            while not answer.endswith(b"\n"):
                piece = line.recv(1 << 18)
                if not piece:
                    raise ControlError("the guard hung up (it may be busy or stopping)")
                answer += piece
        except TimeoutError:
            raise ControlError(f"the guard did not answer within {timeout:g} seconds") from None
        except OSError as error:
            raise ControlError(f"the guard hung up: {error.strerror or error}") from None
    try:
        value = json.loads(answer)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ControlError("the guard answered something else than an object")
    return value


class Timer(Protocol):
    def cancel(self) -> None: ...


class Wait(Protocol):
    """The program's one wait (see feeds/wait.py)."""

    def add(self, fd: int, call: Callable[[int], list[Item] | None], events: int = READ) -> None: ...

    def modify(self, fd: int, events: int) -> None: ...

    def remove(self, fd: int) -> None: ...

    def call_at(self, when: float, call: Callable[[int], list[Item] | None]) -> Timer: ...


class Server:
    """Listens at a path and turns lines into requests; the loop answers them."""

    def __init__(self, path: str, monotonic: Callable[[], float], group: str = GROUP):
        """`monotonic`: the clock of the wait. Nothing is opened yet."""
        self.path = path
        self._monotonic = monotonic
        self._group = _group_id(group)
        self._wait: Wait | None = None
        self._line: socket.socket | None = None
        self._clients: set[_Client] = set()

    def open(self, wait: Wait) -> None:
        """Listen. Raises ControlError when another guard listens there, or the path cannot be made."""
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._bind(line)
            if self._group is not None and os.geteuid() == 0:
                os.chown(self.path, 0, self._group)
            os.chmod(self.path, 0o600 if self._group is None else 0o660)
            line.listen(QUEUE)
        except OSError as error:
            line.close()
            raise ControlError(f"{self.path}: {error.strerror or error}") from None
        except ControlError:
            line.close()
            raise
        self._line, self._wait = line, wait
        wait.add(line.fileno(), self._accept)

    def move(self, wait: Wait) -> None:
        """Go on with another wait (reload); clients in the middle of something are sent away."""
        assert self._line is not None
        assert self._wait is not None
        for client in list(self._clients):
            client.hang_up()
        self._wait.remove(self._line.fileno())
        self._wait = wait
        wait.add(self._line.fileno(), self._accept)

    def _bind(self, line: socket.socket) -> None:
        try:
            line.bind(self.path)
        except OSError as error:
            if error.errno != 98:  # EADDRINUSE
                raise
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(self.path)
                except ConnectionRefusedError:
                    os.unlink(self.path)  # left by a guard that was killed
                    line.bind(self.path)
                else:
                    raise ControlError(f"another guard runs already (it listens at {self.path})") from None

    def _accept(self, _events: int) -> None:
        assert self._line is not None
        assert self._wait is not None
        while True:
            try:
                line, _ = self._line.accept()
            except OSError:
                return  # nobody waits any more, or the one who did has gone
            line.setblocking(False)
            self._clients.add(_Client(line, self, self._wait, self._rights(line)))
            if len(self._clients) >= CLIENTS:
                self._wait.remove(self._line.fileno())  # the others wait in the kernel's queue
                return

    def _rights(self, line: socket.socket) -> tuple[bool, bool]:
        """May the peer read, may it change."""
        _, uid, gid = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid in (0, os.geteuid()):
            return True, True
        groups = {gid}
        # An old kernel, or a peer in more groups than anybody has: then its first group decides.
        with suppress(OSError):
            more = line.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
            groups.update(struct.unpack(f"{len(more) // 4}I", more))
        return self._group in groups, False

    def _gone(self, client: _Client) -> None:
        full = len(self._clients) >= CLIENTS
        self._clients.discard(client)
        if full and self._line is not None and self._wait is not None:
            self._wait.add(self._line.fileno(), self._accept)

    def _patience(self, seconds: float, call: Callable[[int], None]) -> Timer:
        assert self._wait is not None
        return self._wait.call_at(self._monotonic() + seconds, call)

    def close(self) -> None:
        """Stop listening and take the path away. May be repeated."""
        for client in list(self._clients):
            client.hang_up()
        if self._line is not None:
            if self._wait is not None:
                self._wait.remove(self._line.fileno())
            self._line.close()
            self._line = None
            with suppress(OSError):  # somebody else may have taken it away
                os.unlink(self.path)


class _Client:
    """One connection: reads a line, waits for its answer, writes it, and so on until the peer leaves."""

    def __init__(self, line: socket.socket, server: Server, wait: Wait, rights: tuple[bool, bool]):
        self._line = line
        self._server = server
        self._wait = wait
        self._may_read, self._may_change = rights
        self._said = bytearray()
        self._answer = memoryview(b"")
        self._open = True
        self._last = False  # hang up after the answer
        wait.add(line.fileno(), self._ready)
        self._timer = server._patience(PATIENCE, self._tired)

    def _tired(self, _events: int) -> None:
        self.hang_up()

    def _ready(self, events: int) -> list[Item] | None:
        if self._answer:
            self._write()
            return None
        try:
            piece = self._line.recv(REQUEST)
        except BlockingIOError:
            return None
        except OSError:
            piece = b""
        if not piece:
            self.hang_up()
            return None
        self._said += piece
        return self._understand()

    def _understand(self) -> list[Item] | None:
        end = self._said.find(b"\n")
        if end < 0 or end > REQUEST:
            if len(self._said) > REQUEST:
                self._last = True
                self.reply({"ok": False, "error": "the request is too long"})
            return None
        line = bytes(self._said[:end])
        del self._said[: end + 1]
        self._timer.cancel()
        try:
            asked = json.loads(line)
            verb, args = asked["verb"], asked.get("args", {})
            if not isinstance(verb, str) or not isinstance(args, dict):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.reply({"ok": False, "error": 'this is no request; say {"verb": "status"}'})
            return None
        allowed = self._may_read if verb in READING else self._may_change
        if not allowed:
            who = f"root or a member of the group {GROUP}" if verb in READING else "root"
            self.reply({"ok": False, "denied": True, "error": f"only {who} may ask for {verb}"})
            return None
        self._wait.modify(
            self._line.fileno(), 0
        )  # one thing at a time: the rest stays in the kernel's buffer
        return [Request(verb, args, self.reply)]

    def reply(self, answer: dict[str, Any]) -> None:
        """Send the answer as far as the peer takes it at once; the rest when it is ready."""
        if not self._open:
            return
        self._answer = memoryview(
            json.dumps(answer, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
        )
        self._timer.cancel()
        self._timer = self._server._patience(SLOW, self._tired)
        self._write()

    def _write(self) -> None:
        try:
            while self._answer:
                self._answer = self._answer[self._line.send(self._answer) :]
        except BlockingIOError:
            self._wait.modify(self._line.fileno(), WRITE)
            return
        except OSError:
            self.hang_up()
            return
        if self._last:
            self.hang_up()
            return
        self._timer.cancel()
        self._timer = self._server._patience(PATIENCE, self._tired)
        self._wait.modify(self._line.fileno(), READ)
        if b"\n" in self._said:  # the next request came along with the last one
            self._wait.call_at(0.0, self._next)

    def _next(self, _events: int) -> list[Item] | None:
        return self._understand() if self._open and not self._answer else None

    def hang_up(self) -> None:
        """End the connection. May be repeated."""
        if self._open:
            self._open = False
            self._timer.cancel()
            self._wait.remove(self._line.fileno())
            self._line.close()
            self._server._gone(self)


def _group_id(name: str) -> int | None:
    """The number of a group; None where there is no such group."""
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
