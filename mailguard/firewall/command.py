"""The command driver: a program of the administrator's bans and unbans, for routers and appliances.

No text from a log reaches it: arguments are filled with networks, numbers and words of closed lists. The
program has no timeouts unless it says so (`ends`); so this driver ends bans itself, by `tick`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

from mailguard.clock import Clock
from mailguard.firewall import tools
from mailguard.firewall.desired import FOREVER, Bans, Changes, Key
from mailguard.firewall.driver import Driver, expires
from mailguard.firewall.interface import SCOPES, FirewallError, Standing
from mailguard.model import Network
from mailguard.notation import V6, format_address, format_network


class Call(NamedTuple):
    """One program to run, with its arguments."""

    arguments: tuple[str, ...]


class Command(Driver):
    """Bans by argument lists. A call that fails leaves the ban due."""

    name = "command"
    keeps_root = True

    def __init__(
        self,
        ban: Sequence[str],
        unban: Sequence[str] = (),
        start: Sequence[str] = (),
        stop: Sequence[str] = (),
        timeout: float = 10.0,
        ends: bool = False,
        clock: Clock | None = None,
        ports: Mapping[str, Sequence[int]] | None = None,
    ):
        super().__init__(clock, ports)
        self._ban, self._unban = tuple(ban), tuple(unban)
        self._start, self._stop = tuple(start), tuple(stop)
        self._timeout = timeout
        self._ends = ends

    def plan(self, changes: Changes, now: float) -> list[Call]:
        calls = []
        for key, until in changes.items():
            if until is None:
                if self._unban and self.desired.bans.get(key, 0.0) > now:
                    calls.append(Call(fill(self._unban, key, 0.0, now)))
            elif self.desired.bans.get(key) != until:
                calls.append(Call(fill(self._ban, key, until, now)))
        return calls

    def apply(self, operations: Sequence[Call]) -> None:
        for operation in operations:
            tools.run(operation.arguments, timeout=self._timeout)

    def text(self, operation: Call) -> str:
        return shlex.join(operation.arguments)

    def restore(self, bans: Bans, now: float, gone: Sequence[Key] = ()) -> list[tuple[Key, float]]:
        if self._start:
            self.apply([Call(self._start)])
        self.apply([Call(fill(self._ban, key, until, now)) for key, until in bans.items()])
        return []

    def remove(self) -> None:
        if self._unban:
            for key in list(self.desired.bans):
                self.apply([Call(fill(self._unban, key, 0.0, 0.0))])
                self.desired.commit({key: None})
        if self._stop:
            self.apply([Call(self._stop)])

    def set_allowed(self, networks: Sequence[Network]) -> None:
        """The program is told of bans only; the judge bans no allowed host."""

    def look(self) -> dict[Key, Standing]:
        now = self.clock.now()
        return {key: Standing(expires(until)) for key, until in self.desired.bans.items() if until > now}

    def purge(self, now: float) -> None:
        if self._ends:
            super().purge(now)

    def tick(self, now: float) -> float | None:
        """End the bans that are over; when the next one is. Raises FirewallError, keeping those that
        failed.
        """
        bans = self.desired.bans
        if self._ends:
            return None
        failed: FirewallError | None = None
        for key in [key for key, until in bans.items() if until <= now]:
            try:
                self.apply([Call(fill(self._unban, key, 0.0, now))])
                self.desired.commit({key: None})
            except FirewallError as error:
                failed = error
        if failed is not None:
            raise failed
        return min((until for until in bans.values() if until != FOREVER), default=None)


def fill(arguments: Sequence[str], key: Key, until: float, now: float) -> tuple[str, ...]:
    """Arguments with their placeholders filled."""
    scope, address, prefix = key
    seconds = 0 if until == FOREVER else max(0, ceil(until - now))
    values = {
        "network": format_network(Network(address, prefix)),
        "address": format_address(address),
        "prefix": str(prefix),
        "family": "6" if address >= V6 else "4",
        "seconds": str(seconds),
        "scope": SCOPES[scope],
    }
    filled = []
    for argument in arguments:
        for name, value in values.items():
            argument = argument.replace(f"{{{name}}}", value)
        filled.append(argument)
    return tuple(filled)
