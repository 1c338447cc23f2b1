"""Counters of failed logins and of connections: files with one decimal number."""

from __future__ import annotations

import os
from pathlib import Path

from tests.epost_server.options import Options

ENDING = {"smtp": ".smtp", "imap": ".imap", "pop": ".pop3"}  # the last one is not known


def counter_name(address: str, service: str) -> str:
    """`203.0.113.9.smtp`; in IPv6 a `$` stands for each colon."""
    return address.replace(":", "$") + ENDING[service]


class Counters:
    """The counter files below one spool. Who calls holds the server's lock."""

    def __init__(self, spool: Path, options: Options):
        self.spool = spool
        self.options = options

    def of_login(self, account: str | None, address: str, service: str) -> Path:
        """In the mailbox folder of an account; in authlock where there is no such account."""
        folder = self.spool / "authlock" if account is None else self.spool / "inbox" / account
        return folder / counter_name(address, service)

    def of_connections(self, address: str, service: str) -> Path:
        return self.spool / "iplock" / counter_name(address, service)

    def failed(self, account: str | None, address: str, service: str) -> bool:
        """One more failed login; True when that was one too many. The counter is gone then."""
        path = self.of_login(account, address, service)
        return self._count(path, self._read(path) + 1, self.options.auth_lock_out)

    def succeeded(self, account: str, address: str, service: str) -> None:
        if self.options.success_clears:
            self.of_login(account, address, service).unlink(missing_ok=True)

    def connected(self, address: str, service: str, now: float) -> bool:
        """One more connection; True when that was one too many within the sampling time."""
        path = self.of_connections(address, service)
        try:
            silence = now - path.stat().st_mtime
        except FileNotFoundError:
            silence = 0.0
        before = self._read(path) if silence <= self.options.ip_lock_out_sample else 0
        locked = self._count(path, before + 1, self.options.ip_lock_out)
        if not locked:
            os.utime(path, (now, now))
        return locked

    def _read(self, path: Path) -> int:
        try:
            text = path.read_bytes().strip()
        except FileNotFoundError:
            return 0
        return int(text) if text.isdigit() else 0

    def _count(self, path: Path, number: int, limit: int) -> bool:
        if number >= limit:
            path.unlink(missing_ok=True)
            return True
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(number).encode())
        return False
