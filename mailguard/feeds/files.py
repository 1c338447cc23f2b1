"""Logs in files: paths, globs, folders of day-named files, an E-Post spool. Decides which paths are followed.

Each path is followed by a `Follow` of its own; this room finds paths, watches folders for names that come
and go, and takes turns between busy logs. Positions: a row "file:PATH" for each followed path, and
"files:NAME" which says that this log was read before (then a path without a row is new and is read from its
start).
"""

from __future__ import annotations

import contextlib
import glob
import os
from typing import Any

from mailguard.clock import Clock
from mailguard.feeds.follow import Follow
from mailguard.feeds.interface import LogOptions, Saved
from mailguard.feeds.lines import PENDING, Arena
from mailguard.feeds.listing import Listings
from mailguard.feeds.marks import decode, encode
from mailguard.feeds.names import day, is_glob, unrotated
from mailguard.feeds.tail import Tail
from mailguard.feeds.tails import Tails, Woken
from mailguard.feeds.wait import Timer, Wait
from mailguard.feeds.watch import Watcher, Watchers
from mailguard.model import Item, Notice

_SOON, _LATER = 5.0, 30.0  # seconds between looks at everything, when something is amiss and otherwise
_POLL = 0.5  # the same when the kernel has no watches left to give
DAY_BITS = 40  # positions in day-named files: hours since 2000 above, byte offset below


