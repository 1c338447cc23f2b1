"""Which bans and which rows of E-Post's tables are mailguard's own: a small SQLite file outside E-Post's
folders.

The tables have no column that says who wrote a row, so this file does. What is in force in a table was
written here, and is on the disk, before; so after a crash at any point every row of ours that counts is
known.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mailguard.firewall.desired import FOREVER, Bans, Changes, Key, scope_number
from mailguard.firewall.epostplaces import MOST_PAST, Slot
from mailguard.firewall.interface import SCOPES, FirewallError
from mailguard.model import Network
from mailguard.notation import format_network, parse_network

_SCHEMA = """
CREATE TABLE IF NOT EXISTS bans (
    scope TEXT NOT NULL, network TEXT NOT NULL, until REAL, PRIMARY KEY (scope, network)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slots (
    number INTEGER PRIMARY KEY, file TEXT NOT NULL, place INTEGER NOT NULL, data BLOB NOT NULL,
    live INTEGER NOT NULL, top INTEGER NOT NULL, owner TEXT, piece TEXT, until REAL);
CREATE TABLE IF NOT EXISTS past (
    number INTEGER PRIMARY KEY, file TEXT NOT NULL, text BLOB NOT NULL, UNIQUE (file, text));
CREATE TABLE IF NOT EXISTS allowed (network TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(slots=True)
class State:
    """The file at `path`, opened when first needed. Raises FirewallError: without it no row is written."""

    path: str
    broken: str = ""  # where a file that could not be read was put
    fresh: bool = False  # whether it was begun anew: rows of before may stand that nobody knows
    _db: sqlite3.Connection | None = None
    _lock: int | None = None

    def load(self) -> tuple[Bans, dict[str, list[Slot]]]:
        """The bans by key and the slots by file."""
        db = self._open()
        try:
            bans: Bans = {}
            for scope, network, until in db.execute("SELECT scope, network, until FROM bans"):
                parsed = parse_network(network)
                if parsed is not None and scope in SCOPES:
                    key: Key = (scope_number(scope), parsed.address, parsed.prefix)
                    bans[key] = FOREVER if until is None else until
            slots: dict[str, list[Slot]] = {}
            for number, file, place, data, live, top, owner, piece, until in db.execute(
                "SELECT number, file, place, data, live, top, owner, piece, until FROM slots"
            ):
                slots.setdefault(file, []).append(
                    Slot(
                        place,
                        data,
                        bool(live) and owner is not None and piece is not None,
                        None if owner is None else parse_network(owner),
                        None if piece is None else parse_network(piece),
                        FOREVER if until is None else until,
                        number,
                        bool(top),
                    )
                )
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        return bans, slots

    def allowed(self) -> list[Network]:
        """The networks that pass."""
        db = self._open()
        try:
            found = [parse_network(text) for (text,) in db.execute("SELECT network FROM allowed")]
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        return sorted(network for network in found if network is not None)

    def settled(self) -> None:
        """The list is not fresh any more."""
        self._open().execute("PRAGMA user_version = 1")
        self.fresh = False

    def past(self, file: str) -> list[bytes]:
        """Rows that were ours in a file and that no slot holds any more, oldest first."""
        db = self._open()
        try:
            found = db.execute("SELECT text FROM past WHERE file = ? ORDER BY number", (file,))
            return [text for (text,) in found]
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def commit(
        self,
        bans: Changes | None = None,
        enforced: Iterable[tuple[str, Slot]] = (),
        changed: Iterable[tuple[str, Slot]] = (),
        gone: Iterable[Slot] = (),
        allowed: Iterable[Network] | None = None,
        past: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        """Write it all or nothing, and wait for the disk.

        `bans`: None is lifted. `enforced`: slots, with their file, that are about to be put in force;
        `changed`: slots as they are; `gone`: slots that are none any more; `past`: rows that no slot holds
        any more.
        """
        db = self._open()
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                for (scope, address, prefix), until in (bans or {}).items():
                    place = SCOPES[scope], format_network(Network(address, prefix))
                    if until is None:
                        db.execute("DELETE FROM bans WHERE scope = ? AND network = ?", place)
                    else:
                        end = None if until == FOREVER else until
                        db.execute("INSERT OR REPLACE INTO bans VALUES (?, ?, ?)", (*place, end))
                # A slot that was freed may be among those taken again: what it will be is written last.
                for file, slot in changed:
                    self._put(db, file, slot, slot.live)
                for file, slot in enforced:
                    self._put(db, file, slot, True)
                for slot in gone:
                    db.execute("DELETE FROM slots WHERE number = ?", (slot.number,))
                    slot.number = 0
                self._put_past(db, past)
                if allowed is not None:
                    db.execute("DELETE FROM allowed")
                    db.executemany(
                        "INSERT INTO allowed VALUES (?)", [(format_network(one),) for one in set(allowed)]
                    )
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    @staticmethod
    def _put(db: sqlite3.Connection, file: str, slot: Slot, live: bool) -> None:
        row = (
            file, slot.offset, slot.data, live, slot.top,
            None if slot.owner is None else format_network(slot.owner),
            None if slot.piece is None else format_network(slot.piece),
            None if slot.until == FOREVER else slot.until,
        )  # fmt: skip
        if slot.number:
            db.execute("INSERT OR REPLACE INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (slot.number, *row))
        else:
            cursor = db.execute("INSERT INTO slots VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            slot.number = cursor.lastrowid or 0

    @staticmethod
    def _put_past(db: sqlite3.Connection, past: Iterable[tuple[str, bytes]]) -> None:
        """The newest of them stay."""
        if db.executemany("INSERT OR REPLACE INTO past VALUES (NULL, ?, ?)", past).rowcount > 0:
            db.execute(
                "DELETE FROM past WHERE number <= (SELECT max(number) FROM past) - ?", (4 * MOST_PAST,)
            )

    def replace(self, file: str, slots: Iterable[Slot], past: Iterable[bytes] = ()) -> None:
        """These are the slots of a file, and no others are. `past`: see `commit`."""
        db = self._open()
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("DELETE FROM slots WHERE file = ?", (file,))
                # Those that have a number first: a new one must not get the number of another.
                for slot in sorted(slots, key=lambda slot: not slot.number):
                    self._put(db, file, slot, slot.live)
                self._put_past(db, [(file, text) for text in past])
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def close(self) -> None:
        """Let go; the next use opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open(self) -> sqlite3.Connection:
        if self._db is not None:
            return self._db
        try:
            Path(self.path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._only_one()
            try:
                self._db = self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._put_aside()
                self._db = self._connect()
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise self._trouble(error) from error
        return self._db

    def _connect(self) -> sqlite3.Connection:
        mask = os.umask(0o077)
        try:
            db = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
        finally:
            os.umask(mask)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(_SCHEMA)
            self.fresh = db.execute("PRAGMA user_version").fetchone() == (0,)
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _only_one(self) -> None:
        """Two guards that change the same rows would undo each other's work."""
        lock = os.open(self.path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise FirewallError(f"{self.path}: another guard has this file and writes these tables") from None
        self._lock = lock

    def _put_aside(self) -> None:
        """What cannot be read is kept for whoever wants to look, and begun anew."""
        self.broken = self.path + ".broken"
        os.replace(self.path, self.broken)
        for more in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + more)

    def _trouble(self, error: Exception) -> FirewallError:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return FirewallError(f"{self.path}: the list of own rows cannot be kept: {why}; no row is written")
