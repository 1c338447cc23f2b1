"""What an answer costs as a whole process: `mailguard status` and its like, and the start of those that read
logs, from start to exit.

    python bench/status.py [--runs N] [--language ja]

Prints minimum, median and maximum in milliseconds for each command, and the median of its processor time,
beside a bare Python. Without a guard the commands say so; what they load and do until then is the same but
for one exchange over a socket. Logs have 50 lines, so that it is the start that counts.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import mixes

MAILGUARD = str(Path(sys.executable).with_name("mailguard"))
LOG = "mail.log"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "mailguard status": [MAILGUARD, "status"],
    "mailguard bans": [MAILGUARD, "bans"],
    "mailguard why": [MAILGUARD, "why", "192.0.2.7"],
    "mailguard --help": [MAILGUARD, "--help"],
    "mailguard replay": [MAILGUARD, "replay", "-o", "json", LOG],
    "mailguard events": [MAILGUARD, "events", "-o", "json", LOG],
    "mailguard impact": [MAILGUARD, "impact", "192.0.2.0/24", LOG],
    "mailguard explain": [MAILGUARD, "explain", "Nov 22 09:05:07 mail1 postfix/smtpd[202]: lost"],
    "mailguard check": [MAILGUARD, "check"],
}


def write_log(path: Path) -> None:
    """Fifty lines of a mail server's morning."""
    chance = random.Random(7)
    lines: list[str] = []
    while len(lines) < 50:
        lines += chance.choice((mixes.message, mixes.login, mixes.attack))(chance)
    stamped = (f"Nov 22 09:05:{second:02} {line}\n" for second, line in enumerate(lines[:50]))
    path.write_text("".join(stamped))


def milliseconds(command: list[str], environment: dict[str, str], folder: str) -> tuple[float, float]:
    """Of one run, by the clock and of processor time."""
    begun, before = time.perf_counter(), os.times()
    subprocess.run(command, capture_output=True, check=False, env=environment, cwd=folder)
    after, seconds = os.times(), time.perf_counter() - begun
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds * 1000, spent * 1000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--language", default="en", help="the language that is spoken")
    given = options.parse_args()
    runs = given.runs
    environment = os.environ | {"LC_ALL": f"{given.language}_XX.UTF-8", "LANGUAGE": ""}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"{'command':20} {'min':>8} {'median':>8} {'max':>8} {'CPU':>8}   milliseconds, {runs} runs")
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder, LOG))
        for name, command in COMMANDS.items():
            milliseconds(command, environment, folder)  # byte code is compiled once
            found = [milliseconds(command, environment, folder) for _ in range(runs)]
            times, spent = [one for one, _ in found], statistics.median(one for _, one in found)
            told = f"{min(times):8.1f} {statistics.median(times):8.1f} {max(times):8.1f} {spent:8.1f}"
            print(f"{name:20} {told}")


if __name__ == "__main__":
    main()
