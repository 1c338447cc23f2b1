"""The compiled shortest way of a ban through the enforcer. It may be missing: then Python does the same.

On an idle machine the processor's caches are cold when a ban comes, and Python's way from the judge's frame
to the kernel's answer takes a tenth of a millisecond longer than the few hundred instructions of `hot` (see
man/notes/0013-live-latency.md). Built with the compiled core (mailguard/core/native says how). It takes only
frames of one new host; every other one goes the long way, and so does whatever the kernel does not simply
acknowledge.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import mailguard

#: What Python and the compiled module agree on; `hot` has the same number as its `INTERFACE`.
INTERFACE = 2


def load() -> Any:
    """The compiled module; None where it is not there, is of another version, is forbidden by
    MAILGUARD_NATIVE=0, or the machine's numbers are big-endian, which it cannot read."""
    if not mailguard.NATIVE:
        return None
    try:
        module = importlib.import_module(f"{__name__}.hot")
    except ImportError:
        return None
    return module if module.INTERFACE == INTERFACE and sys.byteorder == "little" else None
