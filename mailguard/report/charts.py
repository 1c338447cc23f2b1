"""Charts as SVG without text inside, so that they stretch with the page while all letters keep their size.

A chart is a list of *lanes* that share one axis of time: a label, a strip of bars, figures. What the bars
tell stands in the figures and in a table too; colour is never the only sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from .calendar import Tick
from .contents import Frontier
from .markup import Child, Markup, element, join

HEIGHT = 100  # of a strip, in its own units
_WIDTH = 1000
_LEAST = 3  # units that the shortest piece is wide


class Strip(NamedTuple):
    """Bars from left to right: `low` of each stands in the quiet tone on `high` in the strong one."""

    high: Sequence[int]
    low: Sequence[int]
    tone: str = "strong"


def bars(strip: Strip, edges: Sequence[float], ticks: Sequence[Tick], title: str) -> Markup:
    """Bars over stretches of time. What is there at all is drawn at least a hair high."""
    heights = list(zip(strip.high, strip.low, strict=True))
    most = max([high + low for high, low in heights], default=0)
    strong, quiet = [], []
    for index, (high, low) in enumerate(heights):
        if not high + low:
            continue
        left, right = _across(edges[index], edges), _across(edges[index + 1], edges)
        top = max(2, round(HEIGHT * (high + low) / most))
        share = round(top * high / (high + low))
        if high:
            strong.append(_box(left, right, 0, max(1, share)))
        if low:
            quiet.append(_box(left, right, share, top))
    return _strip(
        title,
        _ticks(edges, ticks),
        element("path", class_=strip.tone, d="".join(strong)) if strong else None,
        element("path", class_="quiet", d="".join(quiet)) if quiet else None,
    )


class Piece(NamedTuple):
    """A stretch of time during which something stood, and what began before it."""

    begin: float
    end: float
    since: float | None = None


def pieces(found: Iterable[Piece], edges: Sequence[float], ticks: Sequence[Tick], title: str) -> Markup:
    """Stretches of time: full height while it stood, a thin line from `since` on."""
    solid, thin = [], []
    for piece in found:
        left, right = _across(piece.begin, edges), _across(piece.end, edges)
        right = min(_WIDTH, max(right, left + _LEAST))
        solid.append(_box(min(left, right - _LEAST), right, 15, 85))
        if piece.since is not None and piece.since < piece.begin:
            thin.append(_box(_across(piece.since, edges), left, 44, 56))
    return _strip(
        title,
        _ticks(edges, ticks),
        element("path", class_="thin", d="".join(thin)) if thin else None,
        element("path", class_="solid", d="".join(solid)),
    )


def lane(label: Child, plot: Child, figures: Child) -> Markup:
    """One row of a chart."""
    return element(
        "div",
        element("div", label, class_="label"),
        plot,
        element("div", figures, class_="figures"),
        class_="lane",
    )


def axis(edges: Sequence[float], ticks: Sequence[Tick]) -> Markup:
    """The names of the ticks, under the lanes."""
    names = []
    for number, tick in enumerate(ticks):
        share = _across(tick.time, edges) / _WIDTH * 100
        anchor = "start" if share < 4 else "end" if share > 96 else "middle"
        names.append(
            element(
                "text",
                tick.name,
                x=f"{share:.2f}%",
                y="1.1em",
                text_anchor=anchor,
                class_="minor" if number % 2 else None,
            )
        )
    plot = element("svg", *names, class_="axis", aria_hidden="true")
    return element("div", element("div", class_="label"), plot, element("div"), class_="lane")


def scatter(frontier: Frontier, title: str) -> Markup:
    """Settings by what they let through (across) and whom they hurt (up); a line joins the frontier."""
    points = frontier.points
    least, most = min(p.through for p in points), max(p.through for p in points)
    hurt = max(p.hurt for p in points)

    def across(through: int) -> float:
        return 8 + 88 * (through - least) / max(1, most - least)

    def up(number: int) -> float:
        return 90 - 80 * number / max(1, hurt)

    edge = sorted({(p.through, p.hurt) for p in points if p.best})
    marks = [
        element(
            "line",
            x1=f"{across(a[0]):.2f}%",
            y1=f"{up(a[1]):.2f}%",
            x2=f"{across(b[0]):.2f}%",
            y2=f"{up(b[1]):.2f}%",
            class_="edge",
        )
        for a, b in pairwise(edge)
    ]
    ordered = sorted(points, key=lambda p: (p.advised, p.present, p.best))
    for point in ordered:
        kind = (
            "advised" if point.advised else "present" if point.present else "best" if point.best else "other"
        )
        marks.append(
            element(
                "circle",
                cx=f"{across(point.through):.2f}%",
                cy=f"{up(point.hurt):.2f}%",
                r="6" if point.advised or point.present else "3.5",
                class_=kind,
            )
        )
    scale = [
        element("text", f"{number:,}", x="0.4em", y=f"{up(number):.2f}%", dy="0.35em")
        for number in sorted({0, hurt})
    ]
    return element("svg", element("title", title), *scale, *marks, class_="scatter", role="img")


def scatter_scale(frontier: Frontier, name: str) -> Markup:
    """What stands under it: the ends of the scale, and its name."""
    through = [point.through for point in frontier.points]
    ends = {8: min(through), 96: max(through)}
    texts = [
        element(
            "text", f"{number:,}", x=f"{place}%", y="1.1em", text_anchor="middle" if place < 50 else "end"
        )
        for place, number in ends.items()
    ]
    middle = element("text", name, x="52%", y="1.1em", text_anchor="middle")
    return element("svg", *texts, middle, class_="axis", aria_hidden="true")


# ---------------------------------------------------------------- pieces of SVG


def _across(time: float, edges: Sequence[float]) -> int:
    share = (time - edges[0]) / (edges[-1] - edges[0])
    return round(_WIDTH * min(1.0, max(0.0, share)))


def _box(left: int, right: int, bottom: int, top: int) -> str:
    """A rectangle as a piece of a path; heights are from the ground."""
    return f"M{left} {HEIGHT - bottom}H{max(right, left + 1)}V{HEIGHT - top}H{left}z"


def _ticks(edges: Sequence[float], ticks: Sequence[Tick]) -> Markup | None:
    path = "".join(f"M{_across(tick.time, edges)} 0V{HEIGHT}" for tick in ticks)
    return element("path", class_="ticks", d=path) if path else None


def _strip(title: str, *inside: Markup | None) -> Markup:
    return element(
        "svg",
        element("title", title),
        join(inside),
        class_="strip",
        role="img",
        viewBox=f"0 0 {_WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
    )
