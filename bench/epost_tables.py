"""E-Post's tables: how long a ban takes in a reject table of 50,000 rows, and whether readers notice.

The table holds 40,000 rows of others and 10,000 bans of ours, as an E-Post server that was attacked for
months would have it. Measured are single bans, lifts and ends through the driver as the enforcer runs it
(the state file waits for the disk at each), a burst of bans, the start with everything in place, and what
reading the whole table takes while the driver writes, which is what E-Post does at each connection.

python bench/epost_tables.py [--folder FOLDER] [--rows 50000]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailguard.firewall.epost import Epost
from mailguard.model import Ban, Network

LIMIT = 0.100  # seconds that an update may take
OURS = 10_000


def ban(number: int, now: float, base: int = 0x0A000000) -> Ban:
    return Ban(Network(base + number, 32), now, now + 3600)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def tell(what: str, seconds: list[float]) -> None:
    middle, worst = statistics.median(seconds) * 1000, max(seconds) * 1000
    print(f"{what:<44} median {middle:8.2f} ms   worst {worst:8.2f} ms")


class Reader(threading.Thread):
    """Reads the table again and again, as E-Post does, and checks that its own rows are there."""

    def __init__(self, path: Path):
        super().__init__(daemon=True)
        self.path, self.times, self.ended = path, [0.0], False

    def run(self) -> None:
        while not self.ended:
            self.times.append(timed(self.path.read_bytes))
            time.sleep(0.001)


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--folder", type=Path, default=None, help="where to measure (a disk, a share)")
    options.add_argument("--rows", type=int, default=50_000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        return measure(Path(name), chosen.rows)


def measure(folder: Path, rows: int) -> int:
    path = folder / "rejectsmtpip.dat"
    with path.open("wb") as table:
        for number in range(rows - OURS):
            high, low = divmod(number, 250)
            table.write(b"203.%d.%d.%d\t133977293793391816\r\n" % (high // 250, high % 250, low))
    theirs = path.read_bytes()
    now = time.time()
    driver = Epost(str(folder), ("smtp",), {"smtp": 1800.0}, state=str(folder / "state" / "epost.sqlite"))
    bans = [ban(number, now) for number in range(OURS)]
    tell(f"start, {OURS} bans to write", [timed(lambda: driver.open(bans, now))])
    print(f"the table: {len(path.read_bytes().splitlines())} rows, {path.stat().st_size} bytes")
    driver.close(keep=True)
    driver = Epost(str(folder), ("smtp",), {"smtp": 1800.0}, state=str(folder / "state" / "epost.sqlite"))
    tell(f"start, {OURS} bans that stand", [timed(lambda: driver.open(bans, now))])
    quiet = [timed(path.read_bytes) for _ in range(200)]
    reader = Reader(path)
    reader.start()
    figures: dict[str, list[float]] = {"one ban": [], "one lift": [], "a longer ban": [], "an end": []}
    for number in range(200):
        other = ban(number, now, 0x0B000000)
        figures["one ban"].append(timed(lambda one=other: driver.impose([one], now)))
        longer = Ban(other.network, now, now + 7200)
        figures["a longer ban"].append(timed(lambda one=longer: driver.impose([one], now)))
        figures["one lift"].append(timed(lambda one=other: driver.lift([(one.network, "mail")])))
    for number in range(50):
        soon = Ban(Network(0x0C000000 + number, 32), now, now + number)
        driver.impose([soon], now - 1)
        figures["an end"].append(timed(lambda at=now + number: driver.tick(at)))
    burst = [ban(number, now, 0x0D000000) for number in range(1000)]
    figures["1,000 bans at once"] = [timed(lambda: driver.impose(burst, now))]
    reader.ended = True
    reader.join()
    for what, seconds in figures.items():
        tell(what, seconds)
    tell("reading the table, nobody writing", quiet)
    tell("reading the table while bans come", reader.times[1:])
    driver.close(keep=False)
    kept = path.read_bytes().startswith(theirs)
    print("rows of others:", "all there, byte for byte" if kept else "CHANGED")
    slow = [what for what, seconds in figures.items() if max(seconds) >= LIMIT]
    print("under 100 ms:", "all" if not slow else f"not {', '.join(slow)}")
    return 0 if kept and not slow else 1


if __name__ == "__main__":
    raise SystemExit(main())
