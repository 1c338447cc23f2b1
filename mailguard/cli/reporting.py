"""`--html FILE`: what a rehearsal found as one page, in the language that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

import click

from .completing import files
from .messages import text
from .moments import rough
from .output import safe
from .verdicts import notice_words, words

if TYPE_CHECKING:
    from mailguard.definitions.settings import Settings
    from mailguard.model import Notice
    from mailguard.replay.rehearsal import Rehearsal
    from mailguard.replay.summary import Summary
    from mailguard.replay.verdict import Verdict
    from mailguard.report.watching import Watcher
    from mailguard.tuning.outcome import Outcome

    from .tunings import Row
    from .writing import Target

LANGUAGES = ("en", "ja")


def report_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that can write a page."""
    html = click.option(
        "--html",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        shell_complete=files,
        help="Write a report to FILE too: one page of HTML that needs nothing from elsewhere.",
    )
    language = click.option(
        "--language",
        type=click.Choice(LANGUAGES),
        help="The language of the report. Default: that of the settings or of the environment.",
    )
    return html(language(function))


class Spoken:
    """The words of the catalogue in the language that is spoken; see `mailguard.report.Words`."""

    def __init__(self, language: str):
        self.language = language

    def text(self, name: str, **arguments: object) -> str:
        return text(name, **arguments)

    def length(self, seconds: float) -> str:
        return rough(seconds)

    def verdict(self, verdict: Verdict) -> str:
        return words(verdict)

    def notice(self, notice: Notice) -> str:
        return notice_words(notice)


def zone_of(name: str) -> tzinfo | None:
    """The named zone; None, this host's, where none is named."""
    if not name:
        return None
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


@contextmanager
def speaking(language: str | None, settings: Settings) -> Iterator[str]:
    """Speak the language of the page meanwhile: the named one, else that of the settings, else that of the
    environment. Gives its name."""
    from mailguard import locale

    before = locale.spoken()
    wanted = language or settings.general.language
    locale.use(locale.asked(os.environ) if wanted == "auto" else wanted)
    try:
        yield locale.spoken()
    finally:
        locale.use(before)


def watcher(page: bool, plot: bool) -> Callable[[], Watcher] | None:
    """Makes who counts what only a page and a plot tell; None where neither is wanted."""
    if not page and not plot:
        return None
    from mailguard.report.watching import Watcher

    return lambda: Watcher(stops=page)


def page_for(path: str, rehearsed: Rehearsal) -> Target:
    """The file of a page, which is its owner's alone: names of accounts stand in it. Raises OSError now,
    before anything was read, when it cannot be written, and click.UsageError where it is one of the logs."""
    from .writing import Target

    return Target(path, 0o600, (source.path for source in rehearsed.sources))


def write_report(
    page: Target,
    rehearsed: Rehearsal,
    settings: Settings,
    timezone: str,
    language: str | None,
    tuned: Sequence[Row] = (),
) -> None:
    """Write what the rehearsal found; it was watched by a `mailguard.report.Watcher`. `tuned`: what
    `mailguard tune` wrote, to be drawn beside it."""
    from mailguard.report import gather, render
    from mailguard.report.watching import Watcher

    from .tunings import frontiers_of

    watcher = rehearsed.watched
    report = gather(
        rehearsed,
        watcher if isinstance(watcher, Watcher) else Watcher(),
        zone_of(timezone),
        names=settings.general.evidence == "full",
    )
    with speaking(language, settings) as spoken:
        report.frontiers = frontiers_of(tuned)
        page.file.write(render(report, Spoken(spoken)).encode())
    page.keep()
    click.echo(f"mailguard: {safe(text('report.written', path=page.path))}", err=True)


def write_tuning(
    page: Target,
    rehearsed: Rehearsal,
    summary: Summary,
    found: Sequence[Outcome],
    interrupted: bool,
    settings: Settings,
    timezone: str,
    language: str | None,
) -> None:
    """Write which settings were tried and what they came to."""
    from dataclasses import replace

    from mailguard.report import begun, render

    from .frontiers import frontier_of

    report = begun(rehearsed, summary, zone_of(timezone))
    with speaking(language, settings) as spoken:
        frontiers = [frontier_of(outcome) for outcome in found]
        report = replace(report, tuned=True, frontiers=frontiers, interrupted=interrupted)
        page.file.write(render(report, Spoken(spoken)).encode())
    page.keep()
    click.echo(f"mailguard: {safe(text('report.written', path=page.path))}", err=True)
