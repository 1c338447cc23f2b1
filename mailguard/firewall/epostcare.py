"""What an administrator does to E-Post's tables with the guard and the service stopped: make the files,
reserve lines in them, and take the dead rows out.

These rewrite a table, which nothing else here ever does. So each refuses while the enforcer has the state
file or, as far as this host shows it, E-Post runs; and each keeps a copy of the table beside the state
file first. The table itself is overwritten in place: it keeps its owner, its rights and its place, and no
other file appears beside the programs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailguard.epost import effect, own, reserved
from mailguard.epost.own import BEGIN_BLOCK, END_BLOCK
from mailguard.firewall.epost import Epost
from mailguard.firewall.epostdisk import explained
from mailguard.firewall.epostfile import Open, TableFile
from mailguard.firewall.interface import FirewallError

#: Programs of E-Post on Unix, as /proc names them.
_SERVICES = frozenset({"epstrd", "epstdd", "epstpop3d", "epstimap4d"})


@dataclass(frozen=True, slots=True)
class Done:
    """What was (or would be) done to a table: sizes in bytes, lines reserved or taken out."""

    path: str
    before: int
    after: int
    lines: int
    made: bool = False
    copy: str = ""


def running(proc: str = "/proc") -> list[str]:
    """E-Post's services that run on this host."""
    found = set()
    for entry in Path(proc).iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text(encoding="ascii", errors="replace").strip()
            except OSError:
                continue
            if name in _SERVICES:
                found.add(name)
    return sorted(found)


def make(driver: Epost, dry: bool) -> list[Done]:
    """Create the reject tables that are missing, for the owner of the folder. Raises FirewallError."""
    done = []
    for table in driver.tables:
        if os.path.exists(table.path) or table.kind == "effect":
            continue
        if not dry:
            try:
                folder = os.stat(os.path.dirname(table.path))
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                descriptor = os.open(table.path, flags, 0o644)
                try:
                    if os.geteuid() == 0:
                        os.fchown(descriptor, folder.st_uid, folder.st_gid)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise FirewallError(explained(table.path, error)) from error
        done.append(Done(table.path, 0, 0, 0, made=True))
    return done


def reserve(driver: Epost, allow: int, reject: int, lines: int, dry: bool) -> list[Done]:
    """Set lines aside: at the top of each reject table for white-list rows, at its end for refusals; in
    effect.dat where refusals belong. Raises FirewallError."""
    done = []
    with _alone(driver):
        for table in driver.tables:
            if not os.path.exists(table.path):
                continue
            with table.opened() as handle:
                data = table.content(handle)
                table.recognise(data)
                if table.kind == "effect":
                    fresh, number, place = _effect(data, lines, handle.end)
                else:
                    fresh = reserved.prepared(data, handle.end, 0, allow, reject, len(data))
                    number, place = allow + reject, 0
                inserted = len(fresh) - len(data) if table.kind == "effect" else allow * reserved.WIDTH
                if number:
                    moves = [(place, inserted)]
                    copy = "" if dry else _replace(driver, table, handle, data, fresh, moves)
                    done.append(Done(table.path, len(data), len(fresh), number, copy=copy))
    return done


def _effect(data: bytes, lines: int, end: bytes) -> tuple[bytes, int, int]:
    """effect.dat with so many lines more between our marks, which are made where they are missing; how many,
    and where."""
    if not lines:
        return data, 0, 0
    found = effect.parse(data)
    mark = next((one for one in found if one.text.encode() == END_BLOCK), None)
    place = mark.offset if mark else effect.place(found)
    head, rest = data[:place], data[place:]
    if head and not head.endswith(b"\n"):
        head += end
    block = reserved.reserved(False, end) * lines
    if mark is None:
        block = BEGIN_BLOCK + end + block + END_BLOCK + end
    return head + block + rest, lines, place


def compact(driver: Epost, dry: bool, unknown: bool = False) -> list[Done]:
    """Take out the dead rows of our own; lines that `reserve` set aside stay. With `unknown` also rows that
    have the form of ours and are in no list. Raises FirewallError."""
    done = []
    with _alone(driver):
        for table in driver.tables:
            if not os.path.exists(table.path):
                continue
            with table.opened() as handle:
                data = table.content(handle)
                table.recognise(data)
                gone = {
                    (slot.offset, len(slot.data))
                    for slots in table.free.values()
                    for slot in slots
                    if table.kind != "effect" and not _is_reserve(data, slot.offset, len(slot.data))
                }
                if unknown:
                    known = {slot.offset for slot in table.slots()}
                    gone |= {(offset, length) for offset, length, _ in own.unknown(table.kind, data, known)}
                fresh = reserved.compacted(data, sorted(gone))
                copy = ""
                if gone and not dry:
                    table.drop(gone)
                    moves = [(offset + length, -length) for offset, length in gone]
                    copy = _replace(driver, table, handle, data, fresh, moves)
                done.append(Done(table.path, len(data), len(fresh), len(gone), copy=copy))
    return done


def _is_reserve(data: bytes, offset: int, length: int) -> bool:
    return reserved.is_reserved(data[offset : offset + length])


@contextmanager
def _alone(driver: Epost) -> Iterator[None]:
    """Nobody else changes these tables meanwhile, as far as that can be made sure of."""
    if services := running():
        raise FirewallError(f"{', '.join(services)} runs here: stop E-Post's services first")
    _, slots = driver.state.load()  # and the lock of the state file with it
    try:
        for table in driver.tables:
            table.reset(slots.get(table.path, ()))
            table.past = dict.fromkeys(driver.state.past(table.path))
        yield
    finally:
        driver.state.close()


def _replace(
    driver: Epost,
    table: TableFile,
    handle: Open,
    data: bytes,
    fresh: bytes,
    moves: Sequence[tuple[int, int]],
) -> str:
    """Overwrite a table in place, having kept what it was; where our rows are now is written down.

    `moves`: what stood at such an offset or behind it is so many bytes further on.
    """
    copy = os.path.join(os.path.dirname(driver.state.path), os.path.basename(table.path) + ".before")
    with open(copy, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if table.content(handle) != data:
        raise FirewallError(f"{table.path}: somebody else writes it; stop E-Post's services first")
    table.disk.write(handle.change, fresh, 0)
    os.ftruncate(handle.change, len(fresh))
    os.fsync(handle.change)
    moves = sorted(moves)
    slots = sorted(table.slots(), key=lambda slot: slot.offset)
    at = shift = 0
    for slot in slots:
        while at < len(moves) and moves[at][0] <= slot.offset:
            shift += moves[at][1]
            at += 1
        slot.offset += shift
    table.reset(slots)
    table.recognise(fresh)
    driver.state.replace(table.path, table.slots(), table.fresh_past)
    return copy
