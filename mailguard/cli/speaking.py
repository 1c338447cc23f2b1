"""In which language a command speaks, and how click is made to speak it too.

Settled here, before anything is said: the language (`[general] language`, else the environment), what the
terminal can show, and the words of click itself. Machine formats (`-o plain`, `json`, `csv` and the others)
are the same in every language: they are written in English.
"""

from __future__ import annotations

import codecs
import gettext
import inspect
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from mailguard import locale
from mailguard.locale import ENGLISH, translated

from .config import general, settings_path

#: Forms of output for programs: nobody's language.
MACHINE_FORMS = frozenset({"plain", "json", "csv", "jsonl", "parquet"})
AUTO = "auto"
#: What Python itself writes into LC_CTYPE where the locale is not installed (PEP 538): nobody asked for it.
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
_OWN = "_mailguard_english"  # the attribute of a click object that keeps its English text


def begin(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Settle the language of this command. Never fails: whatever is wrong, English is spoken."""
    environment = os.environ if environment is None else environment
    _bendable()
    locale.use(language(arguments, environment))
    if locale.spoken() != ENGLISH and not _shown(environment):
        locale.use(ENGLISH)
    if locale.spoken() == ENGLISH:
        click.Context.formatter_class = click.HelpFormatter
        return
    from .wide import WideFormatter

    click.Context.formatter_class = WideFormatter
    _teach_click()


def language(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """The language to speak: English in machine formats, else that of the settings, else that of the
    environment."""
    if MACHINE_FORMS.intersection(_values(arguments, "-o", "--output")):
        return ENGLISH
    named = next(iter(_values(arguments, "", "--config")), None)
    told = general(settings_path(named)).get("language", AUTO)
    return told if isinstance(told, str) and told != AUTO else locale.asked(environment)


def _values(arguments: Sequence[str], short: str, long: str) -> list[str]:
    """What was given for an option, before click has read the command line."""
    found = []
    for at, word in enumerate(arguments):
        if word == "--":
            break
        if word in (short, long) and at + 1 < len(arguments):
            found.append(arguments[at + 1])
        elif word.startswith(long + "="):
            found.append(word[len(long) + 1 :])
        elif short and word.startswith(short):
            found.append(word[len(short) :])
    return found


# ---------------------------------------------------------------- what a terminal can show


def _bendable() -> None:
    """A character that the terminal has not is written as its number; it never ends a command."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _shown(environment: Mapping[str, str]) -> bool:
    """Whether standard output and standard error can carry the language. Where the locale names a character
    set (ja_JP.eucJP) but is not installed, Python writes UTF-8; then that set is used all the same."""
    catalogue = locale.current()
    sample = "" if catalogue is None else catalogue.message("language.name", "English")
    wanted = _charset(environment)
    for stream in (sys.stdout, sys.stderr):
        if wanted and isinstance(stream, io.TextIOWrapper) and _codec(stream.encoding) == "utf-8":
            stream.reconfigure(encoding=wanted, errors="backslashreplace")
        try:
            sample.encode(getattr(stream, "encoding", None) or "utf-8")
        except (UnicodeEncodeError, LookupError):
            return False
    return True


def _charset(environment: Mapping[str, str]) -> str:
    """The character set that the locale names, "" where it names none, UTF-8 or one that Python has not; or
    where Python was told another."""
    if environment.get("PYTHONIOENCODING") or environment.get("PYTHONUTF8"):
        return ""
    told = [environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if told[1] in _COERCED:
        del told[1]
    named = next(filter(None, told), "")
    codec = _codec(named.partition(".")[2].partition("@")[0])
    return "" if codec == "utf-8" else codec


def _codec(name: str) -> str:
    try:
        return codecs.lookup(name).name if name else ""
    except LookupError:
        return ""


# ---------------------------------------------------------------- click


def _said(message: str) -> str:
    return translated("click", message)


def _counted(one: str, many: str, number: int) -> str:
    catalogue = locale.current()
    if catalogue is None:
        return gettext.ngettext(one, many, number)
    return catalogue.npgettext("click", one, many, number)


def _teach_click() -> None:
    """Let the modules of click ask this catalogue. They ask gettext for the domain `messages`, which finds
    compiled catalogues of the whole program only."""
    taught: dict[Any, Callable[..., str]] = {gettext.gettext: _said, gettext.ngettext: _counted}
    for name, module in list(sys.modules.items()):
        if name.startswith("click."):
            for word in ("_", "ngettext"):
                if (mine := taught.get(getattr(module, word, None))) is not None:
                    setattr(module, word, mine)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a help text, each as one line: so they stand in the catalogue."""
    return [" ".join(one.split()) for one in inspect.cleandoc(text).split("\n\n")]


def helped(text: str) -> str:
    """A help text in the language that is spoken; a paragraph without translation stays English."""
    told = []
    for one in paragraphs(text):
        mine = translated("help", one)
        told.append(mine if mine != one else translated("click", one))
    return "\n\n".join(told)


def localize(command: click.Command) -> None:
    """Put the help of a command, its options and its subcommands into the language that is spoken. The
    English stays with each, so that it can be done again for another language."""
    if locale.spoken() == ENGLISH and not hasattr(command, _OWN):
        return
    own = vars(command).setdefault(_OWN, (command.help, command.short_help))
    speaks = locale.spoken() != ENGLISH
    command.help = helped(own[0]) if speaks and own[0] else own[0]
    command.short_help = first_sentence(command.help) if speaks and command.help else own[1]
    if vars(command).get("_help_option") is not None:  # click keeps it in the language that was spoken then
        vars(command)["_help_option"] = None
    for parameter in command.params:
        text = vars(parameter).setdefault(_OWN, getattr(parameter, "help", None))
        if text:
            vars(parameter)["help"] = helped(text) if speaks else text
    if isinstance(command, click.Group):
        for one in command.commands.values():
            localize(one)


def first_sentence(text: str) -> str:
    """What stands of a help text in a list of commands."""
    first = text.split("\n\n")[0]
    head, stop, _ = first.partition("。")
    return head if stop else first
