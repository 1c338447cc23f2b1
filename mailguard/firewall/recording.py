"""Two drivers that block nothing: `recording` keeps bans as a kernel would, `dry-run` says what it would
do.

Recording serves replay, tests (it is the twin every other driver is compared with) and hosts without
privileges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mailguard.clock import Clock
from mailguard.firewall.desired import Bans, Changes, Key
from mailguard.firewall.driver import Driver, expires
from mailguard.firewall.interface import SCOPES, Standing
from mailguard.model import Network
from mailguard.notation import format_duration, format_network


class Note(NamedTuple):
    """One line of the record: seconds None with `put`: permanent."""

    put: bool
    key: Key
    seconds: float | None


class Recording(Driver):
    """Keeps the bans in memory; they end by the clock given."""

    name = "recording"

    def __init__(self, clock: Clock | None = None, ports: Mapping[str, Sequence[int]] | None = None):
        super().__init__(clock, ports)
        self.record: list[Note] = []  # filled while keep_record is set
        self.keep_record = False

    def plan(self, changes: Changes, now: float) -> list[Note]:
        notes = []
        for key, until in changes.items():
            if until is None:
                if self.desired.bans.get(key, 0.0) > now:
                    notes.append(Note(False, key, None))
            elif self.desired.bans.get(key) != until:
                end = expires(until)
                notes.append(Note(True, key, None if end is None else end - now))
        return notes

    def apply(self, operations: Sequence[Note]) -> None:
        if self.keep_record:
            self.record.extend(operations)

    def text(self, operation: Note) -> str:
        scope, address, prefix = operation.key
        what = f"{format_network(Network(address, prefix))} {SCOPES[scope]}"
        if not operation.put:
            return f"drop {what}"
        length = "ever" if operation.seconds is None else format_duration(operation.seconds)
        return f"put {what} for {length}"

    def restore(self, bans: Bans, now: float, gone: Sequence[Key] = ()) -> list[tuple[Key, float]]:
        return []

    def remove(self) -> None:
        pass

    def set_allowed(self, networks: Sequence[Network]) -> None:
        pass

    def look(self) -> dict[Key, Standing]:
        now = self.clock.now()
        self.desired.purge(now)
        return {key: Standing(expires(until)) for key, until in self.desired.bans.items()}


class DryRun(Recording):
    """A recording that tells each operation to `say` as text."""

    name = "dry-run"

    def __init__(
        self,
        say: Callable[[str], None],
        clock: Clock | None = None,
        ports: Mapping[str, Sequence[int]] | None = None,
    ):
        super().__init__(clock, ports)
        self.say = say

    def apply(self, operations: Sequence[Note]) -> None:
        super().apply(operations)
        for operation in operations:
            self.say(self.text(operation))
