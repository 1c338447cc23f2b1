"""The firewall as the judge has it: every call is a frame to the enforcer and waits for its answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence

from mailguard.clock import Clock, SystemClock
from mailguard.firewall import wire
from mailguard.firewall.desired import Changes, Key, changes_of_bans, key_of
from mailguard.firewall.interface import FirewallError, Standing, ports_of
from mailguard.model import Ban, Network, Notice

#: Seconds until an enforcer that does not answer counts as gone. Restoring a million bans takes about ten.
PATIENCE = 60.0
#: Seconds to wait for the first connection that a keeper hands over, and for later ones.
_FIRST, _NEXT = 30.0, 0.1


class RemoteFirewall:
    """`Firewall` by an enforcer in another process.

    `connect` makes the connection, at first and again after it was lost; where only one can ever be made (a
    socket pair) it raises OSError the second time. When the connection is lost every call raises
    FirewallError with `lost` until `open` succeeds; one `firewall-lost` notice says so.
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
        self._clock: Clock = clock or SystemClock()
        self._socket: socket.socket | None = None
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
        self._answer(self._sequence)

    def impose(self, bans: Sequence[Ban], now: float) -> None:
        for body in wire.pack_bans(_living(changes_of_bans(bans, now)), now):
            if body:
                self._ask(wire.IMPOSE, body)

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
        for body in self._ask(wire.BANNED):
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
        self._ask(wire.PANIC)

    def close(self, keep: bool) -> None:
        if self._socket is None:
            self._let_go()
            return
        try:
            self._ask(wire.CLOSE, b"\1" if keep else b"\0")
        finally:
            self._hang_up()
            self._let_go()

    def fileno(self) -> int | None:
        return None if self._socket is None else self._socket.fileno()

    def notices(self) -> list[Notice]:
        if self._socket is not None:
            self._socket.setblocking(False)
            try:
                while data := self._socket.recv(1 << 16):
                    self._read(data)
                self._lose("it ended")
            except BlockingIOError:
                self._socket.settimeout(self._patience)
            except (OSError, FirewallError) as error:
                self._lose(str(error))
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
            self._socket.settimeout(self._patience)
            self._frames = wire.Frames(wire.ANSWERED)
            # A loss that is mended is no news any more.
            self._notices = [notice for notice in self._notices if notice.id != "firewall-lost"]

    def _ask(self, kind: int, body: bytes = b"") -> list[bytes]:
        self._sequence += 1
        self._send(wire.frame(kind, self._sequence, body))
        return self._answer(self._sequence)

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise FirewallError("the enforcer has gone", lost=True)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lose(error.strerror or str(error)) from error

    def _answer(self, sequence: int) -> list[bytes]:
        """Wait for ACK or ERROR; the bodies that came before it."""
        bodies: list[bytes] = []
        while self._socket is not None:
            try:
                data = self._socket.recv(1 << 18)
            except OSError as error:
                raise self._lose(error.strerror or str(error)) from error
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
                    failed = FirewallError(body[1:].decode(errors="replace"), lost=body[:1] == b"\1")
                else:
                    done = True
            if failed is not None:
                raise failed
            if done:
                return bodies
        raise FirewallError("the enforcer has gone", lost=True)

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


def _living(changes: Changes) -> Iterable[tuple[Key, float]]:
    return ((key, until) for key, until in changes.items() if until is not None)
