"""What names of log files mean: rotated forms of a name, compressed ones, day-named files of a folder.

Facts: logrotate(8) (numbers, dateext, `extension`, compressext), postfix-logrotate (`.%Y%m%d-%H%M%S`),
E-Post's `YYMMDD.log` (also six, eight or ten digits where a build splits by the hour).
"""

from __future__ import annotations

import calendar
import re
from typing import NamedTuple

PACKED = (".gz", ".xz", ".bz2", ".lzma", ".zst")
_NUMBER = re.compile(r"[._-](\d{1,4})")
_DATE = re.compile(r"[._-]?(\d{4}-?\d\d-?\d\d(?:[-_T.]?\d{2,6})?|\d{10})")
_DAY = re.compile(r"(\d\d)(\d\d)(\d\d)(\d\d)?(?:\d\d)?\.log", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")
NUMBER, DATE = "number", "date"  # schemes of rotated names


class Rank(NamedTuple):
    """Age of a rotated file among those of its scheme, as its name says: a greater `value` is a newer file.

    Numbers are taken as logrotate gives them, from the newest file backwards; see `search.in_order`.
    """

    scheme: str  # NUMBER or DATE
    value: int


def packed(name: str) -> bool:
    """Is this a compressed file's name?"""
    return name.endswith(PACKED)


def rotated(base: str, name: str) -> Rank | None:
    """The rank of `name` as a rotated form of `base`; None where it is something else."""
    if packed(name):
        name = name[: name.rindex(".")]
    if name.startswith(base):
        middle = name[len(base) :]
    else:
        stem, dot, extension = base.rpartition(".")
        if not stem or not name.startswith(stem) or not name.endswith(dot + extension):
            return None
        middle = name[len(stem) : -len(extension) - 1]
    if found := _NUMBER.fullmatch(middle):
        return Rank(NUMBER, -int(found[1]))
    if found := _DATE.fullmatch(middle):
        digits = re.sub(r"\D", "", found[1])
        return Rank(DATE, int(digits) if len(digits) == 10 else int(digits.ljust(14, "0")))
    return None


def unrotated(name: str, names: set[str]) -> bool:
    """Is `name` itself, not a rotated or compressed form of another one of `names`?"""
    if packed(name):
        return False
    # Not every other name is tried, for there may be thousands: a rotated form of a name is that name with
    # a number put behind it, or before its last dot.
    for end in {len(name), max(0, name.rfind("."))}:
        for begin in range(end - 1, 0, -1):
            base = name[:begin] + name[end:]
            if base in names and rotated(base, name):
                return False
    return True


def stem(base: str) -> str:
    """What names of a log's copies begin with."""
    return base.partition(".")[0] or base


def day(name: str) -> int | None:
    """Hours since 2000-01-01 of a day-named or hour-named file, growing with the name; None for others."""
    found = _DAY.fullmatch(name)
    if found is None:
        return None
    digits = name[: name.index(".")]
    year, month, date, hour = 2000 + int(found[1]), int(found[2]), int(found[3]), int(found[4] or 0)
    if month > 12 and len(digits) == 8:  # YYYYMMDD
        year, month, date, hour = int(digits[:4]), int(digits[4:6]), int(digits[6:]), 0
    if year < 2000 or not 1 <= month <= 12 or not 1 <= date <= 31 or hour > 23:
        return None
    days = (calendar.timegm((year, month, date, 0, 0, 0)) - 946684800) // 86400
    return days * 24 + hour


def is_glob(path: str) -> bool:
    """Does the path hold wildcards?"""
    return _GLOB.search(path) is not None
