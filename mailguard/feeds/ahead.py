"""Reads a compressed file ahead in a thread, because decompressing leaves the interpreter free."""

from __future__ import annotations

import queue
import threading
from typing import Protocol

_SIZE = 1 << 20
_AHEAD = 4  # pieces that wait at most


class Packed(Protocol):
    """A compressed file that is open."""

    def read1(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class Ahead:
    """The same bytes as `file`, in the same order; an error is raised where it happened. Closes `file`."""

    def __init__(self, file: Packed):
        self._file = file
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._piece = memoryview(b"")
        self._ended = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        gathered: list[bytes] = []
        size = 0
        try:
            # Small steps: what was unpacked before a damaged place must not be lost with it.
            while piece := self._file.read1(_SIZE):
                gathered.append(piece)
                size += len(piece)
                if size >= _SIZE:
                    if not self._put(b"".join(gathered)):
                        return
                    gathered, size = [], 0
            if gathered:
                self._put(b"".join(gathered))
            self._put(b"")
        except Exception as error:  # raised again where the bytes are asked for
            if gathered:
                self._put(b"".join(gathered))
            self._put(error)

    def _put(self, piece: bytes | BaseException) -> bool:
        while not self._stop.is_set():
            try:
                self._pieces.put(piece, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def _more(self) -> bool:
        """There are bytes to give."""
        if not self._piece and not self._ended:
            piece = self._pieces.get()
            if isinstance(piece, BaseException):
                self._ended = True
                raise piece
            self._ended = not piece
            self._piece = memoryview(piece)
        return bool(self._piece)

    def readinto(self, view: memoryview) -> int:
        """Fill `view` with what is there, at least one byte; 0 at the end."""
        if not self._more():
            return 0
        count = min(len(view), len(self._piece))
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end."""
        if not self._more():
            return b""
        found = bytes(self._piece[:size])
        self._piece = self._piece[size:]
        return found

    def close(self) -> None:
        """Stop reading; the thread is gone when this returns."""
        self._stop.set()
        self._thread.join()
        self._file.close()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
