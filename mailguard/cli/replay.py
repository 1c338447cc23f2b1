"""`mailguard replay`: what the policy would have done with logs. The JSON form is a contract."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from mailguard.locale import length as length_of
from mailguard.notation import format_effect, times_in

from .completing import files as log_files
from .messages import text
from .output import form_option, is_terminal, safe, write_json, write_line
from .recorded import Recorded, ledger_option, policy_options, recorded_options
from .rehearsing import (
    engine_maker,
    growth_maker,
    outcome,
    progress,
    settings_of,
    shutouts_of,
    tell,
)
from .reporting import page_for, report_options, watcher, write_report

if TYPE_CHECKING:
    from mailguard.replay.rehearsal import Rehearsal

    from .tunings import Row

FORMS = ("auto", "plain", "json", "csv")


@click.command("replay")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=log_files)
@policy_options
@recorded_options
@ledger_option
@report_options
@click.option(
    "--tuning",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    shell_complete=log_files,
    help="Draw on the page what `mailguard tune -o json` found and FILE holds.",
)
@click.option(
    "--growth", is_flag=True, help="Tell also which logs grew beyond what was normal. Queues are in no log."
)
@form_option(
    FORMS, "auto: tables on a terminal, plain lines elsewhere; json: one object a line; csv: one ban a line."
)
def command(
    files: tuple[str, ...],
    config: str | None,
    assignments: tuple[str, ...],
    only: tuple[str, ...],
    recorded: Recorded,
    ledger: str | None,
    html: str | None,
    language: str | None,
    tuning: str | None,
    growth: bool,
    form: str,
) -> int:
    """Show what the policy would have done with logs.

    FILE is a log, a folder of logs, or a file that `mailguard events` wrote; compressed ones are read as
    they are (.gz .xz .bz2 .zst), and - is standard input. The same engine reads them in the order of their
    stamps; nothing is banned and nothing is kept. The last line of JSON is a summary; how long it took goes
    to standard error.
    """
    begun = time.monotonic()
    if tuning is not None and html is None:
        raise click.UsageError(text("tuning.where"))
    tuned: list[Row] = []
    if tuning is not None:
        from .tunings import read_tuning

        tuned = read_tuning(tuning)
    settings = settings_of(config, assignments)
    loaded = recorded.load()
    rehearsed = recorded.rehearsal(
        files,
        loaded,
        [engine_maker(settings, loaded, only)],
        shutouts=shutouts_of(ledger, settings),
        grow=growth_maker(settings, recorded.timezone) if growth else None,
        watch=watcher(html is not None, form == "auto" and is_terminal()),
    )
    from mailguard.replay.rehearsal import calm

    with calm(), nullcontext() if html is None else page_for(html, rehearsed) as page:
        with progress(rehearsed):
            rehearsed.run()
        show(rehearsed, form, recorded.timezone)
        if page is not None:
            write_report(page, rehearsed, settings, recorded.timezone, language, tuned)
        report(rehearsed, time.monotonic() - begun)
        return outcome(rehearsed)


def show(rehearsed: Rehearsal, form: str, timezone: str) -> None:
    """The timeline on standard output."""
    from mailguard.replay.rows import entry_row, summary_row
    from mailguard.replay.timeline import BanRecord

    from .verdicts import row_words

    trial, moment = rehearsed.trials[0], times_in(timezone)
    entries = trial.timeline.entries
    if form == "json":
        for entry in entries:
            write_json(row_words(entry, entry_row(entry, moment)))
        write_json(summary_row(rehearsed, trial, moment))
    elif form == "csv":
        from .timelines import write_csv

        write_csv(entries, moment)
    elif form == "auto" and is_terminal():
        from .timelines import write_tables

        write_tables(rehearsed, trial, timezone)
    else:
        for entry in entries:
            effect = entry.effect if isinstance(entry, BanRecord) else entry
            write_line(f"{moment(effect.time)} {format_effect(effect)}")


def report(rehearsed: Rehearsal, seconds: float) -> None:
    """What was seen and how long it took, on standard error."""
    summary, trial = rehearsed.summary, rehearsed.trials[0]
    tell(summary.notices, summary.untold)
    if not rehearsed.sources:
        click.echo(f"mailguard: {text('replay.nothing')}", err=True)
    words = text(
        "replay.summary",
        records=summary.records,
        span=length_of(summary.seconds),
        events=summary.events,
        imposed=trial.summary.imposed,
        alerts=trial.summary.alerts,
        seconds=f"{seconds:.2f}",
    )
    click.echo(safe(words), err=True)
