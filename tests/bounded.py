"""File permissions that count for root too, so that a test of them runs the same as any user."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522
#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (linux/capability.h), bits of the first word.
_ABOVE_PERMISSIONS = 1 << 1 | 1 << 2


def _call(name: str, words: ctypes.Array[ctypes.c_uint32]) -> None:
    """capget(2) or capset(2) for the calling thread; `words` are effective, permitted, inheritable, twice."""
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    if getattr(ctypes.CDLL(None, use_errno=True), name)(header, words):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@contextmanager
def by_permissions() -> Iterator[None]:
    """Inside, this thread may read and write what the permissions of its user allow, and no more."""
    words = (ctypes.c_uint32 * 6)()
    _call("capget", words)
    before = words[0]
    words[0] = before & ~_ABOVE_PERMISSIONS
    _call("capset", words)
    try:
        yield
    finally:
        words[0] = before
        _call("capset", words)
