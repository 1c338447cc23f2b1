"""The shape of every driver: `plan` says what would be done, `apply` is the only part that touches the
system.

`Driver` turns the calls of the `Firewall` protocol into plan, apply and bookkeeping, so that a new driver
is those two halves and a few answers about the system. What is desired changes only after the system took
it: after an error the same call can be repeated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mailguard.clock import Clock, SystemClock
from mailguard.firewall.desired import (
    FOREVER,
    Bans,
    Changes,
    Desired,
    Key,
    changes_of,
    changes_of_bans,
    key_of,
)
from mailguard.firewall.interface import SCOPES, FirewallError, Standing, ports_of
from mailguard.model import Ban, Effect, Network, Notice


class Differences(NamedTuple):
    """How the system differs from what is desired. Plain values: they travel between processes."""

    wrong: list[Key]  # desired, but not there or ending at another time
    foreign: list[tuple[Key, float]]  # there until then, but nobody asked
    layout: list[str]  # what of table, chains, rules or sets does not stand

    def __bool__(self) -> bool:
        return bool(self.wrong or self.foreign or self.layout)


#: The judge's descriptor, others, milliseconds (-1: for ever), a buffer. Waits, and answers which of the
#: others can be read; or how many bytes from the judge lie in the buffer now (0 when it has gone, -1 when
#: nothing came); or the one new ban that was read and that stands: the number of its frame, key, seconds, and
#: whether the judge was told. Raises OSError, FirewallError.
Attend = Callable[[int, list[int], int, bytearray], "list[int] | int | tuple[int, Key, float, bool]"]


class Driver(ABC):
    """Base of all drivers: the `Firewall` protocol by `plan` and `apply`."""

    name = ""
    #: Linux capabilities its process needs.
    capabilities: tuple[str, ...] = ()
    #: Whether its process may give up the root user.
    keeps_root = False
    #: Whether a failed operation is answered by making everything again.
    remakes = False
    #: Whether open sessions of banned hosts are closed at this end too.
    close_sockets = False
    #: Whether of IPv6 networks it can only keep out single addresses, which it must be told (`HostsToo`).
    wants_hosts = False
    #: Seconds between looks for foreign changes where the system does not tell of them.
    look_every = 60.0
    #: What an administrator should know of these bans, in a few words; "": nothing.
    caveat = ""

    def __init__(self, clock: Clock | None = None, ports: Mapping[str, Sequence[int]] | None = None):
        self.clock: Clock = clock or SystemClock()
        self.ports = ports_of(ports)
        self.desired = Desired()
        self.allowed: list[Network] = []
        #: Why everything had to be made again since `notices` was last asked.
        self.mended: list[str] = []

    # ---- the two halves

    @abstractmethod
    def plan(self, changes: Changes, now: float) -> list[Any]:
        """The operations that bring `changes` about, given what is desired so far. Pure."""

    @abstractmethod
    def apply(self, operations: Sequence[Any]) -> None:
        """Do them; on return they hold. Raises FirewallError."""

    @abstractmethod
    def text(self, operation: Any) -> str:
        """One operation as a person reads it in `action plan`."""

    @abstractmethod
    def restore(self, bans: Bans, now: float, gone: Sequence[Key] = ()) -> list[tuple[Key, float]]:
        """Make everything ready with these bans and the allowed networks, without those in `gone`; what else
        stood there is kept and returned with its ends. Raises FirewallError."""

    @abstractmethod
    def remove(self) -> None:
        """Remove everything of ours from the system."""

    @abstractmethod
    def set_allowed(self, networks: Sequence[Network]) -> None:
        """Replace the allowed set. Raises FirewallError."""

    @abstractmethod
    def look(self) -> dict[Key, Standing]:
        """The desired bans that really stand, from the system itself, and what stands unasked."""

    # ---- the reconciler's side; a driver whose system nobody else can change has nothing to add

    def watch_fileno(self) -> int | None:
        """Readable when somebody may have changed the system."""
        return None

    def touched(self) -> bool:
        """Whether somebody else changed what is ours since the last call."""
        return False

    def missing_layout(self) -> list[str]:
        """What of table, chains, sets or rules is not as it should be; cheap, changes nothing."""
        return []

    def compare(self, now: float) -> Differences:
        """How the elements differ from what is desired; may take long, changes nothing. Runs in a process of
        its own, after `in_child`. Raises FirewallError or OSError."""
        return Differences([], [], [])

    def mend(self, differences: Differences, now: float) -> None:
        """Put right what `compare` found, and adopt what is foreign. Raises FirewallError."""
        return

    def in_child(self) -> None:
        """Called in a forked process before `compare`: let go of what two processes must not share."""
        return

    def restore_soon(self, bans: Bans, now: float) -> tuple[list[tuple[Key, float]], bool]:
        """`restore` for whoever can `compare` afterwards, and whether that is needed to know all."""
        return self.restore(bans, now), False

    def at_once(self, key: Key, until: float, now: float) -> bool:
        """One new ban by the shortest way there is, before anything is remembered; False: it did not happen,
        `change` does it. Never raises. The caller remembers it by `desired.commit`."""
        return False

    def attend(self) -> Attend | None:
        """A compiled way to wait for the judge that does by itself what `at_once` does; None: there is
        none."""
        return None

    def purge(self, now: float) -> None:
        """Forget what is over; the kernel has ended it by itself."""
        self.desired.purge(now)

    def set_ports(self, ports: Mapping[str, Sequence[int]]) -> None:
        """Ports of the scopes from the next `open` on."""
        self.ports = ports_of(ports)

    def tick(self, now: float) -> float | None:
        """What is due by itself (bans that the driver must end or renew); when to come again."""
        return None

    # ---- the Firewall protocol

    def open(self, bans: Iterable[Ban], now: float) -> None:
        self.open_keys({key: until for key, until in changes_of_bans(bans, now).items() if until}, now)

    def open_keys(self, bans: Bans, now: float, soon: bool = False) -> bool:
        """`open` for bans that are keys already; `bans` belongs to the driver from now on. With `soon` the
        answer says whether `compare` must follow."""
        for key, until in self.desired.alive(now).items():
            bans.setdefault(key, until)
        found, incomplete = self.restore_soon(bans, now) if soon else (self.restore(bans, now), False)
        bans.update(found)
        self.desired.replace(bans)
        return incomplete

    def impose(self, bans: Sequence[Ban], now: float) -> None:
        self.change(changes_of_bans(bans, now), now)

    def lift(self, networks: Sequence[tuple[Network, str]]) -> None:
        self.change({key_of(network, scope): None for network, scope in networks}, self.clock.now())

    def change(self, changes: Changes, now: float) -> None:
        """Bring changes about and remember them. Raises FirewallError, having remembered nothing."""
        operations = self.plan(changes, now)
        try:
            if operations:
                self.apply(operations)
        except FirewallError as error:
            if not self.remakes:
                raise
            self._remake(changes, now, error)
        else:
            self.desired.commit(changes)

    def _remake(self, changes: Changes, now: float, error: FirewallError) -> None:
        """Somebody changed what is ours so that an operation failed: make everything again, once."""
        bans = self.desired.alive(now)
        bans |= {key: until for key, until in changes.items() if until is not None}
        gone = [key for key, until in changes.items() if until is None]
        for key in gone:
            bans.pop(key, None)
        bans.update(self.restore(bans, now, gone))
        self.desired.replace(bans)
        self.mended.append(str(error))

    def plan_effects(self, effects: Iterable[Effect], now: float) -> list[str]:
        """What `action plan` prints: the operations for effects, as text."""
        return [self.text(operation) for operation in self.plan(changes_of(effects, now), now)]

    def allow(self, networks: Sequence[Network]) -> None:
        wanted = sorted(set(networks))
        if wanted != self.allowed:
            self.set_allowed(wanted)
            self.allowed = wanted

    def banned(self) -> dict[tuple[Network, str], Standing]:
        return {
            (Network(address, prefix), SCOPES[scope]): standing
            for (scope, address, prefix), standing in self.look().items()
        }

    def pause(self, until: float | None) -> None:
        """Nothing to pause here: the reconciler belongs to the enforcer."""
        return

    def panic(self) -> None:
        self.remove()
        self.desired.replace({})

    def close(self, keep: bool) -> None:
        if not keep:
            self.remove()
            self.desired.replace({})

    def fileno(self) -> int | None:
        return None

    def notices(self) -> list[Notice]:
        reasons, self.mended = self.mended, []
        return [Notice("firewall-repaired", {"what": reason}) for reason in reasons]


def expires(until: float) -> float | None:
    """The end as callers read it."""
    return None if until == FOREVER else until
