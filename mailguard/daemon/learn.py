"""The first start: rotated logs are read before the live ones, so that the guard knows who is normal here."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

from ..definitions.settings import Log
from ..feeds.interface import LogOptions
from ..feeds.names import is_glob, unrotated
from ..feeds.recorded import RecordedLog
from ..feeds.search import siblings

DAYS = 100  # older rotated files tell nothing that any window or standing needs for long
BYTES = 4 << 30  # of compressed and plain files together, newest first


def rotated_logs(logs: Iterable[tuple[Log, LogOptions]], now: float) -> list[RecordedLog]:
    """The rotated files of the logs, oldest first, at most `BYTES` of them, none older than `DAYS`.

    Files that cannot be read are left out: the live log says so itself.
    """
    found: dict[str, tuple[float, int, str, LogOptions]] = {}
    for log, options in logs:
        if log.kind != "file":
            continue
        for path in _paths(log.path):
            for sibling in siblings(path):
                modified = sibling.modified / 1e9
                if sibling.rank is not None and now - modified < DAYS * 86400 and sibling.size:
                    found[sibling.path] = (modified, sibling.size, path, options)
    chosen: list[tuple[float, str, LogOptions]] = []
    room = BYTES
    for name, (modified, size, _, options) in sorted(found.items(), key=lambda one: -one[1][0]):
        room -= size
        if room < 0:
            break
        chosen.append((modified, name, options))
    recorded = []
    for _, name, options in sorted(chosen, key=lambda one: one[0]):
        try:
            recorded.append(RecordedLog(name, options))
        except OSError:
            continue
    return recorded


def _paths(patterns: Iterable[str]) -> list[str]:
    """The current files of the patterns, without the rotated ones that a wildcard finds too."""
    paths: list[str] = []
    for pattern in patterns:
        found = glob.glob(pattern) if is_glob(pattern) else [pattern]
        names: dict[str, set[str]] = {}
        for path in found:
            names.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))
        paths += [
            path
            for path in found
            if os.path.isfile(path) and unrotated(os.path.basename(path), names[os.path.dirname(path)])
        ]
    return sorted(set(paths))
