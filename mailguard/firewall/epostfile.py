"""One of E-Post's tables as mailguard changes it: only own rows, in place, beside a server that appends.

A row of ours lives in a *slot*: a stretch of whole lines that only we change. It is laid down as a comment
and then put in force by one byte, its first; it is withdrawn by overwriting that byte with the comment
mark. So at every moment a reader sees a row wholly or not at all, whatever else it sees half. Slots come
from three places: dead rows of our own, lines that `mailguard epost prepare` reserved, and the end of the
file, by one append.

Nothing is changed before the bytes at its place were read and are what they should be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mailguard.epost import effect
from mailguard.epost.overlay import steps
from mailguard.epost.tables import LONGEST, line_end
from mailguard.firewall.epostdisk import Disk, Stamp, explained, open_patiently
from mailguard.firewall.epostplaces import MARK, Places, Slot
from mailguard.firewall.interface import FirewallError
from mailguard.model import Network

#: Bytes appended by one call at most, whole lines.
_CHUNK = 1 << 16
#: Seconds to wait for the end of a line that somebody is writing, and how often.
_UNFINISHED, _LOOKS = 0.01, 5
_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(slots=True)
class Open:
    """A table while it is being worked on."""

    change: int
    append: int | None = None
    end: bytes = b"\n"
    white: int | None = None  # offset of the last white-list row; None: not looked for yet


@dataclass(slots=True)
class Wanted:
    """A row to be put down."""

    text: bytes  # without line end
    owner: Network
    piece: Network
    until: float
    top: bool = False


class TableFile(Places):
    """A table: its path and the slots in it."""

    def __init__(self, path: str, kind: str, disk: Disk, appends: bool = True, empty_end: bytes = b"\n"):
        """`appends`: new rows may go to its end; `empty_end`: the line end of a table that has none yet."""
        super().__init__(kind)
        self.path = path
        self.disk = disk
        self.appends = appends
        self.empty_end = empty_end

    # ---- opening

    @contextmanager
    def opened(self) -> Iterator[Open]:
        """Descriptors for a batch of changes. Raises FirewallError, also for what goes wrong inside."""
        handle = Open(open_patiently(self.disk, self.path))
        try:
            with self.explaining():
                handle.end = self._line_end(handle.change)
                yield handle
        finally:
            self.disk.close(handle.change)
            if handle.append is not None:
                self.disk.close(handle.append)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """What goes wrong inside is a FirewallError with the reason in plain words."""
        try:
            yield
        except OSError as error:
            raise FirewallError(explained(self.path, error)) from error

    def content(self, handle: Open) -> bytes:
        """All of it."""
        return self.disk.read(handle.change, self.disk.identity(handle.change)[2], 0)

    def stamp(self) -> Stamp | None:
        """What differs after somebody changed the table; None where it cannot be looked at."""
        try:
            return self.disk.stamp(self.path)
        except OSError:
            return None

    def _line_end(self, descriptor: int) -> bytes:
        head = self.disk.read(descriptor, 4096, 0)
        if head.startswith(_BOMS):
            raise FirewallError(f"{self.path}: it is UTF-16 text, which E-Post cannot read; save it as ANSI")
        return line_end(head, self.empty_end)

    # ---- putting rows down

    def lay(self, handle: Open, wanted: Sequence[Wanted]) -> tuple[list[Slot], list[Wanted]]:
        """Put rows down as comments, none of them in force; and those for which there was no place."""
        laid: list[Slot] = []
        rest: list[Wanted] = []
        if self.free and handle.white is None:
            handle.white = self._last_white(self.content(handle))
        for one in wanted:
            slot = self._reuse(handle, one)
            if slot is None:
                rest.append(one)
            else:
                laid.append(slot)
        if rest and self.appends and not rest[0].top:
            laid += self._append(handle, rest)
            rest = []
        return laid, rest

    def _last_white(self, data: bytes) -> int:
        """Where the last white-list row is: a refusal belongs below it. -1: there is none.

        Rows of our own at the top count too, but nothing of ours stands above them.
        """
        if self.kind == "effect":
            return effect.last_spared(effect.parse(data))
        return data.rfind(b"\ttrue")

    def _append(self, handle: Open, wanted: Sequence[Wanted]) -> list[Slot]:
        laid: list[Slot] = []
        at = 0
        while at < len(wanted):
            chunk: list[tuple[Wanted, bytes]] = []
            size = 0
            while at < len(wanted) and size < _CHUNK:
                data = wanted[at].text + handle.end
                _check(data, wanted[at])
                chunk.append((wanted[at], data))
                size += len(data)
                at += 1
            begin = self._ended(handle)
            text = begin + b"".join(MARK + data[1:] for _, data in chunk)
            if handle.append is None:
                handle.append = open_patiently(self.disk, self.path, append=True)
            offset = self.disk.append(handle.append, text)
            if self.disk.read(handle.change, len(text), offset) != text:
                raise FirewallError(f"{self.path}: what was appended is not there; somebody wrote over it")
            offset += len(begin)
            for one, data in chunk:
                laid.append(Slot(offset, data, False, one.owner, one.piece, one.until, top=one.top))
                offset += len(data)
        return laid

    def _ended(self, handle: Open) -> bytes:
        """What must come before a new line: nothing, or the line end that the last one lacks.

        A line without its end may be one that is being written: it is given a moment.
        """
        before = -1
        for _ in range(_LOOKS):
            size = self.disk.identity(handle.change)[2]
            if size == 0 or self.disk.read(handle.change, 1, size - 1) == b"\n":
                return b""
            if before != size:
                before = size
                self.disk.pause(_UNFINISHED)
        return handle.end

    def _reuse(self, handle: Open, wanted: Wanted) -> Slot | None:
        """The row in a slot that is free, as a comment; None when none fits or is what it was."""
        while (slot := self._fitting(wanted, handle)) is not None:
            row = wanted.text + handle.end
            filler = len(slot.data) - len(row)
            _check(row, wanted)
            data = row + (MARK + b"." * (filler - 1 - len(handle.end)) + handle.end if filler else b"")
            if not self._rewrite(handle, slot, data):
                self.lose(slot)
            else:
                self.remember(slot.text)
                slot.data = data
                slot.owner, slot.piece, slot.until, slot.top = (
                    wanted.owner, wanted.piece, wanted.until, wanted.top,
                )  # fmt: skip
                return slot
        return None

    def _fitting(self, wanted: Wanted, handle: Open) -> Slot | None:
        """Take the smallest free slot that holds the row and, where something is left, a comment behind it.

        Never one above a white-list row, which would lose its effect.
        """
        size = len(wanted.text) + len(handle.end)
        least = size + len(MARK + handle.end)
        for length in sorted(length for top, length in self.free if top == wanted.top):
            if length != size and length < least:
                continue
            slots = self.free[wanted.top, length]
            for place in range(len(slots) - 1, -1, -1):
                if wanted.top or handle.white is None or slots[place].offset > handle.white:
                    return slots.pop(place)
        return None

    def _rewrite(self, handle: Open, slot: Slot, data: bytes) -> bool:
        """Change the comment in a dead slot into the comment form of `data`; False: it is not what it was."""
        old, new = MARK + slot.data[1:], MARK + data[1:]
        if not self._at(handle, slot.offset, old):
            return False
        for start, part in steps(old, new):
            self.disk.write(handle.change, part, slot.offset + start)
        return self._at(handle, slot.offset, new)

    def _at(self, handle: Open, offset: int, expected: bytes) -> bool:
        """Whether exactly these whole lines stand there."""
        before = min(1, offset)
        found = self.disk.read(handle.change, len(expected) + before, offset - before)
        return found[before:] == expected and found[:before] in (b"", b"\n")

    # ---- in force, withdrawn

    def enforce(self, handle: Open, slots: Iterable[Slot]) -> list[Slot]:
        """Put laid rows in force; those that are not at their place any more are returned, untouched."""
        strayed = []
        due = list(slots)[::-1]
        while due:
            slot = due[-1]
            try:
                there = self._at(handle, slot.offset, MARK + slot.data[1:])
                if there:
                    self.disk.write(handle.change, slot.data[:1], slot.offset)
            except OSError:
                # A share may do what it says has failed: the row may count now.
                for one in due:
                    one.live = True
                self.unsure += due
                raise
            due.pop()
            if not there:
                strayed.append(slot)
                continue
            slot.live = True
            self.file(slot)
        return strayed

    def withdraw(self, handle: Open, slots: Iterable[Slot]) -> list[Slot]:
        """Make comments of rows in force; those that are not at their place are returned, untouched."""
        strayed = []
        for slot in slots:
            if self._at(handle, slot.offset, slot.data):
                self.disk.write(handle.change, MARK, slot.offset)
            elif not self._at(handle, slot.offset, MARK + slot.data[1:]):
                strayed.append(slot)
                continue
            self.forget(slot)
            self.release(slot)
        return strayed


def _check(row: bytes, wanted: Wanted) -> None:
    if len(row) >= LONGEST or not row.isascii() or b"\n" in wanted.text or len(wanted.text) < 2:
        raise AssertionError(f"no row for a table: {row!r}")
