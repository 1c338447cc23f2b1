"""What of the feeds is compiled. It may be missing: then Python does the same, more slowly.

`near` is the shortest way of a line from the kernel's notice to the arena. On an idle machine the processor's
caches are cold when a line comes, and under load a thousand wake-ups a second pay for every instruction of
Python between them (see man/notes/0013-live-latency.md). It takes only the common case: one log, by inotify,
whole lines appended to the file that was read before; everything else goes the long way.

`xz` unpacks in a thread that never waits for the interpreter, by the host's liblzma. It takes only what is
right from beginning to end; the rest is Python's.

Built with the compiled core (mailguard/core/native says how).
"""

from __future__ import annotations

import importlib
from typing import Any

import mailguard

#: What Python and the compiled modules agree on; each has the same number as its `INTERFACE`.
INTERFACE = {"near": 5, "xz": 1}


def load(name: str) -> Any:
    """The compiled module called `name`; None where it is not there, was compiled from another version, or
    MAILGUARD_NATIVE=0 forbids it."""
    if not mailguard.NATIVE:
        return None
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ImportError:
        return None
    return module if INTERFACE[name] == module.INTERFACE else None
