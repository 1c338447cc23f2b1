"""The types of a slot: which bytes it may hold, how many, and how that is written for `re`.

Every type but `foreign` is a *bounded class*: a set of bytes and a length range, so that it can neither run
away over a hostile line nor cost more than its bound. A set is an integer of 256 bits, bit N standing for
byte N; two sets meet when their `&` is not zero, which is all that the proof asks of them.

Owns: the list of types and their bytes.
Limits: lengths are of bytes, not characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ...notation import parse_address

ANY = (1 << 256) - 1


def byte_set(chars: Iterable[int]) -> int:
    """The set of these byte values."""
    out = 0
    for char in chars:
        out |= 1 << char
    return out


def members(chars: int) -> list[int]:
    """Byte values of a set, ascending."""
    return [byte for byte in range(256) if chars >> byte & 1]


DIGIT = byte_set(b"0123456789")
UPPER = byte_set(range(65, 91))
LOWER = byte_set(range(97, 123))
LETTER = UPPER | LOWER
_HEX = DIGIT | byte_set(b"abcdefABCDEF")
_HIGH = byte_set(range(128, 256))  # parts of UTF-8, CP932, latin-1 characters
_PRINTABLE = byte_set(range(32, 127)) | _HIGH  # all but control characters

#: Bytes of an envelope address outside and inside its quoted strings. A backslash stands only inside: so two
#: readings that disagree whether a quote is open never come together again, which keeps the search for a tail
#: linear.
ADDRESS_BARE = _PRINTABLE & ~byte_set(b' <>"\\')
ADDRESS_QUOTED = ANY & ~byte_set(b'"\\\n')
ADDRESS_ESCAPED = ANY & ~byte_set(b"\n")
ADDRESS_LENGTH = 2048  # of each part between quotes; Postfix takes command lines of this length
ADDRESS_QUOTES = 4  # quoted strings in one address


class SlotType(NamedTuple):
    """A slot type. `runs`: byte sets with least and greatest count, one after the other; empty for the two
    special types. `address` understands quoted strings, `foreign` is anything of any length."""

    name: str
    about: str
    runs: tuple[tuple[int, int, int], ...] = ()

    @property
    def foreign(self) -> bool:
        return self.name == "foreign"

    @property
    def least(self) -> int:
        """Fewest bytes it may hold."""
        return sum(low for _, low, _ in self.runs)

    @property
    def greatest(self) -> int:
        """Most bytes it may hold; of `foreign` 0, because nothing bounds it."""
        if self.name == "address":
            return ADDRESS_LENGTH + ADDRESS_QUOTES * (2 + 3 * ADDRESS_LENGTH)
        return sum(high for _, _, high in self.runs)


def _one(name: str, about: str, chars: int, low: int, high: int) -> SlotType:
    return SlotType(name, about, ((chars, low, high),))


def _stamp() -> tuple[tuple[int, int, int], ...]:
    slash, colon = byte_set(b"/"), byte_set(b":")
    two = (DIGIT, 2, 2)
    return (two, (slash, 1, 1), (LETTER, 3, 3), (slash, 1, 1), (DIGIT, 4, 4),
            (colon, 1, 1), two, (colon, 1, 1), two, (colon, 1, 1), two)  # fmt: skip


_WORD = LETTER | DIGIT | byte_set(b"-")
_NAME = LETTER | DIGIT | byte_set(b"._-")

TYPES: dict[str, SlotType] = {
    kind.name: kind
    for kind in (
        SlotType("ip", "an IPv4 or IPv6 address without port, brackets or zone",
                 ((_HEX, 0, 4), (byte_set(b":."), 1, 1), (_HEX | byte_set(b":."), 1, 40))),
        _one("host", "a host name as DNS gives it, or `unknown`", _NAME, 1, 255),
        _one("int", "a whole number", DIGIT, 1, 19),
        _one("token", "letters, digits and `_ . + @ / -`", _NAME | byte_set(b"+@/"), 1, 128),
        _one("base64", "letters, digits and `+ / =`", LETTER | DIGIT | byte_set(b"+/="), 1, 128),
        _one("helo", "what a mail server leaves of a HELO: no blank, control, or < > ( ) \\ \" ; @",
             _PRINTABLE & ~byte_set(b' <>()\\";@'), 1, 512),
        _one("word", "letters, digits and `-`", _WORD, 1, 64),
        _one("plain", "printable text without , = < > \" [ ] ( ) ; and control characters",
             _PRINTABLE & ~byte_set(b',=<>"[]();'), 1, 255),
        _one("prose", "what the daemon itself writes: letters, digits, blank and _:().'/+-!?#%&*@~",
             LETTER | DIGIT | byte_set(b" _:().'/+-!?#%&*@~"), 1, 300),
        SlotType("stamp", "a time stamp such as 12/Dec/2017:00:01:49", _stamp()),
        SlotType("address", "an envelope address, quoted strings understood; may be empty"),
        SlotType("foreign", "anything, chosen by a client; may be empty"),
    )
}  # fmt: skip

# ---------------------------------------------------------------- as text for re


def class_text(chars: int) -> str:
    """The set as a character class of `re` and `regex`."""
    if chars == ANY:
        return r"[\x00-\xff]"
    spans: list[list[int]] = []
    for byte in members(chars):
        if spans and spans[-1][1] == byte - 1:
            spans[-1][1] = byte
        else:
            spans.append([byte, byte])
    return "[" + "".join(f"\\x{a:02x}" if a == b else f"\\x{a:02x}-\\x{b:02x}" for a, b in spans) + "]"


def type_text(kind: SlotType, next_chars: int, *, lazy: bool = False) -> str:
    """The type as `re` text. `next_chars`: bytes that may follow it. Where none of them is in the class, the
    quantifier is possessive: it can never have to give a byte back, so nothing is missed and nothing is tried
    twice.
    """
    if kind.foreign:
        return r"(?s:.*?)" if lazy else r"(?s:.*)"
    if kind.name == "address":
        bare, inner, any_ = (class_text(s) for s in (ADDRESS_BARE, ADDRESS_QUOTED, ADDRESS_ESCAPED))
        size = f"{{0,{ADDRESS_LENGTH}}}"
        keep = "" if next_chars & (ADDRESS_BARE | byte_set(b'"')) else "+"
        quoted = f'(?>"(?:{inner}|\\\\{any_}){size}+")'
        return f"{bare}{size}{keep}(?:{quoted}{bare}{size}{keep}){{0,{ADDRESS_QUOTES}}}{keep}"
    out = []
    for index, (chars, low, high) in enumerate(kind.runs):
        after = next_chars if index == len(kind.runs) - 1 else kind.runs[index + 1][0]
        if low == high:
            out.append(class_text(chars) + (f"{{{low}}}" if low != 1 else ""))
        else:
            out.append(f"{class_text(chars)}{{{low},{high}}}" + ("" if chars & after else "+"))
    return "".join(out)


def first_chars(kind: SlotType) -> int:
    """Bytes with which a value may begin."""
    if kind.foreign:
        return ANY
    if kind.name == "address":
        return ADDRESS_BARE | byte_set(b'"')
    out = 0
    for chars, low, _ in kind.runs:
        out |= chars
        if low:
            break
    return out


def all_chars(kind: SlotType) -> int:
    """Bytes that may stand anywhere in a value, outside quotes."""
    out = ANY if kind.foreign else ADDRESS_BARE | byte_set(b'"') if kind.name == "address" else 0
    for chars, _, _ in kind.runs:
        out |= chars
    return out


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_is_v4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}\Z".encode()).match


@lru_cache(maxsize=8192)
def is_address(text: bytes) -> bool:
    """Whether bytes of the `ip` class are an address: the class alone also allows `1.2` and `::::`."""
    return _is_v4(text) is not None or parse_address(text) is not None
