"""`mailguard tune`: which thresholds would have done best on recorded logs, and why."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from mailguard.locale import length as length_of

from .completing import detectors as detector_names
from .completing import files as log_files
from .messages import text
from .output import form_option, safe
from .recorded import Recorded, ledger_option, recorded_options, settings_options
from .rehearsing import (
    progress,
    settings_of,
    shutouts_of,
    tell,
    unknown_detector,
)
from .reporting import page_for, report_options, write_tuning

if TYPE_CHECKING:
    from mailguard.core.detectors import Detector
    from mailguard.definitions.settings import Settings
    from mailguard.replay.summary import Summary
    from mailguard.tuning.grid import Axes, Grid
    from mailguard.tuning.outcome import Outcome
    from mailguard.tuning.sweep import Sweep

FORMS = ("auto", "plain", "json", "csv")
MOST = 200  # settings that are tried when nobody says how many
LIMIT = 5000


@click.command("tune")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=log_files)
@click.option(
    "--detector",
    metavar="NAME",
    shell_complete=detector_names,
    help="Tune this one. Default: each one that bans, a few settings each.",
)
@click.option(
    "--grid",
    "axes",
    multiple=True,
    metavar="AXIS=VALUES",
    help="What to try, such as count=3,5,8 or within=10m,1h; axes: count, distinct, within, key, ban.",
)
@click.option(
    "--most",
    type=click.IntRange(2, LIMIT),
    metavar="N",
    default=MOST,
    show_default=True,
    help="Try at most so many settings.",
)
@settings_options
@recorded_options
@ledger_option
@report_options
@form_option(
    FORMS, "auto: tables on a terminal, plain lines elsewhere; json: objects; csv: one setting a line."
)
def command(
    files: tuple[str, ...],
    detector: str | None,
    axes: tuple[str, ...],
    most: int,
    config: str | None,
    assignments: tuple[str, ...],
    recorded: Recorded,
    ledger: str | None,
    html: str | None,
    language: str | None,
    form: str,
) -> int:
    """Find the thresholds that would have done best with logs.

    FILE is what `mailguard replay` takes: logs, folders, files of events. They are read once and judged under
    each setting of a grid, as a replay would. The settings on the frontier of protection and harm are shown,
    one is recommended with its reasons, and what the logs are too short to tell is said.
    """
    from mailguard.tuning.sweep import Sweep, tasks_of

    begun = time.monotonic()
    settings = settings_of(config, assignments)
    loaded = recorded.load()
    grids = _grids(settings, detector, axes, most)
    setup = settings.setup(guessed=[parser.name for parser in loaded if parser.guessed])
    shutouts = shutouts_of(ledger, settings)
    rehearsed = recorded.rehearsal(files, loaded)
    tasks = [task for grid in grids for task in tasks_of(setup, grid.variants, grid.detector.name)]
    sweep = Sweep(rehearsed, tasks, recorded.workers)
    with nullcontext() if html is None else page_for(html, rehearsed) as page:
        with progress(rehearsed):
            summary = sweep.read()
        read = time.monotonic()
        if not sweep.interrupted and rehearsed.sources:
            if detector is None:
                grids = _counting(grids, summary)
                sweep.tasks = [
                    task for grid in grids for task in tasks_of(setup, grid.variants, grid.detector.name)
                ]
            with _bar(sweep):
                sweep.run()
        found = _show(sweep, grids, summary, len(shutouts), form)
        if page is not None:
            write_tuning(
                page, rehearsed, summary, found, sweep.interrupted, settings, recorded.timezone, language
            )
    _report(sweep, summary, read - begun, time.monotonic() - begun)
    if sweep.interrupted:
        return 130
    from mailguard.problems import EXIT_NO_INPUT

    return 0 if rehearsed.sources else EXIT_NO_INPUT


def _grids(settings: Settings, name: str | None, texts: tuple[str, ...], most: int) -> list[Grid]:
    """The grids to try: of the named detector, else of each that bans."""
    from mailguard.tuning.grid import GridError, make, parse_axis

    by_name = {found.name: found for found in settings.detectors}
    if name is not None and name not in by_name:
        raise unknown_detector("tune.no-detector", name, by_name)
    if texts and name is None:
        raise click.UsageError(text("tune.grid-one"))
    chosen: list[Detector] = (
        [by_name[name]] if name is not None else [one for one in settings.detectors if one.ban is not None]
    )
    asked: Axes = {}
    try:
        for one in texts:
            axis, values = parse_axis(one)
            if axis in asked:
                raise click.UsageError(text("tune.twice", axis=axis))
            asked[axis] = values
        each = max(2, most // max(1, len(chosen)))
        return [make(one, asked, each, settings.general.retention) for one in chosen]
    except GridError as wrong:
        told = {key: safe(value) for key, value in wrong.arguments.items()}
        raise click.UsageError(text(f"tune.{wrong.id}", **told)) from wrong


def _counting(grids: list[Grid], summary: Summary) -> list[Grid]:
    """Those whose detector counts something that is in the logs."""
    return [grid for grid in grids if any(summary.by_kind[kind] for kind in grid.detector.on)]


@contextmanager
def _bar(sweep: Sweep) -> Iterator[None]:
    """A bar while standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        count = len(sweep.tasks)
        task = bar.add_task(text("tune.trying"), total=count, rate="")

        def advance(done: int) -> None:
            bar.update(task, completed=done, rate=text("tune.rate", done=done, count=count))

        sweep.advance = advance
        yield


def _show(sweep: Sweep, grids: list[Grid], summary: Summary, shutouts: int, form: str) -> list[Outcome]:
    """Show what each grid came to, and give it."""
    from mailguard.tuning.outcome import outcomes

    from .frontiers import write_csv, write_json_lines, write_outcome, write_plain

    found: list[Outcome] = outcomes(grids, sweep.done, summary, shutouts)
    if form == "json":
        write_json_lines(found, sweep, summary)
    elif form == "csv":
        write_csv(found)
    elif form == "auto" and sys.stdout.isatty():
        for outcome in found:
            write_outcome(outcome)
    else:
        write_plain(found)
    return found


def _report(sweep: Sweep, summary: Summary, reading: float, seconds: float) -> None:
    """What was seen and how long it took, on standard error."""
    tell(summary.notices, summary.untold)
    if not sweep.rehearsed.sources:
        click.echo(f"mailguard: {text('replay.nothing')}", err=True)
        return
    if not sweep.tasks:
        click.echo(f"mailguard: {text('tune.nothing')}", err=True)
    if sweep.interrupted and not sweep.done:
        click.echo(f"mailguard: {text('tune.interrupted-reading')}", err=True)
    elif sweep.interrupted:
        told = text("tune.interrupted", done=len(sweep.done), count=len(sweep.tasks))
        click.echo(f"mailguard: {told}", err=True)
    if sweep.replayed:
        why = text(f"tune.replayed-{sweep.why_not or 'caps'}")
        click.echo(f"mailguard: {text('tune.replayed', count=sweep.replayed, why=why)}", err=True)
    words = text(
        "tune.summary",
        events=summary.events,
        span=length_of(summary.seconds),
        settings=len(sweep.done),
        seconds=f"{seconds:.2f}",
        reading=f"{reading:.2f}",
    )
    click.echo(f"mailguard: {safe(words)}", err=True)
