"""The compiled core: equal twins of the modules that every line or event goes through. It may be missing.

Every module here (`*.pyx`) is optional. The Python module that it replaces stays the reference and the
fallback, and a differential test holds the two together. Whoever makes a `Scanner`, `Engine`, ... says with
`native=` whether the twin is used: True (ValueError where it is not there), False, or None: where it is
there and was not forbidden.

Build: `make native`, or `python hatch_build.py [NAME]...` with Cython and setuptools at hand; `pip install
-e .` does it too. The generated C and the compiled modules are not kept in git. After a change of what
Python and a compiled module agree on (arguments, attributes), raise the number here and in the module: one
that was compiled before the change is then not used, instead of being wrong.
"""

from __future__ import annotations

import importlib
from typing import Any

import mailguard

#: What Python and the compiled modules agree on; each has the same number as its `INTERFACE`.
INTERFACE = {"scan": 7, "engine": 8, "sessions": 10, "flow": 4, "trying": 3, "turn": 1}


def load(name: str) -> Any:
    """The compiled module called `name`; None where it is not there, was compiled from another version, or
    MAILGUARD_NATIVE=0 forbids it."""
    if not mailguard.NATIVE:
        return None
    module = globals().get(name)  # once imported: it is asked for every batch, and importing takes longer
    if module is None:
        try:
            module = importlib.import_module(f"{__name__}.{name}")
        except ImportError:
            return None
    return module if INTERFACE[name] == module.INTERFACE else None


def choose(name: str, native: bool | None) -> Any:
    """The module to use for `native` as the constructors take it; None: the Python code.

    Raises ValueError for True where it is not there.
    """
    if native is False:
        return None
    module = load(name)
    if module is None and native:
        raise ValueError(f"the compiled module {name} is not there: see mailguard.core.native")
    return module


def there() -> tuple[str, ...]:
    """Names of the compiled modules that are used, for `check` and `status`."""
    return tuple(name for name in INTERFACE if load(name) is not None)
