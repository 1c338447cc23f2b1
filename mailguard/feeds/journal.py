"""The systemd journal as a live source and as a recorded log.

Through libsystemd; where that is missing, said once, through a `journalctl` pipe. The saved position is a
cursor.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, Protocol

from mailguard.clock import Clock
from mailguard.feeds.entries import FIELDS, Reader, unit_patterns
from mailguard.feeds.interface import LogOptions, LogStatus, Saved
from mailguard.feeds.journalctl import HEAD, Pipe
from mailguard.feeds.libsystemd import NOP, Journal, LibraryMissingError
from mailguard.feeds.lines import Arena
from mailguard.feeds.names import is_glob
from mailguard.feeds.wait import Timer, Wait
from mailguard.feeds.watch import Watchers
from mailguard.model import Item, Notice, Records

_BATCH = 1024  # entries handed out at once
_LOOK = 10.0  # seconds between looks without being woken
_LOOK_FILES = 2.0  # the same where single files are read, which may be rotated away and made anew
_RETRY = 5.0  # seconds until a journal that cannot be read is tried again
_TIME = re.compile(rb"(?:^|;)t=([0-9a-f]{1,16})(?:;|$)")
_NAMES = tuple((name, name.encode()) for name in FIELDS)
_PLACES = ("/var/log/journal", "/run/log/journal")


class Entries(Protocol):
    """A way to read journal entries."""

    cursor: bytes
    ended: bool

    def fileno(self) -> int: ...

    def take(self, limit: int) -> tuple[list[tuple[dict[str, bytes], int]], bool]:
        """Entries that are there (at most about `limit`), and whether more may be. Raises OSError."""

    def close(self) -> None: ...


class Library:
    """Entries through libsystemd. Raises LibraryMissingError; OSError for a journal that cannot be read."""

    def __init__(
        self,
        files: tuple[str, ...] = (),
        folder: str = "",
        matches: list[tuple[str, str]] | None = None,
        cursor: bytes = b"",
        start: str = "end",
    ):
        self.cursor = cursor
        self.ended = False
        self.missed = False  # entries after the cursor are gone
        self._journal = journal = Journal(files, folder)
        try:
            for field, text in matches or []:
                journal.match(field, text)
            self._pending = False  # the journal stands on an entry that was not handed out
            self._seek(start)
        except OSError:
            journal.close()
            raise

    def _seek(self, start: str) -> None:
        journal = self._journal
        if self.cursor == HEAD:
            start = "begin"
        elif self.cursor:
            try:
                journal.call("seek_cursor", self.cursor)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self.missed = True  # not a cursor: begin as if there were none
                self.cursor = b""
            else:
                if journal.step():
                    self._pending = not journal.call("test_cursor", self.cursor)
                    time = _TIME.search(self.cursor)
                    self.missed = self._pending and time is not None and journal.oldest() > int(time[1], 16)
                return
        if start == "end":
            journal.call("seek_tail")
            if journal.call("previous"):  # an empty journal has no end to stand at
                self.cursor = journal.cursor()
                return
        self.cursor = HEAD
        journal.call("seek_head")

    def fileno(self) -> int:
        """Readable when the journal changed."""
        return self._journal.call("get_fd")

    def events(self) -> int:
        """What to wait for on the descriptor."""
        return self._journal.call("get_events")

    def changed(self) -> bool:
        """Take the change in; False when it was none. Call when the descriptor is ready or `timeout` has
        passed.
        """
        return self._journal.call("process") != NOP

    def timeout(self) -> float | None:
        """Monotonic time at which `changed` must be asked anyway."""
        return self._journal.timeout()

    def take(self, limit: int) -> tuple[list[tuple[dict[str, bytes], int]], bool]:
        journal = self._journal
        get = journal.get
        found: list[tuple[dict[str, bytes], int]] = []
        more = True
        while len(found) < limit:
            if not self._pending and not journal.step():
                more = False
                break
            self._pending = False
            fields = {}
            for name, raw in _NAMES:
                data = get(raw)
                if data is not None:
                    fields[name] = data
            found.append((fields, journal.realtime()))
        if found:
            self.cursor = journal.cursor()
        return found, more

    def close(self) -> None:
        self._journal.close()


class JournalSource:
    """One `[log.NAME]` of kind "journal". Row: "journal:NAME", the cursor of the last entry handed out."""

    def __init__(self, options: LogOptions, saved: Saved, clock: Clock, *, library: bool = True):
        self.options = options
        self.name = options.name or "journal"
        self.ended = False
        self._clock = clock
        self._cursor = saved.get(f"journal:{self.name}", b"")
        self._library = library
        self._wait: Wait | None = None
        self._entries: Entries | None = None
        self._fd = -1
        self._timer: Timer | None = None
        self._ready = False
        self._notices: list[Item] = []
        self._said = ""
        self._seen: dict[str, tuple[int, int]] = {}  # the single files that are read, with device and inode
        self._moved = False  # there are others now: to be opened when the present ones are read
        self._reader = Reader(self.name, options.parsers, options.units, options.identifiers, options.may_ban)
        self._status = LogStatus(path=", ".join(options.paths) or "journal")

    @property
    def backlog(self) -> bool:
        """True while entries may be read without waiting."""
        return self._ready or bool(self._notices)

    @property
    def distrusted(self) -> int:
        """Entries of local users that only alert."""
        return self._reader.distrusted

    def open(self, wait: Wait, watchers: Watchers) -> None:
        """Open the journal and register its descriptor; a failure is said, and tried again."""
        self._wait = wait
        self._start()

    def _start(self, _events: int = 0) -> None:
        assert self._wait is not None
        self._timer = None
        try:
            self._entries = self._open()
            self._fd = self._entries.fileno()
            events = self._entries.events() if isinstance(self._entries, Library) else 1
            self._wait.add(self._fd, self._woken, events)
        except OSError as error:
            self._fail(error)
            return
        self._ready = True
        self._cursor = self._entries.cursor  # where "end" was: a restart goes on from there
        self._status.opened = True
        self._status.words = _unreadable(self.options)
        if self._status.words:
            self._say("log-unreadable", self._status.words)
        elif self._said == "log-unreadable":
            self._said = ""
            self._notices.append(Notice("log-back", {"log": self.name}))
        self._alarm()

    def _open(self) -> Entries:
        options = self.options
        folder = next((path for path in options.paths if os.path.isdir(path)), "")
        before, self._seen = self._seen, self._single_files()
        files = (*self._seen, *self._rotated(before))
        if options.paths and not files and not folder:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        matches = [("SYSLOG_IDENTIFIER", name) for name in options.identifiers]
        units = unit_patterns(options.units)
        if units and not any("*" in unit or "?" in unit or "[" in unit for unit in units):
            matches += [("_SYSTEMD_UNIT", unit) for unit in units]
        if self._library:
            try:
                found = Library(files, folder, matches, self._cursor, options.start)
            except LibraryMissingError as error:
                self._library = False
                why = f"{error.strerror}; reading through journalctl instead"
                self._notices.append(Notice("journal-fallback", {"log": self.name, "why": why}))
            else:
                if found.missed:
                    why = "the journal no longer holds the entries after the saved position"
                    said = {"log": self.name, "bytes": None, "lost": "unknown", "from": 0, "why": why}
                    self._notices.append(Notice("bytes-lost", said, blind=True))
                return found
        return Pipe(files, folder, matches, self._cursor, options.start)

    def _alarm(self) -> None:
        """Ask now and then anyway: always where the journal's descriptor is not reliable (network
        shares), and seldom elsewhere, so that a wake-up that was lost costs seconds and not the night.
        """
        if self._wait is not None and (self._seen or isinstance(self._entries, Library)):
            when = self._clock.monotonic() + (_LOOK_FILES if self._seen else _LOOK)
            asked = self._entries.timeout() if isinstance(self._entries, Library) else None
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._wait.call_at(when if asked is None else min(when, asked), self._look)

    def _look(self, _events: int) -> None:
        self._woken(0)
        self._ready = self._entries is not None
        if self._seen and self._entries is not None:
            now = self._single_files()
            self._moved = bool(now) and now != self._seen
            if not isinstance(self._entries, Library):
                self._alarm()

    def _single_files(self) -> dict[str, tuple[int, int]]:
        """The files that the paths name, wildcards expanded, with device and inode."""
        found: dict[str, tuple[int, int]] = {}
        for path in self.options.paths:
            for one in sorted(glob.glob(path)) if is_glob(path) else (path,):
                with contextlib.suppress(OSError):
                    state = os.stat(one)
                    if not stat.S_ISDIR(state.st_mode):
                        found[one] = (state.st_dev, state.st_ino)
        return found

    def _rotated(self, before: dict[str, tuple[int, int]]) -> list[str]:
        """What the files that were read are called now, beside those that took their places: the library lets
        go of a file that is renamed, whatever else is written into it."""
        gone = set(before.values()) - set(self._seen.values())
        found = []
        for folder in {os.path.dirname(path) or "." for path in before} if gone else ():
            for path in glob.glob(f"{glob.escape(folder)}/*"):
                with contextlib.suppress(OSError):
                    state = os.stat(path)
                    if (state.st_dev, state.st_ino) in gone:
                        found.append(path)
        return sorted(found)

    def _open_anew(self) -> None:
        """What was read has been rotated away: go on behind it, in it and in what stands there now."""
        self._shut()
        self._moved = False
        if self._timer is not None:
            self._timer.cancel()
        self._start()

    def _woken(self, events: int) -> None:
        if isinstance(self._entries, Library):
            try:
                self._ready = self._entries.changed() or self._ready
                if not events:
                    self._alarm()
            except OSError as error:
                self._fail(error)
        else:
            self._ready = True

    def read(self, arena: Arena, items: list[Item], arrival: float) -> None:
        """Hand out up to 1,024 entries."""
        items += self._notices
        self._notices = []
        if not self._ready or self._entries is None:
            return
        try:
            entries, self._ready = self._entries.take(_BATCH)
        except OSError as error:
            self._fail(error)
            return
        if entries:
            items += self._reader.records(entries, arrival, True)
            self._cursor = self._entries.cursor
            status = self._status
            status.last_line = arrival
            status.bytes += sum(len(fields.get("MESSAGE", b"")) for fields, _ in entries)
            status.cut = self._reader.cut
        if self._moved and not self._ready:
            self._open_anew()
        elif self._entries.ended:
            self._fail(OSError(errno.EPIPE, "journalctl ended"))

    def _fail(self, error: OSError) -> None:
        """Say it once, and try again later."""
        self._shut()
        self._status.opened = False
        self._status.words = error.strerror or str(error)
        self._say("log-unreadable", self._status.words)
        if self._wait is not None:
            self._timer = self._wait.call_at(self._clock.monotonic() + _RETRY, self._start)

    def _say(self, what: str, why: str) -> None:
        if self._said != what:
            self._said = what
            self._notices.append(Notice(what, {"log": self.name, "why": why}, blind=True))

    def positions(self) -> dict[str, bytes]:
        """The cursor."""
        return {f"journal:{self.name}": self._cursor} if self._cursor else {}

    def status(self) -> dict[str, dict[str, Any]]:
        """Counters."""
        return {self.name: self._status.as_dict()}

    def _shut(self) -> None:
        self._ready = False
        if self._entries is not None:
            if self._wait is not None:
                self._wait.remove(self._fd)
            self._entries.close()
            self._entries = None

    def close(self) -> None:
        """Close the journal. May be repeated."""
        self._shut()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _unreadable(options: LogOptions) -> str:
    """Why this host's journal is not seen whole: the library silently leaves out files it may not read."""
    if options.paths:
        files = [one for path in options.paths for one in (glob.glob(path) if is_glob(path) else (path,))]
        files = [path for path in files if not os.path.isdir(path)]
        folders = [path for path in options.paths if os.path.isdir(path)]
    else:
        files, folders = [], list(_PLACES)
    for folder in folders:
        files += glob.glob(f"{folder}/system.journal") + glob.glob(f"{folder}/*/system.journal")
    for path in files:
        if os.path.exists(path) and not os.access(path, os.R_OK):
            return f"{path} may not be read: put the user into the group systemd-journal"
    return ""


def recorded_entries(
    path: str, log: str, options: LogOptions, arrival: float, library: bool = True
) -> Iterator[tuple[Records, bytes]]:
    """The entries of a journal file in order, with the cursor after each batch. Raises OSError."""
    entries: Entries
    try:
        if not library:
            raise LibraryMissingError(errno.ENOENT, "not asked")
        entries = Library((path,), start="begin")
    except LibraryMissingError:
        entries = Pipe((path,), follow=False)
    reader = Reader(log, options.parsers, options.units, options.identifiers, options.may_ban)
    try:
        more = True
        while more:
            found, more = entries.take(_BATCH)
            for records in reader.records(found, arrival, False):
                yield records, entries.cursor
    finally:
        entries.close()


def any_mail(files: tuple[str, ...]) -> bool:
    """Do journal files hold any entry of the mail facility? False where that cannot be told."""
    try:
        journal = Journal(files)
    except OSError:
        return False
    try:
        journal.match("SYSLOG_FACILITY", "2")
        journal.call("seek_tail")
        return journal.call("previous") > 0
    except OSError:
        return False
    finally:
        journal.close()
