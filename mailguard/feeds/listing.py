"""The names in the folders of logs, read once for all the logs in them.

A folder may hold tens of thousands of logs. Were it read for each of them, the first look and each restart
would take time with the square of their number.

Limits: the names are those of the last reading; whoever opens one sees for himself what is there now. Whether
a name has come or gone since is asked of the folder's modification time, which is worth nothing while it is
younger than the clock that the kernel stamps with (`_TICK`).
"""

from __future__ import annotations

import contextlib
import os
import time
from bisect import bisect_left

from mailguard.feeds.names import Rank, rotated

_TICK = 50_000_000  # ns; the kernel's clock for stamps goes in steps of up to 10 ms


class Listing:
    """The names in one folder."""

    __slots__ = ("changed", "folder", "inodes", "names", "settled")

    def __init__(self, folder: str):
        self.folder = folder
        self.names: list[str] = []
        self.inodes: dict[int, list[str]] = {}  # as the folder tells them; see `Listings.by_inode`
        self.changed = _changed(folder)  # before reading: what comes meanwhile makes the listing old
        self.settled = 0 <= self.changed < time.time_ns() - _TICK
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                self.names.append(entry.name)
                self.inodes.setdefault(entry.inode(), []).append(entry.name)
        self.names.sort()

    def forms(self, base: str) -> list[tuple[str, Rank]]:
        """The rotated forms of `base`."""
        found: dict[str, Rank] = {}
        for begin in {base, base.rpartition(".")[0] or base}:
            at = bisect_left(self.names, begin)
            while at < len(self.names) and self.names[at].startswith(begin):
                name = self.names[at]
                at += 1
                if name != base and (rank := rotated(base, name)) is not None:
                    found[name] = rank
        return list(found.items())


class Listings:
    """What is known of the folders. Not kept for long: `forget` it after a pass over many logs."""

    def __init__(self) -> None:
        self._known: dict[str, Listing] = {}

    def of(self, folder: str, *, old: bool = False) -> Listing:
        """The names in `folder`. `old`: perhaps as they were when this was last asked."""
        known = self._known.get(folder)
        if known is None or not (old or (known.settled and _changed(folder) == known.changed)):
            known = self._known[folder] = Listing(folder)
        return known

    def forget(self) -> None:
        """Free the memory."""
        self._known.clear()


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return -1
