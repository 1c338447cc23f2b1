"""Finding a file again: under another name, as a copy, or compressed; and the rotated files newer than it."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailguard.core.envelope import Opener
from mailguard.feeds.archives import BROKEN, open_packed
from mailguard.feeds.lines import LIMIT
from mailguard.feeds.listing import Listing, Listings
from mailguard.feeds.marks import HEAD, Mark, digest, imprint
from mailguard.feeds.names import NUMBER, Rank, packed
from mailguard.feeds.tail import Packed, Tail, open_regular, open_tail

_NOBODY: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Sibling:
    """A file in the folder of a log. `rank` is None where its name is not a rotated form of the log's."""

    path: str
    identity: tuple[int, int]
    modified: int
    size: int
    rank: Rank | None

    def held(self, mark: Mark) -> bool:
        """Is it the file of `mark`, perhaps compressed? (An inode alone may have been given anew.)"""
        try:
            if self.identity[1] != mark.inode and not packed(self.path):
                return False
            return (mark.head > 0 or not self.size) and mark.fits(_head(self.path))
        except BROKEN:
            return False

    def begun(self) -> bool:
        """Is there nothing in it yet that can be unpacked: does somebody begin to write it just now?"""
        try:
            return packed(self.path) and not _head(self.path)
        except BROKEN:
            return True

    def open(self, mark: Mark | None) -> Tail:
        """Its tail, at the mark's offset, or at its start. Raises OSError."""
        if packed(self.path):
            raw = Packed(self.path)
            head = _head(self.path)
            tail = Tail(raw, self.path, None, (imprint(head), digest(head)), mark.offset if mark else 0)
        else:
            tail = open_tail(self.path)
            tail.start_at(min(mark.offset, tail.seen) if mark else 0)
        tail.skipping = mark is not None and mark.skipping and tail.offset == mark.offset
        tail.modified = self.modified
        return tail


def _head(path: str, size: int = HEAD) -> bytes:
    """The first bytes of a file, decompressed. Raises what reading broken compressed files raises."""
    if packed(path):
        file = open_packed(path)
        if file is None:
            return b""
        with file:
            return file.read(size)
    fd, _ = open_regular(path)
    try:
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


def siblings(path: str, *, forms: bool = False, listings: Listings | None = None) -> list[Sibling]:
    """The regular files in the folder of `path` (where links lead to), itself included. Empty where there
    is none. `forms`: only the rotated forms; of a folder with thousands of others none is looked at.
    """
    real = os.path.realpath(path)
    folder, base = os.path.split(real)
    listing = (listings or Listings()).of(folder)
    ranks = dict(listing.forms(base))
    return _looked_at(folder, ranks if forms else listing.names, ranks)


def _looked_at(folder: str, names: Iterable[str], ranks: Mapping[str, Rank]) -> list[Sibling]:
    """Those of `names` that are regular files, as they are now."""
    found = []
    for name in names:
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            state = os.stat(path)
            if stat.S_ISREG(state.st_mode):
                identity = (state.st_dev, state.st_ino)
                found.append(Sibling(path, identity, state.st_mtime_ns, state.st_size, ranks.get(name)))
    return found


def find(
    path: str,
    mark: Mark,
    *,
    taken: Container[tuple[int, int]] = _NOBODY,
    copies: bool = False,
    listings: Listings | None = None,
) -> Sibling | None:
    """Where the file of `mark` is now, not looking at files that are `taken`.

    By inode and head first, then by head among the log's own name, its rotated forms and
    their compressed ones. `copies`: only those. Raises OSError when the very file is there but cannot be
    opened.
    """
    listings = listings or Listings()
    real = os.path.realpath(path)
    if not copies and mark.inode:
        # Names of earlier are good enough for saying yes: the file itself is looked at.
        folder = os.path.dirname(real)
        found = _by_inode(real, mark, listings.of(folder, old=True), taken, False) or _by_inode(
            real, mark, listings.of(folder), taken, True
        )
        if found is not None:
            return found
    if not mark.head:
        return None
    around = [one for one in siblings(path, forms=True, listings=listings) if one.identity not in taken]
    around.sort(key=lambda sibling: (packed(sibling.path), -sibling.modified, sibling.path))
    if not copies:
        itself = _looked_at(*_parted(real), {})
        around = [one for one in itself if one.identity not in taken] + around
    short: Sibling | None = None
    for sibling in around:
        try:
            fits = mark.fits(_head(sibling.path))
        except BROKEN:
            continue
        if fits and (packed(sibling.path) or sibling.size >= mark.offset):
            return sibling
        if fits and sibling.path != real:
            short = sibling  # a copy made before the last lines that were read: nothing is left to read in it
    return short


