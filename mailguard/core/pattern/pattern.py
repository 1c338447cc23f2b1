"""A compiled template: what it matches, and which of its slots are certain.

Owns: what a cut line may tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .automaton import Automaton, automaton, beginnings
from .cache import ProofCache, digest
from .cost import MOST_STEPS, steps_of, whole_cost
from .expression import longest, shortest
from .matching import Match, Values, cut_way, first_way, repeated_way, whole_way
from .prove import prove_echo, prove_names
from .template import Again, Node, Slot, Text, Trouble, is_foreign, join, parse, walk
from .variants import Echo, Variant, echo, variants
from .witness import Ambiguity


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A template ready to match. Made by `compile`.

    `match(data, start, end, cut=False)` gives the captured bytes in order of `names`, None for an absent
    part, or None when data[start:end] does not fit as a whole. It takes time linear in the line. With `cut`,
    the line was cut: only what stands before the first foreign slot must fit, later slots are None; nothing
    is matched if the source does not stand before it, or if a cut line could be read with two sources.
    """

    text: str
    names: tuple[str, ...]
    types: tuple[str, ...]  # type names of `names`; inline classes as written
    literal: bytes  # the longest literal that every match holds; empty where there is none
    literals: tuple[bytes, ...]  # all of them, longest first
    foreign: bool  # whether a client's text stands in it
    proved: frozenset[str]  # names whose value is the same in every reading
    ambiguous: dict[str, Ambiguity]  # the others, each with a line that shows it
    cut_ambiguity: Ambiguity | None  # why a cut line is never matched, although its source stands first
    parts: tuple[Node, ...]
    shapes: tuple[Variant, ...]
    echo: Echo | None
    key: bytes  # digest of the template
    _find: Match = field(init=False, repr=False)
    _find_cut: Match | None = field(init=False, repr=False)

    def __getattr__(self, name: str) -> Any:
        """The two ways to match are made when first asked for: what the compiled scan covers needs none, and
        making them is most of what a template costs."""
        made: Match | None
        if name == "_find":
            shape, names = self.echo, self.names
            ways = [whole_way(one, names) for one in self.shapes]
            made = first_way(ways if shape is None else [repeated_way(shape, names)])
        elif name == "_find_cut":
            ways = [cut_way(one, self.names) for one in _cut_shapes(self.shapes)]
            made = first_way(ways) if self.cut_capable else None
        else:
            raise AttributeError(name)
        object.__setattr__(self, name, made)
        return made

    def match(self, data: Any, start: int, end: int, cut: bool = False) -> Values | None:
        """See the class. `data`: bytes, bytearray or memoryview."""
        if type(data) is not bytes:
            data, start, end = bytes(data[start:end]), 0, end - start
        if cut:
            return self._find_cut(data, start, end) if self._find_cut is not None else None
        return self._find(data, start, end)

    @property
    def cut_capable(self) -> bool:
        """Whether a cut line can match."""
        cut = _cut_shapes(self.shapes)
        foreign = sum(1 for one in self.shapes if one.foreign)
        return bool(cut) and len(cut) == foreign and self.cut_ambiguity is None

    def automaton(self) -> Automaton:
        """The automaton of whole lines; a repeated text is taken as any text."""
        return automaton(self.parts)

    def beginnings(self) -> Automaton:
        """The automaton of cut lines."""
        return beginnings([shape.head for shape in self.shapes])


_KEPT = tuple(one.name for one in fields(Pattern) if one.init)


def _state(pattern: Pattern) -> list[Any]:
    return [getattr(pattern, name) for name in _KEPT]


def _restore(pattern: Pattern, state: list[Any]) -> None:
    for name, value in zip(_KEPT, state, strict=True):
        object.__setattr__(pattern, name, value)


# What is kept of a pattern is all but its ways to match. Put here, because the decorator of Debian 12's
# Python (3.11.2) puts methods of its own in place of these when they stand in the class.
Pattern.__getstate__ = _state  # type: ignore[assignment]
Pattern.__setstate__ = _restore  # type: ignore[attr-defined]


# ---------------------------------------------------------------- compiling


def compile(template: str, *, where: str = "", cache: ProofCache | None = None) -> Pattern:
    """Compile and prove a template. `where` begins the place of its problems; `cache` remembers proofs.

    Raises ProblemsError with every problem of the template. An ambiguous slot is no problem here: see
    `proved`.
    """
    parts = join(parse(template, where))
    trouble = Trouble(template, where)
    again = any(isinstance(node, Again) for node in walk(parts))
    shape = echo(parts, trouble) if again else None
    shapes = () if again else tuple(variants(parts, trouble))
    trouble.raise_any()
    _check_cost(shapes, shape, trouble)
    trouble.raise_any()
    names = tuple(node.name for node in walk(parts) if isinstance(node, Slot) and node.name)
    kinds = {node.name: node.type.name for node in walk(parts) if isinstance(node, Slot)}
    ambiguous, cut_ambiguity = _proofs(template, parts, shapes, shape, names, cache)
    texts = sorted(required(parts), key=len, reverse=True)
    made = Pattern(
        text=template,
        names=names,
        types=tuple(kinds[name] for name in names),
        literal=texts[0] if texts else b"",
        literals=tuple(texts),
        foreign=any(is_foreign(node) for node in walk(parts)),
        proved=frozenset(names) - ambiguous.keys(),
        ambiguous=ambiguous,
        cut_ambiguity=cut_ambiguity,
        parts=parts,
        shapes=shapes,
        echo=shape,
        key=digest(template),
    )
    _ = made._find, made._find_cut  # a template that cannot be matched is not made
    return made


def required(parts: Sequence[Node]) -> list[bytes]:
    """Literal texts that stand in every match, each in one piece."""
    return [part.text for part in parts if isinstance(part, Text)]


def _cut_shapes(shapes: Sequence[Variant]) -> list[Variant]:
    """The shapes in which the source stands before what a client wrote."""
    return [one for one in shapes if one.foreign and _speaks_first(one)]


def _speaks_first(shape: Variant) -> bool:
    return any(isinstance(part, Slot) and part.name == "source" for part in shape.head)


def _check_cost(shapes: Sequence[Variant], shape: Echo | None, trouble: Trouble) -> None:
    steps = steps_of(shapes)
    if shape is not None:
        steps = whole_cost(shape.middle) * max(1, longest(shape.middle) - shortest(shape.middle))
    if steps > MOST_STEPS:
        trouble.add(
            1,
            f"a line could take {steps} steps to match, more than {MOST_STEPS}",
            "slots whose end is not certain are tried again and again",
            "narrow the classes so that the text after a slot cannot stand inside it",
        )


def _proofs(
    template: str,
    parts: Sequence[Node],
    shapes: Sequence[Variant],
    shape: Echo | None,
    names: Sequence[str],
    cache: ProofCache | None,
) -> tuple[dict[str, Ambiguity], Ambiguity | None]:
    key = digest(template)
    known = cache.single(key) if cache is not None else None
    if known is None:
        found = list(
            (prove_names(automaton(parts), names) if shape is None else prove_echo(shape, names)).values()
        )
        if "source" in names and any(one.foreign for one in shapes):
            heads = [one.head for one in shapes if one.foreign]
            found += prove_names(beginnings(heads), ["source"], "cut").values()
        known = tuple(found)
        if cache is not None:
            cache.put_single(key, known)
    whole = {one.slot: one for one in known if one.where == "whole"}
    return whole, next((one for one in known if one.where == "cut"), None)
