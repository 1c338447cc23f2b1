"""The options of the driver `epost` in an action definition. Pure: values in, problems or values out."""

from __future__ import annotations

from typing import Any

from mailguard.definitions.reading import Reading, near
from mailguard.notation import parse_duration

#: Options of the driver and their types.
OPTIONS: dict[str, type] = {
    "program": str,
    "tables": list,
    "effect": bool,
    "lock_time": str,
    "lock_time_smtp": str,
    "lock_time_pop": str,
    "lock_time_imap": str,
    "ipv6_prefixes": bool,
    "crlf": bool,
    "state": str,
}
TABLES = ("smtp", "pop", "imap")
UNKNOWN = "unknown"
#: Where the driver keeps the list of its own rows.
STATE = "/var/lib/mailguard-enforcer/epost.sqlite"
#: Seconds; a longer lock time would need times before 1601.
_LONGEST = 100 * 366 * 86400.0


def check(reading: Reading, options: dict[str, Any], about: str) -> None:
    """Note what is wrong with the options."""
    keys = ("options",)
    if not str(options.get("program", "")).startswith("/"):
        reading.problem(
            (*keys, "program") if "program" in options else keys,
            f"{about}: program must be the absolute path of a folder",
            "rejectsmtpip.dat and the other tables are looked for there",
            'program = "/usr/local/mta/bin"',
        )
    if "state" in options and not options["state"].startswith("/"):
        reading.problem((*keys, "state"), f"{about}: state must be an absolute path")
    tables = options.get("tables", list(TABLES))
    for table in tables:
        if table not in TABLES:
            reading.problem(
                (*keys, "tables"), f"{about}: there is no table {table!r}", instead=near(str(table), TABLES)
            )
    if not tables and not options.get("effect"):
        reading.problem((*keys, "tables"), f"{about}: without tables nothing would be blocked")
    for name in OPTIONS:
        if name.startswith("lock_time") and name in options and lock_time(options[name]) is False:
            reading.problem(
                (*keys, name),
                f"{about}: {name} is no length of time: {options[name]!r}",
                "it is E-Post's AuthLockOutTime, in minutes there",
                '"30m"; "0m" where rows stand for ever; "unknown".',
            )


def lock_time(text: str) -> float | bool | None:
    """Seconds, None for unknown, False for what is neither."""
    if text == UNKNOWN:
        return None
    seconds = parse_duration(text)
    return False if seconds is None or seconds > _LONGEST else seconds


def files(options: dict[str, Any]) -> list[str]:
    """The paths of the files that the driver writes beside E-Post's programs."""
    kinds = [*options.get("tables", TABLES), *(["effect"] if options.get("effect") else [])]
    names = {kind: f"reject{kind}ip.dat" for kind in TABLES} | {"effect": "effect.dat"}
    return [f"{options['program'].rstrip('/')}/{names[kind]}" for kind in kinds]


def arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The options as the driver takes them."""
    kinds = [table for table in TABLES if table in options.get("tables", TABLES)]
    locks = {}
    for kind in kinds:
        lock = lock_time(options.get(f"lock_time_{kind}", options.get("lock_time", UNKNOWN)))
        if isinstance(lock, float):
            locks[kind] = lock
    given: dict[str, Any] = {
        "program": options["program"],
        "kinds": [*kinds, "effect"] if options.get("effect") else kinds,
        "locks": locks,
        "prefixes": options.get("ipv6_prefixes", True),
        "crlf": options.get("crlf", False),
        "state": options.get("state", STATE),
    }
    return given
