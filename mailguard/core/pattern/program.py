"""A pattern as numbers, for the compiled matcher (`core/native/scan.pyx`), which reads them as `re` reads the
expressions of `matching`: the same readings are tried in the same order, so that the same one is found.

Owns: the code of the small machine. Never: looks at a line.
Limits: more than 32 captures are not covered (None): there the Python matcher is asked.

An instruction is six numbers, the kind and five operands:

========  ===========================================================================================
TEXT      place and length of literal bytes
RUN       byte set, least, most, whether it gives bytes back (1: never), the capture (-1: none)
QUOTED    a quoted string of an address, in one piece: sets of what may stand in it and behind a
          backslash, most such units
QUOTES    up to `most` of (a quoted string, bare bytes), as many as there are: the sets of QUOTED, set of
          bare bytes, most bare bytes and most units of a string, how often
OPEN      a capture begins here
SHUT      ... and ends here
MAYBE     go on behind; if that fails, go on at the instruction named and forget the captures from .. to
CHOICE    one of the texts in the table named, how many; 1: at most one of them can stand at one place
DONE      the end
========  ===========================================================================================

Code runs forward only, so the machine needs no more depth than the code has instructions.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .expression import ends_once, first_of, longest, shortest, stops
from .pattern import Pattern
from .slots import (
    ADDRESS_BARE,
    ADDRESS_ESCAPED,
    ADDRESS_LENGTH,
    ADDRESS_QUOTED,
    ADDRESS_QUOTES,
    ANY,
    SlotType,
    byte_set,
    members,
)
from .template import Choice, Maybe, Node, Slot, Text
from .variants import Echo, Variant

TEXT, RUN, QUOTED, QUOTES, OPEN, SHUT, MAYBE, CHOICE, DONE = range(9)
WIDTH = 6  # numbers of an instruction
MOST_CAPTURES = 32
BOUNDED, FOREIGN, REPEATED = range(3)  # kinds of shapes

_Op = list[int]


class Shape(NamedTuple):
    """One way to read a line.

    BOUNDED: `head` fits it as a whole. FOREIGN: `head` at its beginning, `lead` and `tail` at its end, the
    texts `between` found from the right. REPEATED: `lead`, a text, `head` (of `least` to `most` bytes), the
    text again, `last`.
    """

    kind: int
    head: bytes  # code; empty: nothing
    tail: bytes = b""  # code of what stands behind `lead`; empty: there is neither
    lead: bytes = b""
    last: bytes = b""
    between: tuple[bytes, ...] = ()
    foreign: tuple[int, ...] = ()  # the captures of the foreign slots, -1: of no interest
    least: int = 0
    most: int = 0  # FOREIGN: the most bytes `lead` and `tail` cover
    stops: tuple[bytes, ...] = ()  # where a head can end at several places: the texts that it ends with
    reach: int = 0  # ... and the most bytes it covers


@dataclass(slots=True)
class Pool:
    """What the code of many patterns shares: byte sets and literal texts."""

    sets: dict[int, int] = field(default_factory=dict)
    planes: bytearray = field(default_factory=bytearray)  # 256 bytes each: set N is bit N % 8 of plane N // 8
    texts: bytearray = field(default_factory=bytearray)
    places: dict[bytes, int] = field(default_factory=dict)
    choices: array[int] = field(default_factory=lambda: array("i"))  # place, length; place, length; ...

    def set(self, chars: int) -> int:
        """The number of a byte set."""
        number = self.sets.get(chars)
        if number is None:
            number = self.sets[chars] = len(self.sets)
            if number % 8 == 0:
                self.planes += bytes(256)
            for byte in members(chars):
                self.planes[256 * (number // 8) + byte] |= 1 << number % 8
        return number

    def text(self, text: bytes) -> int:
        """The place of a text."""
        place = self.places.get(text)
        if place is None:
            place = self.places[text] = len(self.texts)
            self.texts += text
        return place


def shapes(pattern: Pattern, pool: Pool) -> tuple[Shape, ...] | None:
    """The ways to read a whole line, in order; None where the machine cannot do it."""
    names = {name: number for number, name in enumerate(pattern.names)}
    if len(names) > MOST_CAPTURES:
        return None
    if pattern.echo is not None:
        return (_repeated(pattern.echo, names, pool),)
    return tuple(_shape(shape, names, pool) for shape in pattern.shapes)


def _shape(shape: Variant, names: dict[str, int], pool: Pool) -> Shape:
    if not shape.foreign:
        return Shape(BOUNDED, _code(shape.head, 0, names, pool))
    first = shape.tail[0] if shape.tail else None
    lead = first.text if isinstance(first, Text) else b""
    rest = shape.tail[1:] if lead else shape.tail
    many = bool(shape.head) and not ends_once(shape.head)
    return Shape(
        FOREIGN,
        _code(shape.head, ANY, names, pool) if shape.head else b"",
        _code(rest, 0, names, pool) if shape.tail else b"",
        lead,
        between=shape.between,
        foreign=tuple(names[name] if name else -1 for name in shape.foreign),
        most=longest(shape.tail),
        stops=stops(shape.head) if many else (),
        reach=longest(shape.head),
    )


def _repeated(echo: Echo, names: dict[str, int], pool: Pool) -> Shape:
    return Shape(
        REPEATED,
        _code(echo.middle, 0, names, pool),
        lead=echo.before,
        last=echo.after,
        foreign=(names[echo.name] if echo.name else -1,),
        least=shortest(echo.middle),
        most=longest(echo.middle),
    )


# ---------------------------------------------------------------- code


def _code(parts: Sequence[Node], after: int, names: dict[str, int], pool: Pool) -> bytes:
    ops = [*_ops(parts, after, names, pool, 0), [DONE, 0, 0, 0, 0, 0]]
    return array("i", [number for op in ops for number in op]).tobytes()


def _ops(parts: Sequence[Node], after: int, names: dict[str, int], pool: Pool, place: int) -> list[_Op]:
    """The instructions of `parts`, which begin at instruction `place` and may be followed by `after`."""
    follows = [after]
    for part in reversed(parts):
        follows.append(first_of([part], follows[-1]))
    follows.reverse()
    out: list[_Op] = []
    for part, follow in zip(parts, follows[1:], strict=True):
        if isinstance(part, Text):
            out.append([TEXT, pool.text(part.text), len(part.text), 0, 0, 0])
        elif isinstance(part, Choice):
            out.append(_choice(part, pool))
        elif isinstance(part, Maybe):
            inner = _ops(part.parts, follow, names, pool, place + len(out) + 1)
            held = [op[1] for op in inner if op[0] == OPEN] + [op[5] for op in inner if op[0] == RUN]
            held = [capture for capture in held if capture >= 0]
            low, high = (min(held), max(held) + 1) if held else (0, 0)
            out.append([MAYBE, place + len(out) + 1 + len(inner), low, high, 0, 0])
            out += inner
        elif isinstance(part, Slot):
            capture = names[part.name] if part.name else -1
            out += _slot(part.type, follow, capture, pool, place + len(out))
        else:
            raise TypeError(f"no code for {part}")
    return out


def _choice(part: Choice, pool: Pool) -> _Op:
    texts = sorted(part.texts, key=len, reverse=True)
    first = len(pool.choices)
    for text in texts:
        pool.choices.extend((pool.text(text), len(text)))
    apart = not any(a.startswith(b) for number, b in enumerate(texts) for a in texts[:number])
    return [CHOICE, first, len(texts), int(apart), 0, 0]


def _slot(kind: SlotType, follow: int, capture: int, pool: Pool, place: int) -> list[_Op]:
    if kind.name == "address":
        out = _address(follow, pool, place + (capture >= 0))
    else:
        out = []
        for number, (chars, low, high) in enumerate(kind.runs):
            after = follow if number == len(kind.runs) - 1 else kind.runs[number + 1][0]
            keeps = low == high or not chars & after
            out.append([RUN, pool.set(chars), low, high, int(keeps), -1])
        if len(out) == 1:
            out[0][5] = capture
            return out
    return out if capture < 0 else [[OPEN, capture, 0, 0, 0, 0], *out, [SHUT, capture, 0, 0, 0, 0]]


def _address(follow: int, pool: Pool, place: int) -> list[_Op]:
    bare, inner, escaped = (pool.set(chars) for chars in (ADDRESS_BARE, ADDRESS_QUOTED, ADDRESS_ESCAPED))
    keeps = not follow & (ADDRESS_BARE | byte_set(b'"'))
    run = [RUN, bare, 0, ADDRESS_LENGTH, int(keeps), -1]
    if keeps:
        return [run, [QUOTES, inner, escaped, bare, ADDRESS_LENGTH, ADDRESS_QUOTES]]
    # Written out: each further quoted string is an optional part that reaches to the end of them all.
    again = [
        [MAYBE, place + 1 + 3 * ADDRESS_QUOTES, 0, 0, 0, 0],
        [QUOTED, inner, escaped, ADDRESS_LENGTH, 0, 0],
        run,
    ]
    return [run, *(again * ADDRESS_QUOTES)]
