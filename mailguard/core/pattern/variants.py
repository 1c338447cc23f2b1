"""From the tree of a template to the flat shapes that can be matched in linear time.

A *variant* is head, foreign slots with literal text between them, tail. Optional parts that hold a foreign
slot, and optional parts and alternatives between two foreign slots, are written out: one variant for each way
to read them, the fullest first. Head and tail keep theirs: there the regular expression decides.

Owns: what a tree may not look like around foreign text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import NamedTuple

from .slots import TYPES
from .template import Again, Choice, Maybe, Node, Slot, Text, Trouble, is_foreign, join, walk

MOST_VARIANTS = 64


class Variant(NamedTuple):
    """One flat shape. Without a foreign slot everything is `head`. `between[i]` stands after `foreign[i]`."""

    head: tuple[Node, ...]
    foreign: tuple[str, ...] = ()  # names of the foreign slots, empty: of no interest
    between: tuple[bytes, ...] = ()
    tail: tuple[Node, ...] = ()

    def nodes(self) -> tuple[Node, ...]:
        """The shape as a tree again."""
        out = list(self.head)
        for index, name in enumerate(self.foreign):
            out.append(Slot(name, TYPES["foreign"], 0))
            if index < len(self.between):
                out.append(Text(self.between[index], 0))
        return (*out, *self.tail)


class Echo(NamedTuple):
    """The one shape of a template with `{=name}`: `before`, the text, `middle`, the text again, `after`."""

    before: bytes
    name: str
    middle: tuple[Node, ...]
    after: bytes


def _write_out(parts: Sequence[Node], everything: bool) -> list[tuple[Node, ...]]:
    """All ways to read `parts` where optional parts with a foreign slot (or, `everything`, all choices)
    are decided."""
    ways: list[list[tuple[Node, ...]]] = []
    for part in parts:
        if isinstance(part, Maybe) and (everything or any(is_foreign(node) for node in walk(part.parts))):
            ways.append([*_write_out(part.parts, everything), ()])
        elif isinstance(part, Choice) and everything:
            ways.append([(Text(text, part.column),) for text in part.texts])
        else:
            ways.append([(part,)])
        if _count(ways) > MOST_VARIANTS:
            return []
    return [tuple(node for way in chosen for node in way) for chosen in product(*ways)]


def _count(ways: list[list[tuple[Node, ...]]]) -> int:
    number = 1
    for way in ways:
        number *= len(way)
    return number


def _edge_slot(parts: Sequence[Node], end: bool) -> Slot | None:
    """A bounded slot that can stand at the end (or the start) of `parts`, no literal after (before) it."""
    for part in reversed(parts) if end else parts:
        if isinstance(part, Slot):
            return part
        if not isinstance(part, Maybe):
            return None
        inside = _edge_slot(part.parts, end)
        if inside is not None:
            return inside
    return None


def echo(parts: Sequence[Node], trouble: Trouble) -> Echo | None:
    """The shape of a template with `{=name}`, or None after a problem."""
    again = next(node for node in walk(parts) if isinstance(node, Again))
    flat = join(parts)
    places = [index for index, part in enumerate(flat) if is_foreign(part)]
    if len(places) != 2 or any(
        is_foreign(node) for p in flat if isinstance(p, Maybe) for node in walk(p.parts)
    ):
        trouble.add(
            again.column, "a repetition beside another foreign slot", instead="split it into two rules"
        )
        return None
    first, second = places
    before, middle, after = _literal(flat[:first]), flat[first + 1 : second], _literal(flat[second + 1 :])
    if before is None or after is None:
        trouble.add(
            again.column,
            "a slot, alternative or optional part outside the two repeated texts",
            "only where literal text surrounds them is it certain which texts are the repeated ones",
            "write out the alternatives as rules of their own",
        )
        return None
    if not middle or _edge_slot(middle, False) or _edge_slot(middle, True):
        trouble.add(
            again.column, "a slot touches the repeated text", instead="literal text must stand between"
        )
        return None
    return Echo(before, again.name, middle, after)


def _literal(parts: Sequence[Node]) -> bytes | None:
    """The bytes of parts that are nothing but literal text, else None."""
    out = b""
    for part in parts:
        if not isinstance(part, Text):
            return None
        out += part.text
    return out


def variants(parts: Sequence[Node], trouble: Trouble) -> list[Variant]:
    """The flat shapes, fullest first. Adds problems to `trouble`."""
    found: dict[Variant, None] = {}
    shapes = _write_out(parts, False)
    first_column = next((node.column for node in walk(parts) if isinstance(node, Maybe | Choice)), 1)
    if not shapes:
        trouble.add(first_column, f"more than {MOST_VARIANTS} ways to read it", instead="write several rules")
    said: set[tuple[int, str]] = set()

    def refuse(column: int, what: str, why: str, instead: str) -> None:
        if (column, what) not in said:
            said.add((column, what))
            trouble.add(column, what, why, instead)

    for shape in shapes:
        places = [index for index, part in enumerate(shape) if is_foreign(part)]
        if not places:
            found[Variant(join(shape))] = None
            continue
        first, last = places[0], places[-1]
        middles = _write_out(shape[first : last + 1], True)
        if not middles:
            refuse(first_column, f"more than {MOST_VARIANTS} ways to read it", "", "write several rules")
        for middle in middles:
            if _middle_fits(middle, refuse):
                flat = join(middle)
                found[
                    Variant(
                        join(shape[:first]),
                        tuple(part.name for part in flat if isinstance(part, Slot)),
                        tuple(part.text for part in flat if isinstance(part, Text)),
                        join(shape[last + 1 :]),
                    )
                ] = None
        for edge, at_end in ((shape[:first], True), (shape[last + 1 :], False)):
            slot = _edge_slot(edge, at_end)
            if slot is not None:
                refuse(
                    slot.column,
                    f"the {slot.type.name} slot touches a foreign slot",
                    "where one ends and the other begins nobody can say",
                    "put the literal text between them, or make both one {:foreign}",
                )
    if len(found) > MOST_VARIANTS:
        refuse(first_column, f"more than {MOST_VARIANTS} ways to read it", "", "write several rules")
    return list(found)


def _middle_fits(middle: Sequence[Node], refuse: Callable[[int, str, str, str], None]) -> bool:
    """Whether foreign slots and literal text alternate."""
    flat, good = join(middle), True
    for one, two in pairwise(flat):
        if is_foreign(one) and is_foreign(two):
            refuse(
                two.column,
                "two foreign slots touch",
                "where one ends and the other begins nobody can say",
                "put the literal text between them, or make both one {:foreign}",
            )
            good = False
    for part in flat:
        if isinstance(part, Slot) and not part.type.foreign:
            refuse(
                part.column,
                f"the {part.type.name} slot stands between two foreign slots",
                "there, only literal text can be found in linear time",
                "give what comes before or behind it a bounded type, or write two rules"
                if part.name
                else "make it {:foreign} as well, or leave it to the slot before it",
            )
            good = False
    return good
