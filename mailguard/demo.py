"""Plays the sample logs as if they were being written now, for a host that has no mail log.

A process of its own (`python -m mailguard.demo SAMPLES FOLDER`) copies each `*.log` of one folder to a file
of the same name in another, line by line in the order of their stamps, with the stamps replaced by the
present time and long pauses shortened. The guard follows these files like any other log.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

SECONDS = 40.0  # for all of the samples together
LONGEST_PAUSE = 0.25  # seconds between two lines

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TRADITIONAL = re.compile(rb"(?:<\d{1,3}>)?([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d)(?:\.\d{1,6})?(?= )")
_ISO = re.compile(
    rb"(?:<\d{1,3}>1 )?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?(?=[ ,])"
)
_EPOST = re.compile(rb"\[(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d)\]")


def stamp_of(line: bytes) -> float | None:
    """A number that grows with the line's stamp (seconds, year-less ones within one year); None without a
    stamp."""
    try:
        if match := _TRADITIONAL.match(line):
            month, day, hour, minute, second = match.groups()
            days = _month(month) * 31 + int(day)
            return days * 86400.0 + int(hour) * 3600 + int(minute) * 60 + int(second)
        if match := _ISO.match(line):
            return datetime.fromisoformat(match.group(1).decode()).timestamp()
        if match := _EPOST.search(line, 0, 64):
            date, month, year, *rest = match.groups()
            hour, minute, second = rest
            moment = datetime(int(year), _month(month) + 1, int(date), int(hour), int(minute), int(second))
            return moment.timestamp()
    except (ValueError, OverflowError):  # looks like a stamp, is no date
        return None
    return None


def restamp(line: bytes, moment: datetime) -> bytes:
    """The line with its stamps (an E-Post line may hold several) set to `moment`, in the form they had."""
    if match := _TRADITIONAL.match(line):
        text = f"{_MONTHS[moment.month - 1]} {moment.day:2d} {moment:%H:%M:%S}".encode()
        return line[: match.start(1)] + text + line[match.end() :]
    if match := _ISO.match(line):
        text = moment.isoformat(timespec="microseconds").encode()
        return line[: match.start(1)] + text + line[match.end() :]
    text = b"[" + f"{moment.day:02d}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S}".encode() + b"]"
    return _EPOST.sub(lambda _: text, line)


def _month(name: bytes) -> int:
    text = name.decode("ascii", "replace")
    return _MONTHS.index(text) if text in _MONTHS else 0


def script(logs: Iterable[tuple[str, bytes]], seconds: float = SECONDS) -> Iterator[tuple[float, str, bytes]]:
    """(pause before it, name of the log, line) for every line of all logs, in the order of their stamps.

    Each log begins at the start, whatever year it is from, and all lines follow each other evenly: the
    attacks of a week fit into `seconds`.
    """
    lines: list[tuple[float, str, int, bytes]] = []
    for name, data in logs:
        at, begin = 0.0, None
        for number, line in enumerate(_lines(data)):
            stamp = stamp_of(line)
            if stamp is not None:
                begin = stamp if begin is None else begin
                at = max(at, stamp - begin)
            lines.append((at, name, number, line))
    lines.sort(key=lambda one: one[:3])
    for _, name, _, line in lines:
        yield min(LONGEST_PAUSE, seconds / len(lines)), name, line


def _lines(data: bytes) -> list[bytes]:
    """Lines split at LF only: a CR belongs to the line."""
    return [line + b"\n" for line in data.split(b"\n") if line]


def play(
    samples: Path, folder: Path, *, seconds: float = SECONDS, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Write the logs in `samples` to files in `folder` as time goes by; how many lines there were."""
    found = sorted(samples.glob("*.log"))
    files = {path.name: open(folder / path.name, "ab", buffering=0) for path in found}  # noqa: SIM115
    count = 0
    try:
        for pause, name, line in script(((path.name, path.read_bytes()) for path in found), seconds):
            sleep(pause)
            files[name].write(restamp(line, datetime.now().astimezone()))
            count += 1
    finally:
        for file in files.values():
            file.close()
    return count


def main(arguments: list[str]) -> int:
    """SAMPLES FOLDER [SECONDS]"""
    samples, folder = Path(arguments[0]), Path(arguments[1])
    play(samples, folder, seconds=float(arguments[2]) if len(arguments) > 2 else SECONDS)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
