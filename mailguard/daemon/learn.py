"""The first start: rotated and earlier logs are read before the live ones, so that the guard knows who is
normal here."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from ..definitions.settings import Log
from ..feeds.interface import LogOptions
from ..feeds.listing import Listings
from ..feeds.names import day, is_glob, unrotated
from ..feeds.recorded import RecordedLog
from ..feeds.search import siblings

DAYS = 100  # older rotated files tell nothing that any window or standing needs for long
EPOCH = 946684800.0  # 2000-01-01 UTC, from which names of day-named files are counted
EARLIER = 2 * 86400.0  # stamps are no more before the day of the file's name, in any zone
FOLLOWED = 2  # day-named files of a folder that the feed reads itself
BYTES = 4 << 30  # of compressed and plain files together, newest first


def rotated_logs(logs: Iterable[tuple[Log, LogOptions]], now: float) -> list[RecordedLog]:
    """The rotated files of the logs and the day-named ones that are not followed any more, oldest first, at
    most `BYTES` of them, none older than `DAYS`.

    Files that cannot be read are left out: the live log says so itself.
    """
    found: dict[str, tuple[float, int, str, LogOptions]] = {}
    listings = Listings()
    for log, options in logs:
        if log.kind not in ("file", "epost"):
            continue
        for path in _earlier_days(log, options):
            with suppress(OSError):
                state = os.stat(path)
                if now - state.st_mtime < DAYS * 86400 and state.st_size:
                    found[path] = (state.st_mtime, state.st_size, path, options)
        for path in _paths(log.path) if log.kind == "file" else ():
            for sibling in siblings(path, forms=True, listings=listings):
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
            log_file = RecordedLog(name, options)
        except OSError:
            continue
        hours = day(os.path.basename(name))
        if hours is not None:  # so that a year of them is not open together
            log_file.begins = EPOCH + hours * 3600.0 - EARLIER
        recorded.append(log_file)
    return recorded


def _earlier_days(log: Log, options: LogOptions) -> Iterator[str]:
    """The day-named files of the log's folders, but for the newest two of each, which are followed."""
    for folder in _day_folders(log, options):
        names: list[tuple[int, str]] = []
        with suppress(OSError):
            names = sorted((value, name) for name in os.listdir(folder) if (value := day(name)) is not None)
        for _, name in names[:-FOLLOWED]:
            yield os.path.join(folder, name)


def _day_folders(log: Log, options: LogOptions) -> Iterator[str]:
    """Folders of day-named files: those that the settings name, or E-Post's below the spool, with and without
    the computer's name."""
    if log.kind == "file":
        yield from (path for path in log.path if os.path.isdir(path))
        return
    for root in log.path:
        for name in options.logs:
            folder = os.path.join(root, name)
            yield folder
            with suppress(OSError), os.scandir(folder) as entries:
                yield from sorted(entry.path for entry in entries if entry.is_dir())


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
