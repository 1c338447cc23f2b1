"""The parse stage: a piece of a log and the definitions in, events and join facts out.

A pure function: the same piece gives the same, in whatever process and after whatever other piece. What
only several lines tell together leaves it as drafts (which session a line opens, uses or closes, by which
key); the parent joins them, in order.

A plain file is cut at line starts and each piece is read on its own. What can only be read forwards
(compressed files, journals, their exports, standard input) is divided as it goes by; whoever is asked for a
later piece of it without having read the earlier ones reads and drops those.
"""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from ..core.packed import Batch, Order, Table, order_of
from ..core.scanner import Draft, Scanner
from ..feeds.interface import LogOptions
from ..feeds.recorded import RecordedLog
from ..model import Block, Event, Notice, Records
from .merging import Drafts, objects, running, times_of
from .sources import PLAIN
from .span import Span

#: So many drafts are scanned, joined and judged before the next: as many as fit into the processor's cache.
#: Their lines are between LEAST and MOST bytes of a log.
DRAFTS = 1024
LEAST, MOST = 1 << 15, 1 << 20
ENTRIES = 16_384  # of a structured log in one piece
_OPEN = 4  # logs read forwards that a process keeps open
_new = tuple.__new__


class Piece(NamedTuple):
    """What is to be parsed. Plain files: the bytes from `start` to `end`; others: the part `number`."""

    path: str
    form: str
    arrival: float
    timezone: str
    parsers: tuple[str, ...]
    year: int | None
    number: int
    start: int = 0
    end: int | None = None
    size: int = 4 << 20  # bytes of a part, where the log is read forwards
    at: str = ""  # the file that holds its bytes at their places, where it is not `path`


class Parsed(NamedTuple):
    """What came out. `first` and `last`: the earliest and latest stamp of its lines; `bytes`: of the log as
    it is on disk, as near as can be told; `complete`: the log ends here."""

    records: int
    first: float | None
    last: float | None
    times: list[float]  # of the drafts; empty where these are rows, which have theirs
    drafts: Drafts
    notices: list[Notice]
    bytes: int
    complete: bool
    cut: int = 0

    def order(self, newest: float) -> Order:
        """How the stamps of the drafts go on from `newest`; there is at least one."""
        if isinstance(self.drafts, Batch):
            return self.drafts.order(newest)
        return order_of(self.times, running(self.times, newest))


