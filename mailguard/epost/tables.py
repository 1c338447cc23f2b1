"""Reject tables (rejectsmtpip.dat, rejectpopip.dat, rejectimapip.dat): their rows, read as the server does.

One entry a line: `pattern [TAB value [TAB "iplock"]]`. A line that begins with `'` is a comment; an
apostrophe or a blank ends the useful part of any line. The value is empty or 0 (permanent), `true` (white
list) or the FILETIME at which the lock began. The first row that matches and is in force decides. A damaged
line disables itself alone. Times are seconds since 1970, lock times are seconds, 0 for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mailguard.epost.filetime import from_filetime, to_filetime
from mailguard.model import Network
from mailguard.notation import V6, covers, format_address, format_network, parse_address, parse_network

#: Table of each service -> its file's name, beside the executables.
FILES = {"smtp": "rejectsmtpip.dat", "pop": "rejectpopip.dat", "imap": "rejectimapip.dat"}
#: A line must stay shorter, its line end included: the server reads longer ones as two rows.
LONGEST = 127

COMMENT, EMPTY, ALLOW, TIMED, PERMANENT, BROKEN = "comment", "empty", "allow", "timed", "permanent", "broken"
#: Why a line is damaged, or its pattern is not what its writer meant.
TOO_LONG, NO_PATTERN, NO_VALUE, NOT_PLAIN, STAR, HOST_BITS, NOT_ASCII = (
    "too-long", "no-pattern", "no-value", "not-plain", "star", "host-bits", "not-ascii",
)  # fmt: skip
#: Those with which the row still does something.
HARMLESS = frozenset({NOT_PLAIN, STAR, HOST_BITS})

_WILD = re.compile(r"(?:\d{1,3}\.){1,3}\*(?:\.\*){0,2}\Z")
_ANY = frozenset({"*", "*.*.*.*"})


class Row(NamedTuple):
    """One line. `number` counts from 1, `offset` is in bytes, `text` is without its line end."""

    number: int
    offset: int
    text: str
    kind: str
    pattern: str = ""
    network: Network | None = None  # what a plain pattern, a prefix or a regular wildcard stands for
    begun: float | None = None  # TIMED only
    iplock: bool = False
    flaw: str = ""  # one of the words above

    @property
    def rejects(self) -> bool:
        return self.kind in (TIMED, PERMANENT)

    def ends(self, lock: float | None) -> float | None:
        """When it stops counting; None: never, or (lock None: unknown) nobody can tell."""
        if self.begun is None or not lock:
            return None
        return self.begun + lock

    def in_force(self, now: float, lock: float | None) -> bool:
        """Whether it counts; where the lock time is not known (None) a row with a time may."""
        ends = self.ends(lock)
        return ends is None or now < ends

    def matches(self, address: int) -> bool:
        """Whether the server lays this row to a client of that packed address.

        Patterns are compared as text, prefixes as numbers; a `*` cuts the pattern to what must come first.
        """
        if "*" in self.pattern:
            return format_address(address).startswith(self.pattern.partition("*")[0])
        if "/" in self.pattern:
            return self.network is not None and covers(self.network, _host(address))
        return self.pattern == format_address(address)


def _host(address: int) -> Network:
    return Network(address, 128 if address >= V6 else 32)


def lines(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(offset, length with its end, text without it) of each line; the last may lack its end."""
    start = 0
    while start < len(data):
        found = data.find(b"\n", start)
        end = len(data) if found < 0 else found + 1
        yield start, end - start, data[start:end].rstrip(b"\r\n")
        start = end


def parse(data: bytes) -> list[Row]:
    """Every line of a table, also those nobody understands."""
    return [read(number, *line) for number, line in enumerate(lines(data), 1)]


