"""`mailguard parser`: the log formats."""

from __future__ import annotations

from pathlib import Path

import click

from mailguard.locale import translated

from .completing import files, parsers
from .definitions import find, shadow, show_and_copy, to_option
from .messages import text
from .output import output_option, safe, write_json, write_line, write_table


@click.group("parser")
def command() -> None:
    """List, show and copy the log formats."""


@command.command("list")
@output_option
def list_(form: str) -> None:
    """List the log formats, and where each comes from."""
    from mailguard.definitions import source
    from mailguard.definitions.parsers import load_parser

    rows = []
    for name, path in source.search("parsers").items():
        parser = load_parser(path, check=False)
        rows.append(
            (name, parser.title, len(parser.rules), shadow("parsers", path), parser.guessed, str(path))
        )
    if form == "json":
        keys = ("name", "title", "rules", "origin", "guessed", "path")
        write_json(*(dict(zip(keys, row, strict=True)) for row in rows))
        return
    columns = [text(f"column.{key}") for key in ("name", "title", "rules", "origin", "note")]
    write_table(
        form,
        "",
        columns,
        [
            (row[0], translated("title", row[1]), *row[2:4], text("parser.guessed") if row[4] else "")
            for row in rows
        ],
    )


show_and_copy(command, "parsers", parsers)


@command.command("confirm")
@click.argument("name", shell_complete=parsers)
@click.argument("log", shell_complete=files)
@to_option("Write the copy to this folder instead.")
def confirm(name: str, log: str, to: Path | None) -> int:
    """Let the guessed format NAME ban; LOG shows genuine lines of it.

    Copies the definition to where the administrator's own are, without `guessed`. Exit 1 when its rules take
    no line of LOG.
    """
    from collections import Counter

    from mailguard.core.scanner import Scanner
    from mailguard.core.sessions import Sessions
    from mailguard.definitions.parsers import load_parser
    from mailguard.feeds.interface import LogOptions

    from .events import events_of

    path = find("parsers", name)
    parser = load_parser(path)
    if not parser.guessed:
        raise click.UsageError(text("parser.not-guessed", name=name))
    scanner = Scanner([parser])
    taken = Counter(event.rule for _, event in events_of((log,), scanner, Sessions([parser]), LogOptions()))
    for rule, count in taken.items():
        write_line(text("parser.taken", rule=rule, count=count))
    if not taken:
        click.echo(text("parser.none-taken", log=safe(log), name=name), err=True)
        return 1
    place = confirmed(path, to)
    write_line(text("parser.confirmed", events=taken.total(), path=place))
    return 0


def confirmed(path: Path, folder: Path | None) -> Path:
    """Write the definition without its `guessed`; returns where it went. An own file is changed in place."""
    import re

    from mailguard.definitions import source

    place = (folder or source.ETC / "parsers") / path.name
    content = re.sub(r"(?m)^guessed\s*=\s*true[^\n]*\n", "", source.read_text(path), count=1)
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.new")
    fresh.write_text(content, encoding="utf-8")
    fresh.replace(place)
    return place
