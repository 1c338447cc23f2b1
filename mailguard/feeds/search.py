"""Finding a file again: under another name, as a copy, or compressed; and the rotated files newer than it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container
from dataclasses import dataclass

from mailguard.feeds.archives import BROKEN, open_packed
from mailguard.feeds.marks import HEAD, Mark
from mailguard.feeds.names import Rank, packed, rotated
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

    def open(self, mark: Mark | None) -> Tail:
        """Its tail, at the mark's offset, or at its start. Raises OSError."""
        if packed(self.path):
            raw = Packed(self.path)
            tail = Tail(raw, self.path, None, _head(self.path), mark.offset if mark else 0)
        else:
            tail = open_tail(self.path)
            tail.start_at(min(mark.offset, tail.seen) if mark else 0)
        tail.skipping = mark is not None and mark.skipping and tail.offset == mark.offset
        tail.modified = self.modified
        return tail


def _head(path: str) -> bytes:
    """The first bytes of a file, decompressed. Raises what reading broken compressed files raises."""
    if packed(path):
        file = open_packed(path)
        if file is None:
            return b""
        with file:
            return file.read(HEAD)
    fd, _ = open_regular(path)
    try:
        return os.pread(fd, HEAD, 0)
    finally:
        os.close(fd)


def siblings(path: str, *, forms: bool = False) -> list[Sibling]:
    """The regular files in the folder of `path` (where links lead to), itself included. Empty where there
    is none. `forms`: only the rotated forms; of a folder with thousands of others none is looked at.
    """
    real = os.path.realpath(path)
    folder, base = os.path.split(real)
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            rank = None if entry.name == base else rotated(base, entry.name)
            if forms and rank is None:
                continue
            with contextlib.suppress(OSError):
                if entry.is_file():
                    state = entry.stat()
                    identity = (state.st_dev, state.st_ino)
                    found.append(Sibling(entry.path, identity, state.st_mtime_ns, state.st_size, rank))
    return found


def find(
    path: str,
    mark: Mark,
    *,
    taken: Container[tuple[int, int]] = _NOBODY,
    copies: bool = False,
) -> Sibling | None:
    """Where the file of `mark` is now, not looking at files that are `taken`.

    By inode and head first, then by head among the log's own name, its rotated forms and
    their compressed ones. `copies`: only those. Raises OSError when the very file is there but cannot be
    opened.
    """
    real = os.path.realpath(path)
    around = [sibling for sibling in siblings(path) if sibling.identity not in taken]
    if not copies:
        # Device numbers may change with a reboot: the inode and the head decide, the exact pair is
        # asked first.
        same = [sibling for sibling in around if sibling.identity[1] == mark.inode and mark.inode]
        same.sort(key=lambda sibling: (sibling.identity[0] != mark.device, sibling.path != real))
        for sibling in same:
            if not mark.head and sibling.path != real and sibling.rank is None:
                continue  # nothing is known but a number that may have been given anew
            if mark.fits(_head(sibling.path)):
                return sibling  # shorter than it was: cut back by a crash
    if not mark.head:
        return None
    forms = [sibling for sibling in around if sibling.rank is not None]
    forms.sort(key=lambda sibling: (packed(sibling.path), -sibling.modified, sibling.path))
    if not copies:
        forms = [sibling for sibling in around if sibling.path == real] + forms
    short: Sibling | None = None
    for sibling in forms:
        try:
            fits = mark.fits(_head(sibling.path))
        except BROKEN:
            continue
        if fits and (packed(sibling.path) or sibling.size >= mark.offset):
            return sibling
        if fits and sibling.path != real:
            short = sibling  # a copy made before the last lines that were read: nothing is left to read in it
    return short


def newer(path: str, found: Sibling | None, modified: int) -> list[Sibling]:
    """Rotated files newer than `found`, oldest first: by the number or date in their names.

    Where the file itself is gone or its name says nothing: those changed after `modified` (ns).
    """
    forms = siblings(path, forms=True)
    if found is not None and found.rank is not None:
        rank = found.rank
        forms = [s for s in forms if s.rank is not None and s.rank.scheme == rank.scheme and s.rank > rank]
    else:
        forms = [sibling for sibling in forms if sibling.modified > modified]
    unique: dict[Rank, Sibling] = {}
    for sibling in sorted(forms, key=lambda s: packed(s.path)):
        if sibling.rank is not None:
            unique.setdefault(sibling.rank, sibling)  # the plain file where a compressed one stands beside it
    return [unique[rank] for rank in sorted(unique)]
