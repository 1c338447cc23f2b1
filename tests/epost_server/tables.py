"""The reject tables: rejectsmtpip.dat, rejectpopip.dat, rejectimapip.dat, as the server reads them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.epost_server.stamps import filetime, of_filetime
from tests.epost_server.writing import append

BUFFER = 127  # bytes of a line the server reads at once; what is longer becomes a row of its own
FOR_EVER = 0.0
FREE, WHITE, REFUSED = "free", "white", "refused"


@dataclass(frozen=True)
class Row:
    """One line that makes sense. `since` None: permanent."""

    pattern: str
    white: bool = False
    since: float | None = None
    iplock: bool = False

    def live(self, now: float, lock: float) -> bool:
        """Does it count? `lock`: seconds that a row with a time lasts; 0: for ever."""
        return self.white or self.since is None or lock == FOR_EVER or now < self.since + lock


def pieces(data: bytes) -> Iterator[bytes]:
    """The lines as a buffer of limited size gets them."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start, start + BUFFER)
        end = min(start + BUFFER, len(data)) if end < 0 else end + 1
        yield data[start:end]
        start = end


def row(line: bytes, *, white_rows: bool = True) -> Row | None:
    """What a line says; None for comments, empty and damaged ones."""
    text = line.rstrip(b"\r\n").decode("latin-1")
    for mark in ("'", " "):
        text = text.partition(mark)[0]
    pattern, _, rest = text.partition("\t")
    value, _, flag = rest.partition("\t")
    if not pattern or flag not in ("", "iplock"):
        return None
    if value == "true":
        return Row(pattern, white=True) if white_rows else None
    if value and not (value.isascii() and value.isdigit()):
        return None
    since = of_filetime(int(value)) if value and int(value) else None
    return Row(pattern, since=since, iplock=flag == "iplock")


def matches(pattern: str, address: str, *, ipv6_prefixes: bool = True) -> bool:
    """Is the client meant? Text against text, but for prefixes."""
    if "*" in pattern:
        return address.startswith(pattern.partition("*")[0])
    if "/" in pattern:
        try:
            network = ipaddress.ip_network(pattern, strict=False)
            client = ipaddress.ip_address(address)
        except ValueError:
            return False
        if network.version == 6 and not ipv6_prefixes:
            return False
        return client.version == network.version and client in network
    return pattern == address


class RejectTable:
    """One of the three files."""

    def __init__(
        self, path: Path, *, white_rows: bool = True, ipv6_prefixes: bool = True, end: bytes = b"\n"
    ):
        self.path = path
        self._white_rows = white_rows
        self._ipv6_prefixes = ipv6_prefixes
        self._end = end

    def rows(self) -> list[Row]:
        """The rows that make sense, in order; read anew each time."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        found = (row(piece, white_rows=self._white_rows) for piece in pieces(data))
        return [one for one in found if one is not None]

    def verdict(self, address: str, now: float, lock: float, *, iplock_rows: bool) -> str:
        """The first live row that matches decides. `lock`: seconds a row with a time lasts; 0: for ever.
        `iplock_rows`: those of the IP lock-out count too."""
        for one in self.rows():
            if one.iplock and not iplock_rows:
                continue
            if matches(one.pattern, address, ipv6_prefixes=self._ipv6_prefixes) and one.live(now, lock):
                return WHITE if one.white else REFUSED
        return FREE

    def lock(self, address: str, now: float, *, iplock: bool) -> None:
        """Append the server's own row. It does not look whether the file ends with a line end."""
        text = f"{address}\t{filetime(now)}" + ("\tiplock" if iplock else "")
        append(self.path, text.encode() + self._end)
