"""The firewall as the judge has it: every call is a frame to the enforcer and waits for its answer."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mailguard.clock import Clock, SystemClock
from mailguard.firewall import native, wire
from mailguard.firewall.desired import Changes, Key, changes_of_bans, key_of
from mailguard.firewall.interface import FirewallError, Standing, ports_of
from mailguard.model import Ban, Network, Notice

#: Seconds to wait for the first answer of an enforcer, which may have much to restore.
PATIENCE = 60.0
#: Seconds to wait for later answers: the judge reads no log meanwhile. The enforcer's own repairs of a
#: hundred thousand bans take about as long.
SHORT = 1.0
#: ... longer where it has much to do: for each ban of `open` and `impose`, for reading all, for emptying all.
_EACH, _READING, _EMPTYING = 1e-4, 5.0, 10.0
_SILENT = "the enforcer does not answer"
_TIMEVAL = struct.Struct("@ll")
_PIECE = 1 << 16  # bytes read at once
_LARGE = 1 << 16  # bytes in a frame that may have to wait until there is room
#: Seconds to wait for the first connection that a keeper hands over, and for later ones.
_FIRST, _NEXT = 30.0, 0.1


class RemoteFirewall:
    """`Firewall` by an enforcer in another process.

    `connect` makes the connection, at first and again after it was lost; where only one can ever be made (a
    socket pair) it raises OSError the second time. When the connection is lost every call raises
    FirewallError with `lost` until `open` succeeds; one `firewall-lost` notice says so.

    An enforcer that does not answer in time (stopped, or busy with a repair) is not lost: calls raise
    FirewallError at once, without asking it anything more, until its answer has come, which a notice
    `firewall-answers` tells to the loop.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        ports: Mapping[str, Sequence[int]] | None = None,
        name: str = "enforcer",
        patience: float = PATIENCE,
        clock: Clock | None = None,
    ):
        self.name = name
        self.pid: int | None = None  # of the keeper of enforcers that was started with this guard
        self._connect = connect
        self._ports = ports
        self._patience = patience
        self._short = min(SHORT, patience)
        self._opened = False  # once at least
        self._many = 0  # bans of the last `open`
        self._owed = 0  # sequence number of a request that was not answered in time; 0: none
        self._begun: tuple[int, Key, float] | None = None  # a ban that was sent: number, key and end
        self._clock: Clock = clock or SystemClock()
        self._socket: socket.socket | None = None
        self._compiled = native.load()
        self._waits: dict[int, float] = {}  # by socket option: the seconds that are set
        self._frames = wire.Frames(wire.ANSWERED)
        self._sequence = 0
        self._notices: list[Notice] = []

    def set_ports(self, ports: Mapping[str, Sequence[int]]) -> None:
        """Ports of the scopes from the next `open` on."""
        self._ports = ports

    @property
    def worker(self) -> int | None:
        """The process that a keeper forked last."""
        return self._connect.worker if isinstance(self._connect, HandedOver) else None

    # ---- the Firewall protocol

    def open(self, bans: Iterable[Ban], now: float) -> None:
        self._ready()
        self._settled()
        if self._ports is not None:
            self._ask(wire.SETUP, wire.pack_ports(ports_of(self._ports)))
        changes = changes_of_bans(bans, now)
        if len(changes) > wire.MOST_BANS:
            raise FirewallError(f"{len(changes)} bans are more than the {wire.MOST_BANS} the enforcer takes")
        # Sent while it is being packed: the enforcer reads meanwhile, on another processor.
        self._sequence += 1
        waiting = b""
        for body in wire.pack_bans(_living(changes), now):
            if waiting:
                self._send(wire.frame(wire.OPEN, self._sequence, b"\0" + waiting))
            waiting = body
        self._send(wire.frame(wire.OPEN, self._sequence, b"\1" + waiting))
        self._many = len(changes)
        self._answer(self._sequence, _READING + _EACH * self._many)
        self._opened = True

    def begin(self, network: Network, scope: str, until: float, now: float) -> bool:
        """Ask for one ban without waiting: `impose` of the same one waits for the answer, and so does
        whatever else is asked. False: it cannot be done that way now, and nothing was asked."""
        connection = self._socket
        if self._compiled is None or connection is None or not self._opened or until <= now:
            return False
        if self._owed or self._begun is not None or not self._frames.idle:
            return False
        self._sequence += 1
        key = key_of(network, scope)
        try:
            began: bool = self._compiled.begin(
                connection.fileno(), self._sequence, *key, min(until - now, wire.LONGEST)
            )
        except OSError as error:
            self._lose(_why(error))  # `impose` says so
            return False
        if began:
            self._begun = self._sequence, key, until
        return began

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

    def impose(self, bans: Sequence[Ban], now: float) -> None:
        if self._begun is not None:
            stands = self._finish()
            bans = [ban for ban in bans if (key_of(ban.network, ban.scope), ban.until) != stands]
            if not bans:
                return
        if len(bans) == 1 and self._one(bans[0], now):
            return
        for body in wire.pack_bans(_living(changes_of_bans(bans, now)), now):
            if body:
                self._ask(wire.IMPOSE, body, self._short + _EACH * len(bans))

    def _one(self, ban: Ban, now: float) -> bool:
        """The case that must not wait: one ban with an end, to an enforcer that owes no answer. False: it is
        another case."""
        until, connection = ban.until, self._socket
        if until is None or until <= now or connection is None or self._owed:
            return False
        self._sequence += 1
        sequence, key = self._sequence, key_of(ban.network, ban.scope)
        self._wait(socket.SO_RCVTIMEO, self._short)
        if self._compiled is None or not self._frames.idle:
            self._send(wire.one_ban(sequence, key, until, now))
            self._answer(sequence, self._short)
            return True
        seconds = min(until - now, wire.LONGEST)
        self._heard(sequence, self._compiled.ask, connection.fileno(), sequence, *key, seconds)
        return True

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

    def lift(self, networks: Sequence[tuple[Network, str]]) -> None:
        for body in wire.pack_places(key_of(network, scope) for network, scope in networks):
            if body:
                self._ask(wire.LIFT, body)

    def allow(self, networks: Sequence[Network]) -> None:
        bodies = list(wire.pack_places((0, *network) for network in networks))
        if len(bodies) > 1:
            raise FirewallError(f"more than {wire.ROWS} allowed networks")
        self._ask(wire.ALLOW, bodies[0])

    def banned(self) -> dict[tuple[Network, str], Standing]:
        seen: dict[tuple[Network, str], Standing] = {}
        for body in self._ask(wire.BANNED, patience=_READING + _EACH * self._many):
            try:
                seen |= wire.unpack_standing(body)
            except wire.WireError as error:
                raise self._lose(str(error)) from error
        return seen

    def pause(self, until: float | None) -> None:
        seconds = 0.0 if until is None else max(0.0, until - self._clock.now())
        self._ask(wire.PAUSE, wire.pack_seconds(min(seconds, wire.LONGEST)))

    def panic(self) -> None:
        self._ready()
        self._ask(wire.PANIC, patience=_EMPTYING)

    def close(self, keep: bool) -> None:
        if self._socket is None:
            self._let_go()
            return
        try:
            self._ask(wire.CLOSE, b"\1" if keep else b"\0", _EMPTYING)
        finally:
            self._hang_up()
            self._let_go()

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
            self._wait(socket.SO_SNDTIMEO, _READING)
        try:
            self._socket.sendall(data)
        except OSError as error:  # also when there is no room in time: part of a frame may have gone
            raise self._lose(_why(error)) from error

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
                    raise self._lose(_why(error)) from error
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
                raise self._lose(_why(error)) from error
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


def _why(error: OSError) -> str:
    return "it takes nothing" if isinstance(error, BlockingIOError) else error.strerror or str(error)


def _living(changes: Changes) -> Iterable[tuple[Key, float]]:
    return ((key, until) for key, until in changes.items() if until is not None)
