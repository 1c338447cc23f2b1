"""Tables: of bans, of those who would have been hurt, of sources, networks, accounts and detectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from ..model import Network
from ..notation import format_network
from ..replay.known import Closely, Tally, named
from ..replay.timeline import FIRST, KINDS, LAST, BanRecord, kinds_of, total
from ..replay.verdict import verdict
from .calendar import moment
from .contents import Report, Words
from .markup import Child, Markup, element, foreign, join, shortened
from .watching import TOLD_APART, Source

LISTED = 5000  # bans in the list, the latest; `-o csv` has all
PRINTED = 100  # of them on paper
_NAME = 40  # columns of a customer's name
_KINDS = 3  # kinds that are told of a source

#: Tables whose rows become cards where the page is narrow, with their columns; see `heading`.
STACKED = {
    "list": ("time:t", "network", "detector", "length:t", "verdict:w", "after:t", "before:n", "stopped:n"),
    "hurt": ("time:t", "network", "verdict:w", "accounts:s", "senders:s", "earlier", "later"),
}
_LABELLED = 3  # cells from this one on are named in a card, but for those in words


def number(value: int) -> str:
    """`12,345`."""
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """`84%`; never 100% or 0% of what is not quite all or nothing."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "<1%"
    if 99 < percent < 100:
        return ">99%"
    return f"{percent:.0f}%"


def table(
    caption: str,
    columns: Sequence[tuple[str, str]],
    rows: Iterable[Sequence[Child]],
    classes: Callable[[int], str | None] = lambda row: None,
    stack: str = "",
) -> Markup:
    """A table that scrolls by itself where the page is narrow, or shows its rows as cards there when it is
    named in `STACKED`. `columns`: class and heading; the first cell of a row is its heading."""
    head = [element("th", heading, scope="col", class_=kind or None) for kind, heading in columns]
    body = []
    for index, row in enumerate(rows):
        cells = [
            element("td" if at else "th", cell, class_=kind or None, scope=None if at else "row")
            for at, ((kind, _), cell) in enumerate(zip(columns, row, strict=True))
        ]
        body.append(element("tr", *cells, class_=classes(index)))
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *head)),
            element("tbody", *body),
            class_=f"stack {stack}" if stack else None,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def network(value: Network) -> Markup:
    """An address or network, which is never broken over lines."""
    return element("code", format_network(value))


def heading(words: Words, *names: str) -> list[tuple[str, str]]:
    """Columns by name, with the class of their cells after a colon: `events:n` (n a number, t a time, w
    words, s names)."""
    found = []
    for name in names:
        column, _, kind = name.partition(":")
        found.append((kind, words.text(f"report.column.{column}")))
    return found


def card_labels(words: Words) -> str:
    """The style sheet that names the cells of cards. It holds words of the catalogue alone."""
    rules = []
    for name, columns in STACKED.items():
        for number, (kind, label) in enumerate(heading(words, *columns), 1):
            if number >= _LABELLED and kind != "w":
                quoted = "".join(f"\\{ord(char):x} " for char in label)
                rules.append(f'.{name} td:nth-child({number})::before {{ content: "{quoted}"; }}')
    return "@media (max-width: 45rem) {\n" + "\n".join(rules) + "\n}\n"


# ---------------------------------------------------------------- bans


def ban_list(report: Report, words: Words) -> Markup:
    """Every ban, or the latest."""
    bans = report.bans[-LISTED:]
    early = len(bans) - PRINTED
    return table(
        words.text("report.list.caption"),
        heading(words, *STACKED["list"]),
        (_ban(ban, report, words) for ban in bans),
        lambda index: "early" if index < early else None,
        stack="list",
    )


def _ban(record: BanRecord, report: Report, words: Words) -> list[Child]:
    offence = record.effect.ban.offence
    return [
        moment(record.effect.time, report.zone, seconds=True),
        network(record.effect.ban.network),
        offence.detector if offence else "",
        length(record, words),
        element("strong", told(record, words)) if record.during else told(record, words),
        "" if record.delay is None else words.length(record.delay),
        number(record.hostile_before),
        number(record.stopped),
    ]


def told(record: BanRecord, words: Words) -> str:
    """Whom the ban would have hurt, in words; names of customers are short."""
    found = verdict(record)
    return words.verdict(found._replace(customers=tuple(shortened(name, _NAME) for name in found.customers)))


