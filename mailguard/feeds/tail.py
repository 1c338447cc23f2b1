"""One file that is read as it grows, and one compressed file that is read to its end.

Both are read at an offset into the feed's arena, so that an unterminated last line is simply read again.
Nothing here knows about rotation; `follow` does.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from typing import Protocol

from mailguard.feeds.archives import BROKEN, open_packed
from mailguard.feeds.lines import LIMIT, PENDING, Arena, Cut, cut
from mailguard.feeds.marks import CURRENT, HEAD, Imprint, Mark, beginning, imprint, imprint_of

_RESERVED = 64  # descriptors that logs leave to the ledger, the firewall and who asks
_STEP = 8 << 20  # how much of a compressed file is skipped at once


class NotRegularError(OSError):
    """A path that is a folder, a pipe or a device."""


def _most_files() -> int:
    """How many descriptors this process may have; a great number where that may not be asked (under systemd's
    filter of system calls, where the unit states enough)."""
    try:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except OSError:
        return 1 << 30
    return 1 << 30 if most == resource.RLIM_INFINITY else most


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """A read-only descriptor of a regular file, and its state. Never waits (a named pipe). Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if fd >= _most_files() - _RESERVED:
        os.close(fd)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode):
        os.close(fd)
        raise NotRegularError("not a regular file")
    return fd, state


class Raw(Protocol):
    """Bytes at offsets."""

    final: bool  # True: it will not grow

    def read(self, view: memoryview, offset: int) -> int | None:
        """Fill `view` from `offset`; bytes read, 0 at the end, None when not there yet (ask again). Raises
        OSError.
        """

    def close(self) -> None: ...


class Plain:
    """An open file."""

    __slots__ = ("fd", "final")

    def __init__(self, fd: int, final: bool = False):
        self.fd = fd
        self.final = final

    def read(self, view: memoryview, offset: int) -> int | None:
        return os.preadv(self.fd, [view], offset)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Packed:
    """A compressed file, read forwards. What was read last is kept, for lines that were not whole.

    One that ends in the middle may be just being written: it is not `final` until it is `given_up`, and what
    is written behind is read when asked again.
    """

    def __init__(self, path: str):
        file = open_packed(path)
        if file is None:
            raise OSError(f"compressed in a way that cannot be read here: {path}")
        self.final = True
        self.given_up = False  # nothing more is expected
        self._file = file
        self._at = 0  # offset of the next byte of the stream
        self._back = b""  # the bytes before it
        self.words = ""  # why it ended early

    def read(self, view: memoryview, offset: int) -> int | None:
        if offset < self._at - len(self._back):
            raise OSError("a compressed file is only read forwards")
        count = 0
        try:
            for _ in range(_STEP >> 20):
                if self._at >= offset:
                    break
                skipped = self._file.read(min(1 << 20, offset - self._at))
                if not skipped:
                    return self._ended("")
                self._keep(skipped)
            if self._at < offset:
                return None
            have = self._back[len(self._back) - (self._at - offset) :]
            count = min(len(have), len(view))
            view[:count] = have[:count]
            while count < len(view):
                fresh = self._file.read(len(view) - count)
                if not fresh:
                    self._ended("")
                    break
                view[count : count + len(fresh)] = fresh
                self._keep(fresh)
                count += len(fresh)
        except EOFError as error:
            self.words = str(error)
            self.final = self.given_up
        except BROKEN as error:
            self._ended(str(error))
        return count

    def give_up(self) -> None:
        """What is missing is not waited for any longer."""
        self.final = self.given_up = True

    def _ended(self, words: str) -> int:
        """Nothing more will come."""
        self.words = words
        self.final = True
        return 0

    def _keep(self, fresh: bytes) -> None:
        self._at += len(fresh)
        self._back = (self._back + fresh)[-2 * PENDING :]

    def close(self) -> None:
        self._file.close()


