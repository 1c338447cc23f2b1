"""What `mailguard tune -o json` wrote, read again for a report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .frontiers import doubt, reason
from .messages import text
from .output import safe

if TYPE_CHECKING:
    from mailguard.report import Frontier

Row = dict[str, Any]


def read_tuning(path: str) -> list[Row]:
    """The objects of the file, checked so far that `frontiers_of` understands them.

    Raises OSError, and click.BadParameter where it is no such file."""
    content = Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        rows: list[Row] = [json.loads(line) for line in content.splitlines()]
        if not any(frontier.points for frontier in _frontiers(rows)):
            raise ValueError("no settings")
    except (ValueError, TypeError, LookupError, AttributeError) as wrong:
        raise click.BadParameter(text("tuning.strange", path=safe(path)), param_hint="--tuning") from wrong
    return rows


def frontiers_of(rows: Sequence[Row]) -> list[Frontier]:
    """The frontiers of the file, with reasons and doubts in the language that is spoken."""
    return list(_frontiers(rows))


def _frontiers(rows: Sequence[Row]) -> Iterator[Frontier]:
    from mailguard.report import Frontier, Point

    settings = [row for row in rows if "setting" in row]
    for row in rows:
        if "axes" not in row:
            continue
        mine = [one for one in settings if one["detector"] == row["detector"]]
        axes = list(row["axes"])
        points = tuple(
            Point(
                _name(one["setting"], axes),
                int(one["caught"]),
                int(one["through"]),
                int(one["hurt"]),
                int(one["bans"]),
                int(one["peak"]),
                None if one["median"] is None else float(one["median"]),
                bool(one["frontier"]),
                bool(one["present"]),
                bool(one["advised"]),
            )
            for one in mine
        )
        hostile = max((int(one["stopped"]) + int(one["through"]) for one in mine), default=0)
        doubts = tuple(doubt(one["id"], one["args"]) for one in row["doubts"])
        yield Frontier(
            str(row["detector"]), points, hostile, _advice(row, mine, axes), doubts, str(row["settings"])
        )


def _advice(row: Row, mine: Sequence[Row], axes: Sequence[str]) -> tuple[str, ...]:
    if row["recommended"] is None:
        return ()
    keep = any(one["present"] and one["advised"] for one in mine)
    name = "tune.recommend-keep" if keep else "tune.recommend"
    told = [reason(one["id"], one["args"]) for one in row["reasons"]]
    return (text(name, setting=_name(row["recommended"], axes)), *told)


def _name(setting: dict[str, str], axes: Sequence[str]) -> str:
    return ", ".join(f"{axis} {setting[axis]}" for axis in axes)
