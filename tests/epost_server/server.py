"""The services of one server: what its connections share."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mailguard.clock import Clock
from tests.epost_server.delivery import Delivery
from tests.epost_server.lockout import Counters
from tests.epost_server.options import Options
from tests.epost_server.stamps import stamp, year_and_month
from tests.epost_server.tables import RejectTable
from tests.epost_server.writing import Logs

if TYPE_CHECKING:
    from tests.epost_server.imap import ImapSession
    from tests.epost_server.pop import PopSession
    from tests.epost_server.smtp import SmtpSession

FOLDERS = ("incoming", "domains", "holding", "lists", "dead", "temp", "iplock", "authlock", "inbox")
CONTEXT_SIZE = 0x140


class Server:
    """One installation below `spool` and `program_folder`.

    Several objects, also in several processes, may serve the same folders at once: counters and message
    numbers are kept in files under one lock, and every append is one write. Give each its own
    `Options.contexts`.
    """

    def __init__(self, spool: Path, program_folder: Path, clock: Clock, options: Options | None = None):
        self.spool = spool
        self.program = program_folder
        self.clock = clock
        self.options = options or Options()
        for name in FOLDERS:
            (spool / name).mkdir(parents=True, exist_ok=True)
        for name in self.options.accounts:
            (spool / "inbox" / name).mkdir(exist_ok=True)
        program_folder.mkdir(parents=True, exist_ok=True)
        self.logs = Logs(spool, self.options)
        self.counters = Counters(spool, self.options)
        self.tables = {
            service: RejectTable(
                program_folder / f"reject{service}ip.dat",
                white_rows=self.options.white_rows,
                ipv6_prefixes=self.options.ipv6_prefixes,
                end=self.options.line_end,
            )
            for service in ("smtp", "pop", "imap")
        }
        self.delivery = Delivery(self)
        self.sessions = 0
        self._threads = threading.RLock()
        self._contexts: list[int] = []
        self._next_context = self.options.contexts + (0x7F3A00000000 if self.options.wide_context else 0)

    # ------------------------------------------------------------ connections

    def smtp(self, address: str, port: int = 25, ssl: bool = False) -> SmtpSession:
        """A client connects to the SMTP receiver."""
        from tests.epost_server.smtp import SmtpSession

        return SmtpSession(self, address, port, ssl)

    def pop3(self, address: str, port: int = 110, ssl: bool = False) -> PopSession:
        """A client connects to the POP3 service."""
        from tests.epost_server.pop import PopSession

        return PopSession(self, address, port, ssl)

    def imap(self, address: str, port: int = 143, ssl: bool = False) -> ImapSession:
        """A client connects to the IMAP4 service."""
        from tests.epost_server.imap import ImapSession

        return ImapSession(self, address, port, ssl)

    def deliver(self) -> int:
        """The delivery service takes what is in the queue; how many recipients it dealt with."""
        return self.delivery.run()

    def close(self) -> None:
        """The services stop. May be repeated."""
        self.logs.close()

    # ------------------------------------------------------------ what connections share

    @property
    def effect(self) -> Path:
        return self.program / "effect.dat"

    def personal_effect(self, account: str) -> Path:
        return self.spool / "inbox" / account / "effect.dat"

    def stamp(self, now: float) -> str:
        return stamp(now, self.options.zone)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all threads and processes that serve this spool."""
        with self._threads:
            handle = os.open(self.spool / "temp" / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)

    def message_id(self, now: float) -> str:
        """The next id of the running counter."""
        path = self.spool / "temp" / "number"
        with self.locked():
            number = int(path.read_bytes()) + 1 if path.exists() else 97587
            path.write_bytes(str(number).encode())
        middle = year_and_month(now, self.options.zone) if self.options.id_form == "long" else ""
        return f"B{middle}{number:010}"

    def take_context(self) -> int:
        """A memory address; one that was given back last is taken first."""
        with self._threads:
            self.sessions += 1
            if self._contexts:
                return self._contexts.pop()
            self._next_context += CONTEXT_SIZE
            return self._next_context - CONTEXT_SIZE

    def give_context(self, context: int) -> None:
        with self._threads:
            self.sessions -= 1
            self._contexts.append(context)
