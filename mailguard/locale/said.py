"""Texts that were made in English with values in them, said in another language.

What is wrong with settings and definitions, why the firewall does not work, why nobody answers: such texts
are made where that is found, in rooms that know no language. The catalogue has the common ones under `wrong`,
with the values in braces; a text that is one of them is taken apart and put together again in the other
language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from . import ENGLISH, current, spoken

CONTEXT = "wrong"
_PARTS = 12  # texts with semicolons between them, at most
#: A place in a translation.
NAME = re.compile(r"\{([a-z_]+)\}")
_PLACE = re.compile(r"\\\{([a-z_]+)\\\}")


def said(text: str) -> str:
    """`text` in the language that is spoken, where it is known; else as it is."""
    return text if current() is None else _words(spoken())(text)


@cache
def _words(language: str) -> _Words:
    """Made once for a language."""
    assert language != ENGLISH
    return _Words()


class _Words:
    """Finds the catalogue's text for an English one that was made with values in it."""

    def __init__(self) -> None:
        catalogue = current()
        known = [] if catalogue is None else catalogue.known(CONTEXT)
        known.sort(key=lambda one: -len(NAME.sub("", one[0])))  # the most exact first
        self._exact = {english: translation for english, translation in known if not NAME.search(english)}
        #: What a text must hold to be this one, its English, its translation; patterns are made only then.
        self._known_texts = [(NAME.split(english)[::2], english, told) for english, told in known]

    def __call__(self, said: str) -> str:
        """The same in the language that is spoken; of `[general]: ...` what stands behind it, of several
        texts with semicolons between them each."""
        parts = said.split("; ")
        if 1 < len(parts) <= _PARTS and (told := self._each(parts)) is not None:
            return told
        return self._one(said) or said

    def _each(self, parts: list[str]) -> str | None:
        """Texts of which each may hold semicolons itself; None where none of them is known."""
        told, at, known = [], 0, False
        while at < len(parts):
            for end in range(at + 1, len(parts) + 1):
                piece = "; ".join(parts[at:end])
                whole = piece.count("(") == piece.count(")")
                if whole and (one := self._one(piece)) is not None:
                    told.append(one)
                    at, known = end, True
                    break
            else:
                told.append(parts[at])
                at += 1
        return "; ".join(told) if known else None

    def _one(self, said: str) -> str | None:
        """One text; None where it is not known."""
        whole = self._known(said)
        about, mark, rest = said.partition(": ")
        part = self._known(rest) if mark else None
        if part is not None and (whole is None or part[0] < whole[0]):
            return f"{about}: {part[1]}"
        return None if whole is None else whole[1]

    def _known(self, said: str) -> tuple[int, str] | None:
        """The most exact text that fits: its rank, and the translation with the values in it."""
        for rank, (parts, english, translation) in enumerate(self._known_texts):
            if all(part in said for part in parts) and (found := template(english).fullmatch(said)):
                values = found.groupdict()
                if "kind" in values:  # words of ours: "a whole number"
                    values["kind"] = self._exact.get(values["kind"], values["kind"])
                if "reason" in values:
                    values["reason"] = self._one(values["reason"]) or values["reason"]
                return rank, filled(translation, values)
        return None


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its places filled in; braces that are no place ({ network = "..." }) stay."""
    return NAME.sub(lambda place: values.get(place[1], place[0]), text)


def template(english: str) -> re.Pattern[str]:
    """What a text with places in braces matches."""
    return re.compile(_PLACE.sub(r"(?P<\1>.+?)", re.escape(english)), re.DOTALL)
