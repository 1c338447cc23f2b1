"""The `[[rule]]` tables of a parser definition."""

from __future__ import annotations

import re
from typing import Any

from ..core import pattern as patterns
from ..core.dialogue_words import Dialogue
from ..core.envelope import NONE
from ..core.rules import IGNORE, SCOPES, Rule, SessionKind, Weight
from ..model import KINDS
from ..problems import Problem, ProblemsError
from . import dialogues, lines, remembered, sessions
from .reading import Reading, near

RULE = (
    "name",
    "event",
    "match",
    "weight",
    "scope",
    "guard",
    "session",
    "sample",
    "forgery",
    "about",
    "unproved",
    "covered_by",
    "heard_by",
    "suspect",
    *dialogues.RULE,
)
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_WEIGHT = re.compile(r"([a-z_]+)(?: ?- ?(?:(\d{1,5})|([a-z_]+)))?\Z")
_MOST_SUSPECT = 1 << 20

Keys = tuple[str | int, ...]


def read_scope(read: Reading, table: dict[str, Any], keys: Keys, about: str, default: str) -> str:
    """The ports that a table names; `default` where it names none, or one that is not there."""
    scope = read.get(table, "scope", str, default, keys, about)
    if scope not in SCOPES:
        read.problem((*keys, "scope"), f"{about}: unknown scope {scope!r}", instead=near(scope, SCOPES))
        return default
    return str(scope)


class RuleReader:
    """Reads the rules of one file; problems go to `read`."""

    def __init__(
        self,
        read: Reading,
        parser: str,
        envelopes: tuple[str, ...],
        programs: tuple[str, ...],
        scope: str,
        kinds: dict[str, SessionKind],
        dialogue: Dialogue | None,
    ):
        """`parser` is the name of the file's parser, `scope` what a rule has that names none."""
        self.reading = read
        self.parser = parser
        self.envelopes = envelopes
        self.programs = programs
        self.scope = scope
        self.kinds = kinds
        self.dialogue = dialogue

    def rules(self) -> list[Rule]:
        """All rules that could be read, in the order of the file."""
        read = self.reading
        tables = read.tables(read.document.data, "rule", (), "parser")
        if not tables:
            read.problem((), "there is no [[rule]]", "a parser without rules reads nothing")
        rules: list[Rule] = []
        names: dict[str, int] = {}
        for number, table in enumerate(tables):
            rule = self._rule(number, table)
            if rule is None:
                continue
            if rule.name in names:
                first = read.document.where("rule", names[rule.name])
                read.problem(
                    ("rule", number, "name"),
                    f"rule {rule.name}: the name is taken",
                    f"see {first}",
                    whole=True,
                )
            names.setdefault(rule.name, number)
            rules.append(rule)
        return rules

    def _rule(self, number: int, table: dict[str, Any]) -> Rule | None:
        read = self.reading
        keys: Keys = ("rule", number)
        name = read.need(table, "name", str, keys, f"rule {number + 1}")
        if name is None:
            return None
        about = f"rule {name}"
        if not NAME.match(name):
            read.problem((*keys, "name"), f"{about}: a name is small letters, digits and hyphens", whole=True)
        read.keys(table, RULE, keys, about)
        event = read.need(table, "event", str, keys, about)
        if event is not None and event not in KINDS and event != IGNORE:
            read.problem(
                (*keys, "event"), f"{about}: unknown event {event!r}", instead=near(event, {*KINDS, IGNORE})
            )
        template = read.need(table, "match", str, keys, about)
        if event is None or template is None:
            return None
        where = read.document.where(*keys, "match")
        try:
            pattern = patterns.compile(template, where=where, cache=remembered.PROOFS.cache())
        except ProblemsError as error:
            read.problems += [
                Problem(where, f"{about}: {problem.what}", problem.why, problem.instead)
                for problem in error.problems
            ]
            return None
        if "time" not in pattern.names and self.envelopes == (NONE,):
            read.problem(
                (*keys, "match"),
                f"{about}: there is no stamp",
                "with envelope none the line's time stands in the message",
                "Capture it as {time:stamp}.",
            )
        weight = self._weight(table, keys, about, pattern.names)
        uses = sessions.read_uses(read, table, keys, about, pattern.names, self.kinds)
        unproved = read.texts(table, "unproved", keys, about)
        for slot in unproved:
            if slot not in pattern.names:
                read.problem(
                    (*keys, "unproved"),
                    f"{about}: there is no slot {slot!r}",
                    instead=near(slot, pattern.names),
                )
        samples = lines.read_lines(read, table, "sample", keys, about, lines.SAMPLE, self.programs)
        forgeries = lines.read_lines(read, table, "forgery", keys, about, lines.FORGERY, self.programs)
        better = "another log tells the same act better"
        covered_by = self._names(table, "covered_by", keys, about, better)
        unplaced = "a dialogue log tells the same act, but not from where"
        heard_by = self._names(table, "heard_by", keys, about, unplaced)
        suspect = read.get(table, "suspect", int, 0, keys, about)
        if not 0 <= suspect <= _MOST_SUSPECT:
            read.problem(
                (*keys, "suspect"),
                f"{about}: suspect must be from 0 to {_MOST_SUSPECT}",
                "so many bytes of log behind such a line ban nobody",
                "Write how much text of a client one record can hold.",
            )
        place, answers, keep, with_ = dialogues.read_rule(read, table, keys, about, self.dialogue, pattern)
        guard = read.get(table, "guard", str, "", keys, about) or read.get(
            read.document.data, "guard", str, "", (), "parser"
        )
        return Rule(
            self.parser,
            name,
            event,
            pattern,
            weight,
            read_scope(read, table, keys, about, self.scope),
            uses,
            where,
            samples,
            forgeries,
            guard=guard,
            unproved=unproved,
            covered_by=covered_by,
            heard_by=heard_by,
            suspect=suspect,
            place=place,
            answers=answers,
            keep=keep,
            with_=with_,
        )

    def _names(self, table: dict[str, Any], name: str, keys: Keys, about: str, why: str) -> tuple[str, ...]:
        """A list of other parsers' names."""
        found = self.reading.texts(table, name, keys, about)
        for other in found:
            if not NAME.match(other) or other == self.parser:
                self.reading.problem((*keys, name), f"{about}: {other!r} is no other parser's name", why)
        return found

    def _weight(self, table: dict[str, Any], keys: Keys, about: str, names: tuple[str, ...]) -> Weight:
        value = table.get("weight", 1)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
            return Weight(value)
        match = _WEIGHT.match(value) if isinstance(value, str) else None
        if match is None:
            self.reading.problem(
                (*keys, "weight"),
                f"{about}: weight is neither a number from 1 to 65535 nor a slot",
                instead='Write weight = 3, "attempts", "attempts-1" or "attempts-limit".',
            )
            return Weight()
        slot, minus, less = match.group(1), int(match.group(2) or 0), match.group(3) or ""
        for part in (slot, less):
            if part and part not in names:
                self.reading.problem(
                    (*keys, "weight"), f"{about}: weight names no slot: {part!r}", instead=near(part, names)
                )
                return Weight()
        return Weight(1, slot, less, minus)
