"""The cells of a page of HTML, for exports that were saved so (`exports`).

A module of its own, because whoever reads a log asks `exports` whether it is a table, and hardly ever it is a
page.
"""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """The rows of all tables of a page. Entities are decoded once; tags inside cells are dropped."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self._cell: list[str] | None = None
        self._hidden = 0
        self._unclosed = False  # a comment without an end was met: no end stands behind it

    def parse_html_declaration(self, i: int) -> int:
        """As browsers do: `<![...>` is a comment, whatever stands in it (the base class knows a few words
        there and gives up on all others)."""
        if self.rawdata.startswith("<![", i):
            return self.parse_bogus_comment(i)
        return super().parse_html_declaration(i)

    def parse_comment(self, i: int, report: bool = True) -> int:
        """-1 where it has no end; that is looked for once, not again for each `<!--` of a hostile cell."""
        end = -1 if self._unclosed else super().parse_comment(i, report)
        self._unclosed = end < 0
        return end

    def close(self) -> None:
        """The end of the page is the end of its last cell."""
        super().close()
        self._close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self._hidden += 1
        elif tag == "tr":
            self._close()
            self.rows.append([])
        elif tag in ("td", "th"):
            self._close()
            self._cell = []
        elif tag == "br" and self._cell is not None:
            self._cell.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._hidden = max(0, self._hidden - 1)
        elif tag in ("td", "th", "tr", "table"):
            self._close()

    def handle_data(self, data: str) -> None:
        if self._cell is not None and not self._hidden:
            self._cell.append(data)

    def _close(self) -> None:
        if self._cell is not None:
            if not self.rows:
                self.rows.append([])
            self.rows[-1].append("".join(self._cell))
            self._cell = None
