"""effect.dat ("relay per machine"): its lines, read as the server reads them, and where refusals belong.

`PATTERN[ BLANK TYPE[,OPTION]]`, top to bottom, the first match decides. Empty lines, lines that begin with
a blank and lines that begin with `'` are skipped; `#` begins special patterns and no comment. One ASCII
blank separates; a TAB does not. The first two lines are the shipped defaults and stay first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mailguard.epost.tables import lines
from mailguard.model import Network
from mailguard.notation import format_network, parse_network

FILE = "effect.dat"
SPECIAL = frozenset({"#blank", "#<>", "#number", "#nodomain", "#host"})
TYPES = frozenset({"true", "default", "false", "only", "norelay"})
OPTIONS = frozenset({"", "0", "1", "2"})
EVERYBODY = frozenset({"*", "*.*.*.*"})

COMMENT, EMPTY, ENTRY, BROKEN = "comment", "empty", "entry", "broken"
#: What is wrong with a line.
TAB, HASH_COMMENT, NO_TYPE, NO_PATTERN, TOO_LONG, NO_END = (
    "tab", "hash-comment", "no-type", "no-pattern", "too-long", "no-end",
)  # fmt: skip


class Line(NamedTuple):
    """One line. `kind`: one of the four words above; `type` is lower-case."""

    number: int
    offset: int
    length: int  # in bytes, with its line end
    text: str
    kind: str
    pattern: str = ""
    type: str = ""
    option: str = ""
    network: Network | None = None
    flaw: str = ""

    @property
    def everybody(self) -> bool:
        """A catch-all."""
        return self.kind == ENTRY and self.pattern in EVERYBODY

    @property
    def spares(self) -> bool:
        """A white-list line: somebody particular is let in."""
        known = self.kind == ENTRY and self.type in ("true", "default")
        return known and not self.everybody and not self.pattern.startswith("#")

    @property
    def is_domain(self) -> bool:
        """Its pattern is a domain or an address of an envelope sender."""
        return self.kind == ENTRY and not self.pattern.startswith("#") and not _numeric(self.pattern)


def parse(data: bytes) -> list[Line]:
    """Every line, also those nobody understands."""
    return [_read(number, *line, data) for number, line in enumerate(lines(data), 1)]


def _read(number: int, offset: int, length: int, text: bytes, data: bytes) -> Line:
    shown = text.decode("utf-8", "backslashreplace")
    if text[:1] == b"'":
        return Line(number, offset, length, shown, COMMENT)
    if not text or text[:1] == b" ":
        return Line(number, offset, length, shown, EMPTY)
    pattern, _, rest = shown.partition(" ")
    kind, _, option = rest.partition(",")
    kind = kind.strip().lower() or "true"
    flaw = ""
    if "\t" in shown:
        flaw = TAB
    elif pattern.startswith("#") and pattern.lower() not in SPECIAL:
        flaw = HASH_COMMENT
    elif kind not in TYPES or option.strip() not in OPTIONS:
        flaw = NO_TYPE
    elif not _plausible(pattern):
        flaw = NO_PATTERN
    elif length >= 127:
        flaw = TOO_LONG
    network = _network(pattern)
    if flaw:
        return Line(number, offset, length, shown, BROKEN, pattern, kind, option, network, flaw)
    ended = data[offset + length - 1 : offset + length] == b"\n"
    flaw = "" if ended else NO_END
    return Line(number, offset, length, shown, ENTRY, pattern, kind, option.strip(), network, flaw)


def _numeric(pattern: str) -> bool:
    return bool(pattern) and (":" in pattern or all(char in "0123456789./*" for char in pattern))


def _plausible(pattern: str) -> bool:
    if pattern.startswith("#") or pattern in EVERYBODY:
        return True
    if _numeric(pattern):
        return "*" in pattern or _network(pattern) is not None
    return "." in pattern or "@" in pattern


def _network(pattern: str) -> Network | None:
    """The network of a numeric pattern; wildcards at the end of whole numbers included."""
    if not _numeric(pattern):
        return None
    head, star, _ = pattern.partition("*")
    if not star:
        return parse_network(pattern)
    numbers = head.rstrip(".").split(".") if head.endswith(".") else []
    if not 1 <= len(numbers) <= 3:
        return None
    return parse_network(".".join([*numbers, *["0"] * (4 - len(numbers))]) + f"/{8 * len(numbers)}")


def refusal(network: Network) -> bytes:
    """The text of a line that refuses mail from a network, without its line end."""
    return f"{format_network(network)} false".encode("ascii")


def place(found: Sequence[Line]) -> int:
    """The offset at which refusals belong: after the default lines and the white list, before a final
    catch-all; the end of the file when there is none."""
    at = 0
    for number, line in enumerate(found):
        head = number < 2 and line.pattern.startswith("#")
        if line.spares or head:
            at = line.offset + line.length
    after = [line for line in found if line.offset >= at]
    catch_all = [line.offset for line in after if line.everybody]
    end = found[-1].offset + found[-1].length if found else 0
    return min([*catch_all, end])


def last_spared(found: Sequence[Line]) -> int:
    """The offset of the last white-list line, -1 where there is none."""
    return max((line.offset for line in found if line.spares), default=-1)
