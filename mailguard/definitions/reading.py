"""Strict reading of a definition file: unknown keys and wrong types become problems with their line, all at
once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..problems import Problem, ProblemsError
from .source import Document

_SHAPES = {str: '"..."', int: "3", bool: "true", list: '["...", "..."]', dict: "{ ... }"}
_TYPES = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}


def near(word: str, words: Iterable[str]) -> str:
    """ "Did you mean ...?", or the list of what there is."""
    from difflib import get_close_matches  # only for who misspelt something

    known = sorted(words)
    close = get_close_matches(word, known, 1, 0.6)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known)}."


class Reading:
    """One file being read; `problems` grows."""

    def __init__(self, document: Document, settings: bool = False):
        self.document = document
        self.settings = settings
        self.problems: list[Problem] = []
        self.whole = True  # False: something is missing, further checks would only tell what follows from it

    def problem(
        self,
        keys: tuple[str | int, ...],
        what: str,
        why: str = "",
        instead: str = "",
        whole: bool = False,
    ) -> None:
        """Note a problem at the line of `keys`. `whole`: what was read can still be checked further."""
        self.whole = self.whole and whole
        self.problems.append(Problem(self.document.where(*keys), what, why, instead, self.settings))

    def keys(
        self,
        table: dict[str, Any],
        allowed: Iterable[str],
        keys: tuple[str | int, ...],
        about: str,
        homes: Mapping[str, str] | None = None,
    ) -> None:
        """Every key of `table` must be one of `allowed`; `homes` says where others belong."""
        known = set(allowed)
        for name in table:
            if name not in known:
                instead = (homes or {}).get(name) or near(name, known)
                self.problem((*keys, name), f"{about}: unknown key {name!r}", instead=instead, whole=True)

    def get(
        self,
        table: dict[str, Any],
        name: str,
        kind: type,
        default: Any,
        keys: tuple[str | int, ...],
        about: str,
    ) -> Any:
        """The value of a key when it has the right type, else `default` (a wrong type is a problem)."""
        if name not in table:
            return default
        value = table[name]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            shape = f"[{name}]" if kind is dict and not keys else f"{name} = {_SHAPES[kind]}"
            self.problem((*keys, name), f"{about}: {name} must be {_TYPES[kind]}", instead=f"Write {shape}.")
            return default
        return value

    def need(
        self, table: dict[str, Any], name: str, kind: type, keys: tuple[str | int, ...], about: str
    ) -> Any:
        """As `get`, and a missing key is a problem too; None then."""
        if name not in table:
            self.problem(keys, f"{about}: {name} is missing")
            return None
        return self.get(table, name, kind, None, keys, about)

    def texts(
        self, table: dict[str, Any], name: str, keys: tuple[str | int, ...], about: str
    ) -> tuple[str, ...]:
        """A list of texts; a single text counts as a list of one."""
        value = table.get(name, [])
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.problem(
                (*keys, name),
                f"{about}: {name} must be a list of texts",
                instead=f'Write {name} = ["...", "..."].',
            )
            return ()
        return tuple(value)

    def tables(
        self, table: dict[str, Any], name: str, keys: tuple[str | int, ...], about: str
    ) -> list[dict[str, Any]]:
        """A list of tables (`[[name]]`)."""
        value = table.get(name, [])
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.problem((*keys, name), f"{about}: {name} must be tables: [[{name}]]")
            return []
        return value

    def raise_any(self) -> None:
        """Raise ProblemsError when there is a problem."""
        if self.problems:
            raise ProblemsError(self.problems)
