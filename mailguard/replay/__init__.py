"""Recorded logs through the very same loop: what the policy would have done, and whom it would have hurt.

Logs merge by each log's running maximum stamp, ties by the log that begins earlier, then by place; so the
output is the same whatever the order of the arguments and the number of workers, and the same as that of a
guard that had read the lines when they were written. Nothing is banned and nothing is kept: the firewall
records, the ledger forgets, and the state of a running guard is at most read.
"""

from __future__ import annotations

from .feed import BATCH, Collector, Forgetful, Merged, replay
from .rows import row, rows
from .summary import Summary

__all__ = ["BATCH", "Collector", "Forgetful", "Merged", "Summary", "replay", "row", "rows"]
