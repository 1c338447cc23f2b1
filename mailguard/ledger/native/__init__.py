"""What the ledger's thread does for every hostile line and every changed row, compiled. It may be missing:
then Python does the same.

Under attack the thread takes a twentieth of a processor, two thirds of it Python, and holds lines up that
decide while it holds Python's lock (see man/notes/0013-live-latency.md). Built with the compiled core
(mailguard/core/native says how). A line that is not plain, or in which a secret could stand, is left to
`redact`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import mailguard

#: What Python and the compiled module agree on; `keep` has the same number as its `INTERFACE`.
INTERFACE = 5


def load() -> Any:
    """The compiled module; None where it is not there, is of another version, is forbidden by
    MAILGUARD_NATIVE=0, or the machine's numbers are big-endian, which it cannot write."""
    if not mailguard.NATIVE:
        return None
    try:
        module = importlib.import_module(f"{__name__}.keep")
    except ImportError:
        return None
    return module if module.INTERFACE == INTERFACE and sys.byteorder == "little" else None
