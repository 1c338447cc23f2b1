"""Times and lengths as a person reads them: this host's zone, rounded lengths."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from mailguard.locale import length
from mailguard.notation import format_time

from .messages import text

#: What the guard calls a point in time in its answers.
TIMES = frozenset(("time", "since", "until", "first", "last", "last_hit", "started", "now", "newest"))
TIMES |= {"first_mail", "last_mail", "first_login", "last_login", "paused_until", "last_line", "unbanned"}


def local(moment: float) -> str:
    """`2026-11-22 03:00:11+01:00` in this host's zone, or as the language that is spoken writes it."""
    when = datetime.fromtimestamp(int(moment)).astimezone()
    date, clock = when.isoformat(sep=" ").split(" ")
    year, month, day = date.split("-")
    told = {"year": year, "month": month, "day": day, "clock": clock[:8], "offset": clock[8:]}
    return text("time.moment", **told, zone=when.tzname() or clock[8:])


def brief(moment: float, now: float | None = None) -> str:
    """`11-22 03:00` in this host's zone, for a column; with its year where that is not this one."""
    when = datetime.fromtimestamp(int(moment)).astimezone()
    year, month, day = when.date().isoformat().split("-")
    told = {"year": year, "month": month, "day": day, "clock": f"{when:%H:%M}"}
    this = datetime.fromtimestamp(time.time() if now is None else now).astimezone().year
    return text("time.brief" if when.year == this else "time.brief-year", **told)


def timed(answer: Any) -> Any:
    """An answer of the guard with its times as RFC 3339 text, as JSON shows them everywhere."""
    if isinstance(answer, dict):
        return {
            name: format_time(value)
            if name in TIMES and isinstance(value, float | int) and not isinstance(value, bool)
            else timed(value)
            for name, value in answer.items()
        }
    return [timed(each) for each in answer] if isinstance(answer, list) else answer


def rough(seconds: float) -> str:
    """A length in its two largest units, for people: `3d4h`, `9m12s`."""
    seconds = max(0, round(seconds))
    for size, unit in ((86400, 3600), (3600, 60)):
        if seconds >= size:
            seconds = round(seconds / unit) * unit
            break
    return length(seconds)


def left(until: float | None, now: float | None = None) -> str:
    """How long a ban still lasts."""
    if until is None:
        return text("time.ever")
    rest = until - (time.time() if now is None else now)
    return rough(rest) if rest > 0 else text("time.over")


def ago(moment: float, now: float | None = None) -> str:
    """How long something is past."""
    return text("time.ago", length=rough((time.time() if now is None else now) - moment))
