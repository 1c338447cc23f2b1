"""Which logs there are to read: files, folders and wildcards; what each is, by its contents and not by its
name.

What cannot be read as a log is told and left out. A file that was named itself and is not there, or may not
be read, is an error of its own (OSError): whoever named it meant it.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..core.dialogue_claims import is_spoken
from ..core.envelope import Opener
from ..eventfile import form_of
from ..feeds.archives import ARCHIVES, BROKEN, is_pipe, open_packed, pipe_error
from ..feeds.exported import is_export
from ..feeds.exports import is_table
from ..feeds.interface import EPOST_LOGS, UNREAD_LOGS, LogOptions
from ..feeds.names import is_glob
from ..feeds.recorded import arrival_of
from ..model import Notice

HEAD = 1 << 16  # bytes looked at to know what a file is
LINES = 400  # lines of it that are looked at for a stamp
JOURNAL = b"LPKSHHRH"
SQLITE = b"SQLite format 3\0"
_INSIDE = re.compile(rb"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\]")
_YEARLESS = re.compile(rb"\0*(?:\d{1,6} (?=<))?(?:<\d{1,3}>)?[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d[ .,]")

#: What a source may be. "plain" alone can be cut into pieces.
PLAIN, PACKED, JOURNALED, EXPORT, STDIN, EVENTS = "plain", "packed", "journal", "export", "stdin", "events"
#: A dialogue log, packed or not: its lines mean something only after those before them.
SPOKEN = "spoken"


class Source(NamedTuple):
    """One log to read. `first`: its first stamp; `year`: the stated or found year of its first line."""

    path: str
    form: str
    arrival: float  # modification time: dates stamps without year
    size: int  # bytes on disk
    first: float | None = None
    year: int | None = None
    yearless: bool = False


@dataclass(slots=True)
class Found:
    """The logs, by name, and what there is to say about the rest."""

    sources: list[Source] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def say(self, what: str, log: str, **args: object) -> None:
        self.notices.append(Notice(what, {"log": log, **args}))


def find(paths: Sequence[str], options: LogOptions) -> Found:
    """The logs that `paths` name. Raises OSError for a file that was named and cannot be read."""
    found = Found()
    seen: set[tuple[int, int]] = set()
    contents: dict[bytes, int] = {}
    for path, named in _expand(paths, found):
        if path == "-":
            found.sources.append(Source(path, STDIN, arrival_of(path), 0, year=options.year))
            continue
        try:
            if is_pipe(os.stat(path).st_mode):
                raise pipe_error(path)
            with open(path, "rb") as file:
                state = os.fstat(file.fileno())
                head = file.read(HEAD)
        except OSError as error:
            if named:
                raise
            found.say("log-unreadable", path, why=error.strerror or str(error))
            continue
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        looked = _look(path, head, state, options, found)
        if looked is None:
            continue
        source, content = looked
        twin = contents.get(content) if content else None
        if twin is None:
            if content:
                contents[content] = len(found.sources)
            found.sources.append(source)
            continue
        other = found.sources[twin]
        kept, left = (source, other) if _prefer(source, other) else (other, source)
        found.sources[twin] = kept
        found.say("log-twice", left.path, other=kept.path)
    _without_journals(found, paths)
    return found


def _prefer(source: Source, other: Source) -> bool:
    """Of two files that begin alike the plain one is read, of two of a kind the larger."""
    return (source.form == PLAIN, source.size) > (other.form == PLAIN, other.size)


def _without_journals(found: Found, paths: Sequence[str]) -> None:
    """In a folder with both, the journal holds the lines of the files once more."""
    journals = [one for one in found.sources if one.form == JOURNALED and one.path not in paths]
    if journals and any(one.form in (PLAIN, PACKED, SPOKEN) for one in found.sources):
        found.sources = [one for one in found.sources if one not in journals]
        found.say("journals-left-out", journals[0].path, count=len(journals))


def _expand(paths: Iterable[str], found: Found) -> Iterator[tuple[str, bool]]:
    """Paths of files, in order of their names, and whether each was named itself."""
    named: dict[str, bool] = {}
    for path in paths:
        if path != "-" and os.path.isdir(path):
            inside = sorted(_inside(path))
            if not inside:
                found.say("folder-empty", path)
            for one in inside:
                named.setdefault(one, False)
        elif is_glob(path) and not os.path.lexists(path):
            matches = sorted(one for one in glob.glob(path, recursive=True))
            if not matches:
                raise FileNotFoundError(2, "no file is so named", path)
            for one in matches:
                if os.path.isdir(one):
                    named.update({each: False for each in sorted(_inside(one)) if each not in named})
                else:
                    named.setdefault(one, False)
        else:
            named[path] = True
    return iter(sorted(named.items()))


def _inside(folder: str) -> Iterator[str]:
    """The files below a folder; what begins with a dot is left out. Of a mail spool only the logs: in its
    queues are messages, and so whatever lines anybody sent."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        logs = [one for one in folders if one.lower() in EPOST_LOGS]
        if len(logs) > 1:
            folders[:], names = [one for one in logs if one.lower() not in UNREAD_LOGS], []
        for name in names:
            path = os.path.join(place, name)
            if not name.startswith(".") and os.path.isfile(path):
                yield path


