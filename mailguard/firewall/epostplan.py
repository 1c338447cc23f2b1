"""Which rows of E-Post's tables a ban needs, given those that stand. Pure, but for one thing to be said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from mailguard.epost import effect, tables
from mailguard.firewall.desired import FOREVER
from mailguard.firewall.epostcarve import Allowed
from mailguard.firewall.epostfile import TableFile
from mailguard.firewall.epostlook import Wanted
from mailguard.firewall.epostwork import ADD, EXTEND, WITHDRAW, Operation
from mailguard.model import Network
from mailguard.notation import V6, format_network

#: Ends of a row that differ by fewer seconds are the same.
_SAME = 1.0


class Plan:
    """The rows of bans. `passing`: the networks that are cut out of them."""

    def __init__(
        self,
        tables: Sequence[TableFile],
        locks: Mapping[str, float],
        prefixes: bool,
        tell: Callable[[str, str], None],
    ):
        """`locks`: AuthLockOutTime of each kind of table in seconds; `prefixes`: whether this build knows
        those of IPv6."""
        self.tables = list(tables)
        self.passing = Allowed(())
        self._locks = locks
        self._prefixes = prefixes
        self._tell = tell

    def changes(self, owner: Network, until: float | None) -> list[Operation]:
        """What must change so that exactly the rows wanted for a network stand; None: it is not banned."""
        pieces = [] if until is None else self.passing.pieces(owner)
        operations = []
        for table in self.tables:
            there = table.rows.get(owner, {})
            if there:
                wanted = set(pieces)
                operations += [
                    Operation(WITHDRAW, table.kind, owner, piece, 0.0)
                    for piece in there
                    if piece not in wanted
                ]
            for piece in pieces:
                if until is None or not self.possible(table, piece):
                    continue
                text, slot = self._row(table, piece, until), there.get(piece)
                if slot is None or (slot.text != text and abs(slot.until - until) >= _SAME):
                    operations.append(Operation(ADD, table.kind, owner, piece, until, text))
                elif slot.until != until:
                    operations.append(Operation(EXTEND, table.kind, owner, piece, until, text))
        return operations

    def wanted(self, ends: Mapping[Network, float]) -> dict[str, Wanted]:
        """By kind of table: every row that these bans need."""
        return {
            table.kind: {
                self._row(table, piece, until): (owner, piece, until)
                for owner, until in ends.items()
                for piece in self.passing.pieces(owner)
                if self.possible(table, piece)
            }
            for table in self.tables
        }

    def possible(self, table: TableFile, piece: Network) -> bool:
        """Whether this build understands such a row."""
        if piece.address < V6 or self._prefixes or (piece.prefix == 128 and table.kind != "effect"):
            return True
        self._tell(
            "ipv6",
            f"{format_network(piece)} and other IPv6 networks cannot be kept out by E-Post's tables: this "
            "build knows no IPv6 prefixes (ipv6_prefixes = false in the action)",
        )
        return False

    def _row(self, table: TableFile, piece: Network, until: float) -> bytes:
        if table.kind == "effect":
            return effect.refusal(piece)
        lock = self._locks.get(table.kind) or 0.0
        return tables.reject_row(piece, None if until == FOREVER else until, lock)

    # ---- white-list rows

    def unnamed(self, table: TableFile, networks: Sequence[Network]) -> Iterable[Operation]:
        """Withdraw the white-list rows of ours that are not wanted any more."""
        for network in table.allowed:
            if network not in networks:
                yield Operation(WITHDRAW, table.kind, network, network, 0.0, top=True)

    def named(self, table: TableFile, networks: Sequence[Network]) -> Iterator[Operation]:
        """White-list rows, as far as lines were reserved for them; they save from E-Post's own lock-outs."""
        room = sum(len(slots) for (top, _), slots in table.free.items() if top)
        for network in networks:
            if room > 0 and network not in table.allowed and self.possible(table, network):
                room -= 1
                text = tables.allow_row(network)
                yield Operation(ADD, table.kind, network, network, FOREVER, text, True)
