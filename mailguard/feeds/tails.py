"""The files of one log: the one at its path and the rotated ones before it, in the order of writing.

Finds them again after a restart, wherever they are now; holds rotated ones open for late lines; remembers
those that were read to their end, so that none is read twice.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from mailguard.feeds.archives import BROKEN
from mailguard.feeds.interface import LogStatus
from mailguard.feeds.lines import Arena
from mailguard.feeds.marks import CURRENT, DONE, RETIRED, Mark
from mailguard.feeds.search import Sibling, find, newer, siblings
from mailguard.feeds.tail import Packed, Plain, Tail
from mailguard.model import Item, Notice

if TYPE_CHECKING:
    from mailguard.feeds.files import FileSource

_UNLINKED = 60.0  # seconds a deleted file is held open: it occupies the disk
_UNFINISHED = 60.0  # seconds that the rest of a compressed file is waited for
_REMEMBERED = 8  # rotated files remembered after they were closed
_HELD = 8  # rotated files held open


class Tails:
    """The files of the log at `path`, and their positions."""

    def __init__(self, source: FileSource, path: str):
        self.source = source
        self.path = path
        self.tails: list[Tail] = []  # oldest file first, the current one last
        self.current: Tail | None = None
        self.pending: list[Mark] = []  # positions of files that cannot be looked for yet
        self.done: list[Mark] = []
        self.begun: dict[str, float] = {}  # compressed files that are being written; monotonic: since when
        self.status = LogStatus(path=path)

    # ------------------------------------------------------------ what is at the path (see `Follow`)

    def check(self, at_end: bool = False) -> None:
        """Look at the path."""
        raise NotImplementedError

    def read(self, arena: Arena, items: list[Item], arrival: float) -> bool:
        """Hand out what is there; True when more is waiting."""
        raise NotImplementedError

    def _there(self) -> None:
        raise NotImplementedError

    def _gone(self) -> None:
        raise NotImplementedError

    def _unreadable(self, error: OSError) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------ finding files again

    def resume(self, marks: list[Mark]) -> None:
        """Go on where `marks` (oldest file first) say, wherever the files are now."""
        self.pending = []
        self.done += [mark for mark in marks if mark.state == DONE]
        # A file that was empty cannot be recognised (its inode may have been given anew), and nothing of it
        # was read: whatever was rotated since may be it, even when it was changed in the same tick.
        todo = [mark for mark in marks if mark.state != DONE and mark.head]
        empty = [mark.modified for mark in marks if mark.state != DONE and not mark.head]
        try:
            state = os.stat(self.path)
            here = (state.st_dev, state.st_ino)
        except OSError:
            here = (-1, -1)
        found: Sibling | None = None
        for at, mark in enumerate(todo):
            try:
                found = find(self.path, mark, taken=self.source.claims, listings=self.source.listings)
            except OSError as error:
                self.pending = todo[at:]
                self._unreadable(error)
                return
            if found is None:
                if here == (-1, -1) and not self.tails:
                    self.pending = todo[at:]  # perhaps the file system is not mounted yet
                    self._gone()
                    return
                if mark.state == CURRENT or mark.size > mark.offset:
                    self._lost(
                        mark.size - mark.offset,
                        "it was rotated away or cut while nobody watched",
                        mark.offset,
                    )
                continue
            tail = found.open(mark)
            if tail.identity == here:
                self._append(tail)
            else:
                self._hold(tail, len(self.tails))
        if todo and self.current is None:
            self._between(found, todo[-1].modified)
        if empty:
            self._between(None, min(empty) - 1)
        self.check()

    def _between(self, found: Sibling | None, modified: int) -> None:
        """Put the rotated files that are newer than the one just left, and were never read, behind it."""
        for sibling in newer(self.path, found, modified, self.source.listings):
            if sibling.begun():
                self.begun.setdefault(sibling.path, self.source.clock.monotonic())
                self.source.soon()
            else:
                self._put_in(sibling)

    def _put_in(self, sibling: Sibling) -> None:
        """Have a rotated file read before the current one, unless it was."""
        if sibling.identity in self.source.claims or any(sibling.held(mark) for mark in self.done):
            return
        if any(sibling.held(tail.mark()) for tail in self.tails):
            return
        try:
            tail = sibling.open(None)
        except OSError as error:
            self._lost(0, f"{sibling.path}: {error.strerror or error}", 0)
            return
        self._hold(tail, len(self.tails) - (self.current in self.tails))

    def _look_at_begun(self, now: float) -> None:
        """Are compressed files that somebody began to write long enough now to tell whose they are?"""
        for sibling in siblings(self.path, forms=True) if self.begun else ():
            since = self.begun.get(sibling.path)
            if since is not None and (not sibling.begun() or now - since >= _UNFINISHED):
                del self.begun[sibling.path]
                self._put_in(sibling)
        self.begun = {path: since for path, since in self.begun.items() if os.path.exists(path)}

    def _lost(self, count: int, why: str, offset: int) -> None:
        """Say that lines were destroyed unread; `count` 0 or less: nobody knows how many bytes."""
        self.status.lost += max(0, count)
        said: dict[str, Any] = {
            "log": self.path,
            "bytes": count if count > 0 else None,
            "lost": count if count > 0 else "unknown",
            "from": offset,
            "why": why,
        }
        self.source.say(Notice("bytes-lost", said, blind=True))

    def _disregard(self) -> None:
        """Rotated files that are older than our first look are not ours to read."""
        for sibling in newer(self.path, None, 0, self.source.listings)[-2:]:
            with contextlib.suppress(*BROKEN):
                tail = sibling.open(None)
                mark = tail.mark()
                tail.close()
                self.done.append(
                    mark._replace(device=sibling.identity[0], inode=sibling.identity[1], state=DONE)
                )

    # ------------------------------------------------------------ taking files in and letting them go

    def _append(self, tail: Tail) -> None:
        tail.mark_state = CURRENT
        self.tails.append(tail)
        self.current = tail
        self._adopt(tail)
        self._there()

    def _hold(self, tail: Tail, at: int) -> None:
        """Take a rotated file in, to be read as the `at`-th."""
        tail.mark_state = RETIRED
        tail.activity = self.source.clock.monotonic()
        self.tails.insert(at, tail)
        self._adopt(tail)

    def _adopt(self, tail: Tail) -> None:
        """Claim and watch a file, and read it soon."""
        if tail.fd >= 0:
            self.source.claims[tail.identity] = self
            if tail.token is None:
                self.source.watch(self, tail)
        tail.dirty = True
        self.source.mark(self)

    def give(self, identity: tuple[int, int]) -> Tail | None:
        """Hand a rotated file to another path's log; None while it is the current one here."""
        for tail in self.tails:
            if tail.identity == identity and tail is not self.current:
                self.tails.remove(tail)
                self.source.unwatch(tail)
                return tail
        return None

    def _retire(self, tail: Tail) -> None:
        tail.mark_state = RETIRED
        tail.dirty = True
        tail.activity = self.source.clock.monotonic()
        self.current = None
        self.status.rotations += 1
        self.source.mark(self)
        if not self.source.away(self.path):
            self.source.say(Notice("log-rotated", {"log": self.path, "how": "renamed", "lost": 0}))

    def _finish(self, tail: Tail) -> None:
        """A rotated file was read to its end for good."""
        words = tail.raw.words if isinstance(tail.raw, Packed) else ""
        if words:
            self._lost(0, f"{tail.name}: {words}", tail.offset)
        self.done = [*self.done, tail.mark()._replace(state=DONE)][-_REMEMBERED:]
        self._drop(tail)

    def refresh(self) -> None:
        """Look at all its files without being told that they changed."""
        for tail in self.tails:
            tail.dirty = True
            if tail.fd >= 0:
                with contextlib.suppress(OSError):  # reading will say so
                    tail.state()
        self.source.mark(self)

    def expire(self, now: float) -> None:
        """Let rotated files go that have been quiet for long; what was unterminated in them is handed out
        as cut.
        """
        self._look_at_begun(now)
        for tail in self.tails:
            if isinstance(tail.raw, Packed) and not tail.raw.final and now - tail.activity >= _UNFINISHED:
                tail.raw.give_up()
                tail.dirty = True
                self.source.mark(self)
        retired = [tail for tail in self.tails if tail is not self.current and isinstance(tail.raw, Plain)]
        for at, tail in enumerate(retired):
            limit = self.source.options.linger if tail.links else min(_UNLINKED, self.source.options.linger)
            if now - tail.activity >= limit or (len(retired) - at > _HELD and not tail.dirty):
                tail.raw.final = True
                tail.dirty = True
                self.source.mark(self)

    def marks(self) -> list[Mark]:
        """Positions of all its files, oldest first."""
        return self.done + [tail.mark() for tail in self.tails] + self.pending

    def _set_aside(self) -> None:
        """Close all files, keeping their positions for later."""
        self.pending = [tail.mark() for tail in self.tails] + self.pending
        self._drop_all()

    def _drop(self, tail: Tail) -> None:
        self.tails.remove(tail)
        if tail is self.current:
            self.current = None
        if self.source.claims.get(tail.identity) is self:
            del self.source.claims[tail.identity]
        self.source.unwatch(tail)
        tail.close()

    def _drop_all(self) -> None:
        for tail in list(self.tails):
            self._drop(tail)

    def close(self) -> None:
        """Close its files. May be repeated."""
        self._drop_all()


class Woken:
    """What a watcher calls when the file changed."""

    __slots__ = ("follow", "tail")

    def __init__(self, follow: Tails, tail: Tail):
        self.follow = follow
        self.tail = tail

    def __call__(self) -> None:
        self.tail.dirty = True
        self.follow.source.mark(self.follow)
