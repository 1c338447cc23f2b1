"""`[detector.NAME]` tables to `Detector`s, checked: the one form in which thresholds are written.

Every problem of a table is told at once, each with its line. The cases of a detector are run when it is
read: a threshold that does not do what the case beside it says is a mistake like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..core.detectors import KEYS, WHO, BanRule, Case, Detector
from ..core.window import CONDITIONS
from ..model import FIELDS, KINDS, VALUE_FIELD
from ..notation import format_duration, parse_address, parse_duration
from .reading import Reading, near

TABLE = (
    "about",
    "on",
    "key",
    "count",
    "distinct",
    "within",
    "then",
    "who",
    "unless",
    "ban",
    "alert",
    "quiet",
    "enabled",
    "case",
)
_CASE = ("at", "fires", "values", "fields", "kind")
_BAN = ("first", "factor", "longest")
MOST_COUNT = 10_000
MOST_VALUES = 1_000
LONGEST_WINDOW = 90 * 86400.0
_MOST_CASE_EVENTS = 100_000
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_BY_SOURCES = frozenset(KEYS) - {"source"}  # keys whose different values are sources or networks

Keys = tuple[str | int, ...]


#: Seconds: no length of time is longer. What is over in a thousand years no clock can show.
LONGEST = 10_000 * 86400.0


def duration(reading: Reading, value: Any, keys: Keys, about: str, least: float = 0.0) -> float | None:
    """Seconds of a text like `10m`; a problem and None when it is none, less than `least`, or too
    long."""
    name = next(key for key in reversed(keys) if isinstance(key, str))
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None:
        reading.problem(
            keys,
            f"{about}: {name} must be a duration",
            f"{value!r} is none",
            'Write "90s", "10m", "1h30m", "7d".',
        )
        return None
    if seconds < least:
        instead = f'Write "{format_duration(least)}", or more.'
        reading.problem(keys, f"{about}: {name} must be at least {format_duration(least)}", instead=instead)
        return None
    if seconds > LONGEST:
        reading.problem(
            keys,
            f"{about}: {name} is too long",
            f"{value!r} is more than 27 years",
            'Write at most "10000d".',
        )
        return None
    return seconds


class DetectorReader:
    """Reads one `[detector.NAME]` table."""

    def __init__(
        self,
        reading: Reading,
        name: str,
        table: dict[str, Any],
        others: Iterable[str] = (),
        tried: bool = False,
    ):
        """`others`: the names of the shipped detectors, to guess what a misspelt one means. `tried`: an
        earlier run has tried its cases."""
        self.reading = reading
        self.others = [other for other in others if other != name]
        self.name = name
        self.tried = tried
        self.table = table
        self.at: Keys = ("detector", name)
        self.about = f"detector {name}"

    def problem(self, keys: Keys, what: str, why: str = "", instead: str = "") -> None:
        self.reading.problem((*self.at, *keys), f"{self.about}: {what}", why, instead)

    def read(self) -> Detector | None:
        """The detector; None when it is switched off, or wrong (then there are problems)."""
        before = len(self.reading.problems)
        reading, table = self.reading, self.table
        reading.keys(table, TABLE, self.at, self.about)
        if not NAME.match(self.name) or self.name == "administrator":
            self.problem(
                (),
                "this cannot be the name of a detector",
                "it stands in the text of every effect, where administrator is a person",
                "Write words of small letters and digits, joined by hyphens.",
            )
        if not reading.get(table, "enabled", bool, True, self.at, self.about):
            return None
        on = self._on()
        key = self._choice("key", KEYS, "")
        who = self._choice("who", WHO, "any")
        within = self._within()
        count = self._number("count", table.get("count", 0), 0, MOST_COUNT, ("count",))
        field, values = self._distinct(on, key)
        if not count and not values:
            self.problem((), "count or distinct is missing", "it would fire at nothing or at everything")
        then = self._then(on)
        unless = self._texts("unless", table.get("unless", {}), ("unless",))
        ban = self._ban(then)
        reading.get(table, "about", str, "", self.at, self.about)
        alert = reading.get(table, "alert", bool, False, self.at, self.about)
        if ban is None and not alert and "ban" not in self.reading_failed(before):
            self.problem(
                (), "neither bans nor alerts", instead='Add `ban = { first = "10m", ... }` or `alert = true`.'
            )
        quiet = 3600.0
        if "quiet" in table:
            quiet = duration(reading, table["quiet"], (*self.at, "quiet"), self.about) or 0.0
        cases = self._cases(on)
        if len(reading.problems) > before:
            return None
        assert within is not None
        detector = Detector(
            self.name,
            str(table.get("about", "")),
            on,
            key,
            within,
            count,
            field,
            values,
            then,
            who,
            tuple(sorted(unless.items())),
            ban,
            alert,
            quiet,
            cases,
            reading.document.where(*self.at),
        )
        if not self.tried:
            self._try(detector)
        return detector if len(reading.problems) == before else None

    def reading_failed(self, before: int) -> str:
        """What was said about this table so far."""
        return " ".join(problem.what for problem in self.reading.problems[before:])

    # ------------------------------------------------------------ keys

    def _on(self) -> tuple[str, ...]:
        if "on" not in self.table:
            from difflib import get_close_matches  # only for who misspelt something

            close = get_close_matches(self.name, self.others, 1, 0.6)
            instead = f"Did you mean the detector {close[0]}?" if close else ""
            self.problem((), "on is missing", "it names the kinds of events that count", instead)
            return ()
        kinds = self.reading.texts(self.table, "on", self.at, self.about)
        for kind in kinds:
            if kind not in KINDS:
                self.problem(("on",), f"there is no kind of event {kind!r}", instead=near(kind, KINDS))
        if not kinds and isinstance(self.table["on"], list):
            self.problem(("on",), "on is empty")
        return tuple(dict.fromkeys(kind for kind in kinds if kind in KINDS))

    def _choice(self, name: str, known: dict[str, str], default: str) -> str:
        value = self.table.get(name, default)
        if name not in self.table and not default:
            self.problem((), f"{name} is missing", instead=f"There are: {', '.join(known)}.")
        elif not isinstance(value, str) or value not in known:
            self.problem((name,), f"there is no {name} {value!r}", instead=near(str(value), known))
        return str(value)

    def _within(self) -> float | None:
        if "within" not in self.table:
            self.problem((), "within is missing", "without it old events would count for ever")
            return None
        within = duration(self.reading, self.table["within"], (*self.at, "within"), self.about, 1.0)
        if within is not None and within > LONGEST_WINDOW:
            self.problem(("within",), "within is longer than 90d", "windows are kept in memory")
            return None
        return within

    def _number(self, name: str, value: Any, least: int, most: int, keys: Keys) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.problem(keys, f"{name} must be a whole number from {least} to {most}", f"{value!r} is none")
            return least
        return value

    def _distinct(self, on: tuple[str, ...], key: str) -> tuple[str, int]:
        value = self.table.get("distinct")
        if value is None:
            return "", 0
        keys = ("distinct",)
        if not isinstance(value, dict):
            self.problem(keys, "distinct must be a table", instead='Write { field = "user", count = 4 }.')
            return "", 0
        self.reading.keys(value, ("field", "count"), (*self.at, *keys), self.about)
        count = self._number("distinct.count", value.get("count"), 2, MOST_VALUES, keys)
        field = value.get("field")
        if key not in KEYS:
            return str(field), count  # which fields fit depends on the key
        if key == "source":
            fit = {VALUE_FIELD[kind] for kind in on if kind in VALUE_FIELD}
            if on and (len(fit) != 1 or field not in fit):
                told = ", ".join(f"{kind} has {VALUE_FIELD.get(kind, 'none')}" for kind in on)
                self.problem(keys, f"distinct.field cannot be {field!r} by source", told)
        elif field not in ("source", "network"):
            self.problem(
                keys, f"distinct.field cannot be {field!r} by {key}", instead="There are: network, source."
            )
        return str(field), count

    def _then(self, on: tuple[str, ...]) -> str:
        value = self.table.get("then", "")
        if value == "" and "then" not in self.table:
            return ""
        if value not in KINDS:
            self.problem(("then",), f"there is no kind of event {value!r}", instead=near(str(value), KINDS))
        elif value != "auth_success":
            self.problem(("then",), "a sequence can only end with auth_success")
        return str(value)

    def _texts(self, name: str, value: Any, keys: Keys) -> dict[str, str]:
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            self.problem(keys, f"{name} must be a table of texts", instead='Write { sender = "" }.')
            return {}
        self.reading.keys(value, FIELDS, (*self.at, *keys), self.about)
        return value

    def _ban(self, then: str) -> BanRule | None:
        value = self.table.get("ban", False)
        if value is False:
            return None
        if not isinstance(value, dict):
            self.problem(
                ("ban",),
                "ban must be a table or false",
                instead='Write { first = "10m", factor = 4, longest = "7d" }.',
            )
            return None
        if then:
            self.problem(
                ("ban",),
                "a sequence cannot ban",
                "the password is known already; the account must be locked",
                "Remove ban and write `alert = true`.",
            )
        keys = (*self.at, "ban")
        self.reading.keys(value, _BAN, keys, self.about)
        times: dict[str, float] = {}
        for name in ("first", "longest"):
            if name not in value:
                self.problem(("ban",), f"ban.{name} is missing")
                continue
            seconds = duration(self.reading, value[name], (*keys, name), self.about, 1.0)
            if seconds is not None:
                times[name] = seconds
        factor = value.get("factor", 1)
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 100:
            self.problem(
                ("ban", "factor"), "ban.factor must be a number from 1 to 100", f"{factor!r} is none"
            )
            factor = 1
        if len(times) < 2:
            return None
        if times["longest"] < times["first"]:
            self.problem(("ban", "longest"), "ban.longest is shorter than ban.first")
        return BanRule(times["first"], float(factor), times["longest"])

    # ------------------------------------------------------------ cases

    def _cases(self, on: tuple[str, ...]) -> tuple[Case, ...]:
        cases = []
        for number, table in enumerate(self.reading.tables(self.table, "case", self.at, self.about)):
            keys: Keys = ("case", number)
            self.reading.keys(table, _CASE, (*self.at, *keys), f"{self.about}: case")
            at = self._times(table.get("at"), keys)
            values = self.reading.texts(table, "values", (*self.at, *keys), f"{self.about}: case")
            by_sources = str(self.table.get("key")) in _BY_SOURCES
            if by_sources and isinstance(self.table.get("distinct"), dict):
                for text in values:
                    if parse_address(text) is None:
                        self.problem(
                            (*keys, "values"), f"case: {text!r} is no address", "its sources are counted"
                        )
            fires = table.get("fires")
            when: float | None = None
            if fires is None or fires is True:
                self.problem(
                    keys, "case: fires is missing", instead='Write `fires = "240s"` or `fires = false`.'
                )
            elif fires is not False:
                when = duration(self.reading, fires, (*self.at, *keys, "fires"), f"{self.about}: case")
            kind = table.get("kind", "")
            if kind and kind not in on:
                self.problem((*keys, "kind"), f"case: {kind!r} is not among `on`")
            fields = self._texts("fields", table.get("fields", {}), (*keys, "fields"))
            if at:
                turn = tuple(values[i % len(values)] for i in range(len(at))) if values else ()
                where = self.reading.document.where(*self.at, *keys)
                cases.append(Case(at, when, turn, tuple(sorted(fields.items())), str(kind), where))
        return tuple(cases)

    def _times(self, value: Any, keys: Keys) -> tuple[float, ...]:
        about = f"{self.about}: case"
        if isinstance(value, dict):
            self.reading.keys(value, ("every", "times"), (*self.at, *keys, "at"), about)
            every = duration(self.reading, value.get("every"), (*self.at, *keys, "at", "every"), about)
            times = self._number(
                "case: times", value.get("times"), 1, _MOST_CASE_EVENTS, (*keys, "at", "times")
            )
            return () if every is None else tuple(every * number for number in range(times))
        if not isinstance(value, list) or not value:
            self.problem((*keys, "at"), "case: at must be a list of durations, or { every, times }")
            return ()
        found = [
            duration(self.reading, text, (*self.at, *keys, "at", n), about) for n, text in enumerate(value)
        ]
        return tuple(time for time in found if time is not None)

    def _try(self, detector: Detector) -> None:
        from ..core.cases import run_case  # most runs remember that all was well

        for number, case in enumerate(detector.cases):
            got = run_case(detector, case)
            if got == case.fires or (
                got is not None and case.fires is not None and abs(got - case.fires) < 1e-3
            ):
                continue
            said = "never fires" if case.fires is None else f"fires at {_told(case.fires)}"
            does = "does not fire" if got is None else f"fires at {_told(got)}"
            # A shipped case that a changed threshold made untrue is told where the threshold was changed.
            where = self.reading.document.where
            own: Keys = ("case", number)
            if where(*self.at).rpartition(":")[0] != case.where.rpartition(":")[0]:
                own = ()
            self.problem(
                own,
                f"its {_nth(number)} case says it {said}, but it {does}",
                instead="Change the thresholds, or write the cases of this detector anew beside them.",
            )


def _nth(number: int) -> str:
    return ("first", "second", "third")[number] if number < 3 else f"{number + 1}th"


def _told(seconds: float) -> str:
    whole = format_duration(seconds)
    return whole if abs(seconds - round(seconds)) < 1e-6 else f"{round(seconds * 1000)}ms"


def check_together(reading: Reading, detectors: list[Detector]) -> None:
    """What only several detectors can get wrong together."""
    unless: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for detector in detectors:
        if detector.unless:
            unless.setdefault(detector.key, set()).add(detector.unless)
            if len(unless[detector.key]) == len(CONDITIONS) + 1:
                reading.problem(
                    ("detector", detector.name, "unless"),
                    f"detector {detector.name}: too many different `unless` by {detector.key}",
                    f"each is one bit of a packed record; there are {len(CONDITIONS)}",
                    "Use the same `unless` as another detector, or switch one of them off.",
                )
