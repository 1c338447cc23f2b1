"""Logs and queues that grow beyond what is normal for the hour of the week: what, by how much, and by whom.

The size of a log is measured live, by `Readings`. Where there are none (recorded logs, and what is read
before the first reading) it follows from the places of the events in it, at the times of their stamps: the
same logs give the same findings however they are read. How many messages wait in a folder only readings tell.

Owns: a profile for each thing (see `hours`), who was busy (see `causes`), and what grows right now.
Never: asks the time, looks at a file.
Limits: `MOST_THINGS` logs and folders; what comes beyond is not watched and counted in `left_out`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Any

from ..model import Alert, Effect, Event, Offence, Readings
from ..notation import format_address
from .causes import Causes
from .hours import Calendar, Normal
from .table import Row
from .things import OFFSET, Place, Rules, Thing, thing_of

__all__ = ["ALARMS", "BYTES", "HOURS", "MESSAGES", "Growth", "Rules", "thing_of"]

BYTES, MESSAGES = "bytes", "messages"
HOURS, ALARMS = "growth/hours", "growth/alarms"
DETECTOR = "growth"
MOST_THINGS, MOST_BEYOND = 200, 100_000
#: Live, between two readings: so many events are all looked at, then one of `STRIDE` (no pattern of a log has
#: its length), `TOGETHER` at once; nobody asks before the reading, and lines that decide must not wait.
ASKED, STRIDE, TOGETHER = 512, 7, 64
ENOUGH = 0.9  # of the time of learning: a few hours are always missed
WHOLE = 0.75  # of an hour must have been seen to learn from it
CREDIT = 2.0  # an hour in which it grew too much counts for no more than so many times the normal one
OVER_PEAK = 2.0  # what is told is also so many times the usual peak
HOUR, DAY = 3600.0, 86400.0
_TIME = Struct("<d")


class Growth:
    """Fed with events and readings; effects are alerts."""

    def __init__(self, rules: Rules, exists: Callable[[str], bool]):
        """`exists`: is this a login name of somebody here?"""
        self.rules = rules
        self._beyond: set[str] = set()  # names that are not watched, because there are so many
        self._told: list[Event] = []
        self._things: dict[str, Thing] = {}
        self._calendar = Calendar(rules.zone)
        self._names: dict[str, str] = {}
        self._causes = Causes(rules.within, exists, self._name)
        self.later: list[Event] = []  # live: to be counted together ...
        self.times = 1  # ... each for so many
        self.passed = 0  # events since the last reading
        self._hour: tuple[int, int] | None = None
        self._hour_steps = 0
        self.places: dict[str, Place] | None = {}  # by log; None: there are readings
        self.offset = 0
        self._clock = float("-inf")
        self._step_at = float("inf")
        self._changed: set[str] = set()  # alarms that a checkpoint does not have yet

    @property
    def left_out(self) -> int:
        """How many logs and folders are not watched."""
        return len(self._beyond)

    def _name(self, log: str) -> str:
        name = self._names.get(log)
        if name is None:
            if len(self._names) > 10 * MOST_THINGS:
                self._names.clear()
            name = self._names[log] = thing_of(log)
        return name

    def _thing(self, name: str, unit: str) -> Thing | None:
        thing = self._things.get(name)
        if thing is None:
            if len(self._things) >= MOST_THINGS:
                if len(self._beyond) < MOST_BEYOND:
                    self._beyond.add(name)
                return None
            thing = self._things[name] = Thing(unit)
        return thing

    # ------------------------------------------------------------ events

    def saw(self, events: Sequence[Event]) -> list[Effect]:
        """Events in the order in which they count."""
        effects: list[Effect] = []
        places, causes = self.places, self._causes
        if places is None:
            self._keep(events)
            return effects
        begin, clock = 0, self._clock
        for at, event in enumerate(events):
            time, log, position = event[1], event[6], event[7]
            if time > clock:
                if time >= self._step_at or clock == float("-inf"):
                    causes.saw(events[begin:at])  # a step tells who was busy until then
                    begin, self._clock = at, clock
                    effects += self._steps_until(time)
                clock = time
            place = places.get(log)
            if place is None:
                places[log] = Place(position)
            elif 0 <= position - place.position <= OFFSET:
                place.more += position - place.position
                place.position = position
            else:  # a new file, or that of another day
                place.position = position
                place.more += position & OFFSET
        causes.saw(events[begin:] if begin else events)
        self._clock = clock
        return effects

    def _keep(self, events: Sequence[Event]) -> None:
        """Live: those that tell who is busy; of a flood a part."""
        passed = self.passed
        self.passed = passed + len(events)
        if passed < ASKED:
            self.later += events
        else:
            if self.times == 1:
                self.count_later()
                self.times = STRIDE
            self.later += events[-(passed + self.offset) % STRIDE :: STRIDE]
        if len(self.later) >= TOGETHER:
            self.count_later()

    def count_later(self) -> None:
        """Count who was busy, of what was kept since the last time."""
        events, self.later = self.later, []
        self._causes.saw(events, self.times)

    def _steps_until(self, time: float) -> list[Effect]:
        """All steps that are due when an event of this time comes."""
        every, effects = self.rules.every, list[Effect]()
        if self._clock == float("-inf") or time - self._clock > HOUR + self.rules.within:
            self._gap()
            self._step_at = (time // every + 1) * every
            return effects
        while time >= self._step_at:
            effects += self._step(self._step_at)
            self._step_at += every
        return effects

    def _step(self, time: float) -> list[Effect]:
        self._turn_hour(time - self.rules.every)
        self._hour_steps += 1
        effects: list[Effect] = []
        pending: dict[str, int] = {}
        for log, place in (self.places or {}).items():
            if place.more and not place.journal:
                name = self._name(log)
                pending[name] = pending.get(name, 0) + place.more
            place.more = 0
        for name in sorted(pending.keys() - self._things.keys()):
            self._thing(name, BYTES)
        for name, thing in self._things.items():
            more = pending.get(name, 0)
            if thing.unit == BYTES and (more or thing.amount):
                thing.moved(time, more, self.rules.within)
                effects += self._judge(name, thing, time)
        return effects

    def _gap(self) -> None:
        """Nothing is known of the time that passed."""
        for thing in self._things.values():
            thing.cut()
        for place in (self.places or {}).values():
            place.more = 0
        self._hour, self._hour_steps = None, 0

    # ------------------------------------------------------------ readings

    def read(self, readings: Readings) -> list[Effect]:
        """The sizes of logs and how many messages wait, as of now."""
        time, effects = readings.time, list[Effect]()
        if self._clock == float("-inf") and any((one.since or 0.0) > time for one in self._things.values()):
            self._set_back(time)  # while the guard was away
        self.count_later()
        self.passed, self.times, self.offset = 0, 1, (self.offset + 1) % STRIDE
        if self.places is not None and readings.bytes:
            self.places = None
            self._gap()
        elif time < self._clock:
            self._set_back(time)
        self._clock = time
        self._turn_hour(time)
        for log, size in readings.bytes.items():
            if log in self._beyond:
                continue
            name = self._name(log)
            thing = self._thing(name, BYTES)
            if thing is None:
                continue
            before, last = thing.value, thing.read
            thing.value, thing.read = float(size), time
            if last and time - last > 3 * self.rules.every:
                # The guard slept, or could not read it: what came meanwhile may still be being read.
                thing.cut()
            elif before is None or size < before:
                thing.cut()
                thing.value = float(size)
            else:
                thing.moved(time, size - before, self.rules.within)
                effects += self._judge(name, thing, time)
        for name, count in readings.messages.items():
            thing = self._thing(name, MESSAGES)
            if thing is None:
                continue
            if 0.0 < time - thing.read <= HOUR:
                thing.seen += time - thing.read  # a slow folder is counted when it can be
            thing.amount, thing.read = float(count), time
            effects += self._judge(name, thing, time)
        return effects

    def _set_back(self, time: float) -> None:
        """The clock was set back: what is noted of the time after it never was."""
        self._gap()
        self._causes.restart()
        for name, thing in self._things.items():
            thing.read = min(thing.read, time)
            thing.calm = None
            if thing.since is not None:
                thing.since, thing.told = min(thing.since, time), min(thing.told, time)
                self._changed.add(name)

    def take(self) -> list[Event]:
        """What grew since the last call, as events."""
        told, self._told = self._told, []
        return told

    # ------------------------------------------------------------ judging

    def _judge(self, name: str, thing: Thing, time: float) -> list[Effect]:
        """Take a sample into the hour, and see whether it is too much."""
        amount = thing.amount
        thing.samples += 1
        thing.total += amount
        thing.peak = max(thing.peak, amount)
        if thing.began is None:
            thing.began = time
        normal = thing.hours.normal(self._calendar.hour(time)[1])
        if normal is None or thing.hours.learned * HOUR < self.rules.learn * ENOUGH:
            return []
        limit = self._limit(thing, normal)
        if amount >= limit:
            thing.calm, thing.grew = None, True
            if thing.since is None:
                thing.since = time
                self._changed.add(name)
            elif time - thing.told < DAY:
                return []
            thing.told = time
            return [self._alert(name, thing, normal, time)]
        if thing.since is not None and amount < limit / 2 and time - thing.began >= self.rules.within:
            if thing.calm is None:
                thing.calm = time
            elif time - thing.calm >= self.rules.within:
                thing.since = thing.calm = None
                self._changed.add(name)
        return []

    def _limit(self, thing: Thing, normal: Normal) -> float:
        usual = self.rules.times * normal.mean
        return max(normal.mean + self._least(thing), usual, OVER_PEAK * normal.peak)

    def _least(self, thing: Thing) -> float:
        return self.rules.least_bytes if thing.unit == BYTES else self.rules.least_messages

    def _alert(self, name: str, thing: Thing, normal: Normal, time: float) -> Alert:
        sources, accounts = self._causes.top(None)
        if thing.unit == BYTES:  # better: those in this very log, where it names any
            here = self._causes.top(name)
            sources, accounts = here[0] or sources, here[1] or accounts
        facts = [("normal", f"{normal.mean:.0f}")]
        if accounts:
            facts.append(("accounts", ", ".join(f"{who} {count}" for who, count in accounts)))
        if sources:
            facts.append(("sources", ", ".join(f"{format_address(who)} {count}" for who, count in sources)))
        first = time - self.rules.within if thing.unit == BYTES else time
        found = Offence(
            DETECTOR, name, first, time, int(thing.amount),
            kinds=("growth",), sources=tuple(who for who, _ in sources), of=thing.unit, facts=tuple(facts),
        )  # fmt: skip
        size = {"size": str(int(thing.amount))}
        self._told.append(Event("growth", time, None, f"growth/{thing.unit}", 1, size, name, 0))
        return Alert(found, time, "alert")

    # ------------------------------------------------------------ learning

    def _turn_hour(self, time: float) -> None:
        """When another hour has begun: learn from the one before, where most of it was seen."""
        hour = self._calendar.hour(time)
        if self._hour == hour:
            return
        before, self._hour = self._hour, hour
        placed = self.places is not None
        for name, thing in self._things.items():
            samples = self._hour_steps if placed and thing.unit == BYTES else thing.samples
            seen = thing.seen if thing.unit == MESSAGES else samples * self.rules.every
            if before is not None and samples and seen >= HOUR * WHOLE:
                self._learn(thing, before[1], thing.total / samples)
            thing.samples, thing.total, thing.peak, thing.seen = 0, 0.0, 0.0, 0.0
            thing.grew = thing.since is not None
            if not placed and thing.read and time - thing.read > HOUR:  # it is not there any more
                thing.cut()
                if thing.since is not None:
                    thing.since = thing.calm = None
                    self._changed.add(name)
        self._hour_steps = 0

    def _learn(self, thing: Thing, slot: int, mean: float) -> None:
        """Of an hour in which it grew too much is learned a little: what stays becomes normal within weeks,
        and what passes changes next to nothing."""
        peak = thing.peak
        if thing.grew and (normal := thing.hours.normal(slot)) is not None:
            least = self._least(thing)
            mean = min(mean, max(CREDIT * normal.mean, least))
            peak = min(peak, max(CREDIT * normal.peak, least))
        thing.hours.learn(slot, mean, peak)

    # ------------------------------------------------------------ what is known

    def status(self) -> dict[str, Any]:
        """For each thing: its unit, how much now, what is normal, since when it grows, and whether it is
        still being learned."""
        found = {}
        slot = None if self._hour is None else self._hour[1]
        for name, thing in sorted(self._things.items()):
            normal = None if slot is None else thing.hours.normal(slot)
            found[name] = {
                "unit": thing.unit,
                "amount": int(thing.amount),
                "normal": None if normal is None else int(normal.mean),
                "since": thing.since,
                "learning": thing.hours.learned * HOUR < self.rules.learn * ENOUGH,
            }
        return found

    def checkpoint(self, full: bool = False) -> Iterator[Row]:
        """Rows that changed since the last call, or all."""
        for name, thing in self._things.items():
            key = f"{thing.unit}\0{name}\0".encode("utf-8", "surrogateescape")
            for slot, value in thing.hours.rows(full):
                yield HOURS, key + bytes([slot]), value
            if name in self._changed or (full and thing.since is not None):
                yield ALARMS, key, None if thing.since is None else _TIME.pack(thing.since)
        self._changed.clear()

    def restore(self, table: str, key: bytes, value: bytes) -> None:
        """Take a row back."""
        slot = -1
        if table == HOURS and key:
            key, slot = key[:-1], key[-1]
        unit, _, name = key.removesuffix(b"\0").decode("utf-8", "surrogateescape").partition("\0")
        if unit not in (BYTES, MESSAGES) or (thing := self._thing(name, unit)) is None:
            return
        if table == HOURS:
            thing.hours.restore(slot, value)
        elif len(value) == _TIME.size:
            thing.since = thing.told = _TIME.unpack(value)[0]  # put right by the first reading
            thing.grew = True
