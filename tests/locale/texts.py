"""Every text that a catalogue has to have, found where the program has it."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click

from mailguard import cli, locale
from mailguard.cli import speaking
from mailguard.cli.messages import MESSAGES
from mailguard.daemon import words

ROOT = Path(__file__).resolve().parent.parent.parent
#: Of click: what stands in modules that only programs with other parts of it reach.
UNREACHED = {"_termui_impl.py", "_winconsole.py", "shell_completion.py", "utils.py"}
#: Of click: mistakes of whoever wrote the commands, and prompts that no command has.
OTHERS = (
    "DeprecationWarning", "Could not determine name", "No options defined", "Arguments take exactly",
    "Name '{name}' defined", "Boolean option {decl", "Value must be an iterable", "Takes {nargs} values",
    "Unknown color", "Press any key", "Repeat for confirmation", "Error: The two entered", "Error: {message}",
    "%(prog)s", "Confirm the action", "Do you want to continue", "(dynamic)", "deprecated", "env var",
    "{value!r} does not match the format", "{value!r} is not a valid UUID", "Invalid start character",
    "{len_type} values", "unknown error", "Choice({choices})", "Missing {param_type}", "Missing parameter",
    "{value!r} is not a valid boolean",
)  # fmt: skip
STILL_NEEDED = {"Error: {message}"}
#: Placeholders in usages, which are the same in every language, as FILE and TIME are.
PLACEHOLDERS = {"file", "directory", "path"}

Text = tuple[str, str, str | None]  # context, English, its plural


def commands(command: click.Command = cli.program) -> Iterator[click.Command]:
    """All commands, as they are in the code."""
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child)


def help_texts() -> Iterator[str]:
    """What `--help` says: of commands, options, groups of commands."""
    for title, listed in cli.COMMANDS.items():
        yield title
        yield from listed.values()
    for command in commands():
        yield from speaking.paragraphs(command.help or "")
        for parameter in command.params:
            if text := getattr(parameter, "help", None):
                yield from speaking.paragraphs(text)


def click_texts() -> Iterator[tuple[str, str | None]]:
    """The texts that click looks up, with their plurals; without those of `OTHERS`."""
    for path in sorted(Path(click.__file__).parent.glob("*.py")):
        if path.name in UNREACHED:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                said = [one.value for one in node.args if isinstance(one, ast.Constant)]
                texts = [one for one in said if isinstance(one, str)]
                if node.func.id not in ("_", "ngettext") or not texts or texts[0] in PLACEHOLDERS:
                    continue
                if texts[0] in STILL_NEEDED or not texts[0].startswith(OTHERS):
                    yield texts[0], texts[1] if node.func.id == "ngettext" else None


def titles() -> Iterator[str]:
    """What parsers and actions that come with the program are about."""
    for path in sorted([*ROOT.glob("parsers/*.toml"), *ROOT.glob("actions/*.toml")]):
        yield tomllib.loads(path.read_text(encoding="utf-8"))["title"]


@cache
def all_texts() -> tuple[Text, ...]:
    """Each once."""
    found: dict[tuple[str, str], Text] = {}
    for context, english, plural in _all():
        if english:  # the heading of a column without one
            found.setdefault((context, english), (context, english, plural))
    return tuple(found.values())


def _all() -> Iterator[Text]:
    yield "language.name", "English", None
    for table in (MESSAGES, words.FRAMES, locale.LENGTHS):
        for name, english in table.items():
            yield name, english, None
    for name, english in words.SENTENCES.items():
        yield f"notice.{name}", english, None
    for english in titles():
        yield "title", english, None
    taken = set()
    for english, plural in click_texts():
        taken.add(english)
        yield "click", english, plural
    for english in help_texts():
        if english not in taken:
            yield "help", english, None
