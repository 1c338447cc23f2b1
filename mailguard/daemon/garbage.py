"""When Python looks for cycles. Events make none, and each look holds lines up that decide."""

from __future__ import annotations

import gc

#: New objects after which the new ones are looked at, how often that is until those that stayed are looked
#: at again, and how often that until all are: never, because of `settle`. Under load thousands wait for the
#: ledger's thread at any time: a number below that would look at each of them before it goes by itself.
_OFTEN = (5_000, 5, 1_000_000)


def seldom() -> None:
    """From now on look at what is new, and at nothing that stands for long."""
    gc.collect()
    settle()
    gc.set_threshold(*_OFTEN)


def settle() -> None:
    """What stands now stands for long: it need not be looked at again. What nobody refers to any more is
    still given back at once; only cycles made long ago would stay."""
    gc.collect(1)
    gc.freeze()
