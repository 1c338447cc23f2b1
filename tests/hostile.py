"""Lines for tests and fuzzing: what definitions hold as samples, and what chance makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from mailguard.core.rules import Parser
from mailguard.definitions.parsers import load_parsers

LOGS = Path(__file__).resolve().parent.parent / "samples" / "logs"
PIECES = (
    b"\0", b"\r", b"\xff", b"\x83\x5c", b"\xe3\x81\x82", b"\xe2\x80\xae", b"\x1b[31m", b'"', b'\\"', b"\\",
    b" ", b"  ", b"<", b">", b"=", b", rip=", b">, method=PLAIN, rip=203.0.113.9", b"]", b"[", b":", b": ",
    b"message repeated 3 times: [ ", b"60", b"61", b"Feb 29", b"unknown", b"192.0.2.7", b"::ffff:192.0.2.9",
    b"2001:db8::1", b"2001:DB8::1", b"256.1.1.1", b"01.2.3.4", b"1.2", b"::::", b"fe80::1%eth0", b"; from=<",
    b"99999999999999999999", b"00000000001",
)  # fmt: skip


def single_line_parsers() -> list[Parser]:
    """The shipped parsers but those of dialogue logs, to which a log belongs as a whole."""
    return [parser for parser in load_parsers(check=False) if parser.dialogue is None]


def definition_lines(parsers: Iterable[Parser]) -> list[bytes]:
    """Every line that stands in the definitions: samples, forgeries, unmatched ones, those before them."""
    found: dict[bytes, None] = {}
    for parser in parsers:
        samples = [one for rule in parser.rules for one in (*rule.samples, *rule.forgeries)]
        for sample in (*samples, *parser.unmatched):
            found.update(dict.fromkeys((*sample.after, sample.line)))
    return list(found)


def recorded_lines() -> list[bytes]:
    """The lines of the recorded logs of real servers."""
    return [line for path in sorted(LOGS.glob("*.log")) for line in path.read_bytes().split(b"\n")]


def mutated(line: bytes, others: Sequence[bytes], chance: Random) -> bytes:
    """The line with up to three accidents."""
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        at = chance.randrange(len(line) + 1)
        kind = chance.randrange(12)
        if kind < 3:
            line = line[:at] + chance.choice(PIECES) + line[at:]
        elif kind < 5:
            line = line[:at] + line[at + chance.randrange(1, 9) :]
        elif kind < 6:
            line = line[:at]
        elif kind < 8:
            other = chance.choice(others)
            line = line[:at] + other[chance.randrange(len(other) + 1) :]
        elif kind < 9:
            line = line[:at] + chance.randbytes(chance.randrange(1, 5)) + line[at + 2 :]
        elif kind < 10:
            line = line[:at] + line[at:] * chance.randrange(1, 4)
        elif kind < 11:
            other = chance.choice(others)
            line = line[:at] + other[chance.randrange(len(other) + 1) :] + line[at:]
        else:
            most = 3000 if chance.random() < 0.1 else 30
            line = line[:at] + chance.choice(PIECES) * chance.randrange(1, most) + line[at:]
    return line
