"""Reads a compressed file ahead in a thread, because decompressing leaves the interpreter free.

Who unpacks wants the interpreter back after each call, and by default waits for it 5 ms as long as somebody
else computes: longer than the call took. So it unpacks in long strides where it can, and while one of these
threads runs the wait is short. An .xz file that is right is read from a thread that never wants it.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from lzma import LZMAError
from typing import Protocol

_SIZE = 1 << 20
_AHEAD = 4  # pieces that wait at most
_WAIT = 0.0002  # seconds for which a thread that wants the interpreter waits


class Packed(Protocol):
    """A compressed file that is open."""

    def read1(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class Alone(Protocol):
    """What unpacks by itself; see `archives.unxz`."""

    def readinto(self, view: memoryview, /) -> int: ...

    def close(self) -> None: ...


class _Switching:
    """Short waits for the interpreter, as long as somebody wants them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._before = 0.0

    def begin(self) -> None:
        with self._lock:
            if not self._wanted:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before, _WAIT))
            self._wanted += 1

    def end(self) -> None:
        with self._lock:
            self._wanted -= 1
            if not self._wanted:
                sys.setswitchinterval(self._before)


_switching = _Switching()


class Ahead:
    """The same bytes as `file`, in the same order; an error is raised where it happened. Closes `file`.

    `strides`: the same bytes again, in long strides, which are taken instead. Where they raise anything,
    `file` is read from its beginning: it says what is wrong, and what can be read before it. `alone`: the
    same bytes again, unpacked by a thread of its own, which are taken first; where it raises LZMAError,
    `file` is read likewise."""

    def __init__(
        self,
        file: Packed,
        strides: Generator[bytes, None, None] | None = None,
        alone: Alone | None = None,
    ):
        self._file = file
        self._strides = strides
        self._alone = alone
        self._given = 0  # bytes handed out by `strides` or `alone`
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD if strides is None else 2)
        self._piece = memoryview(b"")
        self._ended = self._closed = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if alone is None:
            self._start(self._read)

    def _start(self, read: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=read, daemon=True)
        self._thread.start()
        _switching.begin()

    def _read(self) -> None:
        if self._strides is not None:
            with suppress(Exception):  # `file` says what it is
                self._stride(self._strides)
                return
        self._careful()

    def _stride(self, strides: Generator[bytes, None, None]) -> None:
        """Hand out the strides. What `file` loses at a damaged place, at most one of its steps, must be lost
        here, too: so much is held back until more was unpacked."""
        held: deque[bytes] = deque()
        size = 0
        for piece in strides:
            held.append(piece)
            size += len(piece)
            while size - len(held[0]) >= _SIZE:
                size -= len(held[0])
                if not self._put(held[0]):
                    return
                self._given += len(held.popleft())
        for piece in held:
            if not self._put(piece):
                return
        self._put(b"")

    def _careful(self) -> None:
        gathered: list[bytes] = []
        size = 0
        skip = self._given
        try:
            # Small steps: what was unpacked before a damaged place must not be lost with it.
            while piece := self._file.read1(_SIZE):
                if skip:
                    if self._stop.is_set():
                        return
                    skipped = min(skip, len(piece))
                    skip, piece = skip - skipped, piece[skipped:]
                    if not piece:
                        continue
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
        if self._alone is not None:
            try:
                count = self._alone.readinto(view)
                self._given += count
                return count
            except LZMAError:  # `file` says what it is
                if self._closed:
                    raise
                self._alone.close()
                self._alone = None
                self._start(self._careful)
        if not self._more():
            return 0
        count = min(len(view), len(self._piece))
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end."""
        if self._alone is not None:
            room = memoryview(bytearray(min(size, _SIZE)))
            return bytes(room[: self.readinto(room)])
        if not self._more():
            return b""
        found = bytes(self._piece[:size])
        self._piece = self._piece[size:]
        return found

    def close(self) -> None:
        """Stop reading; the thread is gone when this returns. May be repeated."""
        if self._closed:
            return
        if self._alone is not None:
            self._alone.close()
        self._closed = True
        if self._thread is not None:
            self._stop.set()
            with suppress(queue.Empty):  # whoever waits for room has it, and looks whether to stop
                self._pieces.get_nowait()
            self._thread.join()
            _switching.end()
        if self._strides is not None:
            self._strides.close()
        self._file.close()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
