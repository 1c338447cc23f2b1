"""Which bans and which entries of a NAS's block list are mailguard's own: a small SQLite file beside it.

The list does not say who wrote an entry, so this file does. What is about to be written is noted here first;
an entry that was noted and never written harms nobody, because it is not found in the list.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mailguard.firewall.desired import FOREVER, Bans, Changes, Key, scope_number
from mailguard.firewall.interface import SCOPES, FirewallError
from mailguard.model import Network
from mailguard.notation import format_network, parse_network

STATE = "/var/lib/mailguard-enforcer/synology.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS bans (
    scope TEXT NOT NULL, network TEXT NOT NULL, until REAL, PRIMARY KEY (scope, network)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    network TEXT PRIMARY KEY, until REAL, recorded INTEGER NOT NULL) WITHOUT ROWID;
"""


class Entry(NamedTuple):
    """An entry of ours in the list: when it ends, and the time by which its row is known."""

    until: float
    recorded: int


class State:
    """The file at `path`, opened when first needed. Everything raises FirewallError."""

    def __init__(self, path: str = STATE):
        self.path = path
        self._db: sqlite3.Connection | None = None

    def load(self) -> tuple[Bans, dict[Network, Entry]]:
        """The bans by key and the entries by network."""
        try:
            db = self._opened()
            bans: Bans = {}
            for scope, network, until in db.execute("SELECT scope, network, until FROM bans"):
                parsed = parse_network(network)
                if parsed is not None and scope in SCOPES:
                    key: Key = (scope_number(scope), parsed.address, parsed.prefix)
                    bans[key] = FOREVER if until is None else until
            entries: dict[Network, Entry] = {}
            for network, until, recorded in db.execute("SELECT network, until, recorded FROM entries"):
                parsed = parse_network(network)
                if parsed is not None:
                    entries[parsed] = Entry(FOREVER if until is None else until, recorded)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error
        return bans, entries

    def note(
        self,
        bans: Changes | None = None,
        entries: Mapping[Network, Entry] | None = None,
        gone: Iterable[Network] = (),
        only: bool = False,
    ) -> None:
        """Write it all or nothing. A ban that is None is lifted; with `only` these are all the bans."""
        try:
            db = self._opened()
            with db:
                db.execute("BEGIN IMMEDIATE")
                if only:
                    db.execute("DELETE FROM bans")
                for (scope, address, prefix), until in (bans or {}).items():
                    place = SCOPES[scope], format_network(Network(address, prefix))
                    if until is None:
                        db.execute("DELETE FROM bans WHERE scope = ? AND network = ?", place)
                    else:
                        end = None if until == FOREVER else until
                        db.execute("INSERT OR REPLACE INTO bans VALUES (?, ?, ?)", (*place, end))
                db.executemany(
                    "DELETE FROM entries WHERE network = ?", [(format_network(one),) for one in gone]
                )
                db.executemany(
                    "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)",
                    [
                        (format_network(network), None if one.until == FOREVER else one.until, one.recorded)
                        for network, one in (entries or {}).items()
                    ],
                )
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error

    def close(self) -> None:
        """Let go; the next use opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            # The enforcer is made before it is forked and used only behind that.
            db = sqlite3.connect(self.path, timeout=5.0, isolation_level=None)
            try:
                db.executescript(_SCHEMA)
            except sqlite3.Error:
                db.close()
                raise
            self._db = db
        return self._db

    def _trouble(self, error: Exception) -> FirewallError:
        self.close()
        why = error.strerror if isinstance(error, OSError) else str(error)
        return FirewallError(
            f"{self.path}, where own entries of the NAS's block list are noted, cannot be written: {why}"
        )
