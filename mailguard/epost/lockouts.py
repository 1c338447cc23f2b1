"""Who E-Post itself keeps out, by the rows of its tables that are not mailguard's. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from mailguard.epost.tables import ALLOW, BROKEN, PERMANENT, TIMED, Row
from mailguard.model import Network
from mailguard.notation import covers, host_prefix

#: What a row is, as far as it tells: the server's lock-outs carry their time, hands write none.
AUTH, IP, HAND, WHITE, DAMAGED = "auth", "ip", "hand", "white", "damaged"
_ORIGINS = {TIMED: AUTH, PERMANENT: HAND, ALLOW: WHITE, BROKEN: DAMAGED}


class LockOut(NamedTuple):
    """One row that is not ours. `lock`: E-Post's lock time in seconds, 0 for ever, None not known."""

    table: str  # smtp, pop, imap
    file: str
    row: Row
    origin: str
    lock: float | None

    @property
    def until(self) -> float | None:
        """When it ends; None: never, or nobody can tell (`ends_known`)."""
        return None if self.row.iplock else self.row.ends(self.lock)

    @property
    def ends_known(self) -> bool:
        return self.row.kind != TIMED or (self.lock is not None and not self.row.iplock)

    def over(self, now: float) -> bool:
        """Whether it does not count any more, as far as that can be told."""
        until = self.until
        return until is not None and until <= now

    def concerns(self, network: Network) -> bool:
        """Whether it keeps out a host or all of a network, or a part of it."""
        row = self.row
        if row.network is not None and (covers(row.network, network) or covers(network, row.network)):
            return True
        return network.prefix == host_prefix(network.address) and row.matches(network.address)


def lock_outs(
    table: str, file: str, rows: Iterable[Row], own: Collection[tuple[int, bytes]], lock: float | None
) -> Iterator[LockOut]:
    """The rows of a table that are not in `own` (place and text), damaged ones too."""
    for row in rows:
        if row.kind in _ORIGINS and (row.offset, row.text.encode("latin-1", "replace")) not in own:
            yield LockOut(table, file, row, IP if row.iplock else _ORIGINS[row.kind], lock)
