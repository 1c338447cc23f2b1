"""How the judge reaches an enforcer: at a Unix socket, over a keeper that starts one after the other, or by
one end of a socket pair.

Each way is called for a connection, and again after that was lost; OSError: there is none.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

#: Seconds to wait for the first connection that a keeper hands over, and for later ones.
_FIRST, _NEXT = 30.0, 0.1


def connect_to(path: str) -> Callable[[], socket.socket]:
    """How to reach an enforcer that listens at a Unix socket."""

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            raise
        return connection

    return connect


class HandedOver:
    """How to reach enforcers that a keeper starts one after the other; each connection comes over `line`."""

    def __init__(self, line: socket.socket):
        self.worker: int | None = None  # pid of the one that was reached last
        self._line = line
        line.settimeout(_FIRST)

    def __call__(self) -> socket.socket:
        told, numbers, _, _ = socket.recv_fds(self._line, 32, 1)
        self._line.settimeout(_NEXT)
        if not numbers:
            raise ConnectionError("what was started with this guard has ended; start the guard again")
        self.worker = int(told)
        return socket.socket(fileno=numbers[0])

    def close(self) -> None:
        """The keeper may end. May be repeated."""
        self._line.close()


def only_once(connection: socket.socket) -> Callable[[], socket.socket]:
    """How to reach an enforcer that was started with one end of a socket pair."""
    left = [connection]

    def connect() -> socket.socket:
        if not left:
            raise ConnectionError("the enforcer that was started with this guard has ended")
        return left.pop()

    return connect
