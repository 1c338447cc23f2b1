"""A gettext catalogue read from its source: `mailguard.po`.

It is a `gettext.GNUTranslations` (so `ngettext`, plural rules and all else are the standard library's) that
reads the text format of PO files instead of the compiled one. Of that format it understands comments,
`msgctxt`, `msgid`, `msgid_plural`, `msgstr`, `msgstr[N]` and strings over several lines; entries marked
`fuzzy`, obsolete ones (`#~`) and empty translations are left out, as msgfmt leaves them out.
"""

from __future__ import annotations

import gettext
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CONTEXT = "\x04"  # between context and text, as in compiled catalogues
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "r": "\r", "b": "\b", "a": "\a", "f": "\f", "v": "\v"}


@dataclass(slots=True)
class Entry:
    """One text: its name, the English (with its plural, if it has one), the translations by plural form."""

    line: int
    context: str | None = None
    english: str = ""
    plural: str | None = None
    told: dict[int, str] = field(default_factory=dict)
    fuzzy: bool = False

    @property
    def translation(self) -> str:
        return self.told.get(0, "")


class CatalogueError(ValueError):
    """A catalogue that cannot be read: the file, the line and what is wrong there."""


def entries(content: str, name: str = "catalogue") -> Iterator[Entry]:
    """The entries in the order of the file; the first, without English, is the header. CatalogueError: it is
    no PO file."""
    entry: Entry | None = None
    place = ""  # which string of the entry is being read
    fuzzy = False
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
            continue
        if line.startswith('"'):
            if entry is None or not place:
                raise CatalogueError(f"{name}:{number}: a string that belongs to nothing")
            _append(entry, place, _string(line, name, number))
            continue
        keyword, _, rest = line.partition(" ")
        begins = keyword == "msgctxt" or (keyword == "msgid" and place != "msgctxt")
        if begins:
            if entry is not None:
                yield entry
            entry, fuzzy = Entry(number, fuzzy=fuzzy), False
        if entry is None or not keyword.startswith(("msgctxt", "msgid", "msgstr")):
            raise CatalogueError(f"{name}:{number}: neither msgctxt, msgid nor msgstr: {line}")
        place = keyword
        _append(entry, place, _string(rest.strip(), name, number))
    if entry is not None:
        yield entry


def _append(entry: Entry, place: str, text: str) -> None:
    if place == "msgctxt":
        entry.context = (entry.context or "") + text
    elif place == "msgid":
        entry.english += text
    elif place == "msgid_plural":
        entry.plural = (entry.plural or "") + text
    else:
        form = int(place[7:-1]) if place.startswith("msgstr[") else 0
        entry.told[form] = entry.told.get(form, "") + text


def _string(quoted: str, name: str, number: int) -> str:
    """The text between the quotes, its escapes undone."""
    if len(quoted) < 2 or quoted[0] != '"' or quoted[-1] != '"':
        raise CatalogueError(f"{name}:{number}: no string in quotes: {quoted}")
    body = quoted[1:-1]
    if "\\" not in body:
        return body
    parts = iter(body)
    return "".join(_ESCAPES.get(next(parts, "\\"), "?") if char == "\\" else char for char in parts)


class Catalogue(gettext.GNUTranslations):
    """All texts of one language."""

    plural: Callable[[int], int]

    def __init__(self, path: Path, language: str):
        self.path = path
        self.language = language
        with path.open("rb") as file:
            super().__init__(file)

    def _parse(self, fp: Any) -> None:
        """See gettext.NullTranslations: reads the catalogue from a binary file."""
        catalog: dict[Any, str] = {}
        self._info: dict[str, str] = {}
        self.plural = lambda n: int(n != 1)
        rest = []
        for block in fp.read().decode("utf-8").split("\n\n"):
            # Nearly all entries are three lines without escapes; these are read in a tenth of the time.
            if block.count("\n") == 2 and block.startswith('msgctxt "') and "\\" not in block:
                name, english, told = block.split("\n")
                if english.startswith('msgid "') and told.startswith('msgstr "'):
                    if told != 'msgstr ""':
                        catalog[name[9:-1] + _CONTEXT + english[7:-1]] = told[8:-1]
                    continue
            rest.append(block)
        for entry in entries("\n\n".join(rest), str(self.path)):
            if not entry.english and entry.context is None:
                self._header(entry.translation)
            elif not entry.fuzzy:
                name = entry.english if entry.context is None else entry.context + _CONTEXT + entry.english
                for form, told in entry.told.items():
                    if told:
                        catalog[name if entry.plural is None else (name, form)] = told
        self._catalog = catalog

    def _header(self, header: str) -> None:
        for line in header.splitlines():
            key, _, value = line.partition(":")
            self._info[key.strip().lower()] = value.strip()
            if key.strip().lower() == "plural-forms" and "plural=" in value:
                rule = value.partition("plural=")[2].strip().rstrip(";")
                if rule != "0":  # one form for every number needs no rule
                    self.plural = gettext.c2py(rule)
                else:
                    self.plural = lambda n: 0

    def message(self, context: str, english: str, number: object = None) -> str:
        """The text named `context`, in the plural form for `number` where it has any; else in English."""
        name = context + _CONTEXT + english
        told: str | None = self._catalog.get(name)
        if told is None and isinstance(number, int):
            told = self._catalog.get((name, self.plural(number)))
        return english if told is None else told

    def known(self, context: str) -> list[tuple[str, str]]:
        """English and translation of every text with that context."""
        begin = context + _CONTEXT
        return [
            (name.removeprefix(begin), told)
            for name, told in self._catalog.items()
            if isinstance(name, str) and name.startswith(begin)
        ]
