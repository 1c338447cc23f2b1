"""`mailguard parser`: the log formats."""

from __future__ import annotations

from pathlib import Path

import click

from .definitions import copy, shadow, show
from .messages import text
from .output import output_option, write_json, write_line, write_table


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
        [(*row[:4], text("parser.guessed") if row[4] else "") for row in rows],
    )


@command.command("show")
@click.argument("name")
def show_(name: str) -> None:
    """Print the definition NAME that is in use."""
    show("parsers", name)


@command.command("copy")
@click.argument("name")
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    help="Copy it to this folder instead.",
)
def copy_(name: str, to: Path | None) -> None:
    """Copy the shipped definition NAME to where the administrator's own are."""
    write_line(text("definition.copied", path=copy("parsers", name, to)))
