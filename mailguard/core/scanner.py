"""A block of bytes to events: one literal search over the block, then Python only on the lines a rule may
want.

Owns: the compiled rules, one `Opener` for each log, the counters.
Never: joins lines (that is `sessions`), keeps a reference to a block, asks a clock.
Limits: one scanner is used by one thread. A line longer than 8 KiB is cut there.

The scan is a function of the block, the definitions and the running stamp of the log; what only several lines
tell together leaves it as a `Draft` and is joined afterwards, in order, by `Sessions`. So blocks can be
scanned anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..model import Block, Event, Records
from . import prefilter as prefilters
from .compiled import ALL, REST, Captures, Entry, Plan, Plans, Search
from .envelope import NONE, SYSLOG, Opened, Opener
from .pattern import progress
from .rules import IGNORE, Addresses, Parser, Rule, decode

LINE_LIMIT = 8192
MOST_ATTEMPTS = 65535
_SAMPLE_EVERY = 65536  # bytes of a log between two lines that are looked at without a literal
_DOUBTS, _EVERY = 256, 16  # how many doubtful lines are all looked at, and of which later ones one is
_PROGRAMS = 1024  # programs whose unmatched lines are counted
_AHEAD = 60.0
_LITERAL = prefilters.MOST - 1

Data = bytes | bytearray
#: A raw line in its block: only those of hostile events are copied out.
Slice = tuple[bytes, int, int]
_new = tuple.__new__


class Draft(NamedTuple):
    """An event that needs its session, or that changes one.

    `keys` are the keys of the rule's sessions, in order; an empty key: the line names no session.
    """

    event: Event
    keys: tuple[bytes, ...]


Item = Event | Draft


@dataclass(slots=True)
class Counters:
    """What the scanner saw since it was made."""

    lines: int = 0
    bytes: int = 0
    cut: int = 0
    hits: int = 0  # lines on which a literal was found
    ambiguous: int = 0  # lines that two rules read with different sources: no event
    sourceless: int = 0  # hostile lines whose source is no address
    unopened: int = 0  # lines with a literal whose prefix is not known
    sampled: int = 0  # lines looked at without a literal: the first of a block, one in 64 KiB
    sampled_unmatched: int = 0  # those of them of a program we know, that no rule took
    unmatched: dict[str, int] = field(default_factory=dict)  # program: lines with a literal that no rule took
    latest: dict[str, str] = field(default_factory=dict)  # program: the latest such message
    matched: dict[str, float] = field(default_factory=dict)  # log: time of the last line that made an event


class Tried(NamedTuple):
    """One rule asked about a message: how many of its bytes fit, and whether it takes the line."""

    rule: str
    fits: int
    takes: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a line is read. `rule` takes it; `item` is what it makes, None: nothing, or it is set aside."""

    opened: Opened | None
    message: bytes = b""
    parsers: tuple[str, ...] = ()
    tried: tuple[Tried, ...] = ()
    rule: Rule | None = None
    item: Item | None = None
    ambiguous: bool = False


