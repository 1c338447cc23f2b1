"""Day-named log files: each record is one whole write in append mode, as the server does it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.epost_server.options import Options
from tests.epost_server.stamps import day_file

_HELD_FOR = 600.0  # seconds; builds that keep a file open open it anew after so long


def append(path: Path, data: bytes) -> None:
    """One write at the end of a file, whoever else writes there."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        written = os.write(handle, data)
    finally:
        os.close(handle)
    assert written == len(data), f"{path}: {written} of {len(data)} bytes were written"


class Logs:
    """All log folders of one server."""

    def __init__(self, spool: Path, options: Options):
        self.spool = spool
        self.options = options
        self._held: dict[Path, tuple[int, float]] = {}
        self._lock = threading.Lock()
        for name in options.logs:
            self.folder(name).mkdir(parents=True, exist_ok=True)

    def folder(self, name: str) -> Path:
        """Where the day files of a log are."""
        return self.spool / name / self.options.computer

    def path(self, name: str, now: float) -> Path:
        """The file of a log for the local day of `now`."""
        return self.folder(name) / day_file(now, self.options.zone)

    def write(self, name: str, text: bytes, now: float, day: float | None = None) -> None:
        """Append a record, which may hold line ends of its own; `day`: into the file of that time instead.

        Text mode: each LF becomes this system's line end, also where a CR stands before it already.
        """
        if name not in self.options.logs:
            return
        data = (text + b"\n").replace(b"\n", self.options.line_end)
        path = self.path(name, now if day is None else day)
        if self.options.build < (2026, 6):
            append(path, data)
            return
        with self._lock:
            handle = self._handle(path, now)
            written = os.write(handle, data)
        assert written == len(data), f"{path}: {written} of {len(data)} bytes were written"

    def _handle(self, path: Path, now: float) -> int:
        known = self._held.get(path)
        if known is not None and now - known[1] < _HELD_FOR:
            return known[0]
        if known is not None:
            os.close(known[0])
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._held[path] = handle, now
        while len(self._held) > 64:
            oldest = min(self._held, key=lambda one: self._held[one][1])
            os.close(self._held.pop(oldest)[0])
        return handle

    def close(self) -> None:
        """Let go of the files. May be repeated."""
        with self._lock:
            for handle, _ in self._held.values():
                os.close(handle)
            self._held.clear()
