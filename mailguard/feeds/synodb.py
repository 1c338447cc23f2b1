"""DSM's log databases (Log Center: `.SYNOCONNDB`, `.SYNOSYSDB`), followed read-only.

SQLite with a write-ahead log: the newest rows are not in the main file, so the database is opened by SQLite
itself, with `mode=ro`, never copied. Rows are followed by their id. The table is trimmed at its old end; when
it is cleared its ids may begin again, which shows in the row where reading stood: it is gone and no greater
id is there, or it is another row.

The position goes into the checkpoint, so what was handed out is exactly what the checkpoint knows.

Limits: rows that came and were cleared between two looks, a second apart, are not seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from mailguard.clock import Clock
from mailguard.core.envelope import zone_of
from mailguard.feeds.interface import LogOptions, LogStatus, Saved
from mailguard.feeds.lines import Arena
from mailguard.feeds.synodbrow import record, time_of
from mailguard.feeds.wait import Timer, Wait
from mailguard.feeds.watch import Watchers
from mailguard.model import Item, Notice, Record, Records

PATHS = ("/var/log/synolog/.SYNOCONNDB", "/var/log/synolog/.SYNOSYSDB")
MAGIC = b"SQLite format 3\0"
LOOK = 1.0  # seconds between looks
_RETRY = 5.0  # seconds until a database that cannot be read is tried again
_BATCH = 1024  # rows handed out at once
#: What is read of a row where the table has it; the names are DSM's, see `PRAGMA table_info`.
_COLUMNS = ("id", "time", "level", "username", "msg", "user", "ip", "protocol")
_NEEDED = {"id", "msg"}


class Place(NamedTuple):
    """Where reading stands: the last id handed out and the hash of that row ("" before the first)."""

    last: int = 0
    hash: str = ""

    def encode(self) -> bytes:
        return json.dumps({"v": 1, "last": self.last, "hash": self.hash}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, row: bytes) -> Place | None:
        """None where the row is not one of ours."""
        try:
            value = json.loads(row)
            place = cls(value["last"], value["hash"])
        except (ValueError, KeyError, TypeError):
            return None
        return place if isinstance(place.last, int) and isinstance(place.hash, str) else None


class Database:
    """One database file: rows after a place. Raises sqlite3.Error and OSError."""

    def __init__(self, path: str, zone: str = ""):
        self.path = path
        self._zone = zone_of(zone)
        self.program = b"System" if "SYS" in os.path.basename(path).upper() else b"Connection"
        self.columns: tuple[str, ...] = ()
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._version = -1
        self._still: tuple[int, ...] = ()  # of a file that was read as one that nobody changes
        self.started_again = False
        self.lost = 0
        self.untimed = 0

    def changed(self) -> bool:
        """Whether somebody wrote since the last `rows`; opens the database where it is not open."""
        state = os.stat(self.path)
        if (state.st_dev, state.st_ino) != self._identity:
            self.close()
        if self._still:
            if self._still == _still(self.path):
                return False
            self.close()
        if self._connection is None:
            self._open()
            return True
        assert self._connection is not None
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return bool(version != self._version)

    def _open(self) -> None:
        state = os.stat(self.path)
        self._identity = (state.st_dev, state.st_ino)
        try:
            self._connect("mode=ro")
        except sqlite3.OperationalError:
            # A database with a write-ahead log that nobody has open, in a folder where this user may make no
            # file: its main file is all there is, as long as nothing about it changes.
            still = _still(self.path)
            if still[2] or not os.access(self.path, os.R_OK):
                raise
            self._connect("immutable=1")
            self._still = still

    def _connect(self, how: str) -> None:
        name = self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        made = sqlite3.connect(f"file:{name}?{how}", uri=True, timeout=0, isolation_level=None)
        try:
            made.text_factory = bytes
            made.execute("PRAGMA query_only = 1")
            info = made.execute("PRAGMA table_info(logs)").fetchall()
            there = [row[1].decode("utf-8", "replace") for row in info]
            self.columns = tuple(name for name in _COLUMNS if name in there)
            missing = sorted(_NEEDED - set(self.columns))
            if missing:
                what = f"its table logs has no column {missing[0]}" if there else "it has no table logs"
                raise sqlite3.DatabaseError(what)
        except sqlite3.Error:
            made.close()
            raise
        self._connection = made

    def end(self) -> Place:
        """The place behind the last row."""
        assert self._connection is not None
        found = self._select("ORDER BY id DESC LIMIT 1", ())
        return Place(found[0]["id"], _hash(found[0])) if found else Place()

    def rows(self, place: Place, arrival: float) -> tuple[list[Record], Place]:
        """Up to 1,024 records behind `place`, and the place behind them. `started_again` and `lost` say what
        happened to the table meanwhile, `untimed` of how many the time cannot be read."""
        assert self._connection is not None
        self.started_again, self.lost = False, 0
        self._connection.execute("BEGIN")  # all of it from one state of the database
        try:
            (self._version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if place.last:
                place = self._resumed(place)
            found = self._select("WHERE id > ? ORDER BY id LIMIT ?", (place.last, _BATCH))
        finally:
            self._connection.execute("ROLLBACK")
        if self._still and self._still != _still(self.path):
            raise OSError("the database changed while it was read")
        if len(found) == _BATCH:
            self._version = -1  # more is there
        if found:
            place = Place(found[-1]["id"], _hash(found[-1]))
        self.untimed = sum(time_of(row["time"], self._zone) is None for row in found)
        return [record(row, row["id"], self.program, arrival, self._zone) for row in found], place

    def _resumed(self, place: Place) -> Place:
        """The same place, or the beginning when the table was cleared and its ids began again."""
        here = self._select("WHERE id = ?", (place.last,))
        if here:
            if not place.hash or _hash(here[0]) == place.hash:
                return place
        else:
            assert self._connection is not None
            low, high = self._connection.execute("SELECT MIN(id), MAX(id) FROM logs").fetchone()
            if isinstance(high, int) and high > place.last:
                self.lost = max(0, low - place.last - 1)
                return place
        self.started_again = True
        return Place()

    def _select(self, clause: str, values: tuple[int, ...]) -> list[dict[str, Any]]:
        assert self._connection is not None
        names = ", ".join(f'"{name}"' for name in self.columns)
        rows = self._connection.execute(f"SELECT {names} FROM logs {clause}", values).fetchall()
        return [dict(zip(self.columns, row, strict=True)) for row in rows]

    def close(self) -> None:
        """May be repeated."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._still = ()
        self._version = -1


