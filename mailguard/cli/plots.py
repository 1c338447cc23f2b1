"""Small plots for a terminal: a row of bars as tall as one line.

The bars stand in the last column of a table: terminals of East Asia may draw them two columns wide, and there
nothing stands behind them that would be moved.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = " .:-=+*#@"  # where the terminal has no blocks


def spark(values: Sequence[int], ramp: str | None = None) -> str:
    """A bar for each value, the largest of full height; what is more than nothing is seen."""
    ramp = shown() if ramp is None else ramp
    most = max(values, default=0)
    steps = len(ramp) - 1
    return "".join(ramp[0 if not value else max(1, round(steps * value / most))] for value in values)


def shown() -> str:
    """The signs that standard output can carry, lowest first."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS
