"""What the settings are worth: the frontier of protection against harm, and what is recommended and why.

Harm is how many bans would have hurt somebody known (among equals: how many accounts and partners);
protection is how few hostile events were let through. A setting is on the frontier when no other does at
least as well in both and better in one. The recommended one is the knee: where further protection begins to
cost more harm than it did before.

Never: recommends what hurts more than the present setting for less than `WORTH` of the hostile events, or a
change that changes nothing to speak of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.detectors import Detector
from .grid import changed
from .measures import Measures

WORTH = 0.005  # of all hostile events: less is nothing to speak of

Place = int


@dataclass(frozen=True, slots=True)
class Advice:
    """Which setting is recommended, and why: ids of texts with arguments."""

    place: Place
    reasons: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=())


def harm(measures: Measures) -> tuple[int, int]:
    """Bans that hurt, and whom: less is better."""
    return measures.hurt, measures.accounts + measures.partners


def frontier(found: Mapping[Place, Measures], variants: Sequence[Detector]) -> list[Place]:
    """The places on the frontier, from the least harm to the most. Of equals the one that changes least."""

    def order(place: Place) -> tuple[Any, ...]:
        measures = found[place]
        far = len(changed(variants[0], variants[place]))
        return *harm(measures), measures.through, far, measures.peak, place

    kept: list[Place] = []
    for place in sorted(found, key=order):
        if not kept or found[place].through < found[kept[-1]].through:
            kept.append(place)
    return kept


def knee(line: Sequence[tuple[float, float]]) -> int:
    """Of points from the least harm to the most, let-through falling, the one furthest below the straight
    line between the ends; the first where none is."""
    if len(line) < 3:
        return 0
    (x0, y0), (x1, y1) = line[0], line[-1]
    width, height = (x1 - x0) or 1.0, (y0 - y1) or 1.0
    best, depth = 0, 0.0
    for place, (x, y) in enumerate(line):
        below = (1.0 - (x - x0) / width) - (y - y1) / height
        if below > depth + 1e-12:
            best, depth = place, below
    return best


def advise(found: Mapping[Place, Measures], variants: Sequence[Detector]) -> Advice | None:
    """The recommendation; None where nothing was tried. Place 0 is the present setting."""
    line = frontier(found, variants)
    if not line:
        return None
    if 0 not in found:
        return Advice(line[0], (("unfinished", {}),))
    now = found[0]
    hostile = now.stopped + now.through
    if not hostile:
        return Advice(0, (("quiet", {}),))
    if not any(one.own for one in found.values()):
        return Advice(0, (("never-fires", {"detector": variants[0].name}),))
    chosen = line[knee([(float(found[one].hurt), found[one].share) for one in line])]
    best = found[chosen]
    reasons: list[tuple[str, Mapping[str, Any]]] = []
    if best.hurt > now.hurt and now.share - best.share < WORTH:
        chosen, best = _gentle(found, line, now)
    if chosen != 0 and _same(best, now):
        chosen, best = 0, now
    if chosen == 0:
        reasons.append(("keep", {}))
    else:
        if best.through < now.through:
            reasons.append(
                ("stops", {"more": now.through - best.through, "share": best.share, "was": now.share})
            )
        elif best.through > now.through:
            reasons.append(
                ("costs", {"more": best.through - now.through, "share": best.share, "was": now.share})
            )
        # One ban of a wide network may lock out more people than five of addresses: that spares nobody.
        if best.hurt < now.hurt and best.accounts + best.partners <= now.accounts + now.partners:
            reasons.append(("spares", {"hurt": best.hurt, "was": now.hurt}))
        elif best.hurt > now.hurt:
            reasons.append(("hurts", {"hurt": best.hurt, "was": now.hurt}))
    reasons += _slopes(found, line, chosen)
    reasons.append(("nobody", {}) if not best.hurt else ("somebody", _whom(best)))
    return Advice(chosen, tuple(reasons))


def _gentle(found: Mapping[Place, Measures], line: Sequence[Place], now: Measures) -> tuple[Place, Measures]:
    """The most protective setting of the frontier that hurts no more than the present one; else that one."""
    kept = [one for one in line if found[one].hurt <= now.hurt]
    return (kept[-1], found[kept[-1]]) if kept else (0, now)


def _same(one: Measures, other: Measures) -> bool:
    """Nothing to speak of lies between the two."""
    return harm(one) == harm(other) and abs(one.share - other.share) < WORTH


def _whom(measures: Measures) -> Mapping[str, Any]:
    return {"hurt": measures.hurt, "accounts": measures.accounts, "partners": measures.partners}


def _slopes(
    found: Mapping[Place, Measures], line: Sequence[Place], chosen: Place
) -> list[tuple[str, Mapping[str, Any]]]:
    """What the next steps along the frontier would buy and cost."""
    if chosen not in line:
        return []
    told: list[tuple[str, Mapping[str, Any]]] = []
    at = line.index(chosen)
    mine, last = found[chosen], found[line[-1]]
    if last.hurt > mine.hurt:
        told.append(("beyond", {"hurt": last.hurt - mine.hurt, "more": mine.through - last.through}))
    elif at == len(line) - 1:
        told.append(("end", {}))
    first = found[line[0]]
    if at and first.hurt < mine.hurt:
        told.append(("before", {"hurt": mine.hurt - first.hurt, "more": first.through - mine.through}))
    return told
