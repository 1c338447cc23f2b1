"""Ends the open sessions of a banned host at this end too, by sock_diag(7).

The firewall alone already stops them: no further packet arrives. But the server's process would wait for
its own timeout, minutes long, and an attacker with a hundred open sessions would hold a hundred of them.
Failure harms nothing and is ignored (kernels without CONFIG_INET_DIAG_DESTROY).

Formats: linux/sock_diag.h, linux/inet_diag.h.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mailguard.clock import Clock
from mailguard.firewall.desired import Key, bounds
from mailguard.firewall.interface import SCOPES
from mailguard.model import Network
from mailguard.notation import V6

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY, _DESTROY = 20, 21
_REQUEST, _DUMP, _DONE, _ERROR = 0x1, 0x300, 3, 2
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBBI48s")  # family, protocol, extensions, padding, states, socket id
_ANSWER = struct.Struct("=BBBB48s")  # family, state, timer, retransmits, socket id
_PORTS = struct.Struct(">HH16s16s")  # local port, remote port, local address, remote address
_STATES = 1 << 1 | 1 << 3 | 1 << 8  # established, SYN received, close-wait
_TCP = socket.IPPROTO_TCP
_MAPPED = bytes(10) + b"\xff\xff"
#: Seconds from a ban to closing: bans come in bursts, and one reading of the sockets serves many.
_GATHER = 0.2
#: With no more TCP sockets than this in use they are read in place: that is cheaper than a child.
_FEW = 200


class Closer:
    """Closes sockets, on a busy server in a forked child, so that reading all of them delays no ban.

    Times are monotonic seconds of `clock`.
    """

    def __init__(self, clock: Clock):
        self._clock = clock
        self._bans: set[Key] = set()
        self._ports: Mapping[str, Sequence[int]] = {}
        self._allowed: Sequence[Network] = ()
        self._at: float | None = None
        self._child: tuple[int, int] | None = None

    def banned(
        self, bans: Iterable[Key], ports: Mapping[str, Sequence[int]], allowed: Sequence[Network]
    ) -> None:
        """These were banned just now; sessions of `allowed` stay."""
        self._bans.update(bans)
        self._ports, self._allowed = ports, allowed
        if self._at is None and self._bans:
            self._at = self._clock.monotonic() + _GATHER

    def descriptors(self) -> list[int]:
        return [] if self._child is None else [self._child[1]]

    def readable(self, _descriptor: int) -> None:
        """The child has ended."""
        if self._child is not None:
            pid, descriptor = self._child
            self._child = None
            os.close(descriptor)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def deadline(self) -> float | None:
        return self._at if self._child is None else None

    def run_due(self) -> None:
        if self._at is None or self._child is not None or self._clock.monotonic() < self._at:
            return
        if sockets_in_use() <= _FEW:
            with contextlib.suppress(OSError):  # see the module: the packets are stopped all the same
                close_sessions(self._bans, self._ports, self._allowed)
            self._bans, self._at = set(), None
            return
        reading, writing = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reading)
                close_sessions(self._bans, self._ports, self._allowed)
            except OSError:
                pass
            finally:
                os._exit(0)
        os.close(writing)
        self._child = (pid, reading)
        self._bans, self._at = set(), None


def sockets_in_use() -> int:
    """How many TCP sockets this network namespace has; a great many where that cannot be read."""
    count = 0
    try:
        for name in ("sockstat", "sockstat6"):
            with open(f"/proc/thread-self/net/{name}", encoding="ascii") as lines:
                for line in lines:
                    words = line.split()
                    if words[0] in ("TCP:", "TCP6:"):
                        count += int(words[words.index("inuse") + 1])
    except (OSError, ValueError, IndexError):
        return 1 << 30
    return count


def close_sessions(
    bans: Iterable[Key], ports: Mapping[str, Sequence[int]], allowed: Sequence[Network] = ()
) -> int:
    """Close this host's TCP sessions with banned hosts on the ports of their scopes; how many. Raises
    OSError.
    """
    ranges: dict[int, list[tuple[int, int]]] = {}
    hosts: dict[int, set[int]] = {}
    for scope, address, prefix in bans:
        low, high = bounds(address, prefix)
        if low == high:
            hosts.setdefault(scope, set()).add(low)
        else:
            ranges.setdefault(scope, []).append((low, high))
    wanted = {scope: frozenset(ports.get(SCOPES[scope], ())) for scope in (*ranges, *hosts)}
    spared = [bounds(*network) for network in allowed]
    closed = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(5.0)
        link.bind((0, 0))
        for family in (socket.AF_INET, socket.AF_INET6):
            for identity, port, remote in list(_sessions(link, family)):
                if any(low <= remote <= high for low, high in spared):
                    continue
                for scope, numbers in wanted.items():
                    if numbers and port not in numbers:
                        continue  # "all" names no ports
                    inside = any(low <= remote <= high for low, high in ranges.get(scope, ()))
                    if inside or remote in hosts.get(scope, ()):
                        closed += _destroy(link, family, identity)
                        break
    return closed


def _sessions(link: socket.socket, family: int) -> Iterator[tuple[bytes, int, int]]:
    """(socket id, local port, packed remote address) of the open TCP sessions of a family."""
    question = _QUESTION.pack(family, _TCP, 0, 0, _STATES, bytes(48))
    link.send(_HEADER.pack(16 + len(question), _BY_FAMILY, _REQUEST | _DUMP, 1, 0) + question)
    while True:
        data = link.recv(1 << 16)
        offset = 0
        while offset + 16 <= len(data):
            length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data, offset)
            if kind in (_DONE, _ERROR) or length < 16:
                return
            if length >= 16 + _ANSWER.size:
                identity = _ANSWER.unpack_from(data, offset + 16)[4]
                port, _, _, remote = _PORTS.unpack_from(identity)
                if family == socket.AF_INET:
                    address = int.from_bytes(remote[:4], "big")
                elif remote.startswith(_MAPPED):
                    address = int.from_bytes(remote[12:], "big")
                else:
                    address = V6 + int.from_bytes(remote, "big")
                yield identity, port, address
            offset += (length + 3) & ~3


def _destroy(link: socket.socket, family: int, identity: bytes) -> int:
    """1 when the session was closed; 0 when it had gone, or the kernel cannot."""
    question = _QUESTION.pack(family, _TCP, 0, 0, _STATES, identity)
    link.send(_HEADER.pack(16 + len(question), _DESTROY, _REQUEST | 0x4, 2, 0) + question)
    answer = link.recv(1 << 16)
    return int(len(answer) >= 20 and struct.unpack_from("=i", answer, 16)[0] == 0)
