"""Several ways to ban side by side, for instance the kernel's firewall and E-Post's own tables.

A ban stands when each part has it. One that fails does not keep the others from theirs; the call fails then,
and is repeated, which does no harm to those that have it already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from mailguard.clock import Clock
from mailguard.firewall.desired import Bans, Changes, Key
from mailguard.firewall.driver import Differences, Driver
from mailguard.firewall.interface import FirewallError, Standing
from mailguard.model import Network, Notice
from mailguard.notation import V6


class Part(NamedTuple):
    """An operation of one of the drivers."""

    driver: Driver
    operation: Any


class Several(Driver):
    """The drivers of several actions as one."""

    name = "several"

    def __init__(
        self,
        parts: Sequence[Driver],
        clock: Clock | None = None,
        ports: Mapping[str, Sequence[int]] | None = None,
    ):
        super().__init__(clock, ports)
        self.parts = list(parts)
        self.capabilities = tuple(sorted({name for part in parts for name in part.capabilities}))
        self.keeps_root = any(part.keeps_root for part in parts)
        self.wants_hosts = any(part.wants_hosts for part in parts)
        self.close_sockets = any(part.close_sockets for part in parts)
        self.look_every = min(part.look_every for part in parts)
        self.caveat = "; ".join(part.caveat for part in parts if part.caveat)
        self._look_at = 0.0
        self._away: list[Driver] = []  # parts that could not be opened; `tick` tries again

    def _each(self, do: Callable[[Driver], object]) -> None:
        """Do it with every part; FirewallError, when some failed, after all were tried."""
        failed: list[FirewallError] = []
        for part in self.parts:
            with _noting(failed):
                do(part)
        _raise(failed)

    # ---- the two halves

    def plan(self, changes: Changes, now: float) -> list[Part]:
        return [Part(part, one) for part in self.parts for one in part.plan(changes, now)]

    def apply(self, operations: Sequence[Part]) -> None:
        self._each(lambda part: part.apply([one.operation for one in operations if one.driver is part]))

    def text(self, operation: Part) -> str:
        return operation.driver.text(operation.operation)

    def change(self, changes: Changes, now: float) -> None:
        self._each(lambda part: part.change(self._of(part, changes), now))
        self.desired.commit(changes)

    def _of(self, part: Driver, changes: Changes) -> Changes:
        """Without the hosts of banned IPv6 networks where a part can ban the networks themselves."""
        if not self.wants_hosts or part.wants_hosts:
            return changes
        return {key: until for key, until in changes.items() if not (key[1] >= V6 and key[2] == 128)}

    def _bans_of(self, part: Driver, bans: Bans) -> Bans:
        """The same of bans."""
        return {key: until for key, until in self._of(part, {**bans}).items() if until is not None}

    def restore(self, bans: Bans, now: float, gone: Sequence[Key] = ()) -> list[tuple[Key, float]]:
        failed: list[FirewallError] = []
        self._away = []
        for part in self.parts:
            before = len(failed)
            with _noting(failed):
                part.open_keys(self._bans_of(part, bans), now)
            self._away += [part] * (len(failed) - before)
        there = [part for part in self.parts if part not in self._away]
        if not there:
            _raise(failed)
        self.mended += [f"{error}; the other ways to ban are used meanwhile" for error in failed]
        # What one part had kept stands in all from now on.
        whole: Bans = {}
        for part in there:
            for key, until in part.desired.alive(now).items():
                whole[key] = bans.get(key, until)
        for part in there:
            mine = self._bans_of(part, whole)
            missing: Changes = {key: end for key, end in mine.items() if key not in part.desired.bans}
            if missing:
                part.change(missing, now)
        return [(key, until) for key, until in whole.items() if key not in bans]

    def remove(self) -> None:
        self._each(lambda part: part.panic())

    def close(self, keep: bool) -> None:
        if not keep:
            self.desired.replace({})
        self._each(lambda part: part.close(keep))

    def set_allowed(self, networks: Sequence[Network]) -> None:
        self._each(lambda part: part.allow(networks))

    def set_ports(self, ports: Mapping[str, Sequence[int]]) -> None:
        super().set_ports(ports)
        for part in self.parts:
            part.set_ports(ports)

    # ---- looking

    def look(self) -> dict[Key, Standing]:
        seen = [part.look() for part in self.parts]
        found = {key: told for key, told in seen[0].items() if all(key in one for one in seen[1:])}
        if self.wants_hosts:  # hosts of banned IPv6 networks stand where they are wanted
            some = [one for one, part in zip(seen, self.parts, strict=True) if part.wants_hosts]
            hosts = (key for key in some[0] if key[1] >= V6 and key[2] == 128)
            found |= {key: some[0][key] for key in hosts if all(key in one for one in some[1:])}
        return found

    def watch_fileno(self) -> int | None:
        """That of the first part that has one; the others are looked at by `tick`."""
        return next((fd for part in self.parts if (fd := part.watch_fileno()) is not None), None)

    def touched(self) -> bool:
        return any([part.touched() for part in self.parts])

    def missing_layout(self) -> list[str]:
        return [words for part in self.parts for words in part.missing_layout()]

    def in_child(self) -> None:
        for part in self.parts:
            part.in_child()

    def compare(self, now: float) -> Differences:
        found = [part.compare(now) for part in self.parts]
        return Differences(
            sorted({key for one in found for key in one.wrong}),
            sorted(dict(pair for one in found for pair in one.foreign).items()),
            [],
        )

    def mend(self, differences: Differences, now: float) -> None:
        self.desired.adopt(differences.foreign)
        foreign: Changes = dict(differences.foreign)

        def put_right(part: Driver) -> None:
            part.mend(part.compare(now), now)
            missing = {key: until for key, until in foreign.items() if key not in part.desired.bans}
            if missing:
                part.change(missing, now)

        self._each(put_right)

    def purge(self, now: float) -> None:
        super().purge(now)
        for part in self.parts:
            part.purge(now)

    def tick(self, now: float) -> float | None:
        """What the parts have to do; those that nobody tells of changes are compared now and then, where
        another part is told."""
        failed: list[FirewallError] = []
        due: list[float] = []
        if self._away:
            if now >= self._look_at:
                self._look_at = now + self.look_every
                self._open_again(now)
            due.append(self._look_at)
        for part in self.parts:
            with _noting(failed):
                when = part.tick(now)
                if when is not None:
                    due.append(when)
        blind = [part for part in self.parts if part.watch_fileno() is None]
        if 0 < len(blind) < len(self.parts):
            if now >= self._look_at:
                self._look_at = now + self.look_every
                for part in blind:
                    with _noting(failed):
                        if found := part.compare(now):
                            part.mend(found, now)
                            self.mended.append(f"{part.name}: {len(found.wrong)} bans were missing")
            due.append(self._look_at)
        _raise(failed)
        return min(due, default=None)

    def _open_again(self, now: float) -> None:
        """Try the parts that could not be opened."""
        for part in list(self._away):
            failed: list[FirewallError] = []
            with _noting(failed):
                part.open_keys(self._bans_of(part, self.desired.alive(now)), now)
            if not failed:
                self._away.remove(part)
                self.mended.append(f"{part.name}: it can be used again")

    def notices(self) -> list[Notice]:
        return [*super().notices(), *(notice for part in self.parts for notice in part.notices())]


@contextmanager
def _noting(failed: list[FirewallError]) -> Iterator[None]:
    try:
        yield
    except FirewallError as error:
        failed.append(error)


def _raise(failed: Sequence[FirewallError]) -> None:
    if failed:
        lost, later = any(error.lost for error in failed), all(error.later for error in failed)
        raise FirewallError("; ".join(str(error) for error in failed), lost=lost, later=later)