def read(number: int, offset: int, length: int, text: bytes) -> Row:
    """One line."""
    shown = text.decode("ascii") if text.isascii() else text.decode("ascii", "backslashreplace")
    if text[:1] == b"'":
        return Row(number, offset, shown, COMMENT)
    useful = text.partition(b" ")[0].partition(b"'")[0].decode("ascii", "replace")
    if not useful.strip("\t"):
        return Row(number, offset, shown, EMPTY)
    pattern, _, rest = useful.partition("\t")
    value, _, flag = rest.partition("\t")
    network, flaw = _pattern(pattern)
    iplock = flag == "iplock"
    known = value in ("", "true") or (value.isascii() and value.isdigit() and len(value) < 20)
    if not known or flag not in ("", "iplock"):
        flaw = NO_VALUE
    if length >= LONGEST:
        flaw = TOO_LONG
    elif not text.isascii():
        flaw = NOT_ASCII
    if flaw and flaw not in HARMLESS:
        return Row(number, offset, shown, BROKEN, pattern, network, None, iplock, flaw)
    if value == "true":
        return Row(number, offset, shown, ALLOW, pattern, network, None, iplock, flaw)
    count = int(value or 0)
    if not count:
        return Row(number, offset, shown, PERMANENT, pattern, network, None, iplock, flaw)
    return Row(number, offset, shown, TIMED, pattern, network, from_filetime(count), iplock, flaw)


def _pattern(pattern: str) -> tuple[Network | None, str]:
    """The network of a pattern, where it is one, and what is wrong with it."""
    if ":" not in pattern and (address := parse_address(pattern)) is not None:
        return Network(address, 32), ""  # the usual row; dotted numbers have one form only
    if pattern in _ANY:
        return None, ""
    if "*" in pattern:
        head = pattern.partition("*")[0]
        if not _WILD.match(pattern):
            return None, STAR if re.match(r"[0-9A-Fa-f:.]+\*", pattern) else NO_PATTERN
        numbers = head.rstrip(".").split(".")
        return parse_network(".".join([*numbers, *["0"] * (4 - len(numbers))]) + f"/{8 * len(numbers)}"), ""
    network = parse_network(pattern)
    if network is None:
        body, slash, length = pattern.partition("/")
        address = parse_address(body)
        if not slash or address is None or not (length.isascii() and length.isdigit()) or int(length) > 128:
            return None, NO_PATTERN
        bits = 128 if address >= V6 else 32
        if int(length) > bits:
            return None, NO_PATTERN
        shift = bits - int(length)
        base = V6 if address >= V6 else 0
        return Network((address - base >> shift << shift) + base, int(length)), HOST_BITS
    # A plain pattern must equal the client's address as text; a prefix is compared as a number.
    if "/" not in pattern and format_network(network) != pattern:
        return network, NOT_PLAIN
    return network, ""


def decides(
    rows: Iterable[Row], address: int, now: float, lock: float | None, iplock: float | None = None
) -> Row | None:
    """The row that decides about a client: the first that matches and is in force; None: it is let in.

    `iplock`: how long rows of the IP lock-out last; None leaves those rows out, as the plain check does.
    """
    for row in rows:
        if row.kind not in (ALLOW, TIMED, PERMANENT) or not row.matches(address):
            continue
        if row.iplock and iplock is None:
            continue
        if row.kind == ALLOW or row.in_force(now, iplock if row.iplock else lock):
            return row
    return None


def reject_row(network: Network, until: float | None, lock: float) -> bytes:
    """The text of a row that keeps a network out, without its line end.

    With a lock time (seconds, above 0) the row ends by itself at `until`; otherwise, and for None, it is
    permanent.
    """
    value = 0 if until is None or not lock else to_filetime(until - lock)
    return f"{format_network(network)}\t{value}".encode("ascii")


def allow_row(network: Network) -> bytes:
    """The text of a white-list row."""
    return f"{format_network(network)}\ttrue".encode("ascii")


def line_end(data: bytes, otherwise: bytes = b"\n") -> bytes:
    """The line end that a file has: CRLF when its last complete line ends so; `otherwise` for a file
    without one."""
    end = data.rfind(b"\n")
    if end < 0:
        return otherwise
    return b"\r\n" if end and data[end - 1 : end] == b"\r" else b"\n"
