"""Reads what E-Post's folders hold, for `audit`, `bans` and `why`. Changes nothing; what cannot be read is
said.

Names of files and folders may differ in case on shares of Windows hosts; the first that fits is taken.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

#: Bytes of one control file that are read; tables of 50,000 rows have less than two million.
LARGEST = 64 << 20
#: Bytes from the end of each of the newest dialogue logs.
DIALOGUE = 8 << 20
_DIALOGUES = 2
_DAY_FILE = re.compile(r"\d{6}(?:\d{2}){0,2}\.log\Z", re.IGNORECASE)
_COUNTER = re.compile(r"[0-9A-Fa-f.$:]{3,45}\.(?:smtp|imap|pop3?)\Z", re.IGNORECASE)
#: Bytes of a counter file that are read.
_DIGITS = 20
#: Mailboxes that are looked into.
_MAILBOXES = 20_000


@dataclass(frozen=True, slots=True)
class Content:
    """A file: its bytes and when it was changed, or why it could not be read ("" with no data: not there)."""

    path: str
    data: bytes | None = None
    changed: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Counters:
    """Counter files of lock-outs in one place."""

    number: int = 0
    highest: int = 0
    newest: float = 0.0


@dataclass(slots=True)
class Spool:
    """What a spool tells beyond its logs. `logs`: name of a log -> when it last grew (0: it has no file)."""

    path: str
    personal: list[Content] = field(default_factory=list)
    authlock: Counters = field(default_factory=Counters)
    iplock: Counters = field(default_factory=Counters)
    logs: dict[str, float] = field(default_factory=dict)
    dialogues: list[Content] = field(default_factory=list)
    servers: set[str] = field(default_factory=set)  # names that acceptlog gives this server
    closed: list[str] = field(default_factory=list)  # folders that this user may not look into
    errors: list[str] = field(default_factory=list)


def control_file(folder: str, name: str) -> Content:
    """One file of the program folder."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        path = next((str(one) for one in _entries(folder) if one.name.lower() == name.lower()), path)
    return _content(path)


def _content(path: str, last: int | None = None) -> Content:
    """A regular file; a pipe or device in its place is not waited for."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb") as file:
            known = os.fstat(file.fileno())
            if not stat.S_ISREG(known.st_mode):
                return Content(path, error="it is no regular file")
            if last is not None and known.st_size > last:
                file.seek(known.st_size - last)
                file.readline()
            return Content(path, file.read(LARGEST if last is None else last), known.st_mtime)
    except FileNotFoundError:
        return Content(path)
    except OSError as error:
        return Content(path, error=error.strerror or str(error))


def _entries(folder: str | Path, closed: list[str] | None = None) -> list[Path]:
    """What is in a folder; nothing where it is none. `closed` takes it where this user may not look."""
    if closed is not None and os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
        closed.append(str(folder))
        return []
    try:
        return sorted(Path(folder).iterdir())
    except OSError:
        return []


def _grew(path: Path) -> float:
    """When a file was changed last; 0.0 where it is gone or cannot be looked at."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _below(folder: str | Path, name: str) -> Path:
    return next((one for one in _entries(folder) if one.name.lower() == name), Path(folder) / name)


def spool(path: str, logs: tuple[str, ...]) -> Spool:
    """A spool folder; `logs`: the names of its log folders."""
    found = Spool(path)
    if not _entries(path):
        found.errors.append(path)
        return found
    counted = []
    closed = found.closed
    for mailbox in _entries(_below(path, "inbox"), closed)[:_MAILBOXES]:
        personal = _below(mailbox, "effect.dat") if os.path.isdir(mailbox) else mailbox / "effect.dat"
        if os.path.isfile(personal):
            found.personal.append(_content(str(personal)))
        counted += list(_counters(mailbox, closed))
    counted += list(_counters(_below(path, "authlock"), closed))
    found.authlock = _sum(counted)
    found.iplock = _sum(list(_counters(_below(path, "iplock"), closed)))
    for name in logs:
        before = len(closed)
        files = day_files(_below(path, name), closed)
        if files or len(closed) == before:  # else nobody knows whether it is written
            found.logs[name] = max(map(_grew, files), default=0.0)
    for one in _newest(_below(path, "receivelog"), _DIALOGUES):
        found.dialogues.append(_content(str(one), DIALOGUE))
    for one in _newest(_below(path, "acceptlog"), 1):
        data = _content(str(one), 1 << 20).data or b""
        names = re.findall(rb"^\[[^\]]*\], \(([A-Za-z0-9.-]{1,253})\)", data, re.MULTILINE)
        found.servers |= {name.decode("ascii").lower() for name in names}
    return found


def day_files(folder: Path, closed: list[str] | None = None) -> list[Path]:
    """The day-named files of a log, directly below and in folders of computers; `closed`: see `_entries`."""
    files = []
    for one in _entries(folder, closed):
        below = _entries(one, closed) if os.path.isdir(one) else [one]
        files += [each for each in below if _DAY_FILE.match(each.name)]
    return files


def _newest(folder: Path, number: int) -> list[Path]:
    return sorted(day_files(folder), key=_grew)[-number:]


def _counters(folder: Path, closed: list[str]) -> Iterator[tuple[int, float]]:
    """(count, when) of each counter file in a folder."""
    for one in _entries(folder, closed):
        if _COUNTER.match(one.name):
            with suppress(ValueError):
                content = _content(str(one), _DIGITS)
                if content.data is not None:
                    yield int(content.data.strip() or b"0"), content.changed


def _sum(counted: list[tuple[int, float]]) -> Counters:
    highest = max((count for count, _ in counted), default=0)
    return Counters(len(counted), highest, max((at for _, at in counted), default=0.0))


def same_path(path: str) -> str:
    """One text for a file, however its folder was written."""
    return os.path.abspath(path)


def own_rows(state: str) -> dict[str, set[tuple[int, bytes]]] | None:
    """By table (see `same_path`): place and first line of each row in force that mailguard wrote; None: it
    cannot be known."""
    folder = os.path.dirname(state) or "/"
    if not os.path.exists(state):
        hidden = os.path.isdir(folder) and not os.access(folder, os.X_OK)
        return None if hidden else {}
    found: dict[str, set[tuple[int, bytes]]] = {}
    try:
        with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True, timeout=2.0)) as db:
            for file, place, data in db.execute("SELECT file, place, data FROM slots WHERE live"):
                text = bytes(data).partition(b"\n")[0].rstrip(b"\r")
                found.setdefault(same_path(file), set()).add((place, text))
    except sqlite3.Error:
        return None
    return found
