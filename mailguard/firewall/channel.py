"""The connection to an enforcer: frames out, answers in, and what is owed.

Owns: the connection, the request whose answer is still owed, the ban that was begun and not yet answered, and
the notices that came between answers. Never: knows what a request means; see `remote`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

from mailguard.firewall import native, wire
from mailguard.firewall.desired import Key
from mailguard.firewall.interface import FirewallError
from mailguard.firewall.reach import HandedOver
from mailguard.model import Notice

#: Seconds to wait for later answers than the first: the judge reads no log meanwhile. The enforcer's own
#: repairs of a hundred thousand bans take about as long.
SHORT = 1.0
#: ... longer where a frame is large, or much has to be read.
READING = 5.0
_SILENT = "the enforcer does not answer"
_TIMEVAL = struct.Struct("@ll")
_PIECE = 1 << 16  # bytes read at once
_LARGE = 1 << 16  # bytes in a frame that may have to wait until there is room


class Channel:
    """Asks an enforcer in another process, reached by `connect` (see `reach`).

    When the connection is lost everything that is asked raises FirewallError with `lost` until it was made
    anew; one `firewall-lost` notice says so. An enforcer that does not answer in time is not lost:
    FirewallError is raised at once, without asking it anything more, until its answer has come, which a
    notice `firewall-answers` tells. `patience`: seconds to wait for the first answer.
    """

    def __init__(self, connect: Callable[[], socket.socket], patience: float):
        self._connect = connect
        self._patience = patience
        self._short = min(SHORT, patience)
        self._opened = False  # once at least
        self._owed = 0  # sequence number of a request that was not answered in time; 0: none
        self._begun: tuple[int, Key, float] | None = None  # a ban that was sent: number, key and end
        self._socket: socket.socket | None = None
        self._compiled = native.load()
        self._waits: dict[int, float] = {}  # by socket option: the seconds that are set
        self._frames = wire.Frames(wire.ANSWERED)
        self._sequence = 0
        self._notices: list[Notice] = []

    @property
    def worker(self) -> int | None:
        """The process that a keeper forked last."""
        return self._connect.worker if isinstance(self._connect, HandedOver) else None

    def fileno(self) -> int | None:
        return None if self._socket is None else self._socket.fileno()

    def notices(self) -> list[Notice]:
        if self._socket is not None:
            with contextlib.suppress(FirewallError):  # a notice says so
                self._finish()
                self._read_all(self._socket)
        told, self._notices = self._notices, []
        return told

    # ---- the connection

    def _ready(self) -> None:
        """Connect where there is no connection."""
        if self._socket is None:
            try:
                self._socket = self._connect()
            except OSError as error:
                reason = f"the enforcer cannot be reached: {error.strerror or error}"
                raise FirewallError(reason, lost=True) from error
            self._socket.setblocking(True)
            self._owed = 0
            self._begun = None
            self._frames = wire.Frames(wire.ANSWERED)
            # A loss that is mended is no news any more.
            self._notices = [notice for notice in self._notices if notice.id != "firewall-lost"]

    def _lose(self, why: str) -> FirewallError:
        """Give the connection up, say so once; the error to raise."""
        if self._socket is not None:
            self._hang_up()
            self._notices.append(Notice("firewall-lost", {"reason": f"the enforcer has gone: {why}"}))
        return FirewallError(f"the enforcer has gone: {why}", lost=True)

    def _let_go(self) -> None:
        """Need no further connection."""
        if isinstance(self._connect, HandedOver):
            self._connect.close()

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._owed = 0
            self._begun = None
            self._waits.clear()

    # ---- asking and being answered

    def _ask(self, kind: int, body: bytes = b"", patience: float | None = None) -> list[bytes]:
        self._settled()
        self._sequence += 1
        self._send(wire.frame(kind, self._sequence, body))
        return self._answer(self._sequence, self._short if patience is None else patience)

    def _settled(self) -> None:
        """Raises FirewallError while an answer is still owed."""
        self._finish()
        if self._owed and self._socket is not None:
            self._read_all(self._socket)
            if self._owed:
                raise FirewallError(_SILENT)

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise FirewallError("the enforcer has gone", lost=True)
        if len(data) > _LARGE:
            self._wait(socket.SO_SNDTIMEO, READING)
        try:
            self._socket.sendall(data)
        except OSError as error:  # also when there is no room in time: part of a frame may have gone
            raise self._lose(why(error)) from error

    def _wait(self, option: int, seconds: float) -> None:
        """How long sending or receiving may take from now on. The kernel counts: one call less for each."""
        if self._socket is not None and self._waits.get(option) != seconds:
            whole, rest = divmod(seconds, 1)
            self._socket.setsockopt(
                socket.SOL_SOCKET, option, _TIMEVAL.pack(int(whole), int(rest * 1e6) or 1)
            )
            self._waits[option] = seconds

    def _answer(self, sequence: int, patience: float, data: bytes | None = None) -> list[bytes]:
        """Wait for ACK or ERROR; the bodies that came before it. `data`: what has come already."""
        self._wait(socket.SO_RCVTIMEO, patience if self._opened else max(patience, self._patience))
        bodies: list[bytes] = []
        while self._socket is not None:
            if data is None:
                try:
                    data = self._socket.recv(_PIECE)
                except BlockingIOError:
                    self._owed = sequence
                    raise FirewallError(_SILENT) from None
                except OSError as error:
                    raise self._lose(why(error)) from error
            if not data:
                raise self._lose("it ended")
            failed: FirewallError | None = None
            done = False
            for kind, answered, body in self._read(data):
                if answered != sequence:
                    continue
                if kind == wire.STANDING:
                    bodies.append(body)
                elif kind == wire.ERROR:
                    failed = wire.unpack_error(body)
                else:
                    done = True
            if failed is not None:
                raise failed
            if done:
                return bodies
            data = None
        raise FirewallError("the enforcer has gone", lost=True)

    def _read_all(self, connection: socket.socket) -> None:
        """Take what has come, without waiting. Raises FirewallError when the connection is lost."""
        while self._socket is connection:
            try:
                data = connection.recv(_PIECE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                raise self._lose(why(error)) from error
            if not data:
                raise self._lose("it ended")
            for kind, sequence, _body in self._read(data):
                if sequence == self._owed and kind != wire.STANDING:
                    self._owed = 0
                    self._notices.append(Notice("firewall-answers"))

    def _read(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """The answers in `data`; notices are put aside."""
        answers = []
        try:
            for kind, sequence, body in self._frames.feed(data):
                if kind == wire.NOTICE:
                    self._notices.append(wire.unpack_notice(body))
                else:
                    answers.append((kind, sequence, body))
        except wire.WireError as error:
            raise self._lose(str(error)) from error
        return answers

    # ---- the ban that must not wait

    def _finish(self) -> tuple[Key, float] | None:
        """Wait for the answer to `begin`; the ban that stands now, None where none was begun."""
        begun, self._begun = self._begun, None
        connection = self._socket
        if begun is None or connection is None:
            return None
        sequence, key, until = begun
        self._wait(socket.SO_RCVTIMEO, self._short)
        self._heard(sequence, self._compiled.finish, connection.fileno(), sequence)
        return key, until

    def _heard(self, sequence: int, hear: Callable[..., bytes | None], *args: Any) -> None:
        """Have compiled code wait for the answer to a ban. Raises FirewallError."""
        try:
            came = hear(*args)
        except BlockingIOError:
            self._owed = sequence
            raise FirewallError(_SILENT) from None
        except OSError as error:
            raise self._lose(error.strerror or str(error)) from error
        if came is not None:
            self._answer(sequence, self._short, came)


def why(error: OSError) -> str:
    return "it takes nothing" if isinstance(error, BlockingIOError) else error.strerror or str(error)
