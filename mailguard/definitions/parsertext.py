"""A parser definition as `source` gives it to a `Parser`, checked: see `parsers`.

A module of its own, because most runs find every parser kept and read none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.envelope import STYLES, SYSLOG
from ..core.rules import SCOPES, Parser
from ..problems import Problem, ProblemsError
from . import checks, dialogues, lines, rules, sessions
from .reading import Reading, near
from .source import Document

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


def parser_of(document: Document, check: bool) -> Parser:
    """The parser a document defines; see `parsers.load_parser`."""
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
