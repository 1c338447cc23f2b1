"""Set elements as the kernel's bytes: written in bulk, and read back.

A host set holds keys; an interval set holds the starts of ranges and, as elements of their own with a flag,
the first address behind each. A range that ends at the last address has no end element.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mailguard.firewall import netlink
from mailguard.notation import V6

_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_KEY, _FLAGS, _TIMEOUT, _EXPIRATION, _EXPR, _EXPRESSIONS = 1, 3, 4, 5, 7, 11
_INTERVAL_END = 1
_FOUR = struct.Struct("=HH")
_TIMEOUT_HEAD = _FOUR.pack(12, _TIMEOUT)
# An expression of the element's own: a counter that starts at zero.
_COUNTER = _FOUR.pack(16, _EXPR | netlink.NESTED) + netlink.text(1, "counter")
_END_FLAG = _FOUR.pack(8, _FLAGS) + struct.pack(">I", _INTERVAL_END)
_LOW = (1 << 64) - 1
#: Elements in one message: their list is one attribute, whose length has 16 bits.
PER_MESSAGE = 800  # of at most 76 bytes


def _head(key: int, rest: int) -> bytes:
    """The fixed start of an element: its own header, the key's, the value's."""
    nested = netlink.NESTED
    return struct.pack("=HHHHHH", 12 + key + rest, 1 | nested, 8 + key, _KEY | nested, 4 + key, 1)


_HEAD4, _HEAD4_TIMED, _HEAD4_END, _HEAD4_COUNTED = (_head(4, rest) for rest in (0, 12, 8, 28))
_HEAD6, _HEAD6_TIMED, _HEAD6_END, _HEAD6_COUNTED = (_head(16, rest) for rest in (0, 12, 8, 28))
_HEAD4_COUNTED_EVER, _HEAD6_COUNTED_EVER = _head(4, 16), _head(16, 16)
_PACK4 = struct.Struct(">12sI").pack
_PACK4_TIMED = struct.Struct(">12sI4sQ").pack
_PACK6 = struct.Struct(">12sQQ").pack
_PACK6_TIMED = struct.Struct(">12sQQ4sQ").pack


#: One element to write: both ends as packed addresses (equal in a host set); milliseconds to live (0: ever).
Element = tuple[int, int, int]


class Found(NamedTuple):
    """One element read back. `remaining`: milliseconds, None: permanent."""

    low: int
    high: int
    remaining: int | None
    packets: int
    bytes: int


def hosts(elements: Iterable[Element], v6: bool) -> list[bytes]:
    """The bytes of elements of a host set, without counters: the hot path of a restore, hence the plain
    loops.

    A counter is memory of its own on every processor: it triples what an element costs the kernel.
    """
    if v6:
        return [
            _PACK6_TIMED(_HEAD6_TIMED, low >> 64 & _LOW, low & _LOW, _TIMEOUT_HEAD, timeout)
            if timeout
            else _PACK6(_HEAD6, low >> 64 & _LOW, low & _LOW)
            for low, _high, timeout in elements
        ]
    return [
        _PACK4_TIMED(_HEAD4_TIMED, low, _TIMEOUT_HEAD, timeout) if timeout else _PACK4(_HEAD4, low)
        for low, _high, timeout in elements
    ]


def counted(elements: Iterable[Element], v6: bool) -> list[bytes]:
    """The bytes of elements of a host set, each with a counter."""
    made = []
    for low, _high, timeout in elements:
        if v6:
            key = (low >> 64 & _LOW, low & _LOW)
            head = (
                _PACK6_TIMED(_HEAD6_COUNTED, *key, _TIMEOUT_HEAD, timeout)
                if timeout
                else _PACK6(_HEAD6_COUNTED_EVER, *key)
            )
        else:
            head = (
                _PACK4_TIMED(_HEAD4_COUNTED, low, _TIMEOUT_HEAD, timeout)
                if timeout
                else _PACK4(_HEAD4_COUNTED_EVER, low)
            )
        made.append(head + _COUNTER)
    return made


def ranges(elements: Iterable[Element], v6: bool) -> list[bytes]:
    """The bytes of elements of an interval set: each range's start and end. Counters come from the set."""
    made = []
    for low, high, timeout in elements:
        made += hosts(((low, low, timeout),), v6)
        behind = high + 1
        if v6 and behind < 2 * V6:
            made.append(_PACK6(_HEAD6_END, behind >> 64 & _LOW, behind & _LOW) + _END_FLAG)
        elif not v6 and behind < 1 << 32:
            made.append(_PACK4(_HEAD4_END, behind) + _END_FLAG)
    return made


