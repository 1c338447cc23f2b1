"""How far a message fits a template, for `explain` and for whoever writes a rule. Not for the hot path."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .automaton import automaton
from .expression import regex_text
from .pattern import Pattern
from .slots import ANY, TYPES, members
from .template import Slot, walk

_TIMEOUT = 0.05  # seconds of one attempt; afterwards the automaton's coarser answer stands


@lru_cache(maxsize=512)
def _expression(pattern: Pattern) -> Any:
    import regex  # slow to load, and only who explains needs it

    return regex.compile(regex_text(pattern.parts, ANY, names=False, lazy=True).encode("latin-1"))


def progress(pattern: Pattern, message: bytes) -> int:
    """The number of bytes of `message` with which some line of the template begins; len(message) where all of
    it does (and the line may still lack its end)."""
    most = _coarse(pattern, message)
    whole = _expression(pattern)
    low, high = 0, most  # the beginning of length `low` fits
    try:
        while low < high:
            middle = (low + high + 1) // 2
            if whole.fullmatch(message[:middle], partial=True, timeout=_TIMEOUT):
                low = middle
            else:
                high = middle - 1
    except TimeoutError:
        return most
    return low


def _coarse(pattern: Pattern, message: bytes) -> int:
    net, states = automaton(pattern.parts), {0}
    for index, byte in enumerate(message):
        states = net.step(states, byte)
        if not states:
            return index
    return len(message)


def expected(pattern: Pattern, message: bytes, offset: int | None = None) -> str:
    """What the template could have gone on with at `offset` (default: where the message stops fitting), in
    words: `"; from=<"`, `ip`, `end of line`."""
    offset = progress(pattern, message) if offset is None else offset
    net, states = automaton(pattern.parts), {0}
    for byte in message[:offset]:
        states = net.step(states, byte) or states
    words: dict[str, None] = {}
    slots = [node for node in walk(pattern.parts) if isinstance(node, Slot)]
    for state in sorted(states):
        for after in net.follow[state]:
            kind = net.types[net.part[after]]
            if kind is None:
                words[f'"{_text_from(net, after)}"'] = None
            elif kind.name in TYPES:
                names = [slot.name for slot in slots if slot.type is kind and slot.name == net.slot[after]]
                words[f"{kind.name}{f' ({names[0]})' if names and names[0] else ''}"] = None
            else:
                words[kind.name] = None
        if state in net.accept:
            words["end of line"] = None
    return " or ".join(words)


def _text_from(net: Any, state: int) -> str:
    """The literal text that goes on from this state, as far as it is the only way."""
    out = bytearray()
    while net.part[state] == 0 and len(out) < 40:
        out += bytes(members(net.chars[state]))
        if len(net.follow[state]) != 1:
            break
        state = net.follow[state][0]
    return out.decode("utf-8", "backslashreplace")
