"""A block of bytes to events: one literal search over the block, then Python only on the lines that some rule may want.

Owns: the compiled rules, one `Opener` for each log, the counters.
Never: joins lines (that is `sessions`), keeps a reference to a block, asks a clock.
Limits: one scanner is used by one thread. A line longer than 8 KiB is cut there.

The scan is a function of the block, the definitions and the running stamp of the log; what only several lines tell
together leaves it as a `Draft` and is joined afterwards, in order, by `Sessions`. So blocks can be scanned elsewhere.

Order of rules: the rules of a parser are tried in the order of its file, and the first that fits takes the line. Rules
whose kinds nobody consumes are not searched for, yet they keep their place: before a later rule takes a line, the
earlier ones that could fit it are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..model import HOSTILE, Block, Event, Records
from . import prefilter
from .envelope import DOVECOT, EPOST, NONE, STYLES, SYSLOG, Opened, Opener
from .rules import IGNORE, UNLISTED, Addresses, Parser, Rule, decode

LINE_LIMIT = 8192
MOST_ATTEMPTS = 65535
_SAMPLE_EVERY = 65536       # bytes of a log between two lines that are looked at whether or not a literal hits
_TEXTS = 65536
_PLANS = 65536
_LITERAL_MASK = prefilter.MOST - 1

Data = bytes | bytearray
Captures = tuple[bytes | None, ...]
_new = tuple.__new__


class Draft(NamedTuple):
    """An event that needs its session, or that changes one. `keys` are the keys of the rule's sessions, in order; an
    empty key: the line names no session."""

    event: Event
    keys: tuple[bytes, ...]


@dataclass(slots=True)
class Counters:
    """What the scanner saw. `matched` is, for each log, the time of the last line that a rule took."""

    lines: int = 0
    bytes: int = 0
    cut: int = 0
    hits: int = 0                 # lines on which a literal was found
    ambiguous: int = 0            # lines read with two sources: no event
    sourceless: int = 0           # hostile lines whose source is no address
    unopened: int = 0             # lines with a literal and no prefix that is known
    sampled: int = 0              # lines looked at without a literal hit, one in 64 KiB
    sampled_unmatched: int = 0    # ... of a program we know, that no rule took
    unmatched: dict[str, int] = field(default_factory=dict)   # program: lines with a literal that no rule took
    events: dict[str, int] = field(default_factory=dict)      # rule: lines it took
    matched: dict[str, float] = field(default_factory=dict)   # log: time of the last line a rule took
    latest: dict[str, str] = field(default_factory=dict)      # program: the latest line that no rule took, cleaned


class Tried(NamedTuple):
    """One rule asked about a message: how many of its bytes fit, and whether it takes the line."""

    rule: str
    fits: int
    takes: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a line is read. `rule` is the one that takes it; `item` what it makes (None: nothing, or set aside)."""

    opened: Opened | None
    message: bytes = b""
    parsers: tuple[str, ...] = ()
    tried: tuple[Tried, ...] = ()
    rule: Rule | None = None
    item: Event | Draft | None = None
    ambiguous: bool = False


