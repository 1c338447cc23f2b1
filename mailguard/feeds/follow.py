"""One path through all its rotations: which file to read, in which order, and what was lost.

Reading order is the order of writing: rotated files first, the file at the path last. A rotated file stays
open a while for late lines (a logger that still holds it, E-Post's yesterday). A file that was cut to
nothing (copytruncate) starts again at 0; its copy is looked for, so that only what nobody can have is lost,
and said.

Never: repeats a line. Where it cannot be known whether lines were lost, that is said too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mailguard.feeds.lines import PENDING, Arena
from mailguard.feeds.marks import HEAD
from mailguard.feeds.search import find
from mailguard.feeds.tail import Plain, Tail, open_tail
from mailguard.feeds.tails import Tails
from mailguard.model import Block, Item, Notice

if TYPE_CHECKING:
    from mailguard.feeds.files import FileSource

BUDGET = 1 << 20  # bytes of one log handed out at once: keeps busy logs from starving the others
_new = tuple.__new__  # `Block(...)` takes four times as long
_GRACE = 5.0  # seconds a path may be missing during a rotation


class Follow(Tails):
    """The log at one path. `label` is its name in blocks; `base` is added to positions (day-named files)."""

    def __init__(self, source: FileSource, path: str, label: str, base: int = 0, optional: bool = False):
        super().__init__(source, path)
        self.label = label
        self.base = base
        self.optional = optional  # found by a wildcard: may vanish without a word
        self._said = ""  # "log-missing", "log-unreadable": said, not over yet
        self._missing = -1.0  # monotonic: since when
        self._was_open = False

    # ------------------------------------------------------------ what is at the path

    def check(self, at_end: bool = False) -> None:
        """Look at the path: open what appeared, retire what was replaced. `at_end`: begin after what is
        there.
        """
        if self.pending:
            self.resume(self.pending)
            return
        try:
            state = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            self._gone()
            return
        except OSError as error:
            self._unreadable(error)
            return
        identity = (state.st_dev, state.st_ino)
        if self.current is not None:
            if identity == self.current.identity:
                self._there()
                self._copied_up(self.current, state)
                if self.current is not None and not self.current.head:
                    # It was empty: had it been written to, copied and cut to nothing, it would look the same.
                    self._between(None, self.current.modified - 1)
                return
            self._retire(self.current)
        self._take(identity, at_end)

    def _take(self, identity: tuple[int, int], at_end: bool) -> None:
        """Make the file at the path the current one."""
        for tail in self.tails:
            if tail.identity == identity:  # it was renamed back
                self.tails.remove(tail)
                self._append(tail)
                return
        owner = self.source.claims.get(identity)
        if owner is not None:
            moved = owner.give(identity)
            if moved is None:
                self.status.words = f"the same file as {owner.path}"
            else:  # renamed to a name that is read as well: go on where it stands
                self._append(moved)
                self.source.claims[identity] = self
            return
        last = self.tails[-1] if self.tails else None
        if last is not None and last.fd >= 0:
            last.state()
            mark = last.mark()
            self._between(
                find(self.path, mark, listings=self.source.listings), last.modified - (not mark.head)
            )
        try:
            tail = open_tail(self.path)
        except FileNotFoundError:
            self._gone()
            return
        except OSError as error:
            self._unreadable(error)
            return
        if tail.identity != identity or tail.identity in self.source.claims:
            tail.close()  # replaced meanwhile: what stood there has been rotated away
            self.source.again()
            return
        if last is None and not self.done and not self._was_open:
            self._disregard()
        if last is not None and last.head.size == HEAD and tail.head == last.head:
            # Written anew by an editor: what was read is in it. The start of a line is looked for, because a
            # piece of one could be taken for another.
            tail.start_at(_line_start(tail, min(last.offset, tail.seen)))
        elif at_end:
            tail.start_at(_line_start(tail, tail.seen))
        self._append(tail)

    def _copied_up(self, tail: Tail, state: os.stat_result) -> None:
        """A descriptor from before an overlay file system copied the file up never sees it grow: open it
        anew.
        """
        if (
            state.st_size <= os.fstat(tail.fd).st_size
            or os.stat(self.path).st_size <= os.fstat(tail.fd).st_size
        ):
            return
        self._set_aside()
        self.resume(self.pending)

    def _there(self) -> None:
        self._missing = -1.0
        self._was_open = True
        self.status.opened = True
        self.status.words = ""
        if self._said:
            self.source.say(Notice("log-back", {"log": self.path}))
            self._said = ""

    def _gone(self) -> None:
        now = self.source.clock.monotonic()
        if self.current is not None:
            self._retire(self.current)
        if self._missing < 0:
            self._missing = now
            self.source.soon()
        self.status.opened = False
        if self.optional or self._said == "log-missing" or (self._was_open and now - self._missing < _GRACE):
            return
        self.status.words = "there is no such file"
        self._said = "log-missing"
        self.source.say(Notice("log-missing", {"log": self.path}, blind=True))

    def _unreadable(self, error: OSError) -> None:
        self.status.opened = False
        self.status.words = error.strerror or str(error)
        if self._said != "log-unreadable":
            self._said = "log-unreadable"
            self.source.say(
                Notice("log-unreadable", {"log": self.path, "why": self.status.words}, blind=True)
            )

    @property
    def waiting(self) -> bool:
        """Is there something that only time brings: a path that is missing or unreadable?"""
        unfinished = any(not tail.raw.final for tail in self.tails if tail.fd < 0)
        return bool(self.pending or self._said or self._missing >= 0 or self.begun or unfinished)

    # ------------------------------------------------------------ reading

    def read(self, arena: Arena, items: list[Item], arrival: float) -> bool:
        """Hand out what is there, at most `BUDGET` bytes; True when more is waiting."""
        tail = self.current
        if tail is not None and tail.dirty and not any([t.dirty for t in self.tails if t is not tail]):
            try:
                count = tail.quick(arena)
            except OSError as error:
                self._broken(tail, error)
                return False
            if count:
                start = arena.top + HEAD
                arena.top = start + count
                self.quickly(tail, count, arena.data, start, items, arrival)
                return False
        return self._thoroughly(arena, items, arrival)

    def quickly(
        self, tail: Tail, count: int, data: bytes | bytearray, start: int, items: list[Item], arrival: float
    ) -> None:
        """Hand out `count` bytes of whole lines that were taken into the tail; see `Tail.quick`."""
        options = self.source.options
        items.append(_new(Block, (
            self.label, data, start, start + count, self.base + tail.offset - count, arrival, True,
            options.may_ban, (), options.timezone, options.year, options.parsers,
        )))  # fmt: skip
        self.took(tail, count, arrival)

    def took(self, tail: Tail, count: int, arrival: float) -> None:
        """`count` bytes were handed out, as far as the tail stands now."""
        status = self.status
        tail.dirty = False
        status.last_line = arrival
        status.bytes += count
        status.offset = status.size = tail.seen = tail.offset

    def _thoroughly(self, arena: Arena, items: list[Item], arrival: float) -> bool:
        budget = BUDGET
        for tail in list(self.tails):
            if not tail.dirty:
                continue
            if budget <= PENDING or arena.room <= 2 * PENDING:
                return True
            try:
                more = self._hand_out(tail, arena, budget, items, arrival)
                if more is None:
                    self._begun_anew(tail, tail.look())
                    return True
            except OSError as error:
                self._broken(tail, error)
                return False
            tail.dirty = more
            if more:
                return True
            if tail.raw.final:
                self._finish(tail)
        return False

    def _hand_out(
        self, tail: Tail, arena: Arena, budget: int, items: list[Item], arrival: float
    ) -> bool | None:
        options, status, top, before = self.source.options, self.status, arena.top, tail.offset
        read = tail.read(arena, budget)
        if read is None:
            return None
        found, base, more = read
        if found.pieces:
            for start, end, cuts in found.pieces:
                items.append(Block(
                    self.label, arena.data, start, end, self.base + base + start - top, arrival, True,
                    options.may_ban, cuts, options.timezone, options.year, options.parsers,
                ))  # fmt: skip
            arena.keep(found.pieces[-1][1])
            status.last_line = arrival
            if tail is not self.current:
                tail.activity = self.source.clock.monotonic()
        status.bytes += tail.offset - before
        status.offset, status.size = tail.offset, tail.seen
        if found.cut:
            status.cut += found.cut
            status.dropped += found.dropped
        status.nul += found.nul
        return more

    def _begun_anew(self, tail: Tail, how: str) -> None:
        """The file was cut: completely (copytruncate), or back to an earlier end."""
        stood, lost = tail.offset, tail.seen - tail.offset
        if how == "shorter":
            tail.seen = os.fstat(tail.fd).st_size
            tail.start_at(_line_start(tail, min(stood, tail.seen)))
            tail.skipping = False
        else:
            mark, at = tail.mark(), self.tails.index(tail)
            later = self.tails[at:]
            del self.tails[at:]
            copy = find(self.path, mark, taken=self.source.claims, copies=True)
            if copy is not None:
                kept = copy.open(mark)
                lost = min(lost, max(0, tail.seen - max(kept.seen, stood))) if kept.fd >= 0 else 0
                if isinstance(kept.raw, Plain):
                    kept.raw.final = True
                self._hold(kept, len(self.tails))
            self._between(copy, tail.modified - (mark.head == 0))
            self.tails += later
            tail.begin_anew()
        tail.dirty = True
        self.status.rotations += 1
        words = "cut back" if how == "shorter" else "truncated"
        self.source.say(Notice("log-rotated", {"log": self.path, "how": words, "lost": max(0, lost)}))
        if lost > 0:
            self._lost(lost, "the file was cut before they were read", stood)

    def _broken(self, tail: Tail, error: OSError) -> None:
        """Reading failed (a network share went away): keep the position and try the path again later."""
        self._set_aside()
        self._unreadable(error)


def _line_start(tail: Tail, size: int) -> int:
    """Start of the last line before `size` that is not whole; `size` itself where the file ends with LF."""
    begin = max(0, size - PENDING)
    data = os.pread(tail.fd, size - begin, begin)
    at = data.rfind(b"\n")
    return begin + at + 1 if at >= 0 else size
