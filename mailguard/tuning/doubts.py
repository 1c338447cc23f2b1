"""What the history is too short or too thin to say: ids of texts with arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.detectors import Detector
from ..replay.summary import Summary
from .measures import Measures

FEW_ATTACKERS = 20  # hostile sources that any setting would have banned by the detector
FEW_KNOWN = 100  # accepted mail and logins
DAY = 86400.0

Doubt = tuple[str, Mapping[str, Any]]


def doubts(
    summary: Summary,
    grid: Sequence[Detector],
    found: Mapping[int, Measures],
    chosen: int | None,
    shutouts: int = 0,
) -> list[Doubt]:
    """What speaks against relying on the figures. `grid`: the settings; `shutouts`: bans of the running
    guard, under which nothing could be seen."""
    told: list[Doubt] = []
    if not found:
        return told
    logins, mail = summary.by_kind["auth_success"], summary.by_kind["mail_accepted"]
    longer = sorted({one.within for one in grid if one.within > summary.seconds})
    if summary.seconds < 1.5 * DAY:
        told.append(("one-day", {"seconds": summary.seconds}))
    if longer:
        told.append(("window", {"seconds": summary.seconds, "within": longer[0], "windows": len(longer)}))
    if chosen is not None and grid[chosen].within * 2 > summary.seconds and grid[chosen].within not in longer:
        told.append(("twice", {"seconds": summary.seconds, "within": grid[chosen].within}))
    most = max(one.own for one in found.values())
    if most < FEW_ATTACKERS:
        told.append(("few-attackers", {"bans": most}))
    if logins + mail < FEW_KNOWN:
        told.append(("few-known", {"logins": logins, "mail": mail}))
    elif not logins:
        told.append(("no-logins", {}))
    elif not mail:
        told.append(("no-mail", {}))
    if shutouts:
        told.append(("shut-out", {"bans": shutouts}))
    return told
