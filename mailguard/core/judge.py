"""Scanner, sessions and engine behind one door: items in, effects out.

Owns: the order in which what several logs say is looked at: by each log's running maximum stamp, then by
the name of the log, then by the place in it. An event keeps its own stamp.
Never: asks the time; `now` comes with every call. Touches no file, no firewall.
Limits: the raw lines of at most 50,000 hostile events wait to be fetched as evidence; more are counted and
dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct
from typing import Any, Protocol, cast

from ..model import HOSTILE, Block, Changes, Effect, Event, Events, Item, Network, Part, Readings, Records
from ..notation import covers
from . import native, state
from .engine import Engine
from .growth import ALARMS, HOURS, Growth
from .networks import without
from .packed import Batch
from .requests import Requests
from .scanner import Draft
from .wanted import Answer

MOST_EVIDENCE = 50_000
ROWS_FROM = 4096  # bytes of a block from which on rows cost less than objects
_SESSION, _SPOKEN = "session", "dialogue"
_RUNNING, _ORDER = "running/stamps", "running/order"
_TIME = Struct("=d")


class Reader(Protocol):
    """What the judge asks of a scanner."""

    def scan(self, block: Block) -> list[Event | Draft]: ...

    def scan_records(self, records: Records) -> list[Event | Draft]: ...

    def running(self) -> dict[str, float]: ...

    def restore(self, running: dict[str, float], spoken: Sequence[tuple[bytes, bytes]] = ()) -> None: ...

    def spoken(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]: ...


class Joiner(Protocol):
    """What the judge asks of the sessions."""

    now: float | None  # live: wall time of the batch

    def join(self, drafts: Sequence[Event | Draft]) -> list[Event]: ...

    def snapshot(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]: ...

    def changes(self) -> list[tuple[bytes, dict[bytes, bytes | None]]]: ...

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None: ...

    def release(self, now: float) -> list[Event]: ...

    def next_release(self) -> float | None: ...

    def flush(self) -> list[Event]: ...


def newest(items: list[Event | Draft]) -> float:
    """The latest stamp among these, of which there is one at least."""
    return max([one.time if type(one) is Event else one.event.time for one in items])  # type: ignore[union-attr]


def hostile_of(events: Iterable[Event]) -> list[Event]:
    """Those of the kinds in HOSTILE."""
    return [event for event in events if event.kind in HOSTILE]


_twin: Any = native.load("sessions")
_newest: Callable[[list[Event | Draft]], float] = _twin.newest if _twin else newest
_hostile: Callable[[Iterable[Event]], list[Event]] = _twin.hostile_of if _twin else hostile_of


class Judge:
    """Items to effects."""

    #: a block as rows instead of objects, and what becomes of them, where both compiled twins are there
    _pack: Any = None
    _gather: Any = None
    _ways: Any = None

    def __init__(self, scanner: Reader, sessions: Joiner, engine: Engine, *, evidence: bool = True):
        """`evidence` False: nobody will fetch the hostile events, so none are kept (replay, benches)."""
        self.scanner = scanner
        self.sessions = sessions
        self.engine = engine
        self.requests = Requests(engine)
        self.growth: Growth | None = None  # watches over what logs and queues grow; None: nobody does
        self.evidence_dropped = 0
        self.observer: Any = None  # Callable[[Event], None]: sees every event, for reports; None: nobody
        self._keep = evidence
        if getattr(scanner, "native", False) and getattr(sessions, "compiled", False):
            self._pack, self._gather = scanner.pack, sessions.gather  # type: ignore[attr-defined]
            self._ways = scanner.ways  # type: ignore[attr-defined]
        self._evidence: list[Event] = []
        self._running: dict[str, float] = {}
        self._saved: dict[tuple[str, str], float] = {}

    # ------------------------------------------------------------ items

    def feed(self, items: list[Item], now: float) -> list[Effect]:
        """What follows from a batch of blocks, records and events; `now` is wall time in seconds."""
        self.sessions.now = now
        events = self._alone(items[0]) if len(items) == 1 else self.events(items)
        if self.growth is None:
            return self.engine.feed_many(events)
        seen = events if isinstance(events, list) or hasattr(events, "rows") else list(events)
        return self._grown(self.growth, items, cast(Sequence[Event], seen))

    def usual(self) -> Any:
        """The parts of which `native/turn.pyx` makes the usual turns, as they are now: of blocks that are no
        flood, while nobody looks at every event and readings tell what grows. None: `feed` is to be asked."""
        turn = native.load("turn")
        growth = self.growth
        if turn is None or self._pack is None or self.observer is not None:
            return None
        if growth is not None and growth.places is not None:
            return None
        evidence = self._evidence if self._keep else None
        return turn.Usual(
            self.scanner.scan,
            self._ways,
            _newest,
            self.sessions,
            self.engine,
            growth,
            self._running,
            evidence,
        )

    def _grown(self, growth: Growth, items: list[Item], events: Sequence[Event]) -> list[Effect]:
        """The effects of the events, and then what grew meanwhile."""
        effects = self.engine.feed_many(events)
        effects += growth.saw(events)
        for item in items:
            if type(item) is Readings:
                effects += growth.read(item)
        if grown := growth.take():
            effects += self.engine.feed_many(self._noted(grown))
        return effects

    def _alone(self, item: Item) -> Iterable[Event]:
        """What `events` makes of a batch of one item, as nearly every live one is: there is nothing to put
        in order."""
        if isinstance(item, Events) and self.observer is None and not self._keep:
            return item.events
        if not isinstance(item, Block):
            return self.events([item])
        if self._pack is not None and item.end - item.start >= ROWS_FROM and self.observer is None:
            found = self._pack(item)
            if isinstance(found, Batch):
                return self._rows(item.log, found)
        else:
            found = self.scanner.scan(item)
        if not found:
            return ()
        latest = _newest(found)
        self._running[item.log] = max(latest, self._running.get(item.log, latest))
        events = self.sessions.join(found)
        if self.observer is not None:
            return self._noted(events)
        if self._keep:
            self._keep_lines(_hostile(events))
        return events

    def _rows(self, log: str, batch: Batch) -> Sequence[Event]:
        """The same of many lines of a log, most of them without an object."""
        if not batch:
            return ()
        self._running[log] = batch.newest(self._running.get(log, float("-inf")))
        events: Sequence[Event] = self._gather([(batch, 0, len(batch))])
        if self._keep:
            told = getattr(events, "hostile", None)
            self._keep_lines([event for event in events if event[0] in HOSTILE] if told is None else told())
        return events

    def _keep_lines(self, hostile: list[Event]) -> None:
        room = MOST_EVIDENCE - len(self._evidence)
        if len(hostile) > room:
            self.evidence_dropped += len(hostile) - room
            hostile = hostile[:room]
        self._evidence += hostile

    def events(self, items: Iterable[Item]) -> Iterator[Event]:
        """The events of a batch in the order in which they count."""
        waiting: list[tuple[float, str, int, Event | Draft]] = []
        logs: set[str] = set()
        for item in items:
            if isinstance(item, Block):
                found, log = self.scanner.scan(item), item.log
            elif isinstance(item, Records):
                found, log = self.scanner.scan_records(item), item.log
            elif isinstance(item, Events):
                yield from self._join(waiting, logs)  # those came before, and these are in order already
                waiting, logs = [], set()
                yield from self._noted(item.events)
                continue
            else:
                continue
            logs.add(log)
            running = self._running.get(log, float("-inf"))
            for draft in found:
                event = draft if type(draft) is Event else draft.event  # type: ignore[union-attr]
                running = max(running, event.time)
                waiting.append((running, log, len(waiting), draft))
            if found:
                self._running[log] = running
        yield from self._join(waiting, logs)

    def _join(self, waiting: list[tuple[float, str, int, Event | Draft]], logs: set[str]) -> Iterator[Event]:
        if not waiting:
            return
        if len(logs) > 1:
            waiting.sort(key=lambda found: found[:3])
        yield from self._noted(self.sessions.join([found[3] for found in waiting]))

    def _noted(self, events: Iterable[Event]) -> Iterator[Event]:
        observer = self.observer
        for event in events:
            if observer is not None:
                observer(event)
            if self._keep and event.kind in HOSTILE:
                self._keep_lines([event])
            yield event

    def foretell(self, tell: Callable[[int, int, str, float], None]) -> None:
        """Say bans before they are decided, as far as possible; see `Engine.foretell`."""
        self.engine.foretell(tell)

    def keep_hostile(self) -> None:
        """Somebody fetches the hostile events, also where their lines are not kept."""
        self._keep = True

    def take_evidence(self) -> list[Event]:
        """The hostile events since the last call, with their raw lines where the scanner keeps them."""
        taken, self._evidence = self._evidence, []
        return taken

    # ------------------------------------------------------------ time and people

    def tick(self, now: float) -> list[Effect]:
        """Time has come to `now`. Bans end in the kernel by themselves, so there is nothing to ask for."""
        self.engine.turn_back(now)
        waited = self.sessions.release(now)
        return self.engine.feed_many(self._noted(waited)) if waited else []

    def next_deadline(self) -> float | None:
        """When `tick` has something to do without an event; None: never."""
        return self.sessions.next_release()

    def request(self, verb: str, args: dict[str, Any], now: float) -> tuple[list[Effect], Answer]:
        """Carry out what an administrator asks (see `requests`); effects and a plain answer."""
        if verb == "status":
            return [], {"ok": True, "id": "status", "args": {}, "status": self.status(now)}
        return self.requests.request(verb, args, now)

    @property
    def enforcing(self) -> bool:
        """Bans are real."""
        return self.engine.policy.enforcing

    @enforcing.setter
    def enforcing(self, enforcing: bool) -> None:
        self.engine.policy.enforcing = enforcing

    def allowed(self) -> list[Network]:
        """Networks of the allow list, for the firewall's `allowed` set; without what an administrator banned
        in them all the same, because that set is asked first.
        """
        entries = [network for network, _ in self.engine.allow]
        if not entries:
            return []
        forced = [held.ban.network for held in self.engine.bans if held.ban.offence is None]
        holes = [network for network in forced if any(covers(entry, network) for entry in entries)]
        return [piece for entry in entries for piece in without(entry, holes)]

    def explain(self, line: bytes, *args: Any, **named: Any) -> Any:
        """How a line is read; see `Scanner.explain`."""
        return self.scanner.explain(line, *args, **named)  # type: ignore[attr-defined]

    def status(self, now: float) -> Answer:
        """Counters, for `status` and for the watch over blindness."""
        engine = self.engine
        history = [lane.history for lane in engine.lanes]
        standing = [held.simulated for held in engine.bans if held.until > now]
        return {
            "mode": "enforce" if engine.policy.enforcing else "observe",
            "bans": standing.count(False),
            "simulated": standing.count(True),
            "newest": None if engine.clock == float("-inf") else engine.clock,
            **engine.counts,
            "keys": engine.keys(),
            "max_keys": engine.setup.max_keys,
            "evicted": sum(found.table.evicted for found in history),
            "evicted_strong": sum(found.table.evicted_strong for found in history),
            "folded": engine.folded,
            "late": sum(found.late for found in history),
            "standing": len(engine.book.sources),
            "users": len(engine.book.users),
            "refused_at_cap": engine.policy.refused_at_cap,
            "evidence_dropped": self.evidence_dropped,
        }

    # ------------------------------------------------------------ checkpoint

    def complete(self) -> None:
        """The next checkpoint is the last: it has also what others leave for later."""
        self.engine.book.settle_counts()

    def checkpoint(self, full: bool = False) -> Changes:
        """Rows that changed since the last call (`full`: all), for one transaction with the positions.

        If that transaction fails, the changes are lost to the next: it must be full.
        """
        made = state.save(self.engine, full)
        rows = made.rows
        if self.growth is not None:
            rows += self.growth.checkpoint(full)
        if full:
            rows += [(_SESSION, key, value) for key, value in self.sessions.snapshot(full)]
        else:
            made.parts += [Part(_SESSION, prefix, values) for prefix, values in self.sessions.changes()]
        rows += [(_SPOKEN, key, value) for key, value in self.scanner.spoken(full)]
        for table, running in ((_RUNNING, self.scanner.running()), (_ORDER, self._running)):
            for log, time in running.items():
                if full or self._saved.get((table, log)) != time:
                    self._saved[table, log] = time
                    rows.append((table, log.encode("utf-8", "surrogateescape"), _TIME.pack(time)))
        return made

    def restore(self, rows: Iterable[tuple[str, bytes, bytes]]) -> dict[str, Any]:
        """Go on where a checkpoint was; the stored facts about the whole, {} where there was none."""
        sessions: list[tuple[bytes, bytes]] = []
        spoken: list[tuple[bytes, bytes]] = []
        running: dict[str, float] = {}

        def others() -> Iterator[tuple[str, bytes, bytes]]:
            for name, key, value in rows:
                if name == _SESSION:
                    sessions.append((key, value))
                elif name == _SPOKEN:
                    spoken.append((key, value))
                elif name in (HOURS, ALARMS):
                    if self.growth is not None:
                        self.growth.restore(name, key, value)
                elif name in (_RUNNING, _ORDER):
                    log, time = key.decode("utf-8", "surrogateescape"), _TIME.unpack(value)[0]
                    self._saved[name, log] = time
                    (running if name == _RUNNING else self._running)[log] = time
                else:
                    yield name, key, value

        meta = state.restore(self.engine, others())
        self.sessions.restore(sessions)
        self.scanner.restore(running, spoken)
        if meta:
            self.enforcing = bool(meta["enforcing"])
        return meta
