"""The sections of the page that hold charts: volume of attacks, bans, tuning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from ..model import Network
from ..notation import format_network
from ..replay.timeline import BanRecord
from .calendar import Tick, moment, ticks
from .charts import Piece, Strip, axis, bars, lane, pieces, scatter, scatter_scale
from .contents import Frontier, Point, Report, Words
from .markup import Child, Markup, element, join, lines
from .tables import detector_table, heading, network, number, table

NETWORKS = 20  # networks whose bans are drawn one by one
_EVER = float("inf")


def volume(report: Report, words: Words) -> Markup:
    """Hostile events by kind over time."""
    marks = _ticks(report)
    rows = []
    for one in report.volumes:
        through = [events - stopped for events, stopped in zip(one.events, one.stopped, strict=True)]
        kind = words.text(f"report.kind.{one.kind}")
        events, stopped, peak = sum(one.events), sum(one.stopped), max(one.events)
        title = words.text(
            "report.volume.alt", kind=kind, events=number(events), stopped=number(stopped), peak=number(peak)
        )
        plot = bars(Strip(through, one.stopped), report.edges, marks, title)
        figures = (
            element("b", number(events)),
            element("span", words.text("report.volume.through", count=number(events - stopped))),
            element("span", words.text("report.volume.peak", count=number(peak))),
        )
        rows.append(lane(join((kind, element("code", one.kind))), plot, join(figures)))
    legend = element(
        "p",
        _swatch("strong", words.text("report.volume.strong")),
        _swatch("quiet", words.text("report.volume.quiet")),
        element("span", words.text("report.scale", step=words.length(_stretch(report)))),
        class_="legend",
    )
    columns: list[tuple[str, str]] = heading(words, "time:t")
    columns += [("n", words.text(f"report.kind.{one.kind}")) for one in report.volumes]
    figures_table = (
        [moment(begin, report.zone), *(number(one.events[at]) for one in report.volumes)]
        for at, begin in enumerate(report.edges[:-1])
        if any(one.events[at] for one in report.volumes)
    )
    return _figure(
        words.text("report.volume.caption"),
        legend,
        *rows,
        axis(report.edges, marks),
        _details(words, table(words.text("report.volume.caption"), columns, figures_table)),
    )


def bans(report: Report, words: Words) -> Markup:
    """How many bans stood, which detectors imposed them, and those of the busiest networks one by one."""
    marks, edges = _ticks(report), report.edges
    standing = _standing(report.bans, edges)
    rows = [
        lane(
            words.text("report.bans.standing"),
            bars(
                Strip(standing, [0] * len(standing), "quiet"),
                edges,
                marks,
                words.text("report.bans.standing-alt", peak=number(max(standing))),
            ),
            join(
                (
                    element("b", number(max(standing))),
                    element("span", words.text("report.bans.at-once")),
                )
            ),
        )
    ]
    by_detector: dict[str, list[BanRecord]] = defaultdict(list)
    for ban in report.bans:
        by_detector[ban.effect.ban.offence.detector if ban.effect.ban.offence else ""].append(ban)
    for name in sorted(by_detector, key=lambda name: (-len(by_detector[name]), name)):
        count = len(by_detector[name])
        alt = words.text("report.bans.detector-alt", detector=name, bans=number(count))
        counts = _counts(by_detector[name], edges)
        rows.append(
            lane(
                element("code", name),
                bars(Strip(counts, [0] * len(counts), "solid"), edges, marks, alt),
                join((element("b", number(count)), element("span", words.text("report.bans.bans")))),
            )
        )
    first = _figure(words.text("report.bans.caption"), *rows, axis(edges, marks))
    return join((first, _networks(report, words, marks), detector_table(report, words)))


def _networks(report: Report, words: Words, marks: Sequence[Tick]) -> Markup:
    """The networks whose bans stopped most, each with all its bans."""
    by_network: dict[Network, list[BanRecord]] = defaultdict(list)
    for ban in report.bans:
        by_network[ban.effect.ban.network].append(ban)
    ranked = sorted(by_network.items(), key=lambda one: (-sum(ban.stopped for ban in one[1]), one[0]))
    shown = sorted(ranked[:NETWORKS], key=lambda one: one[1][0].effect.time)
    end = report.edges[-1]
    rows = []
    for where, found in shown:
        stopped = sum(ban.stopped for ban in found)
        alt = words.text(
            "report.bans.network-alt",
            network=format_network(where),
            bans=number(len(found)),
            stopped=number(stopped),
            first=moment(found[0].effect.time, report.zone),
        )
        drawn = [Piece(ban.effect.time, min(ban.until, end), ban.hostile_first) for ban in found]
        figures = [
            element("b", number(len(found))),
            element("span", words.text("report.bans.stopped", count=number(stopped))),
        ]
        if any(ban.during for ban in found):
            figures.append(element("span", words.text("report.bans.hurts"), class_="hurts"))
        rows.append(lane(network(where), pieces(drawn, report.edges, marks, alt), join(figures)))
    caption = "report.bans.networks" if len(ranked) <= NETWORKS else "report.bans.networks-most"
    legend = element(
        "p",
        _swatch("solid", words.text("report.bans.solid")),
        _swatch("thin", words.text("report.bans.thin")),
        class_="legend",
    )
    return _figure(
        words.text(caption, count=number(len(shown))),
        legend,
        *rows,
        axis(report.edges, marks),
        class_="tight",
    )


def tuning(frontier: Frontier, words: Words) -> Markup:
    """Which settings were tried, which are best, and which is advised."""
    points = frontier.points
    alt = words.text("report.tuning.alt", count=number(len(points)), detector=frontier.detector)
    kinds = ("advised", "present", "best", "other")
    legend = element(
        "p",
        *(_swatch(kind, words.text(f"report.tuning.{kind}")) for kind in kinds),
        class_="legend",
    )
    plot = element(
        "div",
        element("div", words.text("report.tuning.up"), class_="up"),
        scatter(frontier, alt),
        scatter_scale(frontier, words.text("report.tuning.across")),
        class_="plane",
    )
    listed = [point for point in points if point.best or point.present or point.advised]
    settings = element("pre", lines(frontier.settings.rstrip())) if frontier.settings else None
    return join(
        (
            element("h3", element("code", frontier.detector)),
            *(
                element("p", reason if at else element("b", reason))
                for at, reason in enumerate(frontier.reasons)
            ),
            *(element("p", warning, class_="warning") for warning in frontier.warnings),
            _figure(words.text("report.tuning.caption"), legend, plot),
            table(
                words.text("report.tuning.caption"),
                heading(
                    words,
                    "setting",
                    "mark",
                    "caught:n",
                    "through:n",
                    "hurting:n",
                    "after",
                    "bans:n",
                    "peak:n",
                ),
                [_point(point, words) for point in sorted(listed, key=lambda p: (p.through, p.hurt))],
            ),
            settings,
        )
    )


def _point(point: Point, words: Words) -> list[Child]:
    marks = [name for name in ("advised", "present") if getattr(point, name)]
    return [
        element("code", point.name),
        words.text("report.comma").join(words.text(f"report.tuning.{mark}") for mark in marks),
        number(point.caught),
        number(point.through),
        number(point.hurt),
        "–" if point.delay is None else words.length(point.delay),
        number(point.bans),
        number(point.peak),
    ]


# ---------------------------------------------------------------- pieces


def _ticks(report: Report) -> list[Tick]:
    return ticks(report.edges[0], report.edges[-1], report.zone)


def _stretch(report: Report) -> float:
    """How long most stretches are: days of a change of clocks and months differ."""
    lengths = sorted(end - begin for begin, end in pairwise(report.edges))
    return lengths[len(lengths) // 2]


def _swatch(kind: str, name: str) -> Markup:
    return element("span", element("i", class_=kind, aria_hidden="true"), name)


def _figure(caption: str, *inside: Child, class_: str | None = None) -> Markup:
    return element("figure", element("figcaption", caption), *inside, class_=class_)


def _details(words: Words, inside: Markup) -> Markup:
    return element("details", element("summary", words.text("report.as-table")), inside)


def _counts(found: Sequence[BanRecord], edges: Sequence[float]) -> list[int]:
    """How many bans began between the edges."""
    counts = [0] * (len(edges) - 1)
    at = 0
    for time in sorted(ban.effect.time for ban in found):
        while at < len(counts) - 1 and time >= edges[at + 1]:
            at += 1
        counts[at] += 1
    return counts


def _standing(found: Sequence[BanRecord], edges: Sequence[float]) -> list[int]:
    """The most bans that stood at once between the edges."""
    changes = sorted(
        [(ban.effect.time, 1) for ban in found] + [(ban.until, -1) for ban in found if ban.until < _EVER]
    )
    most = []
    stood = at = 0
    for end in edges[1:]:
        peak = stood
        while at < len(changes) and changes[at][0] < end:
            stood += changes[at][1]
            peak = max(peak, stood)
            at += 1
        most.append(peak)
    return most