class Scanner:
    """Finds the events in blocks and records."""

    def __init__(
        self,
        parsers: Iterable[Parser],
        prefilter: str = "auto",
        wanted_kinds: frozenset[str] | None = None,
        keep_lines: bool = False,
    ):
        """`wanted_kinds` None: every rule is searched for. `keep_lines`: hostile events carry their raw line.

        Raises ValueError or ImportError when the named prefilter is not there.
        """
        # Guessed formats last: what a known format takes is not theirs.
        self.parsers: tuple[Parser, ...] = tuple(sorted(parsers, key=lambda parser: parser.guessed))
        self.keep_lines = keep_lines
        self.counters = Counters()
        self._plans = Plans(self.parsers, wanted_kinds)
        self._engine = prefilter
        self._searches: dict[tuple[str, ...], tuple[Search, prefilters.Prefilter]] = {}
        self._search(())
        self._openers: dict[tuple[str, str, tuple[str, ...]], Opener] = {}
        self._sampled: dict[str, int] = {}
        self._doubts = 0
        self._addresses = Addresses()
        self._restored: dict[str, float] = {}

    @property
    def engine(self) -> str:
        """The name of the prefilter in use."""
        return self._search(())[1].name

    def _search(self, names: tuple[str, ...]) -> tuple[Search, prefilters.Prefilter]:
        """What to search for in a log that is read by those parsers, and with what."""
        found = self._searches.get(names)
        if found is None:
            search = self._plans.search(names)
            found = self._searches[names] = search, prefilters.choose(search.literals, self._engine)
        return found

    # ------------------------------------------------------------ blocks

    def scan(self, block: Block) -> list[Item]:
        """The events of a block in the order of its lines; those that concern a session as drafts."""
        data, start, end = block.data, block.start, block.end
        cuts: frozenset[int] = frozenset(block.cuts)
        if not isinstance(data, bytes):  # once for the block, so that no line is copied
            cuts = frozenset([cut - start for cut in cuts])
            with memoryview(data) as view:
                data, start, end = view[start:end].tobytes(), 0, end - start
        base = block.position - start
        counters = self.counters
        counters.bytes += end - start
        counters.lines += data.count(b"\n", start, end)
        counters.cut += len(cuts)
        search, prefilter = self._search(block.parsers)
        opener = self._opener(block, search)
        found: list[Item] = []
        line, bits = self._line, search.bits
        find, rfind = data.find, data.rfind
        begin, stop, mask = start, start - 1, 0
        for hit in prefilter.find(data, start, end):
            at = (hit >> prefilters.SHIFT) - 1  # the last byte of the literal
            if at <= stop:
                mask |= bits[hit & _LITERAL]
                continue
            if mask:
                line(block, search, opener, (data, begin, stop), base + begin, mask, begin in cuts, found)
            begin = rfind(b"\n", stop + 1, at) + 1 or stop + 1
            stop = find(b"\n", at, end)
            if stop < 0:
                stop = end
            mask = bits[hit & _LITERAL]
        if mask:
            line(block, search, opener, (data, begin, stop), base + begin, mask, begin in cuts, found)
        if found:
            counters.matched[block.log] = _time(found[-1])
        if block.position // _SAMPLE_EVERY != self._sampled.get(block.log):
            self._sampled[block.log] = block.position // _SAMPLE_EVERY
            self._sample(block, opener, data, start, end)
        return found

    def _opener(self, block: Block, search: Search) -> Opener:
        key = (block.log, block.timezone, search.styles)
        opener = self._openers.get(key)
        if opener is None:
            opener = self._openers[key] = Opener(search.styles, block.timezone)
            opener.stamps.running = self._restored.get(block.log, 0.0)
        opener.arrive(block.arrival, block.live, block.year)
        return opener

    def _line(
        self,
        block: Block,
        search: Search,
        opener: Opener,
        line: Slice,
        position: int,
        mask: int,
        cut: bool,
        found: list[Item],
    ) -> None:
        """One line, without its LF, on which literals were found."""
        counters = self.counters
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
                plan = self._plans.plan(opened.style, opened.program, mask, block.parsers)
                if plan.entries and self._take(plan, message, opened, cut, block, position, line, found):
                    return
                if plan.known:
                    self._unmatched(opened, message, cut, block.parsers)
        if opened is None and mask & search.whole:  # a line with a prefix is never its own message
            plan = self._plans.plan(NONE, b"", mask, block.parsers)
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
                    self._take(only, line, opened, cut, block, position, raw, found)
                    return

    def _take(
        self,
        plan: Plan,
        message: bytes,
        opened: Opened,
        cut: bool,
        origin: Block | Records,
        position: int,
        line: Slice,
        found: list[Item],
    ) -> bool:
        """Ask the rules in order; the first that fits takes the line. False when none does."""
        start, end = opened.start, opened.end
        for entry in plan.entries:
            captures = entry.match(message, start, end, True) if cut else entry.find(message, start, end)
            if captures is None:
                continue
            for other in entry.before:
                if other.match(message, start, end, cut) is not None:
                    return True  # set aside, or of a kind that nobody asked for
            if plan.check and self._doubtful(plan, entry, captures, message, opened, cut):
                self.counters.ambiguous += 1
                return True
            entry.count += 1
            item = self._make(entry, captures, opened, origin, position, line)
            if item is not None:
                found.append(item)
            return True
        return False

    def _doubtful(
        self, plan: Plan, first: Entry, captures: Captures, message: bytes, opened: Opened, cut: bool
    ) -> bool:
        """True when a rule of another parser, which no proof has compared, reads another source. A guessed
        format cannot cast doubt on a known one: else a client could hide by a name that fits the guess.
        """
        source = captures[first.source] if first.source >= 0 else None
        if source is None:
            return False
        for entry in plan.entries:
            if entry.source < 0 or entry.rule.parser == first.rule.parser or entry.guessed > first.guessed:
                continue
            other = entry.match(message, opened.start, opened.end, cut)
            if other is not None and other[entry.source] not in (source, None):
                return True
        return False

    def _make(
        self,
        entry: Entry,
        captures: Captures,
        opened: Opened,
        origin: Block | Records,
        position: int,
        line: Slice,
    ) -> Item | None:
        """The event of a line that `entry` took, None where its rule makes none."""
        if entry.kind == IGNORE and not entry.stateful:
            return None
        source = None
        if entry.source >= 0:
            text = captures[entry.source]
            if text is not None:
                source = self._addresses[text]
            if source is None and entry.hostile and not entry.stateful:
                self.counters.sourceless += 1
                return None
        fields: dict[str, str] = {}
        for at, name in entry.fields:
            raw = captures[at]
            if raw is not None:
                # Nearly all are new and plain: decoding them costs less than remembering them would.
                if raw.isascii() and (plain := raw.decode("ascii")).isprintable():
                    fields[name] = plain
                else:
                    fields[name] = decode(raw)
        weight = entry.weight
        if entry.attempts >= 0:
            weight = _number(captures[entry.attempts]) - entry.minus
            if entry.less >= 0:
                weight -= _number(captures[entry.less])
        if opened.repeat > 1:
            weight = min(weight * opened.repeat, MOST_ATTEMPTS)
        event: Event = _new(
            Event,
            (
                entry.kind,
                opened.time,
                source,
                entry.full_name,
                weight,
                fields,
                origin.log,
                position,
                entry.scope_of(opened.program) if entry.scopes else entry.scope,
                origin.may_ban and not entry.guessed,
                entry.proved,
                line[0][line[1] : line[2]] if self.keep_lines and entry.hostile else b"",
            ),
        )
        if entry.stateful:
            return Draft(event, _keys(entry, captures, opened, origin.log))
        return event if weight > 0 else None

    # ------------------------------------------------------------ lines that no rule took

    def _unmatched(self, opened: Opened, message: bytes, cut: bool, names: tuple[str, ...]) -> None:
        """Count a line of a known program with a literal, unless a rule that was not searched for takes it.

        After the first 256 such lines only every 16th is looked at and counts for 16: dozens of rules are
        asked.
        """
        self._doubts += 1
        stands_for = 1
        if self._doubts > _DOUBTS:
            if self._doubts % _EVERY:
                return
            stands_for = _EVERY
        if _some_rule_takes(
            self._plans.plan(opened.style, opened.program, REST, names), opened, message, cut
        ):
            return
        program = decode(opened.program)
        counters = self.counters
        if len(counters.unmatched) < _PROGRAMS or program in counters.unmatched:
            counters.unmatched[program] = counters.unmatched.get(program, 0) + stands_for
            counters.latest[program] = decode(message[opened.start : min(opened.end, opened.start + 512)])

    def _sample(self, block: Block, opener: Opener, data: Data, start: int, end: int) -> None:
        """Look at the first line of a block whether or not a literal hits: a change of wording shows here."""
        stop = data.find(b"\n", start, end)
        if stop < 0 or stop - start > LINE_LIMIT:
            return
        line = bytes(data[start:stop])
        opened = opener.open(line, 0, len(line))
        if opened is None:
            return
        self.counters.sampled += 1
        message = line if opened.data is None else opened.data
        plan = self._plans.plan(opened.style, opened.program, ALL, block.parsers)
        if plan.known and not _some_rule_takes(plan, opened, message, False):
            self.counters.sampled_unmatched += 1

    # ------------------------------------------------------------ records

    def scan_records(self, records: Records) -> list[Item]:
        """The events of entries whose envelope is already open. A line end in a message counts as a blank."""
        counters = self.counters
        messages = [record.message.replace(b"\n", b" ") for record in records.records]
        data = b"\n".join(messages) + b"\n"
        counters.bytes += len(data) - 1
        counters.lines += len(messages)
        masks: dict[int, int] = {}
        search, prefilter = self._search(records.parsers)
        for hit in prefilter.find(data, 0, len(data)):
            begin = data.rfind(b"\n", 0, (hit >> prefilters.SHIFT) - 1) + 1
            masks[begin] = masks.get(begin, 0) | search.bits[hit & _LITERAL]
        found: list[Item] = []
        begin = 0
        for record, message in zip(records.records, messages, strict=True):
            start, end = begin, begin + len(message)
            begin = end + 1
            mask = masks.get(start)
            if not mask:
                continue
            counters.hits += 1
            cut = record.cut or end - start > LINE_LIMIT
            if cut:
                counters.cut += 1
                end = min(end, start + LINE_LIMIT)
            ahead = records.live and record.time > records.arrival + _AHEAD
            opened = Opened(
                records.arrival if ahead else record.time, record.host, record.program, record.pid, start, end
            )
            plan = self._plans.plan(SYSLOG, record.program, mask, records.parsers)
            taken = self._take(plan, data, opened, cut, records, record.position, (data, start, end), found)
            if not taken and plan.known:
                self._unmatched(opened, data, cut, records.parsers)
        if found:
            counters.matched[records.log] = _time(found[-1])
        return found

    # ------------------------------------------------------------ pieces

    def begin(self, log: str) -> None:
        """What comes next of `log` is read as if nothing of it had been read before: a piece of a file means
        the same wherever and after whatever it is scanned."""
        for key in [key for key in self._openers if key[0] == log]:
            del self._openers[key]
        self._restored.pop(log, None)
        self._sampled.pop(log, None)

    # ------------------------------------------------------------ answers

    def taken(self) -> dict[str, int]:
        """How many lines each rule took; rules that took none, or are not searched for, are left out."""
        entries = (entry for ready in self._plans.entries.values() for entry in ready)
        return {entry.full_name: entry.count for entry in entries if entry.count}

    def ahead(self) -> int:
        """How many live stamps were more than a minute ahead and counted as now."""
        return sum(opener.stamps.ahead for opener in self._openers.values())

    def running(self) -> dict[str, float]:
        """The latest stamp of each log, for the checkpoint."""
        return self._restored | {log: opener.stamps.running for (log, _, _), opener in self._openers.items()}

    def restore(self, running: dict[str, float]) -> None:
        """Take up what `running` gave before a restart."""
        self._restored = dict(running)

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
        """How one line is read: every rule of the parsers that know its program, and how far it fits.

        `fits` False leaves the measuring out, which is slow. No counter and no running stamp changes by it.
        """
        line = line.rstrip(b"\n")
        styles = self._search(parsers)[0].styles
        opener = Opener(styles, timezone)
        opener.arrive(arrival, False, year)
        opened = opener.open(line, 0, len(line))
        if opened is not None and not self._plans.plan(opened.style, opened.program, ALL, parsers).known:
            return Explanation(opened, _message(line, opened))
        if opened is None:
            if NONE not in styles:
                return Explanation(None)
            opened = Opened(0.0, b"", b"", 0, 0, len(line) - line.endswith(b"\r"), NONE)
        message = _message(line, opened)
        plan = self._plans.plan(opened.style, opened.program, ALL, parsers)
        tried: list[Tried] = []
        taken: tuple[Entry, Captures] | None = None
        for entry in plan.entries:
            captures = entry.match(message, 0, len(message), False)
            far = len(message) if captures is not None else 0
            if captures is None and fits:
                far = progress(entry.rule.pattern, message)
            tried.append(Tried(entry.full_name, far, captures is not None))
            if captures is not None and taken is None:
                if opened.style == NONE:
                    time = opener.stamp(captures[entry.stamp] or b"") if entry.stamp >= 0 else None
                    if time is None:
                        continue
                    opened = opened._replace(time=time)
                taken = entry, captures
        names = tuple(dict.fromkeys(entry.rule.parser for entry in plan.entries))
        if taken is None:
            return Explanation(opened, message, names, tuple(tried))
        entry, captures = taken
        local = opened._replace(start=0, end=len(message))
        if plan.check and self._doubtful(plan, entry, captures, message, local, False):
            return Explanation(opened, message, names, tuple(tried), entry.rule, None, True)
        sourceless = self.counters.sourceless
        origin = Block(log, line, 0, len(line), 0, arrival, False)
        item = self._make(entry, captures, local, origin, 0, (line, 0, len(line)))
        self.counters.sourceless = sourceless
        return Explanation(opened, message, names, tuple(tried), entry.rule, item)


