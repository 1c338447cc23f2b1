"""Parser definitions: the text of a file in `parsers/` to a `Parser`, checked.

Whatever is wrong with a file is told at once, each with file, line, why and what to do instead. A parser that
loads keeps every promise of mailguard-parser(5): see `checks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core.envelope import STYLES, SYSLOG
from ..core.rules import SCOPES, Parser
from ..problems import Problem, ProblemsError
from . import checks, dialogues, lines, rules, sessions, source
from .kept import Kept
from .reading import Reading, near
from .samples import run_samples

FORMAT = 1

#: Keys that belong to a rule, where somebody wrote them as tables of the file.
_OF_RULES = {name: f"Below its rule: [[rule.{name}]]." for name in ("sample", "forgery")}
TOP = (
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
    "unread",
    "dialogue",
    "session",
    "rule",
    "unmatched",
)

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
    kept = Kept()
    problems: list[Problem] = []
    parsers: list[Parser] = []
    for name in found if names is None else names:
        if name not in found:
            problems.append(Problem(f"parser {name}", "there is no such parser", instead=near(name, found)))
            continue
        try:
            parsers.append(_kept_parser(kept, name, str(found[name]), check))
        except ProblemsError as error:
            problems += error.problems
    kept.save(found)
    if problems:
        raise ProblemsError(problems)
    return parsers


def _kept_parser(kept: Kept, name: str, path: str, check: bool) -> Parser:
    """As `load_parser`, without reading again what was read before."""
    text = source.text_of(path)
    parser = kept.find(name, path, text)
    if parser is None:
        parser = _parser(source.parse(text, path), check)
        kept.keep(name, path, text, parser)
    elif check and (problems := checks.check(parser, text)):
        raise ProblemsError(sorted(problems, key=_place))
    return parser


def self_test(parser: Parser) -> list[Problem]:
    """Run the samples, forgeries and unmatched lines inside a parser; the problems, [] when all is well."""
    return run_samples(parser)


class _Loader:
    """Reads one file; problems go to `reading`."""

    def __init__(self, reading: Reading):
        self.reading = reading
        self.data = reading.document.data

    def parser(self, name: str) -> Parser:
        read, data = self.reading, self.data
        if data.get("format") != FORMAT or data["format"] is True:
            read.problem(
                ("format",),
                f"format must be {FORMAT}",
                "the format says which reader understands the file",
                f"Write format = {FORMAT} first.",
            )
        read.keys(data, TOP, (), "parser", _OF_RULES)
        if not rules.NAME.match(name):
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
        programs = read.texts(data, "program", (), "parser")
        if SYSLOG in envelopes and not programs:
            read.problem(
                ("program",),
                "program is missing",
                "syslog lines of every program would be this parser's",
                'Name the programs by their last part: program = ["smtpd", "qmgr"].',
            )
        scope = rules.read_scope(read, data, (), "parser", "mail")
        kinds = sessions.read_kinds(read)
        dialogue = dialogues.read_dialogue(read)
        unread = read.get(data, "unread", str, "", (), "parser")
        if unread and ("rule" in data or not self._logs(data, name)):
            read.problem(
                ("unread",),
                "unread is for a log of which nothing is read",
                "it keeps other parsers away from the logs of that name",
                'Name the log (log = "..."), and write no [[rule]].',
            )
        found = []
        if not unread:
            found = rules.RuleReader(read, name, envelopes, programs, scope, kinds, dialogue).rules()
        unmatched = lines.read_lines(read, data, "unmatched", (), "", lines.LINE, programs)
        guessed = read.get(data, "guessed", bool, False, (), "parser")
        return Parser(
            name,
            title,
            tuple(found),
            envelopes,
            programs,
            guessed,
            scope,
            tuple(kinds.values()),
            unmatched,
            read.document.path,
            self._scopes(data),
            self._logs(data, name),
            dialogue,
        )

    def _logs(self, data: dict[str, Any], name: str) -> tuple[str, ...]:
        """Names of the log's folder or file, which tell the logs of one server apart."""
        read = self.reading
        logs = read.texts(data, "log", (), "parser")
        for log in logs:
            if not rules.NAME.match(log):
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


__all__ = ["FORMAT", "load_parser", "load_parsers", "read_parser", "self_test"]
