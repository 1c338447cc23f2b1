"""What the connections of all three services have in common: accept, dialogue log, end."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tests.epost_server.options import ERRNO
from tests.epost_server.tables import FREE, REFUSED, WHITE

if TYPE_CHECKING:
    from tests.epost_server.server import Server

_CODE = re.compile(r"^(\d{3}[ -])\d\.\d\.\d ")
OK, ABORT, TIME_OUT = b"ok", b"abort", b"connection timeout"


class Session(ABC):
    """One connection. `greeting`: what the server said first, [] when it closed the connection at once."""

    service = ""
    dialogue = ""  # name of the log that has the dialogue

    def __init__(self, server: Server, address: str, port: int, ssl: bool):
        self.server = server
        self.options = server.options
        self.address = address
        self.port = port
        self.ssl = ssl
        self.open = False
        self.white = False
        self.cut = False  # a login was one too many: the connection must end
        self.context = 0
        self.greeting: list[str] = self._accept()

    # ------------------------------------------------------------ what a client does

    def send(self, line: str | bytes) -> list[str]:
        """One line without its end; the lines of the reply. Raises ConnectionError on a closed connection."""
        if not self.open:
            raise ConnectionError(f"the server closed the connection of {self.address}")
        data = line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")
        return self._answer(data)

    def hang_up(self) -> None:
        """The client closes the connection without a word."""
        self._end("get_reply() SOCKET_ERROR OTHER CODE=0", ABORT)

    def reset(self) -> None:
        """The connection is reset."""
        self._end(f"get_reply() SOCKET_ERROR OTHER CODE={ERRNO[self.options.system][0]}", ABORT)

    def time_out(self, broken: bool = False) -> None:
        """The client has been silent for too long; `broken`: the system gave the connection up."""
        code = ERRNO[self.options.system][1] if broken else 0
        self._end(f"get_reply() SOCKET_ERROR OTHER CODE={code}", TIME_OUT)

    # ------------------------------------------------------------ accept

    def _accept(self) -> list[str]:
        server, now = self.server, self.now()
        table = server.tables[self.service]
        verdict = table.verdict(self.address, now, 60.0 * self.options.auth_lock_out_time, iplock_rows=False)
        self.context = server.take_context()
        if verdict == REFUSED:
            self.trace(f"reject address = [{self.address}]")
            server.give_context(self.context)
            return []
        self.open = True
        self._connected()
        self.white = verdict == WHITE
        if server.sessions > self.options.session_limit or self._locked_out():
            self.open = False
            server.give_context(self.context)
            return [self._too_many()]
        return self._greet()

    def _locked_out(self) -> bool:
        """The IP lock-out: all rows count here, and each connection is counted."""
        if self.white or not self.options.ip_lock_outs(self.service):
            return False
        server, now = self.server, self.now()
        table = server.tables[self.service]
        verdict = table.verdict(self.address, now, float(self.options.ip_lock_out_time), iplock_rows=True)
        if verdict != FREE:
            return verdict == REFUSED
        with server.locked():
            if not server.counters.connected(self.address, self.service, now):
                return False
            table.lock(self.address, now, iplock=True)
            return True

    # ------------------------------------------------------------ logins

    def login(self, name: bytes, password: bytes) -> bool:
        """Is this the password? Counts for the lock-out."""
        account = self.options.account(name.decode("utf-8", "surrogateescape"))
        right = account is not None and self.options.accounts[account].encode() == password
        return self.judged(account, right)

    def judged(self, account: str | None, right: bool) -> bool:
        """A login was right or wrong: keep the counters and, at the limit, append the row."""
        server, now = self.server, self.now()
        if not self.options.auth_lock_outs or self.white:
            return right
        with server.locked():
            if right and account is not None:
                server.counters.succeeded(account, self.address, self.service)
            elif server.counters.failed(account, self.address, self.service):
                server.tables[self.service].lock(self.address, now, iplock=False)
                self.cut = True
        return right

    # ------------------------------------------------------------ the dialogue and its log

    def now(self) -> float:
        return self.server.clock.now()

    def trace(self, text: str | bytes) -> None:
        """A line of the dialogue log."""
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        now = self.now()
        head = f"{self.server.stamp(now)}, {self.context:08x}, ".encode()
        self.server.logs.write(self.dialogue, head + raw, now)

    def heard(self, line: bytes) -> None:
        """What the client said."""
        self.trace(line + b"\r\n" if self.options.own_ends == "all" else line)

    def say(self, *lines: str) -> list[str]:
        """Answer, and log it."""
        said = list(lines) if self.options.codes else [_CODE.sub(r"\1", line) for line in lines]
        text = "\r\n".join(said)
        if self.options.own_ends == "all" or (len(said) > 1 and self.options.own_ends == "multi"):
            text += "\r\n"
        self.trace(text)
        return said

    def _end(self, trace: str, status: bytes) -> None:
        if not self.open:
            return
        self.open = False
        if trace:
            self.trace(trace)
        self.trace("CloseClient Started.:SOCKET.C")
        self._closed(status)
        self.trace("closesocket():SOCKET.C")
        self.server.give_context(self.context)

    # ------------------------------------------------------------ what each service does

    def _closed(self, status: bytes) -> None:  # noqa: B027 - only SMTP has something to say
        """The connection is over."""

    @abstractmethod
    def _connected(self) -> None:
        """The connection was taken, and nothing was said yet."""

    @abstractmethod
    def _too_many(self) -> str:
        """What is said, and logged nowhere, to a client beyond a limit."""

    @abstractmethod
    def _greet(self) -> list[str]: ...

    @abstractmethod
    def _answer(self, line: bytes) -> list[str]: ...
