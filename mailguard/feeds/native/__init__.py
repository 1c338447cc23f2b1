"""The compiled shortest way of a line from the kernel's notice to the arena. It may be missing: then Python
does the same.

On an idle machine the processor's caches are cold when a line comes, and under load a thousand wake-ups a
second pay for every instruction of Python between them (see man/notes/0013-live-latency.md). Built with the
compiled core (mailguard/core/native says how). It takes only the common case: one log, by inotify, whole
lines appended to the file that was read before; everything else goes the long way.
"""

from __future__ import annotations

import importlib
from typing import Any

import mailguard

#: What Python and the compiled module agree on; `near` has the same number as its `INTERFACE`.
INTERFACE = 5


def load() -> Any:
    """The compiled module; None where it is not there, is of another version, or is forbidden by
    MAILGUARD_NATIVE=0."""
    if not mailguard.NATIVE:
        return None
    try:
        module = importlib.import_module(f"{__name__}.near")
    except ImportError:
        return None
    return module if module.INTERFACE == INTERFACE else None
