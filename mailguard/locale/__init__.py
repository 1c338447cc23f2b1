"""In which language mailguard speaks, and its words in that language.

Every text of the program is English in the code and has a name, its *context*: `ban.done` for a sentence,
`help` for what `--help` prints, `click` for the words of click, `notice.log-back` for what the guard says of
itself, `problem` for what is wrong with a definition. A language is one catalogue in the format of gettext,
`LANGUAGE/LC_MESSAGES/mailguard.po`, read as it is: there is no compiled twin that could be older than its
source. A text that a catalogue has not is said in English.

Owns the choice of the language (`asked`, `use`). Costs nothing while English is spoken: no file is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mailguard.notation import format_duration

if TYPE_CHECKING:
    from .catalogue import Catalogue

FOLDER = Path(__file__).resolve().parent
DOMAIN = "mailguard"
ENGLISH = "en"
#: What is English without a catalogue: the languages in which the code is written.
_UNTRANSLATED = ("en", "C", "POSIX")
_UNIT = re.compile(r"([0-9]+)([dhms])")
#: A number, and behind it the word it counts.
_COUNTED = re.compile(r"\{(\w+)\}([^{}()]*)\((e?s)\)")
#: The lengths of time a catalogue writes in its own way, by the context of the text.
LENGTHS = {f"length.{unit}": "{n}" + unit for unit in "dhms"}

_spoken: Catalogue | None = None


def path_of(language: str) -> Path:
    """Where the catalogue of a language is, or would be."""
    return FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def asked(environment: Mapping[str, str]) -> str:
    """The language that the environment asks for, of those there is a catalogue for; else "en".

    As gettext does: LC_ALL, else LC_MESSAGES, else LANG names the locale; when that is not C or POSIX, the
    languages of LANGUAGE, with colons between, come before it. An empty variable counts as none. Other than
    in C programs the locale need not be installed on this host.
    """
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environment[name] for name in names if environment.get(name)), "C")
    if locale in ("C", "POSIX"):
        return ENGLISH
    for wanted in (*filter(None, environment.get("LANGUAGE", "").split(":")), locale):
        name = wanted.partition(".")[0].partition("@")[0]
        short = name.partition("_")[0]
        if short in _UNTRANSLATED:
            return ENGLISH
        for one in (name, short):
            if one.replace("_", "").isalpha() and path_of(one).is_file():
                return one
    return ENGLISH


def use(language: str) -> None:
    """Speak this language from now on; one without a catalogue is English."""
    global _spoken
    path = path_of(language)
    if language in _UNTRANSLATED or not path.is_file():
        _spoken = None
    elif _spoken is None or _spoken.language != language:
        from .catalogue import Catalogue

        _spoken = Catalogue(path, language)


def spoken() -> str:
    """The language that is spoken now: "en", or the name of a catalogue."""
    return ENGLISH if _spoken is None else _spoken.language


def current() -> Catalogue | None:
    """The catalogue in use; None: English is spoken."""
    return _spoken


def translated(context: str, english: str, number: object = None) -> str:
    """`english`, the text named `context`, in the language that is spoken; `number` chooses a plural form."""
    return english if _spoken is None else _spoken.message(context, english, number)


def counted(told: str, arguments: Mapping[str, object]) -> str:
    """English: `{count} ban(s)` as the number wants it, 1 ban or 2 bans. Other languages lack such words."""
    while found := _COUNTED.search(told):
        name, word, ending = found.groups()
        ending = "" if str(arguments.get(name)) == "1" else ending
        told = f"{told[: found.start()]}{{{name}}}{word}{ending}{told[found.end() :]}"
    return told


def length(seconds: float) -> str:
    """A length of time, exact to the second: `1h30m`, or as the language that is spoken writes it."""
    shown = format_duration(seconds)
    if _spoken is None:
        return shown
    return _UNIT.sub(
        lambda found: translated(f"length.{found[2]}", "{n}" + found[2]).format(n=found[1]), shown
    )