class _Entry:
    """A rule made ready for the hot path."""

    __slots__ = (
        "attempts", "before", "bits", "count", "fields", "full_name", "guessed", "hostile", "keys", "kind", "less",
        "literal", "match", "minus", "proved", "rivals", "rule", "scope", "source", "stamp", "stateful", "wanted",
        "weight",
    )

    def __init__(self, rule: Rule, parser: Parser):
        names = rule.pattern.names
        self.rule = rule
        self.match: Callable[[Data, int, int, bool], Captures | None] = rule.pattern.match
        self.full_name = rule.full_name
        self.kind = rule.event
        self.hostile = rule.event in HOSTILE
        self.scope = rule.scope
        self.guessed = parser.guessed
        self.literal = rule.pattern.literal
        self.proved = frozenset(rule.pattern.proved) - set(UNLISTED)
        self.source = names.index("source") if "source" in names else -1
        self.stamp = names.index("time") if "time" in names else -1
        self.fields = tuple((at, name) for at, name in enumerate(names) if name not in UNLISTED)
        self.weight = rule.weight.fixed
        self.attempts = names.index(rule.weight.slot) if rule.weight.slot else -1
        self.less = names.index(rule.weight.less) if rule.weight.less else -1
        self.minus = rule.weight.minus
        declared = {kind.name: kind for kind in parser.sessions}
        self.keys = tuple(
            (
                f"{rule.parser}/{use.session}".encode(),
                tuple(names.index(part) if part in names else part for part in declared[use.session].key),
            )
            for use in rule.sessions
        )
        self.stateful = bool(rule.sessions)
        self.rivals = rule.rivals
        self.bits = 0
        self.wanted = True
        self.count = 0
        self.before: tuple[_Entry, ...] = ()


class _Plan(NamedTuple):
    """The rules to ask about one kind of line."""

    entries: tuple[_Entry, ...]
    check: bool         # more than one reading is possible: ask the others too
    known: bool         # some parser claims the program


def literal_triggers(rule: Rule, envelopes: Sequence[str]) -> tuple[bytes, ...]:
    """The texts of which one stands in every line that the rule can take.

    Dovecot's own file has `Info: ` inside the text that the rule sees without it, so both forms are searched for
    (a literal that begins with the `: ` before it stands there anyway). A rule without a literal asks for every line.
    """
    literal = rule.pattern.literal
    if not literal:
        return (b"\n",)
    if DOVECOT not in envelopes:
        return (literal,)
    found = [literal]
    at = literal.find(b": ", 1)
    while at >= 0:
        found.append(literal[:at + 2] + b"Info: " + literal[at + 2:])
        at = literal.find(b": ", at + 2)
    return tuple(found)


def _head(template: str) -> str:
    return template.partition("{")[0]


def _tail(template: str) -> str:
    return template.rpartition("}")[2]


