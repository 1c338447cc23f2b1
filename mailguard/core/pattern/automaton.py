"""A template as a small automaton: one state for each byte that may be read, none that reads nothing.

State 0 is the start; state N > 0 means "has just read a byte of `chars[N]`, and it belonged to slot
`slot[N]`". So who owns a byte is told by the state it leads to, and two readings agree about a slot when
their states do, byte for byte.

Length bounds above `COUNTED` are read as "or more": the automaton then accepts a little more than the
template, which can only make a proof fail, never succeed wrongly. Numbers, addresses and the like are taken
as their class of bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .slots import ADDRESS_BARE, ADDRESS_ESCAPED, ADDRESS_QUOTED, ANY, SlotType, byte_set
from .template import Again, Choice, Maybe, Node, Slot, Text

COUNTED = 8  # lengths up to this are counted exactly

_QUOTE, _BACKSLASH = byte_set(b'"'), byte_set(b"\\")


class Automaton:
    """`chars`, `slot`, `part` and `follow` are indexed by state. `part` numbers the slots as they stand in
    the template, from 1; 0 is literal text."""

    def __init__(self) -> None:
        self.chars: list[int] = [0]
        self.slot: list[str] = [""]
        self.part: list[int] = [0]
        self.types: list[SlotType | None] = [None]  # by part
        self.follow: list[list[int]] = [[]]
        self.accept: set[int] = set()

    # ------------------------------------------------------------ building

    def _state(self, chars: int, front: Iterable[int], name: str, part: int) -> int:
        state = len(self.chars)
        self.chars.append(chars)
        self.slot.append(name)
        self.part.append(part)
        self.follow.append([])
        for before in front:
            self.follow[before].append(state)
        return state

    def _text(self, text: bytes, front: list[int]) -> list[int]:
        for byte in text:
            front = [self._state(1 << byte, front, "", 0)]
        return front

    def _run(self, chars: int, low: int, high: int, front: list[int], name: str, part: int) -> list[int]:
        out = list(front) if low == 0 else []
        for number in range(1, min(max(low, 1), COUNTED) + 1 if high > COUNTED else high + 1):
            front = [self._state(chars, front, name, part)]
            if number >= low:
                out += front
        if high > COUNTED:
            self.follow[front[0]].append(front[0])
            if front[0] not in out:
                out += front
        return out

    def _address(self, front: list[int], name: str, part: int) -> list[int]:
        bare = self._state(ADDRESS_BARE, front, name, part)
        quote = self._state(_QUOTE, [*front, bare], name, part)
        inner = self._state(ADDRESS_QUOTED, [quote], name, part)
        slash = self._state(_BACKSLASH, [quote, inner], name, part)
        escaped = self._state(ADDRESS_ESCAPED, [slash], name, part)
        end = self._state(_QUOTE, [quote, inner, escaped], name, part)
        self.follow[bare].append(bare)
        self.follow[inner].append(inner)
        self.follow[escaped] += [inner, slash]
        self.follow[end] += [bare, quote]
        return [*front, bare, end]

    def _anything(self, front: list[int], name: str, part: int) -> list[int]:
        state = self._state(ANY, front, name, part)
        self.follow[state].append(state)
        return [*front, state]

    def add(self, parts: Sequence[Node], front: list[int]) -> list[int]:
        """Append `parts` after the states in `front`; the states in which they are read to the end."""
        for node in parts:
            if isinstance(node, Text):
                front = self._text(node.text, front)
            elif isinstance(node, Choice):
                front = [state for text in node.texts for state in self._text(text, front)]
            elif isinstance(node, Maybe):
                front = [*self.add(node.parts, front), *front]
                front = list(dict.fromkeys(front))
            elif isinstance(node, Again):
                self.types.append(None)
                front = self._anything(front, "", len(self.types) - 1)
            else:
                front = self._slot(node, front)
        return front

    def _slot(self, node: Slot, front: list[int]) -> list[int]:
        self.types.append(node.type)
        part = len(self.types) - 1
        if node.type.foreign:
            return self._anything(front, node.name, part)
        if node.type.name == "address":
            return self._address(front, node.name, part)
        for chars, low, high in node.type.runs:
            front = self._run(chars, low, high, front, node.name, part)
        return front

    # ------------------------------------------------------------ asking

    def step(self, states: Iterable[int], byte: int) -> set[int]:
        """The states after one more byte."""
        bit = 1 << byte
        return {after for state in states for after in self.follow[state] if self.chars[after] & bit}


def automaton(parts: Sequence[Node]) -> Automaton:
    """The automaton of these parts, read from first to last byte."""
    out = Automaton()
    out.accept = set(out.add(parts, [0]))
    return out


def surrounded(parts: Sequence[Node], before: bool, after: bool) -> Automaton:
    """The automaton of `parts` with one byte or more of anything before and after it."""
    out = Automaton()
    front = [0]
    if before:
        front = out._anything(front, "", 0)[-1:]
    front = out.add(parts, front)
    if after:
        front = out._anything(front, "", 0)[-1:]
    out.accept = set(front)
    return out


def anywhere(parts: Sequence[Node]) -> Automaton:
    """The automaton of `parts` with anything, or nothing, before and after it."""
    out = Automaton()
    out.accept = set(out._anything(out.add(parts, out._anything([0], "", 0)), "", 0))
    return out


def padded(parts: Sequence[Node], before: int, behind: int) -> Automaton:
    """The automaton of `parts` with so many bytes of anything before and behind it."""
    out = Automaton()
    front = [0]
    for _ in range(before):
        front = [out._state(ANY, front, "", 0)]
    front = out.add(parts, front)
    for _ in range(behind):
        front = [out._state(ANY, front, "", 0)]
    out.accept = set(front)
    return out


def beginnings(heads: Iterable[Sequence[Node]]) -> Automaton:
    """The automaton of lines that begin with one of these heads: what is known of a line that was cut."""
    out = Automaton()
    for head in heads:
        out.accept.update(out._anything(out.add(head, [0]), "", 0))
    return out


def meet(a: Automaton, b: Automaton) -> bool:
    """Whether some line is accepted by both."""
    seen = {(0, 0)}
    todo = [(0, 0)]
    while todo:
        p, q = todo.pop()
        if p in a.accept and q in b.accept:
            return True
        for p2 in a.follow[p]:
            chars = a.chars[p2]
            for q2 in b.follow[q]:
                if chars & b.chars[q2] and (p2, q2) not in seen:
                    seen.add((p2, q2))
                    todo.append((p2, q2))
    return False
