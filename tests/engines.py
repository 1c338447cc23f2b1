"""The prefilters that tests hold beside each other: all, but the compiled one where it was not compiled
(which tests/core/test_native_scan.py says)."""

from __future__ import annotations

from mailguard.core import native
from mailguard.core.prefilter import ENGINES

HERE = tuple(engine for engine in ENGINES if engine != "native" or native.load("scan") is not None)
