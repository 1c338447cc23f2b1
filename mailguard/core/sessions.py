"""What only several lines tell together, by declarations in the definitions. No program's name stands here.

Owns: the open sessions, bounded. Never: asks a clock; a session's age is counted in the time of the lines.
Limits: each declared session keeps at most `cap` of them, in two generations: a full young generation becomes
the old one, and what the old one still held is forgotten and counted (`evicted`). A session that is used
moves to the young.

What a rule can declare (see `SessionUse`):

open     starts a session (a new one, when the key was open already), which remembers the source and carried
fields;
         with `tally` an open one goes on
use      takes source and fields from the open session, remembers `carry`, adds to or takes off a counter
close    as use, then the session ends
tally    adds the weight of the line to a counter, and starts the session where none is open
less     takes a counter off the weight; with nothing left the event becomes `otherwise`, or none
once     an event only the first time in a session
must     no session, no event, for context kinds too

A line whose key is not whole (an optional slot of it is absent) has no session.
A hostile event without a source of its own needs an open session that has one; without, it makes no event and
is counted (`lost`): no certain session, no event.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any

from ..model import HOSTILE, Event
from . import native as twins
from .packed import Batch
from .rules import IGNORE, Parser, SessionKind, SessionUse
from .scanner import MOST_ATTEMPTS, Draft

#: Some of what was found in a log, as rows or as objects: from the one index up to the other.
Segment = tuple[Batch | list[Event | Draft], int, int]

_ROW = struct.Struct("<ddB17s")
_ONCE, _SOURCE = 1, 2
_words = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_BARE = b"[{},[],{},[]]"


def objects(segments: Sequence[Segment]) -> list[Event | Draft]:
    """What stands in segments, one behind the other."""
    found: list[Event | Draft] = []
    for part, begin, stop in segments:
        found += part.items(begin, stop) if isinstance(part, Batch) else part[begin:stop]
    return found


class _Open:
    """One open session."""

    __slots__ = ("fields", "opened", "proved", "saved", "seen", "source", "tallies", "used")

    def __init__(self, time: float):
        self.opened = time
        self.used = time
        self.source: int | None = None
        self.fields: dict[str, str] | None = None
        self.proved: frozenset[str] = frozenset()
        self.tallies: dict[str, int] | None = None
        self.seen: tuple[str, ...] = ()  # rules that had their one event
        self.saved = False  # a checkpoint has, or may have, a row of it


class _Store:
    """The open sessions of one declaration, in two generations."""

    __slots__ = ("cap", "changed", "evicted", "lifetime", "name", "old", "young")

    def __init__(self, name: str, kind: SessionKind, track: bool = True):
        self.name = name
        self.lifetime = kind.lifetime
        self.cap = max(2, kind.cap)
        self.young: dict[bytes, _Open] = {}
        self.old: dict[bytes, _Open] = {}
        self.evicted = 0
        #: those of the next checkpoint by key, None: gone; no dictionary: there will be none
        self.changed: dict[bytes, _Open | None] | None = {} if track else None

    def find(self, key: bytes, time: float) -> _Open | None:
        """The open session of that key, None where there is none, or it is over."""
        session = self.young.get(key)
        if session is None:
            if not self.old or key not in self.old:
                return None
            session = self.old.pop(key)
            self.put(key, session)
        if time - session.used > self.lifetime:
            self.drop(key)
            return None
        return session

    def start(self, key: bytes, time: float) -> _Open:
        """A new session, in place of one that may be open."""
        session = _Open(time)
        before = self.old.pop(key, None) or self.young.get(key)
        if before is not None:
            session.saved = before.saved
        else:
            session.saved = self.changed is not None and key in self.changed  # gone, not yet told
        self.put(key, session)
        return session

    def put(self, key: bytes, session: _Open) -> None:
        if len(self.young) >= self.cap // 2 and key not in self.young:
            limit = session.used - self.lifetime
            self.evicted += sum(other.used >= limit for other in self.old.values())
            if self.changed is not None:
                self.changed.update(dict.fromkeys(self.old))
            self.old = self.young
            self.young = {}
        self.young[key] = session

    def drop(self, key: bytes) -> None:
        session = self.young.pop(key, None) or self.old.pop(key, None)
        if self.changed is None:
            return
        if session is None or session.saved:
            self.changed[key] = None
        else:  # opened and closed between two checkpoints, as most are: no row of it was ever written
            self.changed.pop(key, None)

    def taken(self, pack: Callable[[_Open], bytes]) -> dict[bytes, bytes | None]:
        """What changed since the last call: the rows by key. (The compiled twin asks `pack` only for those
        that are not plain.)"""
        if not self.changed:
            return {}
        changed, self.changed = self.changed, {}
        rows: dict[bytes, bytes | None] = {}
        for key, session in changed.items():
            if session is not None:
                session.saved = True
            rows[key] = None if session is None else pack(session)
        return rows


class Sessions:
    """Joins drafts, in their order, into events."""

    def __init__(self, parsers: Iterable[Parser], native: bool | None = None, *, track: bool = True):
        """`native`: use the compiled twin, see `mailguard.core.native`. `track` False: there will be no
        checkpoint, so nobody remembers what changed."""
        twin = twins.choose("sessions", native)
        store = _Store if twin is None else twin.Store
        self.open: Callable[[float], _Open] = _Open if twin is None else twin.Open
        self.lost = 0  # hostile lines without a certain session
        self._stores: dict[str, _Store] = {}
        self._uses: dict[str, tuple[tuple[SessionUse, _Store], ...]] = {}
        for parser in parsers:
            for kind in parser.sessions:
                name = _name(parser, kind)
                if name not in self._stores:
                    self._stores[name] = store(name, kind, track)
            if parser.dialogue is not None:
                self._uses[f"{parser.name}/"] = ()  # its marks; see `joined`
            for rule in parser.rules:
                if rule.sessions:
                    names = {kind.name: _name(parser, kind) for kind in parser.sessions}
                    self._uses[rule.full_name] = tuple(
                        (use, self._stores[names[use.session]]) for use in rule.sessions
                    )
        self.now: float | None = None  # live: wall time of the batch
        self.compiled = twin is not None  # drafts go through the compiled twin
        #: what waits, by who keeps it, and the rules of which `join` asks more than `alone` (see `joined`)
        self.held: tuple[Sized, ...] = ()
        self.concerned: frozenset[str] = frozenset()
        #: joins rows without making objects of them; None: there is no compiled twin
        self._gatherer: Any = None
        self._joiner: Any = None
        if twin is not None:
            joiner = self._joiner = twin.Joiner(self)
            self.join, self.concerns = joiner.join, joiner.concerns  # type: ignore[method-assign]
            self._gatherer = twin.Gatherer(self, joiner)
        self.alone = self.join  # drafts that no other log concerns

    def __len__(self) -> int:
        return sum(len(store.young) + len(store.old) for store in self._stores.values())

    @property
    def evicted(self) -> int:
        """Sessions forgotten because too many were open."""
        return sum(store.evicted for store in self._stores.values())

    def join(self, drafts: Sequence[Event | Draft]) -> list[Event]:
        """The events of what the scanner found, in order. Events that need no session pass through."""
        events: list[Event] = []
        for draft in drafts:
            if type(draft) is Event:
                events.append(draft)
            else:
                event = self._join(draft)  # type: ignore[arg-type]
                if event is not None:
                    events.append(event)
        return events

    def gather(self, segments: Sequence[Segment]) -> Sequence[Event]:
        """The same of what stands in segments one behind the other. Of rows no object is made: what comes
        back makes its events when somebody asks for them."""
        if self._gatherer is None or not any(isinstance(found, Batch) for found, _, _ in segments):
            return self.join(objects(segments))
        told = self._gatherer.begin()
        for found, begin, stop in segments:
            if isinstance(found, Batch):
                self._gatherer.take(told, found, begin, stop)
            else:
                told.extend(self.join(found[begin:stop]))
        gathered: Sequence[Event] = told
        return gathered

    def gatherer_concerns(self, segments: Sequence[Segment]) -> bool:
        """Stands among these rows one of a rule that wants to be asked about as an object?"""
        gatherer = self._gatherer
        return gatherer is not None and any(
            isinstance(found, Batch) and gatherer.concerns(found, begin, stop)
            for found, begin, stop in segments
        )

    def concerns(self, drafts: Sequence[Event | Draft], rules: frozenset[str]) -> bool:
        """Is any of the drafts and events of one of these rules?"""
        return any((item[3] if type(item) is Event else item[0][3]) in rules for item in drafts)

    def release(self, now: float) -> list[Event]:
        """Events that waited until `now`; see `joined`."""
        return []

    def next_release(self) -> float | None:
        """When `release` has something to give; None: never."""
        return None

    def flush(self) -> list[Event]:
        """All events that wait: nothing will come any more."""
        return []

    def _join(self, draft: Draft) -> Event | None:
        event = draft.event
        kind, time, source, weight = event.kind, event.time, event.source, event.weight
        fields, proved = event.fields, event.proved
        said = True
        for (use, store), key in zip(self._uses[event.rule], draft.keys, strict=True):
            session = store.find(key, time) if key else None  # an absent slot: the line names no session
            if key and (session is None or not use.tally) and (use.action == "open" or use.tally):
                session = store.start(key, time)
            if use.once and session is not None:
                if event.rule in session.seen:
                    said = False
                else:
                    session.seen = (*session.seen, event.rule)
            if session is None:
                if use.must:
                    said = False
                continue
            if time > session.used:
                session.used = time
            if use.action == "open" or session.source is None:
                session.source = source if source is not None else session.source
            if source is None:
                source = session.source
            if use.less and session.tallies:
                weight -= session.tallies.get(use.less, 0)
            if use.tally:
                tallies = session.tallies = session.tallies or {}
                tallies[use.tally] = min(tallies.get(use.tally, 0) + max(0, event.weight), MOST_ATTEMPTS)
            if session.fields:
                fields = session.fields | fields
                proved = proved | session.proved
            if use.carry:
                carried = {name: fields[name] for name in use.carry if name in fields}
                if carried:
                    session.fields = (session.fields or {}) | carried
                    session.proved |= proved & carried.keys()
            if use.action == "close":
                store.drop(key)
            elif store.changed is not None:
                store.changed[key] = session
        if weight <= 0:
            kind = next((use.otherwise for use, _ in self._uses[event.rule] if use.otherwise), IGNORE)
            weight = 1
        if kind == IGNORE or not said:
            return None
        if source is None and kind in HOSTILE:
            self.lost += 1
            return None
        if (
            kind is event.kind
            and source is event.source
            and weight == event.weight
            and fields is event.fields
        ):
            return event
        line = event.line if kind in HOSTILE else b""
        return tuple.__new__(  # `_replace` takes four times as long
            Event,
            (
                kind,
                time,
                source,
                event.rule,
                weight,
                fields,
                event.log,
                event.position,
                event.scope,
                event.may_ban,
                proved,
                line,
            ),
        )

    # ------------------------------------------------------------ the checkpoint

    def snapshot(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]:
        """Rows that changed since the last snapshot (None: gone), or all that are open."""
        if not full:
            for prefix, rows in self.changes():
                for key, value in rows.items():
                    yield prefix + key, value
            return
        for name, store in self._stores.items():
            prefix = name.encode() + b"\0"
            if store.changed is not None:
                store.changed = {}
            for sessions in (store.old, store.young):
                for key, session in sessions.items():
                    session.saved = True
                    yield prefix + key, _pack(session)
        yield from self._waiting().items()

    def changes(self) -> list[tuple[bytes, dict[bytes, bytes | None]]]:
        """The same that changed: what all keys of these rows begin with, and the rows by the rest of it."""
        made = [
            (name.encode() + b"\0", store.taken(_pack))
            for name, store in self._stores.items()
            if store.changed
        ]
        if waiting := self._waiting():
            made.append((b"", waiting))
        return made

    def _waiting(self) -> dict[bytes, bytes | None]:
        """Further rows, in every snapshot; see `joined`."""
        return {}

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up the rows of a checkpoint. Rows of sessions that are no longer declared are left out."""
        found: list[tuple[float, bytes, _Store, _Open]] = []
        for row, value in rows:
            name, _, key = row.partition(b"\0")
            store = self._stores.get(name.decode("utf-8", "replace"))
            session = _unpack(value, self.open)
            if store is not None and session is not None:
                found.append((session.used, key, store, session))
        for _, key, store, session in sorted(found, key=lambda row: row[:2]):
            store.put(key, session)  # the latest used last: they are forgotten last
        for store in self._stores.values():
            if store.changed is not None:
                store.changed.clear()


