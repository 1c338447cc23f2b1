"""Templates of messages: compiled to linear matching, with the proof that their source is unambiguous.

See `template` for the language, `slots` for the types, `prove` for the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...problems import Problem
from .branches import branches, used
from .cache import ProofCache
from .pattern import Pattern, compile
from .progress import expected, progress
from .prove import prove_echo_pair, prove_pair_nets
from .template import parse
from .witness import Ambiguity

#: Slots that must be proved wherever they stand; a rule's session keys come to them.
MUST = ("source", "user")

__all__ = [
    "MUST", "Ambiguity", "Pattern", "ProofCache", "branches", "check", "check_pair", "compile", "expected",
    "parse", "progress", "prove", "prove_pair", "used",
]  # fmt: skip


def prove(pattern: Pattern, must: Iterable[str] = MUST) -> list[Ambiguity]:
    """The slots among `must` that some line gives two readings, each with such a line. Empty: all is well."""
    return [pattern.ambiguous[name] for name in dict.fromkeys(must) if name in pattern.ambiguous]


def prove_pair(a: Pattern, b: Pattern, cache: ProofCache | None = None) -> Ambiguity | None:
    """A line, whole or cut, that both patterns accept while they disagree about the source; None when there
    is none. Two patterns of which one has no source never disagree. Where only one of them repeats a
    text, that is taken as any text."""
    if "source" not in a.names or "source" not in b.names:
        return None
    known = cache.pair(a.key, b.key) if cache is not None else None
    if known is not None:
        return known[0] if known else None
    found = None
    if a.cut_capable and b.cut_capable:
        # Every whole line is a possible cut line too, so this proof covers both.
        found = prove_pair_nets(a.beginnings(), b.beginnings(), "source", "cut")
    if found is not None or not (a.cut_capable and b.cut_capable):
        whole = prove_pair_nets(a.automaton(), b.automaton(), "source")
        if whole is not None and a.echo is not None and b.echo is not None:
            whole = prove_echo_pair(a.echo, b.echo, "source")
        found = whole or found
    if cache is not None:
        cache.put_pair(a.key, b.key, found)
    return found


def check(pattern: Pattern, where: str, must: Iterable[str] = MUST) -> list[Problem]:
    """The same as `prove`, in words for the file's author."""
    return [
        _problem(found, where, f"the {found.slot} is ambiguous", _reads(found))
        for found in prove(pattern, must)
    ]


def check_pair(
    a: Pattern, b: Pattern, names: Sequence[str], where: str, cache: ProofCache | None = None
) -> list[Problem]:
    """The same as `prove_pair`, in words; `names` are those of the two rules."""
    found = prove_pair(a, b, cache)
    if found is None:
        return []
    kind = " (a line that was cut)" if found.where == "cut" else ""
    what = f"rules {names[0]} and {names[1]} read one line with different sources{kind}"
    return [_problem(found, where, what, _reads(found, names))]


def _reads(found: Ambiguity, names: Sequence[str] = ("", "")) -> str:
    words = [f"{_show(value)}{f' by {name}' if name else ''}"
             for value, name in zip((found.reading_a, found.reading_b), names, strict=True)]  # fmt: skip
    about = "" if found.exact else " (lengths are approximated)"
    return f"this line can be read as {words[0]} and as {words[1]}{about}:\n{_show(found.line)}"


def _show(text: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in text) or "nothing"


def _problem(found: Ambiguity, where: str, what: str, why: str) -> Problem:
    instead = (
        "a client can write the text around the slot; use a type that cannot hold that text, or add "
        "literal text. See SLOT TYPES in mailguard-parser(5)."
    )
    return Problem(where, what, why, instead)
