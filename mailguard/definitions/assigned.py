"""Settings given one by one as `KEY=VALUE`, laid over those of a file and checked like them.

The key is dotted, as in TOML (`detector.password-guessing.count`); the value is TOML too, and what is no
TOML is text (`10m`). The cases of a detector are the tests of its own threshold: of one that is changed
here they are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..problems import Problem, ProblemsError
from .source import Document, Keys

_KEY = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\Z")


class Assigned(Document):
    """Assignments as a document; a problem names the assignment."""

    def where(self, *keys: str | int) -> str:
        while keys and keys not in self.lines:
            keys = keys[:-1]
        texts = self.text.split("\n")
        return f"{self.path} {texts[self.lines[keys]]}" if keys else self.path


def assigned(texts: Iterable[str], option: str = "--set") -> Assigned:
    """The document of `KEY=VALUE` texts; the last of two that set the same key counts. Raises ProblemsError
    with every one that is none."""
    data: dict[str, Any] = {}
    lines: dict[Keys, int] = {}
    kept: list[str] = []
    problems: list[Problem] = []
    for text in texts:
        key, sign, value = (part.strip() for part in text.replace("\n", " ").partition("="))
        problem = None
        if not sign or not _KEY.match(key):
            problem = "is no KEY=VALUE", "Write it like detector.password-guessing.count=3."
        elif not _put(data, lines, key.split("."), _value(value), len(kept)):
            problem = "contradicts another assignment", "A key is either a table or a value."
        if problem is not None:
            problems.append(Problem(f"{option} {text}", problem[0], instead=problem[1], settings=True))
        kept.append(text.replace("\n", " "))
    if problems:
        raise ProblemsError(problems)
    detectors = data.get("detector")
    for detector in detectors.values() if isinstance(detectors, dict) else ():
        if isinstance(detector, dict):
            detector.setdefault("case", [])
    return Assigned(option, data, lines, "\n".join(kept))


def _value(text: str) -> Any:
    import tomllib  # most runs assign nothing

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError, KeyError):
        return text


def _put(data: dict[str, Any], lines: dict[Keys, int], names: list[str], value: Any, line: int) -> bool:
    """Set one key; False where something on the way to it, or it itself, is of the other sort."""
    table = data
    keys: Keys = ()
    for name in names[:-1]:
        keys += (name,)
        lines[keys] = line
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return False
    if isinstance(table.get(names[-1]), dict) and not isinstance(value, dict):
        return False
    table[names[-1]] = value
    lines[(*keys, names[-1])] = line
    return True
