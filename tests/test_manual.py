"""The manual and the code tell the same: commands, options, exit codes, settings, slot types, fields."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from mailguard import cli, model, problems
from mailguard.core.pattern import slots
from mailguard.definitions import actions, dialogues, lines, parsers, parsertext, rules, sessions
from mailguard.firewall.actions import self_test

ROOT = Path(__file__).resolve().parent.parent
MAN = ROOT / "man"
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


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_values_of_options_have_the_names_of_the_manual(name: str) -> None:
    """What stands behind an option in `--help` stands behind it in the manual."""
    told = {
        tag.split()[-2].rstrip(","): tag.split()[-1] for tag in tags(MANUAL[name]) if len(tag.split()) > 1
    }
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and not (
            parameter.is_flag or isinstance(parameter.type, click.Choice)
        ):
            context = click.Context(COMMANDS[name])
            shown = parameter.make_metavar(context).strip("[]")
            assert told[parameter.opts[-1]] in (shown, parameter.metavar), parameter.opts


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


#: Of other programs: read only to see in which language and character set to speak.
ELSEWHERE = {"LC_CTYPE", "PATH", "HOME", "PYTHONPATH", "PYTHONIOENCODING", "PYTHONUTF8"}


def test_every_variable_is_in_the_manual() -> None:
    """The variables of the environment that the program asks for are those that mailguard(8) tells."""
    asked = re.compile(r"""environ(?:ment)?(?:\.get\(|\[)"([A-Z_]+)\"""")
    names = re.compile(r'"((?:LC|LANG|SSH)[A-Z_]*)"')
    have = {"NO_COLOR"}  # asked for by rich
    for path in (ROOT / "mailguard").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        have |= set(asked.findall(text))
        if "environ" in text:
            have |= set(names.findall(text))
    told = {
        name
        for tag in tags(sections("mailguard.8")["ENVIRONMENT"])
        for name in re.findall(r"[A-Z_]{4,}", tag)
    }
    assert told == have - ELSEWHERE


def test_every_room_is_in_the_manual() -> None:
    """Each package of the program stands among the rooms of mailguard-design(7)."""
    told = {tag.split()[-1] for tag in tags(sections("mailguard-design.7")["Rooms"])}
    rooms = {f"mailguard/{path.parent.name}" for path in (ROOT / "mailguard").glob("*/__init__.py")}
    assert rooms <= told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_is_told_twice(page: Path) -> None:
    """No tagged paragraph stands twice in one section."""
    for heading, body in sections(page.name).items():
        told = tags(body)
        assert sorted(set(told)) == sorted(told), heading


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


# ---------------------------------------------------------------- mailguard.toml(5)

DEFAULTS = tomllib.loads((ROOT / "mailguard" / "defaults.toml").read_text(encoding="utf-8"))


def entries(page: str, section: str) -> dict[str, str]:
    """Tag -> text of the tagged paragraphs of a section."""
    lines = sections(page)[section]
    found: dict[str, str] = {}
    for index, line in enumerate(lines):
        if line == ".TP":
            end = next((at for at in range(index + 2, len(lines)) if lines[at].startswith(".TP")), len(lines))
            tag = plain(re.sub(r"^\.[A-Z]+ ", "", lines[index + 1]))
            found[tag] = plain(" ".join(lines[index + 2 : end]))
    return found


def shown(value: object) -> str:
    """A default as the manual writes it (quotes are not compared)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {shown(one)}" for name, one in value.items()) + " }"
    return str(value)


@pytest.mark.parametrize("table", [name for name in DEFAULTS if name not in ("log", "detector")])
def test_settings_and_their_defaults_are_in_the_manual(table: str) -> None:
    """Each key of defaults.toml is in mailguard.toml(5) with its default, and no other key is."""
    told = entries("mailguard.toml.5", f"[{table}]")
    assert sorted(told) == sorted(DEFAULTS[table])
    for name, value in DEFAULTS[table].items():
        assert told[name].endswith(f"Default: {shown(value)}."), name


def test_keys_of_detectors_are_in_the_manual() -> None:
    """Each key that a shipped detector uses is told."""
    used = {key for detector in DEFAULTS["detector"].values() for key in detector}
    assert used <= set(entries("mailguard.toml.5", "[detector.NAME]"))


def test_shipped_detectors_are_in_the_manual() -> None:
    """Each shipped detector stands in the manual with its own sentence."""
    told = entries("mailguard.toml.5", "SHIPPED DETECTORS")
    assert told == {name: plain(one["about"]) for name, one in DEFAULTS["detector"].items()}


# ---------------------------------------------------------------- mailguard-parser(5)


def test_slot_types_are_in_the_manual() -> None:
    """Each slot type is told, and no other."""
    assert sorted(entries("mailguard-parser.5", "SLOT TYPES")) == sorted(slots.TYPES)


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("KEYS OF A FILE", parsertext.TOP),
        ("KEYS OF A RULE", rules.RULE),
        ("KEYS OF A LINE", (*lines.LINE, "expect", "source")),
        ("SESSIONS", (*sessions.SESSION, *sessions.USE)),
        ("DIALOGUES", dialogues.TOP),
        ("KEYS OF A COMMAND", dialogues.COMMAND),
    ],
)
def test_keys_of_parsers_are_in_the_manual(section: str, keys: tuple[str, ...]) -> None:
    """Each key that the loader takes is told, and no other."""
    assert sorted(entries("mailguard-parser.5", section)) == sorted(keys)


def test_the_example_of_the_manual_is_a_parser(tmp_path: Path) -> None:
    """The example in mailguard-parser(5) loads and passes its own tests."""
    lines = sections("mailguard-parser.5")["EXAMPLE"]
    body = "\n".join(line.replace(r"\-", "-") for line in lines[lines.index(".nf") + 1 : lines.index(".fi")])
    path = tmp_path / "example.toml"
    path.write_text(body)
    assert parsers.load_parser(path).title == "Example server"


# ---------------------------------------------------------------- mailguard-action(5)


def test_drivers_are_in_the_manual() -> None:
    """Each driver and each of its options is told, and no other."""
    assert sorted(entries("mailguard-action.5", "DRIVERS")) == sorted(actions.DRIVERS)
    for driver, options in actions.DRIVERS.items():
        if options:
            assert sorted(entries("mailguard-action.5", f"OPTIONS OF {driver.upper()}")) == sorted(options)


def test_placeholders_are_in_the_manual() -> None:
    """Each placeholder of a command is told, and no other."""
    told = entries("mailguard-action.5", "PLACEHOLDERS")
    assert sorted(told) == sorted(f"{{{name}}}" for name in actions.PLACEHOLDERS)


def test_the_example_of_the_manual_is_an_action(tmp_path: Path) -> None:
    """The example in mailguard-action(5) loads and plans what it says."""
    lines = sections("mailguard-action.5")["EXAMPLE"]
    body = "\n".join(line.replace(r"\-", "-") for line in lines[lines.index(".nf") + 1 : lines.index(".fi")])
    path = tmp_path / "router.toml"
    path.write_text(body)
    assert self_test(actions.load_action(path)) == []


# ---------------------------------------------------------------- man/notes


def test_each_note_has_a_number_of_its_own() -> None:
    """Notes are named by their numbers: none is taken twice, and the title begins with it."""
    notes = sorted((MAN / "notes").iterdir())
    numbers = [note.name[:4] for note in notes]
    assert len(set(numbers)) == len(numbers), numbers
    for note in notes:
        assert note.read_text(encoding="utf-8").startswith(f"# {note.name[:4]} "), note.name


def test_each_note_that_is_named_is_there() -> None:
    """Where code or documents name a note by number or file, there is one."""
    names = {note.name for note in (MAN / "notes").iterdir()}
    numbers = {name[:4] for name in names}
    files = [
        path
        for pattern in ("*.md", "mailguard/**/*.py", "mailguard/**/*.p[xy]*", "bench/*.*", "man/*.[578]")
        for path in ROOT.glob(pattern)
        if path.suffix not in (".so", ".pyc")
    ]
    for path in files:
        for number, rest in re.findall(
            r"man/notes/(\d{4})([\w-]*(?:\.md)?)", path.read_text(encoding="utf-8")
        ):
            assert number in numbers, f"{path.relative_to(ROOT)} names note {number}"
            assert not rest.endswith(".md") or number + rest in names, (
                f"{path.relative_to(ROOT)}: {number}{rest}"
            )