def _still(path: str) -> tuple[int, ...]:
    """What changes when somebody writes: times and size of the main file, size of the write-ahead log."""
    state = os.stat(path)
    try:
        log = os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        log = 0
    return state.st_mtime_ns, state.st_size, log


def _hash(row: dict[str, Any]) -> str:
    """Of a row: what it says does not reach the checkpoint."""
    told = repr([row.get(name) for name in ("time", "username", "msg")]).encode("utf-8", "replace")
    return hashlib.blake2b(told, digest_size=12).hexdigest()


class SynologySource:
    """One `[log.NAME]` of kind "synology-db". Rows: "synology-db:PATH", the place in each database."""

    def __init__(self, options: LogOptions, saved: Saved, clock: Clock):
        self.options = options
        self.name = options.name or "synology-db"
        self.ended = False
        self._clock = clock
        self._wait: Wait | None = None
        self._timer: Timer | None = None
        self._ready = True
        self._notices: list[Notice] = []
        self._databases = [Database(path, options.timezone) for path in options.paths or PATHS]
        self._places: dict[str, Place | None] = {}
        self._status: dict[str, LogStatus] = {}
        self._said: dict[str, str] = {}
        self._untimed: set[str] = set()  # databases of which it was said that times cannot be read
        for database in self._databases:
            row = saved.get(f"synology-db:{database.path}")
            self._places[database.path] = None if row is None else Place.decode(row)
            self._status[database.path] = LogStatus(path=database.path)

    @property
    def backlog(self) -> bool:
        """True while there may be rows."""
        return self._ready or bool(self._notices)

    def open(self, wait: Wait, watchers: Watchers) -> None:
        """Begin to look. A log that begins at its end stands there from now on."""
        self._wait = wait
        for database in self._databases:
            if self._places[database.path] is None and self.options.start == "end":
                try:
                    database.changed()
                    self._places[database.path] = database.end()
                except (OSError, sqlite3.Error):
                    continue  # said by the first look; what appears later is read from its beginning
        self._again(0.0)

    def _again(self, seconds: float) -> None:
        if self._wait is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._wait.call_at(self._clock.monotonic() + seconds, self._due)

    def _due(self, _events: int) -> None:
        self._ready = True

    def read(self, arena: Arena, items: list[Item], arrival: float) -> None:
        """Hand out up to 1,024 rows of each database; then look again in a second."""
        self._ready = False
        patience = LOOK
        for database in self._databases:
            try:
                if database.changed():
                    self._read(database, items, arrival)
                    self._well(database)
            except FileNotFoundError:
                self._ill(database, "log-missing", "there is no such file")
            except (OSError, sqlite3.Error) as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    continue  # somebody writes: the next look finds it
                self._ill(database, "log-unreadable", str(error))
                patience = max(patience, _RETRY)
        items += self._notices
        self._notices = []
        if not self._ready:
            self._again(patience)

    def _read(self, database: Database, items: list[Item], arrival: float) -> None:
        path, options, status = database.path, self.options, self._status[database.path]
        records, place = database.rows(self._places[path] or Place(), arrival)
        self._places[path] = place
        if database.started_again:
            status.rotations += 1
            said = {"log": path, "how": "it was cleared", "lost": "an unknown number of"}
            self._notices.append(Notice("log-rotated", said))
        if database.lost:
            why = "rows were removed before they were read"
            args = {"log": path, "bytes": None, "lost": f"{database.lost} rows", "from": 0, "why": why}
            self._notices.append(Notice("bytes-lost", args, blind=True))
        if records:
            if database.untimed and path not in self._untimed:
                self._untimed.add(path)
                self._notices.append(Notice("synology-time", {"log": path, "count": database.untimed}))
            may_ban = options.may_ban and not database.untimed
            items.append(Records(path, records, arrival, True, may_ban, options.parsers))
            status.last_line = arrival
            status.bytes += sum(len(one.message) for one in records)
            status.cut += sum(one.cut for one in records)
            status.offset = place.last
        self._ready = self._ready or len(records) == _BATCH

    def _well(self, database: Database) -> None:
        status = self._status[database.path]
        status.opened, status.words = True, ""
        if self._said.pop(database.path, ""):
            self._notices.append(Notice("log-back", {"log": database.path}))

    def _ill(self, database: Database, what: str, why: str) -> None:
        """Say it once, and look again later."""
        database.close()
        status = self._status[database.path]
        status.opened, status.words = False, why
        if self._said.get(database.path) != what:
            self._said[database.path] = what
            self._notices.append(Notice(what, {"log": database.path, "why": why}, blind=True))

    def positions(self) -> dict[str, bytes]:
        """The place in each database that was read."""
        return {
            f"synology-db:{path}": place.encode() for path, place in self._places.items() if place is not None
        }

    def status(self) -> dict[str, dict[str, Any]]:
        """Counters; `offset` is the last id."""
        return {path: status.as_dict() for path, status in self._status.items()}

    def close(self) -> None:
        """Close the databases. May be repeated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for database in self._databases:
            database.close()


def recorded_rows(path: str, log: str, options: LogOptions, arrival: float) -> Iterator[Records]:
    """All rows of a database that is read as a finished log. Raises OSError."""
    database = Database(path, options.timezone)
    place = Place()
    try:
        while database.changed():
            records, place = database.rows(place, arrival)
            if not records:
                return
            may_ban = options.may_ban and not database.untimed
            yield Records(log, records, arrival, False, may_ban, options.parsers)
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
    finally:
        database.close()
