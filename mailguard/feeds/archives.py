"""Compressed logs: gzip, xz, bzip2 and zstd, known by their first bytes; what can only be unpacked by hand.

Gzip goes through `isal` where it is installed, which is about three times as fast as zlib. Zstd is in the
standard library from Python 3.14 on; before that `backports.zstd` reads it (`pip install mailguard[zstd]`).
"""

from __future__ import annotations

import bz2
import errno
import lzma
import stat
import zlib
from collections.abc import Callable, Generator
from typing import Any, BinaryIO, Protocol

from mailguard.feeds import native

#: What reading a broken compressed file raises.
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)


class Packed(Protocol):
    """A compressed file that is open; every read may raise one of BROKEN."""

    def read(self, size: int = -1, /) -> bytes: ...

    def read1(self, size: int = -1, /) -> bytes: ...

    def readinto(self, view: Any, /) -> int: ...

    def peek(self, size: int = 1, /) -> bytes: ...

    def close(self) -> None: ...

    def __enter__(self) -> Packed: ...

    def __exit__(self, *_: Any) -> None: ...


#: Beginnings of files that hold other files, or are compressed in a way that is not read here.
ARCHIVES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "rar"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
)


def _zlib() -> Any:
    try:
        from isal import isal_zlib

        return isal_zlib
    except ImportError:
        return zlib


class Members:
    """A compressed file of any number of members (of .xz: streams), with any number of zeros between and
    behind them. What was unpacked before a damaged place is handed out before the error is raised, but for a
    small step; what follows the last member and is none is an error, too."""

    _STEP = 1 << 13

    def __init__(self, path: str | BinaryIO, make: Callable[[], Any]):
        """`make`: a decompressor of one member, as those of `lzma` and `bz2`."""
        self._file: BinaryIO = open(path, "rb") if isinstance(path, str) else path  # noqa: SIM115
        self._make = make
        self._member = make()
        self._kept = b""  # decompressed bytes that were looked at

    def _next(self) -> bytes:
        """Begin the next member: the first bytes of it, none at the end of the file."""
        rest: bytes = (self._member.unused_data or self._file.read(self._STEP)).lstrip(b"\0")
        while not rest and (more := self._file.read(self._STEP)):
            rest = more.lstrip(b"\0")
        if rest:
            self._member = self._make()
        return rest

    def _raw(self) -> bytes:
        """More of a member that has not ended."""
        if not (data := self._file.read(self._STEP)):
            raise EOFError("the compressed file ends in the middle")
        return data

    def _more(self, size: int) -> bytes:
        while True:
            data = b""
            if self._member.eof:
                if not (data := self._next()):
                    return b""
            elif self._member.needs_input:
                data = self._raw()
            if found := self._unpacked(data, size):
                return found

    def _unpacked(self, data: bytes, size: int) -> bytes:
        try:
            found: bytes = self._member.decompress(data, size)
        except Exception as error:
            raise OSError(f"the compressed file is damaged: {error}") from error
        return found

    def read1(self, size: int = -1) -> bytes:
        size = size if size > 0 else self._STEP
        if self._kept:
            found, self._kept = self._kept[:size], self._kept[size:]
            return found
        return self._more(size)

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end or before a damaged place."""
        pieces: list[bytes] = []
        left = size if size >= 0 else 1 << 62
        while left:
            try:
                piece = self.read1(min(left, 1 << 20))
            except (OSError, EOFError):
                if pieces:  # raised again at the next call
                    break
                raise
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def readinto(self, view: Any) -> int:
        found = self.read1(len(view))
        view[: len(found)] = found
        return len(found)

    def peek(self, size: int = 1) -> bytes:
        if len(self._kept) < size:
            self._kept += self.read(size - len(self._kept))
        return self._kept

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Gzip(Members):
    """The same of gzip, whose decompressors give back what they did not use."""

    _STEP = 1 << 16

    def __init__(self, path: str | BinaryIO):
        module = _zlib()
        super().__init__(path, lambda: module.decompressobj(wbits=31))

    def _more(self, size: int) -> bytes:
        while True:
            data: bytes = self._member.unconsumed_tail
            if self._member.eof:
                if not (data := self._next()):
                    return b""
            elif not data:
                data = self._raw()
            if found := self._unpacked(data, size):
                return found


def _xz(path: str | BinaryIO) -> Members:
    return Members(path, lzma.LZMADecompressor)


def _bzip2(path: str | BinaryIO) -> Members:
    return Members(path, bz2.BZ2Decompressor)


def _zstd(path: str | BinaryIO) -> Any:
    zstd = zstd_module()
    if zstd is None:
        raise OSError("it is compressed with zstd, which needs a package: pip install 'mailguard[zstd]'")
    return Zstd(zstd.open(path, "rb"), zstd.ZstdError)


def zstd_module() -> Any:
    """The module that reads zstd, None where there is none."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            return None
    return zstd


