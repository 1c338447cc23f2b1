"""The table `[growth]` of the settings."""

from __future__ import annotations

from typing import Any

from ..core.growth import Rules
from .detectors import duration
from .options import Growth
from .reading import Reading

KEYS = ("enabled", "every", "within", "times", "least_bytes", "least_messages", "learn", "spools")
AUTO, OFF = "auto", "off"
_PLACE, _ABOUT = ("growth",), "[growth]"


def growth(reading: Reading, table: dict[str, Any]) -> Growth:
    """What is read as `[growth]`. Mistakes become problems."""

    def seconds(name: str, least: float) -> float:
        return duration(reading, table.get(name, "0s"), (*_PLACE, name), _ABOUT, least) or least

    def number(name: str, least: int, most: int) -> int:
        value = table.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            reading.problem(
                (*_PLACE, name),
                f"{_ABOUT}: {name} must be a whole number from {least} to {most}",
                f"{value!r} is none",
            )
            return least
        return value

    before = len(reading.problems)
    every, within = seconds("every", 10.0), seconds("within", 60.0)
    if every > within / 2 and len(reading.problems) == before:
        reading.problem(
            (*_PLACE, "every"),
            f"{_ABOUT}: every is longer than half of within",
            "one measurement alone says nothing about a rate",
            "Shorten every, or lengthen within.",
        )
    if within > 3600.0:
        reading.problem(
            (*_PLACE, "within"),
            f"{_ABOUT}: within is longer than an hour",
            "what is normal is known by the hour",
        )
    rules = Rules(
        every,
        within,
        float(number("times", 2, 1000)),
        number("least_bytes", 1, 1 << 40),
        number("least_messages", 1, 1 << 30),
        seconds("learn", 86400.0),
    )
    return Growth(
        bool(reading.get(table, "enabled", bool, True, _PLACE, _ABOUT)), rules, _spools(reading, table)
    )


def _spools(reading: Reading, table: dict[str, Any]) -> tuple[str, ...]:
    found = reading.texts(table, "spools", _PLACE, _ABOUT)
    for text in found:
        if not text.startswith("/") and found not in ((AUTO,), (OFF,)):
            reading.problem(
                (*_PLACE, "spools"),
                f"{_ABOUT}: {text!r} is no folder",
                "it begins in no known folder",
                'Write "auto", "off", or a list of absolute paths.',
            )
    return () if found == (OFF,) else found
