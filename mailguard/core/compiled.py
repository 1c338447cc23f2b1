"""Rules made ready for the hot path: which literals announce them, and which to ask about a line, in what
order.

Owns: the choice of rules for a line. Never: looks at a line.

The rules of a parser are asked in the order of its file, and the first that fits takes the line. Rules whose
kinds nobody consumes are not searched for, yet they keep their place: before a later rule takes a line, the
earlier ones that could fit it too are asked (`Entry.before`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..model import HOSTILE
from .envelope import DOVECOT, EPOST, EPOST_LINE, NONE, STYLES, SYSLOG
from .pattern.template import Choice, Text
from .rules import UNLISTED, Parser, Rule

#: In place of the literals of a line: every rule is to be asked, or every one that is not searched for.
ALL = -1
REST = -2
_PLANS = 65536
_PROGRAMS = 256  # whose scope a rule remembers
_LEAST = 5  # bytes a text should have to be searched for
_SHORT = 1000  # what a shorter one costs in the choice
_MOST_TEXTS = 12  # of one alternative

Captures = tuple[bytes | None, ...]
Find = Callable[[bytes, int, int], Captures | None]
Match = Callable[[bytes, int, int, bool], Captures | None]


class Entry:
    """A rule made ready."""

    __slots__ = (
        "_scope_by_program",
        "attempts",
        "before",
        "bits",
        "count",
        "fields",
        "find",
        "full_name",
        "guessed",
        "hostile",
        "keys",
        "kind",
        "less",
        "literal",
        "match",
        "minus",
        "number",
        "proved",
        "rule",
        "scope",
        "scopes",
        "source",
        "stamp",
        "stateful",
        "wanted",
        "weight",
    )

    def __init__(self, rule: Rule, parser: Parser):
        names = rule.pattern.names
        self.rule = rule
        self.match: Match = rule.pattern.match
        self.full_name = rule.full_name
        self.kind = rule.event
        self.hostile = rule.event in HOSTILE
        self.scope = rule.scope
        self.scopes = tuple((part.encode(), scope) for part, scope in parser.scopes)
        self._scope_by_program: dict[bytes, str] = {}
        self.guessed = parser.guessed
        self.literal = rule.pattern.literal  # stands in every line that it takes
        self.proved = frozenset(rule.pattern.proved) - {*UNLISTED, *rule.unproved}
        self.source = _index(names, "source")
        self.stamp = _index(names, "time")
        self.fields = tuple((at, name) for at, name in enumerate(names) if name not in UNLISTED)
        self.weight = rule.weight.fixed
        self.attempts = _index(names, rule.weight.slot)
        self.less = _index(names, rule.weight.less)
        self.minus = rule.weight.minus
        declared = {kind.name: kind for kind in parser.sessions}
        # for each session: what its keys begin with, then indexes of captures or names of envelope fields
        self.keys: tuple[tuple[bytes, tuple[int | str, ...]], ...] = tuple(
            (
                f"\0{rule.parser}/{use.session}".encode(),
                tuple(names.index(part) if part in names else part for part in declared[use.session].key),
            )
            for use in rule.sessions
        )
        self.stateful = bool(rule.sessions)
        self.bits = 0  # the literals that announce it
        self.wanted = True
        self.count = 0  # lines it took
        self.number = -1  # among all rules of a scanner
        self.before: tuple[Entry, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name != "find":
            raise AttributeError(name)
        self.find: Find = self.rule.pattern._find  # as `match` of a line that was not cut, one call less
        return self.find

    def scope_of(self, program: bytes) -> str:
        """The scope of a line by the program that wrote it: `postfix/submission/smtpd` is not port 25."""
        scope = self._scope_by_program.get(program)
        if scope is None:
            parts = program.split(b"/")
            scope = next((scope for part, scope in self.scopes if part in parts), self.scope)
            if len(self._scope_by_program) >= _PROGRAMS:  # program names come from outside
                self._scope_by_program.clear()
            self._scope_by_program[program] = scope
        return scope


class Plan(NamedTuple):
    """The rules to ask about one kind of line."""

    entries: tuple[Entry, ...]
    check: bool  # rules of several parsers, which no proof has compared: ask the others too
    known: bool  # some parser claims the program


class Search(NamedTuple):
    """What announces the lines of some parsers."""

    literals: tuple[bytes, ...]
    bits: list[int]  # of each literal, its bit in the masks of lines
    styles: tuple[str, ...]  # envelopes that the parsers read
    named: int  # the bits of literals of lines that name a program
    epost: int  # ... of lines behind a bracketed stamp
    whole: int  # ... of lines that are their own message


class Plans:
    """For every kind of line the rules to ask, worked out when first met."""

    def __init__(self, parsers: Sequence[Parser], wanted: frozenset[str] | None):
        """`wanted` None: all kinds. Rules that only set lines aside are never searched for."""
        self.parsers = parsers
        self.entries: dict[str, tuple[Entry, ...]] = {}
        self._plans: dict[tuple[str, bytes, int, tuple[str, ...]], Plan] = {}
        literals: dict[bytes, int] = {}
        count = 0
        rules = [rule for parser in parsers for rule in parser.rules]
        counts = _Counted(b"\n".join([sample.line for rule in rules for sample in rule.samples]))
        for parser in parsers:
            entries = self.entries[parser.name] = tuple(Entry(rule, parser) for rule in parser.rules)
            needed = _needed_sessions(parser, wanted)
            for number, entry in enumerate(entries):
                rule, entry.number = entry.rule, count
                count += 1
                kinds = rule.kinds() if wanted is None else rule.kinds() & wanted
                joined = any(use.session in needed for use in rule.sessions)
                entry.wanted = bool(kinds) or joined or rule.suspect > 0
                if entry.wanted:
                    for literal in triggers(telling(rule, counts), parser.envelopes):
                        entry.bits |= 1 << literals.setdefault(literal, len(literals))
                    entry.before = tuple(
                        other for other in entries[:number] if not other.wanted and may_meet(other.rule, rule)
                    )
        self.literals: tuple[bytes, ...] = tuple(literals)

    def search(self, names: tuple[str, ...]) -> Search:
        """What to search a log for that is read by the parsers called `names`, () all."""
        chosen = [parser for parser in self.parsers if not names or parser.name in names]
        bits = 0
        by_style = dict.fromkeys(STYLES, 0)
        for parser in chosen:
            for entry in self.entries[parser.name]:
                bits |= entry.bits
                for style in parser.envelopes:
                    by_style[style] |= entry.bits
        numbers = [number for number in range(len(self.literals)) if bits >> number & 1]
        styles = tuple(style for style in STYLES if any(style in parser.envelopes for parser in chosen))
        return Search(
            tuple(self.literals[number] for number in numbers),
            [1 << number for number in numbers],
            styles,
            by_style[SYSLOG] | by_style[DOVECOT],
            by_style[EPOST] | by_style[EPOST_LINE],
            by_style[NONE],
        )

    def plan(self, style: str, program: bytes, mask: int, names: tuple[str, ...]) -> Plan:
        """The rules to ask about lines of that style and program on which those literals were found.

        `names`: the parsers to try, () all.
        """
        key = (style, program, mask, names)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _PLANS:  # program names come from outside
                self._plans.clear()
            plan = self._plans[key] = self._make(style, program, mask, names)
        return plan

    def _make(self, style: str, program: bytes, mask: int, names: tuple[str, ...]) -> Plan:
        entries: list[Entry] = []
        known = False
        for parser in self.parsers:
            if not _reads(parser, style) or (names and parser.name not in names):
                continue
            if style == SYSLOG and not parser.takes(program):
                continue
            known = True
            for entry in self.entries[parser.name]:
                if (entry.stamp >= 0) != (style == NONE):
                    continue  # a slot for the stamp is for lines whose beginning has none, and only for them
                if style not in parser.envelopes and entry.rule.breaks_off:
                    continue  # without an end it takes nearly anything: the beginning must be the very one
                if mask == ALL or (not entry.wanted if mask == REST else entry.bits & mask):
                    entries.append(entry)
        parsers = {entry.rule.parser for entry in entries}
        return Plan(tuple(entries), len(parsers) > 1, known)


def _reads(parser: Parser, style: str) -> bool:
    """Whether lines of that style are a parser's: `epost` stands for a stamp with and without a comma."""
    return style in parser.envelopes or (style == EPOST_LINE and EPOST in parser.envelopes)


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name and name in names else -1


