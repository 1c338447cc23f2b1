"""What is wrong with settings and definitions, in the language that is spoken.

The labels always; of the texts those that `mailguard.locale.said` knows. The rest stays English between them.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailguard import locale
from mailguard.locale.said import said
from mailguard.problems import Problem

from .messages import text


def told(problems: Iterable[Problem]) -> str:
    """The problems as an administrator reads them."""
    if locale.current() is None:
        return "\n".join(str(problem) for problem in problems)
    return "\n".join(_one(problem) for problem in problems)


def _one(problem: Problem) -> str:
    lines = [text("problem.what", where=problem.where, what=said(problem.what))]
    for name, words in (("why", problem.why), ("instead", problem.instead)):
        if words:
            frame = text(f"problem.{name}", **{name: "{}"})
            margin = "\n" + " " * _columns(frame.partition("{}")[0])
            lines.append(frame.format(said(words).replace("\n", margin)))
    return "\n".join(lines)


def _columns(label: str) -> int:
    from .output import columns

    return columns(label)