class _Stamps:
    """Earliest and latest stamp of a piece."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.last: float | None = None

    def span(self, time: float) -> None:
        if self.first is None or time < self.first:
            self.first = time
        if self.last is None or time > self.last:
            self.last = time


class _Forward:
    """A log that is read forwards, part by part."""

    def __init__(self, log: RecordedLog, size: int):
        self.log = log
        self.next = 0  # number of the next part
        self._size = size
        self._items = iter(log)
        self._rest: Block | None = None
        self._cut = 0
        self.stamps = _Stamps()
        self.span = Span(self.stamps)
        self.complete = False

    def part(self) -> Iterator[Block | Records | Notice]:
        """The items of the next part; each is valid until the next is asked for."""
        self.next += 1
        limit = self.next * self._size
        entries = 0
        while not self.complete:
            item: Any = self._rest or next(self._items, None)
            self._rest = None
            if item is None:
                self.complete = True
                return
            if isinstance(item, Block):
                stop = _line_start(item, limit)
                if stop <= item.start:
                    self._rest = item
                    return
                if stop < item.end:
                    self._rest = _part_of(item, stop, item.end)
                    yield _part_of(item, item.start, stop)
                    return
            yield item
            if isinstance(item, Records):
                entries += len(item.records)
                if entries >= ENTRIES:
                    return

    def cuts(self) -> int:
        """Lines that were cut since the last call."""
        cut, self._cut = self.log.cut - self._cut, self.log.cut
        return cut


def _line_start(block: Block, limit: int) -> int:
    """The index of the first line of `block` that begins at or after the offset `limit` of the log."""
    at = block.start + limit - block.position
    if at >= block.end:
        return block.end
    if at <= block.start:
        return block.start
    return int(block.data.find(b"\n", at - 1, block.end)) + 1 or block.end


def _part_of(block: Block, start: int, end: int) -> Block:
    return block._replace(
        start=start,
        end=end,
        position=block.position + start - block.start,
        cuts=tuple(cut for cut in block.cuts if start <= cut < end),
    )


class Parse:
    """The parse stage of one process: its scanner, and the logs it reads forwards."""

    def __init__(self, scanner: Scanner):
        self.scanner = scanner
        self._forward: dict[str, _Forward] = {}
        self._size = LEAST  # bytes that are scanned at once

    def __call__(self, piece: Piece) -> Parsed:
        """Raises OSError when the file cannot be opened."""
        return together(list(self.parts(piece)))

    def parts(self, piece: Piece) -> Iterator[Parsed]:
        """The same in several parts, one after the other: who takes each before the next is made finds it in
        the processor's cache. Raises OSError when the file cannot be opened."""
        if piece.form == PLAIN:
            log, stamps = _open(piece), _Stamps()
            self.scanner.begin(piece.path)
            yield from self._gather(
                log, iter(log), lambda: log.complete, lambda: log.cut, stamps, Span(stamps)
            )
            return
        forward = self._forward.get(piece.path)
        if forward is None or forward.next > piece.number:
            self._forward.pop(piece.path, None)
            if len(self._forward) >= _OPEN:
                del self._forward[next(iter(self._forward))]
            forward = _Forward(_open(piece), piece.size)
            self.scanner.begin(piece.path)
            self._forward[piece.path] = forward
        ends = forward.stamps, forward.span
        while forward.next < piece.number:
            for _ in self._gather(forward.log, forward.part(), lambda: False, forward.cuts, *ends):
                pass
        for part in self._gather(forward.log, forward.part(), lambda: forward.complete, forward.cuts, *ends):
            if part.complete:
                self._forward.pop(piece.path, None)  # whoever takes the last part asks for nothing more
            yield part

    def _gather(
        self,
        log: RecordedLog,
        items: Iterator[Any],
        ended: Callable[[], bool],
        cuts: Callable[[], int],
        stamps: _Stamps,
        span: Span,
    ) -> Iterator[Parsed]:
        """The items in parts, at least one; what is known only at the end stands in the last."""
        scanner = self.scanner
        self._size = LEAST  # anew for each piece, which must mean the same after whatever other piece
        stamps.first = stamps.last = None
        notices: list[Notice] = []
        before: Parsed | None = None
        found: Drafts
        for item in items:
            if isinstance(item, Notice):
                notices.append(item)
            if not isinstance(item, Block | Records):
                continue
            newest = 0.0
            for part, whole in self._slices(item) if isinstance(item, Block) else ((item, True),):
                records, size = scanner.counters.lines, 0
                if isinstance(part, Block):
                    size = part.end - part.start
                    found = scanner.pack(part)
                    self._size = min(max(LEAST, size * DRAFTS // (len(found) or 1)), MOST)
                else:
                    found = scanner.scan_records(part)
                records = scanner.counters.lines - records
                if isinstance(found, Batch):
                    times: list[float] = []
                    newest = found.newest(newest)
                else:
                    times = times_of(found)
                    newest = max(newest, *times) if times else newest
                if whole:
                    span.look(item, newest)
                if before is not None:
                    yield before
                before = Parsed(records, stamps.first, stamps.last, times, found, notices, size, False)
                stamps.first = stamps.last = None
                notices = []
        complete = ended()
        last = before or Parsed(0, None, None, [], [], [], 0, False)
        yield last._replace(
            records=last.records - (log.unterminated if complete else 0),
            notices=last.notices + notices,
            complete=complete,
            cut=cuts(),
        )

    def _slices(self, block: Block) -> Iterator[tuple[Block, bool]]:
        """The block in parts; with the last of them True."""
        while True:
            stop = _line_start(block, block.position + self._size)
            if stop >= block.end or stop <= block.start:
                break
            yield _part_of(block, block.start, stop), False
            block = _part_of(block, stop, block.end)
        yield block, True


def together(parts: Sequence[Parsed]) -> Parsed:
    """Parts of a piece as one, of objects; there is at least one."""
    drafts = objects([(part.drafts, 0, len(part.drafts)) for part in parts])
    return Parsed(
        sum(part.records for part in parts),
        min((part.first for part in parts if part.first is not None), default=None),
        max((part.last for part in parts if part.last is not None), default=None),
        times_of(drafts),
        drafts,
        [notice for part in parts for notice in part.notices],
        sum(part.bytes for part in parts),
        parts[-1].complete,
        sum(part.cut for part in parts),
    )


def _open(piece: Piece) -> RecordedLog:
    options = LogOptions(timezone=piece.timezone, year=piece.year, parsers=piece.parsers)
    at = piece.at or piece.path
    return RecordedLog(at, options, start=piece.start, end=piece.end, log=piece.path, arrival=piece.arrival)


# ---------------------------------------------------------------- between processes


def packed(parsed: Parsed) -> bytes:
    """What was parsed as bytes for another process: rows as they are; objects as columns, because the same
    few texts stand in them again and again, and are written once."""
    drafts = parsed.drafts
    rows = b"", b""
    if isinstance(drafts, Batch):
        rows, drafts = (drafts.rows, drafts.texts), drafts.objects
    keys = [(at, one.keys) for at, one in enumerate(drafts) if type(one) is Draft]
    events = [one if type(one) is Event else one.event for one in drafts]  # type: ignore[union-attr]
    columns = [_column(values) for values in zip(*events, strict=True)]
    notices = [(one.id, one.args, one.blind) for one in parsed.notices]
    rest = (parsed.records, parsed.first, parsed.last, parsed.bytes, parsed.complete, parsed.cut)
    return marshal.dumps((rest, rows, columns, keys, notices))


def _column(values: tuple[Any, ...]) -> list[Any] | tuple[Any] | bytes:
    """The values as a list; one that stands everywhere, alone in a tuple; stamps as an array. Captured fields
    are no value: each event has its own."""
    first = values[0]
    if type(first) is float:
        return array("d", values).tobytes()
    alike = type(first) is not dict and values.count(first) == len(values)
    return (first,) if alike else list(values)


def unpacked(data: bytes, table: Table | None = None, log: str = "") -> Parsed:
    """What `packed` made bytes of. `table`: what rows mean, where there may be any; they are of that log."""
    (records, first, last, size, complete, cut), (rows, texts), columns, keys, notices = marshal.loads(data)
    drafts: list[Any] = []
    times: list[float] = []
    if columns:
        column: array[float] = array("d")
        column.frombytes(columns[1])
        times = columns[1] = column.tolist()
        lines = zip(*[repeat(one[0]) if type(one) is tuple else one for one in columns])  # noqa: B905
        drafts += map(_new, repeat(Event), lines)  # as many as there are times
    for at, of in keys:
        drafts[at] = _new(Draft, (drafts[at], of))
    said = [Notice(what, args, blind) for what, args, blind in notices]
    found: Drafts = drafts
    if rows:
        assert table is not None
        found, times = Batch(table, log, rows, texts, drafts), []
    return Parsed(records, first, last, times, found, said, size, complete, cut)