class FileSource:
    """The files of one `[log.NAME]` of kind "file" or "epost"."""

    def __init__(self, options: LogOptions, saved: Saved, clock: Clock):
        self.options = options
        self.name = options.name or (options.paths[0] if options.paths else "files")
        self.clock = clock
        self.claims: dict[tuple[int, int], Tails] = {}  # whose an open file is
        self.follows: dict[str, Follow] = {}
        self.listings = Listings()
        self.ended = False
        self._saved = saved
        self._watchers: Watchers | None = None
        self._wait: Wait | None = None
        self._dirty: dict[Tails, None] = {}
        self._rescan = True
        self._first = True
        self._notices: list[Item] = []
        self._folders: dict[str, tuple[int, tuple[int, int], Watcher]] = {}
        self._tails: dict[Tail, Watcher] = {}
        self._unwatched = False
        self._timer: Timer | None = None
        self._patterns_row = "\n".join((options.kind, *options.paths, *options.logs)).encode()
        self._known = saved.get(f"files:{self.name}") == self._patterns_row
        self._away: set[str] = set()  # spools without any log
        self._days: dict[str, int] = {}  # newest day-named file dealt with, by folder
        for key in saved:
            folder, _, name = key.removeprefix("file:").rpartition("/")
            value = day(name)
            if key.startswith("file:") and value is not None:
                self._days[folder] = max(value, self._days.get(folder, value))

    # ------------------------------------------------------------ what a live feed asks

    @property
    def backlog(self) -> bool:
        """True while something can be read without waiting."""
        return bool(self._dirty or self._notices) or self._rescan

    def open(self, wait: Wait, watchers: Watchers) -> None:
        """Find the files and open them where their rows say; nothing is read yet."""
        self._wait, self._watchers = wait, watchers
        self._tick(0)
        self._scan()

    def read(self, arena: Arena, items: list[Item], arrival: float) -> None:
        """Hand out what is ready, log by log, at most 1 MiB of each."""
        if self._rescan:
            self._scan()
        if self._dirty:
            turn = list(self._dirty)
            self._dirty.clear()
            for at, follow in enumerate(turn):
                if arena.room <= 2 * PENDING:
                    self._dirty = dict.fromkeys(turn[at:]) | self._dirty
                    break
                if follow.read(arena, items, arrival):
                    self._dirty[follow] = None
        if self._notices:
            items += self._notices
            self._notices = []

    def positions(self) -> dict[str, bytes]:
        """Rows of everything handed out so far."""
        rows = {f"files:{self.name}": self._patterns_row}
        for path, follow in self.follows.items():
            marks = follow.marks()
            if marks:
                rows[f"file:{path}"] = encode(marks)
        return rows

    def status(self) -> dict[str, dict[str, Any]]:
        """Counters by the log's name in blocks: the path, or the folder of day-named files."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.follows):
            follow = self.follows[path]
            known, earlier = follow.status.as_dict(), found.get(follow.label)
            if earlier is not None:  # an older day: its name sorts before
                for name in ("bytes", "cut", "dropped", "nul", "lost", "rotations"):
                    known[name] += earlier[name]
                known["last_line"] = max(known["last_line"], earlier["last_line"])
            found[follow.label] = known
        return found

    def close(self) -> None:
        """Close files and watches. May be repeated."""
        for follow in self.follows.values():
            follow.close()
        for token, _, watcher in self._folders.values():
            watcher.drop(token)
        self._folders.clear()
        self._dirty.clear()
        if self._timer is not None:
            self._timer.cancel()

    # ------------------------------------------------------------ what a Follow asks

    def say(self, notice: Notice) -> None:
        """Hand out a notice with the next items."""
        self._notices.append(notice)

    def again(self) -> None:
        """Look at all paths once more."""
        self._rescan = True

    def mark(self, follow: Tails) -> None:
        """There may be something to read."""
        self._dirty[follow] = None

    def watch(self, follow: Tails, tail: Tail) -> None:
        """Have a file watched; without watches left in the kernel it is looked at twice a second."""
        assert self._watchers is not None
        try:
            watcher = self._watchers.of(os.path.dirname(os.path.realpath(tail.name)))
            tail.token = watcher.file(tail.name, tail.fd, Woken(follow, tail))
            self._tails[tail] = watcher
        except OSError as error:
            self._watchless(error)

    def unwatch(self, tail: Tail) -> None:
        """End that."""
        watcher = self._tails.pop(tail, None)
        if watcher is not None and tail.token is not None:
            watcher.drop(tail.token)
        tail.token = None

    # ------------------------------------------------------------ finding paths

    def _tick(self, _events: int) -> None:
        """Look at everything now and then: what no watcher tells (link targets, mounts, permissions, old
        files).
        """
        assert self._wait is not None
        self._rescan = True
        now = self.clock.monotonic()
        for follow in self.follows.values():
            follow.refresh()
            follow.expire(now)
        pause = _LATER
        if self._unwatched:
            pause = _POLL
        elif (
            self._first or self._away or self._inexact() or any(one.waiting for one in self.follows.values())
        ):
            pause = _SOON
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._wait.call_at(now + pause, self._tick)

    def soon(self) -> None:
        """Something is amiss: look again soon."""
        when = self.clock.monotonic() + _SOON
        if self._wait is not None and self._timer is not None and self._timer.when > when:
            self._timer.cancel()
            self._timer = self._wait.call_at(when, self._tick)

    def _inexact(self) -> bool:
        return any(not watcher.exact for watcher in self._tails.values())

    def _watchless(self, error: OSError) -> None:
        if not self._unwatched and self._wait is not None:
            self._unwatched = True
            self.say(Notice("watch-limit", {"log": self.name, "why": error.strerror or str(error)}))
            self._wait.call_at(self.clock.monotonic() + _POLL, self._tick)

    def _scan(self) -> None:
        """Find the paths there are now, follow new ones, look at all, and watch the folders."""
        self._rescan = False
        folders: set[str] = set()
        plain: list[str] = []
        days: list[str] = []
        spools: dict[str, list[str]] = {}
        for pattern in self.options.paths:
            if self.options.kind == "epost":
                spools[pattern] = self._spool(pattern, folders)
                days += spools[pattern]
            elif is_glob(pattern):
                plain += self._glob(pattern, folders)
            elif pattern.endswith("/") or os.path.isdir(pattern):
                days.append(pattern.rstrip("/") or "/")
            else:
                plain.append(pattern)
                folders.add(_existing(os.path.dirname(pattern) or "."))
                if os.path.islink(pattern):
                    folders.add(_existing(os.path.dirname(os.path.realpath(pattern))))
        for folder in days:
            folders.add(_existing(folder))
        self._watch_folders(folders)  # before looking, so that nothing comes unseen
        literal = set(self.options.paths)
        for path in plain:
            if path not in self.follows:
                start = not self._first or self._known
                self._follow(path, path, 0, path not in literal, start)
        for folder in days:
            self._day_files(folder)
        for path, follow in list(self.follows.items()):
            if follow.current is not None or follow.tails or path in literal or follow.pending:
                follow.check()
            if follow.optional and not follow.tails and not follow.pending:
                del self.follows[path]
        for root, found in spools.items():
            self._say_spool(root, bool(found))
        self._first = False
        self.listings.forget()

    def away(self, path: str) -> bool:
        """Whether all folders of a file's spool are gone."""
        roots = self.options.paths if self.options.kind == "epost" else ()
        return any(path.startswith(os.path.join(root, "")) and not self._spool(root, set()) for root in roots)

    def _say_spool(self, root: str, there: bool) -> None:
        """Say once that a spool has no log, or (its share was unmounted) no folder of logs any more; and that
        it is back."""
        if self._first or root in self._away:
            inside = os.path.join(root, "")
            there = there and any(path.startswith(inside) for path in self.follows)
        if there is (root in self._away):
            self._away ^= {root}
            self.say(Notice("log-back" if there else "log-missing", {"log": root}, blind=not there))

    def _follow(self, path: str, label: str, base: int, optional: bool, from_start: bool) -> None:
        """Begin to follow a path: where its row says, else at its start, else where the options say."""
        follow = self.follows[path] = Follow(self, path, label, base, optional)
        row = self._saved.get(f"file:{path}")
        marks = decode(row) if row is not None else []
        if marks:
            follow.resume(marks)
        else:
            follow.check(at_end=not from_start and self.options.start == "end")

    def _glob(self, pattern: str, folders: set[str]) -> list[str]:
        """The paths that fit, but no rotated or compressed forms of others; the folders to watch for more."""
        parts = pattern.split("/")
        for at, part in enumerate(parts):
            if at and is_glob("/".join(parts[: at + 1])):
                prefix = "/".join(parts[:at]) or "/"
                folders.update(path for path in glob.glob(prefix) if os.path.isdir(path))
            elif is_glob(part):
                folders.add(".")
        literal = []
        for part in parts[:-1]:
            if is_glob(part):
                break
            literal.append(part)
        folders.add(_existing("/".join(literal) or ("/" if pattern.startswith("/") else ".")))
        found = sorted(path for path in glob.glob(pattern) if not os.path.isdir(path))
        names: dict[str, set[str]] = {}
        for path in found:
            names.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))
        return [path for path in found if unrotated(os.path.basename(path), names[os.path.dirname(path)])]

    def _spool(self, root: str, folders: set[str]) -> list[str]:
        """Log folders of an E-Post spool, and the computer-name folders in them."""
        found = []
        folders.add(_existing(root))
        for name in self.options.logs:
            folder = os.path.join(root, name)
            if not os.path.isdir(folder):
                continue
            found.append(folder)
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                found += sorted(entry.path for entry in entries if entry.is_dir())
        return found

    def _day_files(self, folder: str) -> None:
        """Follow the newest two day-named files of a folder and those that came since the last look."""
        known = self._days.get(folder)
        names: list[tuple[int, str]] = []
        with contextlib.suppress(OSError):
            names = sorted((value, name) for name in os.listdir(folder) if (value := day(name)) is not None)
        if not names:
            return
        newest = names[-2:][0][0]
        for value, name in names:
            path = os.path.join(folder, name)
            if path in self.follows:
                continue
            resumed = self._first and f"file:{path}" in self._saved
            if value < newest and (known is None or value <= known) and not resumed:
                continue
            # Without a row a file is new if we were here before; an older one only when it came
            # under our eyes.
            new = not self._first if known is None else value > known or not self._first
            self._follow(path, folder, value << DAY_BITS, True, new)
        self._days[folder] = max(names[-1][0], known or 0)
        for _, name in names[:-2]:
            follow = self.follows.get(os.path.join(folder, name))
            if follow is None or any(tail.dirty for tail in follow.tails):
                continue
            if self.clock.now() - follow.status.last_line >= self.options.linger:
                follow.close()
                del self.follows[follow.path]

    def _watch_folders(self, folders: set[str]) -> None:
        """Watch exactly these folders for names that come and go."""
        assert self._watchers is not None
        for folder in list(self._folders):
            token, identity, watcher = self._folders[folder]
            if folder not in folders or _identity(folder) != identity:
                watcher.drop(token)
                del self._folders[folder]
        for folder in folders - self._folders.keys():
            identity = _identity(folder)
            try:
                watcher = self._watchers.of(folder)
                self._folders[folder] = (watcher.folder(folder, self.again), identity, watcher)
            except FileNotFoundError:
                self._rescan = True
            except OSError as error:
                self._watchless(error)


def _identity(path: str) -> tuple[int, int]:
    try:
        state = os.stat(path)
    except OSError:
        return (-1, -1)
    return state.st_dev, state.st_ino


def _existing(folder: str) -> str:
    """The folder itself or its nearest ancestor that is there."""
    folder = folder or "."
    while not os.path.isdir(folder):
        parent = os.path.dirname(folder) or ("/" if folder.startswith("/") else ".")
        if parent == folder:
            break
        folder = parent
    return folder
