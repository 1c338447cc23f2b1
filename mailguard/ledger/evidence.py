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
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from time import sleep
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
REST = 0.00005  # seconds after each of them
_COLUMNS = 9


#: Where a line stands, and its time: log (as it is written down), position, time.
_Place = tuple[str, int, float]


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
    """The statement that writes so many lines. Compiled code brings the text as bytes."""
    one = f"({'?,' * (_COLUMNS - 2)}CAST(? AS TEXT),?)"
    return (
        "INSERT INTO evidence (address, time, kind, rule, log, position, weight, line, fields) VALUES "
        + ",".join([one] * rows)
    )


def storable(text: str) -> str:
    """Text that SQLite takes: an odd byte of a file's name (a lone surrogate) is written `\\udce3`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


_TOO_MANY = (
    f"SELECT address FROM evidence WHERE address IN ({','.join('?' * TOGETHER)})"
    " GROUP BY address HAVING count(*) > ?"
)


def lengths(rows: int) -> list[int]:
    """How many rows each statement writes: few different numbers, for SQLite reads each statement once."""
    found = [TOGETHER] * (rows // TOGETHER)
    half = TOGETHER // 2
    while half:
        if rows & half:
            found.append(half)
        half //= 2
    return found


def newest(batches: Sequence[list[Event]], most: int) -> tuple[list[Event], list[int]]:
    """The newest `most` events of each source, in their order; and the sources that may now have more lines
    than they may: all that brought half as many, and every eighth of the others, as it falls."""
    if (compiled := native.load()) is not None:
        found: tuple[list[Event], list[int]] = compiled.newest(batches, most)
        return found
    return newest_slowly(batches, most)


def newest_slowly(batches: Sequence[list[Event]], most: int) -> tuple[list[Event], list[int]]:
    """`newest` in Python: the reference."""
    counts: dict[int, int] = {}
    kept: list[Event] = []
    looked: list[int] = []
    for batch in reversed(batches):
        for event in reversed(batch):
            source = event.source
            if source is None:
                continue
            count = counts.get(source, 0) + 1
            if count > most:
                continue
            counts[source] = count
            kept.append(event)
            if count == most // 2 or (count == 1 and not event.position & 7):
                looked.append(source)
    kept.reverse()
    return kept, looked


def _rest() -> None:
    """Beside the loop, leave the processor for a moment: the judge, woken on it meanwhile, would wait there
    to the next tick of the clock, up to 4 ms."""
    if threading.current_thread() is not threading.main_thread():
        sleep(REST)


class Lines:
    """Keeps hostile lines per source, bounded and fair."""

    def __init__(self, db: sqlite3.Connection, redactor: Redactor):
        self.db = db
        self.redactor = redactor
        self.dropped = 0  # lines that found no room since the start
        self.rows: int | None = None  # rows in the table; counted when first wanted
        self._waiting: list[list[Event]] = []  # as they came; a list is never changed again
        self._guard = threading.Lock()  # for `_waiting`: a thread writes, `why` reads
        self._count = 0  # events in it
        self._settled = 0  # of them, those that were looked through for want of room
        self._hand = 0  # id at which the search for room goes on

    def add(self, events: Iterable[Event]) -> None:
        """Remember hostile events until the next checkpoint. A list belongs to this object from now on."""
        events = events if isinstance(events, list) else list(events)
        with self._guard:
            self._waiting.append(events)
            self._count += len(events)
            if self._count > WAITING and self._count - self._settled > WAITING // 8:
                self._thin_out()

    def _thin_out(self) -> None:
        """Of what waits, keep what may be written: where room is wanted, single lines go first."""
        kept, _ = newest(self._waiting, PER_SOURCE)
        if (excess := len(kept) - WAITING) > 0:
            lines, found = Counter(event.source for event in kept), []
            for event in reversed(kept):
                if excess and lines[event.source] == 1:
                    excess -= 1
                else:
                    found.append(event)
            kept = found[::-1][:WAITING]
        self.dropped += self._count - len(kept)
        self._waiting = [kept]
        self._count = self._settled = len(kept)

    @property
    def waiting(self) -> int:
        """Lines that wait for the next checkpoint."""
        return self._count

    def write(self) -> None:
        """Write what waits; the caller holds the transaction and calls `written` after it.

        In small pieces: between them a line that decides gets the interpreter.
        """
        db = self.db
        kept, looked = newest(self._waiting, PER_SOURCE)
        at = 0
        for rows in lengths(len(kept)):
            db.execute(_insert(rows), self._values(kept[at : at + rows]))
            at += rows
            _rest()
        self._trim_all(list(map(bindable, looked)))
        self.dropped += self._count - len(kept)
        if self.rows is None:
            (self.rows,) = self.db.execute("SELECT count(*) FROM evidence").fetchone()
        else:
            self.rows += len(kept)
        if self.rows > ROWS:
            self._make_room()

    def _values(self, events: list[Event]) -> list[Any]:
        """Nine values for each of these."""
        if (compiled := native.load()) is not None:
            made: list[Any] = compiled.values(events, self.redactor, storable)
            return made
        return self._values_slowly(events)

    def _values_slowly(self, events: Iterable[Event]) -> list[Any]:
        """`_values` in Python: the reference."""
        values: list[Any] = []
        redact, last, log = self.redactor.line, None, ""
        for kind, time, source, rule, weight, fields, name, position, _, _, _, raw in events:
            if name is not last:
                last, log = name, storable(name)
            line = redact(raw, fields)
            shown = "{}" if line else json.dumps(self.redactor.fields(fields), ensure_ascii=False)
            assert source is not None  # see `newest`
            values += (bindable(source), time, kind, rule, log, position, weight, line, shown)
        return values

    def _kept(self, event: Event) -> Line:
        """What is kept of an event: its line, or its fields where the line may not be shown."""
        line = self._text(event)
        return Line(
            event.time, event.kind, event.rule, storable(event.log), event.position, event.weight, line,
            {} if line else self.redactor.fields(event.fields),
        )  # fmt: skip

    def _text(self, event: Event) -> str:
        """The line of an event as it may be shown."""
        if (compiled := native.load()) is not None:
            line: str | None = compiled.line(event.line, event.fields, self.redactor)
            if line is not None:
                return line
        return self.redactor.line(event.line, event.fields)

    def written(self) -> None:
        """The transaction that held `write` is committed: forget what waited."""
        with self._guard:
            gone, self._waiting = self._waiting, []
            self._count = self._settled = 0
        while gone:  # one after the other: whoever waits for the interpreter gets it between them
            gone.pop()

    def undone(self) -> None:
        """The transaction that held `write` was rolled back: the lines wait on."""
        self.rows = None

    def _trim_all(self, addresses: list[int | bytearray]) -> None:
        """Only the newest `PER_SOURCE` lines of each of these sources stay."""
        db = self.db
        for at in range(0, len(addresses), TOGETHER):
            part = addresses[at : at + TOGETHER]
            # Always as many, so that it is always the same statement.
            too_many = db.execute(
                _TOO_MANY, [*part, *part[-1:] * (TOGETHER - len(part)), PER_SOURCE]
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
        lines += map(self._kept, self._unwritten((source,))[-PER_SOURCE:])
        return lines

    def _unwritten(self, sources: Container[int | None]) -> list[Event]:
        """The events of these sources that wait, oldest first."""
        with self._guard:
            waiting = list(self._waiting)
        return [event for batch in waiting for event in batch if event[2] in sources]

    def sources_in(self, low: int, high: int, limit: int, db: sqlite3.Connection) -> list[int]:
        """Up to `limit` sources between two packed addresses of one family that have lines."""
        rows = db.execute(
            "SELECT DISTINCT address FROM evidence WHERE address BETWEEN ? AND ? LIMIT ?",
            (pack(low), pack(high), limit),
        )
        found = {unpack(address) for (address,) in rows}
        with self._guard:
            waiting = list(self._waiting)
        found.update(
            event.source
            for batch in waiting
            for event in batch
            if event.source is not None and low <= event.source <= high
        )
        return sorted(found)[:limit]

    def behind(self, evidence: Sequence[Evidence], sources: Sequence[int]) -> list[list[Any]]:
        """`[time, rule, log, position, weight, line]` of each counted event; the line is empty when it is
        gone."""
        wanted = [(storable(one.log), one.position, one.time) for one in evidence]
        texts = self._texts(wanted, frozenset(sources))
        if len(texts) < len(set(wanted)):
            for source in sources:
                for log, position, time, line in self.db.execute(
                    "SELECT log, position, time, line FROM evidence WHERE address = ? ORDER BY id DESC",
                    (bindable(source),),
                ):
                    texts.setdefault((log, position, time), line)
        return [
            [place[2], one.rule, place[0], place[1], one.weight, texts.get(place, "")]
            for place, one in zip(wanted, evidence, strict=True)
        ]

    def _texts(self, wanted: Iterable[_Place], sources: Container[int | None]) -> dict[_Place, str]:
        """The lines at these places that wait, of these sources. Most often they are among the newest."""
        left = set(wanted)
        positions = {position for _, position, _ in left}
        found: dict[_Place, str] = {}
        with self._guard:
            waiting = list(self._waiting)
        for batch in reversed(waiting):
            for event in reversed(batch):
                if event[7] in positions and event[2] in sources:
                    place = storable(event.log), event.position, event.time
                    if place in left:
                        left.remove(place)
                        found[place] = self._text(event)
                        if not left:
                            return found
        return found

    def forget(self, before: float) -> None:
        """Delete lines older than `before`, in the caller's transaction."""
        self.db.execute("DELETE FROM evidence WHERE time < ?", (before,))
        self.rows = None
