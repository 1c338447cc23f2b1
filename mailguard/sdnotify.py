"""What systemd is told: ready, reloading, stopping, a status line, still alive.

Nothing happens where it does not listen.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Speaks the datagram protocol of sd_notify(3)."""

    def __init__(self, environment: Mapping[str, str] | None = None):
        """`environment` defaults to this process's; without NOTIFY_SOCKET every call does nothing."""
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._line: socket.socket | None = None
        self.watchdog: float | None = None  # seconds within which `alive` is expected
        try:
            microseconds = int(environment.get("WATCHDOG_USEC", "0"))
            process = int(environment.get("WATCHDOG_PID", "0"))
        except ValueError:
            microseconds = process = 0
        if self._address and microseconds > 0 and process in (0, os.getpid()):
            self.watchdog = microseconds / 1e6

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The guard stands (also after a reload)."""
        self._say(f"READY=1\nSTATUS={_line(status)}")

    def reloading(self) -> None:
        """Settings and definitions are read anew; `ready` ends it."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The guard ends."""
        self._say("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._say(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._say("WATCHDOG=1")

    def patience(self, seconds: float) -> None:
        """Ask for more time to start or to stop."""
        self._say(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _say(self, text: str) -> None:
        if not self._address:
            return
        try:
            if self._line is None:
                self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._line.setblocking(False)
            address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
            self._line.sendto(text.encode(), address)
        except OSError:
            return  # nobody listens any more, or the queue is full: the next word will tell more


def _line(text: str) -> str:
    return " ".join(text.split())
