"""From settings and definitions to the parts of a guard. Whatever is wrong is told all at once, before
anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..core.engine import Engine
from ..core.growth import Growth
from ..core.joined import Joined
from ..core.judge import Judge
from ..core.rules import Parser
from ..core.scanner import Scanner
from ..definitions.actions import load_actions
from ..definitions.parsers import load_parsers
from ..definitions.settings import Log, Settings, load_settings
from ..feeds.interface import LogOptions
from ..model import Network
from ..problems import Problem, ProblemsError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that was read from files."""

    settings: Settings
    parsers: tuple[Parser, ...]


def load(config: Path | None) -> Loaded:
    """Settings and all definitions. Raises ProblemsError with the problems of every file."""
    problems: list[Problem] = []

    def attempt(read: Callable[[], Value]) -> Value | None:
        try:
            return read()
        except ProblemsError as error:
            problems.extend(error.problems)
            return None

    settings = attempt(lambda: load_settings(config))
    parsers = attempt(lambda: load_parsers())
    attempt(lambda: load_actions(None))
    if problems or settings is None or parsers is None:
        raise ProblemsError(problems)
    return Loaded(settings, tuple(parsers))


def make_judge(
    loaded: Loaded, *, secret: bytes, never: Sequence[tuple[Network, str]] = ()
) -> tuple[Judge, Scanner]:
    """A judge without memory, and its scanner; `never` are the addresses that the host found out itself."""
    settings, parsers = loaded.settings, loaded.parsers
    guessed = [parser.name for parser in parsers if parser.guessed]
    engine = Engine(settings.setup(secret=secret, never=never, track=True, guessed=guessed))
    evidence = settings.general.evidence != "none"
    scanner = Scanner(parsers, wanted_kinds=engine.wanted, keep_lines=evidence)
    judge = Judge(scanner, Joined(parsers), engine, evidence=evidence)
    judge.growth = make_growth(settings, engine)
    return judge, scanner


def make_growth(settings: Settings, engine: Engine) -> Growth | None:
    """What watches over growth, without memory; None where the settings want none."""
    if not settings.growth.enabled:
        return None
    book, hasher = engine.book, engine.hasher
    return Growth(settings.growth.rules, lambda name: book.exists(hasher(name)))


def options_of(log: Log, first: bool) -> LogOptions:
    """A `[log.NAME]` as the feeds read it; `first`: nothing was ever read, so it is read from its
    beginning."""
    return LogOptions(
        name=log.name,
        kind=log.kind,
        paths=log.path,
        parsers=log.parsers,
        units=log.units,
        identifiers=log.identifiers,
        timezone=log.timezone,
        year=log.year,
        may_ban=log.may_ban,
        listen=log.listen,
        senders=log.senders,
        start="begin" if first else log.start,
    )


def named_logs(paths: Iterable[str]) -> tuple[Log, ...]:
    """The logs that `--log` names; `-` is standard input."""
    logs = []
    for path in dict.fromkeys(paths):  # one that was named twice must not count twice
        if path == "-":
            logs.append(Log("stdin", "stdin"))
        else:
            logs.append(Log(path, "file", (str(Path(path).absolute()),), start="begin"))
    return tuple(logs)
