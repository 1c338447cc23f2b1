"""Replay beside what else reads a log: one generated log, everything in one run, with the ground known.

    python bench/replay.py [--lines N] [--mix rich|lean] [--small N] [--compressed gz,xz,zst] [--workers
    1,2]

`rich`: 15% of the lines are tries of attackers and 30% carry accepted mail and logins; `lean`: 2% are tries
and 2% context (mail, logins, and connections of attackers). What it came to is printed.
The log is made from a seed; who attacks and who does not is known, so that beside the speed stands who was
caught and who was banned in error. fail2ban-regex reads a smaller piece of the same log (`--small` lines)
with its postfix and its dovecot filter, because it would need hours for all; its time is scaled up, and
marked so.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import mixes

BEGIN = 1_790_000_000
#: Attackers who try this often within the log should be caught by any policy.
SURE = 40


def stamped(lines: Iterator[str], rate: int) -> Iterator[bytes]:
    """The lines as rsyslog of today writes them: RFC 3339 stamps, `rate` lines a second."""
    second, stamp = -1, b""
    for number, line in enumerate(lines):
        if number // rate != second:
            second = number // rate
            moment = time.gmtime(BEGIN + second)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", moment).encode()
        micro = number % rate * (1_000_000 // rate)
        yield b"%s.%06d+00:00 %s\n" % (stamp, micro, line.encode())


def generate(path: Path, mix: str, count: int) -> dict[str, int]:
    """Write the log; how often each attacker tried."""
    source = mixes.mixed(count, *(mixes.RICH if mix == "rich" else mixes.LEAN))
    tries: dict[str, int] = {}
    address = re.compile(rb"(?:rip=|\[)(198\.1[89]\.\d+\.\d+|(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d+)")
    hostile = (b"auth failed", b"User unknown", b"authentication failed")
    with path.open("wb") as file:
        for line in stamped(source, 30):
            file.write(line)
            if any(word in line for word in hostile):
                found = address.search(line)
                if found:
                    name = found.group(1).decode()
                    tries[name] = tries.get(name, 0) + 1
    return tries


def timed(command: list[str], **more: object) -> tuple[float, str]:
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    return time.perf_counter() - begun, done.stdout + done.stderr


def installed(folder: str) -> None:
    """Let the program find, as one that is installed and was run before does, its own bytecode and the
    definitions that it read."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/bytecode"
    os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"


def peak(command: list[str]) -> tuple[float, int, float, str, str]:
    """Seconds, peak of the largest process in MiB, seconds of processor time of all processes, output and
    errors of a command."""
    program = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:])\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "spent = used.ru_utime + used.ru_stime\n"
        "print('PEAK', used.ru_maxrss // 1024, round(spent, 2), file=sys.stderr)\n"
        "sys.exit(done.returncode)\n"
    )
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - begun
    found = re.search(r"PEAK (\d+) ([\d.]+)", done.stderr)
    memory, spent = (int(found.group(1)), float(found.group(2))) if found else (0, 0.0)
    return seconds, memory, spent, done.stdout, done.stderr


def say(what: str, seconds: float, lines: int, note: str = "") -> None:
    print(f"{what:44} {seconds:9.2f} s {lines / seconds:14,.0f} lines/s  {note}", flush=True)


def ground(output: str, tries: dict[str, int]) -> str:
    """Who was caught, by a ban of the address or of the network it lives in, and who was banned in error."""
    banned: set[str] = set()
    for row in output.splitlines():
        found = json.loads(row)
        if found.get("effect") == "impose":
            banned.add(found["network"])
    single = {name for name in banned if "/" not in name}
    wide = {ip_network(name) for name in banned - single}
    sizes = {network.prefixlen for network in wide}
    sure = {name for name, count in tries.items() if count >= SURE}
    within = {
        name
        for name in sure - single
        if any(ip_network((name, size), strict=False) in wide for size in sizes)
    }
    return (
        f"caught {len(sure & single) + len(within)} of {len(sure)} who tried {SURE} times or more "
        f"({len(within)} by a ban of their network alone); {len(single - tries.keys())} innocent banned"
    )


