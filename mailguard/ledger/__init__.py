"""The ledger: every effect with its evidence, the bans that are due, and the checkpoint of the engine.

Owns: the database file. Never: decides anything. The firewall acts first, the ledger notes it after; what
must be blocked is what the ledger says (`due`), so a restart restores the bans from here.

Recording is idempotent by what was found (detector, key, first event, network): after a crash the lines since
the last checkpoint are read again and give the same effects, which are then already here.
"""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from ..model import Ban, Effect, Event, Impose, Lift, Network
from .answers import Answers, span
from .deltas import Merger, known
from .deltas import pack as pack_rows
from .evidence import Lines, pack, unpack
from .redact import Redactor
from .rows import EFFECT_INSERT, Due, effect_row
from .store import LedgerError, Store, words

__all__ = ["Ledger", "LedgerError"]

DAY = 86400.0

_AHEAD = 60.0  # seconds that a ban may begin after now: stamps of logs are that far ahead at most


class Ledger:
    """The record of what was done and why. One writer; readers open it with `readonly`."""

    def __init__(self, path: str | Path, *, evidence: str = "redacted", readonly: bool = False):
        """Open or make the ledger at `path` (`:memory:` for tests). `evidence`: "redacted", "full" (names are
        kept as they are) or "none" (no lines at all).

        Raises LedgerError when it cannot be opened or is of another version.
        """
        self._store = Store(path, readonly=readonly)
        try:
            self._db = self._store.db
            key = self._store.get("hash-key")
            self.redactor = Redactor(key if isinstance(key, bytes) else b"", full=evidence == "full")
            self._lines = Lines(self._db, self.redactor)
            self._keep_lines = evidence != "none"
            # Questions have a connection of their own, so that they neither wait for a writing thread nor see
            # what it has not committed.
            self._reader = self._store if self._store.memory or readonly else Store(path, readonly=True)
            self.answers = Answers(self._reader.db, self._lines)
            self._merger = None if readonly else Merger(self._db, self._store.path)
        except sqlite3.Error as error:
            self._store.close()
            raise LedgerError(words(str(path), error)) from error
        self._lock = threading.RLock()
        self._tidied = 0.0
        self._positions: dict[str, bytes] | None = None  # as they stand in the file; None: not known

    # ------------------------------------------------------------ writing

    def record(self, effects: Sequence[Effect]) -> None:
        """Note effects, in their order, in one transaction. LedgerError when the disk does not take them."""
        if not effects:
            return
        with self._writing() as db:
            for effect in effects:
                row = effect_row(effect, self._lines)
                cursor = db.execute(EFFECT_INSERT, row)
                if isinstance(effect, Impose):
                    self._stand(db, effect.ban, cursor.lastrowid if cursor.rowcount == 1 else None)
                elif isinstance(effect, Lift):
                    self._fall(db, effect, new=cursor.rowcount == 1)

    def _stand(self, db: sqlite3.Connection, ban: Ban, effect: int | None) -> None:
        if effect is None:
            return  # known from before a crash; what was done to it since is younger
        db.execute(
            "INSERT OR REPLACE INTO bans (address, prefix, scope, since, until, ordinal, effect)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                pack(ban.network.address),
                ban.network.prefix,
                ban.scope,
                ban.since,
                ban.until,
                ban.ordinal,
                effect,
            ),
        )

    def _fall(self, db: sqlite3.Connection, lift: Lift, *, new: bool) -> None:
        if new:
            db.execute(
                "DELETE FROM bans WHERE address = ? AND prefix = ? AND scope = ? AND since <= ?",
                (pack(lift.network.address), lift.network.prefix, lift.scope, lift.time),
            )

    def evidence(self, events: Iterable[Event]) -> None:
        """Keep hostile lines for `why`. They reach the disk with the next checkpoint, so none is kept
        twice."""
        if self._keep_lines:
            self._lines.add(events)

    def checkpoint(
        self, rows: Iterable[tuple[str, bytes, bytes | None]], positions: Mapping[str, bytes]
    ) -> None:
        """Write the engine's changes, the feeds' positions and the waiting lines: all or none.

        `rows` are (table, key, value); value None deletes. `positions` replace all former ones. LedgerError
        when the disk does not take them; the same rows may then be given again.
        """
        try:
            with self._writing() as db:
                changed = pack_rows(rows)
                if changed:
                    db.execute("INSERT INTO delta (rows) VALUES (?)", (changed,))
                if positions != self._positions:
                    db.execute("DELETE FROM positions")
                    db.executemany("INSERT INTO positions VALUES (?, ?)", map(_named, positions.items()))
                self._lines.write()
        except LedgerError:
            self._lines.undone()
            self._positions = None
            raise
        self._positions = dict(positions)
        self._lines.written()
        # What is wrong with the disk is met, and said, at the next checkpoint.
        if self._merger is not None:
            with suppress(sqlite3.Error, ValueError), self._lock:
                self._merger.wrote(self._store.db, len(changed))
        self._store.fold(len(changed))

    # ------------------------------------------------------------ reading back

    def restore(self) -> Iterator[tuple[str, bytes, bytes]]:
        """The engine's rows of the last checkpoint, in no order that means anything."""
        db = self._reader.db
        try:
            with self._reading():
                if not self._store.memory:
                    db.execute("BEGIN")  # what is merged meanwhile must not be seen twice, or not at all
                yield from known(db)
        finally:
            if db.in_transaction:
                db.execute("COMMIT")

    def positions(self) -> dict[str, bytes]:
        """The feeds' positions of the last checkpoint. LedgerError when they cannot be read."""
        with self._reading() as db:
            return {
                log if isinstance(log, str) else log.decode("utf-8", "surrogateescape"): value
                for log, value in db.execute("SELECT log, value FROM positions")
            }

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Says in words what is wrong with a file that cannot be read."""
        try:
            yield self._reader.db
        except (sqlite3.Error, ValueError) as error:
            raise LedgerError(words(self._store.path, error)) from error

    def due(self, now: float) -> list[Ban]:
        """Every ban that stands at `now`: what the kernel must hold.

        These are `Due` values, which have of a ban only what a firewall asks for: network, end and scope.
        LedgerError when they cannot be read.
        """
        new, unpacked = tuple.__new__, unpack
        collecting = gc.isenabled()
        gc.disable()  # 100,000 new objects would set it off a hundred times, and none of them is garbage
        try:
            with self._reading() as db:
                rows = db.execute(
                    "SELECT address, prefix, until, scope FROM bans WHERE until IS NULL OR until > ?", (now,)
                ).fetchall()
            due = [
                new(Due, (new(Network, (a if a.__class__ is int else unpacked(a), p)), until, scope))
                for a, p, until, scope in rows
            ]
        finally:
            if collecting:
                gc.enable()
        return cast(list[Ban], due)

    def turn_back(self, now: float) -> None:
        """The clock was ahead when bans were written down: they begin now, and last as long as was said.
        LedgerError when the disk does not take it."""
        ahead = "FROM bans WHERE since > ?"
        if self._reader.db.execute(f"SELECT 1 {ahead} LIMIT 1", (now + _AHEAD,)).fetchone() is None:
            return
        with self._writing() as db:
            db.execute(
                "UPDATE bans SET until = until - since + ?1, since = ?1 WHERE since > ?2", (now, now + _AHEAD)
            )

    # ------------------------------------------------------------ named values

    def get(self, key: str) -> Any:
        """A named value of the daemon (mode, pause), or None. LedgerError when it cannot be read."""
        with self._lock, self._reading():
            return self._store.get("daemon:" + key)

    def put(self, key: str, value: str | float | bytes | None) -> None:
        """Keep a named value; None forgets it. LedgerError when the disk does not take it."""
        with self._writing():
            self._store.put("daemon:" + key, value)

    # ------------------------------------------------------------ keeping it small

    def tidy(self, now: float, *, retention: float = 90 * DAY, every: float = 3600) -> None:
        """Once in `every` seconds: drop ended bans, and lines and effects older than `retention` seconds.

        Cheap otherwise.
        """
        if now - self._tidied < every:
            return
        with self._writing() as db:
            db.execute("DELETE FROM bans WHERE until <= ?", (now,))
            self._lines.forget(now - retention)
            db.execute(
                "DELETE FROM effects WHERE time < ? AND id NOT IN (SELECT effect FROM bans)",
                (now - retention,),
            )
        self._tidied = now

    def purge(self, *, before: float | None = None, network: Network | None = None) -> dict[str, int]:
        """Delete lines and effects older than `before`, or all that concern `network`; standing bans stay.

        Returns how many rows of each were deleted.
        """
        low, high = span(network) if network is not None else (0, 0)
        deleted: dict[str, int] = {}
        with self._writing() as db:
            for table in ("evidence", "effects"):
                keep = "" if table == "evidence" else " AND id NOT IN (SELECT effect FROM bans)"
                if before is not None:
                    cursor = db.execute(f"DELETE FROM {table} WHERE time < ?{keep}", (before,))
                elif network is not None:
                    cursor = db.execute(
                        f"DELETE FROM {table} WHERE address BETWEEN ? AND ?{keep}", (pack(low), pack(high))
                    )
                else:
                    cursor = db.execute(f"DELETE FROM {table} WHERE 1{keep}")
                deleted[table] = cursor.rowcount
            self._lines.rows = None
        return deleted

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                if self._store.displaced():
                    self._rescue()
                with self._store.transaction() as db:
                    yield db
        except sqlite3.Error as error:
            raise LedgerError(words(self._store.path, error)) from error
        except (UnicodeError, OverflowError) as error:  # said, and tried again, by a thread that lives on
            raise LedgerError(f"{self._store.path}: a value cannot be written: {error}") from error

    def _rescue(self) -> None:
        """The file was deleted under us: make it anew, then say so as any other trouble is said."""
        path = self._store.path
        self._store.rescue()
        self._store = Store(path)
        self._db = self._lines.db = self._store.db
        self._reader = Store(path, readonly=True)
        self.answers = Answers(self._reader.db, self._lines)
        raise LedgerError(f"{path} was deleted while it was in use; it was made anew")

    def close(self) -> None:
        """Close the file. What waits for a checkpoint is not written: the lines will be read again."""
        if self._merger is not None:
            self._merger.close()
        if self._reader is not self._store:
            self._reader.close()
        self._store.close()

    @property
    def waiting(self) -> int:
        """Lines that wait for the next checkpoint."""
        return self._lines.waiting

    def counts(self) -> dict[str, int]:
        """Figures for `status`: lines dropped for want of room, lines waiting."""
        return {"evidence_dropped": self._lines.dropped, "evidence_waiting": self._lines.waiting}


def _named(position: tuple[str, bytes]) -> tuple[str | bytes, bytes]:
    """A position's row; a log whose path is no UTF-8 is named by its bytes, which SQLite takes."""
    log, value = position
    try:
        log.encode()
    except UnicodeEncodeError:
        return log.encode("utf-8", "surrogateescape"), value
    return log, value
