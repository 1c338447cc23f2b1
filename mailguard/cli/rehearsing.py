"""What the commands that read recorded logs share: which logs, as which settings, with which workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .config import settings_path
from .messages import text
from .output import safe
from .verdicts import notice_words

if TYPE_CHECKING:
    from mailguard.core.engine import Engine
    from mailguard.core.growth import Growth
    from mailguard.core.rules import Parser
    from mailguard.definitions.settings import Settings
    from mailguard.model import Notice
    from mailguard.replay.rehearsal import Rehearsal
    from mailguard.replay.shutouts import Shutouts


def settings_of(config: str | None, assignments: Sequence[str] = ()) -> Settings:
    """The settings, with what `--set` changes. Raises ProblemsError."""
    from mailguard.definitions.settings import load_settings

    return load_settings(settings_path(config), assignments=assignments)


def unknown_detector(message: str, name: str, names: Iterable[str]) -> click.UsageError:
    """There is no detector of that name, but perhaps one that is nearly so called."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), 1)
    hint = text("usage.near", name=near[0]) if near else ""
    return click.UsageError(text(message, name=safe(name), hint=hint))


def engine_maker(
    settings: Settings, parsers: Sequence[Parser], only: tuple[str, ...]
) -> Callable[[], Engine]:
    """Makes an engine of those settings, with those detectors only (none named: all). Own addresses of this
    host are not asked for: the same logs and settings give the same effects on every host."""
    from dataclasses import replace

    from mailguard.core.engine import Engine

    names = [detector.name for detector in settings.detectors]
    for name in only:
        if name not in names:
            raise unknown_detector("replay.only-unknown", name, names)
    setup = settings.setup(guessed=[parser.name for parser in parsers if parser.guessed])
    if only:
        kept = [detector for detector in setup.detectors if detector.name in only]
        setup = replace(setup, detectors=kept)
    return lambda: Engine(setup)


def growth_maker(settings: Settings, timezone: str) -> Callable[[Engine], Growth | None]:
    """Makes what watches over the growth of logs, by the hours of that zone; "": this host's."""
    from dataclasses import replace
    from zoneinfo import ZoneInfo

    from mailguard.daemon.build import make_growth

    if timezone:
        rules = replace(settings.growth.rules, zone=ZoneInfo(timezone))
        settings = replace(settings, growth=replace(settings.growth, rules=rules))
    return lambda engine: make_growth(settings, engine)


def shutouts_of(ledger: str | None, settings: Settings) -> Shutouts:
    """What the named ledger knows, else the guard's where it can be read, else nothing.

    Raises LedgerError where one was named and cannot be read."""
    from mailguard.replay.shutouts import Shutouts, from_ledger

    if ledger is not None:
        return from_ledger(Path(ledger))
    path = settings.general.state / "ledger.db"
    with suppress(OSError):  # it is there, and cannot be read
        if not path.exists():
            return Shutouts()
    from mailguard.ledger import LedgerError

    try:
        return from_ledger(path)
    except (OSError, LedgerError):
        click.echo(text("replay.no-ledger", path=path), err=True)
        return Shutouts()


@contextmanager
def progress(rehearsed: Rehearsal) -> Iterator[None]:
    """A bar with rate and time left while standard error is a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    total = sum(source.size for source in rehearsed.sources)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        rehearsed.progress = _Bar(bar, total)
        yield


class _Bar:
    """Tells a bar of rich how far it is."""

    def __init__(self, bar: Any, total: int):
        import time

        self._bar = bar
        self._clock = time.monotonic
        self._begun = self._clock()
        self._records = 0
        self._task = bar.add_task(text("replay.reading"), total=total or None, rate="")

    def advance(self, size: int, records: int) -> None:
        self._records += records
        rate = self._records / max(0.001, self._clock() - self._begun)
        self._bar.update(self._task, advance=size, rate=text("replay.rate", rate=f"{rate:,.0f}"))


def tell(notices: Sequence[Notice], untold: int = 0) -> None:
    """What there is to say about the logs, on standard error."""
    for notice in notices:
        click.echo(f"mailguard: {safe(notice_words(notice))}", err=True)
    if untold:
        click.echo(f"mailguard: {text('notice.more', count=untold)}", err=True)


def outcome(rehearsed: Rehearsal) -> int:
    """The exit code: 130 after Ctrl-C, which is said, 66 where there was no log to read."""
    from mailguard.problems import EXIT_NO_INPUT

    if rehearsed.interrupted:
        click.echo(f"mailguard: {text('replay.interrupted')}", err=True)
        return 130
    return 0 if rehearsed.sources else EXIT_NO_INPUT
