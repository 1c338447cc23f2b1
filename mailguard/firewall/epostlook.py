"""What is true of E-Post's tables, from the tables themselves: which rows of ours count, which count again,
and which nobody knows.

Somebody may save a table anew at any time: an editor that was opened before, an administrator who puts a
backup back. Then rows that were withdrawn count again. So each table is looked at when it was changed and
has come to rest; what counts again is withdrawn by the next work, and said.

Owns: when each table was looked at.
Never: changes a byte of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mailguard.epost import own
from mailguard.firewall.epostdisk import Stamp
from mailguard.firewall.epostfile import TableFile
from mailguard.firewall.epostplaces import Slot
from mailguard.firewall.epoststate import State
from mailguard.firewall.interface import FirewallError
from mailguard.model import Network

#: Seconds between looks, and between two at a table that is being changed; how often it is waited for.
EVERY, REST, RESTS = 30.0, 1.0, 10
#: The text of a row -> owner, piece and end of the ban that wants it.
Wanted = Mapping[bytes, tuple[Network, Network, float]]


class Look:
    """Compares the slots of these tables with the tables. `written(path)` is called when the state file has
    all places of a table; `tell(topic, words)`: something to be said."""

    def __init__(
        self,
        tables: Sequence[TableFile],
        state: State,
        written: Callable[[str], None],
        tell: Callable[[str, str], None],
    ):
        self.tables = list(tables)
        self.state = state
        self._written = written
        self._tell = tell
        self._seen: dict[str, Stamp] = {}  # by kind: as it was when it was looked at
        self._moving: dict[str, tuple[Stamp, int]] = {}  # changed since, and how often it was waited for
        self._begun = self._next = float("-inf")

    def whole(self) -> list[str]:
        """Look at all tables; why some could not be read."""
        reasons = []
        for table in self.tables:
            try:
                self.at(table)
            except FirewallError as error:
                reasons.append(str(error))
        return reasons

    def at(self, table: TableFile) -> None:
        """Look at one table. Raises FirewallError when it cannot be read."""
        stamp = table.stamp()
        with table.opened() as handle:
            before = {(slot.number, slot.offset, slot.live) for slot in table.slots()}
            revived = table.recognise(table.content(handle))
        if table.fresh_past or before != {(slot.number, slot.offset, slot.live) for slot in table.slots()}:
            self._write(table)
        if stamp is not None:
            self._seen[table.kind] = stamp
        if revived:
            rows = own.in_words(table.kind, [slot.text for slot in revived])
            self._tell(
                "",
                f"{table.path}: {rows} that had been withdrawn counted again, so an old copy was saved over "
                "it; withdrawn anew (who wants such a row for himself writes one without the 0)",
            )

    def _write(self, table: TableFile) -> None:
        self.state.replace(table.path, table.slots(), table.fresh_past)
        table.fresh_past.clear()
        self._written(table.path)

    def due(self, now: float) -> tuple[list[TableFile], float]:
        """The tables that were changed and have come to rest; when to ask again. In wall seconds."""
        if self._begun <= now < self._next:
            return [], self._next
        found = []
        for table in self.tables:
            stamp = table.stamp()
            if stamp is None or stamp == self._seen.get(table.kind):
                self._moving.pop(table.kind, None)
                continue
            before, waited = self._moving.get(table.kind, (None, 0))
            if stamp == before or waited >= RESTS:
                del self._moving[table.kind]
                found.append(table)
            else:
                self._moving[table.kind] = stamp, waited + 1
        self._begun, self._next = now, now + (REST if self._moving else EVERY)
        return found, self._next

    def adopt(self, wanted: Mapping[str, Wanted]) -> bool:
        """After the list of own rows was lost: rows that would have to be written now and stand already are
        ours. What else has the form of our rows is said. False while a table cannot be read; `wanted`: by
        kind."""
        whole = True
        for table in self.tables:
            try:
                with table.opened() as handle:
                    data = table.content(handle)
            except FirewallError:
                whole = False
                continue
            rest = []
            adopted = False
            known = {slot.offset for slot in table.slots()}
            for offset, length, text in own.unknown(table.kind, data, known):
                due = wanted.get(table.kind, {}).get(text)
                if due is not None and data.endswith(b"\n", offset, offset + length):
                    table.file(Slot(offset, data[offset : offset + length], True, *due))
                    adopted = True
                else:
                    rest.append(text)
            if adopted:
                self._write(table)
            if rest:
                self._tell(
                    f"unknown {table.path}",
                    f"{table.path}: {own.in_words(table.kind, rest)} in the form that mailguard writes, but "
                    "its list of own rows is new and does not know them, so nothing will withdraw them; take "
                    "out what is nobody's, by hand or with `mailguard epost compact --unknown`",
                )
        return whole
