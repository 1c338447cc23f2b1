"""Which optional parts and alternatives of a template a message uses, for the tests inside a definition.

Not linear: only for the lines that stand in definitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .expression import regex_text
from .pattern import Pattern
from .slots import ANY
from .template import Again, Choice, Maybe, Node, Slot, Text, walk


def branches(pattern: Pattern) -> tuple[str, ...]:
    """The optional parts and alternatives of a template in order, as an administrator would name them."""
    out: list[str] = []
    for node in walk(pattern.parts):
        if isinstance(node, Maybe):
            out.append(f"the optional part at column {node.column}")
        elif isinstance(node, Choice):
            out += [f"the alternative {text.decode()!r} at column {node.column}" for text in node.texts]
    return tuple(out)


def used(pattern: Pattern, message: bytes) -> frozenset[int] | None:
    """Which of `branches` some reading of this message takes, by index; None when it does not fit. For tests
    of a definition: not linear."""
    numbers = iter(range(10_000))
    found = re.compile(_traced(pattern.parts, numbers).encode("latin-1")).fullmatch(message)
    if found is None:
        return None
    return frozenset(
        int(name[1:]) for name, value in found.groupdict().items() if value is not None and name[1:].isdigit()
    )


def _traced(parts: Sequence[Node], numbers: Iterator[int]) -> str:
    out: list[str] = []
    for part in parts:
        if isinstance(part, Maybe):
            number = next(numbers)
            out.append(f"(?P<b{number}>{_traced(part.parts, numbers)})?")
        elif isinstance(part, Choice):
            texts = [f"(?P<b{next(numbers)}>{regex_text([Text(text, 0)], 0)})" for text in part.texts]
            out.append(f"(?:{'|'.join(texts)})")
        elif isinstance(part, Slot) and part.type.foreign and part.name:
            out.append(f"(?P<{part.name}>(?s:.*?))")
        elif isinstance(part, Again):
            out.append(f"(?P={part.name})")
        else:
            out.append(regex_text([part], ANY, names=False))
    return "".join(out)
