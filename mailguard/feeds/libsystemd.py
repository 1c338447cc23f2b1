"""The systemd journal through libsystemd, by ctypes: no dependency to compile, fields as bytes.

Facts: sd_journal_open(3), sd_journal_next(3), sd_journal_get_data(3), sd_journal_get_fd(3),
sd_journal_get_cursor(3).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Sequence
from typing import Any

NOP, APPEND, INVALIDATE = 0, 1, 2
LOCAL_ONLY = 1

_P = ctypes.c_void_p
_S = ctypes.c_char_p
_U64 = ctypes.c_uint64
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "open": (ctypes.POINTER(_P), ctypes.c_int),
    "open_files": (ctypes.POINTER(_P), ctypes.POINTER(_S), ctypes.c_int),
    "open_directory": (ctypes.POINTER(_P), _S, ctypes.c_int),
    "set_data_threshold": (_P, ctypes.c_size_t),
    "get_fd": (_P,),
    "get_events": (_P,),
    "get_timeout": (_P, ctypes.POINTER(_U64)),
    "reliable_fd": (_P,),
    "process": (_P,),
    "next": (_P,),
    "previous": (_P,),
    "seek_head": (_P,),
    "seek_tail": (_P,),
    "seek_cursor": (_P, _S),
    "test_cursor": (_P, _S),
    "get_cursor": (_P, ctypes.POINTER(_P)),
    "get_data": (_P, _S, ctypes.POINTER(_P), ctypes.POINTER(ctypes.c_size_t)),
    "get_realtime_usec": (_P, ctypes.POINTER(_U64)),
    "get_cutoff_realtime_usec": (_P, ctypes.POINTER(_U64), ctypes.POINTER(_U64)),
    "add_match": (_P, _P, ctypes.c_size_t),
}


class LibraryMissingError(OSError):
    """libsystemd is not on this host."""


@functools.cache
def library() -> dict[str, Any]:
    """The functions of libsystemd by their names without `sd_journal_`. Raises LibraryMissingError."""
    try:
        loaded = ctypes.CDLL("libsystemd.so.0")
        functions: dict[str, Any] = {}
        for name, arguments in _SIGNATURES.items():
            function = getattr(loaded, f"sd_journal_{name}")
            function.argtypes = arguments
            function.restype = ctypes.c_int
            functions[name] = function
        functions["close"] = loaded.sd_journal_close
        functions["close"].argtypes = (_P,)
        functions["close"].restype = None
        functions["free"] = ctypes.CDLL(None).free
        functions["free"].argtypes = (_P,)
        functions["free"].restype = None
    except (OSError, AttributeError) as error:
        raise LibraryMissingError(errno.ENOENT, f"libsystemd cannot be used: {error}") from error
    return functions


class Journal:
    """An open journal: this host's, one folder's, or given files'. Raises OSError."""

    def __init__(self, files: Sequence[str] = (), folder: str = ""):
        self._lib = library()
        self._handle = _P()
        handle = ctypes.byref(self._handle)
        if files:
            names = (_S * (len(files) + 1))(*[os.fsencode(file) for file in files], None)
            self._do("open_files", handle, names, 0)
        elif folder:
            self._do("open_directory", handle, os.fsencode(folder), 0)
        else:
            self._do("open", handle, LOCAL_ONLY)
        self._data = _P()
        self._length = ctypes.c_size_t()
        self._get = self._lib["get_data"]
        self._next = self._lib["next"]
        self.call("set_data_threshold", 0)

    def _do(self, name: str, *arguments: Any) -> int:
        result: int = self._lib[name](*arguments)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def call(self, name: str, *arguments: Any) -> int:
        """A function of the library on this journal; its non-negative result. Raises OSError."""
        return self._do(name, self._handle, *arguments)

    def match(self, field: str, value: str) -> None:
        """Only entries with this value; several for one field mean any of them, different fields all."""
        text = os.fsencode(f"{field}={value}")
        self.call("add_match", ctypes.cast(ctypes.c_char_p(text), _P), len(text))

    def step(self) -> bool:
        """Go to the next entry; False at the end. Raises OSError."""
        result: int = self._next(self._handle)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result > 0

    def get(self, field: bytes) -> bytes | None:
        """A field of the entry (the first one where it occurs twice); None where it has none or it is
        damaged.
        """
        data, length = self._data, self._length
        if self._get(self._handle, field, ctypes.byref(data), ctypes.byref(length)) < 0:
            return None
        return ctypes.string_at(data.value or 0, length.value)[len(field) + 1 :]

    def realtime(self) -> int:
        """When the journal took the entry in: microseconds since 1970."""
        value = _U64()
        self.call("get_realtime_usec", ctypes.byref(value))
        return value.value

    def oldest(self) -> int:
        """The same for the oldest entry there is; 0 in an empty journal."""
        begin, end = _U64(), _U64()
        self.call("get_cutoff_realtime_usec", ctypes.byref(begin), ctypes.byref(end))
        return begin.value

    def cursor(self) -> bytes:
        """What finds the entry again. Raises OSError when there is no entry to name."""
        text = _P()
        self.call("get_cursor", ctypes.byref(text))
        value = ctypes.string_at(text.value or 0)
        self._lib["free"](text)
        return value

    def timeout(self) -> float | None:
        """Monotonic seconds at which `process` must be called though the descriptor is quiet; None: never."""
        value = _U64()
        self.call("get_timeout", ctypes.byref(value))
        return None if value.value == 2**64 - 1 else value.value / 1e6

    def close(self) -> None:
        """May be repeated."""
        if self._handle:
            self._lib["close"](self._handle)
            self._handle = _P()
