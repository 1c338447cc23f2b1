"""The driver `epost`: bans as rows of E-Post's own reject tables, and on request as lines of effect.dat.

A client that a reject table names is turned away before the banner, on every port of that service; so a ban
of any scope goes into all tables that the action names. Where E-Post's lock time is known a row carries the
time at which it ends by itself; otherwise it stands until it is withdrawn, which `tick` does at the end of
each ban.

A lift is written down before its rows are withdrawn, a ban before its rows count (see `epostwork`); so
after a crash at any point `open` can put right what is not.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from mailguard.clock import Clock
from mailguard.definitions.eposttables import STATE
from mailguard.epost import effect, tables
from mailguard.firewall.desired import FOREVER, Bans, Changes, Key
from mailguard.firewall.driver import Differences, Driver, expires
from mailguard.firewall.epostcarve import Allowed
from mailguard.firewall.epostdisk import Disk, explained
from mailguard.firewall.epostfile import TableFile
from mailguard.firewall.epostlook import Look
from mailguard.firewall.epostplan import Plan
from mailguard.firewall.epoststate import State
from mailguard.firewall.epostwork import ADD, WITHDRAW, Operation, Work
from mailguard.firewall.interface import SCOPES, FirewallError, Standing
from mailguard.model import Network, Notice
from mailguard.notation import format_duration, format_network

FILES = {**tables.FILES, "effect": effect.FILE}


class Epost(Driver):
    """Bans in the tables of one E-Post server.

    `program`: the folder of the tables. `kinds`: which of FILES. `locks`: AuthLockOutTime of each service in
    seconds, 0 for ever; a missing one is not known. `prefixes`: whether this build knows IPv6 prefixes (those
    from 2021-12 do). `crlf`: the line end of a table that is still empty.
    """

    name = "epost"
    keeps_root = True  # the tables belong to E-Post's administrator

    def __init__(
        self,
        program: str,
        kinds: Sequence[str] = tuple(tables.FILES),
        locks: Mapping[str, float] | None = None,
        prefixes: bool = True,
        crlf: bool = False,
        state: str = STATE,
        clock: Clock | None = None,
        ports: Mapping[str, Sequence[int]] | None = None,
        disk: Disk | None = None,
    ):
        super().__init__(clock, ports)
        self.locks = dict(locks or {})
        self.caveat = ends_in_words({kind: self.locks.get(kind) for kind in kinds})
        disk = disk or Disk()
        end = b"\r\n" if crlf else b"\n"
        self.tables = [
            TableFile(os.path.join(program, FILES[kind]), kind, disk, kind != "effect", end) for kind in kinds
        ]
        self.state = State(state)
        self.work = Work(self.tables, self.state, self._tell)
        self.rows = Plan(self.tables, self.locks, prefixes, self._tell)
        self.sight = Look(self.tables, self.state, self.work.written, self._tell)
        self._loaded = False
        self._restored = False  # before, nobody knows which rows are needed
        self._ends: list[tuple[float, Network]] = []  # heap; an entry may be out of date
        self._told: set[str] = set()
        self._said: list[str] = []

    # ---- the two halves

    def plan(self, changes: Changes, now: float) -> list[Operation]:
        owners = dict.fromkeys(Network(address, prefix) for _, address, prefix in changes)
        return [one for owner in owners for one in self.rows.changes(owner, self._end(owner, now, changes))]

    def _end(self, owner: Network, now: float, changes: Mapping[Key, float | None]) -> float | None:
        """When the last ban of a network ends, over all scopes; None: there is none."""
        ends = []
        for scope in range(len(SCOPES)):
            key = (scope, owner.address, owner.prefix)
            until = changes[key] if key in changes else self.desired.bans.get(key)
            if until is not None and until > now:
                ends.append(until)
        return max(ends, default=None)

    def apply(self, operations: Sequence[Operation]) -> None:
        self.work.do(operations)

    def text(self, operation: Operation) -> str:
        file = FILES[operation.kind]
        if operation.verb == ADD:
            return f"{file}: add {operation.text.decode('ascii')}"
        return f"{file}: {operation.verb} {format_network(operation.piece)}"

    def change(self, changes: Changes, now: float) -> None:
        before = {key: self.desired.bans.get(key) for key in changes}
        news = {key: until for key, until in changes.items() if before[key] != until}
        self._settle(now)
        self.work.do(self.plan(changes, now), news)
        self.desired.commit(changes)
        self._expect((until, Network(key[1], key[2])) for key, until in changes.items() if until)

    # ---- the whole

    def restore(self, bans: Bans, now: float, gone: Sequence[Key] = ()) -> list[tuple[Key, float]]:
        self._restored = False
        saved = self._load()
        left_out = set(gone)
        found = [
            (key, until)
            for key, until in saved.items()
            if until > now and key not in bans and key not in left_out
        ]
        away = self.sight.whole()
        ends: dict[Network, float] = {}
        for (_, address, prefix), until in (*bans.items(), *found):
            owner = Network(address, prefix)
            ends[owner] = max(until, ends.get(owner, 0.0))
        if self.state.fresh and self.sight.adopt(self.rows.wanted(ends)):
            self.state.settled()
        owners = {owner: None for table in self.tables for owner in table.rows} | ends
        operations = [one for owner in owners for one in self.rows.changes(owner, ends.get(owner))]
        changes: Changes = {key: None for key, until in saved.items() if until <= now or key in left_out}
        changes |= {key: until for key, until in bans.items() if saved.get(key) != until}
        self.work.do(operations, changes)
        self._ends = [(until, owner) for owner, until in ends.items() if until != FOREVER]
        heapify(self._ends)
        self._restored = True
        if away:  # also where nothing was to be changed in it
            raise FirewallError("; ".join(dict.fromkeys(away)), later=True)
        return found

    def _load(self) -> Bans:
        """The bans as the state file has them; at first with the rows and the networks that pass."""
        if self._loaded:
            return dict(self.desired.bans)
        saved, slots = self.state.load()
        for table in self.tables:
            table.reset(slots.get(table.path, ()))
            table.past = dict.fromkeys(self.state.past(table.path))
        self.allowed = self.state.allowed()
        self.rows.passing = Allowed(self.allowed)
        self._loaded = True
        if self.state.broken:
            self._tell(
                "state",
                f"the list of own rows could not be read and was put aside as {self.state.broken}; "
                "it is begun anew",
            )
        return saved

    def _settle(self, now: float) -> None:
        """Look which rows count after a write that failed and may have been done all the same, or where a
        table could not be read before; the next `tick` withdraws those that no ban needs."""
        for table in self.tables if self._restored else ():
            doubtful = {slot.owner for slot in table.unsure if slot.owner is not None}
            if not doubtful:
                continue
            with contextlib.suppress(FirewallError):
                self.sight.at(table)
                for owner in doubtful:
                    heappush(self._ends, (now, owner))

    def remove(self) -> None:
        self._load()
        self.sight.whole()
        operations = [
            Operation(WITHDRAW, table.kind, slot.owner, slot.piece, 0.0, top=slot.top)
            for table in self.tables
            for slot in table.live()
            if slot.owner is not None and slot.piece is not None
        ]
        everything: Changes = dict.fromkeys([*self.state.load()[0], *self.desired.bans])
        self.work.do(operations, everything, [])
        self.allowed = []
        self.rows.passing = Allowed(())
        self._ends = []

    def close(self, keep: bool) -> None:
        super().close(keep)
        self.work.do([])
        self.state.close()
        self._loaded = self._restored = False

    # ---- networks that pass

    def set_allowed(self, networks: Sequence[Network]) -> None:
        """Cut them out of the rows; where lines are reserved at the top, name them there too."""
        self._load()
        changed = set(networks) ^ set(self.rows.passing.networks)
        before, self.rows.passing = self.rows.passing, Allowed(networks)
        now = self.clock.now()
        try:
            owners = {Network(address, prefix) for _, address, prefix in self.desired.bans}
            operations = [
                one
                for owner in sorted(owners)
                if self.rows.passing.touches(owner, changed)
                for one in self.rows.changes(owner, self._end(owner, now, {}))
            ]
            for table in self.tables:
                operations += self.rows.unnamed(table, networks)
            self.work.do(operations, None, networks)
            self.work.do([one for table in self.tables for one in self.rows.named(table, networks)])
        except FirewallError:
            self.rows.passing = before
            raise

    # ---- looking

    def look(self) -> dict[Key, Standing]:
        now = self.clock.now()
        missing = self._missing(now)
        return {
            key: Standing(expires(until))
            for key, until in self.desired.bans.items()
            if until > now and Network(key[1], key[2]) not in missing
        }

    def _missing(self, now: float) -> set[Network]:
        """The banned networks that not every table keeps out. FirewallError when one cannot be read."""
        owners = {Network(key[1], key[2]) for key, until in self.desired.bans.items() if until > now}
        missing: set[Network] = set()
        for table in self.tables:
            if table.kind == "effect" and len(self.tables) > 1:
                continue  # as many as there are free lines
            with table.opened() as handle:
                data = table.content(handle)
            elsewhere: set[bytes] | None = None  # every line, when somebody moved some
            for owner in owners:
                there = table.rows.get(owner, {})
                for piece in self.rows.passing.pieces(owner):
                    slot = there.get(piece)
                    if slot is not None and table.stands(data, slot):
                        continue
                    if elsewhere is None:
                        elsewhere = {text for _, _, text in tables.lines(data)}
                    if slot is None or slot.text not in elsewhere:
                        missing.add(owner)
        return missing

    def missing_layout(self) -> list[str]:
        words = []
        for table in self.tables:
            try:
                os.stat(table.path)
            except OSError as error:
                words.append(explained(table.path, error))
        return words

    def compare(self, now: float) -> Differences:
        missing = self._missing(now)
        wrong = [
            key
            for key, until in self.desired.bans.items()
            if until > now and (owner := Network(key[1], key[2])) in missing and self._can(owner)
        ]
        return Differences(sorted(wrong), [], [])

    def _can(self, owner: Network) -> bool:
        return any(self.rows.possible(table, owner) for table in self.tables)

    def mend(self, differences: Differences, now: float) -> None:
        self._settle(now)
        self.sight.whole()
        owners = {Network(address, prefix) for _, address, prefix in differences.wrong}
        self.work.do(
            [one for owner in sorted(owners) for one in self.rows.changes(owner, self._end(owner, now, {}))]
        )

    # ---- ends

    def _expect(self, ends: Iterable[tuple[float, Network]]) -> None:
        for end in ends:
            if end[0] != FOREVER:
                heappush(self._ends, end)

    def purge(self, now: float) -> None:
        """Nothing is forgotten here: `tick` withdraws what is over."""

    def tick(self, now: float) -> float | None:
        """Withdraw what is over; when the next ban ends. Raises FirewallError: what failed is tried again."""
        self._settle(now)
        looked, later = self.sight.due(now) if self._restored else ([], None)
        for table in looked:
            with contextlib.suppress(FirewallError):  # a look at all tables says so
                self.sight.at(table)
        over = set()
        while self._ends and self._ends[0][0] <= now:
            over.add(heappop(self._ends)[1])
        keys: Changes = {
            (scope, owner.address, owner.prefix): None
            for owner in over
            for scope in range(len(SCOPES))
            if self.desired.bans.get((scope, owner.address, owner.prefix), FOREVER) <= now
        }
        operations = [
            one for owner in sorted(over) for one in self.rows.changes(owner, self._end(owner, now, keys))
        ]
        if operations or keys or any(table.surplus for table in looked):
            try:
                self.work.do(operations, keys)
            except FirewallError:
                for owner in over:
                    heappush(self._ends, (now, owner))
                raise
            self.desired.commit(keys)
        ends = self._ends[0][0] if self._ends else None
        return min((time for time in (ends, later) if time is not None), default=None)

    # ---- what is said

    def _tell(self, topic: str, words: str) -> None:
        """Say something; each topic once."""
        if topic and topic in self._told:
            return
        self._told.add(topic)
        self._said.append(words)

    def notices(self) -> list[Notice]:
        said, self._said = self._said, []
        return [*super().notices(), *(Notice("firewall-table", {"what": words}) for words in said)]


def ends_in_words(locks: Mapping[str, float | None]) -> str:
    """How rows end, given the lock time of each table (None: not known)."""
    known = {kind: lock for kind, lock in locks.items() if lock and kind != "effect"}
    others = [FILES[kind] for kind in locks if kind not in known]
    words = []
    if known:
        times = ", ".join(f"{FILES[kind]} {format_duration(lock)}" for kind, lock in known.items())
        words.append(f"rows end by themselves, by E-Post's lock time as stated ({times})")
    if others:
        words.append(f"rows in {', '.join(others)} stand until mailguard takes them away")
    return "; ".join(words)


def probe(driver: Epost) -> str:
    """Why the tables cannot be written now, in plain words; "" when they can. Changes nothing."""
    reasons = []
    for table in driver.tables:
        try:
            with table.opened():
                pass
        except FirewallError as error:
            reasons.append(str(error))
    return "; ".join(dict.fromkeys(reasons))
