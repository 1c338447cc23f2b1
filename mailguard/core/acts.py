"""Acts that several logs of one server tell: which of the tellers counts.

Owns: what the better log told lately, and the careful events that wait for it. A rule names the parsers that
tell its acts better (`covered_by`). Never: asks a clock.
Limits: what other logs told is remembered for an hour, of at most 100,000 sources and messages in two
generations.

A covered rule's line is no event where the better log tells the same: a dialogue log marks which address it
follows at which time, any other log tells messages by their ids. Logs are read one after the other, so a
covered event waits up to three seconds for the better one, where that log was seen lately; without it the
careful one counts. An act that counted already is not counted again when the better log comes later still.

A dialogue log that is being written shows every AUTH and MAIL FROM, also of sessions whose address it does
not know. What it did not see at that time did not happen: such an event never bans and speaks for nobody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from ..model import Event
from .rules import IGNORE, Parser
from .servers import Servers

WAIT = 3.0  # seconds that a covered event waits
PATIENCE = 600.0  # the same for a message's id in recorded logs
NEAR = 2.0  # seconds between the stamps of one act
ALIVE = 86400.0  # a log that said nothing for so long is taken for switched off
FRESH = 600.0  # a server is new for so long: nobody knows yet which of its logs are written
NEVER = float("inf")
_WRITTEN = 600.0  # a dialogue log that said something so lately shows what happens
_MEMORY = 3600.0
_CAP = 100_000
_TIMES = 256  # of one source
_MARKED = 600.0  # seconds whose marks a checkpoint keeps: results of sessions that go on come later
_MOST_MARKS = 2000
_NOBODY = frozenset("B0")


class _Side(NamedTuple):
    """What a rule's events mean here: of which server, told better by whom, and for whom they speak."""

    server: bytes
    better: tuple[str, ...]  # parsers
    parser: str
    covers: bool


class _Held(NamedTuple):
    """A careful event that waits for the better one."""

    due: float
    turn: int
    event: Event


class Memory:
    """Keys and when they were told, in two generations."""

    def __init__(self) -> None:
        self.young: dict[tuple[object, ...], list[float]] = {}
        self.old: dict[tuple[object, ...], list[float]] = {}
        self.turned = float("-inf")

    def add(self, key: tuple[object, ...], time: float) -> None:
        if time - self.turned > _MEMORY or len(self.young) >= _CAP // 2:
            self.old, self.young, self.turned = self.young, {}, time
        times = self.young.get(key)
        if times is None:
            times = self.young[key] = []
        if not times or times[-1] != time:
            times.append(time)
            if len(times) > _TIMES:
                del times[0]

    def latest(self, since: float, most: int) -> list[tuple[tuple[object, ...], float]]:
        """The keys of the young generation that were told since then, and when; at most so many."""
        found = [(key, times[-1]) for key, times in self.young.items() if times and times[-1] >= since]
        return sorted(found, key=lambda one: one[1])[-most:]

    def near(self, key: tuple[object, ...], time: float, within: float) -> bool:
        return any(abs(one - time) <= within for part in (self.young, self.old) for one in part.get(key, ()))

    def take(self, key: tuple[object, ...], time: float, within: float) -> bool:
        """As `near`, and what was found counts no more."""
        for part in (self.young, self.old):
            times = part.get(key, ())
            for at, one in enumerate(times):
                if abs(one - time) <= within:
                    del part[key][at]
                    return True
        return False


