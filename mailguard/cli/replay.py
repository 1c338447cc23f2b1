"""`mailguard replay`: what the policy would have done with logs. The JSON form is a contract."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from mailguard.notation import format_duration, format_effect

from .arguments import zone as zone_name
from .completing import files as log_files
from .config import config_option, settings_path
from .definitions import parser_option
from .messages import text
from .moments import in_zone
from .output import output_option, safe, write_json, write_line

if TYPE_CHECKING:
    from pathlib import Path

    from mailguard.core.judge import Judge
    from mailguard.replay import Summary


def make_judge(config: Path | None, parsers: tuple[str, ...]) -> Judge:
    """A judge as the settings say, that bans. Own addresses of this host are not asked for: the same logs and
    settings give the same effects on every host."""
    from mailguard.core.engine import Engine
    from mailguard.core.judge import Judge
    from mailguard.core.scanner import Scanner
    from mailguard.core.sessions import Sessions
    from mailguard.definitions.parsers import load_parsers
    from mailguard.definitions.settings import load_settings

    settings = load_settings(config)
    loaded = load_parsers(parsers or None)
    guessed = [parser.name for parser in loaded if parser.guessed]
    judge = Judge(Scanner(loaded), Sessions(loaded), Engine(settings.setup(guessed=guessed)), evidence=False)
    judge.enforcing = True
    return judge


@click.command("replay")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=log_files)
@config_option
@parser_option
@click.option("--year", type=click.IntRange(1970, 9999), help="The year of the first line's stamp.")
@click.option("--timezone", type=zone_name, default="", help="The zone of the host that wrote the stamps.")
@output_option
def command(
    files: tuple[str, ...],
    config: str | None,
    parsers: tuple[str, ...],
    year: int | None,
    timezone: str,
    form: str,
) -> None:
    """Show what the policy would have done with logs.

    The same engine reads them in the order of their stamps; nothing is banned and nothing is kept. The last
    line of JSON is a summary; how long it took goes to standard error.
    """
    from mailguard.feeds.interface import LogOptions
    from mailguard.feeds.recorded import RecordedLog
    from mailguard.replay import Summary, replay, rows

    begun = time.monotonic()
    judge = make_judge(settings_path(config), parsers)
    options = LogOptions(year=year, timezone=timezone, parsers=parsers)
    summary = Summary()
    effects = replay([RecordedLog(path, options) for path in files], judge, summary)
    if form == "json":
        for row in rows(effects, timezone):
            write_json(row)
        write_json(summary.row())
    else:
        moment = in_zone(timezone)
        for effect in effects:
            write_line(f"{moment(effect.time)} {format_effect(effect)}")
    report(summary, time.monotonic() - begun)


def report(summary: Summary, seconds: float) -> None:
    """What was seen and how long it took, on standard error."""
    from mailguard.daemon.words import sentence

    for notice in summary.notices:
        click.echo(f"mailguard: {safe(sentence(notice))}", err=True)
    span = 0.0 if summary.first is None or summary.last is None else summary.last - summary.first
    words = text(
        "replay.summary",
        records=summary.records,
        span=format_duration(span),
        events=summary.events,
        imposed=summary.imposed,
        alerts=summary.alerts,
        seconds=f"{seconds:.2f}",
    )
    click.echo(words, err=True)
