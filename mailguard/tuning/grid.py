"""Which settings of a detector are tried: a bounded grid of counts, windows, keys and lengths of bans.

The present setting is always one of them, and the first. What does not fit together (a key by which a field
cannot be counted) or what the settings would refuse (a window longer than the retention) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ..core.detectors import KEYS, BanRule, Detector
from ..definitions.detectors import LONGEST_WINDOW, MOST_COUNT, MOST_VALUES
from ..notation import format_duration, parse_duration

#: What can be swept, and what its values are.
AXES: dict[str, str] = {
    "count": "events",
    "distinct": "different values",
    "within": "length of the window",
    "key": "what is counted by",
    "ban": "length of the first ban",
}
_TIMES = (0.4, 0.6, 1.5, 2.5)  # of a count
_LADDER = (
    60.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
    6 * 3600.0,
    86400.0,
    2 * 86400.0,
    7 * 86400.0,
    14 * 86400.0,
    30 * 86400.0,
)
_BANS = (6.0, 36.0)  # times the present first ban

Value = int | float | str
Axes = dict[str, list[Value]]


class GridError(Exception):
    """An axis that cannot be; `id` and `arguments` are those of a text."""

    def __init__(self, what: str, **args: Any):
        super().__init__(what)
        self.id, self.arguments = what, args


@dataclass(frozen=True, slots=True)
class Grid:
    """The settings of one detector to try; the first is the present one."""

    detector: Detector
    axes: Mapping[str, Sequence[Value]]
    variants: Sequence[Detector]
    refused: int = 0  # combinations that cannot be


def parse_axis(text: str) -> tuple[str, list[Value]]:
    """`count=3,5,8` as a name and values. Raises GridError."""
    name, equals, rest = text.partition("=")
    if not equals or name not in AXES:
        raise GridError("axis", text=text, axes=", ".join(AXES))
    values = [_value(name, one.strip()) for one in rest.split(",")]
    return name, list(dict.fromkeys(values))


def _value(name: str, text: str) -> Value:
    if name in ("count", "distinct"):
        least, most = (1, MOST_COUNT) if name == "count" else (2, MOST_VALUES)
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise GridError("number", axis=name, text=text, least=least, most=most)
        return int(text)
    if name == "key":
        if text not in KEYS:
            raise GridError("key", text=text, keys=", ".join(KEYS))
        return text
    seconds = parse_duration(text)
    if seconds is None or seconds < 1:
        raise GridError("duration", axis=name, text=text)
    return seconds


def present(detector: Detector) -> dict[str, Value]:
    """The present value of each axis that the detector has."""
    found: dict[str, Value] = {}
    if detector.count:
        found["count"] = detector.count
    if detector.values:
        found["distinct"] = detector.values
    found |= {"within": detector.within, "key": detector.key}
    if detector.ban is not None:
        found["ban"] = detector.ban.first
    return found


def usual(detector: Detector) -> Axes:
    """The axes that are swept when nobody says which."""
    axes: Axes = {}
    main = "count" if detector.count else "distinct"
    least = 1 if main == "count" else 2
    now = present(detector)
    number = int(now[main])
    axes[main] = sorted({number, *(max(least, 2, round(number * times)) for times in _TIMES)})
    axes["within"] = _around(detector.within)
    if _can_be_keyed(detector, "network") and _can_be_keyed(detector, "source"):
        axes["key"] = ["source", "network"]
    if detector.ban is not None:
        first = detector.ban.first
        axes["ban"] = [first, *(first * times for times in _BANS)]
    return axes


def _around(within: float) -> list[Value]:
    """The window with two shorter and two longer ones."""
    shorter = [one for one in _LADDER if one < within][-2:]
    longer = [one for one in _LADDER if one > within][:2]
    return [*shorter, within, *longer]


def _can_be_keyed(detector: Detector, key: str) -> bool:
    """Does counting by that key make sense for what it counts?"""
    if detector.key == key:
        return True
    if detector.distinct:
        return False  # by source it counts a field, by any other key sources or networks
    return {detector.key, key} == {"source", "network"}


def variant(detector: Detector, chosen: Mapping[str, Value]) -> Detector:
    """The detector with these values. Its cases speak of other thresholds and are left out."""
    ban = detector.ban
    if ban is not None and "ban" in chosen:
        first = float(chosen["ban"])
        ban = BanRule(first, ban.factor, max(first, ban.longest))
    made = replace(
        detector,
        count=int(chosen.get("count", detector.count)),
        values=int(chosen.get("distinct", detector.values)),
        within=float(chosen.get("within", detector.within)),
        key=str(chosen.get("key", detector.key)),
        ban=ban,
    )
    return detector if made == detector else replace(made, cases=())


def make(detector: Detector, asked: Mapping[str, Sequence[Value]], most: int, retention: float) -> Grid:
    """The grid over `asked` (nothing: the usual axes), of at most `most` settings: then the values of the
    usual axes that are furthest from the present are left out.

    Raises GridError for an axis that the detector has not, or for more settings than `most` where the axes
    were asked for."""
    now = present(detector)
    for name in asked:
        if name not in now:
            raise GridError("no-axis", axis=name, detector=detector.name, axes=", ".join(now))
    axes: Axes = {name: list(values) for name, values in asked.items()} if asked else usual(detector)
    for name, values in axes.items():
        if now[name] not in values:
            values.append(now[name])
            values.sort(key=lambda value: (isinstance(value, str), value))
    while _size(axes) > most:
        if asked:
            raise GridError("many", count=_size(axes), most=most)
        _thin(axes, now)
    variants, refused = {detector: None}, 0
    for combined in product(*axes.values()):
        chosen = dict(zip(axes, combined, strict=True))
        made = variant(detector, chosen)
        longest = max(made.within, made.ban.longest if made.ban else 0.0)
        if (
            not _can_be_keyed(detector, made.key)
            or made.within > LONGEST_WINDOW
            or (retention and longest > max(retention, detector.within))
        ):
            refused += 1
            continue
        variants[made] = None
    return Grid(detector, axes, list(variants), refused)


def _size(axes: Mapping[str, Sequence[Value]]) -> int:
    size = 1
    for values in axes.values():
        size *= len(values)
    return size


def _thin(axes: Axes, now: Mapping[str, Value]) -> None:
    """Leave out one value of the longest axis: the first or the last, whichever is further from now."""
    name = max(axes, key=lambda one: (len(axes[one]), one))
    values = axes[name]
    at = values.index(now[name])
    values.pop(0 if at > len(values) - 1 - at else -1)


def shown(name: str, value: Value) -> str:
    """A value of an axis as the settings write it."""
    if name in ("within", "ban"):
        return format_duration(float(value))
    return str(value)


def changed(detector: Detector, other: Detector) -> dict[str, Value]:
    """What `other` changes, by axis."""
    now, then = present(detector), present(other)
    return {name: value for name, value in then.items() if now.get(name) != value}
