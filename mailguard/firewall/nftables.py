"""The nftables driver: hosts in hash sets, networks as flat pieces in interval sets, kernel timeouts,
counters.

Every change is one transaction. To renew or delete an element the transaction first adds it (which does
nothing when it is there), then deletes it, then adds it anew: that is right on every kernel and whether it
was there or not. When a transaction fails, because somebody flushed the ruleset or put overlapping ranges
in, everything is made again from what is desired, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailguard.clock import Clock
from mailguard.firewall import native, netlink, nftlayout, wire
from mailguard.firewall.desired import FOREVER, KINDS, Bans, Changes, Key, kind_of
from mailguard.firewall.driver import Attend, Differences, Driver
from mailguard.firewall.interface import SCOPES, FirewallError, Standing
from mailguard.firewall.libnftables import Nft, NftError
from mailguard.firewall.nftsets import HOSTS, MANY, NETS, PREFIX, Sets, every, foreign, of_set, plan_nets
from mailguard.firewall.nftview import (
    Operation,
    host,
    range_text,
    standing_hosts,
    standing_nets,
    wrong_hosts,
    wrong_pieces,
)
from mailguard.model import Network
from mailguard.notation import V6

#: Hosts that get their counters in one `tick`, and seconds until the next: a fraction of a millisecond each.
_COUNTED_AT_ONCE, _COUNTED_EVERY = 50, 0.01


class Nftables(Driver):
    """Bans in table `inet mailguard` of this network namespace.

    Owns: the table. Needs CAP_NET_ADMIN. Raises FirewallError.
    """

    name = "nftables"
    capabilities = ("net_admin",)
    remakes = True
    close_sockets = True

    def __init__(
        self,
        clock: Clock | None = None,
        ports: Mapping[str, Sequence[int]] | None = None,
        table: str = nftlayout.TABLE,
        priority: int = nftlayout.PRIORITY,
    ):
        super().__init__(clock, ports)
        self.table = table
        self.priority = priority
        self._sets: Sets | None = None
        self._ears: netlink.Netlink | None = None
        self._standing: dict[str, bytes] = {}
        self._generation = -1
        self._made_for: dict[str, tuple[int, ...]] = {}  # the ports in the rules
        self._uncounted: list[Key] = []
        self._compiled = native.load()  # now: the enforcer may later be a user who cannot read our folder

    @property
    def sets(self) -> Sets:
        """The kernel's sets; the socket is made when first needed, in the namespace of that moment."""
        if self._sets is None:
            try:
                self._sets = Sets(self.table)
            except OSError as error:
                raise FirewallError(f"nftables: {error.strerror or error}", lost=True) from error
        return self._sets

    # ---- plan and apply

    def plan(self, changes: Changes, now: float) -> list[Operation]:
        operations: list[Operation] = []
        nets: dict[tuple[int, str], Changes] = {}
        bans = self.desired.bans
        for key, until in changes.items():
            kind = kind_of(key[1], key[2])
            if kind in NETS:
                nets.setdefault((key[0], kind), {})[key] = until
            elif until is None:
                operations.append(host("delete", key))
            elif bans.get(key) != until:
                operations.append(host("renew" if key in bans else "add", key, until, now))
        for (scope, kind), changed in nets.items():
            operations += plan_nets(self.desired.nets(scope, kind, now), changed, scope, kind, now)
        return operations

    def at_once(self, key: Key, until: float, now: float) -> bool:
        scope, address, prefix = key
        if key in self.desired.bans or prefix not in (32, 64, 128) or (prefix == 32) != (address < V6):
            return False
        try:
            return self.sets.add_host(scope, address, prefix, max(1, int((until - now) * 1000)))
        except (OSError, FirewallError):
            return False  # the long way meets the same and says it

    def attend(self) -> Attend | None:
        if self._compiled is None:
            return None
        ready = [
            self.sets.prepared(scope, v6, prefix)
            for scope in range(len(SCOPES))
            for v6, prefix in ((False, 32), (True, 128), (True, 64))
        ]
        wait = self._compiled.Hot([(one.whole, *one.places) for one in ready], wire.LONGEST).wait

        def attend(
            judge: int, others: list[int], timeout: int, buffer: bytearray
        ) -> list[int] | int | tuple[int, Key, float, bool]:
            link = self.sets.link
            found: list[int] | int | tuple[int, Key, float, bool]
            found = wait(judge, link.fileno(), others, timeout, buffer, self.desired.bans, link.reserve(3))
            return found

        return attend

    def text(self, operation: Operation) -> str:
        verb, scope, kind, low, high, timeout = operation
        where = f"element inet {self.table} {nftlayout.set_name(scope, kind)}"
        timed = f" timeout {timeout // 1000}s" if timeout else ""
        deleted = f"delete {where} {{ {range_text(low, high)} }}"
        counter = "" if kind in NETS else " counter"
        added = f"add {where} {{ {range_text(low, high)}{counter}{timed} }}"
        return {"add": added, "delete": deleted, "renew": f"{deleted}; {added}"}[verb]

    def apply(self, operations: Sequence[Operation]) -> None:
        self.sets.apply(operations)

    # ---- making everything

    def restore(self, bans: Bans, now: float, gone: Sequence[Key] = ()) -> list[tuple[Key, float]]:
        return self.make(bans, now, gone)

    def restore_soon(self, bans: Bans, now: float) -> tuple[list[tuple[Key, float]], bool]:
        if self._standing and self._made_for == self.ports and not self.missing_layout():
            # A judge came back to a table that stands: only what is new to it has to go in.
            before = self.desired.alive(now)
            self.apply(
                self.plan({key: until for key, until in bans.items() if before.get(key) != until}, now)
            )
            return [], True
        thorough = len(bans) <= MANY
        return self.make(bans, now, thorough=thorough), not thorough

    def make(
        self, bans: Bans, now: float, gone: Sequence[Key] = (), thorough: bool = True
    ) -> list[tuple[Key, float]]:
        """`restore`; what is in `gone` is removed. Without `thorough` host sets that stand are filled but not
        read: reading a hundred thousand elements takes seconds, and `compare` can do it elsewhere."""
        sets = self.sets
        found: Bans = {}
        # Pieces of what was desired until now are nobody else's, also where they end later than what is now.
        explained = dict.fromkeys(gone, FOREVER)
        for scope, kind in every(*NETS):
            for key, until in self.desired.nets(scope, kind, now).items():
                explained.setdefault(key, max(until, bans.get(key, 0.0)))
        try:
            stood = bool(nftlayout.fingerprint(sets.link, self.table))
            try:
                self._run(nftlayout.sets(self.table))
            except NftError:
                # Sets of another shape: an older version's, or somebody's. What they hold is kept.
                found = sets.foreign({**bans, **explained}, now) if stood else {}
                stood = False
                self._run(f"delete table inet {self.table}\n" + nftlayout.sets(self.table))
            if stood and thorough:
                found |= sets.fit_hosts(bans, now, gone)
            else:
                self._uncounted = sets.pour_hosts(bans | found, now)
            found |= sets.fit_nets(bans | found, now, explained, read=stood)
            sets.fill_allowed(self.allowed)
            self._make_rules()
            self._made_for = self.ports
            self._remember()
        except (NftError, netlink.InterruptedDump) as error:
            raise FirewallError(f"nftables: {error}", lost=True) from error
        except OSError as error:
            raise FirewallError(f"nftables: {error.strerror or error}", lost=True) from error
        return [item for item in found.items() if item[0] not in bans]

    def _make_rules(self) -> None:
        rules = nftlayout.rules(self.ports, self.table, self.priority)
        try:
            self._run(rules)
        except NftError:
            # A chain that hooks elsewhere than ours cannot be changed, only made anew.
            chain = f"chain inet {self.table} prerouting"
            self._run(f"flush {chain}\ndelete {chain}\n{rules}")

    def _run(self, script: str) -> None:
        with Nft() as nft:
            nft.run(script)

    def _remember(self) -> None:
        """Take what stands now for what must stand."""
        self.touched()  # drops the notices of our own work
        self._generation = self.sets.link.generation()
        self._standing = nftlayout.fingerprint(self.sets.link, self.table)

    def set_allowed(self, networks: Sequence[Network]) -> None:
        self.sets.fill_allowed(networks)

    def remove(self) -> None:
        self._uncounted, self._standing = [], {}
        try:
            self._run(f"add table inet {self.table}\ndelete table inet {self.table}\n")
        except NftError as error:
            raise FirewallError(f"nftables: {error}") from error

    def close(self, keep: bool) -> None:
        super().close(keep)
        for link in (self._sets, self._ears):
            if link is not None:
                link.close()
        self._sets = self._ears = None

    # ---- reading

    def look(self) -> dict[Key, Standing]:
        now = self.clock.now()
        seen: dict[Key, Standing] = {}
        try:
            for scope, kind in every(*HOSTS):
                there = self.sets.read_hosts(scope, kind, of_set(self.desired.bans, scope, kind))
                seen |= standing_hosts(there, scope, PREFIX[kind], now)
            for scope, kind in every(*NETS):
                there = self.sets.read(scope, kind)
                seen |= standing_nets(there, self.desired.nets(scope, kind, now), scope, now)
        except FileNotFoundError:
            return {}  # no table: nothing is blocked
        except OSError as error:
            raise FirewallError(f"nftables: {error.strerror or error}") from error
        return seen

    # ---- the reconciler's side

    def watch_fileno(self) -> int | None:
        if self._ears is None:
            self._ears = netlink.Netlink(netlink.GROUP_NFTABLES)
        return self._ears.fileno()

    def touched(self) -> bool:
        if self._ears is None:
            return False
        name, own = self.table.encode() + b"\0", self.sets.link.port
        foreign_change = False
        try:
            for kind, port, view in self._ears.overheard():
                if port != own and kind != netlink.NEWGEN:
                    subject = netlink.attributes(view).get(1, b"")  # the table, in every kind of notice
                    foreign_change = foreign_change or bytes(subject) == name
        except OSError:
            return True  # some notices were lost: look for yourself
        return foreign_change

    def missing_layout(self) -> list[str]:
        if not self._standing:
            return []
        try:
            generation = self.sets.link.generation()
            if generation == self._generation:
                return []
            words = nftlayout.differing(self._standing, nftlayout.fingerprint(self.sets.link, self.table))
        except (OSError, netlink.InterruptedDump):
            return []  # asked again at the next notice or tick
        if not words:
            self._generation = generation
        return words

    def compare(self, now: float) -> Differences:
        wrong: set[Key] = set()
        strange: Bans = {}
        # What ends within a second may or may not be there.
        desired = {key: until for key, until in self.desired.bans.items() if until > now + 1}
        for scope, kind in every(*KINDS):
            wanted = of_set(desired, scope, kind)
            there = self.sets.read(scope, kind) if kind in NETS else self.sets.read_hosts(scope, kind, wanted)
            strange |= foreign(there, self.desired.bans, scope, kind, now)
            if kind in NETS:
                wrong.update(wrong_pieces(there, wanted, scope, kind, now)[1])
            else:
                missing, other = wrong_hosts(there, wanted, now)
                if len(missing) <= MANY:
                    # A hash set that changes while it is read can hide an element.
                    missing = [key for key in missing if not self.sets.there(key)]
                wrong.update(missing, other)
        return Differences(sorted(wrong), sorted(strange.items()), [])

    def mend(self, differences: Differences, now: float) -> None:
        bans = self.desired.bans
        self.desired.adopt(differences.foreign)
        wrong = [key for key in differences.wrong if bans.get(key, 0.0) > now]
        hosts = [key for key in wrong if kind_of(key[1], key[2]) not in NETS]
        self.apply([host("renew", key, bans[key], now) for key in hosts])
        if len(hosts) < len(wrong):
            try:
                self.desired.adopt(self.sets.fit_nets(self.desired.alive(now), now).items())
            except OSError as error:
                raise FirewallError(f"nftables: {error.strerror or error}") from error

    def in_child(self) -> None:
        self._sets = None  # two processes must not share a socket

    def tick(self, now: float) -> float | None:
        """Give restored hosts their counters, a few at a time."""
        if not self._uncounted:
            return None
        part = self._uncounted[-_COUNTED_AT_ONCE:]
        del self._uncounted[-_COUNTED_AT_ONCE:]
        bans = self.desired.bans
        self.apply([host("renew", key, bans[key], now) for key in part if bans.get(key, 0.0) > now + 1])
        return now + _COUNTED_EVERY