class Zstd:
    """A zstd file whose errors are those of the other formats."""

    def __init__(self, file: Any, error: type[Exception]):
        self._file = file
        self._error = error

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._file.read(size))
        except self._error as error:
            raise OSError(str(error)) from error

    def read1(self, size: int = -1) -> bytes:
        try:
            return bytes(self._file.read1(size))
        except self._error as error:
            raise OSError(str(error)) from error

    def readinto(self, view: Any) -> int:
        try:
            return int(self._file.readinto(view) or 0)
        except self._error as error:
            raise OSError(str(error)) from error

    def peek(self, size: int = 1) -> bytes:
        try:
            return bytes(self._file.peek(size))
        except self._error as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Zstd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_XZ, _BZIP2, _ZSTD = b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd"
_MAGIC: tuple[tuple[bytes, Callable[[str | BinaryIO], Packed]], ...] = (
    (b"\x1f\x8b", Gzip),
    (_XZ, _xz),
    (_BZIP2, _bzip2),
    (_ZSTD, _zstd),
)


def open_packed(path: str) -> Packed | None:
    """The decompressed contents of a compressed file, known by its first bytes; None for other files.

    Raises OSError."""
    with open(path, "rb") as file:
        opener = _opener(file.read(6))
    return None if opener is None else opener(path)


def unpacking(file: BinaryIO, begin: bytes) -> Packed | None:
    """The decompressed contents of a stream, such as standard input, that begins with `begin`, which is still
    in it; None for what is not compressed. Raises OSError."""
    opener = _opener(begin)
    return None if opener is None else opener(file)


#: A call that unpacks gives the interpreter away while it works and waits for it at its end; so calls that
#: run beside other work are to be few. They read so much and give so much at most, in bytes.
_RAW, STRIDE = 1 << 18, 4 << 20


def strides(path: str) -> Generator[bytes, None, None] | None:
    """The same contents in long strides; None for what `open_packed` reads as fast. Whatever is strange about
    the file raises something (one of BROKEN, or a format's own error) and takes its stride with it: what is
    wrong, and what can still be read, `open_packed` tells. Raises OSError."""
    file = open(path, "rb")  # noqa: SIM115
    begin = file.read(6)
    make: Callable[[], Any] | None = None
    if begin.startswith(_XZ):
        make = lzma.LZMADecompressor
    elif begin.startswith(_BZIP2):
        make = bz2.BZ2Decompressor
    elif begin.startswith(_ZSTD) and (zstd := zstd_module()) is not None:
        make = zstd.ZstdDecompressor
    if make is None:
        file.close()
        return None
    file.seek(0)
    return _strides(file, make)


class Unxz(Protocol):
    """The contents of an .xz file, unpacked by a thread that never wants the interpreter."""

    def readinto(self, view: Any, /) -> int:
        """Fill `view`, with at most 1 MiB and with less only at the end; 0 there. Raises LZMAError where
        `strides` raises anything. By then the last 1 MiB that can be read was not given."""

    def close(self) -> None: ...


def unxz(path: str) -> Unxz | None:
    """The same contents again, instead of `strides`; None for what is no .xz file, and where the compiled
    module or liblzma is not there. Raises OSError."""
    with open(path, "rb") as file:
        if file.read(len(_XZ)) != _XZ:
            return None
    module = native.load("xz")
    found: Unxz | None = module.Unxz(path) if module is not None and module.possible else None
    return found


def _strides(file: BinaryIO, make: Callable[[], Any]) -> Generator[bytes, None, None]:
    with file:
        member = make()
        while True:
            data = b""
            if member.eof:
                data = member.unused_data or file.read(_RAW)
                if not data:
                    return
                member = make()
            elif member.needs_input:
                data = file.read(_RAW)
                if not data:
                    raise EOFError("the compressed file ends in the middle")
            if found := member.decompress(data, STRIDE):
                yield found


def _opener(begin: bytes) -> Callable[[str | BinaryIO], Packed] | None:
    return next((opener for magic, opener in _MAGIC if begin.startswith(magic)), None)


def is_pipe(mode: int) -> bool:
    """Whether a file of that mode can be read only once, and perhaps has nobody who writes to it."""
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def pipe_error(path: str) -> OSError:
    """Why a pipe that was named is not read: what a log is can only be found out by reading it twice."""
    return OSError(errno.ESPIPE, "it is a pipe; send it to standard input and name it -", path)
