"""Whom an administrator let out again: the mail server's own refusals may be a row of ours that came back.

Where bans are rows in a table of the mail server's, a backup of that table that is put back makes rows count
again that were withdrawn. They are found and withdrawn within less than a minute; until then whoever was let
out is refused, and the log says it as it says the server's own lock-out.

Owns: which networks were let out, and when each was first refused since.
Never: spares anybody from what he did; only from what the server says it refused.
Limits: 1,000 networks, the newest; what they were refused is remembered of as many, for a day.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from ..model import Network, Offence
from ..notation import V6, covers
from .marks import NEVER, Marks
from .networks import SOURCE4, SOURCE6, pack_network, unpack_network
from .table import Row

#: Seconds that a row of ours counts at most before it is found: half a minute between two looks at a table,
#: ten seconds for one that is being changed, and what the work takes.
REVIVED = 60.0
_AGAIN = 86400.0  # a backup may be put back another day, too
_CAP = 1_000
_REFUSED = frozenset({"locked_out"})


class Pardons:
    """Networks that were let out, and which of their offences are none."""

    def __init__(self, track: bool = False):
        self.marks = Marks("pardon", _CAP, track)
        self._prefixes: set[int] = set()  # at least those of the marks
        self._refused: OrderedDict[Network, float] = OrderedDict()  # since when

    def note(self, network: Network, now: float) -> None:
        """An administrator lets it out."""
        key = pack_network(network)
        if self._prefixes:
            self._prefixes.add(network.prefix)
        self.marks.drop(key)  # the newest stay
        self.marks.set(key, now)

    def of(self, network: Network) -> float | None:
        """When it, what is around it or something inside it was let out last; None: it was not."""
        if not len(self.marks):
            return None
        if not self._prefixes:  # taken up from a checkpoint
            self._prefixes = {key & 0xFF for key, _ in self.marks.items()}
        size = 128 if network.address >= V6 else 32
        times = [
            self.marks.get(pack_network(_around(network, prefix, size)))
            for prefix in self._prefixes
            if prefix <= network.prefix
        ]
        if network.prefix < (SOURCE6 if size == 128 else SOURCE4):  # less than a source is never let out
            times += [time for key, time in self.marks.items() if covers(network, unpack_network(key))]
        newest = max(times, default=NEVER)
        return None if newest == NEVER else newest

    def excuses(self, offence: Offence, target: Network) -> bool:
        """Whether an offence of `target` may be a row of ours that came back: only refusals, all of them
        within the time in which such a row is found."""
        if not _REFUSED.issuperset(offence.kinds) or self.of(target) is None:
            return False
        since = self._refused.get(target)
        if since is None or not 0 <= offence.last - since <= _AGAIN:
            since = offence.first
        if offence.last - since > REVIVED:
            return False
        self._refused[target] = since
        self._refused.move_to_end(target)
        if len(self._refused) > _CAP:
            self._refused.popitem(last=False)
        return True

    def changes(self, full: bool) -> Iterator[Row]:
        return self.marks.changes(full)


def _around(network: Network, prefix: int, size: int) -> Network:
    """The network of that prefix, no longer than its own, in which it lies."""
    base = V6 if size == 128 else 0
    shift = size - prefix
    return Network((network.address - base >> shift << shift) + base, prefix)
