"""Reads what E-Post's folders hold, for `audit`, `bans` and `why`. Changes nothing; what cannot be read is
said.

Names of files and folders may differ in case on shares of Windows hosts; the first that fits is taken.
"""

from __future__ import annotations

import os
import re
import sqlite3
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
    errors: list[str] = field(default_factory=list)


def control_file(folder: str, name: str) -> Content:
    """One file of the program folder."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        path = next((str(one) for one in _entries(folder) if one.name.lower() == name.lower()), path)
    return _content(path)


def _content(path: str, last: int | None = None) -> Content:
    try:
        with open(path, "rb") as file:
            known = os.fstat(file.fileno())
            if last is not None and known.st_size > last:
                file.seek(known.st_size - last)
                file.readline()
            return Content(path, file.read(LARGEST if last is None else last), known.st_mtime)
    except FileNotFoundError:
        return Content(path)
    except OSError as error:
        return Content(path, error=error.strerror or str(error))


def _entries(folder: str | Path) -> list[Path]:
    try:
        return sorted(Path(folder).iterdir())
    except OSError:
        return []


def _below(folder: str | Path, name: str) -> Path:
    return next((one for one in _entries(folder) if one.name.lower() == name), Path(folder) / name)


def spool(path: str, logs: tuple[str, ...]) -> Spool:
    """A spool folder; `logs`: the names of its log folders."""
    found = Spool(path)
    if not _entries(path):
        found.errors.append(path)
        return found
    counted = []
    for mailbox in _entries(_below(path, "inbox"))[:_MAILBOXES]:
        personal = _below(mailbox, "effect.dat") if mailbox.is_dir() else mailbox / "effect.dat"
        if personal.is_file():
            found.personal.append(_content(str(personal)))
        counted += list(_counters(mailbox))
    counted += list(_counters(_below(path, "authlock")))
    found.authlock = _sum(counted)
    found.iplock = _sum(list(_counters(_below(path, "iplock"))))
    for name in logs:
        files = day_files(_below(path, name))
        found.logs[name] = max((one.stat().st_mtime for one in files), default=0.0)
    for one in _newest(_below(path, "receivelog"), _DIALOGUES):
        found.dialogues.append(_content(str(one), DIALOGUE))
    for one in _newest(_below(path, "acceptlog"), 1):
        data = _content(str(one), 1 << 20).data or b""
        names = re.findall(rb"^\[[^\]]*\], \(([A-Za-z0-9.-]{1,253})\)", data, re.MULTILINE)
        found.servers |= {name.decode("ascii").lower() for name in names}
    return found


def day_files(folder: Path) -> list[Path]:
    """The day-named files of a log, directly below and in folders of computers."""
    files = []
    for one in _entries(folder):
        below = _entries(one) if one.is_dir() else [one]
        files += [each for each in below if _DAY_FILE.match(each.name)]
    return files


def _newest(folder: Path, number: int) -> list[Path]:
    return sorted(day_files(folder), key=lambda one: one.stat().st_mtime)[-number:]


def _counters(folder: Path) -> Iterator[tuple[int, float]]:
    """(count, when) of each counter file in a folder."""
    for one in _entries(folder) if folder.is_dir() else ():
        if _COUNTER.match(one.name):
            with suppress(OSError, ValueError):
                yield int(one.read_bytes()[:20].strip() or b"0"), one.stat().st_mtime


def _sum(counted: list[tuple[int, float]]) -> Counters:
    highest = max((count for count, _ in counted), default=0)
    return Counters(len(counted), highest, max((at for _, at in counted), default=0.0))


def own_rows(state: str) -> dict[str, set[tuple[int, bytes]]] | None:
    """By table: place and first line of each row in force that mailguard wrote; None: it cannot be known."""
    folder = os.path.dirname(state) or "/"
    if not os.path.exists(state):
        hidden = os.path.isdir(folder) and not os.access(folder, os.X_OK)
        return None if hidden else {}
    found: dict[str, set[tuple[int, bytes]]] = {}
    try:
        with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True, timeout=2.0)) as db:
            for file, place, data in db.execute("SELECT file, place, data FROM slots WHERE live"):
                text = bytes(data).partition(b"\n")[0].rstrip(b"\r")
                found.setdefault(file, set()).add((place, text))
    except sqlite3.Error:
        return None
    return found