def _name(parser: Parser, kind: SessionKind) -> str:
    """Whose sessions they are: a parser's, or of all that share them."""
    return f"/{kind.name}" if kind.shared else f"{parser.name}/{kind.name}"


def _pack(session: _Open) -> bytes:
    flags = _SOURCE if session.source is not None else 0
    row = _ROW.pack(session.opened, session.used, flags, (session.source or 0).to_bytes(17, "big"))
    if not session.fields and not session.tallies and not session.seen and not session.proved:
        return row + _BARE  # as most: the words are not looked for
    more = [session.fields or {}, sorted(session.proved), session.tallies or {}, session.seen]
    return row + _words(more).encode()


def _unpack(value: bytes, made: Callable[[float], _Open]) -> _Open | None:
    """None when the row is not one of ours (a newer or a damaged one)."""
    try:
        opened, used, flags, source = _ROW.unpack_from(value)
        fields, proved, tallies, seen = json.loads(value[_ROW.size :])
    except (struct.error, ValueError):
        return None
    session = made(opened)
    session.used = used
    session.source = int.from_bytes(source, "big") if flags & _SOURCE else None
    session.fields = dict(fields) or None
    session.proved = frozenset(proved)
    session.tallies = dict(tallies) or None
    session.seen = tuple(seen)
    session.saved = True
    return session
