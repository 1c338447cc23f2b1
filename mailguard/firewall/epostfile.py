"""One of E-Post's tables as mailguard changes it: only own rows, in place, beside a server that appends.

A row of ours lives in a *slot*: a stretch of whole lines that only we change. It is laid down as a comment
and then put in force by one byte, its first; it is withdrawn by overwriting that byte with the comment
mark. So at every moment a reader sees a row wholly or not at all, whatever else it sees half. Slots come
from three places: dead rows of our own, lines that `mailguard epost prepare` reserved, and the end of the
file, by one append.

Nothing is changed before the bytes at its place were read and are what they should be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mailguard.epost import effect
from mailguard.epost.overlay import steps
from mailguard.epost.own import block
from mailguard.epost.reserved import ALLOWED, BEGINS, is_reserved
from mailguard.epost.tables import LONGEST, line_end, lines
from mailguard.firewall.epostdisk import Disk, Stamp, explained, open_patiently
from mailguard.firewall.interface import FirewallError
from mailguard.model import Network

MARK = b"'"
#: Bytes appended by one call at most, whole lines.
_CHUNK = 1 << 16
#: Rows of ours that are remembered after their place was used for another.
MOST_PAST = 20_000
#: Seconds to wait for the end of a line that somebody is writing, and how often.
_UNFINISHED, _LOOKS = 0.01, 5
_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(slots=True, eq=False)
class Slot:
    """A place of our own. `data` is what stands there while its row is in force, line ends included."""

    offset: int
    data: bytes
    live: bool
    owner: Network | None = None  # the banned network, and the part of it that this row keeps out
    piece: Network | None = None
    until: float = 0.0
    number: int = 0  # in the state file; 0: not there yet
    top: bool = False  # reserved for white-list rows

    @property
    def text(self) -> bytes:
        """The row, without line end and without what fills the place up."""
        return self.data.partition(b"\n")[0].rstrip(b"\r")


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


@dataclass(slots=True)
class TableFile:
    """A table: its path and the slots in it. `appends`: new rows may go to its end."""

    path: str
    kind: str
    disk: Disk
    appends: bool = True
    empty_end: bytes = b"\n"  # the line end of a table that has none yet
    rows: dict[Network, dict[Network, Slot]] = field(default_factory=dict)  # by owner and piece
    allowed: dict[Network, Slot] = field(default_factory=dict)
    surplus: list[Slot] = field(default_factory=list)  # in force, and another one is too
    unsure: list[Slot] = field(default_factory=list)  # not compared with the table yet, see `recognise`
    free: dict[tuple[bool, int], list[Slot]] = field(default_factory=dict)  # by `top` and length
    past: dict[bytes, None] = field(default_factory=dict)  # rows of ours that no slot holds, oldest first
    saved_anew: bool = False  # by somebody, as far as is known since the last look
    fresh_past: list[bytes] = field(default_factory=list)  # of these: not in the state file yet

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

    # ---- reading what stands

    def recognise(self, data: bytes) -> list[Slot]:
        """Compare the slots with the file: which are in force, which are not, which are gone.

        A row in force that is not at its place but stands elsewhere as a line of its own was moved (somebody
        saved the file anew) and is followed there; rows that are the same byte for byte are interchangeable.

        A row that was withdrawn and counts again comes from an old copy of the table that somebody saved over
        it; it is returned, and is among what the next work withdraws.
        """
        known = sorted(self.slots(), key=lambda slot: not slot.live)
        self.reset()
        taken: set[int] = set()
        lost: list[Slot] = []
        revived: list[Slot] = []
        for slot in known:
            there = data[slot.offset : slot.offset + len(slot.data)]
            begins = slot.offset == 0 or data[slot.offset - 1 : slot.offset] == b"\n"
            if slot.offset in taken:
                continue  # one place, one row
            if not begins or there[1:] != slot.data[1:] or there[:1] not in (MARK, slot.data[:1]):
                lost.append(slot)
                continue
            if not slot.live and there[:1] != MARK:
                revived.append(slot)  # a row in force that was lost may be the same: see below
                continue
            taken.add(slot.offset)
            slot.live = there[:1] != MARK
            self.file(slot)
        found = self.locate([slot for slot in lost if slot.live], data, taken)
        for slot in found:
            self.file(slot)
        followed = set(found)
        for slot in lost:
            if slot not in followed:
                self.remember(slot.text)
        revived = [slot for slot in revived if slot.offset not in taken]
        for slot in revived:
            slot.live = True
            taken.add(slot.offset)
        # Where all is in its place, such a row was appended by somebody else.
        if lost or revived or self.saved_anew or not known:
            revived += self._again_in_force(data, taken)
        self.surplus += revived
        self.saved_anew = False
        self._find_reserved(data, taken)
        return revived

    def locate(self, lost: Sequence[Slot], data: bytes, taken: set[int] | None = None) -> list[Slot]:
        """Find rows in force where they stand now; those found, with their new places.

        The comments behind them are left to whoever moved them. `taken`: offsets of other slots.
        """
        if not lost:
            return []
        if taken is None:
            taken = {slot.offset for slot in self.slots() if slot not in lost and self.stands(data, slot)}
        places: dict[bytes, list[tuple[int, int]]] = {}
        for offset, length, text in lines(data):
            if offset not in taken and data[offset + length - 1 : offset + length] == b"\n":
                places.setdefault(text, []).append((offset, length))
        found = []
        for slot in lost:
            if there := places.get(slot.text):
                slot.offset, length = there.pop(0)
                slot.data = data[slot.offset : slot.offset + length]
                taken.add(slot.offset)
                found.append(slot)
        return found

    def _again_in_force(self, data: bytes, taken: set[int]) -> list[Slot]:
        """Rows of ours that were withdrawn long ago and stand where no slot is."""
        found = []
        # A hand writes refusals into effect.dat as we do; those between our marks are ours.
        begin, end = block(data) if self.kind == "effect" else (-1, len(data))
        for offset, length, text in lines(data[:end]):
            if (
                offset > begin
                and text in self.past
                and offset not in taken
                and data.endswith(b"\n", offset, offset + length)
            ):
                taken.add(offset)
                found.append(Slot(offset, data[offset : offset + length], True))
        return found

    def lose(self, slot: Slot) -> None:
        """A place is not what it was: somebody saved the table anew, which the next look is about."""
        self.saved_anew = True
        self.remember(slot.text)

    def remember(self, text: bytes) -> None:
        """A row of ours that no slot holds any more."""
        if text[1:].startswith(BEGINS[1:]):
            return  # it never held one
        self.past.pop(text, None)
        self.past[text] = None
        self.fresh_past.append(text)
        while len(self.past) > MOST_PAST:
            del self.past[next(iter(self.past))]

    def _find_reserved(self, data: bytes, taken: set[int]) -> None:
        place = data.find(BEGINS)
        while place >= 0:
            end = data.find(b"\n", place) + 1
            line = data[place:end]
            begins = place == 0 or data[place - 1 : place] == b"\n"
            if begins and place not in taken and is_reserved(line):
                top = ALLOWED in line
                self.release(Slot(place, b"0" + line[1:], False, top=top))
            place = data.find(BEGINS, place + 1)

    def file(self, slot: Slot) -> None:
        """Know a slot as what it is now."""
        if not slot.live:
            self.release(slot)
            return
        assert slot.piece is not None
        assert slot.owner is not None
        before = self.find(slot.owner, slot.piece, slot.top)
        if before is not None and before is not slot:
            self.surplus.append(before)
        if slot.top:
            self.allowed[slot.piece] = slot
        else:
            self.rows.setdefault(slot.owner, {})[slot.piece] = slot

    def reset(self, unsure: Iterable[Slot] = ()) -> None:
        """Know no slots but these of the state file; `recognise` says what of it is true."""
        self.rows, self.allowed, self.free, self.surplus = {}, {}, {}, []
        self.unsure = list(unsure)

    def live(self) -> list[Slot]:
        """The rows that are in force."""
        rows = (slot for rows in self.rows.values() for slot in rows.values())
        return [*rows, *self.allowed.values(), *self.surplus]

    def slots(self) -> list[Slot]:
        """All places of our own."""
        free = (slot for slots in self.free.values() for slot in slots)
        return [*self.live(), *self.unsure, *free]

    def release(self, slot: Slot) -> None:
        """A place is free for another row."""
        slot.live = False
        slot.owner = slot.piece = None
        self.free.setdefault((slot.top, len(slot.data)), []).append(slot)

    def drop(self, places: Collection[tuple[int, int]]) -> None:
        """Free places (offset, length) that are taken out of the file."""
        for slots in self.free.values():
            for slot in slots:
                if (slot.offset, len(slot.data)) in places:
                    self.remember(slot.text)
            slots[:] = [slot for slot in slots if (slot.offset, len(slot.data)) not in places]

    def find(self, owner: Network, piece: Network, top: bool = False) -> Slot | None:
        """The row in force for a network, or the white-list row."""
        return self.allowed.get(piece) if top else self.rows.get(owner, {}).get(piece)

    def stands(self, data: bytes, slot: Slot) -> bool:
        """Whether a row is in force in that content."""
        return data[slot.offset : slot.offset + len(slot.data)] == slot.data

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

    def forget(self, slot: Slot) -> None:
        """A slot is no row in force any more."""
        if slot in self.surplus:
            self.surplus.remove(slot)
        if slot.piece is None or slot.owner is None:
            return
        if self.allowed.get(slot.piece) is slot:
            del self.allowed[slot.piece]
            return
        rows = self.rows.get(slot.owner, {})
        if rows.get(slot.piece) is slot:
            del rows[slot.piece]
            if not rows:
                del self.rows[slot.owner]


def _check(row: bytes, wanted: Wanted) -> None:
    if len(row) >= LONGEST or not row.isascii() or b"\n" in wanted.text or len(wanted.text) < 2:
        raise AssertionError(f"no row for a table: {row!r}")
