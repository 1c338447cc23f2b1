"""What the commands for parsers and actions share: find, show and copy a definition file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .completing import parsers
from .messages import text
from .output import write_line, write_text

if TYPE_CHECKING:
    from .completing import Completer


def find(kind: str, name: str) -> Path:
    """The file of the definition `name` that is in use; or a usage error with a near name."""
    from mailguard.definitions import source

    files = source.search(kind)
    if name in source.masked(kind):
        mask = source.ETC / kind / f"{name}.toml"
        raise click.UsageError(text("definition.masked", name=name, path=mask))
    if name not in files:
        from difflib import get_close_matches

        near = get_close_matches(name, files, 1)
        hint = text("usage.near", name=near[0]) if near else ""
        raise click.UsageError(text(f"definition.unknown-{kind}", name=name, hint=hint))
    return files[name]


def parser_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--parser` of every command that reads lines."""

    def known(context: click.Context, option: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            find("parsers", name)
        return names

    return click.option(
        "--parser",
        "parsers",
        multiple=True,
        metavar="NAME",
        callback=known,
        shell_complete=parsers,
        help="Try only this parser.",
    )(function)


def shadow(kind: str, path: Path) -> str:
    """Where a file in use comes from: shipped, own, or own in place of a shipped one."""
    from mailguard.definitions import source

    if path.parent == source.shipped(kind):
        return text("definition.shipped")
    replaced = (source.shipped(kind) / path.name).exists()
    return text("definition.replaces" if replaced else "definition.own")


def to_option(help: str) -> Callable[..., Any]:
    """The option `--to`: a folder other than the administrator's own."""
    folder = click.Path(file_okay=False, path_type=Path)
    return click.option("--to", type=folder, metavar="FOLDER", help=help)


def show_and_copy(group: click.Group, kind: str, complete: Completer) -> None:
    """Give a group of commands about definitions of a `kind` its `show` and its `copy`."""

    @group.command("show")
    @click.argument("name", shell_complete=complete)
    def show_(name: str) -> None:
        """Print the definition NAME that is in use."""
        from mailguard.definitions import source

        write_text(source.read_text(find(kind, name)))

    @group.command("copy")
    @click.argument("name", shell_complete=complete)
    @to_option("Copy it to this folder instead.")
    def copy_(name: str, to: Path | None) -> None:
        """Copy the shipped definition NAME, to be changed.

        The copy goes where the administrator's own definitions are and is used instead of the shipped one.
        """
        write_line(text("definition.copied-to" if to else "definition.copied", path=copy(kind, name, to)))


def copy(kind: str, name: str, folder: Path | None) -> Path:
    """Copy the shipped definition `name`; refuses to overwrite. Returns where it went."""
    from mailguard.definitions import source

    shipped = source.shipped(kind) / f"{name}.toml"
    if not shipped.is_file():
        find(kind, name)  # an unknown name is told as such
        raise click.UsageError(text("definition.not-shipped", name=name))
    place = (folder or source.ETC / kind) / shipped.name
    if place.exists() or place.is_symlink():
        raise click.UsageError(text("definition.exists", path=place))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    return place
