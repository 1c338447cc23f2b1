"""`mailguard events`: the events in logs. The JSON form is a contract that others script against."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from io import TextIOWrapper
from math import inf
from typing import TYPE_CHECKING, Any

import click

from mailguard.model import Block, Event, Notice, Records
from mailguard.notation import format_address, times_in
from mailguard.problems import EXIT_UNAVAILABLE

from .completing import files as log_files
from .messages import text
from .output import form_option, safe, write_json, write_line
from .recorded import Recorded, recorded_options
from .rehearsing import outcome, progress, tell
from .writing import Target

if TYPE_CHECKING:
    from mailguard.core.scanner import Scanner
    from mailguard.core.sessions import Sessions
    from mailguard.feeds.interface import LogOptions


class Lines:
    """Byte offsets to 1-based line numbers of one log, while its blocks go by in order."""

    def __init__(self) -> None:
        self._before = 0  # lines in the blocks that went by
        self._line = 0  # lines of this block before ...
        self._at = 0  # ... this index of its data

    def begin(self, block: Block) -> None:
        self._line, self._at = 0, block.start

    def number(self, block: Block, position: int) -> int:
        """The number of the line that begins at `position` in `block`; cheap when asked in rising order."""
        index = position - block.position + block.start
        if index < self._at:
            self.begin(block)
        self._line += block.data.count(b"\n", self._at, index)
        self._at = index
        return self._before + self._line + 1

    def end(self, block: Block) -> None:
        """The block has gone by. A line that was cut is one line: the feed ends it once."""
        self._before = self.number(block, block.position + block.end - block.start) - 1


def events_of(
    files: tuple[str, ...], scanner: Scanner, sessions: Sessions, options: LogOptions
) -> Iterator[tuple[int, Event]]:
    """Line number and event, in the order in which the files and their lines come.

    In a journal file, which has no lines, an entry's number stands for it.
    """
    from mailguard.core.stamps import HALF_YEAR
    from mailguard.feeds.recorded import RecordedFeed
    from mailguard.replay.cutting import years_of

    lines: dict[str, Lines] = {}
    entries: dict[str, int] = {}
    feed = RecordedFeed(files, options)
    if options.year is None:
        for log in feed.logs:
            if (first := years_of(log.path, options)) is not None:
                log.options = replace(options, year=first)
                _tell(Notice("log-years", {"log": log.path, "year": first}))
    newest = 0.0  # of standard input; infinite: nothing more to be said about it
    try:
        while (items := feed.next(None)) is not None:
            for item in items:
                if isinstance(item, Block):
                    if item.position == 0 or item.log not in lines:
                        lines[item.log] = Lines()
                    counter = lines[item.log]
                    counter.begin(item)
                    for event in sessions.join(scanner.scan(item)):
                        yield counter.number(item, event.position), event
                        if item.log == "-" and item.year is None:
                            if event.time < newest - HALF_YEAR and newest != inf:
                                newest = inf
                                _tell(Notice("log-years-unknown", {"log": "-"}))
                            newest = max(newest, event.time)
                    counter.end(item)
                elif isinstance(item, Records):
                    before = entries.get(item.log, 0)
                    numbers = {one.position: before + at for at, one in enumerate(item.records, 1)}
                    for event in sessions.join(scanner.scan_records(item)):
                        yield numbers[event.position], event
                    entries[item.log] = before + len(item.records)
                elif isinstance(item, Notice):
                    _tell(item)
    finally:
        feed.close()


def _tell(notice: Notice) -> None:
    tell([notice])


FILES = ("parquet", "jsonl", "csv")  # forms that can be replayed
FORMS = ("auto", "plain", "json", *FILES)


@click.command("events")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=log_files)
@recorded_options
@click.option("--to", "target", metavar="PATH", shell_complete=log_files, help="Write there.")
@form_option(FORMS, "plain lines; json: one object a line; parquet, jsonl, csv: an events file.")
def command(
    files: tuple[str, ...],
    recorded: Recorded,
    target: str | None,
    form: str,
) -> int | None:
    """Show the events in logs.

    FILE is a log, a compressed one (.gz .xz .bz2 .zst), or - for standard input. As parquet, jsonl or csv
    the events of all logs come in the order in which they count, and FILE may be a folder, too; such a file
    can be asked by others, and replayed.
    """
    if form in FILES:
        return write_file(files, recorded, form, target)
    from mailguard.core.joined import Joined
    from mailguard.core.scanner import Scanner

    loaded, options = recorded.load(), recorded.options
    moment = times_in(recorded.timezone)
    with redirected(target, files):
        for line, event in events_of(files, Scanner(loaded), Joined(loaded, covering=False), options):
            if not recorded.counts(event.time):
                continue
            if form == "json":
                write_json(as_json(line, event, moment))
            else:
                write_line(as_line(line, event, moment))
    return None


@contextmanager
def redirected(target: str | None, inputs: Iterable[str]) -> Iterator[None]:
    """Standard output goes to a file, where one is named, which is none of `inputs`. After Ctrl-C it holds
    what was written until then."""
    if target is None:
        yield
        return
    with Target(target, inputs=inputs) as out:
        writer = TextIOWrapper(out.file, encoding="utf-8", write_through=True)
        try:
            with redirect_stdout(writer):
                yield
        except KeyboardInterrupt:
            writer.detach()
            out.keep()
            raise
        writer.detach()
        out.keep()


def write_file(files: tuple[str, ...], recorded: Recorded, form: str, target: str | None) -> int:
    """An events file; the exit code."""
    from mailguard import eventfile

    if target is None and form == "parquet" and sys.stdout.isatty():
        raise click.UsageError(text("eventfile.output"))
    rehearsed = recorded.rehearsal(files, recorded.load())
    inputs = [source.path for source in rehearsed.sources]
    with nullcontext() if target is None else Target(target, inputs=inputs) as place:
        file = sys.stdout.buffer if place is None else place.file
        try:
            out = eventfile.writer(form, file)
        except ImportError:
            click.echo(f"mailguard: {text('eventfile.missing')}", err=True)
            return EXIT_UNAVAILABLE
        seen = eventfile.Facts()
        try:
            with progress(rehearsed):
                for events in rehearsed.batches():
                    out.write(events)
        except KeyboardInterrupt:
            rehearsed.interrupted = True
        summary = rehearsed.summary
        seen.events = out.events  # not what was read: Ctrl-C may come between
        seen.records, seen.first, seen.last = summary.records, summary.first, summary.last
        seen.logs = tuple(source.path for source in rehearsed.sources)
        out.close(seen)
        if place is None:
            file.flush()
        else:
            place.keep()
    tell(rehearsed.summary.notices, rehearsed.summary.untold)
    if target is not None:
        click.echo(text("eventfile.written", path=safe(target), events=seen.events), err=True)
    return outcome(rehearsed)


def as_json(line: int, event: Event, moment: Callable[[float], str]) -> dict[str, Any]:
    """The object of the contract."""
    return {
        "line": line,
        "log": event.log,
        "time": moment(event.time),
        "kind": event.kind,
        "source": None if event.source is None else format_address(event.source),
        "rule": event.rule,
        "weight": event.weight,
        "fields": event.fields,
    }


def as_line(line: int, event: Event, moment: Callable[[float], str]) -> str:
    """Place, time, kind, source, rule, weight where it is more than one, fields."""
    parts = [
        f"{event.log}:{line}",
        moment(event.time),
        event.kind,
        "-" if event.source is None else format_address(event.source),
        event.rule,
    ]
    if event.weight != 1:
        parts.append(f"x{event.weight}")
    parts += [f"{name}={quoted(value)}" for name, value in event.fields.items()]
    return " ".join(parts)


def quoted(value: str) -> str:
    """A field's value, in quotes where it would not be one word."""
    if value and not any(char.isspace() or char in '"=' for char in value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
