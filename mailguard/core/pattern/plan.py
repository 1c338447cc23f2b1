"""How one variant is found in a line, and what that can cost at most.

    head      one anchored `re`, run once: every slot in it is bounded
    foreign   the bytes between; several are parted at the last place where the literal between them stands
    tail      one `re` anchored at the end, found from the right, within the last bytes it can cover

A foreign slot takes any text, so the shortest head, the rightmost tail and the rightmost literals leave most
room for what is between: if any reading of the line exists, this plan finds one. Which one matters only for
slots that are not proved. A head that could end at several places is tried at each, the earliest first.

Owns: the cost. A template whose worst line would take more than `MOST_STEPS` steps of `re` is refused, so
that no text a client sends can slow the guard down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from .automaton import automaton, meet
from .slots import ADDRESS_BARE, ANY, TYPES, SlotType, all_chars, byte_set, first_chars, type_text
from .template import Choice, Maybe, Node, Slot, Text, walk
from .variants import Variant

LONGEST_LINE = 8192  # bytes; feeds cut longer lines
MOST_STEPS = 400_000  # of at most 4 ns: below 2 ms (bench/patterns.py)
SHORT = 1024  # bytes up to which a line is matched in one call
_LEAD = 8  # bytes of literal text by which parts are told apart


_SOME = SlotType("some", "one byte or more of anything", ((ANY, 1, LONGEST_LINE),))


# ---------------------------------------------------------------- regular expressions


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
            out.append(_literal(part.text))
        elif isinstance(part, Choice):
            out.append("(?:" + "|".join(map(_literal, sorted(part.texts, key=len, reverse=True))) + ")")
        elif isinstance(part, Maybe):
            out.append(f"(?:{regex_text(part.parts, after, names, lazy)})?")
        elif isinstance(part, Slot):
            text = type_text(part.type, after, lazy=lazy)
            out.append(f"({text})" if names and part.name else text)
        else:
            out.append(r"(?s:.*?)")
        after = first_of([part], after)
    return "".join(reversed(out))


def _literal(text: bytes) -> str:
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


# ---------------------------------------------------------------- cost


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
    return steps if ends_once(parts) else steps * (longest(parts) // max(1, min(map(len, _stops(parts)))) + 1)


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
    again = automaton([Slot("", _SOME, 0), Text(lead, 0), Slot("", TYPES["foreign"], 0)])
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


# ---------------------------------------------------------------- matching


def whole_finder(parts: Sequence[Node]) -> Callable[[Any, int, int], re.Match[bytes] | None]:
    """Fits data[start:end] as a whole."""
    return re.compile(regex_text(parts, 0).encode("latin-1")).fullmatch


def ends_once(parts: Sequence[Node]) -> bool:
    """Whether no line has two beginnings that fit `parts`."""
    return not meet(automaton(parts), automaton([*parts, Slot("", _SOME, 0)]))


def _stops(parts: Sequence[Node]) -> tuple[bytes, ...]:
    """The literal texts with which every line that fits `parts` ends."""
    last = parts[-1] if parts else None
    return (last.text,) if isinstance(last, Text) else last.texts if isinstance(last, Choice) else (b"",)


def head_finder(parts: Sequence[Node]) -> Callable[[Any, int, int], re.Match[bytes] | None]:
    """Finds the shortest beginning of data[start:end] that fits `parts`."""
    anchored = re.compile(regex_text(parts, ANY).encode("latin-1"))
    if ends_once(parts):
        return anchored.match
    fullmatch, stops, most = anchored.fullmatch, _stops(parts), longest(parts)

    def find(data: Any, start: int, end: int) -> re.Match[bytes] | None:
        limit = min(end, start + most)
        ends = [_next_end(data, stop, start, limit) for stop in stops]
        while (nearest := min(ends)) <= limit:
            found = fullmatch(data, start, nearest)
            if found is not None:
                return found
            for index, stop in enumerate(stops):
                if ends[index] == nearest:
                    ends[index] = _next_end(data, stop, nearest - len(stop) + 1, limit)
        return None

    return find


def _next_end(data: Any, stop: bytes, start: int, limit: int) -> int:
    """Where the next `stop` at `start` or later ends; behind `limit` when there is none."""
    place: int = data.find(stop, start, limit)
    return place + len(stop) if place >= 0 else limit + 1


def one_call(head: Sequence[Node], named: bool, tail: Sequence[Node]) -> tuple[re.Pattern[bytes], int]:
    """A variant with one foreign slot as one expression for short lines, and the length of the tail's lead.
    `head` must end once. A named slot is the last group where there is no tail; else two empty groups mark
    its place, one before it and one behind the lead."""
    begin = f"(?>{regex_text(head, ANY)})"
    if not tail:
        return re.compile((begin + ("((?s:.*))" if named else "")).encode("latin-1")), 0
    lead, rest = _lead_and_rest(tail)
    mark = "()" if named else ""
    text = rf"{begin}{mark}(?s:.*){_literal(lead)}{mark}{rest}\Z"
    return re.compile(text.encode("latin-1")), len(lead)


def _lead_and_rest(tail: Sequence[Node]) -> tuple[bytes, str]:
    first = tail[0]
    lead = first.text if isinstance(first, Text) else b""
    return lead, regex_text(tail[1:] if lead else tail, 0)


def tail_finder(parts: Sequence[Node]) -> tuple[Callable[[Any, int, int], re.Match[bytes] | None], int]:
    """Finds the shortest end of data[start:end] that fits `parts`. Group 1 of the match is empty and stands
    behind the literal text at the beginning of the tail; the number is that text's length."""
    lead, rest = _lead_and_rest(parts)
    # No group before the lead: `re` then looks for its first byte directly when it goes back over `.*`.
    return re.compile(rf"(?s:.*){_literal(lead)}(){rest}\Z".encode("latin-1")).match, len(lead)
