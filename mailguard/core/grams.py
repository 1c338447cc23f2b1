"""The tables of the compiled literal search: which three bytes of each literal announce it.

Of a literal of six bytes or more, four neighbouring *grams* (pieces of three bytes) go into a table.
Wherever the literal stands, one of the four stands at a place that is divisible by four; so the search
looks at every fourth place only. A shorter literal is searched for by two of its bytes.

Owns: the choice, so that the grams are rare in logs and few literals share one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

GRAM = 3  # bytes
STRIDE = 4  # places from one look to the next
LEAST = GRAM + STRIDE - 1  # bytes a literal must have to be found by its grams
BITS = 16
#: Bytes of mail logs, the commonest first.
_COMMON = b" e0123456789-:.,tarsnoilmdpcu=/f<>[]hgbxv()@wy_k"
_RANK = {byte: 1.0 / (2 + rank) for rank, byte in enumerate(_COMMON)}
_RARE = 0.01
#: What stands in nearly every line: grams of it tell nothing.
_USUAL = (
    b" mail1 mail. postfix/smtpd[ postfix/submission/smtpd[ postfix/cleanup[ postfix/qmgr[ "
    b"postfix/trivial-rewrite[ postfix/postscreen[ postfix/anvil[ postfix/local[ postfix/lmtp[ "
    b"dovecot: imap-login: imap( lmtp( systemd[1]: kernel: rspamd[ sshd[ cron[ amavis[ sendmail[ "
    b"opendkim[ spamd[ localhost example.com example.net example.org unknown warning: message-id=< "
    b"client= from=< to=< relay= status= delay= delays= size= nrcpt= method=PLAIN  connection connect "
    b"from disconnect from removed queue active authentication failed user session rejected bytes "
    b"message recipients command data body header address domain table lookup server service host "
    b"name ready "
)
_TELLS_NOTHING = 30.0  # how much dearer such a gram is
_SELDOM = 0.1  # times that a gram is expected that was not seen
_SHARED = 4.0  # how much dearer a gram is for each literal that has it already


class Short(NamedTuple):
    """A literal too short for grams: its number, and the rarest two bytes of it (-1: it has but one) at their
    place."""

    number: int
    byte: int
    next: int
    at: int


class Grams(NamedTuple):
    """`table`: for each gram the literals that it announces, as (number, place of the gram in it)."""

    table: dict[bytes, list[tuple[int, int]]]
    short: tuple[Short, ...]


def rarity(text: bytes) -> float:
    """How often these bytes may be expected, for comparing only."""
    price = 1.0
    for byte in text:
        price *= _RANK.get(byte, _RARE)
    return price * (1 + _TELLS_NOTHING * _USUAL.count(text))


def grams(literals: Sequence[bytes], seen: Sequence[int] | None = None) -> Grams:
    """The tables for these literals, none of them empty. `seen`: how often grams were met in a piece of a
    log, by `place_of`; else they are as rare as in logs at large."""
    table: dict[bytes, list[tuple[int, int]]] = {}
    short: list[Short] = []
    used: Counter[bytes] = Counter()
    prices: dict[bytes, float] = {}
    for number, text in sorted(enumerate(literals), key=lambda one: (len(one[1]), one)):
        if len(text) < LEAST:
            pairs = [text[at : at + 2] for at in range(max(1, len(text) - 1))]
            rare = min(pairs, key=rarity)
            short.append(Short(number, rare[0], rare[1] if len(rare) > 1 else -1, pairs.index(rare)))
            continue

        pieces = [text[at : at + GRAM] for at in range(len(text) - GRAM + 1)]
        for piece in pieces:
            if piece not in prices:
                prices[piece] = rarity(piece) if seen is None else _SELDOM + seen[place_of(piece)]
        cost = [prices[piece] * (1 + _SHARED * used[piece]) for piece in pieces]
        sums = [sum(cost[at : at + STRIDE]) for at in range(len(text) - LEAST + 1)]
        best = sums.index(min(sums))
        for at in range(best, best + STRIDE):
            piece = text[at : at + GRAM]
            used[piece] += 1
            table.setdefault(piece, []).append((number, at))
    return Grams(table, tuple(sorted(short)))


def place_of(gram: bytes) -> int:
    """Where a gram stands in the bitmap of 2**`BITS` bits; `scan.pyx` counts the same way."""
    value = int.from_bytes(gram, "little")
    return value * 0x3779B100 % 2**32 >> 32 - BITS
