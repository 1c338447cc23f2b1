"""The feed's latency: from another process's write() of a line to the line in hand.

    python bench/tail.py [--seconds N] [--rate LINES]... [--spacing MICROSECONDS]... [--watcher NAME]

One write() a line, evenly spaced. Prints the median and the 99th percentile in microseconds, the share of
one core that the reading process used, and how many wake-ups it took. The lines carry the writer's
monotonic clock.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailguard.clock import SystemClock
from mailguard.feeds.files import FileSource
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.live import SPACING, LiveFeed
from mailguard.model import Block

TEXT = (
    b" mail1 postfix/smtpd[2021]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: (reason)\n"
)


def write(path: str, rate: int, count: int) -> None:
    """The writer's whole life: `count` lines, `rate` a second, one write() each."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND)
    pause = 1_000_000_000 // rate
    due = time.monotonic_ns() + 100_000_000
    for _ in range(count):
        while (left := due - time.monotonic_ns()) > 0:
            if left > 100_000:
                time.sleep((left - 60_000) / 1e9)
        os.write(log, b"%020d" % time.monotonic_ns() + TEXT)
        due += pause


def measure(rate: int, seconds: float, spacing: float, watcher: str) -> tuple[list[int], float, int]:
    """Latencies in ns of all lines, the reader's share of a core, and its wake-ups."""
    count = int(rate * seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mail.log")
        Path(path).touch()
        source = FileSource(LogOptions(paths=(path,)), {}, SystemClock())
        feed = LiveFeed([source], watcher=watcher, spacing=spacing)
        feed.next(time.monotonic())
        child = os.fork()
        if child == 0:
            write(path, rate, count)
            os._exit(0)
        latencies: list[int] = []
        wakes = 0
        before = resource.getrusage(resource.RUSAGE_SELF)
        begun = time.monotonic()
        while len(latencies) < count:
            for item in feed.next(None) or []:
                now = time.monotonic_ns()
                wakes += 1
                if isinstance(item, Block):
                    at = item.start
                    while at < item.end:
                        latencies.append(now - int(item.data[at : at + 20]))
                        at = item.data.index(b"\n", at) + 1
        spent = time.monotonic() - begun
        after = resource.getrusage(resource.RUSAGE_SELF)
        os.waitpid(child, 0)
        feed.close()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return latencies, used / spent, wakes


def main() -> None:
    """Measure each rate with each spacing and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=int, action="append")
    parser.add_argument("--spacing", type=float, action="append", help="microseconds")
    parser.add_argument("--watcher", default="auto")
    asked = parser.parse_args()
    print(f"{'lines/s':>8} {'spacing µs':>10} {'p50 µs':>8} {'p99 µs':>8} {'cpu':>6} {'wakes/s':>8}")
    for rate in asked.rate or [200, 20_000]:
        for spacing in asked.spacing or [SPACING * 1e6]:
            times, share, wakes = measure(rate, asked.seconds, spacing / 1e6, asked.watcher)
            times.sort()
            middle, tail = times[len(times) // 2] / 1e3, times[len(times) * 99 // 100] / 1e3
            print(
                f"{rate:8d} {spacing:10.0f} {middle:8.0f} {tail:8.0f}",
                f"{share:6.1%} {wakes / asked.seconds:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
