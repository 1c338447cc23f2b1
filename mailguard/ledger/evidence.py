"""The hostile lines behind the counters: what `mailguard why` shows.

Owns: the table `evidence` and the lines that wait to be written into it.
Never: counts anything; a line that was dropped here changes no verdict.
Limits: `PER_SOURCE` newest lines of a source, `ROWS` lines altogether, `WAITING` lines between two
checkpoints. When room is wanted, sources with a single line go first, so that a flood of new addresses does
not wash the slow attacker out; then the oldest of the rest.

Lines wait in memory until the next checkpoint and are written in its transaction. So the positions on disk
and the lines on disk always tell the same moment: after a crash the lines after it are read again, and none
is kept twice.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from ..model import Event, Evidence
from ..notation import V6
from . import native
from .redact import Redactor

PER_SOURCE = 32
WAITING = 50_000
ROWS = 200_000
SLICE = 2_000  # rows looked at in one go when room is wanted: a few milliseconds
#: Rows of one statement. Each statement lets go of the interpreter and waits for it again, which costs both
#: threads more than the row: 38 µs a row alone, 12 together, under load.
TOGETHER = 64
_COLUMNS = 9


class Line(NamedTuple):
    """One kept line. Where it may not be shown `line` is empty, and `fields` tell what may be told."""

    time: float
    kind: str
    rule: str
    log: str
    position: int
    weight: int
    line: str
    fields: dict[str, str]


def pack(address: int) -> int | bytes:
    """How an address stands in the database: IPv4 as an integer, IPv6 as 16 bytes."""
    return address if address < V6 else (address - V6).to_bytes(16, "big")


def bindable(address: int) -> int | bytearray:
    """The same for a statement: with `bytes` SQLite's driver asks first what else they may be."""
    return address if address < V6 else bytearray((address - V6).to_bytes(16, "big"))


def unpack(value: int | bytes) -> int:
    """The packed address of a database value."""
    return value if isinstance(value, int) else int.from_bytes(value, "big") + V6


def _insert(rows: int) -> str:
    """The statement that writes so many lines."""
    one = f"({','.join('?' * _COLUMNS)})"
    return (
        "INSERT INTO evidence (address, time, kind, rule, log, position, weight, line, fields) VALUES "
        + ",".join([one] * rows)
    )


