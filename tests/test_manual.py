"""The manual and the code tell the same: commands, options, exit codes, settings, slot types, fields."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from mailguard import cli, model, problems

MAN = Path(__file__).resolve().parent.parent / "man"
PAGES = sorted(page for page in MAN.iterdir() if page.suffix in {".5", ".7", ".8"})


def plain(line: str) -> str:
    """A line of a manual page without its escapes and quotes."""
    line = re.sub(r"\\f[A-Z]", "", line).replace(r"\-", "-").replace(r"\(dq", '"').replace(r"\&", "")
    return line.replace('"', "")


def sections(page: str) -> dict[str, list[str]]:
    """Subsection heading -> its lines; headings of the other level end a subsection."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (MAN / page).read_text(encoding="utf-8").splitlines():
        if line.startswith((".SS ", ".SH ")):
            current = found.setdefault(plain(line[4:]).strip(), [])
        else:
            current.append(line)
    return found


def tags(lines: list[str]) -> list[str]:
    """The tag lines of the tagged paragraphs: what stands after `.TP`."""
    return [plain(lines[index + 1]) for index, line in enumerate(lines) if line == ".TP"]


def leaves(command: click.Command, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        found += leaves(child, (*path, name))
    return found


COMMANDS = {" ".join(path): command for path, command in leaves(cli.program, ("mailguard",))}
MANUAL = {
    " ".join(word for word in heading.split() if word.islower() and word.isalpha()): lines
    for heading, lines in sections("mailguard.8").items()
    if heading.startswith("mailguard ")
}


def test_every_command_is_in_the_manual() -> None:
    """Each subcommand has a section in mailguard(8), and each section is a subcommand."""
    assert sorted(COMMANDS) == sorted(MANUAL)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_in_the_manual(name: str) -> None:
    """Each option of a command is in its section, and each option there is the command's."""
    told = {
        option for tag in tags(MANUAL[name]) for option in re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", tag)
    }
    have = {
        option
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert told == have


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_defaults_are_in_the_manual(name: str) -> None:
    """A default that `--help` shows stands in the manual too."""
    body = plain(" ".join(MANUAL[name]))
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and parameter.show_default and parameter.default != "auto":
            assert str(parameter.default) in body, f"{name} {parameter.opts[0]}: {parameter.default}"


def test_every_command_helps_itself() -> None:
    """Each command and each of its options has a help text that ends like a sentence."""
    for name, command in COMMANDS.items():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts[0]} has no help"
                assert parameter.help.endswith("."), f"{name} {parameter.opts[0]}: {parameter.help}"


def test_every_exit_code_is_in_the_manual() -> None:
    """The exit codes of the program are those that mailguard(8) tells."""
    told = {int(tag.split()[-1]) for tag in tags(sections("mailguard.8")["EXIT STATUS"])}
    have = {value for name, value in vars(problems).items() if name.startswith("EXIT_")}
    assert told == have | {1, 2, 130}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_clean(page: Path) -> None:
    """groff has nothing to say about a page."""
    result = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", str(page)], capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    assert result.returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_each_other(page: Path) -> None:
    """A reference to a page of ours leads to a page that exists."""
    names = {f"{each.stem}({each.suffix[1:]})" for each in PAGES}
    body = plain(page.read_text(encoding="utf-8"))
    for name, section in re.findall(r"\b(mailguard[a-z.-]*)[ ]?\((\d)\)", body):
        assert f"{name}({section})" in names


@pytest.mark.parametrize("word", ["KINDS", "FIELDS"])
def test_kinds_and_fields_are_in_the_manual(word: str) -> None:
    """mailguard-parser(5) tells each kind and each field, with the sentence the program has for it."""
    table: dict[str, str] = getattr(model, word)
    lines = sections("mailguard-parser.5")["EVENT KINDS" if word == "KINDS" else "FIELDS"]
    told = {}
    for index, line in enumerate(lines):
        if line == ".TP":
            told[plain(lines[index + 1]).split()[-1]] = plain(lines[index + 2])
    assert told == {name: plain(sentence) for name, sentence in table.items()}
