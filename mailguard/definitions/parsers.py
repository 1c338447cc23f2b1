"""Parser definitions: the text of a file in `parsers/` to a `Parser`, checked.

Whatever is wrong with a file is told at once, each with file, line, why and what to do instead. A parser that
loads keeps every promise of mailguard-parser(5): see `checks`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core import pattern as patterns
from ..core.dialogue_words import Dialogue
from ..core.envelope import NONE, STYLES, SYSLOG
from ..core.rules import IGNORE, SCOPES, Parser, Rule, Sample, SessionKind, SessionUse, Weight
from ..model import FIELDS, KINDS
from ..notation import parse_duration
from ..problems import Problem, ProblemsError
from . import checks, dialogues, source
from .reading import Reading, near

FORMAT = 1

_TOP = (
    "format",
    "title",
    "about",
    "envelope",
    "program",
    "scope",
    "scopes",
    "guessed",
    "guard",
    "log",
    "dialogue",
    "session",
    "rule",
    "unmatched",
)
_SESSION = ("key", "lifetime", "cap", "shared", "about")
_RULE = (
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
    "suspect",
    *dialogues.RULE,
)
_USE = ("open", "use", "close", "carry", "tally", "less", "otherwise", "once", "must")
_LINE = ("line", "message", "program", "encoding", "after", "about")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_WEIGHT = re.compile(r"([a-z_]+)(?: ?- ?(?:(\d{1,5})|([a-z_]+)))?\Z")
_FROM_ENVELOPE = ("pid", "host")
_LARGEST_CAP = 1_000_000
_MOST_SUSPECT = 1 << 20

Keys = tuple[str | int, ...]


def load_parser(path: Path | str, check: bool = True) -> Parser:
    """The parser a file defines. `check` False leaves the samples and proofs alone.

    Raises ProblemsError with every problem of the file.
    """
    return _parser(source.load(path), check)


def read_parser(text: str, path: str, check: bool = True) -> Parser:
    """As `load_parser`, for a text that stands in no file yet; `path` gives the parser its name."""
    return _parser(source.parse(text, path), check)


def _parser(document: source.Document, check: bool) -> Parser:
    reading = Reading(document)
    parser = _Loader(reading).parser(Path(document.path).stem)
    problems = reading.problems
    if check and reading.whole:
        problems += checks.check(parser, document.text, passed=not problems)
    if problems:
        raise ProblemsError(sorted(problems, key=_place))
    return parser


def _place(problem: Problem) -> tuple[str, int]:
    """Order of problems: by file and line."""
    name, _, line = problem.where.rpartition(":")
    return (name, int(line)) if line.isdigit() else (problem.where, 0)


def load_parsers(
    names: Iterable[str] | None = None, etc: Path | None = None, check: bool = True
) -> list[Parser]:
    """The parsers called `names` (None: all that are there), administrator's files before shipped ones.

    Raises ProblemsError with the problems of all files together; a name that is not there is one of them.
    """
    found = source.search("parsers", etc)
    problems: list[Problem] = []
    parsers: list[Parser] = []
    for name in found if names is None else names:
        if name not in found:
            problems.append(Problem(f"parser {name}", "there is no such parser", instead=near(name, found)))
            continue
        try:
            parsers.append(load_parser(found[name], check))
        except ProblemsError as error:
            problems += error.problems
    if problems:
        raise ProblemsError(problems)
    return parsers


def self_test(parser: Parser) -> list[Problem]:
    """Run the samples, forgeries and unmatched lines inside a parser; the problems, [] when all is well."""
    return checks.run_samples(parser)


class _Loader:
    """Reads one file; problems go to `reading`."""

    def __init__(self, reading: Reading):
        self.reading = reading
        self.data = reading.document.data
        self.programs: tuple[str, ...] = ()
        self.dialogue: Dialogue | None = None

    def parser(self, name: str) -> Parser:
        read, data = self.reading, self.data
        if data.get("format") != FORMAT or data["format"] is True:
            read.problem(
                ("format",),
                f"format must be {FORMAT}",
                "the format says which reader understands the file",
                f"Write format = {FORMAT} first.",
            )
        read.keys(data, _TOP, (), "parser")
        if not _NAME.match(name):
            read.problem(
                (),
                f"the file name {name!r} is no parser name",
                instead="Use small letters, digits and hyphens.",
            )
        title = read.need(data, "title", str, (), "parser") or ""
        envelopes = read.texts(data, "envelope", (), "parser") or (SYSLOG,)
        for style in envelopes:
            if style not in STYLES:
                read.problem(("envelope",), f"unknown envelope {style!r}", instead=near(style, STYLES))
        self.programs = read.texts(data, "program", (), "parser")
        if SYSLOG in envelopes and not self.programs:
            read.problem(
                ("program",),
                "program is missing",
                "syslog lines of every program would be this parser's",
                'Name the programs by their last part: program = ["smtpd", "qmgr"].',
            )
        scope = self._scope(data, (), "parser", "mail")
        sessions = self._sessions()
        self.dialogue = dialogues.read_dialogue(read)
        rules = self._rules(name, envelopes, scope, sessions)
        unmatched = tuple(
            sample
            for number, table in enumerate(read.tables(data, "unmatched", (), "parser"))
            if (sample := self._sample(table, ("unmatched", number), "unmatched", _LINE))
        )
        guessed = read.get(data, "guessed", bool, False, (), "parser")
        return Parser(
            name,
            title,
            tuple(rules),
            envelopes,
            self.programs,
            guessed,
            scope,
            tuple(sessions.values()),
            unmatched,
            read.document.path,
            self._scopes(data),
            self._logs(data, name),
            self.dialogue,
        )

    def _logs(self, data: dict[str, Any], name: str) -> tuple[str, ...]:
        """Names of the log's folder or file, which tell the logs of one server apart."""
        read = self.reading
        logs = read.texts(data, "log", (), "parser")
        for log in logs:
            if not _NAME.match(log):
                read.problem(
                    ("log",),
                    f"parser: {log!r} is no name of a log",
                    instead="Write the name of its folder, in small letters and digits.",
                )
        tables = data.get("session")
        shared = [
            kind
            for kind, one in (tables.items() if isinstance(tables, dict) else ())
            if isinstance(one, dict) and one.get("shared") is True
        ]
        if shared and not logs:
            read.problem(
                ("session", shared[0], "shared"),
                f"session {shared[0]}: log is missing",
                "what several logs of a server share is found by their paths without that name",
                f'Write log = "{name.rpartition("-")[2]}" at the top.',
            )
        return logs

    def _scopes(self, data: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        """Scopes by a part of the name of a program, for daemons that serve several ports."""
        read = self.reading
        table = read.get(data, "scopes", dict, {}, (), "parser")
        for part, scope in table.items():
            if scope not in SCOPES:
                about = f"parser: unknown scope {scope!r}"
                read.problem(("scopes", part), about, instead=near(str(scope), SCOPES))
            if not part or "/" in part:
                read.problem(
                    ("scopes", part),
                    f"parser: {part!r} is no part of a program's name",
                    instead='For postfix/submission/smtpd write submission = "auth".',
                )
        return tuple(table.items())

    def _scope(self, table: dict[str, Any], keys: Keys, about: str, default: str) -> str:
        scope = self.reading.get(table, "scope", str, default, keys, about)
        if scope not in SCOPES:
            self.reading.problem(
                (*keys, "scope"), f"{about}: unknown scope {scope!r}", instead=near(scope, SCOPES)
            )
            return default
        return str(scope)

    def _sessions(self) -> dict[str, SessionKind]:
        read = self.reading
        found: dict[str, SessionKind] = {}
        tables = read.get(self.data, "session", dict, {}, (), "parser")
        for name, table in tables.items():
            keys: Keys = ("session", name)
            about = f"session {name}"
            if not isinstance(table, dict):
                read.problem(keys, f"{about}: must be a table", instead=f"Write [session.{name}].")
                continue
            read.keys(table, _SESSION, keys, about)
            parts = read.texts(table, "key", keys, about)
            if not parts:
                read.problem(
                    keys,
                    f"{about}: key is missing",
                    "a session is found again by its key",
                    'key = ["queue_id"], or ["pid", "source"].',
                )
            for part in parts:
                if part not in FIELDS and part not in _FROM_ENVELOPE:
                    read.problem(
                        (*keys, "key"),
                        f"{about}: unknown field {part!r}",
                        instead=near(part, {*FIELDS, *_FROM_ENVELOPE}),
                    )
            lifetime = parse_duration(read.get(table, "lifetime", str, "1h", keys, about))
            if not lifetime:
                read.problem(
                    (*keys, "lifetime"),
                    f"{about}: lifetime is no duration",
                    instead='Write it as "1h" or "5d".',
                )
            cap = read.get(table, "cap", int, 100_000, keys, about)
            if not 2 <= cap <= _LARGEST_CAP:
                read.problem((*keys, "cap"), f"{about}: cap must be from 2 to {_LARGEST_CAP}")
            shared = read.get(table, "shared", bool, False, keys, about)
            found[name] = SessionKind(name, parts, lifetime or 3600.0, cap, shared)
        return found

    # ------------------------------------------------------------ rules

    def _rules(
        self, parser: str, envelopes: tuple[str, ...], scope: str, sessions: dict[str, SessionKind]
    ) -> list[Rule]:
        read = self.reading
        tables = read.tables(self.data, "rule", (), "parser")
        if not tables:
            read.problem((), "there is no [[rule]]", "a parser without rules reads nothing")
        rules: list[Rule] = []
        names: dict[str, int] = {}
        for number, table in enumerate(tables):
            rule = self._rule(parser, number, table, envelopes, scope, sessions)
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

    def _rule(
        self,
        parser: str,
        number: int,
        table: dict[str, Any],
        envelopes: tuple[str, ...],
        scope: str,
        sessions: dict[str, SessionKind],
    ) -> Rule | None:
        read = self.reading
        keys: Keys = ("rule", number)
        name = read.need(table, "name", str, keys, f"rule {number + 1}")
        if name is None:
            return None
        about = f"rule {name}"
        if not _NAME.match(name):
            read.problem((*keys, "name"), f"{about}: a name is small letters, digits and hyphens", whole=True)
        read.keys(table, _RULE, keys, about)
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
            pattern = patterns.compile(template, where=where, cache=checks.PROOFS.cache())
        except ProblemsError as error:
            read.problems += [
                Problem(where, f"{about}: {problem.what}", problem.why, problem.instead)
                for problem in error.problems
            ]
            return None
        if "time" not in pattern.names and envelopes == (NONE,):
            read.problem(
                (*keys, "match"),
                f"{about}: there is no stamp",
                "with envelope none the line's time stands in the message",
                "Capture it as {time:stamp}.",
            )
        weight = self._weight(table, keys, about, pattern.names)
        uses = self._uses(table, keys, about, pattern.names, sessions)
        unproved = read.texts(table, "unproved", keys, about)
        for slot in unproved:
            if slot not in pattern.names:
                read.problem(
                    (*keys, "unproved"),
                    f"{about}: there is no slot {slot!r}",
                    instead=near(slot, pattern.names),
                )
        samples = self._samples(table, "sample", keys, about, (*_LINE, "expect"))
        forgeries = self._samples(table, "forgery", keys, about, (*_LINE, "source"))
        covered_by = read.texts(table, "covered_by", keys, about)
        for other in covered_by:
            if not _NAME.match(other) or other == parser:
                read.problem(
                    (*keys, "covered_by"),
                    f"{about}: {other!r} is no other parser's name",
                    "another log tells the same act better",
                )
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
            self.data, "guard", str, "", (), "parser"
        )
        return Rule(
            parser,
            name,
            event,
            pattern,
            weight,
            self._scope(table, keys, about, scope),
            uses,
            where,
            samples,
            forgeries,
            guard=guard,
            unproved=unproved,
            covered_by=covered_by,
            suspect=suspect,
            place=place,
            answers=answers,
            keep=keep,
            with_=with_,
        )

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

    def _uses(
        self,
        table: dict[str, Any],
        keys: Keys,
        about: str,
        names: tuple[str, ...],
        sessions: dict[str, SessionKind],
    ) -> tuple[SessionUse, ...]:
        read = self.reading
        uses: list[SessionUse] = []
        for one in read.tables(table, "session", keys, about):
            at: Keys = (*keys, "session")
            read.keys(one, _USE, at, f"{about}: session")
            actions = [action for action in ("open", "use", "close") if action in one]
            if len(actions) != 1:
                read.problem(
                    at,
                    f"{about}: a session is either opened, used or closed",
                    instead='session = { open = "NAME" }, { use = "NAME" } or { close = "NAME" }.',
                )
                continue
            session = read.get(one, actions[0], str, "", at, about)
            kind = sessions.get(session)
            if kind is None:
                read.problem(
                    at,
                    f"{about}: no session {session!r} is declared",
                    instead=near(session, sessions) if sessions else "Declare [session.NAME].",
                )
                continue
            for part in kind.key:
                if part not in names and part not in _FROM_ENVELOPE:
                    read.problem(
                        at,
                        f"{about}: the key of session {session} is not in the line",
                        f"{part!r} is no slot of the rule",
                        f"Capture {{{part}:...}}.",
                    )
            carry = read.texts(one, "carry", at, about)
            for slot in carry:
                if slot not in FIELDS:
                    read.problem(at, f"{about}: unknown field {slot!r}", instead=near(slot, FIELDS))
            otherwise = read.get(one, "otherwise", str, "", at, about)
            if otherwise and otherwise not in KINDS:
                read.problem(at, f"{about}: unknown event {otherwise!r}", instead=near(otherwise, KINDS))
            uses.append(
                SessionUse(
                    session,
                    actions[0],
                    carry,
                    read.get(one, "tally", str, "", at, about),
                    read.get(one, "less", str, "", at, about),
                    otherwise,
                    read.get(one, "once", bool, False, at, about),
                    read.get(one, "must", bool, False, at, about),
                )
            )
        return tuple(uses)

    # ------------------------------------------------------------ lines

    def _samples(
        self, table: dict[str, Any], name: str, keys: Keys, about: str, allowed: tuple[str, ...]
    ) -> tuple[Sample, ...]:
        found = []
        for number, one in enumerate(self.reading.tables(table, name, keys, about)):
            sample = self._sample(one, (*keys, name, number), f"{about}: {name}", allowed)
            if sample is not None:
                found.append(sample)
        return tuple(found)

    def _sample(
        self, table: dict[str, Any], keys: Keys, about: str, allowed: tuple[str, ...]
    ) -> Sample | None:
        read = self.reading
        read.keys(table, allowed, keys, about)
        if ("line" in table) == ("message" in table):
            read.problem(keys, f"{about}: line or message, one of them, is needed")
            return None
        encoding = read.get(table, "encoding", str, "utf-8", keys, about)
        try:
            if "line" in table:
                line = str(read.get(table, "line", str, "", keys, about)).encode(encoding)
            else:
                program = read.get(
                    table, "program", str, self.programs[0] if self.programs else "", keys, about
                )
                message = read.get(table, "message", str, "", keys, about)
                line = f"Nov 22 10:49:07 mail1 {program}[209]: {message}".encode(encoding)
            after = tuple(text.encode(encoding) for text in read.texts(table, "after", keys, about))
        except (LookupError, UnicodeEncodeError) as error:
            read.problem((*keys, "encoding"), f"{about}: {error}")
            return None
        for text in (line, *after):
            if b"\n" in text:
                read.problem(
                    keys, f"{about}: a line holds a line end", "a record ends at LF and nowhere else"
                )
                return None
        expect = read.get(table, "expect", dict, {}, keys, about)
        if isinstance(table.get("expect"), dict):
            read.keys(expect, {*FIELDS, "weight", "event"}, (*keys, "expect"), about)
        truth = table.get("source", False)
        if "source" in allowed and not isinstance(truth, str) and truth is not False:
            read.problem(
                (*keys, "source"), f"{about}: source is the true address, or false for no event", whole=True
            )
        if "source" in allowed and "source" not in table:
            read.problem(
                keys,
                f"{about}: source is missing",
                "a forgery says what the truth is",
                'source = "192.0.2.7", or source = false where the line must make no event.',
                whole=True,
            )
        return Sample(
            line, read.document.where(*keys), after, dict(expect), truth if isinstance(truth, str) else None
        )


__all__ = ["FORMAT", "load_parser", "load_parsers", "read_parser", "self_test"]
