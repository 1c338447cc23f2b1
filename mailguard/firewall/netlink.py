"""A small netlink socket: transactions and dumps of the kernel's nftables, nothing else.

libnftables makes table, chains and sets; elements go through here, because text of a hundred thousand
elements takes it a third of a second and one element 0.1 ms, against 0.01 to 0.03 ms here. Formats:
linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h. Headers are in the machine's byte
order, values of attributes of nftables in network order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

NETLINK_NETFILTER = 12
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
GROUP_NFTABLES = 7  # NFNLGRP_NFTABLES
BATCH_BEGIN, BATCH_END = 16, 17
NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN, DELCHAIN = 3, 4, 5
NEWRULE, GETRULE, DELRULE = 6, 7, 8
NEWSET, GETSET, DELSET = 9, 10, 11
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14
NEWGEN, GETGEN = 15, 16
INET = 1  # NFPROTO_INET

REQUEST, ACK, DUMP, CREATE = 0x1, 0x4, 0x300, 0x400
_DUMP_INTERRUPTED = 0x10
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33

_MESSAGE = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_INT = struct.Struct("=i")
_ACKNOWLEDGED = struct.Struct("=IHHIIi16x")  # an acknowledgement: error 0, and the header of our message
_TYPE = 0x3FFF  # an attribute's type without the nested and byte-order flags
NESTED = 0x8000


class InterruptedDump(Exception):
    """The ruleset changed while it was being read: read it again."""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def text(kind: int, value: str) -> bytes:
    """A string attribute, with the zero byte at its end."""
    return attribute(kind, value.encode() + b"\0")


def attributes(data: memoryview | bytes, start: int = 0, end: int | None = None) -> dict[int, memoryview]:
    """The attributes in `data[start:end]` by type; of a repeated one the last."""
    found = {}
    view = memoryview(data)
    end = len(view) if end is None else end
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(view, start)
        if length < 4 or start + length > end:
            break
        found[kind & _TYPE] = view[start + 4 : start + length]
        start += (length + 3) & ~3
    return found


def message(kind: int, flags: int, sequence: int, body: bytes, family: int = INET) -> bytes:
    """One nftables message; `body` is its attributes."""
    header = _MESSAGE.pack(20 + len(body), SUBSYSTEM << 8 | kind, flags | REQUEST, sequence, 0)
    return header + bytes((family, 0, 0, 0)) + body


def _edge(kind: int, sequence: int) -> bytes:
    return _MESSAGE.pack(20, kind, REQUEST, sequence, 0) + struct.pack(">BBH", 0, 0, SUBSYSTEM)


class Prepared:
    """A transaction of one message, packed beforehand but for its sequence numbers and some values: for what
    must not wait."""

    def __init__(self, operation: tuple[int, int, bytes], values: Sequence[bytes]):
        """`operation` holds each of `values`, which stand where the real ones, of the same lengths, will;
        each occurs once, in this order."""
        kind, flags, body = operation
        whole = _edge(BATCH_BEGIN, 0) + message(kind, flags | ACK, 0, body) + _edge(BATCH_END, 0)
        second, third = 20, len(whole) - 20
        cuts = [(8, 12), (second + 8, second + 12)]
        at = second + 20
        for value in values:
            at = whole.index(value, at)
            cuts.append((at, at + len(value)))
            at += len(value)
        cuts.append((third + 8, third + 12))
        self.whole = whole  # with zeros for sequence numbers, and the values it was made with
        self.places = tuple(begin for begin, _ in cuts[2:-1])  # of the values
        form, at = ["="], 0
        self._fixed: list[bytes] = []
        for number, (begin, end) in enumerate(cuts):
            own = "I" if number < 2 or number == len(cuts) - 1 else f"{end - begin}s"
            form.append(f"{begin - at}s{own}")
            self._fixed.append(whole[at:begin])
            at = end
        self._fixed.append(whole[at:])
        form.append(f"{len(whole) - at}s")
        self._pack = struct.Struct("".join(form)).pack

    def fill(self, first: int, values: Sequence[bytes]) -> bytes:
        """The bytes to send; `first` is the sequence number of the first of the three messages."""
        fixed, parts = self._fixed, [self._fixed[0], first, self._fixed[1], first + 1]
        for at, value in enumerate(values, 2):
            parts += (fixed[at], value)
        return self._pack(*parts, fixed[-2], first + 2, fixed[-1])


class Netlink:
    """One netfilter netlink socket.

    Owns: the socket and its port id, by which our own changes are told from foreign ones.
    Raises OSError from every method; OSError where the kernel has no nftables or there is no privilege.
    """

    def __init__(self, group: int = 0):
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
        self._socket.setblocking(False)
        for option, size in ((_SNDBUFFORCE, 1 << 26), (_RCVBUFFORCE, 1 << 22)):
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, size)
        for option in (_CAP_ACK, _EXT_ACK):
            with contextlib.suppress(OSError):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 1 << (group - 1) if group else 0))
        self.port: int = self._socket.getsockname()[0]
        self._sequence = 0
        self._buffer = bytearray(1 << 17)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    # ---- transactions

    def commit(self, operations: Sequence[tuple[int, int, bytes]]) -> None:
        """All or none of `operations` (message type, flags, attributes), acknowledged on return."""
        if not operations:
            return
        first = self._sequence + 1
        last = first + len(operations)
        parts = [_edge(BATCH_BEGIN, first)]
        for sequence, (kind, flags, body) in enumerate(operations, first + 1):
            parts.append(message(kind, flags | (ACK if sequence == last else 0), sequence, body))
        parts.append(_edge(BATCH_END, last + 1))
        self._sequence = last + 1
        self._drain()
        self._socket.send(b"".join(parts))
        self._acknowledged(first, last)

    def reserve(self, count: int) -> int:
        """The first of so many sequence numbers for somebody else who uses the socket."""
        self._sequence += count
        return self._sequence - count + 1

    def add_one(self, prepared: Prepared, values: Sequence[bytes]) -> bool:
        """One prepared message with these values as a transaction of its own; False where it was not simply
        acknowledged: then do the same by `commit`, which says why. Raises OSError."""
        first = self._sequence + 1
        self._sequence = first + 2
        self._socket.send(prepared.fill(first, values))
        try:
            size = self._socket.recv_into(self._buffer)
        except BlockingIOError:
            return False
        if size != _ACKNOWLEDGED.size:
            return False
        length, kind, _flags, sequence, _port, code = _ACKNOWLEDGED.unpack_from(self._buffer)
        return kind == _ERROR and length == size and sequence == first + 1 and not code

    def _drain(self) -> None:
        """Forget what an earlier, failed exchange may have left."""
        while True:
            try:
                self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def _acknowledged(self, first: int, last: int) -> None:
        """Read the answers; the kernel has written all of them before send() returned."""
        done = False
        failed: OSError | None = None
        while True:
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                break
            except OSError as error:
                # ENOBUFS: so many errors that they did not fit; the answer is no all the same.
                failed = failed or OSError(error.errno, os.strerror(error.errno or 0))
                continue
            for kind, _flags, sequence, start, end in _messages(self._buffer, size):
                if kind != _ERROR or not first <= sequence <= last + 1:
                    continue
                code, words = _reason(self._buffer, start, end)
                if code:
                    failed = failed or OSError(code, words)
                elif sequence == last:
                    done = True
        if failed is not None:
            raise failed
        if not done:
            raise OSError(errno.EPROTO, "the kernel did not acknowledge the transaction")

    # ---- questions

    def dump(self, kind: int, body: bytes = b"", family: int = INET) -> Iterator[tuple[int, memoryview]]:
        """All answers (message type, attributes) to a dump; a view is valid until the next is asked for.

        Raises InterruptedDump when the ruleset changed meanwhile, OSError ENOENT when there is no such
        table or set.
        """
        yield from self._ask(kind, DUMP, body, family)

    def get(self, kind: int, body: bytes, family: int = INET) -> bytes:
        """The attributes of the one answer to a question."""
        answer = b""
        for _kind, view in self._ask(kind, ACK, body, family):
            answer = bytes(view)
        return answer

    def generation(self) -> int:
        """A number that grows with every change of any nftables rule in this network namespace."""
        return int.from_bytes(attributes(self.get(GETGEN, b"", 0))[1], "big")

    def _ask(self, kind: int, flags: int, body: bytes, family: int) -> Iterator[tuple[int, memoryview]]:
        self._drain()
        self._sequence += 1
        asked = self._sequence
        self._socket.send(message(kind, flags, asked, body, family))
        view = memoryview(self._buffer)
        interrupted = False
        while True:
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                raise OSError(errno.EPROTO, "the kernel broke its answer off") from None
            for answer, answer_flags, sequence, start, end in _messages(self._buffer, size):
                if sequence != asked:
                    continue
                interrupted = interrupted or bool(answer_flags & _DUMP_INTERRUPTED)
                if answer == _DONE:
                    if interrupted:
                        raise InterruptedDump
                    return
                if answer == _ERROR:
                    code, words = _reason(self._buffer, start, end)
                    if code:
                        raise OSError(code, words)
                    return
                yield answer & 0xFF, view[start + 4 : end]

    # ---- notices of other people's changes

    def overheard(self) -> Iterator[tuple[int, int, memoryview]]:
        """Notices read without waiting: (message type, port id of who did it, attributes).

        Raises OSError ENOBUFS when some were lost.
        """
        view = memoryview(self._buffer)
        while True:
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return
            offset = 0
            while offset + 16 <= size:
                length, kind, _flags, _sequence, port = _MESSAGE.unpack_from(self._buffer, offset)
                if length < 16 or offset + length > size:
                    break
                if kind >> 8 == SUBSYSTEM and length >= 20:
                    yield kind & 0xFF, port, view[offset + 20 : offset + length]
                offset += (length + 3) & ~3


def _messages(buffer: bytearray, size: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(type, flags, sequence, start of payload, end) of each message in `buffer[:size]`."""
    offset = 0
    while offset + 16 <= size:
        length, kind, flags, sequence, _port = _MESSAGE.unpack_from(buffer, offset)
        if length < 16 or offset + length > size:
            return
        yield kind, flags, sequence, offset + 16, offset + length
        offset += (length + 3) & ~3


def _reason(buffer: bytearray, start: int, end: int) -> tuple[int, str]:
    """Error number (0: none) and words of an error message's payload."""
    code = -_INT.unpack_from(buffer, start)[0]
    words = os.strerror(code) if code else ""
    extended = attributes(bytes(buffer[start + 20 : end])).get(1)  # after the header of our own message
    if code and extended is not None:
        words += f" ({bytes(extended).rstrip(bytes(1)).decode(errors='replace')})"
    return code, words
