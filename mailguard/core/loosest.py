"""The loosest of many settings: what fires under none of its detectors fires under none of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .detectors import Detector


def loosest(detectors: Sequence[Detector]) -> list[Detector]:
    """Detectors that fire wherever one of these may: lowest counts, widest windows, nobody excused."""
    groups: dict[tuple[Any, ...], list[Detector]] = {}
    for found in detectors:
        form = found.distinct if found.distinct in ("source", "network") else bool(found.distinct)
        groups.setdefault((found.key, frozenset(found.on), form, found.count > 0), []).append(found)
    return [
        Detector(
            f"loosest-{number}",
            "",
            alike[0].on,
            alike[0].key,
            max(found.within for found in alike),
            count=min(found.count for found in alike),
            distinct=alike[0].distinct,
            values=min(found.values for found in alike),
        )
        for number, alike in enumerate(groups.values())
    ]
