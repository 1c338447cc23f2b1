"""The driver `synology`: bans as entries of DSM's auto block list.

A NAS sends its log to this machine, or runs the guard itself; a ban on the collector keeps nobody from the
NAS. There the list is asked by DSM's own logins (mail among them); it is no packet filter, so port 25 still
takes mail from a blocked address.

Two ways. "table": rows of the database, which end by themselves, so that a dead guard locks nobody out for
ever. "webapi": a command of the administrator's that calls DSM's API, here or over ssh; such entries stand
until `tick` takes them away.

The list knows single addresses and no scopes: an address is in it as long as any ban covers it. A small
network becomes its addresses; a wider one is refused, and that is said. Addresses on DSM's allow list are
never blocked. Entries of others are never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mailguard.clock import Clock
from mailguard.core.networks import without
from mailguard.firewall.desired import FOREVER, Bans, Changes, Key
from mailguard.firewall.driver import Differences, Driver, expires
from mailguard.firewall.interface import SCOPES, FirewallError, Standing
from mailguard.firewall.synologystate import STATE, Entry, State
from mailguard.firewall.synologytable import DATABASE, AutoBlock, Put, Row
from mailguard.firewall.synologyweb import WebApi
from mailguard.model import Network, Notice
from mailguard.notation import (
    V6,
    covers,
    format_address,
    format_duration,
    format_network,
    host_prefix,
    network_of,
)

#: Addresses that one network may become: a row each, or a program to be run for each.
EXPAND_TABLE, EXPAND_WEBAPI = 256, 16
_TOLD = 1000


class Operation(NamedTuple):
    """One entry: put in until then, or taken out (None). `seconds`: how long that is."""

    entry: Network
    until: float | None
    seconds: float = 0.0


class Synology(Driver):
    """Bans in the block list of one NAS.

    `create`, `delete`: argument lists for "webapi", with {address} or {network}; with {network} networks of
    any size are handed to DSM as they are. `expand`: how many addresses a network may become.
    """

    name = "synology"
    keeps_root = True  # the list belongs to root; a command may need more

    def __init__(
        self,
        via: str = "table",
        database: str = DATABASE,
        create: Sequence[str] = (),
        delete: Sequence[str] = (),
        expand: int | None = None,
        state: str = STATE,
        timeout: float = 20.0,
        clock: Clock | None = None,
        ports: Mapping[str, Sequence[int]] | None = None,
    ):
        super().__init__(clock, ports)
        self.table = AutoBlock(database) if via == "table" else None
        self.web = WebApi(create, delete, timeout, self._tell)
        self._whole = self.table is None and self.web.whole
        usual = EXPAND_WEBAPI if self.table is None else EXPAND_TABLE
        self.expand = usual if expand is None else expand
        self.state = State(state)
        self.entries: dict[Network, Entry] = {}  # ours in the list
        self._told: set[str] = set()
        self._said: list[str] = []
        words = [] if self.table is not None else ["its entries stand until the guard takes them away"]
        if not self._whole:
            words.append("of IPv6 networks it holds the addresses that did something, as they come")
        self.wants_hosts = not self._whole
        self.caveat = "; ".join(words)

    # ---- which entries a ban needs

    def refusal(self, network: Network) -> str:
        """Why the list cannot hold that network, as a sentence; "" when it can."""
        bits, name = host_prefix(network.address) - network.prefix, format_network(network)
        if self._whole:
            if bits and any(covers(network, one) for one in self.allowed):
                return (
                    f"{name} is not kept out of the NAS: an allowed host is inside, and DSM takes the "
                    "network only as a whole"
                )
            return ""
        if bits < 32 and 1 << bits <= self.expand:
            return ""
        if network.address < V6:
            return (
                f"{name} is not kept out of the NAS: DSM's block list knows single addresses, and this "
                f"network has more than {self.expand} of them"
            )
        return (
            f"{name} is not kept out of the NAS: DSM's block list knows single addresses, and this network "
            f"has more than {self.expand} of them; those that did something are, as they come, and no others"
        )

    def pieces(self, network: Network, say: bool = False) -> list[Network]:
        """The entries for a banned network, without the allowed hosts in it. With `say` it is said once where
        there can be none."""
        words = self.refusal(network)
        if words:
            if say:
                self._tell(words)
            return []
        if self._whole:
            return without(network, self.allowed)
        length = host_prefix(network.address)
        return [
            Network(piece.address + one, length)
            for piece in without(network, self.allowed)
            for one in range(1 << (length - piece.prefix))
        ]

    def _end(self, entry: Network, now: float, changes: Changes) -> float | None:
        """When the last ban that needs an entry ends; None: no ban needs it."""
        length = host_prefix(entry.address)
        widest = entry.prefix if self._whole else length - max(0, self.expand.bit_length() - 1)
        latest: float | None = None
        for prefix in range(widest, entry.prefix + 1):
            around = network_of(entry.address, prefix, prefix)
            for scope in range(len(SCOPES)):
                key = (scope, around.address, around.prefix)
                until = changes[key] if key in changes else self.desired.bans.get(key)
                if until is not None and until > now and (latest is None or until > latest):
                    latest = until
        if latest is not None and (
            any(covers(one, entry) for one in self.allowed) or (self._whole and self.refusal(entry))
        ):
            return None
        return latest

    def _operations(self, entries: Iterable[Network], now: float, changes: Changes) -> list[Operation]:
        """What brings these entries to where the bans want them."""
        found = []
        for entry in dict.fromkeys(entries):
            until = self._end(entry, now, changes)
            there = self.entries.get(entry)
            if until is not None and (there is None or there.until != until):
                found.append(Operation(entry, until, until - now))
            elif until is None and there is not None:
                found.append(Operation(entry, None))
        return found

    # ---- the two halves

    def plan(self, changes: Changes, now: float) -> list[Operation]:
        networks: dict[Network, bool] = {}
        for (_, address, prefix), until in changes.items():
            network = Network(address, prefix)
            networks[network] = networks.get(network, False) or until is not None
        entries = (one for network, wanted in networks.items() for one in self.pieces(network, wanted))
        return self._operations(entries, now, changes)

    def text(self, operation: Operation) -> str:
        if self.table is None:
            return self.web.text(operation.entry, operation.until is not None)
        address = format_address(operation.entry.address)
        if operation.until is None:
            return f"block list: take out {address}"
        length = "ever" if operation.until == FOREVER else format_duration(operation.seconds)
        return f"block list: put in {address} for {length}"

    def apply(self, operations: Sequence[Operation]) -> None:
        if self.table is not None:
            self._apply_table(self.table, operations)
        else:
            self._apply_webapi(self.web, operations)

    def _apply_table(self, table: AutoBlock, operations: Sequence[Operation]) -> None:
        now = self.clock.now()
        puts: dict[Network, Entry] = {}
        drops: dict[Network, Entry] = {}
        for entry, until, _ in operations:
            there = self.entries.get(entry)
            if until is not None:
                puts[entry] = Entry(until, there.recorded if there is not None else int(now))
            elif there is not None:
                drops[entry] = there
        self.state.note(entries=puts)
        kept = table.change(
            {entry.address: Put(*one, fresh=entry not in self.entries) for entry, one in puts.items()},
            {entry.address: one.recorded for entry, one in drops.items()},
            now,
        )
        for address in kept.allowed:
            self._tell(f"{format_address(address)} is on the NAS's own allow list and is not kept out there")
        length = {address: host_prefix(address) for address in (*kept.allowed, *kept.foreign)}
        gone = [*drops, *(Network(address, prefix) for address, prefix in length.items())]
        for entry in gone:
            puts.pop(entry, None)
            self.entries.pop(entry, None)
        self.entries |= puts
        self.state.note(gone=gone)

    def _apply_webapi(self, web: WebApi, operations: Sequence[Operation]) -> None:
        """One call for each entry; those that worked are remembered also when others failed."""
        now = int(self.clock.now())
        failed: FirewallError | None = None
        for entry, until, _ in operations:
            there = self.entries.get(entry)
            try:
                if until is not None:
                    one = Entry(until, now if there is None else there.recorded)
                    self.state.note(entries={entry: one})
                    if there is None and not web.put(entry):
                        self.state.note(gone=[entry])
                        continue
                    self.entries[entry] = one
                elif there is not None:
                    web.take(entry)  # refused: somebody took it out
                    del self.entries[entry]
                    self.state.note(gone=[entry])
            except FirewallError as error:
                failed = error
        if failed is not None:
            raise failed

    # ---- bans

    def change(self, changes: Changes, now: float) -> None:
        # A ban is noted before it stands and forgotten after it is gone: a crash between them loses none.
        self.state.note({key: until for key, until in changes.items() if until is not None})
        super().change(changes, now)
        self.state.note({key: None for key, until in changes.items() if until is None})

    def restore(self, bans: Bans, now: float, gone: Sequence[Key] = ()) -> list[tuple[Key, float]]:
        known, self.entries = self.state.load()
        left = set(gone)
        adopted = {
            key: until for key, until in known.items() if until > now and key not in bans and key not in left
        }
        wanted = {**bans, **adopted}
        changes: Changes = {**dict.fromkeys(self.desired.bans), **wanted}
        needed = [one for key in wanted for one in self.pieces(Network(key[1], key[2]), say=True)]
        if self.table is not None:
            rows = self.table.rows()
            # What the list lost meanwhile is put in again.
            for entry, one in list(self.entries.items()):
                if not _stands(rows.get(entry.address), one, now):
                    self.entries[entry] = Entry(0.0, one.recorded)
        self.state.note({**wanted}, only=True)
        self.apply(self._operations([*needed, *self.entries], now, changes))
        return list(adopted.items())

    def remove(self) -> None:
        self._loaded()
        self.apply([Operation(entry, None) for entry in self.entries])
        self.state.note({}, only=True)

    def _loaded(self) -> None:
        """Know the own entries also where nothing was opened before."""
        if not self.entries:
            _, self.entries = self.state.load()

    def set_allowed(self, networks: Sequence[Network]) -> None:
        before, self.allowed = self.allowed, list(networks)
        now = self.clock.now()
        needed = {one for key in self.desired.bans for one in self.pieces(Network(key[1], key[2]))}
        try:
            self.apply(self._operations([*needed, *self.entries], now, {}))
        except FirewallError:
            self.allowed = before
            raise

    # ---- what stands

    def look(self) -> dict[Key, Standing]:
        now = self.clock.now()
        lost = self._lost(now, mendable=False)
        return {
            key: Standing(expires(until))
            for key, until in self.desired.bans.items()
            if until > now and key not in lost
        }

    def _lost(self, now: float, mendable: bool) -> set[Key]:
        """The bans that do not stand as a whole. With `mendable` only those that we can put right: not what
        the allow list spares, nor what ends earlier because DSM's own entry stands there."""
        rows = self.table.rows() if self.table is not None else None
        lost = set()
        for key, until in self.desired.bans.items():
            if until <= now:
                continue
            pieces = self.pieces(Network(key[1], key[2]))
            denied = 0
            for entry in pieces:
                if rows is None:
                    stands, denied = entry in self.entries, denied + 1
                    row = None
                else:
                    row = rows.get(entry.address)
                    if row is not None and not row.deny:
                        continue
                    denied += 1
                    stands = row is not None and row.holds(until, now)
                foreign = row is not None and row.in_force(now) and not self._is_own(entry, row)
                if not stands and not (mendable and foreign):
                    lost.add(key)
            if not mendable and not denied:  # nothing of it is kept out
                lost.add(key)
        return lost

    def _is_own(self, entry: Network, row: Row) -> bool:
        one = self.entries.get(entry)
        return one is not None and one.recorded == row.recorded

    def compare(self, now: float) -> Differences:
        if self.table is None:
            return Differences([], [], [])  # nobody tells what stands in the list
        return Differences(sorted(self._lost(now, mendable=True)), [], [])

    def mend(self, differences: Differences, now: float) -> None:
        entries = [one for _, *place in differences.wrong for one in self.pieces(Network(*place))]
        for entry in entries:
            if entry in self.entries:
                self.entries[entry] = Entry(0.0, self.entries[entry].recorded)
        self.apply(self._operations(entries, now, {}))

    # ---- ends

    def purge(self, now: float) -> None:
        """Nothing is forgotten here: `tick` takes out what is over."""

    def tick(self, now: float) -> float | None:
        """Take out what is over; when the next ban ends. Raises FirewallError: what failed is tried again."""
        over: Changes = {key: None for key, until in self.desired.bans.items() if until <= now}
        entries = [entry for entry, one in self.entries.items() if one.until <= now]
        try:
            operations = self._operations(entries, now, over)
            if operations:
                self.apply(operations)
        finally:
            if over:
                self.desired.commit(over)
        if over:
            self.state.note(over)
        ends = [*self.desired.bans.values(), *(one.until for one in self.entries.values())]
        return min((until for until in ends if until != FOREVER), default=None)

    # ---- words

    def _tell(self, words: str) -> None:
        """Say something once."""
        if words not in self._told and len(self._told) < _TOLD:
            self._told.add(words)
            self._said.append(words)

    def notices(self) -> list[Notice]:
        said, self._said = self._said, []
        return [*super().notices(), *(Notice("firewall-table", {"what": words}) for words in said)]

    def probe(self) -> str:
        """Why this cannot work here; "" when it can."""
        return self.web.probe() if self.table is None else self.table.probe()


def _stands(row: Row | None, one: Entry, now: float) -> bool:
    """Whether the list still has our entry as it was written."""
    return row is not None and row.recorded == one.recorded and row.holds(one.until, now)
