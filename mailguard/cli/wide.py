"""Help texts of scripts whose characters are two columns wide, and which put no blanks between words.

click breaks lines at blanks and counts characters. Here lines are broken where the terminal's columns end,
between any two wide characters but never so that a closing mark begins a line or an opening one ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

import click
from click.formatting import iter_rows

from .output import columns

#: May not begin a line, may not end one.
_CLOSING = "、。，．・：；！？）」』】〉》〕］｝ーぁぃぅぇぉっゃゅょァィゥェォッャュョ々)]},.:;!?%…"
_OPENING = "（「『【〈《〔［｛([{"
_BLANKS = re.compile(r"(\s+)")


def pieces(text: str) -> Iterator[str]:
    """What may not be broken: words between blanks, wide characters with the marks that belong to them."""
    for word in _BLANKS.split(text):
        if not word or word.isspace():
            if word:
                yield " "
            continue
        piece = word[0]
        for before, char in pairwise(word):
            wide = columns(char) == 2 or columns(before) == 2
            if wide and char not in _CLOSING and before not in _OPENING:
                yield piece
                piece = char
            else:
                piece += char
        yield piece


def wrap(text: str, width: int) -> list[str]:
    """The lines of a paragraph, none wider than `width` columns but those of one piece that is."""
    lines, line, used, gap = [], "", 0, ""
    for piece in pieces(" ".join(text.split())):
        if piece == " ":
            gap = " "
            continue
        size = columns(piece)
        if line and used + len(gap) + size > width:
            lines.append(line)
            line, used, gap = "", 0, ""
        if not line:
            gap = ""
        line, used, gap = line + gap + piece, used + len(gap) + size, ""
    return [*lines, line] if line else lines


class WideFormatter(click.HelpFormatter):
    """click's formatter, counting columns."""

    def write_text(self, text: str) -> None:
        """Paragraphs, each wrapped and indented."""
        indent = " " * self.current_indent
        told = [
            "\n".join(indent + line for line in wrap(one, self.width - self.current_indent))
            for one in text.split("\n\n")
        ]
        self.write("\n\n".join(told) + "\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Terms and what they mean, in two columns."""
        rows = list(rows)
        first = min(max((columns(term) for term, _ in rows), default=0), col_max) + col_spacing
        margin = " " * (first + self.current_indent)
        for term, meaning in iter_rows(rows, 2):
            size = columns(term)
            begin = " " * self.current_indent + term
            lines = wrap(meaning, max(self.width - first - 2, 10))
            if not lines:
                self.write(begin + "\n")
                continue
            if size <= first - col_spacing:
                begin += " " * (first - size)
            else:
                begin += "\n" + margin
            self.write(begin + f"\n{margin}".join(lines) + "\n")
