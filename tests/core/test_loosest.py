"""Detectors that fire wherever one of many may."""

from __future__ import annotations

from dataclasses import replace

from mailguard.core.detectors import Detector
from mailguard.core.loosest import loosest


def test_the_loosest_asks_for_the_least() -> None:
    """One for each way of counting, with the lowest count and the widest window; nobody is excused."""
    one = Detector("a", "", ("auth_failure",), "source", 60.0, count=5, who="stranger")
    two = replace(one, name="b", within=600.0, count=9, unless=(("user", ""),))
    (found,) = loosest([one, two])
    assert (found.count, found.within, found.who, found.unless) == (5, 600.0, "any", ())