def length(record: BanRecord, words: Words) -> str:
    """How long a ban lasts; where it was lifted early, how long it really stood."""
    since, until = record.effect.time, record.effect.ban.until
    if record.lifted:
        return words.text("report.lifted", length=words.length(record.until - since))
    return words.text("time.ever") if until is None else words.length(until - since)


def hurt_table(report: Report, bans: Sequence[BanRecord], words: Words) -> Markup:
    """The bans that would have hurt somebody, with the names of those concerned."""
    rows = [
        [
            moment(ban.effect.time, report.zone),
            network(ban.effect.ban.network),
            told(ban, words),
            names(ban.during.users, ban.during.accounts),
            names(ban.during.domains, 0),
            tally(ban.before, words),
            tally(ban.after, words),
        ]
        for ban in bans
    ]
    return table(words.text("report.hurt.caption"), heading(words, *STACKED["hurt"]), rows, stack="hurt")


def names(counted: Mapping[str, int], known: int) -> Markup:
    """The names that came most often, each with its number; `known`: how many there are."""
    shown = named(dict(counted))
    more = max(known, len([name for name in counted if name])) - len(shown)
    found: list[Child] = [join((foreign(name), f" {number(counted[name])}")) for name in shown]
    if more > 0:
        found.append(f"+{number(more)}")
    return join(found, ", ")


def tally(known: Tally | Closely, words: Words) -> str:
    """Accepted mail and logins in one stretch of time."""
    if not known:
        return "–"
    return words.text("report.tally", messages=number(known.messages), logins=number(known.logins))


# ---------------------------------------------------------------- who attacked, and what


def source_table(
    report: Report, rows: Sequence[tuple[Network, Source, int]], words: Words, wide: bool
) -> Markup:
    """Sources, or networks (`wide`), that did most."""
    names_of = ["network", "sources:n"] if wide else ["source"]
    columns = heading(words, *names_of, "events:n", "share:n", "bans:n", "first:t", "last:t", "kinds:w")
    return table(
        words.text("report.networks.caption" if wide else "report.sources.caption"),
        columns,
        [
            [
                network(where),
                *([number(one.sources)] if wide else []),
                number(one.events),
                share(one.events, report.hostile),
                number(bans),
                moment(one.first, report.zone),
                moment(one.last, report.zone),
                kinds(one.kinds, words),
            ]
            for where, one, bans in rows
        ],
    )


def account_table(report: Report, words: Words) -> Markup:
    """The accounts on which most was tried."""
    return table(
        words.text("report.accounts.caption"),
        heading(words, "account", "failures:n", "sources:n", "logins:n", "last:t"),
        [
            [
                foreign(name),
                number(one.failures),
                number(len(one.sources)) + ("+" if len(one.sources) >= TOLD_APART else ""),
                number(one.logins),
                moment(one.last, report.zone),
            ]
            for name, one in report.accounts
        ],
    )


def worst_table(report: Report, words: Words) -> Markup:
    """The sources that did most and were never banned."""
    return table(
        words.text("report.never.caption"),
        heading(words, "source", "events:n", "first:t", "last:t", "kinds:w"),
        [
            [
                network(where),
                number(total(record[KINDS])),
                moment(record[FIRST], report.zone),
                moment(record[LAST], report.zone),
                kinds(kinds_of(record[KINDS]), words),
            ]
            for where, record in report.worst
        ],
    )


def kinds(counted: Mapping[str, int], words: Words) -> str:
    """`failed logins 312, relay attempts 4`, the most frequent."""
    ordered = sorted(counted, key=lambda kind: (-counted[kind], kind))
    parts = [
        words.text("report.kinds", count=number(counted[kind]), kind=words.text(f"report.kind.{kind}"))
        for kind in ordered[:_KINDS]
    ]
    return words.text("report.comma").join(parts) + (" …" if len(ordered) > _KINDS else "")


def detector_table(report: Report, words: Words) -> Markup:
    """What each detector did."""
    return table(
        words.text("report.detectors.caption"),
        heading(words, "detector", "bans:n", "alerts:n", "stopped:n", "median:n", "hurt:n"),
        [
            [
                name,
                number(score.bans),
                number(score.alerts),
                number(score.stopped),
                words.length(median(score.delays)) if score.delays else "–",
                number(score.hurt),
            ]
            for name, score in report.scores
        ],
    )
