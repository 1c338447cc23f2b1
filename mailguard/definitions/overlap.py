"""Logs that name the same file: each line of it would count twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from .options import Log


def read_twice(logs: Sequence[Log]) -> Iterator[tuple[str, str, str]]:
    """The paths that a later log has in common with an earlier one, each with the names of both.

    Two different patterns are not compared; within one log a file is read once, however it is named.
    """
    for at, log in enumerate(logs):
        if log.kind not in ("file", "epost"):
            continue
        for path in log.path:
            for other in logs[:at]:
                if other.kind == log.kind and any(_same(path, one) for one in other.path):
                    yield path, other.name, log.name
                    break


def _same(one: str, other: str) -> bool:
    """Whether two paths, of which one may be a pattern, name the same file."""
    a, b = PurePosixPath(one), PurePosixPath(other)
    return a == b or a.match(other) or b.match(one)
