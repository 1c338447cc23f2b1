"""Which watcher serves which folder: inotify where the kernel sees every change, watchdog elsewhere.

On network file systems inotify only reports this host's own writes, so they are polled; other systems than
Linux get watchdog's native observer. watchdog's threads only wake the wait through a pipe: all reading
stays in one thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from mailguard.feeds.inotify import Inotify
from mailguard.feeds.wait import Wait

#: f_type of statfs(2) for file systems that other hosts or a user process may change (linux/magic.h).
NETWORK: dict[int, str] = {
    0x6969: "nfs", 0x517B: "smb", 0xFF534D42: "cifs", 0xFE534D42: "smb2", 0x65735546: "fuse",
    0x01021997: "9p", 0x5346414F: "afs", 0x00C36400: "ceph",
    0x73757245: "coda", 0x01161970: "gfs2", 0x7461636F: "ocfs2",
    0x786F4256: "vboxsf", 0xBACBACBC: "vmhgfs", 0x0BD00BD0: "lustre", 0x47504653: "gpfs", 0x564C: "ncp",
    0x6B414653: "kafs", 0x19830326: "fhgfs",
}  # fmt: skip


def file_system(path: str) -> str | None:
    """Name of the network file system `path` is on; None for a local one, and where that cannot be told."""
    if not sys.platform.startswith("linux"):
        return None
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), buffer) != 0:
        return None
    return NETWORK.get(ctypes.c_uint32.from_buffer(buffer).value)  # f_type comes first, its low half suffices


class Watcher(Protocol):
    """A descriptor that becomes readable when a watched file or folder may have changed."""

    exact: bool  # True: only what changed is called; False: everything is called

    def fileno(self) -> int: ...

    def file(self, path: str, fd: int, call: Callable[[], None]) -> int:
        """Call `call` (from `read`) after the open file changed. Returns a token. Raises OSError."""

    def folder(self, path: str, call: Callable[[], None]) -> int:
        """Call `call` (from `read`) after a name in the folder came, went or was renamed. Raises OSError."""

    def drop(self, token: int) -> None:
        """End a watch."""

    def read(self, events: int = 0) -> None:
        """Take the pending changes and make the calls; a callback for the wait."""

    def close(self) -> None: ...


class Observed:
    """Watching through watchdog. Its threads write to a pipe; `read` then calls for everything watched."""

    exact = False

    def __init__(self, polling: bool = True, interval: float = 1.0):
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._calls: dict[int, Callable[[], None]] = {}
        self._folders: dict[int, str] = {}
        self._schedules: dict[str, Any] = {}
        self._token = 0
        self._observer: Any
        if polling:
            from watchdog.observers.polling import PollingObserver

            self._observer = PollingObserver(timeout=interval)
        else:
            from watchdog.observers import Observer

            self._observer = Observer(timeout=interval)
        self._observer.daemon = True
        self._observer.start()

    def fileno(self) -> int:
        """Readable when something may have changed."""
        return self._read

    def dispatch(self, event: Any) -> None:
        """watchdog's handler, called in its thread: wake the wait, nothing more."""
        if event.event_type in ("opened", "closed_no_write"):
            return  # our own reading
        with contextlib.suppress(OSError):  # full: the wait is awake already; closed: nobody waits
            os.write(self._write, b"x")

    def file(self, path: str, fd: int, call: Callable[[], None]) -> int:
        """Watch the folder the file is in."""
        return self.folder(os.path.dirname(path) or ".", call)

    def folder(self, path: str, call: Callable[[], None]) -> int:
        """Watch a folder."""
        os.stat(path)
        self._token += 1
        self._calls[self._token] = call
        self._folders[self._token] = path
        if path not in self._schedules:
            self._schedules[path] = self._observer.schedule(self, path, recursive=False)
        return self._token

    def drop(self, token: int) -> None:
        """End a watch. May be repeated."""
        self._calls.pop(token, None)
        path = self._folders.pop(token, None)
        if path is not None and path not in self._folders.values():
            with contextlib.suppress(KeyError, OSError):
                self._observer.unschedule(self._schedules.pop(path))

    def read(self, events: int = 0) -> None:
        """Empty the pipe and call everything: watchdog's threads cannot say exactly what changed."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 65536)
        for call in list(self._calls.values()):
            call()

    def close(self) -> None:
        """Stop the threads. May be repeated."""
        if self._read < 0:
            return
        self._observer.stop()
        self._observer.join(5)
        self._calls.clear()
        read, self._read = self._read, -1
        os.close(read)
        os.close(self._write)


class Watchers:
    """The watchers of one feed, each made when the first folder needs it.

    `force`: "auto", "inotify", or "polling" (settings and tests).
    """

    def __init__(self, wait: Wait, force: str = "auto", interval: float = 1.0):
        self._wait = wait
        self._force = force
        self._interval = interval
        self._made: dict[str, Watcher] = {}
        self._kinds: dict[str, str] = {}

    def kind(self, folder: str) -> str:
        """How `folder` is watched: "inotify", "polling" or "native"."""
        if self._force != "auto":
            return self._force
        known = self._kinds.get(folder)
        if known is None:
            if not sys.platform.startswith("linux"):
                known = "native"
            else:
                known = "polling" if file_system(folder) else "inotify"
            self._kinds[folder] = known
        return known

    def of(self, folder: str) -> Watcher:
        """The watcher for `folder`. Raises OSError when the kernel has no more to give (EMFILE)."""
        kind = self.kind(folder)
        watcher = self._made.get(kind)
        if watcher is None:
            if kind == "inotify":
                watcher = Inotify()
            else:
                watcher = Observed(polling=kind == "polling", interval=self._interval)
            self._made[kind] = watcher
            self._wait.add(watcher.fileno(), watcher.read)
        return watcher

    @property
    def inotify(self) -> Inotify | None:
        """The watcher that the kernel tells exactly; None where nothing needed it yet."""
        made = self._made.get("inotify")
        return made if isinstance(made, Inotify) else None

    def close(self) -> None:
        """Stop all watchers. May be repeated."""
        for watcher in self._made.values():
            self._wait.remove(watcher.fileno())
            watcher.close()
        self._made.clear()
