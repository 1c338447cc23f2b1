"""The line that shows an ambiguity, written along a way through the pairs of states.

In printable bytes, with addresses from the documentation ranges and values as long as their slots ask for,
wherever that can be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .automaton import Automaton
from .slots import is_address

_SOURCES = (b"203.0.113.9", b"192.0.2.7")  # documentation addresses, RFC 5737
_OTHER_ADDRESS = b"198.51.100.2"
_LETTERS = b"xyzabcdefghijkmnopqrstuvw"  # by turns, so that two stretches of a line seldom hold the same text
_OTHERS = (*range(97, 123), *range(48, 58), *range(65, 91), *range(32, 127), *range(128, 256), *range(32))


class Ambiguity(NamedTuple):
    """A line with two readings of one slot. `exact` False: lengths were approximated and the line may not
    exist. `where`: "whole", or "cut" when it takes a line that was cut at the length limit."""

    slot: str
    line: bytes
    reading_a: bytes
    reading_b: bytes
    exact: bool = True
    where: str = "whole"


Step = tuple[int, int]


class _Reading:
    """What one copy makes of the line: the stretches of steps that belong to one slot."""

    def __init__(self, net: Automaton, states: Sequence[int]):
        self.net, self.states = net, states
        self.stretches: list[tuple[int, int, int]] = []  # part, first step, after the last step
        for index, state in enumerate(states):
            part = net.part[state]
            if part and self.stretches and self.stretches[-1][0] == part and self.stretches[-1][2] == index:
                self.stretches[-1] = (part, self.stretches[-1][1], index + 1)
            elif part:
                self.stretches.append((part, index, index + 1))

    def repeats(self, index: int) -> bool:
        state = self.states[index]
        return state in self.net.follow[state]


def write_line(a: Automaton, b: Automaton, way: list[Step], name: str, where: str) -> Ambiguity:
    """The line along this way, in printable bytes, with real addresses and long enough values where it can
    be done."""
    fixed: list[int] = [-1] * len(way)
    for side, net in enumerate((a, b)):
        for part, first, end in reversed(_Reading(net, [pair[side] for pair in way]).stretches):
            kind = net.types[part]
            if kind is not None and kind.name == "ip":
                address = _SOURCES[side] if net.slot[way[first][side]] == name else _OTHER_ADDRESS
                better = _spell(a, b, way, (side, first, end), address)
                if better is not None:
                    way = way[:first] + better + way[end:]
                    fixed = [*fixed[:first], *address, *fixed[end:]]
    readings = (_Reading(a, [p for p, _ in way]), _Reading(b, [q for _, q in way]))
    texts = [
        _byte_of(a.chars[p] & b.chars[q], index) if fixed[index] < 0 else bytes([fixed[index]])
        for index, (p, q) in enumerate(way)
    ]
    for reading in readings:
        for part, first, end in reading.stretches:
            kind = reading.net.types[part]
            short = 0 if kind is None else kind.least - sum(len(text) for text in texts[first:end])
            place = next((i for i in range(first, end) if all(one.repeats(i) for one in readings)), None)
            if short > 0 and place is not None:
                texts[place] += texts[place][-1:] * short
    found = [
        b"".join(
            b"".join(texts[first:end])
            for _, first, end in reading.stretches
            if reading.net.slot[reading.states[first]] == name
        )
        for reading in readings
    ]
    exact = all(_fits(reading, texts) for reading in readings)
    return Ambiguity(name, b"".join(texts), found[0], found[1], exact, where)


def _spell(
    a: Automaton, b: Automaton, way: list[Step], stretch: tuple[int, int, int], text: bytes
) -> list[Step] | None:
    """Steps that read `text` in place of a stretch, the one copy staying in its slot and the other
    changing none."""
    side, first, end = stretch
    nets, other = (a, b), 1 - side
    part = nets[side].part[way[first][side]]
    labels = {nets[other].slot[pair[other]] for pair in way[first:end]}
    before = way[first - 1] if first else (0, 0)
    paths: dict[Step, list[Step]] = {before: []}
    for byte in text:
        after: dict[Step, list[Step]] = {}
        for pair, path in paths.items():
            for p in a.follow[pair[0]]:
                for q in b.follow[pair[1]]:
                    there = (p, q)
                    if (
                        a.chars[p] & b.chars[q] & 1 << byte
                        and nets[side].part[there[side]] == part
                        and {nets[other].slot[there[other]]} == labels
                    ):
                        after.setdefault(there, [*path, there])
        paths = after
    for pair, path in paths.items():
        if end == len(way):
            if pair[0] in a.accept and pair[1] in b.accept:
                return path
        elif way[end][0] in a.follow[pair[0]] and way[end][1] in b.follow[pair[1]]:
            return path
    return None


def _byte_of(chars: int, index: int) -> bytes:
    """A byte of the set, printable where there is one."""
    letter = _LETTERS[index % len(_LETTERS)]
    return bytes([letter if chars >> letter & 1 else next(byte for byte in _OTHERS if chars >> byte & 1)])


def _fits(reading: _Reading, texts: Sequence[bytes]) -> bool:
    """Whether the values keep to the lengths, and the source is an address."""
    for part, first, end in reading.stretches:
        kind, value = reading.net.types[part], b"".join(texts[first:end])
        if kind is None or kind.foreign:
            continue
        if not kind.least <= len(value) <= kind.greatest:
            return False
        if reading.net.slot[reading.states[first]] == "source" and not is_address(value):
            return False
    return True
