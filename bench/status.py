"""What an answer costs as a whole process: `mailguard status` and its like, from start to exit.

    python bench/status.py [--runs N] [--language ja]

Prints minimum, median and maximum in milliseconds for each command, beside a bare Python. Without a guard the
commands say so; what they load and do until then is the same but for one exchange over a socket.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

MAILGUARD = str(Path(sys.executable).with_name("mailguard"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "mailguard status": [MAILGUARD, "status"],
    "mailguard bans": [MAILGUARD, "bans"],
    "mailguard why": [MAILGUARD, "why", "192.0.2.7"],
    "mailguard --help": [MAILGUARD, "--help"],
}


def milliseconds(command: list[str], environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False, env=environment)
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--language", default="en", help="the language that is spoken")
    given = options.parse_args()
    runs = given.runs
    environment = os.environ | {"LC_ALL": f"{given.language}_XX.UTF-8", "LANGUAGE": ""}
    print(f"{'command':20} {'min':>8} {'median':>8} {'max':>8}   milliseconds, {runs} runs")
    for name, command in COMMANDS.items():
        milliseconds(command, environment)  # byte code is compiled once
        times = [milliseconds(command, environment) for _ in range(runs)]
        print(f"{name:20} {min(times):8.1f} {statistics.median(times):8.1f} {max(times):8.1f}")


if __name__ == "__main__":
    main()