def requests(kind: int, table: str, name: str, made: list[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Messages of that kind (new or delete) with all elements of one set, as operations of a transaction."""
    prefix = netlink.text(_LIST_TABLE, table) + netlink.text(_LIST_SET, name)
    flags = netlink.CREATE if kind == netlink.NEWSETELEM else 0
    for start in range(0, len(made), PER_MESSAGE):
        body = b"".join(made[start : start + PER_MESSAGE])
        yield kind, flags, prefix + _FOUR.pack(len(body) + 4, _LIST_ELEMENTS | netlink.NESTED) + body


def emptied(table: str, name: str) -> tuple[int, int, bytes]:
    """The operation that removes every element of a set."""
    return netlink.DELSETELEM, 0, netlink.text(_LIST_TABLE, table) + netlink.text(_LIST_SET, name)


def read(link: netlink.Netlink, table: str, name: str, v6: bool, interval: bool) -> list[Found]:
    """All living elements of a set. Raises OSError and InterruptedDump like `dump`."""
    found: list[Found] = []
    starts: list[Found] = []
    ends: list[int] = []
    body = netlink.text(_LIST_TABLE, table) + netlink.text(_LIST_SET, name)
    for _kind, view in link.dump(netlink.GETSETELEM, body):
        listed = netlink.attributes(view).get(_LIST_ELEMENTS)
        if listed is not None:
            _elements(listed, v6, starts, ends)
    if not interval:
        return starts
    # An end belongs to the nearest start below it; starts and ends never overlap in a set.
    starts.sort()
    ends.sort()
    top = (2 * V6 if v6 else 1 << 32) - 1
    at = 0
    for index, item in enumerate(starts):
        limit = starts[index + 1].low - 1 if index + 1 < len(starts) else top
        while at < len(ends) and ends[at] <= item.low:
            at += 1
        high = min(ends[at] - 1, limit) if at < len(ends) else limit
        found.append(item._replace(high=high))
    return found


def _elements(view: memoryview, v6: bool, starts: list[Found], ends: list[int]) -> None:
    """Take apart one list of elements."""
    unpack = _FOUR.unpack_from
    base = V6 if v6 else 0
    offset, size = 0, len(view)
    while offset + 4 <= size:
        length, _ = unpack(view, offset)
        end = offset + length
        if length < 4 or end > size:
            return
        at = offset + 4
        key = flags = packets = octets = 0
        remaining: int | None = None
        while at + 4 <= end:
            part, kind = unpack(view, at)
            kind &= 0x3FFF
            if kind == _KEY:
                key = int.from_bytes(view[at + 8 : at + part], "big") + base
            elif kind == _EXPIRATION:
                remaining = int.from_bytes(view[at + 4 : at + 12], "big")
            elif kind == _FLAGS:
                flags = int.from_bytes(view[at + 4 : at + 8], "big")
            elif kind == _EXPR:
                packets, octets = _counter(view[at + 4 : at + part])
            elif kind == _EXPRESSIONS:
                packets, octets = _counter(netlink.attributes(view[at + 4 : at + part]).get(1, view[:0]))
            if part < 4:
                break
            at += (part + 3) & ~3
        if flags & _INTERVAL_END:
            ends.append(key)
        else:
            starts.append(Found(key, key, remaining, packets, octets))
        offset = (end + 3) & ~3


def _counter(view: memoryview) -> tuple[int, int]:
    """Packets and bytes of an element's counter expression; zeros for any other expression."""
    expression = netlink.attributes(view)
    if bytes(expression.get(1, b"")) != b"counter\0" or 2 not in expression:
        return 0, 0
    values = netlink.attributes(expression[2])
    return int.from_bytes(values.get(2, b""), "big"), int.from_bytes(values.get(1, b""), "big")