def shares(output: str) -> str:
    """What the log holds, by its replay's summary."""
    seen = json.loads(output.rstrip().rpartition("\n")[2])["summary"]
    hostile, events = seen["hostile"] / seen["records"], seen["events"] / seen["records"]
    return f"of its lines {hostile:.2%} are hostile events, {events - hostile:.2%} context"


def fail2ban(path: Path, small: Path, lines: int, count: int) -> None:
    program = shutil.which("fail2ban-regex")
    if program is None:
        print("fail2ban-regex is not installed")
        return
    with path.open("rb") as whole, small.open("wb") as piece:
        for _ in range(count):
            piece.write(whole.readline())
    for name in ("postfix", "dovecot"):
        seconds, _ = timed([program, str(small), name])
        note = f"on {count:,} lines: {seconds:.1f} s, scaled up"
        say(f"fail2ban-regex {name}", seconds * lines / count, lines, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--mix", choices=("rich", "lean"), default="rich")
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--compressed", default="gz,xz,zst")
    parser.add_argument("--workers", default="1,2")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        installed(folder)
        path = Path(folder, "mail.log")
        tries = generate(path, options.mix, options.lines)
        with path.open("rb") as file:
            lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
        print(f"{options.mix}: {lines:,} lines, {path.stat().st_size >> 20} MiB, {len(tries):,} attackers")
        for command in (["wc", "-l"], ["grep", "-c", "auth failed"], ["rg", "-c", "auth failed"]):
            if shutil.which(command[0]):
                say(
                    " ".join(command),
                    timed([*command, str(path)], env=os.environ | {"LC_ALL": "C"})[0],
                    lines,
                )
        fail2ban(path, Path(folder, "small.log"), lines, min(options.small, lines))
        replays(path, lines, tries, options)


def replays(path: Path, lines: int, tries: dict[str, int], options: argparse.Namespace) -> None:
    base = [sys.executable, "-m", "mailguard", "replay", "--config", os.devnull, "-o", "json"]
    outputs: dict[str, str] = {}
    few = path.with_name("few.log")
    with path.open("rb") as whole:
        few.write_bytes(b"".join(whole.readline() for _ in range(50)))
    for _ in range(2):  # the first makes bytecode and reads the definitions
        seconds, memory, spent, _, _ = peak([*base, str(few)])
    print(f"{'start, and 50 lines':44} {seconds:9.2f} s  CPU {spent:.2f} s; peak {memory} MiB", flush=True)

    def run(file: Path, workers: str) -> None:
        seconds, memory, spent, output, errors = peak([*base, "--workers", workers, str(file)])
        if not output:
            print(errors)
            return
        outputs[f"{file.suffix} {workers}"] = re.sub(r'"problems".*', "", output)
        if len(outputs) == 1:
            print(shares(output))
        name = f"mailguard replay {file.suffix} --workers {workers}"
        say(name, seconds, lines, f"CPU {spent:.1f} s; peak {memory} MiB; {ground(output, tries)}")

    counts = options.workers.split(",")
    for workers in counts:
        run(path, workers)
    packers: dict[str, Callable[[bytes], bytes]] = {"gz": lambda data: gzip.compress(data, 6)}
    packers["xz"] = lambda data: lzma.compress(data, preset=1)
    from mailguard.feeds.archives import zstd_module

    if (zstd := zstd_module()) is not None:
        packers["zst"] = lambda data: bytes(zstd.compress(data))
    for form in [name for name in options.compressed.split(",") if name in packers]:
        packed = path.with_name(f"mail.log.{form}")
        with path.open("rb") as plain, packed.open("wb") as file:
            while piece := plain.read(64 << 20):
                file.write(packers[form](piece))  # members one behind the other are one file
        for workers in counts:
            run(packed, workers)
        packed.unlink()
    same = len(set(outputs.values())) == 1
    print(f"the output of all {len(outputs)} runs is {'the same, byte for byte' if same else 'NOT the same'}")
    print(f"peak of this bench itself: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
