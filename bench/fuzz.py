"""Random lines through the compiled scan and the Python one, as long as asked; every difference is shown.

    python bench/fuzz.py [--seconds N] [--seed N]

To have every access to memory checked, compile with AddressSanitizer and let its library be loaded first (and
compile anew afterwards):

    python hatch_build.py --sanitize scan
    LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \\
        python bench/fuzz.py --seconds 300
    touch mailguard/core/native/scan.pyx && python hatch_build.py scan

Under it each block is memory of its own, so that a byte read before or behind it is found at once.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailguard.core import native
from mailguard.core.rules import Addresses, Parser
from mailguard.core.scanner import Scanner
from mailguard.model import Block, Record, Records
from tests.hostile import definition_lines, mutated, recorded_lines, single_line_parsers

ARRIVAL = 1_795_392_000.0
ROUNDS = 400  # blocks that one pair of scanners is given


def block_of(lines: list[bytes], position: int, chance: random.Random) -> Block:
    """Up to 60 lines with accidents, as a block in memory of its own."""
    made = [mutated(chance.choice(lines), lines, chance) for _ in range(chance.randrange(1, 60))]
    data = b"\n".join(made) + chance.choice((b"\n", b"\n", b"\n", b"", b"\r\n"))
    begins = [0, *(at + 1 for at, byte in enumerate(data[:-1]) if byte == 10)]
    return Block(
        "/var/log/mail.log",
        data,
        0,
        len(data),
        position,
        ARRIVAL + chance.choice((0.0, 0.0, 90_000.0)),
        chance.random() < 0.3,
        timezone=chance.choice(("UTC", "Europe/Berlin")),
        year=chance.choice((None, None, 2024)),
        cuts=(chance.choice(begins),) if chance.random() < 0.1 else (),
    )


def records_of(lines: list[bytes], chance: random.Random) -> Records:
    """Up to 30 journal entries with accidents."""
    made = []
    for number in range(chance.randrange(1, 30)):
        line = mutated(chance.choice(lines), lines, chance)
        program = chance.choice((b"postfix/smtpd", b"dovecot", b"postfix/postscreen", b"", b"x" * 129))
        message = line.partition(b": ")[2]
        made.append(Record(ARRIVAL, b"mail1", program, chance.choice((0, 7)), message, number))
    return Records("journal", made, ARRIVAL, chance.random() < 0.5)


def answers(scanner: Scanner, asked: Block | Records) -> tuple[Any, ...]:
    """Everything that may be seen of a scanner after it was given that."""
    found = scanner.scan(asked) if isinstance(asked, Block) else scanner.scan_records(asked)
    return repr(found), asdict(scanner.counters), scanner.running(), scanner.ahead(), scanner.taken()


def patterns(parsers: list[Parser], lines: list[bytes], chance: random.Random) -> int:
    """A line with accidents to every template, without a literal being looked for."""
    addresses, compared = Addresses(), 0
    module = native.load("scan")
    line = mutated(chance.choice(lines), lines, chance)
    message = line[chance.randrange(len(line) + 1) :]
    for parser in parsers:
        for rule in parser.rules:
            own = mutated(rule.samples[0].line, [message], chance) if rule.samples else message
            for text in (message, own, own.partition(b"]: ")[2]):
                compared += 1
                one = rule.pattern.match(text, 0, len(text))
                two = module.Matcher(rule.pattern, addresses).match(text, 0, len(text))
                if one != two:
                    raise SystemExit(f"{rule.full_name} reads {text!r}\n  as {one}\n and {two}")
    return compared


def main() -> None:
    """Go on until the time is over or something differs."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    parsers = single_line_parsers()
    lines = [*definition_lines(parsers), *recorded_lines()]
    chance = random.Random(asked.seed)
    deadline = time.monotonic() + asked.seconds
    seen = events = matches = 0
    while time.monotonic() < deadline:
        kinds = chance.choice((None, frozenset({"auth_failure"}), frozenset({"mail_accepted", "connect"})))
        more: dict[str, Any] = {"wanted_kinds": kinds, "keep_lines": chance.random() < 0.5}
        plain, compiled = Scanner(parsers, native=False, **more), Scanner(parsers, native=True, **more)
        position = 0
        matches += patterns(parsers, lines, chance)
        for _ in range(ROUNDS):
            if time.monotonic() >= deadline:
                break
            given: Block | Records
            if chance.random() < 0.9:
                given = block_of(lines, position, chance)
                position += given.end
            else:
                given = records_of(lines, chance)
            one, two = answers(plain, given), answers(compiled, given)
            if one != two:
                raise SystemExit(f"{given}\n  is read as {one}\n and as {two}")
        seen += plain.counters.lines
        events += sum(plain.taken().values())
    print(f"{seen} lines, {events} of them taken by a rule, and {matches} single matches: no difference")


if __name__ == "__main__":
    main()
