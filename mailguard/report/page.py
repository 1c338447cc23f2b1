"""The report as one page of HTML that stands alone: no script, no font, no picture and no style from
anywhere.

A Content-Security-Policy in the page forbids the browser everything but the one style sheet inside, which it
names by its hash: even if a name from a log became markup, it could load, run, send and style nothing. Light,
dark and the switch between them are the style sheet's work.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from .. import __version__
from . import sections
from .calendar import moment
from .contents import Report, Words
from .markup import Child, Markup, element, foreign, join
from .tables import (
    LISTED,
    PRINTED,
    account_table,
    ban_list,
    card_labels,
    hurt_table,
    number,
    share,
    source_table,
    worst_table,
)

LOGS = 40  # logs and notices that are named
HURT = 200  # bans in the table of those who would have been hurt
_PATH, _TOLD = 200, 400  # columns of a log's name, and of what is told about it
_THEMES = ("auto", "light", "dark")


@cache
def _sheet() -> str:
    return (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def style(words: Words) -> str:
    """The style sheet of the page."""
    return _sheet() + card_labels(words)


def policy(style: str) -> str:
    """The Content-Security-Policy of a page with that style sheet."""
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def render(report: Report, words: Words) -> str:
    """The whole page. The same report and words give the same text."""
    parts = _sections(report, words)
    title, sheet = _title(report, words), style(words)
    body = element(
        "body",
        _header(report, words),
        element(
            "nav",
            element("ul", *(element("li", element("a", name, href=f"#{id}")) for id, name, _ in parts)),
            aria_label=words.text("report.contents"),
        ),
        element(
            "main",
            *(
                element(
                    "section",
                    element("h2", name, id=f"{id}-title"),
                    content,
                    id=id,
                    aria_labelledby=f"{id}-title",
                )
                for id, name, content in parts
            ),
        ),
        element("footer", element("p", words.text("report.footer", version=__version__))),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(sheet)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"mailguard: {title}{_span(report, ', ')}"),
        element("style", Markup(sheet)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang=words.language)}\n"


def _title(report: Report, words: Words) -> str:
    return words.text("report.tuning.title" if report.tuned else "report.title")


def _span(report: Report, before: str) -> str:
    if report.first is None or report.last is None:
        return ""
    return f"{before}{moment(report.first, report.zone)[:10]} – {moment(report.last, report.zone)[:10]}"


def _header(report: Report, words: Words) -> Markup:
    choices: list[Child] = [element("legend", words.text("report.theme"))]
    for theme in _THEMES:
        button = element(
            "input", type="radio", name="theme", id=f"theme-{theme}", checked=theme == "auto" or None
        )
        choices.append(element("label", button, element("span", words.text(f"report.theme.{theme}"))))
    when = None
    if report.first is not None and report.last is not None:
        when = words.text(
            "report.when",
            first=moment(report.first, report.zone),
            last=moment(report.last, report.zone),
            span=words.length(report.last - report.first),
        )
    return element(
        "header",
        element(
            "div", element("p", "mailguard", class_="brand"), element("fieldset", *choices), class_="top"
        ),
        element("h1", _title(report, words)),
        element("p", when, class_="when") if when else None,
        element("p", words.text("report.interrupted"), class_="warning") if report.interrupted else None,
    )


def _sections(report: Report, words: Words) -> list[tuple[str, str, Markup]]:
    """Id, heading and contents of each section that has something to tell."""
    found: list[tuple[str, str, Markup]] = []

    def add(id: str, *content: Child) -> None:
        found.append((id, words.text(f"report.{id}.heading"), join(content)))

    add("summary", _summary(report, words))
    if report.bans:
        add("hurt", _hurt(report, words))
    if report.volumes:
        add("volume", sections.volume(report, words))
    if report.bans:
        add("bans", sections.bans(report, words))
    if report.frontiers:
        add("tuning", *(sections.tuning(one, words) for one in report.frontiers))
    if report.sources:
        add("sources", _sources(report, words))
    if report.accounts:
        note = words.text("report.accounts.forgotten") if report.names_forgotten else None
        add(
            "accounts",
            element("p", words.text("report.accounts.note"), class_="note"),
            element("p", note, class_="note") if note else None,
            account_table(report, words),
        )
    if report.never[0]:
        sources, events = report.never
        told = words.text("report.never.lead", sources=number(sources), events=number(events))
        add("never", element("p", told), worst_table(report, words))
    if report.bans:
        add("list", _list(report, words))
    add("logs", _logs(report, words))
    return found


def _summary(report: Report, words: Words) -> Markup:
    if report.first is None:
        return element("p", words.text("report.empty"), class_="lead")
    if report.tuned:
        return _tuned(report, words)
    if not report.hostile:
        lead = words.text("report.lead-quiet")
    elif not report.bans:
        lead = words.text("report.lead-none", hostile=number(report.hostile))
    else:
        lead = words.text(
            "report.lead-one" if len(report.bans) == 1 else "report.lead",
            share=share(report.stopped, report.hostile),
            bans=number(len(report.bans)),
        )
    hurt = ""
    if report.hurt:
        one = len(report.bans) == 1
        hurt = words.text(f"report.lead-hurt{'-one' if one else ''}", hurt=number(len(report.hurt)))
    elif report.bans:
        hurt = words.text("report.lead-nobody")
    figures = {
        "records": number(report.records),
        "hostile": number(report.hostile),
        "stopped": f"{number(report.stopped)} ({share(report.stopped, report.hostile)})",
        "bans": number(len(report.bans)),
        "caught": number(report.caught),
        "never": number(report.never[0]),
        "alerts": number(report.alerts),
        "hurt": number(len(report.hurt)),
    }
    blank = " " if hurt and words.language == "en" else None
    lead_part = element("p", lead, blank, hurt or None, class_="lead")
    return join((lead_part, _figures(figures, words, "hurt" if report.hurt else "")))


def _tuned(report: Report, words: Words) -> Markup:
    """What was tried."""
    tried = sum(len(frontier.points) for frontier in report.frontiers)
    figures = {
        "records": number(report.records),
        "hostile": number(report.hostile),
        "tried": number(tried),
        "detectors": number(len(report.frontiers)),
    }
    lead = words.text("report.tuning.lead" if tried else "report.tuning.nothing")
    return join((element("p", lead, class_="lead"), _figures(figures, words)))


def _figures(figures: Mapping[str, str], words: Words, alarm: str = "") -> Markup:
    """Names and values; `alarm` is the one that is to be seen first."""
    return element(
        "dl",
        *(
            element(
                "div",
                element("dt", words.text(f"report.figure.{name}")),
                element("dd", value),
                class_="alarm" if name == alarm else None,
            )
            for name, value in figures.items()
        ),
    )


def _hurt(report: Report, words: Words) -> Markup:
    """Who would have been hurt, in words first."""
    found: list[Child] = []
    if report.hurt:
        found.append(
            element(
                "p",
                words.text("report.hurt.lead", hurt=number(len(report.hurt)), bans=number(len(report.bans))),
            )
        )
        if len(report.hurt) > HURT:
            found.append(element("p", words.text("report.latest", count=number(HURT)), class_="note"))
        found.append(hurt_table(report, report.hurt[-HURT:], words))
    else:
        found.append(element("p", words.text("report.hurt.none")))
    if report.hidden:
        found.append(element("p", words.text("report.hurt.hidden", count=number(len(report.hidden)))))
    found.append(element("p", words.text("report.hurt.note"), class_="note"))
    return join(found)


def _sources(report: Report, words: Words) -> Markup:
    note = (
        words.text("report.sources.forgotten", count=number(report.forgotten)) if report.forgotten else None
    )
    return join(
        (
            element("p", note, class_="note") if note else None,
            source_table(report, report.sources, words, wide=False),
            source_table(report, report.networks, words, wide=True),
        )
    )


def _list(report: Report, words: Words) -> Markup:
    found: list[Child] = []
    if len(report.bans) > LISTED:
        found.append(element("p", words.text("report.latest", count=number(LISTED)), class_="note"))
    if min(len(report.bans), LISTED) > PRINTED:
        note = words.text("report.list.printed", count=number(PRINTED))
        found.append(element("p", note, class_="note paper"))
    found.append(ban_list(report, words))
    return join(found)


def _logs(report: Report, words: Words) -> Markup:
    """Which logs were read, and what there is to say about them."""
    named = [element("li", foreign(path, _PATH)) for path in report.logs[:LOGS]]
    if len(report.logs) > LOGS:
        named.append(element("li", words.text("report.logs.more", count=number(len(report.logs) - LOGS))))
    told = [element("li", foreign(words.notice(notice), _TOLD)) for notice in report.notices[:LOGS]]
    untold = report.untold + len(report.notices) - len(told)
    if untold:
        told.append(element("li", words.text("notice.more", count=number(untold))))
    return join(
        (
            element("ul", *named, class_="logs") if named else element("p", words.text("replay.nothing")),
            element("h3", words.text("report.logs.notices")) if told else None,
            element("ul", *told) if told else None,
        )
    )