def may_meet(a: Rule, b: Rule) -> bool:
    """False when the texts at the beginnings or ends of two templates rule out that one line fits both."""
    for one, two, whole in (
        (_head(a.pattern.text), _head(b.pattern.text), str.startswith),
        (_tail(a.pattern.text), _tail(b.pattern.text), str.endswith),
    ):
        if not (whole(one, two) or whole(two, one)):
            return False
    return True


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
        self.parsers: tuple[Parser, ...] = tuple(parsers)
        self.keep_lines = keep_lines
        self.counters = Counters()
        self._entries: dict[str, tuple[_Entry, ...]] = {}
        literals: dict[bytes, int] = {}
        for parser in self.parsers:
            entries = tuple(_Entry(rule, parser) for rule in parser.rules)
            self._entries[parser.name] = entries
            needed = _needed_sessions(parser, wanted_kinds)
            for number, entry in enumerate(entries):
                kinds = entry.rule.kinds()
                entry.wanted = wanted_kinds is None or bool(
                    kinds & wanted_kinds or any(use.session in needed for use in entry.rule.sessions)
                )
                if entry.wanted:
                    for literal in literal_triggers(entry.rule, parser.envelopes):
                        entry.bits |= 1 << literals.setdefault(literal, len(literals))
                    entry.before = tuple(
                        other for other in entries[:number]
                        if not other.wanted and may_meet(other.rule, entry.rule)
                    )
        self._bits = [1 << number for number in range(len(literals))]
        self._prefilter = _choose(tuple(literals), prefilter)
        self._plans: dict[tuple[Any, ...], _Plan] = {}
        self._openers: dict[tuple[str, str, tuple[str, ...]], Opener] = {}
        self._styles: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._sampled: dict[str, int] = {}
        self._texts: dict[bytes, str] = {}
        self._addresses = Addresses()

    @property
    def engine(self) -> str:
        """The name of the prefilter in use."""
        return self._prefilter.name

    # ------------------------------------------------------------ blocks

    def scan(self, block: Block) -> list[Event | Draft]:
        """The events of a block in the order of its lines; those that concern a session as drafts."""
        data, start, end = block.data, block.start, block.end
        if isinstance(data, memoryview):
            data, start, end = bytes(data[start:end]), 0, end - start
        base = block.position - start
        cuts = frozenset(cut - block.start + start for cut in block.cuts) if block.cuts else frozenset()
        counters = self.counters
        counters.bytes += end - start
        counters.lines += data.count(b"\n", start, end)
        counters.cut += len(cuts)
        opener = self._opener(block)
        hits = self._prefilter.find(data, start, end)
        found: list[Event | Draft] = []
        line = self._line
        bits = self._bits
        find, rfind = data.find, data.rfind
        begin, stop, mask = start, start - 1, 0
        for hit in hits:
            at = (hit >> prefilter.SHIFT) - 1      # the last byte of the literal
            if at <= stop:
                mask |= bits[hit & _LITERAL_MASK]
                continue
            if mask:
                line(block, opener, data, begin, stop, mask, base, begin in cuts, found)
            begin = rfind(b"\n", stop + 1, at) + 1 or stop + 1
            stop = find(b"\n", at, end)
            if stop < 0:
                stop = end
            mask = bits[hit & _LITERAL_MASK]
        if mask:
            line(block, opener, data, begin, stop, mask, base, begin in cuts, found)
        if block.position // _SAMPLE_EVERY != self._sampled.get(block.log):
            self._sampled[block.log] = block.position // _SAMPLE_EVERY
            self._sample(block, opener, data, start, end)
        return found

    def _opener(self, block: Block) -> Opener:
        styles = self._styles.get(block.parsers)
        if styles is None:
            chosen = [p for p in self.parsers if not block.parsers or p.name in block.parsers]
            used = {style for parser in chosen for style in parser.envelopes}
            styles = self._styles[block.parsers] = tuple(style for style in STYLES if style in used)
        key = (block.log, block.timezone, styles)
        opener = self._openers.get(key)
        if opener is None:
            opener = self._openers[key] = Opener(styles, block.timezone)
        opener.arrive(block.arrival, block.live, block.year)
        return opener

    def _line(
        self, block: Block, opener: Opener, data: Data, start: int, end: int, mask: int, base: int, cut: bool,
        found: list[Event | Draft],
    ) -> None:
        """One line on which a literal was found."""
        counters = self.counters
        counters.hits += 1
        position = base + start
        first = start
        if end - start > LINE_LIMIT:
            end = start + LINE_LIMIT
            if not cut:
                cut = True
                counters.cut += 1
        opened = opener.open(data, start, end)
        if opened is not None:
            key = (opened.style, opened.program, mask, block.parsers)
            plan = self._plans.get(key) or self._plan(key)
            if plan.entries:
                message = data if opened.data is None else opened.data
                for entry in plan.entries:
                    captures = entry.match(message, opened.start, opened.end, cut)
                    if captures is not None:
                        for other in entry.before:
                            if other.match(message, opened.start, opened.end, cut) is not None:
                                return      # set aside, or of a kind that nobody asked for
                        if plan.check and self._doubtful(plan, entry, captures, message, opened, cut):
                            counters.ambiguous += 1
                            return
                        item = self._make(entry, captures, opened, block.log, position, block.may_ban,
                                          data, first, end)
                        if item is not None:
                            found.append(item)
                        return
            if plan.known:
                whole = (opened.style, opened.program, -1, block.parsers)
                self._unmatched(self._plans.get(whole) or self._plan(whole), opened, data, cut)
                return
        else:
            counters.unopened += 1
        key = (NONE, b"", mask, block.parsers)
        plan = self._plans.get(key) or self._plan(key)
        if plan.entries:
            if end > start and data[end - 1] == 13:
                end -= 1
            whole_line = Opened(0.0, b"", b"", 0, start, end, NONE)
            for entry in plan.entries:
                captures = entry.match(data, start, end, cut)
                if captures is not None:
                    time = opener.stamp(captures[entry.stamp] or b"") if entry.stamp >= 0 else None
                    if time is None:
                        continue
                    item = self._make(entry, captures, whole_line._replace(time=time), block.log, position,
                                      block.may_ban, data, first, end)
                    if item is not None:
                        found.append(item)
                    return

    def _plan(self, key: tuple[str, bytes, int, tuple[str, ...]]) -> _Plan:
        """The rules to ask about lines of that style and program with those literals (-1: all rules)."""
        style, program, mask, names = key
        entries: list[_Entry] = []
        known = False
        for parser in self.parsers:
            if style not in parser.envelopes or (names and parser.name not in names):
                continue
            if style == SYSLOG and not parser.takes(program):
                continue
            known = True
            entries += [entry for entry in self._entries[parser.name] if mask == -1 or entry.bits & mask]
        check = len({entry.rule.parser for entry in entries}) > 1 or any(entry.rivals for entry in entries)
        if len(self._plans) >= _PLANS:   # program names come from outside
            self._plans.clear()
        plan = self._plans[key] = _Plan(tuple(entries), check, known)
        return plan

    def _doubtful(
        self, plan: _Plan, first: _Entry, captures: Captures, data: Data, opened: Opened, cut: bool
    ) -> bool:
        """True when another rule, that no proof covers, reads the line with another source."""
        source = captures[first.source] if first.source >= 0 else None
        for entry in plan.entries:
            if entry is first or entry.source < 0:
                continue
            if entry.rule.parser == first.rule.parser and entry.rule.name not in first.rivals:
                continue
            other = entry.match(data, opened.start, opened.end, cut)
            if other is not None and other[entry.source] != source and source is not None:
                return True
        return False

    def _make(
        self, entry: _Entry, captures: Captures, opened: Opened, log: str, position: int, may_ban: bool,
        line: Data, start: int, end: int,
    ) -> Event | Draft | None:
        """The event of a line that `entry` took, None where its rule makes none."""
        entry.count += 1
        self.counters.matched[log] = opened.time
        kind = entry.kind
        if kind == IGNORE and not entry.stateful:
            return None
        source = None
        if entry.source >= 0:
            text = captures[entry.source]
            if text is not None:
                source = self._addresses.packed(text)
            if source is None and entry.hostile:
                self.counters.sourceless += 1
                return None
        fields: dict[str, str] = {}
        texts = self._texts
        for at, name in entry.fields:
            raw = captures[at]
            if raw is not None:
                text_value = texts.get(raw)
                if text_value is None:
                    if len(texts) >= _TEXTS:
                        texts.clear()
                    text_value = texts[raw] = decode(raw)
                fields[name] = text_value
        weight = entry.weight
        if entry.attempts >= 0:
            weight = _number(captures[entry.attempts]) - entry.minus
            if entry.less >= 0:
                weight -= _number(captures[entry.less])
        if opened.repeat > 1:
            weight = min(weight * opened.repeat, MOST_ATTEMPTS)
        event: Event = _new(Event, (
            kind, opened.time, source, entry.full_name, weight, fields, log, position, entry.scope,
            may_ban and not entry.guessed, entry.proved,
            bytes(line[start:end]) if self.keep_lines and entry.hostile else b"",
        ))
        if entry.stateful:
            host = opened.host or family(log)
            keys: list[bytes] = []
            for prefix, parts in entry.keys:
                values = [host, prefix]
                for part in parts:
                    value = captures[part] if isinstance(part, int) else b"%d" % opened.pid if part == "pid" else b""
                    if value is None:
                        values = []
                        break
                    values.append(value)
                keys.append(b"\0".join(values))
            return Draft(event, tuple(keys))
        if weight <= 0:
            return None
        return event

    # ------------------------------------------------------------ lines that no rule took

    def _unmatched(self, plan: _Plan, opened: Opened, data: Data, cut: bool) -> bool:
        """Count a line of a known program unless a rule that was not searched for takes it. True: counted."""
        message = data if opened.data is None else opened.data
        for entry in plan.entries:
            if message.find(entry.literal, opened.start, opened.end) >= 0 and entry.match(
                message, opened.start, opened.end, cut
            ) is not None:
                return False
        program = decode(opened.program)
        unmatched = self.counters.unmatched
        if len(unmatched) < 1024 or program in unmatched:
            unmatched[program] = unmatched.get(program, 0) + 1
            self.counters.latest[program] = decode(bytes(message[opened.start:opened.end][:512]))
        return True

    def _sample(self, block: Block, opener: Opener, data: Data, start: int, end: int) -> None:
        """Look at the first line of a block whether or not a literal hits, so that a change of wording shows."""
        stop = data.find(b"\n", start, end)
        if stop < 0 or stop - start > LINE_LIMIT:
            return
        opened = opener.open(data, start, stop)
        if opened is None:
            return
        self.counters.sampled += 1
        plan = self._plan((opened.style, opened.program, -1, block.parsers))
        if plan.known and plan.entries and self._unmatched(plan, opened, data, False):
            self.counters.sampled_unmatched += 1

    # ------------------------------------------------------------ records

    def scan_records(self, records: Records) -> list[Event | Draft]:
        """The events of entries whose envelope is already open. A line end inside a message counts as a blank."""
        counters = self.counters
        entries = records.records
        data = b"\n".join([record.message.replace(b"\n", b" ") for record in entries]) + b"\n"
        counters.bytes += len(data) - 1
        counters.lines += len(entries)
        found: list[Event | Draft] = []
        masks: dict[int, int] = {}
        for hit in self._prefilter.find(data, 0, len(data)):
            begin = data.rfind(b"\n", 0, (hit >> prefilter.SHIFT) - 1) + 1
            masks[begin] = masks.get(begin, 0) | self._bits[hit & _LITERAL_MASK]
        if not masks:
            return found
        begin = 0
        for record in entries:
            start, end = begin, begin + len(record.message)
            begin = end + 1
            mask = masks.get(start)
            if not mask:
                continue
            counters.hits += 1
            cut = record.cut or end - start > LINE_LIMIT
            if cut:
                counters.cut += 1
                end = min(end, start + LINE_LIMIT)
            time = record.time
            if records.live and time > records.arrival + 60:
                time = records.arrival
            opened = Opened(time, record.host, record.program, record.pid, start, end)
            key = (SYSLOG, record.program, mask, records.parsers)
            plan = self._plans.get(key) or self._plan(key)
            taken = False
            for entry in plan.entries:
                captures = entry.match(data, start, end, cut)
                if captures is None:
                    continue
                taken = True
                if any(other.match(data, start, end, cut) is not None for other in entry.before):
                    break
                if plan.check and self._doubtful(plan, entry, captures, data, opened, cut):
                    counters.ambiguous += 1
                    break
                item = self._make(entry, captures, opened, records.log, record.position, records.may_ban,
                                  data, start, end)
                if item is not None:
                    found.append(item)
                break
            if not taken and plan.known:
                whole = (SYSLOG, record.program, -1, records.parsers)
                self._unmatched(self._plans.get(whole) or self._plan(whole), opened, data, cut)
        return found

    # ------------------------------------------------------------ answers

    def events_by_rule(self) -> dict[str, int]:
        """How many lines each rule took."""
        return {e.full_name: e.count for entries in self._entries.values() for e in entries if e.count}

    def explain(
        self, line: bytes, arrival: float, log: str = "-", timezone: str = "", year: int | None = None,
        parsers: tuple[str, ...] = (), fits: bool = True,
    ) -> Explanation:
        """How one line is read: every rule of the parsers that know its program, and how far it fits (`fits`; slow).

        Neither the counters nor the running stamps of a log change by it.
        """
        from .pattern import progress

        chosen = [p for p in self.parsers if not parsers or p.name in parsers]
        line = line.rstrip(b"\n")
        block = Block(log, line + b"\n", 0, len(line) + 1, 0, arrival, False, timezone=timezone, year=year,
                      parsers=parsers)
        styles = tuple(style for style in STYLES if any(style in p.envelopes for p in chosen))
        opener = Opener(styles, timezone)
        opener.arrive(arrival, False, year)
        opened = opener.open(line, 0, len(line))
        if opened is not None and not self._plan((opened.style, opened.program, -1, parsers)).known:
            if not any(NONE in p.envelopes for p in chosen):
                return Explanation(opened, _message(line, opened))
            opened = None
        if opened is None:
            if not any(NONE in p.envelopes for p in chosen):
                return Explanation(None)
            end = len(line) - line.endswith(b"\r")
            opened = Opened(0.0, b"", b"", 0, 0, end, NONE)
        message = _message(line, opened)
        plan = self._plan((opened.style, opened.program, -1, parsers))
        tried: list[Tried] = []
        taken: _Entry | None = None
        captures: Captures | None = None
        for entry in plan.entries:
            got = entry.match(message, 0, len(message), False)
            far = len(message) if got is not None else progress(entry.rule.pattern, message) if fits else 0
            tried.append(Tried(entry.full_name, far, got is not None))
            if got is not None and taken is None:
                taken, captures = entry, got
        names = tuple(dict.fromkeys(entry.rule.parser for entry in plan.entries))
        if taken is None or captures is None:
            return Explanation(opened, message, names, tuple(tried))
        if opened.style == NONE:
            time = opener.stamp(captures[taken.stamp] or b"") if taken.stamp >= 0 else None
            if time is None:
                return Explanation(opened, message, names, tuple(tried))
            opened = opened._replace(time=time)
        local = opened._replace(start=0, end=len(message))
        if plan.check and self._doubtful(plan, taken, captures, message, local, False):
            return Explanation(opened, message, names, tuple(tried), taken.rule, None, True)
        kept = taken.count, dict(self.counters.matched), self.counters.sourceless
        item = self._make(taken, captures, local, block.log, 0, True, line, 0, len(line))
        taken.count, self.counters.matched, self.counters.sourceless = kept
        return Explanation(opened, message, names, tuple(tried), taken.rule, item)

    def running(self) -> dict[str, float]:
        """The running stamp of each log, for the checkpoint."""
        return {log: opener.stamps.running for (log, _, _), opener in self._openers.items()}

    def ahead(self) -> int:
        """How many live stamps were more than a minute ahead and counted as now."""
        return sum(opener.stamps.ahead for opener in self._openers.values())


def _message(line: bytes, opened: Opened) -> bytes:
    return (line if opened.data is None else opened.data)[opened.start:opened.end]


def _number(text: bytes | None) -> int:
    """A captured count, bounded; 0 when the slot was absent."""
    return min(int(text[:9]), MOST_ATTEMPTS) if text and text.isdigit() else 0


def family(log: str) -> bytes:
    """What stands for the host where lines name none: the log's path without the digits of its file name, so that
    day-named and rotated files of one log are one, and two logs are two."""
    folder, slash, base = log.rpartition("/")
    return (folder + slash + "".join(c for c in base if not c.isdigit()).removesuffix(".gz").rstrip(".")).encode()


def _needed_sessions(parser: Parser, wanted: frozenset[str] | None) -> set[str]:
    """The sessions that some wanted rule of the parser takes part in."""
    if wanted is None:
        return {kind.name for kind in parser.sessions}
    return {use.session for rule in parser.rules if rule.kinds() & wanted for use in rule.sessions}


def _choose(literals: tuple[bytes, ...], engine: str) -> prefilter.Prefilter:
    return prefilter.choose(literals, engine)
