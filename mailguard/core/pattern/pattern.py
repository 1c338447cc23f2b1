"""A compiled template: what it matches, and which of its slots are certain.

Owns: the order in which captured values come, and what a cut line may tell.
Never: returns a reading whose `source` is no address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from . import plan
from .automaton import Automaton, automaton, beginnings
from .cache import ProofCache, digest
from .prove import Ambiguity, prove_echo, prove_names
from .slots import ANY, is_address
from .template import Again, Choice, Maybe, Node, Slot, Text, Trouble, is_foreign, parse, walk
from .variants import Echo, Variant, echo, join, variants

Values = tuple[bytes | None, ...]
Match = Callable[[bytes, int, int], Values | None]


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
    _find: Match = field(repr=False)
    _find_cut: Match | None = field(repr=False)

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
        return self._find_cut is not None

    def automaton(self) -> Automaton:
        """The automaton of whole lines; a repeated text is taken as any text."""
        return automaton(self.parts)

    def beginnings(self) -> Automaton:
        """The automaton of cut lines."""
        return beginnings([shape.head for shape in self.shapes])


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
    cut_shapes = [one for one in shapes if one.foreign and _speaks_first(one)]
    texts = sorted(required(parts), key=len, reverse=True)
    return Pattern(
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
        _find=_first_of(
            [_whole(one, names) for one in shapes] if shape is None else [_repeated(shape, names)]
        ),
        _find_cut=_first_of([_cut(one, names) for one in cut_shapes])
        if cut_shapes and len(cut_shapes) == sum(1 for one in shapes if one.foreign) and cut_ambiguity is None
        else None,
    )


def required(parts: Sequence[Node]) -> list[bytes]:
    """Literal texts that stand in every match, each in one piece."""
    return [part.text for part in parts if isinstance(part, Text)]


def _speaks_first(shape: Variant) -> bool:
    return any(isinstance(part, Slot) and part.name == "source" for part in shape.head)


def _check_cost(shapes: Sequence[Variant], shape: Echo | None, trouble: Trouble) -> None:
    steps = plan.steps_of(shapes)
    if shape is not None:
        steps = plan.whole_cost(shape.middle) * max(
            1, plan.longest(shape.middle) - plan.shortest(shape.middle)
        )
    if steps > plan.MOST_STEPS:
        trouble.add(
            1,
            f"a line could take {steps} steps to match, more than {plan.MOST_STEPS}",
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


# ---------------------------------------------------------------- matching


def _first_of(ways: Sequence[Match]) -> Match:
    if len(ways) == 1:
        return ways[0]

    def find(data: bytes, start: int, end: int) -> Values | None:
        for way in ways:
            found = way(data, start, end)
            if found is not None:
                return found
        return None

    return find


def _order(have: Sequence[str], names: Sequence[str]) -> Callable[[Values], Values] | None:
    """Puts values of the names in `have`, one None behind them, into the order of `names`; None: it is
    that already."""
    if list(have) == list(names):
        return None
    places = [have.index(name) if name in have else len(have) for name in names]
    if len(places) == 1:
        place = places[0]
        return lambda values: (values[place],)
    pick: Callable[[Values], Values] = itemgetter(*places) if places else lambda values: ()
    return pick


def _place(names: Sequence[str], have: Sequence[str]) -> int:
    """Index of the source among the values, -1 where the template has none or this way does not hold it."""
    return list(names).index("source") if "source" in names and "source" in have else -1


def _whole(shape: Variant, names: Sequence[str]) -> Match:
    """The match of one variant."""
    if not shape.foreign:
        return _bounded(shape, names)
    far = _split(shape, names)
    if shape.between or not plan.ends_once(shape.head):
        return far
    named = bool(shape.foreign[0])
    head_names, tail_names = plan.names_of(shape.head), plan.names_of(shape.tail)
    expression, lead = plan.one_call(shape.head, named, shape.tail)
    match, limit = expression.match, plan.SHORT if shape.tail else plan.LONGEST_LINE << 8
    if not named or not shape.tail:
        have = [*head_names, *shape.foreign[:named], *tail_names]
        order, source = _order(have, names), _place(names, have)

        def find(data: bytes, start: int, end: int) -> Values | None:
            if end - start > limit:
                return far(data, start, end)
            found = match(data, start, end)
            if found is None:
                return None
            values: Values = found.groups()
            if order is not None:
                values = order((*values, None))
            if source >= 0 and (value := values[source]) is not None and not is_address(value):
                return None
            return values

        return find
    before, behind = len(head_names) + 1, len(head_names) + 2
    have = [*head_names, "", "", *tail_names, shape.foreign[0]]
    pick, source = _order(have, names), _place(names, have)
    assert pick is not None

    def find_between(data: bytes, start: int, end: int) -> Values | None:
        if end - start > limit:
            return far(data, start, end)
        found = match(data, start, end)
        if found is None:
            return None
        values: Values = pick((*found.groups(), data[found.end(before) : found.end(behind) - lead], None))
        if source >= 0 and (value := values[source]) is not None and not is_address(value):
            return None
        return values

    return find_between


def _split(shape: Variant, names: Sequence[str]) -> Match:
    """The match of one variant with foreign text, head and tail each for itself: for lines of any length."""
    head_names, tail_names = plan.names_of(shape.head), plan.names_of(shape.tail)
    have = [*head_names, *filter(None, shape.foreign), *tail_names]
    order, source = _order(have, names), _place(names, have)
    head = plan.head_finder(shape.head) if shape.head else None
    tail, lead = plan.tail_finder(shape.tail) if shape.tail else (None, 0)
    window = plan.longest(shape.tail)
    between = [
        (text, len(text), bool(name)) for text, name in zip(shape.between, shape.foreign[1:], strict=True)
    ]
    between.reverse()
    first = bool(shape.foreign[0])

    def find(data: bytes, start: int, end: int) -> Values | None:
        values: Values = ()
        last: Values = ()
        place, stop = start, end
        if head is not None:
            found = head(data, start, end)
            if found is None:
                return None
            values, place = found.groups(), found.end()
        if tail is not None:
            found = tail(data, max(place, end - window), end)
            if found is None:
                return None
            stop, last = found.start(1) - lead, found.groups()[1:]
        taken: list[bytes] = []
        for text, length, named in between:
            here = data.rfind(text, place, stop)
            if here < 0:
                return None
            if named:
                taken.append(data[here + length : stop])
            stop = here
        if first:
            taken.append(data[place:stop])
        values += (*reversed(taken), *last)
        if order is not None:
            values = order((*values, None))
        return values if source < 0 or _is_source(values[source]) else None

    return find


def _is_source(value: bytes | None) -> bool:
    return value is None or is_address(value)


def _bounded(shape: Variant, names: Sequence[str]) -> Match:
    """The match of a shape without foreign text."""
    fullmatch = plan.whole_finder(shape.head)
    have = plan.names_of(shape.head)
    order, source = _order(have, names), _place(names, have)

    def find(data: bytes, start: int, end: int) -> Values | None:
        found = fullmatch(data, start, end)
        if found is None:
            return None
        values: Values = found.groups()
        if order is not None:
            values = order((*values, None))
        if source >= 0 and not _is_source(values[source]):
            return None
        return values

    return find


def _cut(shape: Variant, names: Sequence[str]) -> Match:
    """The match of a line of which only the beginning is there."""
    head, have = plan.head_finder(shape.head), plan.names_of(shape.head)
    order, source = _order(have, names), _place(names, have)

    def find(data: bytes, start: int, end: int) -> Values | None:
        found = head(data, start, end)
        if found is None:
            return None
        values: Values = found.groups()
        if order is not None:
            values = order((*values, None))
        return values if values[source] is not None and _is_source(values[source]) else None

    return find


def _repeated(shape: Echo, names: Sequence[str]) -> Match:
    """The match of `before TEXT middle TEXT after`: for each length the middle can have, its place is in
    the centre."""
    middle = re.compile(plan.regex_text(shape.middle, 0).encode("latin-1")).fullmatch
    least, most = plan.shortest(shape.middle), plan.longest(shape.middle)
    have = [shape.name, *plan.names_of(shape.middle)]
    order, source = _order(have, names), _place(names, have)
    before, after = shape.before, shape.after

    def find(data: bytes, start: int, end: int) -> Values | None:
        first, last = start + len(before), end - len(after)
        room = last - first
        if room < least or not data.startswith(before, start, end) or not data.endswith(after, start, end):
            return None
        for length in range(least + (room - least) % 2, min(most, room) + 1, 2):
            each = (room - length) // 2
            found = middle(data, first + each, last - each)
            if found is not None and data[first : first + each] == data[last - each : last]:
                values: Values = (data[first : first + each], *found.groups())
                if order is not None:
                    values = order((*values, None))
                if source < 0 or _is_source(values[source]):
                    return values
        return None

    return find


# ---------------------------------------------------------------- what a sample used


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


def _traced(parts: Sequence[Node], numbers: Any) -> str:
    out: list[str] = []
    for part in parts:
        if isinstance(part, Maybe):
            number = next(numbers)
            out.append(f"(?P<b{number}>{_traced(part.parts, numbers)})?")
        elif isinstance(part, Choice):
            texts = [f"(?P<b{next(numbers)}>{plan.regex_text([Text(text, 0)], 0)})" for text in part.texts]
            out.append(f"(?:{'|'.join(texts)})")
        elif isinstance(part, Slot) and part.type.foreign and part.name:
            out.append(f"(?P<{part.name}>(?s:.*?))")
        elif isinstance(part, Again):
            out.append(f"(?P={part.name})")
        else:
            out.append(plan.regex_text([part], ANY, names=False))
    return "".join(out)