class Acts:
    """Who tells an act, and who tells it better."""

    def __init__(self, parsers: Sequence[Parser], servers: Servers, covering: bool):
        """`covering` False: every teller counts."""
        names = {parser.name for parser in parsers}
        self.better = {
            rule.full_name: tuple(name for name in rule.covered_by if name in names)
            for parser in parsers
            for rule in parser.rules
            if rule.covered_by and covering
        }
        self.tellers = frozenset(name for found in self.better.values() for name in found)
        self.covered = 0  # events that another log told better
        self.due = NEVER  # when the next of those that wait counts
        self._servers = servers
        self._dialogues = frozenset(parser.name for parser in parsers if parser.dialogue is not None)
        self.marked = bool(self._dialogues and self.better)
        self._sides: dict[tuple[str, str], _Side] = {}
        self._marks = Memory()  # (server, dialogue parser, source)
        self._ids = Memory()  # (server, parser, message id)
        self._counted = Memory()  # (server, source, kind): careful events that counted
        self._seen: dict[tuple[bytes, str], float] = {}  # server, parser: when it last told something
        self._since: dict[tuple[bytes, str], float] = {}  # ... and when first
        self._first: dict[bytes, float] = {}
        self.held: dict[int | None, list[_Held]] = {}  # by source
        self._turn = 0

    def __bool__(self) -> bool:
        """Whether an event waits."""
        return bool(self.held)

    def _side(self, event: Event) -> _Side:
        key = event.rule, event.log
        side = self._sides.get(key)
        if side is None:
            name = event.rule.partition("/")[0]
            if len(self._sides) >= _CAP:
                self._sides.clear()
            side = self._sides[key] = _Side(
                self._servers.of(event), self.better.get(event.rule, ()), name, name in self.tellers
            )
        return side

    # ------------------------------------------------------------ acts

    def covers(self, event: Event, now: float | None, clock: float) -> bool:
        """A careful event: True when it does not count, or not yet."""
        side = self._side(event)
        self._first.setdefault(side.server, event.time)
        if self._told(side, event):
            self.covered += 1
            return True
        fresh = event.time - self._first[side.server] <= FRESH
        if any(fresh or self._alive(side.server, name, event.time) for name in side.better):
            # Stamps say when a message began, and other logs when it was taken: recorded, that is far apart.
            patient = now is None and _number(event) and not self._dialogues.issuperset(side.better)
            due = (clock if now is None else now) + (PATIENCE if patient else WAIT)
            self._hold(due, event)
            return True
        self._count(side, event)
        return bool(side.covers) and not self.tells(event)

    def _told(self, side: _Side, event: Event) -> bool:
        number = _number(event)
        for name in side.better:
            if name in self._dialogues:
                if self._marks.near((side.server, name, event.source), event.time, NEAR):
                    return True
            elif number and self._ids.near((side.server, name, number), event.time, _MEMORY):
                return True
        return False

    def _alive(self, server: bytes, name: str, time: float) -> bool:
        return time - self._seen.get((server, name), float("-inf")) <= ALIVE

    def _unheard(self, side: _Side, event: Event) -> bool:
        """Whether a dialogue log that is written knows of nothing at that time that could be this act."""
        if event.kind == "session_aborted":
            return False  # who says nothing is heard by nobody
        for name in side.better:
            key = side.server, name
            if (
                name in self._dialogues
                and self._since.get(key, NEVER) <= event.time <= self._seen.get(key, -NEVER) + _WRITTEN
                and not self._marks.near((*key, None), event.time, NEAR)
            ):
                return True
        return False

    def _count(self, side: _Side, event: Event) -> None:
        """A careful event counts; the better ones that come later do not."""
        for name in side.better:
            self._counted.add((side.server, name, event.source, event.kind, _number(event)), event.time)

    def tells(self, event: Event) -> bool:
        """Something a better log tells: False when it is only a mark, or counted already."""
        side = self._side(event)
        server, name = side.server, side.parser
        self._seen[server, name] = max(event.time, self._seen.get((server, name), event.time))
        self._since[server, name] = min(event.time, self._since.get((server, name), event.time))
        if event.kind == IGNORE:
            self._marks.add((server, name, event.source), event.time)
            self._drop(event.source)
            return False
        number = _number(event)
        if number:
            self._ids.add((server, name, number), event.time)
            self._drop(event.source)
        for told in (number, "") if number else ("",):
            key = (server, name, event.source, event.kind, told)
            if self._counted.take(key, event.time, _MEMORY if told else NEAR):
                self.covered += 1
                return False
        return True

    # ------------------------------------------------------------ events that wait

    def _hold(self, due: float, event: Event) -> None:
        self._turn += 1
        self.held.setdefault(event.source, []).append(_Held(due, self._turn, event))
        self.due = min(self.due, due)

    def _drop(self, source: int | None) -> None:
        """Held events of a source that turn out to be told better count no more."""
        waiting = self.held.get(source)
        if waiting is None:
            return
        kept = [held for held in waiting if not self._told(self._side(held.event), held.event)]
        self.covered += len(waiting) - len(kept)
        if kept:
            self.held[source] = kept
        else:
            del self.held[source]

    def release(self, due: float) -> list[Event]:
        """The held events that count now, in the order in which they came."""
        if due < self.due:
            return []
        free: list[_Held] = []
        for source in list(self.held):
            waiting = self.held[source]
            free += [held for held in waiting if held.due <= due]
            kept = [held for held in waiting if held.due > due]
            if kept:
                self.held[source] = kept
            else:
                del self.held[source]
        self.due = min((held.due for part in self.held.values() for held in part), default=NEVER)
        found: list[Event] = []
        for held in sorted(free, key=lambda one: one.turn):
            event = held.event
            side = self._side(event)
            if event.may_ban and self._unheard(side, event):
                event = event._replace(may_ban=False)
            self._count(side, event)
            if not side.covers or self.tells(event):
                found.append(event)
        return found

    # ------------------------------------------------------------ the checkpoint

    def held_row(self) -> bytes | None:
        """The events that wait; None: none does."""
        every = sorted((one for part in self.held.values() for one in part), key=lambda one: one.turn)
        held = [[due, *event[:10], sorted(event.proved)] for due, _, event in every]
        return json.dumps(held, separators=(",", ":")).encode() if held else None

    def restore_held(self, row: bytes) -> None:
        """Take up what waited."""
        for due, *fields, proved in json.loads(row):
            self._hold(float(due), Event._make([*fields, frozenset(proved), b""]))

    def marks_row(self, clock: float) -> bytes | None:
        """What the dialogues told lately: the results of those sessions may stand behind the checkpoint."""
        latest = self._marks.latest(clock - _MARKED, _MOST_MARKS)
        told = [
            [server.decode("utf-8", "surrogateescape"), name, source, time]
            for (server, name, source), time in latest
            if isinstance(server, bytes)
        ]
        return json.dumps(told, separators=(",", ":")).encode() if told else None

    def restore_marks(self, row: bytes) -> None:
        """Take up what the dialogues told."""
        for server, name, source, time in json.loads(row):
            told = server.encode("utf-8", "surrogateescape"), name
            self._marks.add((*told, source), time)
            self._since[told] = min(time, self._since.get(told, time))
            self._seen[told] = max(time, self._seen.get(told, time))


def _number(event: Event) -> str:
    """The id of the event's message; "" where there is none: zeros stand for no message."""
    number = event.fields.get("message_id", "")
    return "" if set(number) <= _NOBODY else number