def _look(
    path: str, head: bytes, state: os.stat_result, options: LogOptions, found: Found
) -> tuple[Source, bytes] | None:
    """What a file is, and a hash by which its copies are known; None where it is no log."""
    base = Source(path, PLAIN, state.st_mtime, state.st_size, year=options.year)
    for magic, name in ARCHIVES:
        if head.startswith(magic):
            found.say("log-archive", path, form=name)
            return None
    if head.startswith(JOURNAL) or path.endswith((".journal", ".journal~")):
        return base._replace(form=JOURNALED), b""
    if form_of(head) is not None:
        return base._replace(form=EVENTS), b""
    form = PLAIN
    try:
        packed = open_packed(path)
        if packed is not None:
            with packed:
                form, head = PACKED, packed.read(HEAD)
    except BROKEN as error:
        found.say("log-unreadable", path, why=str(error))
        return None
    if head[257:262] == b"ustar":
        found.say("log-archive", path, form="tar")
        return None
    if is_export(head) or is_table(head) or head.startswith(SQLITE):
        return base._replace(form=EXPORT), _hash(head)
    lines = head.split(b"\n")[:LINES]
    first = first_stamp(lines, base, options)
    if first is None and _binary(head):
        found.say("log-binary", path)
        return None
    if first is None and head.strip(b"\0\r\n "):
        found.say("log-strange", path)
    if is_spoken(head):
        form = SPOKEN
    yearless = any(_YEARLESS.match(line) for line in lines[:LINES])
    return base._replace(form=form, first=first, yearless=yearless), _hash(head)


def _hash(head: bytes) -> bytes:
    return hashlib.sha256(head).digest() if head else b""


def _binary(head: bytes) -> bool:
    """Bytes that no log of text has."""
    text = head.lstrip(b"\0")[:4096]
    return bool(text) and (b"\0" in text or sum(byte < 9 or 13 < byte < 27 for byte in text) * 20 > len(text))


def first_stamp(lines: Iterable[bytes], source: Source, options: LogOptions) -> float | None:
    """The stamp of the first line that has one; None: none has."""
    opener = Opener(zone=options.timezone)
    opener.arrive(source.arrival, False, source.year)
    for line in lines:
        opened = opener.open(line, 0, len(line))
        if opened is not None:
            return opened.time
        inside = _INSIDE.search(line)  # the whole line is the message, and the stamp stands in it
        time = None if inside is None else opener.stamp(inside[0])
        if time is not None:
            return time
    return None
