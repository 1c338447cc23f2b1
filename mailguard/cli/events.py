"""`mailguard events`: the events in logs. The JSON form is a contract that others script against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from mailguard.model import Block, Event, Notice, Records
from mailguard.notation import format_address

from .arguments import zone as zone_name
from .completing import files as log_files
from .definitions import parser_option
from .moments import in_zone
from .output import output_option, safe, write_json, write_line

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
    from mailguard.feeds.recorded import RecordedFeed

    lines: dict[str, Lines] = {}
    entries: dict[str, int] = {}
    feed = RecordedFeed(files, options)
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
                    counter.end(item)
                elif isinstance(item, Records):
                    before = entries.get(item.log, 0)
                    numbers = {one.position: before + at for at, one in enumerate(item.records, 1)}
                    for event in sessions.join(scanner.scan_records(item)):
                        yield numbers[event.position], event
                    entries[item.log] = before + len(item.records)
                elif isinstance(item, Notice):
                    from mailguard.daemon.words import sentence

                    click.echo(f"mailguard: {safe(sentence(item))}", err=True)
    finally:
        feed.close()


@click.command("events")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=log_files)
@parser_option
@click.option("--year", type=click.IntRange(1970, 9999), help="The year of the first line's stamp.")
@click.option("--timezone", type=zone_name, default="", help="The zone of the host that wrote the stamps.")
@output_option
def command(
    files: tuple[str, ...], parsers: tuple[str, ...], year: int | None, timezone: str, form: str
) -> None:
    """Show the events in logs.

    FILE is a log, a compressed one (.gz), or - for standard input.
    """
    from mailguard.core.joined import Joined
    from mailguard.core.scanner import Scanner
    from mailguard.definitions.parsers import load_parsers
    from mailguard.feeds.interface import LogOptions

    loaded = load_parsers(parsers or None)
    moment = in_zone(timezone)
    options = LogOptions(year=year, timezone=timezone, parsers=parsers)
    for line, event in events_of(files, Scanner(loaded), Joined(loaded, covering=False), options):
        if form == "json":
            write_json(as_json(line, event, moment))
        else:
            write_line(as_line(line, event, moment))


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
