"""What a ban costs, and a hundred thousand of them after a restart.

python bench/firewall.py [--bans N] [--rounds N]

Needs root; everything happens in a network namespace of its own. Measured:

* one ban acknowledged by the kernel: in this process, through the enforcer (both processes and the socket),
  and, to compare, as text by libnftables and by a forked `nft`; with an empty set and with `--bans` in it;
* `open` with `--bans` bans: in this process, through the enforcer, and again while the table stands, for a
  new pair of processes and for a judge that came back. Best and median of `--rounds`;
* reading all of them back with their counters.

Times are wall time in milliseconds, median and 99th percentile of single bans.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from mailguard.enforcer import spawn
from mailguard.firewall.interface import Firewall
from mailguard.firewall.libnftables import Nft
from mailguard.firewall.nftables import Nftables
from mailguard.model import Ban, Network
from mailguard.notation import format_address

_CLONE_NEWNET = 0x40000000
FIRST = 0x0A000000  # of the restored bans
NEXT = 0x0B000000  # of the single ones
DAY = 86400.0


def bans(first: int, count: int) -> list[Ban]:
    now = time.time()
    return [Ban(Network(first + index * 7, 32), now, now + DAY + index) for index in range(count)]


def show(name: str, times: list[float]) -> None:
    times.sort()
    at99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    print(f"  {name:46} {statistics.median(times) * 1000:9.3f} {at99 * 1000:9.3f}")


def clocked(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def singles(name: str, firewall: Firewall, count: int, first: int) -> None:
    """One ban at a time, a pause between them as in life."""
    times = []
    for one in bans(first, count):
        times.append(clocked(lambda one=one: firewall.impose([one], time.time())))
        time.sleep(0.0005)
    show(name, times)


def networks(firewall: Firewall, count: int, first: int) -> None:
    times = []
    for index in range(count):
        now = time.time()
        one = Ban(Network(first + (index << 8), 24), now, now + DAY)
        times.append(clocked(lambda one=one: firewall.impose([one], time.time())))
    show(f"a /24, {count} one after the other", times)


def text_of(index: int) -> str:
    return f"add element inet mailguard auth_host4 {{ {format_address(NEXT + index)} counter timeout 1d }}"


def by_text(count: int) -> None:
    with Nft() as nft:
        show("libnftables, text", [clocked(lambda i=i: nft.run(text_of(i))) for i in range(count)])
    forked = []
    for index in range(50):
        words = ["nft", text_of(1 << 20 | index)]
        forked.append(clocked(lambda words=words: subprocess.run(words, check=True)))
    show("a forked nft", forked)


def restored(name: str, times: list[float], count: int) -> None:
    print(f"  {name:46} {min(times) * 1000:9.0f} {statistics.median(times) * 1000:9.0f}   {count} bans")


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--bans", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0:
        print("needs root and network namespaces", file=sys.stderr)
        return 77
    count, rounds = asked.bans, asked.rounds

    print(f"{'one ban, acknowledged by the kernel':48} {'median ms':>9} {'99% ms':>9}")
    alone = Nftables()
    alone.open([], time.time())
    singles("netlink, in this process", alone, 2000, NEXT)
    by_text(1000)
    alone.close(keep=False)
    guard = spawn(Nftables())
    guard.open([], time.time())
    singles("through the enforcer", guard, 2000, NEXT)
    networks(guard, 500, NEXT + (1 << 26))
    many = bans(FIRST, count)
    guard.panic()
    guard.open(many, time.time())
    # Until every element has its counter, the enforcer works on that beside.
    singles(f"through the enforcer, right after {count}", guard, 2000, NEXT)
    wait_for_counters(count)
    singles(f"through the enforcer, {count} there", guard, 2000, NEXT + (1 << 20))
    print(f"\n{'back after a restart':48} {'best ms':>9} {'median ms':>9}")
    gc.collect()
    gc.freeze()
    again = [clocked(lambda: guard.open(many, time.time())) for _ in range(rounds)]
    reading = [clocked(guard.banned)]
    guard.close(keep=False)

    inside, through, standing = [], [], []
    for _ in range(rounds):
        alone = Nftables()
        inside.append(clocked(lambda alone=alone: alone.open_keys(keys(many), time.time(), soon=True)))
        alone.close(keep=False)
        guard = spawn(Nftables())
        through.append(clocked(lambda guard=guard: guard.open(many, time.time())))
        guard.close(keep=True)
        guard = spawn(Nftables())
        standing.append(clocked(lambda guard=guard: guard.open(many, time.time())))
        guard.close(keep=False)
    restored("netlink, in this process", inside, count)
    restored("through the enforcer, no table", through, count)
    restored("through the enforcer, table stands", standing, count)
    restored("a judge back at its enforcer", again, count)
    print(f"\n  reading all back with their counters {reading[0] * 1000:18.0f} ms")
    return 0


def keys(many: list[Ban]) -> dict[tuple[int, int, int], float]:
    return {(1, one.network.address, one.network.prefix): one.until or 0.0 for one in many}


def wait_for_counters(count: int) -> None:
    """Until the last restored element has its counter."""
    wanted = f"{format_address(FIRST)} counter"
    for _ in range(120):
        listed = subprocess.run(
            ["nft", "get", "element", "inet", "mailguard", "mail_host4", f"{{ {format_address(FIRST)} }}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        if wanted in listed:
            return
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
