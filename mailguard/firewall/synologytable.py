"""DSM's auto block list, the SQLite table `AutoBlockIP`: rows put in and taken out while DSM writes it too.

Columns (public readers of DSM 6.2 and 7): IP, RecordTime, ExpireTime (seconds since 1970, 0 for ever), Deny
(1 block list, 0 allow list), IPStd (the address as eight groups), and on newer systems Type and Meta, which
are copied from a row of DSM's own. A row is ours when it has the RecordTime that we gave it; no other row is
changed, but for one: a block of DSM's that is over blocks nobody and gives way when the same address is
banned again, because an address has one row.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any, NamedTuple

from mailguard.firewall.desired import FOREVER
from mailguard.firewall.interface import FirewallError
from mailguard.notation import V6, format_address, parse_address

DATABASE = "/etc/synoautoblock.db"
TABLE = "AutoBlockIP"
NEEDED = ("IP", "RecordTime", "ExpireTime", "Deny")
_BUSY = 10.0  # seconds to wait for DSM's own writing
_MAPPED = 0xFFFF << 32


class Row(NamedTuple):
    """One entry of the list. `expires`: seconds since 1970, 0 for ever."""

    deny: bool
    expires: int
    recorded: int

    def in_force(self, now: float) -> bool:
        """Whether it has not ended."""
        return self.expires == 0 or self.expires > now

    def holds(self, until: float, now: float) -> bool:
        """Whether the address is kept out until then."""
        if not self.deny:
            return False
        return self.expires == 0 or (until != FOREVER and self.expires >= until - 1 and self.expires > now)


class Put(NamedTuple):
    """An address to be kept out. `recorded`: the RecordTime that makes the row ours; `fresh`: no row of ours
    can be there yet."""

    until: float
    recorded: int
    fresh: bool = False


class Kept(NamedTuple):
    """What was not written: addresses on the allow list, and addresses that DSM itself keeps out."""

    allowed: list[int]
    foreign: list[int]


def standard(address: int) -> str:
    """`IPStd` of a packed address: eight groups of capital digits, IPv4 as `...:FFFF:C000:0207`."""
    value = address - V6 if address >= V6 else _MAPPED | address
    digits = f"{value:032X}"
    return ":".join(digits[at : at + 4] for at in range(0, 32, 4))


class AutoBlock:
    """The list in the database at `path`. Everything raises FirewallError."""

    def __init__(self, path: str = DATABASE):
        self.path = path

    def probe(self) -> str:
        """Why it cannot be used; "" when it can."""
        if not os.access(self.path, os.R_OK | os.W_OK):
            there = os.path.exists(self.path)
            return f"{self.path} {'may not be written by this user' if there else 'is not there'}"
        try:
            with self._opened("ro") as db:
                self._columns(db)
        except FirewallError as error:
            return str(error)
        return ""

    def rows(self) -> dict[int, Row]:
        """Every address of the list."""
        with self._opened("ro") as db:
            self._columns(db)
            found: dict[int, Row] = {}
            for text, deny, expires, recorded in db.execute(
                f"SELECT IP, Deny, ExpireTime, RecordTime FROM {TABLE}"
            ):
                address = parse_address(str(text).strip())
                if address is not None:
                    found[address] = Row(_number(deny) == 1, _number(expires), _number(recorded))
            return found

    def change(self, puts: Mapping[int, Put], drops: Mapping[int, int], now: float) -> Kept:
        """Put addresses in and take our own rows out (`drops`: with their RecordTime), all or nothing."""
        kept = Kept([], [])
        with self._opened("rw") as db:
            db.execute("BEGIN IMMEDIATE")
            columns = self._columns(db)
            style = self._style(db, columns)
            for address, recorded in drops.items():
                where, names = _same(address, columns)
                db.execute(
                    f"DELETE FROM {TABLE} WHERE {where} AND RecordTime = ? AND Deny = 1", (*names, recorded)
                )
            for address, put in puts.items():
                self._put(db, columns, style, address, put, now, kept)
            db.execute("COMMIT")
        return kept

    def _put(
        self,
        db: sqlite3.Connection,
        columns: Mapping[str, Any],
        style: Mapping[str, Any],
        address: int,
        put: Put,
        now: float,
        kept: Kept,
    ) -> None:
        where, names = _same(address, columns)
        found = db.execute(f"SELECT Deny, ExpireTime, RecordTime FROM {TABLE} WHERE {where}", names)
        rows = [Row(_number(one[0]) == 1, _number(one[1]), _number(one[2])) for one in found]
        expires = 0 if put.until == FOREVER else ceil(put.until)
        if any(not row.deny for row in rows):
            kept.allowed.append(address)
        elif not put.fresh and any(row.recorded == put.recorded for row in rows):
            db.execute(
                f"UPDATE {TABLE} SET ExpireTime = ? WHERE {where} AND RecordTime = ? AND Deny = 1",
                (expires, *names, put.recorded),
            )
        elif any(row.in_force(now) for row in rows):
            kept.foreign.append(address)
        else:
            db.execute(f"DELETE FROM {TABLE} WHERE {where} AND Deny = 1", names)  # over: see the module
            values: dict[str, Any] = {
                **style,
                "IP": format_address(address),
                "IPStd": standard(address),
                "RecordTime": put.recorded,
                "ExpireTime": expires,
                "Deny": 1,
            }
            values = {name: value for name, value in values.items() if name in columns}
            marks = ", ".join("?" * len(values))
            names_text = ", ".join(f'"{name}"' for name in values)
            db.execute(f"INSERT INTO {TABLE} ({names_text}) VALUES ({marks})", tuple(values.values()))

    @contextlib.contextmanager
    def _opened(self, mode: str) -> Iterator[sqlite3.Connection]:
        """The database, never made anew; everything that fails in it becomes a FirewallError."""
        name = self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        try:
            db = sqlite3.connect(f"file:{name}?mode={mode}", uri=True, timeout=_BUSY, isolation_level=None)
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        try:
            yield db
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        finally:
            db.close()  # what was not committed is rolled back

    def _trouble(self, error: sqlite3.Error) -> FirewallError:
        words = str(error)
        if "locked" in words or "busy" in words:
            words = f"somebody has been writing into it for {_BUSY:g} seconds"
        return FirewallError(f"{self.path}: {words}")

    def _columns(self, db: sqlite3.Connection) -> dict[str, Any]:
        """Name -> (type, must not be empty, default) of the table's columns."""
        columns = {row[1]: row for row in db.execute(f"PRAGMA table_info({TABLE})")}
        missing = [name for name in NEEDED if name not in columns]
        if missing:
            what = f"its table {TABLE} has no column {missing[0]}" if columns else f"it has no table {TABLE}"
            raise FirewallError(f"{self.path}: {what}; this DSM keeps its block list in another way")
        return columns

    def _style(self, db: sqlite3.Connection, columns: Mapping[str, Any]) -> dict[str, Any]:
        """What DSM itself writes into the columns whose meaning is not known: as in its newest block."""
        others = [name for name in columns if name not in (*NEEDED, "IPStd")]
        if not others:
            return {}
        names = ", ".join(f'"{name}"' for name in others)
        newest = db.execute(
            f"SELECT {names} FROM {TABLE} WHERE Deny = 1 ORDER BY RecordTime DESC LIMIT 1"
        ).fetchone()
        if newest is not None:
            return dict(zip(others, newest, strict=True))
        usual = {"Type": 0, "Meta": ""}
        return {
            name: usual.get(name, 0 if "INT" in str(columns[name][2]).upper() else "")
            for name in others
            if name in usual or (columns[name][3] and columns[name][4] is None)
        }


def _same(address: int, columns: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The condition that finds an address, and its values. An IPv6 address has many texts, so `IPStd` is
    asked too; for IPv4 it would only cost a look at every row."""
    if address >= V6 and "IPStd" in columns:
        return "(IP = ? OR IPStd = ?)", (format_address(address), standard(address))
    return "IP = ?", (format_address(address),)


def _number(value: Any) -> int:
    """A column as a whole number; what is none counts as 0."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