def _some_rule_takes(plan: Plan, opened: Opened, message: bytes, cut: bool) -> bool:
    start, end = opened.start, opened.end
    return any(
        message.find(entry.literal, start, end) >= 0 and entry.match(message, start, end, cut) is not None
        for entry in plan.entries
    )


def _time(item: Item) -> float:
    return item.event.time if isinstance(item, Draft) else item.time


def _message(line: bytes, opened: Opened) -> bytes:
    return (line if opened.data is None else opened.data)[opened.start : opened.end]


def _number(text: bytes | None) -> int:
    """A captured count, bounded; 0 when the slot was absent."""
    return min(int(text[:9]), MOST_ATTEMPTS) if text and text.isdigit() else 0


def _keys(entry: Entry, captures: Captures, opened: Opened, log: str) -> tuple[bytes, ...]:
    """The keys of a line's sessions: host, declaration, values. A line without host counts by its log."""
    host = opened.host or family(log)
    pid = b""
    keys: list[bytes] = []
    for prefix, parts in entry.keys:
        key = host + prefix
        for part in parts:
            if type(part) is int:
                value = captures[part]
                if value is None:
                    key = b""
                    break
                key += b"\0" + value
            elif part == "pid":
                pid = pid or b"\0%d" % opened.pid
                key += pid
        keys.append(key)
    return tuple(keys)


def family(log: str) -> bytes:
    """What stands for the host where lines name none: the log's path without the digits of its file name, so
    that day-named and rotated files of one log are one, and two logs are two."""
    folder, slash, base = log.rpartition("/")
    kept = "".join(char for char in base if not char.isdigit())
    return (folder + slash + kept.removesuffix(".gz").rstrip(".")).encode()