Option = tuple[bytes, ...]


def options(rule: Rule) -> list[Option]:
    """The ways to find the lines of a rule: sets of texts, of each of which one stands in every line it
    takes.

    A literal is a set of one; an alternative with the literals around it is a set of as many as it has texts.
    """
    parts = rule.pattern.parts
    found: list[Option] = []
    for at, part in enumerate(parts):
        if isinstance(part, Text):
            found.append((part.text,))
        elif isinstance(part, Choice) and len(part.texts) <= _MOST_TEXTS:
            before = parts[at - 1] if at else None
            after = parts[at + 1] if at + 1 < len(parts) else None
            left = before.text if isinstance(before, Text) else b""
            right = after.text if isinstance(after, Text) else b""
            found.append(tuple(left + text + right for text in part.texts))
    return found


class _Counted(dict[bytes, int]):
    """How often a text stands in lines."""

    def __init__(self, lines: bytes):
        super().__init__()
        self._lines = lines

    def __missing__(self, text: bytes) -> int:
        found = self[text] = self._lines.count(text)
        return found


def telling(rule: Rule, counts: Mapping[bytes, int]) -> Option:
    """The option of a rule that tells most: its texts are found least often in other lines, and are long.

    `counts`: how often a text stands in the samples of all rules. () where the rule has no option. `, rip=`
    stands in every login line of Dovecot; a rule that was found by it would be asked about all of them.
    """
    own = b"\n".join([sample.line for sample in rule.samples])

    def price(option: Option) -> tuple[int, int]:
        elsewhere = sum(counts[text] - own.count(text) for text in option)
        least = min(len(text) for text in option)
        return elsewhere + (_SHORT if least < _LEAST else 0), -least

    return min(options(rule), key=price, default=())


