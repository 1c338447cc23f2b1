"""Lanes: events in, what fires out.

Owns: the shared history of all detectors with one form of key, and which of them an event may concern; what
one event is worth as a record of it. The compiled twin is `native/lanes.pxi`.
Never: decides what follows from what fired.
Limits: three different `unless` conditions among the detectors of one lane.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..model import VALUE_FIELD, Event
from .detectors import SCOPE_NUMBER, Detector
from .keys import key_function
from .names import Hasher
from .networks import source_value
from .table import Row, Table
from .watches import Fired, Watch
from .window import (
    CONDITIONS,
    HEAVY,
    KNOWN,
    LATENESS,
    MAX_WEIGHT,
    RECORD,
    SIZE,
    UNTRUSTED,
    History,
    View,
    needs_of,
)


def _shortness(watch: Watch) -> float:
    """Sorts long bans before short ones and those before mere alerts."""
    return -watch.detector.ban.first if watch.detector.ban is not None else 0.0


def event_flags(event: Event, known: bool) -> int:
    """The flags that a record of the event has in every lane."""
    flags = SCOPE_NUMBER[event.scope]
    if not event.may_ban:
        flags |= UNTRUSTED
    if known:
        flags |= KNOWN
    if event.weight > 1:
        flags |= HEAVY
    return flags


class Lane:
    """The shared history of all detectors with one form of key, and those detectors."""

    def __init__(
        self, form: str, detectors: Sequence[Detector], table: Table, hasher: Hasher, track: bool = False
    ):
        self.form = form
        self.hasher = hasher
        self.key_of = key_function(form, hasher)
        self.conditions: list[tuple[int, tuple[tuple[str, str], ...]]] = []
        self.watches = [
            Watch(detector, self._condition(detector), table.cap, track) for detector in detectors
        ]
        self._marks = [
            marks for watch in self.watches for marks in (watch.marks, watch.suspicions, watch.told)
        ]
        self.history = History(table, needs_of(watch.ask for watch in self.watches))
        #: kind number -> watches that count it; where several fire at one event, the longest ban is the one
        self.counting: dict[int, list[Watch]] = {}
        #: kind number -> watches for which it completes a sequence
        self.completing: dict[int, list[Watch]] = {}
        #: kind number -> which events are worth a record: "any", "known" or "stranger"
        self.who: dict[int, str] = {}
        for watch in sorted(self.watches, key=_shortness):
            for kind in watch.ask.kinds:
                if watch.then < 0:
                    self.counting.setdefault(kind, []).append(watch)
                who = watch.detector.who
                self.who[kind] = who if self.who.get(kind, who) == who else "any"
            if watch.then >= 0:
                self.completing.setdefault(watch.then, []).append(watch)
        #: kind number -> the conditions that some detector of that kind asks about
        self.unless = {
            kind: tuple(
                (bit, unless)
                for bit, unless in self.conditions
                if any(kind in watch.ask.kinds and watch.ask.mask & bit for watch in self.watches)
            )
            for kind in self.who
        }
        #: kind number -> with fewer records than this, none of them heavy, nothing can fire
        self.least = {
            kind: min((watch.least for watch in self.counting.setdefault(kind, [])), default=1 << 30)
            for kind in self.who
        }

    def _condition(self, detector: Detector) -> int:
        if not detector.unless:
            return 0
        for bit, unless in self.conditions:
            if unless == detector.unless:
                return bit
        if len(self.conditions) == len(CONDITIONS):
            raise ValueError(
                f"more than {len(CONDITIONS)} different `unless` among the detectors by {self.form}"
            )
        bit = CONDITIONS[len(self.conditions)]
        self.conditions.append((bit, detector.unless))
        return bit

    def value(self, event: Event) -> int:
        """What the event's record carries as its value; 0: nothing."""
        if self.form != "source":
            return 0 if event.source is None else source_value(event.source)
        text = event.fields.get(VALUE_FIELD.get(event.kind, ""))
        return self.hasher[text] if text else 0

    def takes(self, kind: int, flags: int) -> bool:
        """Is an event of that kind with these flags worth a record here?"""
        who = self.who.get(kind)
        return who == "any" or (who is not None and (who == "known") == (flags & KNOWN != 0))

    def feed(
        self, key: int, event: Event, kind: int, flags: int, log: int, rule: int, clock: float
    ) -> Iterable[Fired]:
        """Record the event under `key`; what fires because of it, longest bans first.

        `flags` are those of `event_flags`. The caller says with `Watch.consume` what became of each.
        """
        if not self.takes(kind, flags):
            return ()
        for bit, unless in self.unless[kind]:
            fields, proved = event.fields, event.proved
            for name, value in unless:
                if fields.get(name) != value or name not in proved:
                    break
            else:
                flags |= bit
        weight = min(max(event.weight, 0), MAX_WEIGHT)
        buffer, place = self.history.add(
            key,
            RECORD.pack(event.time, event.position, self.value(event), log, rule, weight, kind, flags),
            event.time,
            clock,
        )
        size = len(buffer) // SIZE
        if size < self.least[kind] and max(buffer[31::SIZE]) < HEAVY:
            return ()
        view = View(buffer)
        newest = place == size - 1
        fired: list[Fired] = []
        for watch in self.counting[kind]:
            if newest and not view.may_hold(watch.ask, watch.least):
                continue
            if (found := watch.look(key, view, place)) is not None:
                fired.append(found)
        return fired

    def complete(self, key: int, kind: int, at: float) -> Iterable[Fired]:
        """What an event of that kind at time `at` makes of the key's history; the event is not recorded."""
        watches = self.completing.get(kind)
        if not watches:
            return ()
        buffer = self.history.table.get(key)
        if buffer is None:
            return ()
        view = View(buffer)
        return [found for watch in watches if (found := watch.look_before(key, view, at)) is not None]

    def forget(self, key: int) -> bool:
        """Drop all that is known about the key; True when something was."""
        for watch in self.watches:
            watch.marks.drop(key)
            watch.suspicions.drop(key)
            watch.told.drop(key)
        return self.history.table.drop(key) is not None

    def sweep(self, clock: float) -> int:
        """A piece of housekeeping; how many keys were looked at."""
        if self.history.table.begins:
            for watch in self.watches:
                oldest = clock - watch.detector.within - LATENESS
                watch.marks.tidy(oldest)
                watch.suspicions.tidy(oldest)
                watch.told.tidy(clock)
        return self.history.sweep(clock)

    def turn_back(self, newest: float) -> None:
        """Forget what a clock that was ahead stamped after `newest`: it would hide what its keys do now."""
        self.history.turn_back(newest)
        for watch in self.watches:
            for marks in (watch.marks, watch.suspicions, watch.told):
                marks.turn_back(newest)

    def changes(self, full: bool) -> list[Row]:
        """Of all but the table."""
        rows: list[Row] = []
        for marks in self._marks:
            if full or marks.changed:
                rows += marks.changes(full)
        return rows
