"""The places of our own in one of E-Post's tables, and what of them is true, from the table's content.

A place is a stretch of whole lines that only we change (see `epostfile`). Its row is in force or a comment.
Somebody may save the table anew at any time: rows are then followed to where they stand, and what was
withdrawn and counts again is found.

Owns: which row stands where, which places are free, which rows were ours.
Never: opens a file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from mailguard.epost.own import block
from mailguard.epost.reserved import ALLOWED, BEGINS, is_reserved
from mailguard.epost.tables import lines
from mailguard.model import Network

MARK = b"'"
#: Rows of ours that are remembered after their place was used for another.
MOST_PAST = 20_000


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


class Places:
    """Those of one table."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.rows: dict[Network, dict[Network, Slot]] = {}  # by owner and piece
        self.allowed: dict[Network, Slot] = {}
        self.surplus: list[Slot] = []  # in force, and another one is too, or no ban wants it
        self.unsure: list[Slot] = []  # not compared with the table yet, see `recognise`
        self.free: dict[tuple[bool, int], list[Slot]] = {}  # by `top` and length
        self.past: dict[bytes, None] = {}  # rows of ours that no slot holds, oldest first
        self.fresh_past: list[bytes] = []  # of these: not in the state file yet
        self.saved_anew = False  # by somebody, as far as is known since the last look

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
