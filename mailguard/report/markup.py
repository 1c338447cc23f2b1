"""HTML that is put together from values: everything is escaped unless it is markup of our own already.

Names in logs are chosen by attackers. So no text reaches the page but through `element`, which escapes it and
makes visible what would act without being seen: control characters, marks that turn the direction of writing,
bytes that are no text, and towers of combining marks. What came from a log goes through `foreign`, which also
shortens it and keeps its direction of writing to itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from html import escape

LONGEST = 48  # columns of a name from a log
_MARKS = 3  # combining marks on one character


class Markup(str):
    """Text that is markup already. Only this package makes it."""

    __slots__ = ()


Child = object
_VOID = frozenset(("meta", "input"))
_EMPTY = frozenset(("path", "circle", "line"))  # of SVG, which must be closed


def element(tag: str, *children: Child, **attributes: object) -> Markup:
    """An element. Children are escaped unless they are Markup, None is left out; so it is with attributes,
    where `_` is `-` and one at the end is dropped (`class_`), and True is an attribute without value."""
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        parts.append(f" {name}" if value is True else f' {name}="{_escaped(value)}"')
    parts.append("/>" if tag in _EMPTY else ">")
    if tag not in _VOID and tag not in _EMPTY:
        parts += [_text(child) for child in children if child is not None]
        parts.append(f"</{tag}>")
    elif children:
        raise ValueError(f"<{tag}> holds nothing")
    return Markup("".join(parts))


def join(children: Iterable[Child], between: str = "") -> Markup:
    """Children one after the other, as `element` takes them; `between` is escaped."""
    return Markup(_escaped(between).join(_text(child) for child in children if child is not None))


def lines(text: str) -> Markup:
    """Text of several lines, for <pre>; each line is escaped."""
    return Markup("\n".join(_escaped(line) for line in text.split("\n")))


def _text(child: Child) -> str:
    return str(child) if isinstance(child, Markup) else _escaped(child)


def _escaped(value: object) -> str:
    return str(value) if isinstance(value, Markup) else escape(visible(str(value)))


def visible(text: str) -> str:
    r"""`text` with what cannot be seen written out: `\x1b`, `\u202e`, `\udcff`."""
    if text.isascii() and text.isprintable():
        return text
    found = []
    marks = 0
    for char in text:
        if unicodedata.category(char) in ("Mn", "Mc", "Me"):
            marks += 1
            found.append(char if marks <= _MARKS else _code(char))
        else:
            marks = 0
            found.append(char if char.isprintable() else _code(char))
    return "".join(found)


def _code(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def columns(text: str) -> int:
    """How wide a text is; characters of East Asia count twice."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def shortened(text: str, most: int = LONGEST) -> str:
    """At most `most` columns of a text, visible; what was cut off leaves `…`."""
    shown = visible(text[: most + 1])
    if len(text) <= most and columns(shown) <= most:
        return shown
    kept = []
    width = 1
    for char in shown:
        width += columns(char)
        if width > most:
            break
        kept.append(char)
    return "".join(kept) + "…"


def foreign(text: str, most: int = LONGEST) -> Markup:
    """A name from a log."""
    return element("bdi", shortened(text, most))
