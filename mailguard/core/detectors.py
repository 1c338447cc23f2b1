"""Detectors: which events, counted how, over what window, by which key; events in, offences out.

Owns: the meaning of a `[detector.NAME]` table. A detector is a value; a `Lane` is the shared history of all
detectors with the same key, and says which of them an event made fire.
Never: knows about bans, standing or networks that must not be banned. Punishing is `policy`'s business.
Limits: three different `unless` conditions among the detectors of one key; 50 pieces of evidence an offence.

Keys other than the source (and its network) are text that a client may choose; an event is counted under
such a key only if the field was proved to be what the server wrote in that place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..model import KINDS, VALUE_FIELD, Event
from .marks import Marks
from .names import Hasher
from .networks import network_key, source_key, source_value
from .table import Row, Table
from .window import (
    CONDITIONS,
    HEAVY,
    KNOWN,
    LATENESS,
    MAX_WEIGHT,
    RECORD,
    SIZE,
    UNTRUSTED,
    Ask,
    History,
    Span,
    View,
    find,
    find_before,
    needs_of,
)

KIND_NAMES: tuple[str, ...] = tuple(KINDS)
KIND_NUMBER: dict[str, int] = {name: number for number, name in enumerate(KIND_NAMES)}

#: What a detector can count by, with a sentence for the manual.
KEYS: dict[str, str] = {
    "source": "the address (an IPv6 /64 is one source)",
    "network": "the /24 of an IPv4 address, the /48 of an IPv6 address",
    "user": "the login name",
    "user+network": "the login name together with the network it came from",
    "helo": "the HELO argument",
    "sender": "the envelope sender",
    "recipient_domain": "the domain of the envelope recipient",
}
#: Fields that must be there and proved, for each key.
KEY_FIELD = {
    "user": "user",
    "user+network": "user",
    "helo": "helo",
    "sender": "sender",
    "recipient_domain": "recipient",
}
SCOPES = ("auth", "mail", "all")
SCOPE_NUMBER = {name: number for number, name in enumerate(SCOPES)}
WHO: dict[str, str] = {
    "any": "everybody",
    "stranger": "not a user from a network where that user logged in before; "
    "not mail from a source in good standing",
    "known": "only a user from a network where that user logged in before; "
    "only mail from a source in good standing",
}
MAX_EVIDENCE = 50


class BanRule(NamedTuple):
    """How long: `first` seconds, each further ban of the same network `factor` times longer, at most
    `longest`.
    """

    first: float
    factor: float
    longest: float


class Case(NamedTuple):
    """A test of a threshold: events at these times, and when the detector must fire (None: never)."""

    at: tuple[float, ...]
    fires: float | None
    values: tuple[str, ...] = ()  # the field that is counted, one for each event
    fields: tuple[tuple[str, str], ...] = ()
    kind: str = ""  # empty: the first of `on`
    where: str = ""


@dataclass(frozen=True, slots=True)
class Detector:
    """One `[detector.NAME]` table. Durations in seconds."""

    name: str
    about: str
    on: tuple[str, ...]
    key: str
    within: float
    count: int = 0  # events; 0: only `distinct` counts
    distinct: str = ""  # field whose different values count; "source" and "network" too
    values: int = 0  # how many different values
    then: str = ""  # a sequence: fires only at an event of this kind, after the others
    who: str = "any"
    unless: tuple[tuple[str, str], ...] = ()  # an event with all these field values does not count
    ban: BanRule | None = None
    alert: bool = False  # tell a person; with `ban` also when it bans
    quiet: float = 3600.0  # an alert about the same key is not repeated within this time
    cases: tuple[Case, ...] = ()
    where: str = ""  # file:line, for problems

    @property
    def value_form(self) -> str:
        """What a record of this detector's history carries as its value: "field" or "source"."""
        return "field" if self.key == "source" else "source"


