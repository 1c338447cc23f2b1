"""What tuning found: tables, a plot and words for people, lines for programs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from .messages import text
from .moments import rough
from .output import is_terminal, safe, write_json, write_line, write_table, write_text

if TYPE_CHECKING:
    from mailguard.replay.summary import Summary
    from mailguard.report import Frontier
    from mailguard.tuning.outcome import Outcome
    from mailguard.tuning.sweep import Sweep

SHOWN = 20  # settings of a frontier in a table
_COLUMNS = (
    "setting", "through-share", "caught", "missed", "bans", "median-delay", "worst-delay", "hurting",
    "accounts", "partners", "peak", "mark",
)  # fmt: skip
#: On a terminal narrower than WIDE: what decides. The rest is in the forms for programs.
_NARROW = ("setting", "through-share", "caught", "bans", "median-delay", "hurting", "mark")
WIDE = 120
_CSV = (
    "caught", "missed", "bans", "own", "median", "worst", "stopped", "through", "share", "hurt", "accounts",
    "partners", "logins", "messages", "peak", "frontier", "present", "advised",
)  # fmt: skip
_WIDTH, _HEIGHT = 72, 16  # of the plot


# ---------------------------------------------------------------- words


def percent(share: float) -> str:
    """`12.3%`."""
    return f"{100 * share:.1f}%"


def reason(name: str, args: Mapping[str, Any]) -> str:
    """Why a setting is recommended, as a sentence."""
    told = {
        key: percent(value) if key in ("share", "was") and isinstance(value, float) else value
        for key, value in args.items()
    }
    return text(f"tune.why-{name}", **told)


def doubt(name: str, args: Mapping[str, Any]) -> str:
    """What the logs are too short to tell, as a sentence."""
    told = dict(args)
    if "seconds" in told:
        told["span"] = rough(told["seconds"])
    if "within" in told:
        told["within"] = rough(told["within"])
    return text(f"tune.doubt-{name}", **told)


def advice(outcome: Outcome) -> list[str]:
    """The recommendation and its reasons, a line each."""
    if outcome.advice is None:
        return []
    place = outcome.advice.place
    name = "tune.recommend" if place else "tune.recommend-keep"
    return [
        text(name, setting=outcome.name(place)),
        *(f"  {reason(one, args)}" for one, args in outcome.advice.reasons),
    ]


# ---------------------------------------------------------------- for people


def write_outcome(outcome: Outcome) -> None:
    """Table, plot, recommendation and doubts of one detector."""
    grid, line = outcome.grid, outcome.line
    axes = "; ".join(
        text("tune.axis-values", axis=axis, values=", ".join(_value(axis, one) for one in values))
        for axis, values in grid.axes.items()
    )
    write_line("")
    write_line(text("tune.title", detector=grid.detector.name, settings=len(outcome.found), axes=axes))
    kept = _thinned(line, outcome)
    name = "tune.table" if len(kept) == len(line) else "tune.table-more"
    title = text(name, count=len(line), settings=len(outcome.found), shown=len(kept))
    rows = [_row(outcome, place) for place in ([] if 0 in kept or 0 not in outcome.found else [0]) + kept]
    columns = _COLUMNS if get_terminal_size().columns >= WIDE else _NARROW
    shown = [[row[_COLUMNS.index(one)] for one in columns] for row in rows]
    write_table("auto", title, [text(f"column.{one}") for one in columns], shown)
    _plot(outcome)
    for one in advice(outcome):
        write_line(one)
    for name, args in outcome.doubts:
        write_line(f"! {doubt(name, args)}")
    if outcome.paste:
        write_line(text("tune.paste"))
        write_text("\n" + outcome.paste)


def _value(axis: str, value: Any) -> str:
    from mailguard.tuning.grid import shown

    return shown(axis, value)


def _thinned(line: Sequence[int], outcome: Outcome) -> list[int]:
    """At most SHOWN places of a frontier, evenly, with its ends and the advised one."""
    if len(line) <= SHOWN:
        return list(line)
    step = (len(line) - 1) / (SHOWN - 1)
    kept = {line[round(number * step)] for number in range(SHOWN)}
    if outcome.advice is not None:
        kept.add(outcome.advice.place)
    return [place for place in line if place in kept]


def _row(outcome: Outcome, place: int) -> tuple[object, ...]:
    one = outcome.found[place]
    advised = outcome.advice is not None and outcome.advice.place == place
    mark = "both" if advised and place == 0 else "advised" if advised else "present" if place == 0 else ""
    return (
        outcome.name(place),
        percent(one.share),
        one.caught,
        one.missed,
        one.bans,
        "" if one.median is None else rough(one.median),
        "" if one.worst is None else rough(one.worst),
        one.hurt,
        one.accounts,
        one.partners,
        one.peak,
        text(f"tune.{mark}") if mark else "",
    )


def _plot(outcome: Outcome) -> None:
    """A small plot of let-through over harm, where plotext is installed."""
    try:
        import plotext
    except ImportError:
        plotext = None
    if plotext is None or not hasattr(plotext, "clear_figure"):  # its versions from 6 on are another library
        write_line(text("tune.no-plot"))
        return
    if len(outcome.found) < 2:
        return
    sys.stdout.write(drawn(plotext, outcome))


def drawn(plotext: Any, outcome: Outcome) -> str:
    """The plot as text: all settings, the frontier, the present and the advised one."""

    def points(places: Sequence[int]) -> tuple[list[int], list[float]]:
        return [outcome.found[one].hurt for one in places], [100 * outcome.found[one].share for one in places]

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(_WIDTH, _HEIGHT)
    plotext.title(text("tune.plot"))
    plain = not _blocks()
    plotext.scatter(*points(list(outcome.found)), marker=".", label=text("tune.plot-all"))
    plotext.scatter(*points(outcome.line), marker="o" if plain else "●", label=text("tune.plot-frontier"))
    if 0 in outcome.found:
        plotext.scatter(*points([0]), marker="N", label=text("tune.present"))
    if outcome.advice is not None and outcome.advice.place in outcome.found:
        plotext.scatter(*points([outcome.advice.place]), marker="A", label=text("tune.advised"))
    built: str = plotext.build()
    plotext.clear_figure()
    return (plotext.uncolorize(built) if not is_terminal() or plain else built).rstrip("\n") + "\n"


def _blocks() -> bool:
    try:
        "●┤".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


# ---------------------------------------------------------------- for programs


def write_plain(found: Sequence[Outcome]) -> None:
    """A line for each recommendation, its reasons and doubts, and what to paste."""
    for outcome in found:
        for place in sorted({0, *outcome.line} & set(outcome.found)):
            mark = "*" if outcome.advice is not None and outcome.advice.place == place else "="[: place == 0]
            one = outcome.found[place]
            write_line(
                f"{outcome.grid.detector.name}: {outcome.name(place)}: through {percent(one.share)} "
                f"caught {one.caught} hurt {one.hurt} peak {one.peak}{' ' + mark if mark else ''}"
            )
        for line in advice(outcome):
            write_line(f"{outcome.grid.detector.name}: {line}")
        for name, args in outcome.doubts:
            write_line(f"{outcome.grid.detector.name}: ! {doubt(name, args)}")
        if outcome.paste:
            write_text(outcome.paste)


def write_csv(found: Sequence[Outcome]) -> None:
    """Every setting that was tried, a line each, with a heading."""
    from mailguard.tuning.grid import AXES

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["detector", *AXES, *_CSV])
    for outcome in found:
        for place in sorted(outcome.found):
            row = outcome.row(place)
            cells = [outcome.grid.detector.name, *(row["setting"].get(axis, "") for axis in AXES)]
            writer.writerow([*cells, *("" if row[name] is None else _cell(row[name]) for name in _CSV)])


def _cell(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else safe(value)


def write_json_lines(found: Sequence[Outcome], sweep: Sweep, summary: Summary) -> None:
    """An object for each setting, then one for each detector, then a summary."""
    from mailguard.replay.summary import whole

    for outcome in found:
        for place in sorted(outcome.found):
            write_json(outcome.row(place))
    for outcome in found:
        chosen = outcome.advice
        write_json(
            {
                "detector": outcome.grid.detector.name,
                "tried": len(outcome.found),
                "axes": {
                    axis: [_value(axis, one) for one in values] for axis, values in outcome.grid.axes.items()
                },
                "left_out": outcome.grid.refused,
                "frontier": [outcome.setting(place) for place in outcome.line],
                "recommended": None if chosen is None else outcome.setting(chosen.place),
                "reasons": [
                    {"id": name, "args": dict(args), "text": reason(name, args)}
                    for name, args in (() if chosen is None else chosen.reasons)
                ],
                "doubts": [
                    {"id": name, "args": dict(args), "text": doubt(name, args)}
                    for name, args in outcome.doubts
                ],
                "settings": outcome.paste,
            }
        )
    write_json(
        {
            "summary": {
                "records": summary.records,
                "events": summary.events,
                "seconds": whole(summary.seconds),
                "settings": len(sweep.done),
                "asked": len(sweep.tasks),
                "replayed": sweep.replayed,
                "interrupted": sweep.interrupted,
            }
        }
    )


def frontier_of(outcome: Outcome) -> Frontier:
    """For the report's page."""
    from mailguard.report import Frontier, Point

    hostile = next((one.stopped + one.through for one in outcome.found.values()), 0)
    points = tuple(
        Point(
            outcome.name(place),
            one.caught,
            one.through,
            one.hurt,
            one.bans,
            one.peak,
            one.median,
            place in outcome.line,
            place == 0,
            outcome.advice is not None and outcome.advice.place == place,
        )
        for place, one in sorted(outcome.found.items())
    )
    return Frontier(
        outcome.grid.detector.name,
        points,
        hostile,
        tuple(line.strip() for line in advice(outcome)),
        tuple(doubt(name, args) for name, args in outcome.doubts),
        outcome.paste,
    )