class Tail:
    """Reading position in one file. Owns its descriptor."""

    __slots__ = (
        "activity", "device", "digest", "dirty", "head", "inode", "last", "links", "mark_state", "modified",
        "name", "offset", "raw", "seen", "skipping", "token",
    )  # fmt: skip

    def __init__(
        self, raw: Raw, name: str, state: os.stat_result | None, head: tuple[Imprint, str], offset: int = 0
    ):
        self.raw = raw
        self.name = name  # the name it was found under, for words
        self.device = state.st_dev if state else 0
        self.inode = state.st_ino if state else 0
        self.modified = state.st_mtime_ns if state else 0
        self.head, self.digest = head  # the file's first bytes, up to 256, and their hash for its mark
        self.offset = offset
        self.last = Imprint()  # the bytes before `offset`, up to 256
        self.skipping = False
        self.seen = state.st_size if state and not isinstance(raw, Packed) else offset  # largest size seen
        self.links = state.st_nlink if state else 1
        self.mark_state = CURRENT
        self.dirty = True
        self.token: int | None = None
        self.activity = 0.0  # monotonic: last time it gave bytes, or was retired

    @property
    def fd(self) -> int:
        """The descriptor, -1 for a compressed file."""
        return self.raw.fd if isinstance(self.raw, Plain) else -1

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    def quick(self, arena: Arena) -> int:
        """The common case, with as little work as can be: a few whole lines were appended to the same file.

        How many bytes stand at the arena's top, 0 where `read` must have a closer look. Raises OSError.
        """
        offset, top, view = self.offset, arena.top, arena.view
        if self.last.size != HEAD or self.skipping:
            return 0
        count = os.preadv(self.fd, [view[top : top + HEAD + LIMIT]], offset - HEAD) - HEAD
        data, end = arena.data, top + HEAD + count
        if (
            not 0 < count < LIMIT
            or data[end - 1] != 10
            or imprint(view[top : top + HEAD]) != self.last
            or data.find(0, top + HEAD, end) >= 0
            or not self.begins_the_same()
        ):
            return 0
        self.offset = offset + count
        self.last = imprint(view[end - HEAD : end])
        view[top : top + HEAD] = bytes(HEAD)  # of lines that were read before: nobody else blots them out
        return count

    def state(self) -> os.stat_result:
        """The file's state now; takes over what is remembered of it. Raises OSError."""
        state = os.fstat(self.fd)
        self.links = state.st_nlink
        self.modified = state.st_mtime_ns
        if state.st_size > self.seen:
            self.seen = state.st_size
        if self.head.size < HEAD and self.begins_the_same():
            self.head, self.digest = beginning(self.fd)
        return state

    def begins_the_same(self) -> bool:
        """Whether the file's first bytes are what they were. Raises OSError."""
        return imprint_of(self.fd, self.head.size, 0) == self.head

    def look(self) -> str:
        """What became of a file that is not as it was read: "shorter" (cut back) or "other" (begun anew).

        Raises OSError."""
        if self.head and self.begins_the_same():
            return "shorter"
        return "other"

    def read(self, arena: Arena, budget: int) -> tuple[Cut, int, bool] | None:
        """Read into the arena at its top: what was cut, the log's offset of `arena.top`, and whether more
        waits.

        None where the file is not the one that was read: the bytes before the offset (up to 256) and its
        first ones are read again each time and compared, so that a file cut to nothing is noticed even when
        it has already grown beyond the offset. (Both, for lines may end alike.) Of what was read only the
        pieces stay in the arena. The caller keeps it up to the last piece. Raises OSError.
        """
        top, base = arena.top, self.offset
        known = self.last.size
        want = min(budget, arena.room - known)
        begin = top + known
        count = self.raw.read(arena.view[top : begin + want], base - known)
        data = arena.data
        if count is None:
            return Cut(consumed=top), base, True
        if count < known or imprint(arena.view[top:begin]) != self.last:
            return None
        if self.fd >= 0 and self.head and not self.begins_the_same():
            return None  # looked at after reading: what was read before it was cut is whole
        count -= known
        end = begin + count
        more = count == want
        found = cut(data, begin, end, self.skipping, self.raw.final and not more)
        consumed = min(found.consumed, end)
        if consumed > begin:
            self.offset = base + consumed - begin
            self.skipping = found.skipping
            if base + count > self.seen:
                self.seen = base + count
            if self.fd >= 0:
                self._remember(arena.view, top, consumed, bool(found.cut))
        rest = max(consumed, found.pieces[-1].end if found.pieces else begin)
        arena.view[top:begin] = bytes(known)
        arena.view[rest : max(rest, end)] = bytes(max(rest, end) - rest)
        return found, base - known, more

    def _remember(self, view: memoryview, top: int, consumed: int, changed: bool) -> None:
        """Know the bytes before the offset again, and the file's first ones while it is short."""
        if changed or consumed - top < HEAD:
            self.last = imprint_of(self.fd, min(HEAD, self.offset), max(0, self.offset - HEAD))
        else:
            self.last = imprint(view[consumed - HEAD : consumed])
        if self.head.size < HEAD:
            self.head, self.digest = beginning(self.fd)

    def start_at(self, offset: int) -> None:
        """Go on at `offset`. Raises OSError."""
        self.offset = offset
        if self.fd >= 0:
            self.last = imprint_of(self.fd, min(HEAD, offset), max(0, offset - HEAD))

    def begin_anew(self) -> None:
        """The file was cut to nothing. Raises OSError."""
        self.offset = self.seen = 0
        self.last = Imprint()
        self.head, self.digest = beginning(self.fd)
        self.skipping = False

    def mark(self) -> Mark:
        """Its position."""
        return Mark(
            self.device, self.inode, self.head.size, self.digest, self.offset, self.skipping,
            self.mark_state, self.modified, self.seen,
        )  # fmt: skip

    def close(self) -> None:
        self.raw.close()


def open_tail(path: str, offset: int = 0, final: bool = False) -> Tail:
    """A plain file from `offset`. Raises OSError."""
    fd, state = open_regular(path)
    try:
        tail = Tail(Plain(fd, final), path, state, beginning(fd))
        tail.start_at(offset)
        return tail
    except OSError:
        os.close(fd)
        raise
