"""The page stands alone, tells what is in the report, and lets nothing out of a log act."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from reports import HOSTILE_NAMES, Render, T, ban, frontier, hurting, many

from mailguard.report import Report
from mailguard.report.page import style
from mailguard.report.tables import LISTED, PRINTED

REPORTS = {
    "nothing was read": Report(),
    "no bans": Report(first=T, last=T, zone=None, logs=["a.log"], records=1),
    "one ban": many(1, days=0.2),
    "some bans": many(300),
    "hostile names": many(300, names=HOSTILE_NAMES),
}
LANGUAGES = ("en", "ja")


class Page(HTMLParser):
    """The elements of a page, in order, and its text outside the style sheet."""

    def __init__(self, content: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.style = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data + "\n"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_stands_alone(page: Render, language: str, name: str) -> None:
    """No script, frame, form, picture, font or address of elsewhere; no style, no handler in an element."""
    report = replace(REPORTS[name], frontiers=[frontier()])
    found = Page(page(report, language))
    assert found.open == []
    assert not {tag for tag, _ in found.tags} & {
        "script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use", "a:href",
        "foreignobject", "audio", "video", "source", "template", "comment",
    }  # fmt: skip
    for tag, attributes in found.tags:
        assert not [one for one in attributes if one.startswith("on") or one in ("style", "src", "srcset")]
        assert (attributes.get("href") or "#").startswith("#"), tag
    assert "url(" not in found.style
    assert "@import" not in found.style
    assert len(found.all("style")) == 1


@pytest.mark.parametrize("name", REPORTS)
def test_the_policy_allows_the_style_sheet_alone(page: Render, language: str, name: str) -> None:
    """The Content-Security-Policy comes first and names the one style sheet by its hash."""
    found = Page(page(REPORTS[name], language))
    policies = [one["content"] for one in found.all("meta") if one.get("http-equiv")]
    digest = re.fullmatch(
        r"default-src 'none'; style-src 'sha256-([\w+/=]+)'; base-uri 'none'; form-action 'none'",
        policies[0] or "",
    )
    assert len(policies) == 1
    assert digest
    assert b64decode(digest[1]) == sha256(found.style.encode()).digest()
    names = [tag for tag, _ in found.tags]
    assert names.index("meta") < names.index("style")


@pytest.mark.parametrize("name", REPORTS)
def test_everybody_can_read_it(page: Render, language: str, name: str) -> None:
    """Language and title are named, each chart has words, each table heads and a caption, ids are unique and
    links lead to them, headings do not skip a level."""
    found = Page(page(REPORTS[name], language))
    assert found.all("html")[0]["lang"] == language
    assert found.text.strip().startswith("mailguard: ")
    ids = [attributes["id"] for _, attributes in found.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert {(one["href"] or "")[1:] for one in found.all("a")} <= set(ids)
    assert {one["aria-labelledby"] for one in found.all("section")} <= set(ids)
    tags = [tag for tag, _ in found.tags]
    for at, (tag, attributes) in enumerate(found.tags):
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert tags[at + 1] == "title"
        if tag == "table":
            assert tags[at + 1] == "caption"
    assert all(one["scope"] in ("col", "row") for one in found.all("th"))
    levels = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_the_same_report_gives_the_same_page(page: Render, language: str) -> None:
    """Nothing of today, of this host or of chance stands in a page."""
    assert page(many(50), language) == page(many(50), language)


def test_hostile_names_are_shown_as_they_are(page: Render, language: str) -> None:
    """A name that wants to be markup is text; what is invisible is written out; the page is UTF-8."""
    content = page(many(300, names=HOSTILE_NAMES), language)
    content.encode("utf-8")
    assert "<script" not in content
    assert "&lt;script&gt;window.pwned = 1&lt;/script&gt;" in content
    for mark in "\u202e\u2066\u200f\x1b\x00\x9b\u200b":
        assert mark not in content
    assert "admin\\u202egpj.exe\\u2066" in content
    assert "A" * 401 not in content
    assert len(content) < 1_000_000


def test_nothing_to_tell(page: Render) -> None:
    """Without lines, without attacks and without bans the page says so and has no empty tables."""
    for name, words in (("nothing was read", "nothing to judge"), ("no bans", "no hostile event")):
        found = Page(page(REPORTS[name]))
        assert words in found.text
        assert not found.all("table")
        assert not found.all("figure")


def test_the_verdict_comes_first(page: Render) -> None:
    """The first sentence says how much was stopped by how many bans and whether anybody was hurt."""
    report = many(300)
    found = Page(page(report))
    assert "With 300 bans the policy would have stopped 4" in found.text
    assert f"{len(report.hurt)} of them would have locked out somebody known." in found.text
    quiet = many(300)
    quiet.hurt = []
    assert "Nobody known would have been locked out." in page(quiet)
    one = Report(first=T, last=T + 60, bans=[ban(T, 7, 60.0)], hostile=5, stopped=5, edges=[T, T + 60])
    assert "With one ban the policy would have stopped 100%" in page(one)


def test_who_would_be_hurt_is_named(page: Render) -> None:
    """Accounts and senders of a network stand beside the verdict on its ban."""
    hit = ban(T, 0xC0000207, 3600.0, during=hurting(T + 9, ["sato", "sato", "abe"], ["a@example.jp"]))
    text = Page(page(Report(first=T, last=T + 60, bans=[hit], hurt=[hit], edges=[T, T + 60]))).text
    assert "2 accounts and customer example.jp would have been locked out for 1h" in text
    assert re.search(r"sato\s+2,\s+abe\s+1", text)


def test_long_lists_are_cut_and_say_so(page: Render) -> None:
    """The list has the latest bans, paper fewer of them; both is said."""
    report = many(LISTED + 7)
    content = page(report)
    rows = content[content.index('id="list"') :]
    assert rows.count("<tr") == LISTED + 1
    assert rows.count('<tr class="early"') == LISTED - PRINTED
    assert f"Only the latest {LISTED:,}" in content
    assert f"On paper are the latest {PRINTED}" in content
    assert len(content) < 4_000_000


def test_bans_without_end_and_lifted_ones(page: Render) -> None:
    """A ban for ever is drawn to the end, a lifted one tells how long it stood."""
    ever = ban(T + 5, 7, None)
    lifted = ban(T + 9, 8, 3600.0, lifted="unban", until=T + 69)
    text = Page(page(Report(first=T, last=T + 600, bans=[ever, lifted], edges=[T, T + 300, T + 600]))).text
    assert "for ever" in text
    assert "1m (lifted)" in text


# ---------------------------------------------------------------- colours


def _light(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_light(one), _light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("ink", 7), ("soft", 4.5), ("link", 4.5), ("alarm", 4.5),
        ("strong", 3), ("quiet", 3), ("good", 3),
    ],
)  # fmt: skip
def test_contrast(name: str, least: float, dark: bool) -> None:
    """Text has a contrast of at least 4.5 on the page and on washed rows, bars and marks of 3."""
    from mailguard.cli.reporting import Spoken

    sheet = style(Spoken("en"))
    colours = {
        found[1]: found[3 if dark else 2]
        for found in re.finditer(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\);", sheet)
    }
    assert set(re.findall(r"var\(--(\w+)\)", sheet)) <= set(colours)
    for ground in ("page", "wash"):
        assert _contrast(colours[name], colours[ground]) >= least
