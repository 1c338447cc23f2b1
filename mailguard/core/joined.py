"""Sessions over several logs of one server, and acts that several of its logs tell.

Owns: which of two tellers of one act counts. No program's name stands here: a rule names the parsers that
tell its acts better (`covered_by`). Never: asks a clock; time is that of the lines, or what `now` was set to.
Limits: what other logs told is remembered for an hour, of at most 100,000 sources and messages in two
generations.

A covered rule's line is no event where the better log tells the same: a dialogue log marks which address it
follows at which time, any other log tells messages by their ids. Logs are read one after the other, so a
covered event waits up to three seconds for the better one, where that log was seen lately; without it the
careful one counts. An act that counted already is not counted again when the better log comes later still.

A dialogue log that is being written shows every AUTH and MAIL FROM, also of sessions whose address it does
not know. What it did not see at that time did not happen: such an event never bans and speaks for nobody.

Logs are of one server when their paths differ by the names of the logs alone (`log` in a definition).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..model import Event
from .items import Draft, family
from .rules import IGNORE, Parser
from .sessions import Sessions
from .suspects import Suspects

WAIT = 3.0  # seconds that a covered event waits
PATIENCE = 600.0  # the same for a message's id in recorded logs
NEAR = 2.0  # seconds between the stamps of one act
_ALIVE = 86400.0  # a log that said nothing for so long is taken for switched off
_WRITTEN = 600.0  # a dialogue log that said something so lately shows what happens
_FRESH = 600.0  # a server is new for so long: nobody knows yet which of its logs are written
_MEMORY = 3600.0
_CAP = 100_000
_TIMES = 256  # of one source
_NEVER = float("inf")
_HELD = b"\0held"
_SUSPECTS = b"\0suspects"
_MARKS = b"\0marks"
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


class _Memory:
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


class Joined(Sessions):
    """Sessions, and what several logs of one server tell of one act."""

    def __init__(
        self,
        parsers: Iterable[Parser],
        native: bool | None = None,
        *,
        covering: bool = True,
        track: bool = True,
    ):
        """`covering` False: every teller counts (for those who look at single lines). `track`: see
        `Sessions`."""
        parsers = tuple(parsers)
        super().__init__(parsers, native, track=track)
        self._parsers = {parser.name: parser for parser in parsers}
        self._better = {
            rule.full_name: tuple(name for name in rule.covered_by if name in self._parsers)
            for parser in parsers
            for rule in parser.rules
            if rule.covered_by and covering
        }
        self._covers = frozenset(name for names in self._better.values() for name in names)
        self._dialogues = frozenset(parser.name for parser in parsers if parser.dialogue is not None)
        #: For rules of shared sessions the host and declaration that begin their keys have to be replaced.
        self._shared: dict[str, tuple[tuple[bytes, bytes] | None, ...]] = {}
        for parser in parsers:
            declared = {kind.name: kind for kind in parser.sessions}
            for rule in parser.rules:
                shared = tuple(
                    (f"\0{parser.name}/{use.session}".encode(), f"\0/{use.session}".encode())
                    if declared[use.session].shared
                    else None
                    for use in rule.sessions
                )
                if any(shared):
                    self._shared[rule.full_name] = shared
        self.covered = 0  # events that another log told better
        self._clock = float("-inf")
        self._sides: dict[tuple[str, str], _Side] = {}
        self._marks = _Memory()  # (server, dialogue parser, source)
        self._ids = _Memory()  # (server, parser, message id)
        self._counted = _Memory()  # (server, source, kind): careful events that counted
        self._seen: dict[tuple[bytes, str], float] = {}  # server, parser: when it last told something
        self._since: dict[tuple[bytes, str], float] = {}  # ... and when first
        self._suspects = Suspects(parsers)
        self._first: dict[bytes, float] = {}
        self._held: dict[int | None, list[_Held]] = {}  # by source
        self._due = _NEVER  # when the next of them counts
        self._turn = 0
        #: Rules whose events are looked at here; all others go straight to the sessions.
        self._concerned = frozenset(
            rule.full_name
            for parser in parsers
            for rule in parser.rules
            if parser.name in self._covers
            or rule.full_name in self._better
            or rule.full_name in self._shared
            or rule.suspect
        ) | {f"{name}/" for name in self._dialogues}
        self._alone = self.join
        if self._better or self._shared or self._suspects.reach:
            self.join = self._join_all  # type: ignore[method-assign]

    # ------------------------------------------------------------ items

    def _join_all(self, drafts: Sequence[Event | Draft]) -> list[Event]:
        suspects = self._suspects
        if not self._held and not suspects and not self.concerns(drafts, self._concerned):
            return self._alone(drafts)
        found: list[Event] = []
        waiting: list[Event | Draft] = []
        better, covers, shared = self._better, self._covers, self._shared
        for item in drafts:
            event = item if type(item) is Event else item.event  # type: ignore[union-attr]
            rule = event.rule
            if suspects or rule in suspects.reach:
                judged = suspects.judge(event, self.now)
                if judged is not event:
                    item = judged if type(item) is Event else Draft(judged, item.keys)  # type: ignore[union-attr]
                    event = judged
            if event.time > self._clock:
                self._clock = event.time
            if self._held:
                waiting += self._release(self._clock if self.now is None else self.now)
            if rule in shared and type(item) is Draft:
                item = Draft(event, self._keys(rule, event.log, item.keys))
            if rule in better:
                if self._is_covered(event):
                    continue
            elif rule.partition("/")[0] in covers and not self._tells(event):
                continue
            waiting.append(item)
        found += self._alone(waiting)
        return found

    def _keys(self, rule: str, log: str, keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """The keys of shared sessions: of the server instead of the log, of nobody instead of the parser."""
        parser = self._parsers[rule.partition("/")[0]]
        host, server = family(log), self._server(parser, log)
        made: list[bytes] = []
        for key, names in zip(keys, self._shared[rule], strict=True):
            if names is not None and key.startswith(host + names[0]):
                key = server + names[1] + key[len(host) + len(names[0]) :]
            made.append(key)
        return tuple(made)

    @staticmethod
    def _server(parser: Parser, log: str) -> bytes:
        whole = family(log)
        for name in parser.logs:
            before, found, behind = whole.rpartition(name.encode())
            if found:
                return before + behind
        return whole

    def _side(self, event: Event) -> _Side:
        key = event.rule, event.log
        side = self._sides.get(key)
        if side is None:
            name = event.rule.partition("/")[0]
            server = self._server(self._parsers[name], event.log)
            if len(self._sides) >= _CAP:
                self._sides.clear()
            side = self._sides[key] = _Side(
                server, self._better.get(event.rule, ()), name, name in self._covers
            )
        return side

    # ------------------------------------------------------------ acts

    def _is_covered(self, event: Event) -> bool:
        """A careful event: True when it does not count, or not yet."""
        side = self._side(event)
        self._first.setdefault(side.server, event.time)
        if self._told(side, event):
            self.covered += 1
            return True
        fresh = event.time - self._first[side.server] <= _FRESH
        if any(fresh or self._alive(side.server, name, event.time) for name in side.better):
            # Stamps say when a message began, and other logs when it was taken: recorded, that is far apart.
            patient = self.now is None and _number(event) and not self._dialogues.issuperset(side.better)
            due = (self._clock if self.now is None else self.now) + (PATIENCE if patient else WAIT)
            self._hold(due, event)
            return True
        self._count(side, event)
        return bool(side.covers) and not self._tells(event)

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
        return time - self._seen.get((server, name), float("-inf")) <= _ALIVE

    def _unheard(self, side: _Side, event: Event) -> bool:
        """Whether a dialogue log that is written knows of nothing at that time that could be this act."""
        if event.kind == "session_aborted":
            return False  # who says nothing is heard by nobody
        for name in side.better:
            key = side.server, name
            if (
                name in self._dialogues
                and self._since.get(key, _NEVER) <= event.time <= self._seen.get(key, -_NEVER) + _WRITTEN
                and not self._marks.near((*key, None), event.time, NEAR)
            ):
                return True
        return False

    def _count(self, side: _Side, event: Event) -> None:
        """A careful event counts; the better ones that come later do not."""
        for name in side.better:
            self._counted.add((side.server, name, event.source, event.kind, _number(event)), event.time)

    def _tells(self, event: Event) -> bool:
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
        self._held.setdefault(event.source, []).append(_Held(due, self._turn, event))
        self._due = min(self._due, due)

    def _drop(self, source: int | None) -> None:
        """Held events of a source that turn out to be told better count no more."""
        waiting = self._held.get(source)
        if waiting is None:
            return
        kept = [held for held in waiting if not self._told(self._side(held.event), held.event)]
        self.covered += len(waiting) - len(kept)
        if kept:
            self._held[source] = kept
        else:
            del self._held[source]

    def _release(self, due: float) -> list[Event]:
        """The held events that count now, in the order in which they came."""
        if due < self._due:
            return []
        free: list[_Held] = []
        for source in list(self._held):
            waiting = self._held[source]
            free += [held for held in waiting if held.due <= due]
            kept = [held for held in waiting if held.due > due]
            if kept:
                self._held[source] = kept
            else:
                del self._held[source]
        self._due = min((held.due for part in self._held.values() for held in part), default=_NEVER)
        found: list[Event] = []
        for held in sorted(free, key=lambda one: one.turn):
            event = held.event
            side = self._side(event)
            if event.may_ban and self._unheard(side, event):
                event = event._replace(may_ban=False)
            self._count(side, event)
            if not side.covers or self._tells(event):
                found.append(event)
        return found

    def release(self, now: float) -> list[Event]:
        """Held events that count now: wall time is `now`."""
        return self._release(now) if self._held else []

    def next_release(self) -> float | None:
        """Wall time of the next held event, live; None: nothing waits."""
        return self._due if self._held and self.now is not None else None

    def flush(self) -> list[Event]:
        """All held events: nothing will come any more."""
        return self._release(_NEVER)

    # ------------------------------------------------------------ the checkpoint

    def snapshot(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]:
        """As for sessions, and the events that wait."""
        yield from super().snapshot(full)
        if self._better:
            every = sorted((one for part in self._held.values() for one in part), key=lambda one: one.turn)
            held = [[due, *event[:10], sorted(event.proved)] for due, _, event in every]
            yield _HELD, json.dumps(held, separators=(",", ":")).encode() if held else None
        if self._suspects.reach:
            yield _SUSPECTS, self._suspects.row()
        if self._dialogues and self._better:
            yield _MARKS, self._marks_row()

    def _marks_row(self) -> bytes | None:
        """What the dialogues told lately: the results of those sessions may stand behind the checkpoint."""
        latest = self._marks.latest(self._clock - _MARKED, _MOST_MARKS)
        told = [
            [server.decode("utf-8", "surrogateescape"), name, source, time]
            for (server, name, source), time in latest
            if isinstance(server, bytes)
        ]
        return json.dumps(told, separators=(",", ":")).encode() if told else None

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up the rows of a checkpoint."""
        others: list[tuple[bytes, bytes]] = []
        for key, value in rows:
            if key == _HELD:
                for due, *fields, proved in json.loads(value):
                    self._hold(float(due), Event._make([*fields, frozenset(proved), b""]))
            elif key == _MARKS:
                for server, name, source, time in json.loads(value):
                    told = server.encode("utf-8", "surrogateescape"), name
                    self._marks.add((*told, source), time)
                    self._since[told] = min(time, self._since.get(told, time))
                    self._seen[told] = max(time, self._seen.get(told, time))
            elif key == _SUSPECTS:
                self._suspects.restore(value)
            else:
                others.append((key, value))
        super().restore(others)


def _number(event: Event) -> str:
    """The id of the event's message; "" where there is none: zeros stand for no message."""
    number = event.fields.get("message_id", "")
    return "" if set(number) <= _NOBODY else number
