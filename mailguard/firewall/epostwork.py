"""Changes of several tables at once, in the order that survives a crash.

New rows are laid down as comments; the state file says that they count, and waits for the disk; then they
count, and the old rows are withdrawn. What could not be done in one table does not keep it from the others;
it is raised at the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from mailguard.firewall.desired import Changes
from mailguard.firewall.epostfile import Open, TableFile, Wanted
from mailguard.firewall.epostplaces import Slot
from mailguard.firewall.epoststate import State
from mailguard.firewall.interface import FirewallError
from mailguard.model import Network
from mailguard.notation import format_network

ADD, EXTEND, WITHDRAW = "add", "extend", "withdraw"


class Operation(NamedTuple):
    """One row of one table. `owner` is the banned network (or the allowed one), `piece` the part of it that
    the row names. EXTEND: the row stays as it is, and only we know of its other end."""

    verb: str
    kind: str
    owner: Network
    piece: Network
    until: float
    text: bytes = b""
    top: bool = False  # a white-list row


class Work:
    """Owns: the tables, what of them is not in the state file yet, and which of them fail."""

    def __init__(self, tables: Sequence[TableFile], state: State, tell: Callable[[str, str], None]):
        """`tell(topic, words)`: something to be said once."""
        self.tables = {table.kind: table for table in tables}
        self.state = state
        self._tell = tell
        self._failing: set[str] = set()  # kinds
        self._changed: list[tuple[str, Slot]] = []  # in the files already, not yet in the state file
        self._gone: list[tuple[str, Slot]] = []

    def written(self, path: str) -> None:
        """The state file has all places of a table now, and no others; what was still to be written of them
        is."""
        self._changed = [one for one in self._changed if one[0] != path]
        self._gone = [one for one in self._gone if one[0] != path]

    def do(
        self,
        operations: Sequence[Operation],
        bans: Changes | None = None,
        allowed: Sequence[Network] | None = None,
    ) -> None:
        """Carry out and remember. Raises FirewallError naming the tables that failed; all others are done."""
        errors: dict[str, str] = {}
        by_kind: dict[str, list[Operation]] = {}
        for one in operations:
            by_kind.setdefault(one.kind, []).append(one)
        for table in self.tables.values():
            if table.surplus:
                by_kind.setdefault(table.kind, [])
        with ExitStack() as stack:
            opened: dict[str, Open] = {}
            laid: dict[str, list[Slot]] = {}
            for kind, mine in by_kind.items():
                with self._noting(kind, errors):
                    opened[kind] = stack.enter_context(self.tables[kind].opened())
                    laid[kind] = self._lay(self.tables[kind], opened[kind], mine)
            self._write_down(laid, by_kind, bans, allowed)
            for kind, handle in opened.items():
                with self._noting(kind, errors):
                    self._put_in_force(self.tables[kind], handle, by_kind[kind], laid.get(kind, []))
        self._conclude(by_kind, errors)

    @contextlib.contextmanager
    def _noting(self, kind: str, errors: dict[str, str]) -> Iterator[None]:
        try:
            with self.tables[kind].explaining():
                yield
        except FirewallError as error:
            errors.setdefault(kind, str(error))  # the first says most

    def _lay(self, table: TableFile, handle: Open, operations: Iterable[Operation]) -> list[Slot]:
        wanted = [
            Wanted(one.text, one.owner, one.piece, one.until, one.top)
            for one in operations
            if one.verb == ADD
        ]
        slots, _ = table.lay(handle, [one for one in wanted if one.top])
        more, rest = table.lay(handle, [one for one in wanted if not one.top])
        if rest:
            first, others = format_network(rest[0].piece), len(rest) - 1
            also = f" (+{others})" if others else ""
            if len(self.tables) == 1:
                raise FirewallError(
                    f"{table.path} has no free line for {first}{also}; run `mailguard epost prepare`"
                )
            self._tell(
                table.path,
                f"{table.path} has no free line for {first}{also}; run `mailguard epost prepare` (the reject "
                "tables keep it out all the same)",
            )
        return slots + more

    def _write_down(
        self,
        laid: dict[str, list[Slot]],
        by_kind: dict[str, list[Operation]],
        bans: Changes | None,
        allowed: Sequence[Network] | None,
    ) -> None:
        changed = self._changed
        for kind, operations in by_kind.items():
            table = self.tables[kind]
            for one in operations:
                slot = table.find(one.owner, one.piece, one.top)
                if one.verb == EXTEND and slot is not None:
                    slot.until = one.until
                    changed.append((table.path, slot))
        enforced = [(self.tables[kind].path, slot) for kind, slots in laid.items() for slot in slots]
        gone = [slot for _, slot in self._gone if slot.number]
        past = [(table.path, text) for table in self.tables.values() for text in table.fresh_past]
        if not (bans or enforced or changed or gone or past or allowed is not None):
            return
        try:
            self.state.commit(bans, enforced, changed, gone, allowed, past)
        except FirewallError:
            for kind, slots in laid.items():
                for slot in slots:
                    self.tables[kind].release(slot)
            raise
        self._changed, self._gone = [], []
        for table in self.tables.values():
            table.fresh_past.clear()

    def _put_in_force(
        self, table: TableFile, handle: Open, operations: Iterable[Operation], laid: Sequence[Slot]
    ) -> None:
        """New rows first, so that there is no gap; then the old ones go."""
        found = (table.find(one.owner, one.piece, one.top) for one in operations if one.verb == WITHDRAW)
        moved = table.enforce(handle, laid)
        old = [*(slot for slot in found if slot is not None), *table.surplus]
        strayed = table.withdraw(handle, old)
        if strayed:
            self._withdraw_elsewhere(table, handle, strayed)
        self._changed += [(table.path, slot) for slot in old if slot not in strayed]
        if moved:
            for slot in moved:
                table.lose(slot)
            self._gone += [(table.path, slot) for slot in moved]
            raise FirewallError(f"{table.path}: somebody else changed it while a row was being written")

    def _withdraw_elsewhere(self, table: TableFile, handle: Open, strayed: Sequence[Slot]) -> None:
        """Somebody saved the file anew: withdraw what stands elsewhere now; what stands nowhere is gone."""
        found = table.locate(strayed, table.content(handle))
        lost = table.withdraw(handle, found)
        self._changed += [(table.path, slot) for slot in found if slot not in lost]
        for slot in strayed:
            if slot not in found or slot in lost:
                table.forget(slot)
                table.lose(slot)
                self._gone.append((table.path, slot))

    def _conclude(self, kinds: Iterable[str], errors: dict[str, str]) -> None:
        for kind in kinds:
            if kind in self._failing and kind not in errors:
                self._failing.discard(kind)
                self._tell("", f"{self.tables[kind].path} takes bans again")
        self._failing |= set(errors)
        if errors:
            raise FirewallError("; ".join(dict.fromkeys(errors.values())), later=True)
