"""Parts of a template as text for `re`, and what is known of the lines they fit.

Owns: where a quantifier may be possessive. Limits: foreign slots stand in it only for explaining, never for
the hot path.
"""

from __future__ import annotations

from collections.abc import Sequence

from .automaton import automaton, meet
from .slots import ANY, SlotType, byte_set, first_chars, type_text
from .template import Choice, Maybe, Node, Slot, Text

LONGEST_LINE = 8192  # bytes; feeds cut longer lines
SOME = SlotType("some", "one byte or more of anything", ((ANY, 1, LONGEST_LINE),))


def first_of(parts: Sequence[Node], after: int) -> int:
    """Bytes with which `parts` followed by `after` may begin."""
    for part in reversed(parts):
        if isinstance(part, Text):
            after = 1 << part.text[0]
        elif isinstance(part, Choice):
            after = byte_set(text[0] for text in part.texts)
        elif isinstance(part, Maybe):
            after |= first_of(part.parts, after)
        elif isinstance(part, Slot):
            after = first_chars(part.type) | (after if part.type.least == 0 else 0)
        else:
            after = ANY
    return after


def regex_text(parts: Sequence[Node], after: int, names: bool = True, lazy: bool = False) -> str:
    """`parts` as text for `re`: named slots are groups in order. `after`: bytes that may follow, 0: the end.
    `lazy` is for foreign slots among the parts (explaining only: `re` would not be linear there)."""
    out: list[str] = []
    for part in reversed(parts):
        if isinstance(part, Text):
            out.append(literal_text(part.text))
        elif isinstance(part, Choice):
            out.append("(?:" + "|".join(map(literal_text, sorted(part.texts, key=len, reverse=True))) + ")")
        elif isinstance(part, Maybe):
            out.append(f"(?:{regex_text(part.parts, after, names, lazy)})?")
        elif isinstance(part, Slot):
            text = type_text(part.type, after, lazy=lazy)
            out.append(f"({text})" if names and part.name else text)
        else:
            out.append(r"(?s:.*?)")
        after = first_of([part], after)
    return "".join(reversed(out))


def literal_text(text: bytes) -> str:
    """Bytes as text for `re`."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in text)


def names_of(parts: Sequence[Node]) -> list[str]:
    """Names of the slots in order."""
    out: list[str] = []
    for part in parts:
        if isinstance(part, Slot) and part.name:
            out.append(part.name)
        elif isinstance(part, Maybe):
            out += names_of(part.parts)
    return out


def longest(parts: Sequence[Node]) -> int:
    """The most bytes these parts can cover."""
    total = 0
    for part in parts:
        if isinstance(part, Text):
            total += len(part.text)
        elif isinstance(part, Choice):
            total += max(map(len, part.texts))
        elif isinstance(part, Maybe):
            total += longest(part.parts)
        elif isinstance(part, Slot):
            total += part.type.greatest
    return min(total, LONGEST_LINE)


def shortest(parts: Sequence[Node]) -> int:
    """The fewest bytes these parts can cover."""
    total = 0
    for part in parts:
        if isinstance(part, Text):
            total += len(part.text)
        elif isinstance(part, Choice):
            total += min(map(len, part.texts))
        elif isinstance(part, Slot):
            total += part.type.least
    return total


def ends_once(parts: Sequence[Node]) -> bool:
    """Whether no line has two beginnings that fit `parts`."""
    return not meet(automaton(parts), automaton([*parts, Slot("", SOME, 0)]))


def stops(parts: Sequence[Node]) -> tuple[bytes, ...]:
    """The literal texts with which every line that fits `parts` ends."""
    last = parts[-1] if parts else None
    return (last.text,) if isinstance(last, Text) else last.texts if isinstance(last, Choice) else (b"",)
