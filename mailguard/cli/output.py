"""How answers are written: tables for a person at a terminal, plain lines for a pipe, one JSON object a line.

Never lets a control character through: names in logs are chosen by attackers, and a terminal obeys them.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import click

FORMS = ("auto", "plain", "json")


def safe(value: object, lines: bool = False) -> str:
    r"""`value` as text without anything a terminal would obey: controls and invisible marks become `\x1b`.

    `lines` keeps line feeds, for texts of our own that span lines.
    """
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or (lines and char == "\n") or _mark(char) else _escape(char)
        for char in text
    )


def _mark(char: str) -> bool:
    """Combining marks are not `printable` on their own in some versions but belong to ordinary text."""
    return unicodedata.category(char) in {"Mn", "Mc"}


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes: wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if _mark(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def form_option(forms: Sequence[str], explained: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `-o` of a command that knows these forms."""
    return click.option(
        "-o", "--output", "form", type=click.Choice(forms), default="auto", show_default=True, help=explained
    )


#: The option `-o` that every command with an answer has.
output_option = form_option(
    FORMS, "auto: tables on a terminal, plain lines elsewhere; json: one object a line."
)


def is_terminal() -> bool:
    return sys.stdout.isatty()


def write_json(*objects: Any) -> None:
    """One object a line; ASCII only, so that no reader and no terminal can misread it."""
    encode = _encoder()
    for each in objects:
        sys.stdout.write(encode(each) + "\n")


@cache
def _encoder() -> Callable[[Any], str]:
    import json

    return json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(", ", ": ")).encode


def write_line(line: object) -> None:
    sys.stdout.write(safe(line) + "\n")


def write_text(text: str) -> None:
    """Several lines of our own words; values inside them are made safe too."""
    sys.stdout.write(safe(text, lines=True).rstrip("\n") + "\n")


def write_table(
    form: str, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], whole: int = 0
) -> None:
    """Rows for people: a table on a terminal, tab-separated lines (no heading) elsewhere.

    The first `whole` columns are short and never broken over lines; the others give way. A cell None is an
    empty one. Tabs and line feeds inside cells are escaped, so that columns stay columns.
    """
    cells = [["" if cell is None else safe(cell) for cell in row] for row in rows]
    if form != "auto" or not is_terminal():
        for row in cells:
            sys.stdout.write("\t".join(row) + "\n")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for at, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=at < whole)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    console.print(table)
    console.print()
