"""What is wrong with settings and definitions, in the language that is spoken.

A problem's texts are made where the mistake is found, in English. The catalogue has the common ones under
`wrong`, with the values in braces; a text that is one of them is taken apart and said in the other language.
The rest stays English between translated labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mailguard import locale
from mailguard.problems import Problem

from .messages import text

#: A place in a translation.
NAME = re.compile(r"\{([a-z_]+)\}")
_PLACE = re.compile(r"\\\{([a-z_]+)\\\}")


def told(problems: Iterable[Problem]) -> str:
    """The problems as an administrator reads them."""
    if locale.current() is None:
        return "\n".join(str(problem) for problem in problems)
    words = _Words()
    return "\n".join(_one(problem, words) for problem in problems)


def said(words: str) -> str:
    """A text that was made outside the command line, in the language that is spoken where it is known."""
    return words if locale.current() is None else _Words()(words)


def _one(problem: Problem, words: _Words) -> str:
    lines = [text("problem.what", where=problem.where, what=words(problem.what))]
    for name, said in (("why", problem.why), ("instead", problem.instead)):
        if said:
            frame = text(f"problem.{name}", **{name: "{}"})
            margin = "\n" + " " * _columns(frame.partition("{}")[0])
            lines.append(frame.format(words(said).replace("\n", margin)))
    return "\n".join(lines)


def _columns(label: str) -> int:
    from .output import columns

    return columns(label)


class _Words:
    """Finds the catalogue's text for an English one that was made with values in it."""

    def __init__(self) -> None:
        catalogue = locale.current()
        known = [] if catalogue is None else catalogue.known("wrong")
        known.sort(key=lambda one: -len(_PLACE.sub("", re.escape(one[0]))))  # the most exact first
        self._exact = {english: translation for english, translation in known if not NAME.search(english)}
        self._patterns = [(template(english), translation) for english, translation in known]

    def __call__(self, said: str) -> str:
        """The same in the language that is spoken; of `[general]: ...` what stands behind it."""
        whole = self._known(said)
        about, mark, rest = said.partition(": ")
        part = self._known(rest) if mark else None
        if part is not None and (whole is None or part[0] < whole[0]):
            return f"{about}: {part[1]}"
        return said if whole is None else whole[1]

    def _known(self, said: str) -> tuple[int, str] | None:
        """The most exact text that fits: its rank, and the translation with the values in it."""
        for rank, (pattern, translation) in enumerate(self._patterns):
            if found := pattern.fullmatch(said):
                values = found.groupdict()
                if "kind" in values:  # words of ours: "a whole number"
                    values["kind"] = self._exact.get(values["kind"], values["kind"])
                return rank, filled(translation, values)
        return None


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its places filled in; braces that are no place ({ network = "..." }) stay."""
    return NAME.sub(lambda place: values.get(place[1], place[0]), text)


def template(english: str) -> re.Pattern[str]:
    """What a text with places in braces matches."""
    return re.compile(_PLACE.sub(r"(?P<\1>.+?)", re.escape(english)), re.DOTALL)
