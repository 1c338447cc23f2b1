"""The journal through a `journalctl -o json` pipe, where libsystemd is missing.

In its JSON a field is a string; an array of byte values where the text is not valid UTF-8 or holds
control characters (an attacker's line); an array of those where the field occurs twice; null where it was
too large.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence

from mailguard.feeds.entries import FIELDS, value

HEAD = b"^"  # in place of a cursor: before the first entry
_LONGEST = 4 << 20  # a JSON line longer than this is left out
_PIECE = 1 << 18


def entry(line: bytes) -> tuple[dict[str, bytes], int, bytes] | None:
    """Fields, microseconds and cursor of one JSON line; None for what is not an entry."""
    try:
        parsed = json.loads(line)
        realtime = int(parsed["__REALTIME_TIMESTAMP"])
        cursor = str(parsed["__CURSOR"]).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    fields = {name: found for name in FIELDS if (found := value(parsed.get(name))) is not None}
    return fields, realtime, cursor


class Pipe:
    """A running journalctl. `follow` False: it ends after the last entry. Raises OSError when it cannot
    be started.
    """

    def __init__(
        self,
        files: Sequence[str] = (),
        folder: str = "",
        matches: Sequence[tuple[str, str]] = (),
        cursor: bytes = b"",
        start: str = "end",
        follow: bool = True,
        program: str = "journalctl",
    ):
        found = shutil.which(program)
        if found is None:
            raise FileNotFoundError(2, f"there is no {program} on this host")
        command = [found, "-o", "json", "--all", "--no-pager", "--output-fields=" + ",".join(FIELDS)]
        command += [f"--file={file}" for file in files]
        command += [f"--directory={folder}"] if folder else []
        filters = [f"{field}={text}" for field, text in matches]
        if follow and not cursor and start == "end":
            cursor = self._last([*command, "--lines=1", *filters])
        command += ["--follow", "--no-tail"] if follow else []
        if cursor and cursor != HEAD:
            command.append("--after-cursor=" + cursor.decode("ascii", "replace"))
        command += filters
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self._fd = self._process.stdout.fileno()
        if follow:
            os.set_blocking(self._fd, False)
        self._rest = b""
        self._skipping = False
        self.cursor = cursor
        self.ended = False
        self.skipped = 0

    @staticmethod
    def _last(command: list[str]) -> bytes:
        """The cursor of the last entry there is: where "end" stands before the follower has started."""
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        read = [found for line in done.stdout.splitlines() if (found := entry(line)) is not None]
        return read[-1][2] if read else HEAD

    def fileno(self) -> int:
        """Readable when entries came."""
        return self._fd

    def take(self, limit: int) -> tuple[list[tuple[dict[str, bytes], int]], bool]:
        """Entries that are there, and whether more may be; about `limit` of them."""
        found: list[tuple[dict[str, bytes], int]] = []
        while len(found) < limit:
            try:
                data = os.read(self._fd, _PIECE)
            except BlockingIOError:
                return found, False
            if not data:
                self.ended = True
                return found, False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                if self._skipping:
                    self._skipping = False
                    continue
                read = entry(line)
                if read is not None:
                    found.append(read[:2])
                    self.cursor = read[2]
            if len(self._rest) > _LONGEST:
                self.skipped += not self._skipping
                self._rest, self._skipping = b"", True
        return found, True

    def close(self) -> None:
        """End the child. May be repeated."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
