"""What a sweep came to, for one detector: figures, frontier, advice, doubts and what to paste."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..replay.summary import Summary, whole
from .doubts import Doubt, doubts
from .frontier import Advice, advise, frontier
from .grid import Grid, changed, present, shown
from .measures import Measures
from .paste import settings_text


@dataclass(frozen=True, slots=True)
class Outcome:
    """`found`: the figures of the settings that were tried, by place in `grid.variants`."""

    grid: Grid
    found: Mapping[int, Measures]
    line: Sequence[int]  # the frontier
    advice: Advice | None
    doubts: Sequence[Doubt]

    @property
    def paste(self) -> str:
        """TOML that makes the advised setting of the present one; empty where nothing is to change."""
        if self.advice is None:
            return ""
        return settings_text(self.grid.detector, self.grid.variants[self.advice.place])

    def setting(self, place: int) -> dict[str, str]:
        """A setting by axis, each value as the settings write it."""
        return {name: shown(name, value) for name, value in present(self.grid.variants[place]).items()}

    def name(self, place: int) -> str:
        """A setting in one line: what is swept."""
        values = self.setting(place)
        return ", ".join(f"{axis} {values[axis]}" for axis in self.grid.axes)

    def row(self, place: int) -> dict[str, Any]:
        """A setting with its figures, as plain values."""
        figures = self.found[place].row()
        for name in ("median", "worst"):
            figures[name] = None if figures[name] is None else whole(figures[name])
        return {
            "detector": self.grid.detector.name,
            "setting": self.setting(place),
            "changed": sorted(changed(self.grid.detector, self.grid.variants[place])),
            **figures,
            "share": round(self.found[place].share, 6),
            "frontier": place in self.line,
            "present": place == 0,
            "advised": self.advice is not None and self.advice.place == place,
        }


def outcomes(
    grids: Sequence[Grid], done: Mapping[int, Measures], summary: Summary, shutouts: int
) -> list[Outcome]:
    """One for each grid of which anything was tried. `done`: by place in all grids, one behind the other."""
    made: list[Outcome] = []
    begin = 0
    for grid in grids:
        end = begin + len(grid.variants)
        found = {place - begin: done[place] for place in sorted(done) if begin <= place < end}
        begin = end
        if not found:
            continue
        advice = advise(found, grid.variants)
        chosen = None if advice is None else advice.place
        told = doubts(summary, grid.variants, found, chosen, shutouts)
        made.append(Outcome(grid, found, frontier(found, grid.variants), advice, told))
    return made
