"""The TCP side of the syslog receiver: who is connected, what they say, and who must give way.

Owns: the connections, what of a message each has sent, when to look at those that stopped inside one.
Limits: `CONNECTIONS` at once, `OF_ONE` of one sender (of IPv6: of its /64); a message has `PATIENCE` to
become whole. Where there is no room, of those who have most the one that was silent longest gives way; one
inside a message does not.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from mailguard.clock import Clock
from mailguard.feeds.syslogframes import Frames
from mailguard.feeds.syslogsockets import CONNECTIONS
from mailguard.feeds.wait import Timer, Wait
from mailguard.model import Network
from mailguard.notation import network_of, parse_address

OF_ONE = 16
PATIENCE = 60.0  # seconds
PIECE = 1 << 16  # bytes of one read; no datagram is longer
BATCH = 1 << 20  # bytes of one batch
REST = 1.0  # seconds in which nobody is taken after files were out
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Sent = tuple[str, bytes, bool, bool]  # sender, message, whether it is cut, whether it is certainly one


class Say(Protocol):
    """Tell people something about somebody, now and then."""

    def __call__(self, what: str, args: dict[str, Any], about: str = "", blind: bool = False) -> None: ...


class Connection:
    """One sender at a TCP socket."""

    __slots__ = ("crowd", "frames", "ready", "sender", "since", "socket")

    def __init__(self, taken: socket.socket, sender: str, now: float):
        self.socket = taken
        self.sender = sender
        self.crowd = _crowd_of(sender)
        self.frames = Frames()
        self.since = now  # monotonic: when the message that is under way began
        self.ready = False

    def woken(self, _events: int) -> None:
        """There is something to read, or its end."""
        self.ready = True


def _crowd_of(sender: str) -> Network | None:
    """Whose connections are counted together."""
    packed = parse_address(sender)
    return None if packed is None else network_of(packed, 32, 64)


class Peers:
    """All connections of one receiver. `sender(address)` answers who that is, "" for one who may not send;
    `counts` takes "closed" and "broken"."""

    def __init__(self, clock: Clock, sender: Callable[[str], str], say: Say, counts: dict[str, int]):
        self.open: dict[int, Connection] = {}
        self.dropped = 0  # bytes beyond the limit of a message
        self._clock = clock
        self._sender = sender
        self._say = say
        self._counts = counts
        self._wait: Wait | None = None
        self._timers: dict[str, Timer] = {}

    def attend(self, wait: Wait) -> None:
        """From now on, in this wait."""
        self._wait = wait

    @property
    def ready(self) -> bool:
        """True while something can be read without waiting."""
        return any(one.ready for one in self.open.values())

    # ------------------------------------------------------------ coming

    def listen(self, listener: socket.socket) -> None:
        """Take who comes there."""
        assert self._wait is not None
        self._wait.add(listener.fileno(), lambda _events: self.accept(listener))

    def accept(self, listener: socket.socket) -> None:
        """Take who waits, as many as there is room for."""
        for _ in range(CONNECTIONS):
            try:
                taken, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _FULL:  # who waits would be told of again and again meanwhile
                    self._say("syslog-full", {"why": error.strerror or str(error)}, blind=True)
                    self._rest(listener)
                    return
                continue  # a peer that left at once
            sender = self._sender(peer[0])
            if not sender or not self._room(_crowd_of(sender)):
                taken.close()
                continue
            taken.setblocking(False)
            with contextlib.suppress(OSError):  # a sender that vanished is noticed in the end
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            number = taken.fileno()
            made = self.open[number] = Connection(taken, sender, self._clock.monotonic())
            assert self._wait is not None
            self._wait.add(number, made.woken)
            if "idle" not in self._timers:
                self._at("idle", PATIENCE / 4, self._look)

    def _at(self, name: str, seconds: float, call: Callable[[int], None]) -> None:
        """One timer of each name."""
        assert self._wait is not None
        self._timers[name] = self._wait.call_at(self._clock.monotonic() + seconds, call)

    def _rest(self, listener: socket.socket) -> None:
        """Take nobody for a moment; who knocks waits in the kernel."""
        number = listener.fileno()
        assert self._wait is not None
        self._wait.remove(number)
        self._at(f"rest {number}", REST, lambda _events: self.listen(listener))

    def _room(self, mine: Network | None) -> bool:
        """Is there room for one more connection of these? Who must give way for it, does."""
        shares = Counter(one.crowd for one in self.open.values())
        crowd = list(self.open.values())
        if shares[mine] >= OF_ONE:
            crowd = [one for one in crowd if one.crowd == mine]
        elif len(crowd) < CONNECTIONS:
            return True
        else:
            most = max(shares.values())
            crowd = [one for one in crowd if shares[one.crowd] == most]
        idle = [one for one in crowd if not one.frames.pending and not one.ready]
        if not idle:
            self._counts["closed"] += 1
            self._say("syslog-full", {"why": f"{len(self.open)} connections are open"}, blind=True)
            return False
        self._drop(min(idle, key=lambda one: one.since), [])
        return True

    # ------------------------------------------------------------ going

    def _look(self, _events: int) -> None:
        """End the connections that leave a message unfinished."""
        now = self._clock.monotonic()
        for one in list(self.open.values()):
            if one.frames.pending and not one.ready and now - one.since > PATIENCE:
                self._counts["closed"] += 1
                one.frames.broken = "a message did not become whole within a minute"
                one.ready = True  # the next read hands out what there is and ends it
        del self._timers["idle"]
        if self.open:
            self._at("idle", PATIENCE / 4, self._look)

    def _drop(self, one: Connection, found: list[Sent]) -> None:
        """End a connection; what it left unfinished is a cut message."""
        found += [(one.sender, frame.data, True, True) for frame in one.frames.end()]
        self.dropped += one.frames.dropped
        number = one.socket.fileno()
        if self._wait is not None:
            self._wait.remove(number)
        self.open.pop(number, None)
        one.socket.close()

    def close(self) -> None:
        """End all. May be repeated."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for one in list(self.open.values()):
            self._drop(one, [])

    # ------------------------------------------------------------ reading

    def read(self, found: list[Sent]) -> None:
        """One read of each that has something, up to a bounded number of bytes."""
        room = BATCH
        for one in [each for each in self.open.values() if each.ready]:
            if room <= 0:
                return
            room -= self._stream(one, found)

    def _stream(self, one: Connection, found: list[Sent]) -> int:
        """One read of a connection; how many bytes it gave."""
        one.ready = False
        data = b""
        if not one.frames.broken:
            try:
                data = one.socket.recv(PIECE)
            except BlockingIOError:
                return 0
            except OSError:
                data = b""
        begins = not one.frames.pending
        frames = one.frames.feed(data) if data else []
        found += [(one.sender, frame.data, frame.cut, True) for frame in frames]
        if one.frames.broken:
            self._counts["broken"] += 1
            args = {"sender": one.sender, "why": one.frames.broken}
            self._say("syslog-broken", args, one.sender, blind=True)
        if not data or one.frames.broken:
            self._drop(one, found)
        elif frames or begins:
            one.since = self._clock.monotonic()
        return len(data)