def storable(text: str) -> str:
    """Text that SQLite takes: an odd byte of a file's name (a lone surrogate) is written `\\udce3`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class Lines:
    """Keeps hostile lines per source, bounded and fair."""

    def __init__(self, db: sqlite3.Connection, redactor: Redactor):
        self.db = db
        self.redactor = redactor
        self.dropped = 0  # lines that found no room since the start
        self.rows: int | None = None  # rows in the table; counted when first wanted
        self._waiting: dict[int, deque[Event]] = {}
        self._guard = threading.Lock()  # for `_waiting`: a thread writes, `why` reads
        self._count = 0
        self._hand = 0  # id at which the search for room goes on

    def add(self, events: Iterable[Event]) -> None:
        """Remember hostile events until the next checkpoint."""
        with self._guard:
            self._add(events)

    def _add(self, events: Iterable[Event]) -> None:
        waiting = self._waiting
        for event in events:
            source = event.source
            if source is None:
                continue
            queue = waiting.get(source)
            if queue is None:
                if self._count >= WAITING:
                    self.dropped += 1
                    continue
                waiting[source] = queue = deque(maxlen=PER_SOURCE)
            if len(queue) == PER_SOURCE:
                self.dropped += 1
            elif self._count >= WAITING:
                self.dropped += 1
                continue
            else:
                self._count += 1
            queue.append(event)

    @property
    def waiting(self) -> int:
        """Lines that wait for the next checkpoint."""
        return self._count

    def write(self) -> None:
        """Write what waits; the caller holds the transaction and calls `written` after it."""
        db = self.db
        if (compiled := native.load()) is not None:
            values = compiled.values(self._waiting, self.redactor, storable)
        else:
            values = self._values()
        whole = TOGETHER * _COLUMNS
        for at in range(0, len(values), whole):
            part = values[at : at + whole]
            db.execute(_insert(len(part) // _COLUMNS), part)
        # Those who bring one line at a time are looked at about every eighth time.
        self._trim_all([
            bindable(source) for source, queue in self._waiting.items()
            if len(queue) >= PER_SOURCE // 2 or not queue[-1].position & 7
        ])  # fmt: skip
        if self.rows is None:
            (self.rows,) = self.db.execute("SELECT count(*) FROM evidence").fetchone()
        else:
            self.rows += self._count
        if self.rows > ROWS:
            self._make_room()

    def _values(self) -> list[Any]:
        """What waits, nine values for each line. The compiled twin is `native/keep.pyx`."""
        values: list[Any] = []
        redact, last, log = self.redactor.line, None, ""
        for source, queue in self._waiting.items():
            address = pack(source)
            for kind, time, _, rule, weight, fields, name, position, _, _, _, raw in queue:
                if name is not last:
                    last, log = name, storable(name)
                line = redact(raw, fields)
                shown = "{}" if line else json.dumps(self.redactor.fields(fields), ensure_ascii=False)
                values += (address, time, kind, rule, log, position, weight, line, shown)
        return values

    def _kept(self, event: Event) -> Line:
        """What is kept of an event: its line, or its fields where the line may not be shown."""
        line = self.redactor.line(event.line, event.fields)
        return Line(
            event.time, event.kind, event.rule, storable(event.log), event.position, event.weight, line,
            {} if line else self.redactor.fields(event.fields),
        )  # fmt: skip

    def written(self) -> None:
        """The transaction that held `write` is committed: forget what waited."""
        with self._guard:
            self._waiting = {}
            self._count = 0

    def undone(self) -> None:
        """The transaction that held `write` was rolled back: the lines wait on."""
        self.rows = None

    def _trim_all(self, addresses: list[int | bytearray]) -> None:
        """Only the newest `PER_SOURCE` lines of each of these sources stay."""
        db = self.db
        for at in range(0, len(addresses), TOGETHER):
            part = addresses[at : at + TOGETHER]
            too_many = db.execute(
                f"SELECT address FROM evidence WHERE address IN ({','.join('?' * len(part))})"
                " GROUP BY address HAVING count(*) > ?",
                (*part, PER_SOURCE),
            ).fetchall()
            for (address,) in too_many:
                db.execute(
                    "DELETE FROM evidence WHERE address = ?1 AND id <= (SELECT id FROM evidence"
                    " WHERE address = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                    (address, PER_SOURCE),
                )

    def _make_room(self) -> None:
        """Delete from the oldest on: single lines first, and what a source has beyond its share."""
        db = self.db
        before = db.total_changes
        ids = db.execute(
            "SELECT id FROM evidence WHERE id > ? ORDER BY id LIMIT ?", (self._hand, SLICE)
        ).fetchall()
        if not ids:
            # Once round: only sources with several lines are left, so the oldest lines go whatever their
            # source.
            self._hand = 0
            db.execute(
                "DELETE FROM evidence WHERE id IN (SELECT id FROM evidence ORDER BY id LIMIT ?)", (SLICE,)
            )
        else:
            db.execute(
                "DELETE FROM evidence WHERE id BETWEEN ?1 AND ?2 AND (SELECT count(*) FROM"
                " (SELECT 1 FROM evidence o WHERE o.address = evidence.address LIMIT 2)) = 1",
                (ids[0][0], ids[-1][0]),
            )
            self._hand = ids[-1][0]
        assert self.rows is not None
        self.rows -= db.total_changes - before

    def of(self, source: int, db: sqlite3.Connection | None = None) -> list[Line]:
        """The kept lines of one source, oldest first, waiting ones included; read over `db` where given."""
        rows = (db or self.db).execute(
            "SELECT time, kind, rule, log, position, weight, line, fields FROM evidence"
            " WHERE address = ? ORDER BY id",
            (pack(source),),
        )
        lines = [
            Line(time, kind, rule, log, position, weight, line, json.loads(fields))
            for time, kind, rule, log, position, weight, line, fields in rows
        ]
        with self._guard:
            waiting = list(self._waiting.get(source, ()))
        lines += map(self._kept, waiting)
        return lines

    def sources_in(self, low: int, high: int, limit: int, db: sqlite3.Connection) -> list[int]:
        """Up to `limit` sources between two packed addresses of one family that have lines."""
        rows = db.execute(
            "SELECT DISTINCT address FROM evidence WHERE address BETWEEN ? AND ? LIMIT ?",
            (pack(low), pack(high), limit),
        )
        found = {unpack(address) for (address,) in rows}
        with self._guard:
            found.update(islice((one for one in self._waiting if low <= one <= high), limit))
        return sorted(found)[:limit]

    def behind(self, evidence: Iterable[Evidence], sources: Iterable[int]) -> list[list[Any]]:
        """`[time, rule, log, position, weight, line]` of each counted event; the line is empty when it is
        gone."""
        wanted = list(evidence)
        texts: dict[tuple[str, int, float], str] = {}
        for source in sources:
            for line in self.of(source):
                texts[line.log, line.position, line.time] = line.line
        kept = []
        for one in wanted:
            log = storable(one.log)
            text = texts.get((log, one.position, one.time), "")
            kept.append([one.time, one.rule, log, one.position, one.weight, text])
        return kept

    def forget(self, before: float) -> None:
        """Delete lines older than `before`, in the caller's transaction."""
        self.db.execute("DELETE FROM evidence WHERE time < ?", (before,))
        self.rows = None
