"""The ledger's file: one SQLite database with a write-ahead log, mode 0600, made and opened here.

A ban reaches the kernel first and this file after it, so durability is `synchronous = NORMAL`: a killed
process loses nothing, a power cut loses at most the last moments, which are read again from the logs. Folding
the write-ahead log back needs fsync, so a short-lived thread with a connection of its own does it: the loop
never waits for the disk.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VERSION = 2
#: Rows changed, and bytes written in large values, before the thread folds the write-ahead log back.
FOLD_CHANGES, FOLD_BYTES = 5_000, 4 << 20
LIMIT_BYTES = 250 << 20  # beyond that SQLite folds it itself, whatever it costs
#: Bytes of a page of a new ledger; an older one keeps its 4,096. Most of what is written are large values,
#: and each page of them is copied twice: with half as many pages folding takes a fifth less (see note 0013).
PAGE = 8192

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE effects (
    id INTEGER PRIMARY KEY,
    what TEXT NOT NULL,                 -- impose, lift, alert
    time REAL NOT NULL,                 -- of the deciding event, or of the request
    detector TEXT NOT NULL,             -- '' for an administrator's
    key TEXT NOT NULL,
    first REAL NOT NULL,                -- lift and administrator's: the time of asking
    last REAL NOT NULL,
    count INTEGER NOT NULL,
    kinds TEXT NOT NULL,                -- joined by '+'
    address NOT NULL,                   -- IPv4: integer; IPv6: 16 bytes; '': an alert about no address
    prefix INTEGER NOT NULL,
    since REAL,
    until REAL,                         -- NULL: permanent, or no ban
    ordinal INTEGER NOT NULL,
    scope TEXT NOT NULL,
    reason TEXT NOT NULL,               -- lift: why; alert: why no ban; impose: the administrator's words
    text TEXT NOT NULL,                 -- the effect in the plain notation
    evidence TEXT NOT NULL,             -- JSON: [[time, rule, log, position, weight, line], ...]
    sources TEXT NOT NULL               -- JSON: addresses that took part
);
CREATE UNIQUE INDEX effects_once ON effects (what, detector, key, first, address, prefix, scope, reason);
CREATE INDEX effects_where ON effects (address, prefix);
CREATE INDEX effects_when ON effects (time);
CREATE TABLE bans (
    address NOT NULL, prefix INTEGER NOT NULL, scope TEXT NOT NULL,
    since REAL NOT NULL, until REAL, ordinal INTEGER NOT NULL, effect INTEGER NOT NULL,
    PRIMARY KEY (address, prefix, scope)
);
CREATE INDEX bans_end ON bans (until);
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY,
    address NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL, rule TEXT NOT NULL, log TEXT NOT NULL,
    position INTEGER NOT NULL, weight INTEGER NOT NULL, line TEXT NOT NULL, fields TEXT NOT NULL
);
CREATE INDEX evidence_source ON evidence (address);
CREATE TABLE state (
    tbl TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (tbl, key)
) WITHOUT ROWID;
CREATE TABLE delta (
    id INTEGER PRIMARY KEY, rows BLOB NOT NULL  -- see deltas.py
);
CREATE TABLE positions (log TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


#: What makes a ledger of an older version one of the next.
UPGRADES = {1: "CREATE TABLE delta (id INTEGER PRIMARY KEY, rows BLOB NOT NULL)"}


class LedgerError(Exception):
    """The ledger cannot be opened or written; the text says why and what to do."""


def words(path: str, error: Exception) -> str:
    """What is wrong with the ledger at `path`, and what to do about it where the file itself is damaged."""
    damaged = "not a database" in str(error) or "malformed" in str(error) or isinstance(error, ValueError)
    advice = (
        "; put a backup in its place, or move it away to begin anew: bans that stand in the firewall stay"
        if damaged
        else ""
    )
    return f"{path}: {error}{advice}"


class Store:
    """The database connection, its transactions and the small named values (`meta`)."""

    def __init__(self, path: str | Path, *, readonly: bool = False):
        """Open or make the file. `:memory:` keeps everything in memory. LedgerError where that cannot be."""
        self.path = str(path)
        self.readonly = readonly
        self.memory = self.path == ":memory:"
        self._folding: threading.Thread | None = None
        self._folded = 0  # total changes at the last folding
        self._unfolded = 0  # bytes since then
        try:
            self.db = self._open()
            self._prepare()
            self._identity = None if self.memory else _identity(self.path)
        except sqlite3.DatabaseError as error:
            raise LedgerError(words(self.path, error)) from error
        except OSError as error:
            raise LedgerError(f"{self.path}: {error.strerror}") from error

    def _open(self) -> sqlite3.Connection:
        # One loop owns the connection; tests and shutdown may close it from another thread.
        if self.memory:
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        if self.readonly:
            uri = Path(self.path).absolute().as_uri() + "?mode=ro"
            return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=2, check_same_thread=False)
        # Made with its mode before SQLite opens it; the -wal and -shm files take the mode of the main file.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        return sqlite3.connect(self.path, isolation_level=None, timeout=5, check_same_thread=False)

    def _prepare(self) -> None:
        db = self.db
        if not self.readonly and not self.memory:
            db.execute(f"PRAGMA page_size = {PAGE}")  # heard where the file is still empty
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            (page,) = db.execute("PRAGMA page_size").fetchone()
            db.execute(f"PRAGMA wal_autocheckpoint = {LIMIT_BYTES // page}")
            db.execute("PRAGMA journal_size_limit = 16777216")
        db.execute("PRAGMA cache_size = -8192")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0 and not self.readonly:
            with self.transaction():
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        db.execute(statement)
                db.execute("INSERT INTO meta VALUES ('hash-key', ?)", (secrets.token_bytes(16),))
                db.execute(f"PRAGMA user_version = {VERSION}")
            return
        while version in UPGRADES and not self.readonly:
            with self.transaction():
                db.execute(UPGRADES[version])
                version += 1
                db.execute(f"PRAGMA user_version = {version}")
        if version != VERSION and not (self.readonly and version in UPGRADES):
            raise LedgerError(
                f"{self.path}: this is no ledger of this version of mailguard"
                f" (found {version}, wanted {VERSION}); move it away to begin anew"
            )

    def displaced(self) -> bool:
        """Whether the file that is written is no longer the one at its path."""
        return not self.memory and _identity(self.path) != self._identity

    def rescue(self) -> None:
        """Put all that is known back to the path from which the file was deleted, and close it. LedgerError
        where something else stands there, or it cannot be written."""
        if os.path.lexists(self.path):
            raise LedgerError(f"{self.path}: another file was put in its place; stop the guard before that")
        copy = self.path + ".copy"
        try:
            with suppress(FileNotFoundError):
                os.unlink(copy)
            os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self.db.execute("VACUUM INTO ?", (copy,))
            self.close()  # before the new one has a log: closing takes away what bears that name
            for tail in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(self.path + tail)
            os.rename(copy, self.path)
        except OSError as error:
            raise LedgerError(f"{self.path} was deleted: {error.strerror}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: what is done inside is written together, or undone when anything is raised."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:  # a full disk makes SQLite roll back by itself
                self.db.execute("ROLLBACK")
            raise

    def get(self, key: str) -> object:
        """A named value, or None."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def put(self, key: str, value: object) -> None:
        """Keep a named value (text, number, bytes); None forgets it."""
        if value is None:
            self.db.execute("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def fold(self, size: int = 0) -> None:
        """Fold the write-ahead log back when much was written, in a thread of its own; `size`: bytes that few
        rows took. Never waits."""
        changes = self.db.total_changes
        self._unfolded += size
        if self.memory or self.readonly:
            return
        if changes - self._folded < FOLD_CHANGES and self._unfolded < FOLD_BYTES:
            return
        if self._folding is None or not self._folding.is_alive():
            self._folded, self._unfolded = changes, 0
            self._folding = threading.Thread(target=self._fold, name="ledger-fold", daemon=True)
            self._folding.start()

    def _fold(self) -> None:
        try:
            db = sqlite3.connect(self.path, timeout=5, isolation_level=None)
            try:
                # Passive: it waits for nobody, and the next writer begins the file anew when all was folded.
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                db.close()
        except sqlite3.Error:
            return  # the writer meets the same trouble and says it

    def close(self) -> None:
        """Close the file; what was committed stays."""
        if self._folding is not None:
            self._folding.join(timeout=10)
        self.db.close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino
