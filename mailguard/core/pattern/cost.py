"""What a search can cost at most.

A template whose worst line would take more than `MOST_STEPS` steps of `re` is refused at load, so that no
text a client sends can slow the guard down. A step is a byte looked at once; the bounds are generous
(bench/patterns.py shows what hostile lines really take).

Owns: the bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .automaton import automaton, meet
from .expression import LONGEST_LINE, SOME, ends_once, first_of, longest, shortest, stops
from .slots import ADDRESS_BARE, ANY, TYPES, SlotType, all_chars
from .template import Choice, Maybe, Node, Slot, Text, walk
from .variants import Variant

MOST_STEPS = 400_000  # of at most 4 ns: below 2 ms
_LEAD = 8  # bytes of literal text by which parts are told apart


def _leads(parts: Sequence[Node], after: frozenset[bytes]) -> frozenset[bytes]:
    """Literal texts of up to `_LEAD` bytes with which parts may begin; an empty one: not known."""
    for part in reversed(parts):
        if isinstance(part, Text):
            after = frozenset((part.text + lead)[:_LEAD] for lead in after)
        elif isinstance(part, Choice):
            after = frozenset((text + lead)[:_LEAD] for text in part.texts for lead in after)
        elif isinstance(part, Maybe):
            after = after | _leads(part.parts, after)
        else:
            after = frozenset({b""})
    return after


def _apart(one: frozenset[bytes], other: frozenset[bytes]) -> bool:
    """Whether no text can begin with a lead of both."""
    return not any(a.startswith(b) or b.startswith(a) for a in one for b in other)


def _common(leads: frozenset[bytes]) -> bytes:
    """What all leads begin with."""
    first, last = min(leads), max(leads)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]


class _Cost(NamedTuple):
    """Of what stands from some place on: steps of one attempt, how often its parts may be tried anew, and how
    it may begin."""

    steps: int
    tries: int
    first: int
    leads: frozenset[bytes]


_LINE_END = _Cost(1, 1, 0, frozenset({b"\n"}))  # no record holds a line feed
_FOREIGN = _Cost(1, 1, ANY, frozenset({b""}))


def _cost(parts: Sequence[Node], rest: _Cost) -> _Cost:
    """Cost of `parts` before `rest`."""
    for part in reversed(parts):
        first, leads = first_of([part], rest.first), _leads([part], rest.leads)
        if isinstance(part, Text):
            rest = _Cost(rest.steps + len(part.text), rest.tries, first, leads)
        elif isinstance(part, Choice):
            texts = [frozenset({text}) for text in part.texts]
            clash = not all(_apart(a, b) for i, a in enumerate(texts) for b in texts[i + 1 :])
            ways = len(texts) if clash else 1
            rest = _Cost(rest.steps * ways + max(map(len, part.texts)), rest.tries * ways, first, leads)
        elif isinstance(part, Maybe):
            inner = _cost(part.parts, rest)
            if inner.first & rest.first and not _apart(inner.leads, rest.leads):
                rest = _Cost(inner.steps + rest.steps, inner.tries + rest.tries, first, leads)
            else:
                rest = _Cost(inner.steps, inner.tries, first, leads)
        elif isinstance(part, Slot):
            most = LONGEST_LINE if part.type.name == "address" else part.type.greatest
            again = 1
            if all_chars(part.type) & rest.first and most > part.type.least:
                again = max(1, most // max(1, len(_common(rest.leads))))
            rest = _Cost(rest.steps * again + most, rest.tries * again, first, leads)
    return rest


def head_cost(parts: Sequence[Node]) -> int:
    """Most steps of the search for a head."""
    steps = _cost(parts, _FOREIGN).steps
    return steps if ends_once(parts) else steps * (longest(parts) // max(1, min(map(len, stops(parts)))) + 1)


def whole_cost(parts: Sequence[Node]) -> int:
    """Most steps of one attempt at a whole line."""
    return _cost(parts, _LINE_END).steps


def tail_cost(parts: Sequence[Node]) -> int:
    """Most steps of the search for a tail from the right: the sum over all places where an attempt can begin.

    An attempt begins where the literal text stands with which every tail begins (its *lead*). As long as an
    attempt cannot run over a further lead, no two of them read the same byte, so together they cost one pass
    over the window; after that each costs its bound. In an address, whose quoted strings may hold a lead, two
    attempts at most read the same byte: one sees each quote opened where the other sees it closed (see
    `slots`).
    """
    if not parts:
        return 0
    cost, window = _cost(parts, _LINE_END), longest(parts)
    lead = parts[0].text if isinstance(parts[0], Text) else _common(cost.leads)
    again = automaton([Slot("", SOME, 0), Text(lead, 0), Slot("", TYPES["foreign"], 0)])
    attempts = window // max(1, len(lead)) + 1
    each = attempts * cost.steps  # every attempt at its worst, for itself
    steps, clean, alive = attempts * len(lead), bool(lead), 1
    for index, part in enumerate(parts):
        if clean:
            attempts = window // max(1, len(lead), shortest(parts[:index])) + 1
            clean = not meet(automaton([_unquoted(one) for one in parts[: index + 1]]), again)
        if any(isinstance(node, Slot) and node.type.name == "address" for node in walk([part])):
            alive += 1
        steps += alive * (window if clean else min(attempts, window) * longest([part]))
    return min(each, steps * cost.tries)


def steps_of(shapes: Iterable[Variant]) -> int:
    """Most steps of one line over all variants of a template."""
    steps = 0
    for shape in shapes:
        if shape.foreign:
            steps += head_cost(shape.head) + tail_cost(shape.tail) + LONGEST_LINE // 8 * len(shape.between)
        else:
            steps += whole_cost(shape.head)
    return steps


def _unquoted(part: Node) -> Node:
    """The part with addresses that hold no quoted string."""
    if isinstance(part, Slot) and part.type.name == "address":
        return Slot("", SlotType("bare", "", ((ADDRESS_BARE, 0, LONGEST_LINE),)), part.column)
    return Maybe(tuple(map(_unquoted, part.parts)), part.column) if isinstance(part, Maybe) else part
