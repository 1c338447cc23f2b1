"""Nothing that a client chose becomes markup, acts unseen or spreads over the page."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reports import HOSTILE_NAMES

from mailguard.report.markup import (
    LONGEST,
    Markup,
    columns,
    element,
    foreign,
    join,
    lines,
    shortened,
    visible,
)

ANY = st.text(st.characters(categories=None), max_size=200)


class Parsed(HTMLParser):
    """The elements and the text of a piece of HTML."""

    def __init__(self, markup: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", {}))


@given(ANY)
@example("<script>")
@example("a&lt;b")
def test_text_stays_text(text: str) -> None:
    """Whatever a child is, the browser reads one element with that text, what is invisible written out."""
    parsed = Parsed(element("p", text))
    assert parsed.tags == [("p", {})]
    assert parsed.text == visible(text)


@given(ANY)
def test_attributes_stay_attributes(text: str) -> None:
    """Whatever a value is, the browser reads one attribute with that value."""
    parsed = Parsed(element("i", title=text))
    assert parsed.tags == [("i", {"title": visible(text)})]


@given(ANY)
def test_nothing_acts_unseen(text: str) -> None:
    """No control character, no mark of direction, no half of a character is left; all goes as UTF-8."""
    shown = visible(text)
    shown.encode("utf-8")
    for char in shown:
        assert unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@given(ANY, st.integers(1, 80))
def test_names_are_short(text: str, most: int) -> None:
    """A name takes no more columns than it may; what was cut off is seen."""
    shown = shortened(text, most)
    assert columns(shown) <= most
    assert shown == visible(text) or shown.endswith("…")


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_hostile_names(name: str) -> None:
    """A hostile name is an isolated piece of text of at most 48 columns, without a tower of marks."""
    parsed = Parsed(foreign(name))
    assert parsed.tags == [("bdi", {})]
    assert columns(parsed.text) <= LONGEST
    assert "\u0301" * 4 not in parsed.text


def test_ordinary_names_stay() -> None:
    """Names in any script stay as they are."""
    for name in ("jürgen@example.com", "田中@example.jp", "محمد", "नमस्ते", "Zoë"):
        assert Parsed(foreign(name)).text == name


def test_pieces_are_put_together() -> None:
    """Markup is not escaped again, None is left out, an element that holds nothing takes nothing."""
    assert element("p", Markup("<b>x</b>"), None, 7, class_="n", data_x=True, id=None) == (
        '<p class="n" data-x><b>x</b>7</p>'
    )
    assert element("path", d="M0 0") == '<path d="M0 0"/>'
    assert join(("a", None, Markup("<i>"), "<"), ", ") == "a, <i>, &lt;"
    assert lines("a <b>\n\x1b") == "a &lt;b&gt;\n\\x1b"
    with pytest.raises(ValueError):
        element("meta", "text")