class Fired:
    """What a lane found: who watched, the key, the records."""

    __slots__ = ("key", "span", "trusted", "view", "watch")

    def __init__(self, watch: Watch, key: int, view: View, span: Span, trusted: bool):
        self.watch = watch
        self.key = key
        self.view = view
        self.span = span
        self.trusted = trusted


class Watch:
    """A detector made ready for its lane: what to ask, and up to when each key's evidence is consumed."""

    __slots__ = ("ask", "detector", "least", "marks", "suspicions", "then", "told")

    def __init__(self, detector: Detector, condition: int, cap: int, track: bool):
        self.detector = detector
        mask, want = condition, 0
        if detector.who != "any":
            mask |= KNOWN
            want |= KNOWN if detector.who == "known" else 0
        self.ask = Ask(
            kinds=bytes(KIND_NUMBER[kind] for kind in detector.on),
            within=detector.within,
            count=detector.count,
            distinct=detector.values,
            by_network=detector.distinct == "network",
            mask=mask,
            want=want,
        )
        self.least = self.ask.least()
        self.then = KIND_NUMBER[detector.then] if detector.then else -1
        self.marks = Marks(f"mark/{detector.name}", cap, track)
        self.suspicions = Marks(f"suspicion/{detector.name}", cap, track)  # for evidence that may not ban
        self.told = Marks(f"told/{detector.name}", cap, track)  # silent until then

    def look(self, key: int, view: View, place: int) -> Fired | None:
        """Does the record at `place` complete something?"""
        mark = self.marks.get(key)
        span = find(view, place, self.ask, mark, False)
        if span is not None:
            return Fired(self, key, view, span, True)
        if view.suspicious:
            span = find(view, place, self.ask, max(mark, self.suspicions.get(key)), True)
            if span is not None:
                return Fired(self, key, view, span, False)
        return None

    def look_before(self, key: int, view: View, at: float) -> Fired | None:
        """Does an event at time `at`, which is not recorded itself, end a sequence?"""
        mark = self.marks.get(key)
        span = find_before(view, at, self.ask, mark, False)
        if span is not None:
            return Fired(self, key, view, span, True)
        span = find_before(view, at, self.ask, max(mark, self.suspicions.get(key)), True)
        return None if span is None else Fired(self, key, view, span, False)

    def consume(self, key: int, until: float, trusted: bool) -> None:
        """Evidence of the key up to time `until` has led to something and counts no more."""
        (self.marks if trusted else self.suspicions).set(key, until)


KeyOf = Callable[[Event], int | None]


def key_function(form: str, hasher: Hasher) -> KeyOf:
    """How an event's key of that form is found; None from it: the event has no such key."""

    def of_source(event: Event) -> int | None:
        return None if event.source is None else source_key(event.source)

    def of_network(event: Event) -> int | None:
        return None if event.source is None else network_key(event.source)

    def of_user(event: Event) -> int | None:
        user = event.fields.get("user")
        return hasher(user) if user and "user" in event.proved else None

    def of_user_network(event: Event) -> int | None:
        user = event.fields.get("user")
        if not user or event.source is None or "user" not in event.proved:
            return None
        return user_network(hasher(user), event.source)

    def of_domain(event: Event) -> int | None:
        recipient = event.fields.get("recipient")
        if not recipient or "recipient" not in event.proved:
            return None
        domain = recipient.rpartition("@")[2]
        return hasher(domain) if domain else None

    def of_field(event: Event) -> int | None:
        text = event.fields.get(form)
        return hasher(text) if text and form in event.proved else None

    return {
        "source": of_source,
        "network": of_network,
        "user": of_user,
        "user+network": of_user_network,
        "recipient_domain": of_domain,
    }.get(form, of_field)


def user_network(user: int, source: int) -> int:
    """One key for a hashed user together with the network of a packed address."""
    return (user ^ (network_key(source) % 0xFFFFFFFFFFFFFFC5) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF


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
        rows = [*self.history.table.changes(full)]
        for marks in self._marks:
            if full or marks.changed:
                rows += marks.changes(full)
        return rows