def _parted(real: str) -> tuple[str, tuple[str]]:
    folder, base = os.path.split(real)
    return folder, (base,)


def _by_inode(
    real: str, mark: Mark, listing: Listing, taken: Container[tuple[int, int]], everywhere: bool
) -> Sibling | None:
    """The file of `mark` under whatever name in the folder.

    Folders tell inodes too, and where the one of the log's own name is right (it is not on some overlays, nor
    under a bind mount) no other files need to be looked at; else all are, if `everywhere`. Raises OSError
    when it cannot be opened.
    """
    folder, base = os.path.split(real)
    ranks = dict(listing.forms(base))
    likely = _looked_at(folder, (base, *ranks, *listing.inodes.get(mark.inode, ())), ranks)
    reliable = any(
        base in listing.inodes.get(one.identity[1], ()) for one in likely if one.path == real
    )  # nothing is at the path: not known, so all are looked at
    if everywhere and not reliable and all(one.identity[1] != mark.inode for one in likely):
        likely = _looked_at(folder, listing.names, ranks)
    # Device numbers may change with a reboot: the inode and the head decide, the exact pair is asked first.
    same = [one for one in likely if one.identity[1] == mark.inode and one.identity not in taken]
    same.sort(key=lambda sibling: (sibling.identity[0] != mark.device, sibling.path != real))
    for sibling in same:
        if not mark.head and sibling.path != real and sibling.rank is None:
            continue  # nothing is known but a number that may have been given anew
        if mark.fits(_head(sibling.path)):
            return sibling  # shorter than it was: cut back by a crash
    return None


def newer(path: str, found: Sibling | None, modified: int, listings: Listings | None = None) -> list[Sibling]:
    """Rotated files newer than `found`, oldest first: by the number or date in their names.

    Where the file itself is gone or its name says nothing: those changed after `modified` (ns).
    """
    forms = in_order(siblings(path, forms=True, listings=listings))
    rank = None if found is None else found.rank
    if rank is None:
        return [sibling for sibling in forms if sibling.modified > modified]
    same = [one for one in forms if one.rank is not None and one.rank.scheme == rank.scheme]
    for at, one in enumerate(same):
        if one.rank == rank:
            return same[at + 1 :]
    return [one for one in same if one.rank is not None and one.rank > rank]  # it has gone meanwhile


def in_order(forms: Iterable[Sibling]) -> list[Sibling]:
    """Rotated files from the oldest to the newest, of each rank the plain one if there is one.

    By what their names say. Numbers count backwards from the newest file, as logrotate gives them, unless the
    times of the files and of their first lines say the contrary: some loggers number forwards.
    """
    unique: dict[Rank, Sibling] = {}
    for sibling in sorted(forms, key=lambda one: packed(one.path)):
        if sibling.rank is not None:
            unique.setdefault(sibling.rank, sibling)
    ranks = sorted(unique)
    numbered = [rank for rank in ranks if rank.scheme == NUMBER]
    if _backwards([unique[rank].modified for rank in numbered]):
        # A file that was packed or copied without its time is told from that by what it holds.
        stamps = [stamp for rank in numbered if (stamp := _stamp(unique[rank])) is not None]
        if len(stamps) < 2 or _backwards(stamps):
            ranks = [rank for rank in ranks if rank.scheme != NUMBER] + numbered[::-1]
    return [unique[rank] for rank in ranks]


def _backwards(times: Sequence[float]) -> bool:
    return sum((late > early) - (late < early) for early, late in itertools.pairwise(times)) < 0


def _stamp(sibling: Sibling) -> float | None:
    """The stamp of the first line that has one; None where there is none."""
    try:
        head = _head(sibling.path, LIMIT)
    except BROKEN:
        return None
    opener = Opener()
    opener.arrive(sibling.modified / 1e9, False)
    for line in head.split(b"\n"):
        opened = opener.open(line, 0, len(line))
        if opened is not None:
            return opened.time
    return None
