"""When a source was shut out for real while the logs were written: what it would have done then is not to
be seen in them, and *nothing seen* must not be told as *nobody hurt*.

The running guard's ledger knows its own bans. What a mail server shut out by itself shows as `locked_out`
events in the logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ..model import Network
from ..notation import V6, covers, parse_network

_NEVER_ENDS = float("inf")


class Shutout(NamedTuple):
    """A ban that stood for real."""

    network: Network
    since: float
    until: float


class Shutouts:
    """Real bans, by network. Empty where there is no ledger."""

    def __init__(self, found: Iterable[Shutout] = ()):
        self._narrow: dict[int, list[Shutout]] = {}
        self._wide: list[Shutout] = []
        for one in found:
            if one.network.prefix >= _exact(one.network.address):
                self._narrow.setdefault(_place(one.network.address), []).append(one)
            else:
                self._wide.append(one)

    def __len__(self) -> int:
        return sum(map(len, self._narrow.values())) + len(self._wide)

    def around(self, network: Network) -> list[Shutout]:
        """Those that share a host with `network`."""
        if network.prefix >= _exact(network.address):
            near = self._narrow.get(_place(network.address), [])
        else:
            near = [one for each in self._narrow.values() for one in each]
        return [
            one
            for one in (*near, *self._wide)
            if covers(one.network, network) or covers(network, one.network)
        ]

    def hidden(self, network: Network, since: float, until: float) -> list[tuple[float, float]]:
        """The stretches between `since` and `until` in which some of `network` was shut out, in order."""
        stretches = sorted(
            (max(since, one.since), min(until, one.until))
            for one in self.around(network)
            if one.since < until and one.until > since
        )
        joined: list[tuple[float, float]] = []
        for begin, end in stretches:
            if joined and begin <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((begin, end))
        return joined


def _exact(address: int) -> int:
    return 48 if address >= V6 else 24


def _place(address: int) -> int:
    return address >> 80 if address >= V6 else address >> 8


def from_ledger(path: Path) -> Shutouts:
    """The bans of the ledger at `path`, with the ends that they really had. It is only read.

    Raises LedgerError."""
    from ..ledger import Ledger  # most replays have none

    found: list[Shutout] = []
    standing: dict[tuple[Network, str], int] = {}
    with closing(Ledger(path, readonly=True)) as ledger:
        for effect in ledger.answers.every_effect():
            network = parse_network(effect["network"]) if effect["network"] else None
            if network is None:
                continue
            place = network, str(effect["scope"])
            if effect["effect"] == "impose":
                until = effect["until"]
                standing[place] = len(found)
                found.append(Shutout(network, effect["since"], _NEVER_ENDS if until is None else until))
            elif effect["effect"] == "lift" and place in standing:
                number = standing.pop(place)
                found[number] = found[number]._replace(until=min(found[number].until, effect["time"]))
    return Shutouts(found)
