"""A block of bytes to events: one literal search over the block, then only the lines a rule may want.

Owns: the compiled rules, one `Opener` for each log, the counters.
Never: joins lines (that is `sessions`), keeps a reference to a block, asks a clock.
Limits: one scanner is used by one thread. A line longer than 8 KiB is cut there.

The scan is a function of the block, the definitions and the running stamp of the log; what only several lines
tell together leaves it as a `Draft` and is joined afterwards, in order, by `Sessions`. So blocks can be
scanned anywhere.

Where the compiled core is there (`native`), blocks go through its equal twin; `line` here then only sees
what the twin leaves to it: cut lines, uncommon prefixes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..model import Block, Record, Records
from . import native as compiled_core
from . import prefilter as prefilters
from .compiled import ALL, Plan, Plans, Search
from .dialogue_claims import Claims, is_spoken, parts_of
from .envelope import NONE, SCALE, SYSLOG, Opened, Opener
from .items import (
    AHEAD,
    LINE_LIMIT,
    MOST_ATTEMPTS,
    SAMPLE_EVERY,
    Counters,
    Draft,
    Item,
    family,
    time_of,
)
from .making import Maker, Slice
from .packed import Batch, Table
from .rules import Parser
from .taking import Taker, some_rule_takes

if TYPE_CHECKING:
    from .dialogue import Reader
    from .explaining import Explanation

__all__ = ["LINE_LIMIT", "MOST_ATTEMPTS", "Counters", "Draft", "Item", "Scanner", "family"]

_NAMED = 4096  # logs whose parsers are remembered
_LITERAL = prefilters.MOST - 1
_NATIVE = ("auto", "native")  # prefilters with which the compiled scan is used


class Scanner:
    """Finds the events in blocks and records."""

    def __init__(
        self,
        parsers: Iterable[Parser],
        prefilter: str = "auto",
        wanted_kinds: frozenset[str] | None = None,
        keep_lines: bool = False,
        native: bool | None = None,
    ):
        """`wanted_kinds` None: every rule is searched for. `keep_lines`: hostile events carry their raw line.
        `native`: blocks go through the compiled scan; None: where it is there and no other prefilter is asked
        for.

        Raises ValueError or ImportError when the named prefilter or the compiled scan is not there.
        """
        # Guessed formats last: what a known format takes is not theirs.
        self.parsers: tuple[Parser, ...] = tuple(sorted(parsers, key=lambda parser: parser.guessed))
        self.counters = Counters()
        self._dialogue_logs = Claims(self.parsers)
        self._claims = self._dialogue_logs.claims
        self._for_dialogues = wanted_kinds, keep_lines
        self._dialogues: Reader | None = None
        self._spoke = False  # the line that was explained last is of a dialogue
        alone = tuple(parser for parser in self.parsers if parser.dialogue is None)
        self.plans = Plans(alone, wanted_kinds)
        self.maker = Maker(self.counters, keep_lines)
        self.taker = Taker(self.plans, self.counters, self.maker)
        module = compiled_core.choose("scan", native if native is not None or prefilter in _NATIVE else False)
        if module is not None and len(self.plans.literals) > module.MOST_LITERALS:
            if native:
                raise ValueError(f"more than {module.MOST_LITERALS} literals")
            module = None
        self._machine: Any = module.Machine() if module is not None else None
        self._module = module
        self._engine = prefilter
        self._searches: dict[tuple[str, ...], Search] = {}
        self._prefilters: dict[tuple[str, ...], prefilters.Prefilter] = {}
        self._lines: dict[tuple[str, ...], Any] = {}
        self._prefilter(())
        self._openers: dict[tuple[str, str, tuple[str, ...]], Opener] = {}
        #: lines without a literal are looked at, for who asks whether a format changed
        self.sampling = True
        self._sampled: dict[str, int] = {}
        self._named: dict[str, tuple[str, ...]] = {}  # logs: the parsers that their names ask for
        self.ways: dict[str, Any] = {}  # logs: the compiled way of their usual blocks
        self._restored: dict[str, float] = {}
        #: What rows of `pack` mean; every scanner with these definitions has an equal one.
        self.table = Table(entry for entries in self.plans.entries.values() for entry in entries)

    @property
    def dialogues(self) -> Reader:
        """Reads dialogue logs; made when one is met, for few hosts write any."""
        if self._dialogues is None:
            from .dialogue import Reader

            covering = frozenset(
                name for one in self.parsers for rule in one.rules for name in rule.covered_by + rule.heard_by
            )
            self._dialogues = Reader(self.parsers, *self._for_dialogues, covering)
        return self._dialogues

    @property
    def engine(self) -> str:
        """The name of the prefilter in use."""
        return self._prefilter(()).name

    @property
    def native(self) -> bool:
        """Blocks go through the compiled scan."""
        return self._machine is not None

    def search(self, names: tuple[str, ...]) -> Search:
        """What to search for in a log that is read by the parsers called `names`, () all."""
        found = self._searches.get(names)
        if found is None:
            found = self._searches[names] = self.plans.search(names)
        return found

    def _prefilter(self, names: tuple[str, ...]) -> prefilters.Prefilter:
        found = self._prefilters.get(names)
        if found is None:
            found = self._prefilters[names] = prefilters.choose(
                self.search(names).literals, self._engine, self._machine is not None
            )
        return found

    def _native_lines(self, names: tuple[str, ...]) -> Any:
        """The compiled scan for those parsers."""
        found = self._lines.get(names)
        if found is None:
            found = self._lines[names] = self._module.Lines(
                self, self._machine, self.search(names), names, SCALE
            )
        return found

    # ------------------------------------------------------------ blocks

    def scan(self, block: Block) -> list[Item]:
        """The events of a block in the order of its lines; those that concern a session as drafts."""
        way = self.ways.get(block.log)
        if way is not None and (usual := way.scan(block)) is not None:
            return usual  # type: ignore[no-any-return]
        stated, block = block, self._bound(block)
        if self._claims(block):
            return self._dialogue(block)
        found: list[Item] = []
        arrived = self._arrive(block)
        if self._machine is not None:
            lines = self._native_lines(block.parsers)
            lines.scan(block, *arrived, found)
            if block.live and self._dialogue_logs.settled(block):
                if len(self.ways) >= _NAMED:
                    self.ways.clear()
                self.ways[block.log] = self._module.Way(stated, block.parsers, arrived[0], lines, self)
        else:
            self._scan_lines(block, *arrived, found)
        if found:
            self.counters.matched[block.log] = time_of(found[-1])
        return found

    def pack(self, block: Block) -> Batch | list[Item]:
        """The same as rows, where there is a compiled scan and the log is no dialogue."""
        block = self._bound(block)
        if self._machine is None or self._claims(block):
            return self.scan(block)
        rows, texts, objects = self._native_lines(block.parsers).pack(block, *self._arrive(block))
        batch = Batch(self.table, block.log, rows, texts, objects)
        if rows:
            self.counters.matched[block.log] = batch.last()
        return batch

    def _bound(self, block: Block) -> Block:
        """The block as its log's own parsers read it: a log whose path holds a name that a definition states
        (`log`) is read by that definition alone. Others write into such logs, and may write lines of any
        other."""
        names = self._named.get(block.log)
        if names is None:
            if len(self._named) >= _NAMED:
                self._named.clear()
            names = self._named[block.log] = self._parsers_of(block.log)
        return block._replace(parsers=names) if names and not block.parsers else block

    def _parsers_of(self, log: str) -> tuple[str, ...]:
        for part in reversed(parts_of(log)):
            names = tuple(parser.name for parser in self.parsers if part in parser.logs)
            if names:
                return names
        return ()

    def _arrive(self, block: Block) -> tuple[Opener, bytes, int, int, frozenset[int]]:
        """Counts a block and makes it ready: who opens its lines, and where in which bytes they stand."""
        data, start, end = block.data, block.start, block.end
        cuts: frozenset[int] = frozenset(block.cuts)
        if not isinstance(data, bytes) and (self._machine is None or not isinstance(data, bytearray)):
            # Once for the block, so that no line is copied.
            cuts = frozenset([cut - start for cut in cuts])
            with memoryview(data) as view:
                data, start, end = view[start:end].tobytes(), 0, end - start
        counters = self.counters
        counters.bytes += end - start
        counters.cut += len(cuts)
        opener = self._opener(block)
        if block.position // SAMPLE_EVERY != self._sampled.get(block.log):
            self._sampled[block.log] = block.position // SAMPLE_EVERY
            # Before the lines: the years of a log without years are counted in the order of its lines.
            self._sample(block, opener, data, start, end)
        return opener, data, start, end, cuts

    def _dialogue(self, block: Block) -> list[Item]:
        """The events of a block of a dialogue log, which nobody else may read."""
        counters = self.counters
        counters.bytes += block.end - block.start
        counters.lines += block.data.count(b"\n", block.start, block.end)
        counters.cut += len(block.cuts)
        found = self.dialogues.scan(block)
        if found:
            counters.matched[block.log] = time_of(found[-1])
        return found

    def _scan_lines(
        self,
        block: Block,
        opener: Opener,
        data: bytes,
        start: int,
        end: int,
        cuts: frozenset[int],
        found: list[Item],
    ) -> None:
        """The events of the lines in data[start:end], appended to `found`."""
        self.counters.lines += data.count(b"\n", start, end)
        search, base = self.search(block.parsers), block.position - start
        line, bits = self.line, search.bits
        find, rfind = data.find, data.rfind
        begin, stop, mask = start, start - 1, 0
        for hit in self._prefilter(block.parsers).find(data, start, end):
            at = (hit >> prefilters.SHIFT) - 1  # the last byte of the literal
            if at <= stop:
                mask |= bits[hit & _LITERAL]
                continue
            if mask:
                line(block, opener, (data, begin, stop), base + begin, mask, begin in cuts, found)
            begin = rfind(b"\n", stop + 1, at) + 1 or stop + 1
            stop = find(b"\n", at, end)
            if stop < 0:
                stop = end
            mask = bits[hit & _LITERAL]
        if mask:
            line(block, opener, (data, begin, stop), base + begin, mask, begin in cuts, found)

    def _opener(self, block: Block) -> Opener:
        styles = self.search(block.parsers).styles
        key = (block.log, block.timezone, styles)
        opener = self._openers.get(key)
        if opener is None:
            opener = self._openers[key] = Opener(styles, block.timezone)
            opener.stamps.running = self._restored.get(block.log, 0.0)
        opener.arrive(block.arrival, block.live, block.year)
        return opener

    def line(
        self,
        block: Block,
        opener: Opener,
        line: Slice,
        position: int,
        mask: int,
        cut: bool,
        found: list[Item],
    ) -> None:
        """One line, without its LF, on which literals were found."""
        counters, search = self.counters, self.search(block.parsers)
        counters.hits += 1
        data, begin, end = line
        if end - begin > LINE_LIMIT:
            end = begin + LINE_LIMIT
            line = data, begin, end
            if not cut:
                cut = True
                counters.cut += 1
        first = data[begin] if begin < end else 0
        opened = opener.open(data, begin, end)
        if mask & (search.epost if first == 91 else search.named if first else search.epost | search.named):
            if opened is None:
                counters.unopened += 1
            else:
                message = data if opened.data is None else opened.data
                plan = self.plans.plan(opened.style, opened.program, mask, block.parsers)
                if plan.entries and self.taker.take(plan, message, opened, cut, block, position, line, found):
                    return
                if plan.known and not self.taker.doubts.skips():
                    self.taker.unmatched(opened, message, cut, block.parsers)
        if opened is None and mask & search.whole:  # a line with a prefix is never its own message
            plan = self.plans.plan(NONE, b"", mask, block.parsers)
            self._take_whole(plan, opener, data[begin:end], cut, block, position, found)

    def _take_whole(
        self,
        plan: Plan,
        opener: Opener,
        line: bytes,
        cut: bool,
        block: Block,
        position: int,
        found: list[Item],
    ) -> None:
        """Ask the rules for which the whole line is the message; its stamp stands in a slot."""
        end = len(line) - line.endswith(b"\r")
        for entry in plan.entries:
            captures = entry.match(line, 0, end, cut)
            if captures is not None and entry.stamp >= 0:
                time = opener.stamp(captures[entry.stamp] or b"")
                if time is not None:
                    opened = Opened(time, b"", b"", 0, 0, end, NONE)
                    only, raw = Plan((entry,), False, True), (line, 0, len(line))
                    self.taker.take(only, line, opened, cut, block, position, raw, found)
                    return

    def _sample(self, block: Block, opener: Opener, data: bytes | bytearray, start: int, end: int) -> None:
        """Look at the first line of a block whether or not a literal hits: a change of wording shows here."""
        stop = data.find(b"\n", start, end)
        if stop < 0 or stop - start > LINE_LIMIT:
            return
        line = bytes(data[start:stop])
        opened = opener.open(line, 0, len(line))
        if opened is None or not self.sampling:
            return
        self.counters.sampled += 1
        message = line if opened.data is None else opened.data
        plan = self.plans.plan(opened.style, opened.program, ALL, block.parsers)
        if plan.known and not some_rule_takes(plan, opened, message, False):
            self.counters.sampled_unmatched += 1

    # ------------------------------------------------------------ records

    def scan_records(self, records: Records) -> list[Item]:
        """The events of entries whose envelope is already open. A line end in a message counts as a blank."""
        counters = self.counters
        messages = [record.message.replace(b"\n", b" ") for record in records.records]
        data = b"\n".join(messages) + b"\n"
        counters.bytes += len(data) - 1
        counters.lines += len(messages)
        found: list[Item] = []
        if self._machine is not None and messages:
            self._native_lines(records.parsers).scan_records(records, messages, data, found)
        else:
            self._scan_messages(records, messages, data, found)
        if found:
            counters.matched[records.log] = time_of(found[-1])
        return found

    def _scan_messages(self, records: Records, messages: list[bytes], data: bytes, found: list[Item]) -> None:
        """The events of those entries, appended to `found`; `data`: the messages, a line feed behind each."""
        masks: dict[int, int] = {}
        bits = self.search(records.parsers).bits
        for hit in self._prefilter(records.parsers).find(data, 0, len(data)):
            begin = data.rfind(b"\n", 0, (hit >> prefilters.SHIFT) - 1) + 1
            masks[begin] = masks.get(begin, 0) | bits[hit & _LITERAL]
        begin = 0
        for record, message in zip(records.records, messages, strict=True):
            mask = masks.get(begin)
            if mask:
                self.record(records, record, data, begin, begin + len(message), mask, found)
            begin += len(message) + 1

    def record(
        self,
        records: Records,
        record: Record,
        data: bytes,
        start: int,
        end: int,
        mask: int,
        found: list[Item],
    ) -> None:
        """One entry, data[start:end], on which literals were found."""
        self.counters.hits += 1
        cut = record.cut or end - start > LINE_LIMIT
        if cut:
            self.counters.cut += 1
            end = min(end, start + LINE_LIMIT)
        ahead = records.live and record.time > records.arrival + AHEAD
        time = records.arrival if ahead else record.time
        opened = Opened(time, record.host, record.program, record.pid, start, end)
        plan = self.plans.plan(SYSLOG, record.program, mask, records.parsers)
        line = data, start, end
        if self.taker.take(plan, data, opened, cut, records, record.position, line, found):
            return
        if plan.known and not self.taker.doubts.skips():
            self.taker.unmatched(opened, data, cut, records.parsers)

    # ------------------------------------------------------------ pieces

    def begin(self, log: str) -> None:
        """What comes next of `log` is read as if nothing of it had been read before: a piece of a file means
        the same wherever and after whatever it is scanned."""
        for key in [key for key in self._openers if key[0] == log]:
            del self._openers[key]
        self._restored.pop(log, None)
        self._sampled.pop(log, None)
        self.ways.pop(log, None)
        if self._dialogues is not None:
            self._dialogues.begin(log)

    # ------------------------------------------------------------ answers

    def taken(self) -> dict[str, int]:
        """How many lines each rule took; rules that took none, or are not searched for, are left out."""
        if self._machine is not None:
            self._machine.give_counts()
        entries = (entry for ready in self.plans.entries.values() for entry in ready)
        spoken = {} if self._dialogues is None else self._dialogues.taken()
        return {entry.full_name: entry.count for entry in entries if entry.count} | spoken

    def ahead(self) -> int:
        """How many live stamps were more than a minute ahead and counted as now."""
        return sum(opener.stamps.ahead for opener in self._openers.values())

    def running(self) -> dict[str, float]:
        """The latest stamp of each log, for the checkpoint."""
        return self._restored | {log: opener.stamps.running for (log, _, _), opener in self._openers.items()}

    def spoken(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]:
        """Rows of the open sessions of dialogue logs, for the checkpoint: those that changed (None: gone)."""
        return iter(()) if self._dialogues is None else self._dialogues.snapshot(full)

    def restore(self, running: dict[str, float], spoken: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Take up what `running` and `spoken` gave before a restart."""
        self._restored = dict(running)
        if rows := list(spoken):
            self.dialogues.restore(rows)

    def explain(
        self,
        line: bytes,
        arrival: float,
        log: str = "-",
        timezone: str = "",
        year: int | None = None,
        parsers: tuple[str, ...] = (),
        fits: bool = True,
    ) -> Explanation:
        """How one line is read; see `explaining.explain`. Lines of a dialogue log follow each other; what
        follows one of them without a stamp, and is of no other log, belongs to it and is not shown either."""
        from .explaining import explain, explain_spoken  # not for who only scans

        spoken = bool(is_spoken(line)) and self.dialogues.spoken(line, parsers)
        if not spoken:
            styles = self.search(parsers).styles
            found = explain(self.taker, styles, line, arrival, log, timezone, year, parsers, fits)
            spoken = self._spoke and found.rule is None and not line.startswith(b"[")
        self._spoke = spoken
        return explain_spoken(self.dialogues, line, arrival, timezone, parsers) if spoken else found
