"""Measures what grows: how many bytes each log has had, and how many messages wait in the spool folders.

Folders are counted in a thread of their own, since a queue of 100,000 messages on a network share takes long
to count; it only counts, and wakes the wait through a pipe. A folder that it may not read is left out, and
`status` says why.

Facts: E-Post keeps a message as a pair `B##########.MSG` and `.RCP`, with sub-folders below `domains` and
`lists`; Postfix a file for each message, `deferred` and others hashed into sub-folders of one character.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from mailguard.clock import Clock
from mailguard.feeds.wait import Timer, Wait
from mailguard.model import Item, Readings

EPOST = ("incoming", "domains", "holding", "lists")
POSTFIX = ("incoming", "active", "deferred", "hold", "maildrop")
POSTFIX_QUEUE = "/var/spool/postfix"
MOST = 1_000_000  # entries of a folder that are counted; a queue with more is as good as endless
DEEPEST = 8  # folders below a folder
REST, LONGEST_REST = 4.0, 300.0  # times as long as counting took, and seconds

Sizes = Callable[[], dict[str, int]]
Counted = tuple[dict[str, int], dict[str, str]]  # messages by folder; why a folder was not counted


def folders_of(root: str) -> list[tuple[str, str]]:
    """The queue folders below a spool, each with what the names of its messages end with; a folder that is no
    spool of a known server is a queue itself. Raises OSError."""
    with os.scandir(root) as entries:
        names = {entry.name for entry in entries if entry.is_dir()}
    if "incoming" in names and names & {"domains", "holding", "lists"}:
        return [(os.path.join(root, name), ".MSG") for name in EPOST if name in names]
    if names & {"active", "deferred", "maildrop"}:
        return [(os.path.join(root, name), "") for name in POSTFIX if name in names]
    return [(root, "")]


def count(folder: str, ending: str, most: int = MOST) -> int:
    """How many files with this ending (any case) are in a folder and those below it; links are not followed.

    Raises OSError when the folder itself cannot be read; what disappears meanwhile was delivered.
    """
    found = looked = 0
    waiting = [(folder, 0)]
    while waiting and looked < most:
        path, depth = waiting.pop()
        try:
            entries = os.scandir(path)
        except (FileNotFoundError, NotADirectoryError):
            if path == folder:
                raise
            continue
        with entries:
            for entry in entries:
                looked += 1
                if looked > most:
                    break
                if entry.is_dir(follow_symlinks=False):
                    if depth < DEEPEST:
                        waiting.append((entry.path, depth + 1))
                elif entry.name.upper().endswith(ending):
                    found += 1
    return found


def count_all(roots: Iterable[str]) -> Counted:
    """All folders of all spools."""
    messages: dict[str, int] = {}
    why: dict[str, str] = {}
    for root in roots:
        try:
            folders = folders_of(root)
        except OSError as error:
            why[root] = error.strerror or str(error)
            continue
        for folder, ending in folders:
            try:
                messages[folder] = count(folder, ending)
            except OSError as error:
                why[folder] = error.strerror or str(error)
    return messages, why


class Meter:
    """Hands out readings, every so often."""

    def __init__(self, roots: Sequence[str], sizes: Sizes, clock: Clock, every: float):
        """`sizes`: how many bytes each log that can be read has had so far. `every`: seconds."""
        self.roots = tuple(roots)
        self.unreadable: dict[str, str] = {}  # folder -> why it was not counted
        self._sizes = sizes
        self._clock = clock
        self._every = every
        self._wait: Wait | None = None
        self._timer: Timer | None = None
        self._spools: dict[str, frozenset[str]] = {}  # what was last counted, by root
        self._asked = threading.Event()
        self._ended = False
        self._end = threading.Event()
        self._counted: deque[Counted] = deque(maxlen=1)
        self._pipe: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def attend(self, wait: Wait) -> None:
        """From now on, measure."""
        self._wait = wait
        if self.roots:
            self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            wait.add(self._pipe[0], self._has_counted)
            self._thread = threading.Thread(target=self._count, name="mailguard-meter", daemon=True)
            self._thread.start()
        self._timer = wait.call_at(self._clock.monotonic(), self._tick)

    def _tick(self, _events: int) -> list[Item]:
        assert self._wait is not None
        self._timer = self._wait.call_at(self._clock.monotonic() + self._every, self._tick)
        self._asked.set()
        return [Readings(self._clock.now(), self._sizes(), {})]

    def _has_counted(self, _events: int) -> list[Item]:
        assert self._pipe is not None
        os.read(self._pipe[0], 4096)
        if not self._counted:
            return []
        messages, self.unreadable = self._counted.popleft()
        return [Readings(self._clock.now(), {}, messages)]

    def _count(self) -> None:
        """The thread: nothing but counting."""
        assert self._pipe is not None
        writing = self._pipe[1]
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._ended:
                os.close(writing)
                return
            begun = time.monotonic()
            self._counted.append(self._whole(count_all(self.roots)))
            try:
                os.write(writing, b".")
            except BlockingIOError:
                pass  # full: it is awake
            except OSError:  # nobody reads any more
                os.close(writing)
                return
            # What takes long is done more seldom: four fifths of the time are left to others.
            self._end.wait(min(REST * (time.monotonic() - begun), LONGEST_REST))

    def _whole(self, counted: Counted) -> Counted:
        """What was counted. A spool whose folders are all gone is no empty queue: its share was unmounted."""
        messages, why = counted
        for root in self.roots:
            inside = frozenset(name for name in messages if name.startswith(root.rstrip("/") + "/"))
            if inside or root in why:
                self._spools[root] = inside or self._spools.get(root, inside)
            elif self._spools.get(root) and messages.get(root) == 0:
                del messages[root]
                why[root] = "its folders are gone; is the share mounted?"
        return messages, why

    def close(self) -> None:
        """Measure no more. May be repeated. A thread that hangs on a dead share ends with the program."""
        if self._ended:
            return
        self._ended = True
        self._end.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._pipe is not None and self._wait is not None:
            self._wait.remove(self._pipe[0])
            self._asked.set()
            assert self._thread is not None
            self._thread.join(1.0)
            os.close(self._pipe[0])