def triggers(option: Option, envelopes: Iterable[str]) -> tuple[bytes, ...]:
    """The texts to search for, so that no line of a rule with that option is missed.

    Dovecot's own file has `Info: ` inside the text that the rule sees without it, so both forms are searched
    for (a literal that begins with the `: ` before it stands there anyway). A rule without a literal asks for
    every line.
    """
    if not option or not all(option):
        return (b"\n",)
    found = list(option)
    if DOVECOT in envelopes:
        for text in option:
            at = text.find(b": ", 1)
            while at >= 0:
                found.append(text[: at + 2] + b"Info: " + text[at + 2 :])
                at = text.find(b": ", at + 2)
    return tuple(found)


def may_meet(a: Rule, b: Rule) -> bool:
    """False when the texts at the beginnings or ends of two templates rule out that one line fits both."""
    one, two = _ends(a), _ends(b)
    return (one[0].startswith(two[0]) or two[0].startswith(one[0])) and (
        one[1].endswith(two[1]) or two[1].endswith(one[1])
    )


def _ends(rule: Rule) -> tuple[str, str]:
    """The literal text before the first brace of a template and behind the last one."""
    text = rule.pattern.text
    return text.partition("{")[0].partition("}")[0], text.rpartition("}")[2].rpartition("{")[2]


def _needed_sessions(parser: Parser, wanted: frozenset[str] | None) -> set[str]:
    """The sessions that some wanted rule of the parser takes part in."""
    if wanted is None:
        return {kind.name for kind in parser.sessions}
    return {use.session for rule in parser.rules if rule.kinds() & wanted for use in rule.sessions}
