"""A real browser shows the page without a word on its console and without a request, on screens and paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, Tab, chromium, found
from reports import HOSTILE_NAMES, Render, frontier, many

from mailguard.report import Report

pytestmark = pytest.mark.skipif(found() is None, reason="there is no Chromium here")

WIDTHS = (360, 768, 1280)
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(21, 24, 27)"
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def reports() -> dict[str, Report]:
    return {
        "empty": Report(),
        "one": many(1, days=0.2),
        "many": many(400),
        "hostile": many(200, names=HOSTILE_NAMES),
    }


def shown(running: Browser, path: Path, content: str, width: int = 1280, *, dark: bool = False) -> Tab:
    path.write_text(content, encoding="utf-8")
    tab = running.tab()
    tab.look(width, dark=dark)
    tab.open(path)
    return tab


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", ["empty", "one", "many", "hostile"])
def test_no_word_and_no_request(
    running: Browser, page: Render, tmp_path: Path, name: str, language: str
) -> None:
    """The console stays empty, the file itself is all that is asked for, and at no width anything but a table
    in its own frame is wider than the window."""
    report = reports()[name]
    report.frontiers = [frontier()] if report.bans else []
    tab = shown(running, tmp_path / "report.html", page(report, language))
    for width in WIDTHS:
        tab.look(width)
        assert tab.evaluate("document.documentElement.scrollWidth") == width
    tab.look(1280, media="print")
    assert tab.paper().startswith(b"%PDF")
    assert tab.evaluate("window.pwned") is None
    assert tab.console == []
    assert tab.requests == [(tmp_path / "report.html").as_uri()]


def test_the_policy_holds(running: Browser, page: Render, tmp_path: Path) -> None:
    """Markup that got into a page could run, load and style nothing: the browser refuses it."""
    slipped = (
        "<script>window.pwned = 1</script><img src='https://192.0.2.1/x' onerror='window.pwned = 1'>"
        "<link rel=stylesheet href='https://192.0.2.1/x.css'><video src='https://192.0.2.1/x.webm'></video>"
        "<p id=slipped style='color: rgb(1, 2, 3)'>x</p><style>p { color: rgb(1, 2, 3) }</style>"
        "<svg onload='window.pwned = 1'></svg>"
    )
    content = page(many(3)).replace("<main>", f"<main>{slipped}")
    tab = shown(running, tmp_path / "report.html", content)
    assert tab.evaluate("document.getElementById('slipped').textContent") == "x"
    assert tab.evaluate("window.pwned") is None
    assert tab.evaluate("getComputedStyle(document.getElementById('slipped')).color") != "rgb(1, 2, 3)"
    assert [one for one in tab.console if "Content Security Policy" in one or "ContentSecurityPolicy" in one]
    assert tab.requests == [(tmp_path / "report.html").as_uri()]


def test_light_dark_and_the_switch(running: Browser, page: Render, tmp_path: Path) -> None:
    """The page follows the system until somebody chooses; the choice holds whatever the system is."""
    tab = shown(running, tmp_path / "report.html", page(many(30)))
    for dark in (False, True):
        tab.look(1280, dark=dark)
        assert tab.evaluate(GROUND) == (DARK if dark else LIGHT)
    for theme, ground in (("light", LIGHT), ("dark", DARK)):
        box = tab.evaluate(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])"
            f"(document.querySelector('#theme-{theme}').parentElement.getBoundingClientRect())"
        )
        tab.press(*box)
        for dark in (False, True):
            tab.look(1280, dark=dark)
            assert tab.evaluate(GROUND) == ground
    tab.look(1280, dark=True, media="print")
    assert tab.evaluate(GROUND) == LIGHT
    assert tab.console == []


def test_names_stay_in_their_place(running: Browser, page: Render, tmp_path: Path) -> None:
    """No name is wider than the page, none changes the direction of what is beside it."""
    tab = shown(running, tmp_path / "report.html", page(many(200, names=HOSTILE_NAMES)), 360)
    widest = (
        "Math.max(...[...document.querySelectorAll('bdi')].map(one => one.getBoundingClientRect().width))"
    )
    assert tab.evaluate(widest) <= 480
    assert tab.evaluate("document.querySelectorAll('script, img, iframe, form, object').length") == 0


def test_charts_have_their_size(running: Browser, page: Render, tmp_path: Path) -> None:
    """Every strip is drawn and as wide as its lane allows; letters keep their size on a narrow screen."""
    tab = shown(running, tmp_path / "report.html", page(many(400)))
    for width in WIDTHS:
        tab.look(width)
        sizes = tab.evaluate(
            "[...document.querySelectorAll('svg.strip')].map(one => [one.getBoundingClientRect().width,"
            " one.querySelectorAll('path').length])"
        )
        assert len(sizes) > 30
        assert all(wide > 0.5 * min(width, 600) and paths > 1 for wide, paths in sizes)
        letters = "getComputedStyle(document.querySelector('svg.axis text')).fontSize"
        assert tab.evaluate(letters) == "13px"


def test_paper(running: Browser, page: Render, tmp_path: Path) -> None:
    """5,000 bans fit the window and print on a few pages of A4, with the latest hundred; what is for screens
    only is not there. Nothing is said and nothing asked for."""
    tab = shown(running, tmp_path / "report.html", page(many(5000)))
    assert tab.evaluate("document.documentElement.scrollWidth") == 1280
    paper = tab.paper()
    sizes = set(re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", paper))
    assert {(round(float(wide)), round(float(high))) for wide, high in sizes} == {(595, 842)}  # A4, in points
    assert 5 <= len(re.findall(rb"/Type /Page\b", paper)) <= 14
    tab.look(1280, media="print")
    for hidden in ("nav", "fieldset", "tr.early", "details"):
        assert tab.evaluate(f"getComputedStyle(document.querySelector('{hidden}')).display") == "none"
    assert tab.console == []
    assert tab.requests == [(tmp_path / "report.html").as_uri()]
