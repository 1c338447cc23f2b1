"""Asks the rules of a plan about one opened line; the first that fits takes it.

Owns: the doubt where two parsers, which no proof has compared, read two sources; what is said of lines that
no rule took. The compiled twin is `native/taking.pxi`.
"""

from __future__ import annotations

from ..model import Block, Records
from .compiled import REST, Captures, Entry, Plan, Plans
from .envelope import Opened
from .items import Counters, Doubts, Item
from .making import Maker, Slice
from .rules import decode

_PROGRAMS = 1024  # programs whose unmatched lines are counted


class Taker:
    """Finds the rule of a line and has its event made."""

    __slots__ = ("counters", "doubts", "maker", "plans")

    def __init__(self, plans: Plans, counters: Counters, maker: Maker):
        self.plans = plans
        self.counters = counters
        self.maker = maker
        self.doubts = Doubts()

    def take(
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
        entries = plan.entries
        if cut:  # nobody knows how it ends: as a broken record, where there is a rule for those
            entries = tuple(sorted(entries, key=lambda entry: not entry.rule.suspect))
        for entry in entries:
            captures = entry.match(message, start, end, True) if cut else entry.find(message, start, end)
            if captures is None:
                continue
            for other in entry.before:
                if other.match(message, start, end, cut) is not None:
                    return True  # set aside, or of a kind that nobody asked for
            if plan.check and self.doubtful(plan, entry, captures, message, opened, cut):
                self.counters.ambiguous += 1
                return True
            entry.count += 1
            item = self.maker.make(entry, captures, opened, origin, position, line)
            if item is not None:
                found.append(item)
            return True
        return False

    def doubtful(
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

    def unmatched(self, opened: Opened, message: bytes, cut: bool, names: tuple[str, ...]) -> None:
        """Count a line of a known program with a literal, unless a rule that was not searched for takes it.

        Called where `doubts` does not skip the line.
        """
        rest = self.plans.plan(opened.style, opened.program, REST, names)
        if not some_rule_takes(rest, opened, message, cut):
            self.note(opened, message)

    def note(self, opened: Opened, message: bytes) -> None:
        """Count a line that no rule takes."""
        program = decode(opened.program)
        counters = self.counters
        if len(counters.unmatched) < _PROGRAMS or program in counters.unmatched:
            counters.unmatched[program] = counters.unmatched.get(program, 0) + self.doubts.stands_for
            counters.latest[program] = decode(message[opened.start : min(opened.end, opened.start + 512)])


def some_rule_takes(plan: Plan, opened: Opened, message: bytes, cut: bool) -> bool:
    """Whether any rule of the plan takes the line."""
    start, end = opened.start, opened.end
    return any(
        message.find(entry.literal, start, end) >= 0 and entry.match(message, start, end, cut) is not None
        for entry in plan.entries
    )
