"""The meter of what grows, as the guard uses it: which spools, which logs, and what `status` says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..definitions.settings import Growth as Settings
from ..definitions.settings import Log
from ..feeds.growth import POSTFIX_QUEUE, Meter

if TYPE_CHECKING:
    from .guard import Guard


def roots(settings: Settings, logs: Sequence[Log]) -> tuple[str, ...]:
    """The spools whose messages are counted."""
    if settings.spools != ("auto",):
        return settings.spools
    found = [path for log in logs if log.kind == "epost" for path in log.path]
    if os.path.isdir(POSTFIX_QUEUE):
        found.append(POSTFIX_QUEUE)
    return tuple(dict.fromkeys(found))


def measure(guard: Guard) -> Meter | None:
    """A meter that measures from now on; None where the settings want none."""
    settings = guard.loaded.settings.growth
    if not settings.enabled:
        return None

    def sizes() -> dict[str, int]:
        return {name: known["bytes"] for name, known in guard.feed.status().items() if not known["words"]}

    # A demonstration looks at nothing of this host.
    spools = () if guard.options.demo else roots(settings, guard.logs)
    meter = Meter(spools, sizes, guard.clock, settings.rules.every)
    meter.attend(guard.feed.wait)
    return meter


def status(guard: Guard) -> dict[str, Any] | None:
    """What is measured: each log and folder (see `core.growth`), and folders that cannot be counted, with the
    reason; None when nothing is measured."""
    growth = guard.judge.growth
    if growth is None:
        return None
    unreadable = {} if guard.meter is None else dict(guard.meter.unreadable)
    return {"things": growth.status(), "unreadable": unreadable, "left_out": growth.left_out}
