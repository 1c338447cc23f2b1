"""How one variant is found in a line.

    head      one anchored `re`, run once: every slot in it is bounded
    foreign   the bytes between; several are parted at the last place where the literal between them stands
    tail      one `re` anchored at the end, found from the right, within the last bytes it can cover

A foreign slot takes any text, so the shortest head, the rightmost tail and the rightmost literals leave most
room for what is between: if any reading of the line exists, this plan finds one. Which one matters only for
slots that are not proved. A head that could end at several places is tried at each, the earliest first.

Owns: the order in which captured values come. Never: gives a reading whose `source` is no address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from .expression import LONGEST_LINE, ends_once, literal_text, longest, names_of, regex_text, shortest, stops
from .slots import ANY, is_address
from .template import Node, Text
from .variants import Echo, Variant

SHORT = 1024  # bytes up to which a line is matched in one call

Values = tuple[bytes | None, ...]
Match = Callable[[bytes, int, int], Values | None]
Finder = Callable[[Any, int, int], re.Match[bytes] | None]


# ---------------------------------------------------------------- pieces


def whole_finder(parts: Sequence[Node]) -> Finder:
    """Fits data[start:end] as a whole."""
    return re.compile(regex_text(parts, 0).encode("latin-1")).fullmatch


def head_finder(parts: Sequence[Node]) -> Finder:
    """Finds the shortest beginning of data[start:end] that fits `parts`."""
    anchored = re.compile(regex_text(parts, ANY).encode("latin-1"))
    if ends_once(parts):
        return anchored.match
    fullmatch, last_texts, most = anchored.fullmatch, stops(parts), longest(parts)

    def find(data: Any, start: int, end: int) -> re.Match[bytes] | None:
        limit = min(end, start + most)
        ends = [_next_end(data, stop, start, limit) for stop in last_texts]
        while (nearest := min(ends)) <= limit:
            found = fullmatch(data, start, nearest)
            if found is not None:
                return found
            for index, stop in enumerate(last_texts):
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
    text = rf"{begin}{mark}(?s:.*){literal_text(lead)}{mark}{rest}\Z"
    return re.compile(text.encode("latin-1")), len(lead)


def _lead_and_rest(tail: Sequence[Node]) -> tuple[bytes, str]:
    first = tail[0]
    lead = first.text if isinstance(first, Text) else b""
    return lead, regex_text(tail[1:] if lead else tail, 0)


def tail_finder(parts: Sequence[Node]) -> tuple[Finder, int]:
    """Finds the shortest end of data[start:end] that fits `parts`. Group 1 of the match is empty and stands
    behind the literal text at the beginning of the tail; the number is that text's length."""
    lead, rest = _lead_and_rest(parts)
    # No group before the lead: `re` then looks for its first byte directly when it goes back over `.*`.
    return re.compile(rf"(?s:.*){literal_text(lead)}(){rest}\Z".encode("latin-1")).match, len(lead)


# ---------------------------------------------------------------- whole lines


def first_way(ways: Sequence[Match]) -> Match:
    """The first of these ways that fits."""
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


def whole_way(shape: Variant, names: Sequence[str]) -> Match:
    """The match of one variant."""
    if not shape.foreign:
        return _bounded(shape, names)
    far = _split(shape, names)
    if shape.between or not ends_once(shape.head):
        return far
    named = bool(shape.foreign[0])
    head_names, tail_names = names_of(shape.head), names_of(shape.tail)
    expression, lead = one_call(shape.head, named, shape.tail)
    match, limit = expression.match, SHORT if shape.tail else LONGEST_LINE << 8
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
    head_names, tail_names = names_of(shape.head), names_of(shape.tail)
    have = [*head_names, *filter(None, shape.foreign), *tail_names]
    order, source = _order(have, names), _place(names, have)
    head = head_finder(shape.head) if shape.head else None
    tail, lead = tail_finder(shape.tail) if shape.tail else (None, 0)
    window = longest(shape.tail)
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
    fullmatch = whole_finder(shape.head)
    have = names_of(shape.head)
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


def cut_way(shape: Variant, names: Sequence[str]) -> Match:
    """The match of a line of which only the beginning is there."""
    head, have = head_finder(shape.head), names_of(shape.head)
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


def repeated_way(shape: Echo, names: Sequence[str]) -> Match:
    """The match of `before TEXT middle TEXT after`: for each length the middle can have, its place is in
    the centre."""
    middle = re.compile(regex_text(shape.middle, 0).encode("latin-1")).fullmatch
    least, most = shortest(shape.middle), longest(shape.middle)
    have = [shape.name, *names_of(shape.middle)]
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
