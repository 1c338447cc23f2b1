"""The scanner's cost: lines a second compiled and with each prefilter, and microseconds for a relevant and an
irrelevant line.

    python bench/scanner.py [--lines N] [--hits PERCENT]... [--parser FILE]... [--all] [--profile]

The log is generated: the samples of the shipped parsers of syslog lines between lines of other programs; last
stands the `rich` log of bench/mixes.py. `--all`: with the parsers of other kinds of logs too, as where nobody
chose. Beside it stands what `grep -c` and `wc -l` need for the same file. `native` is the compiled scan, the
others are the Python one; `with sessions` adds the joining of its drafts.
"""

from __future__ import annotations

import argparse
import cProfile
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.mixes import rich
from mailguard.core import native
from mailguard.core.prefilter import ENGINES
from mailguard.core.rules import Parser
from mailguard.core.scanner import Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions.parsers import load_parser, load_parsers
from mailguard.model import Block

OTHERS = (
    "cron[%d]: (root) CMD (test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily)",
    "rspamd[%d]: <a1b2c3>; task; rspamd_task_write_log: id: <doc1@example.org>, from: <a@example.org>",
    "postfix/cleanup[%d]: E0BC61DE989: message-id=<doc1@example.org>",
    "postfix/trivial-rewrite[%d]: warning: do not list domain example.net in BOTH mydestination and the map",
    "systemd[%d]: Started Daily apt download activities of the example host with a name of some length.",
    "kernel: [%d.000000] eth0: link becomes ready and some more words that nobody reads until needed",
)
SIZE = 1 << 20
ARRIVAL = 1_798_675_200.0


def lines(parsers: list[Parser], count: int, percent: float) -> Iterator[bytes]:
    """The generated log: `percent` of its lines are samples of the parsers, at a running time of day."""
    chance = random.Random(7)
    samples = [s.line for p in parsers for r in p.rules for s in r.samples if s.line[:3] == b"Nov"]
    for number in range(count):
        second = number // 200
        stamp = b"Nov %2d %02d:%02d:%02d" % (
            1 + second // 86400,
            second // 3600 % 24,
            second // 60 % 60,
            second % 60,
        )
        if chance.random() * 100 < percent:
            yield stamp + chance.choice(samples)[15:]
        else:
            yield stamp + (" mail1 " + chance.choice(OTHERS) % chance.randrange(1, 32768)).encode()


def blocks(path: str) -> Iterator[Block]:
    """The file as blocks of whole lines out of one buffer."""
    buffer = bytearray(SIZE)
    with open(path, "rb", buffering=0) as file:
        kept = position = 0
        while count := file.readinto(memoryview(buffer)[kept:]):
            stop = buffer.rfind(b"\n", 0, kept + count) + 1
            yield Block(path, buffer, 0, stop, position, ARRIVAL, False, timezone="UTC")
            position += stop
            rest = bytes(buffer[stop : kept + count])
            buffer[: len(rest)] = rest
            kept = len(rest)


class Run(NamedTuple):
    """One pass over a file: CPU seconds of the scan alone, and with the sessions; what was found."""

    scan: float
    whole: float
    scanner: Scanner
    events: int


def run(parsers: list[Parser], path: str, engine: str) -> Run:
    """Read the file by the scanner with that prefilter; "native" is the compiled one."""
    scanner, sessions = Scanner(parsers, engine), Sessions(parsers)
    scan, events, begin = 0.0, 0, time.process_time()
    for block in blocks(path):
        start = time.process_time()
        found = scanner.scan(block)
        scan += time.process_time() - start
        events += len(sessions.join(found))
    return Run(scan, time.process_time() - begin, scanner, events)


def empty_line(parsers: list[Parser], engine: str) -> float:
    """Microseconds of a line in which nothing is found."""
    data = b"\n".join(lines([], 20_000, 0.0)) + b"\n"
    block = Block("l", data, 0, len(data), 0, ARRIVAL, False, timezone="UTC")
    best = float("inf")
    for _ in range(5):
        scanner = Scanner(parsers, engine)
        start = time.process_time()
        scanner.scan(block)
        best = min(best, time.process_time() - start)
    return best * 1e6 / 20_000


def show(parsers: list[Parser], path: str, number: int) -> None:
    """A file by every engine, beside what only counts its lines."""
    for command in (["grep", "-c", "authentication failed", path], ["wc", "-l", path]):
        begin = time.perf_counter()
        subprocess.run(command, capture_output=True, check=False)
        spent = time.perf_counter() - begin
        print(f"  {' '.join(command[:2]):12} {number / spent / 1e6:6.2f} M lines/s")
    for engine in ENGINES:
        if engine == "native" and native.load("scan") is None:
            print("  native       is not compiled here (make native)")
            continue
        best = min((run(parsers, path, engine) for _ in range(3)), key=lambda one: one.scan)
        hits = best.scanner.counters.hits
        each = (best.scan * 1e6 - empty_line(parsers, engine) * (number - hits)) / hits if hits else 0.0
        print(
            f"  {engine:12} {number / best.scan / 1e6:6.2f} M lines/s"
            f"  {best.scan * 1e6 / number:5.2f} us/line  {best.whole * 1e6 / number:5.2f} with sessions"
            f"  {hits} lines with a literal ({each:.2f} us each)  {best.events} events"
        )


def main() -> None:
    """Generate, measure, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--lines", type=int, default=500_000)
    options.add_argument("--hits", type=float, nargs="*", default=[15.0, 2.0])
    options.add_argument("--parser", action="append")
    options.add_argument("--all", action="store_true")
    options.add_argument("--profile", action="store_true")
    asked = options.parse_args()
    shipped = [load_parser(path, check=False) for path in asked.parser or ()] or load_parsers(check=False)
    syslog = [parser for parser in shipped if "syslog" in parser.envelopes]
    parsers = shipped if asked.all else syslog
    print(f"{sum(len(parser.rules) for parser in parsers)} rules in {len(parsers)} parsers")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/log"
        for percent in (*asked.hits, 0.0):
            Path(path).write_bytes(b"\n".join(lines(syslog, asked.lines, percent)) + b"\n")
            print(f"{asked.lines} lines, {Path(path).stat().st_size >> 20} MiB, {percent:g}% samples")
            show(parsers, path, asked.lines)
            if asked.profile:
                cProfile.runctx("run(parsers, path, 'auto')", globals(), locals(), sort="tottime")
        Path(path).write_bytes(b"\n".join(rich(asked.lines)) + b"\n")
        print(f"{asked.lines} lines, {Path(path).stat().st_size >> 20} MiB, rich")
        show(parsers, path, asked.lines)


if __name__ == "__main__":
    main()
