"""Dialogue logs: what client and server said, each line under the context of its session and without a mark
of who said it. No program's name stands here; the words are a definition's (`dialogue_words`).

Owns: the way of a block's lines to the sessions of its log. Who speaks is settled in `dialogue_turns`, what
is told in `dialogue_events`, whose blocks they are in `dialogue_claims`.
Never: keeps a client's line.
Limits: what cannot be laid to one address for certain makes no event. Lines without the prefix of stamp and
context continue the line before them, whatever they look like, and tell nothing.

The address is that of the reply that follows the client's greeting word at once. A context whose beginning
was not seen makes no event until a session begins in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

from ..model import Block, Event
from .compiled import Entry
from .dialogue_claims import FIRST, parts_of
from .dialogue_log import HEAD, Log, Run
from .dialogue_state import CLIENT, SERVER, Open, Store, rows, unpack
from .dialogue_tagged import Tagged
from .dialogue_words import Machine
from .items import Item
from .rules import Parser
from .stamps import SECONDS

_HEARD = "-heard"  # the log of single lines
_FILES = 4  # of one log, whose ends are remembered
_HIGH = 40  # bits of a position below the day of a file


class Reader(Tagged):
    """Reads dialogue logs."""

    def __init__(
        self,
        parsers: Iterable[Parser],
        wanted: frozenset[str] | None = None,
        keep_lines: bool = False,
        covering: frozenset[str] = frozenset(),
    ):
        """`covering`: parsers whose sessions other logs tell as well; for those, marks are made."""
        parsers = tuple(parsers)
        self.machines = tuple(
            Machine(
                parser,
                tuple(Entry(rule, parser) for rule in parser.rules),
                wanted,
                parser.name in covering,
            )
            for parser in parsers
            if parser.dialogue is not None
        )
        self.wanted = wanted
        self.keep_lines = keep_lines
        self.lost = 0  # hostile lines of sessions whose address is not certain
        self._by_name = {machine.name: machine for machine in self.machines}
        self._logs: dict[str, Log] = {}
        self._restored: dict[bytes, list[tuple[bytes, bytes]]] = {}
        self._heard = 0  # bytes of single lines
        self.rules = {entry.full_name: entry.rule for one in self.machines for entry in one.entries}

    def __len__(self) -> int:
        """How many sessions are open."""
        return sum(len(log.store) for log in self._logs.values())

    @property
    def evicted(self) -> int:
        """Sessions forgotten because too many were open."""
        return sum(log.store.evicted for log in self._logs.values())

    # ------------------------------------------------------------ a block

    def _log(self, block: Block) -> Log:
        log = self._logs.get(block.log)
        if log is None:
            machines = tuple(one for one in self.machines if not block.parsers or one.name in block.parsers)
            parts = parts_of(block.log)
            named = tuple(one for one in machines if not set(one.parser.logs).isdisjoint(parts))
            log = self._logs[block.log] = Log(named or machines, block.timezone, block.log)
            for context, row in self._restored.pop(block.log.encode("utf-8", "surrogateescape"), ()):
                session = unpack(row, self._by_name)
                if session is not None and session.machine in log.machines:
                    log.store.put(context, session)
        log.stamps.arrive(block.arrival, block.live, block.year)
        file, before = block.position >> _HIGH, log.ends
        known = before.get(file)
        if known is not None and known[0] != block.position and not known[1]:
            log.store = Store(log.store.lifetime, log.store.cap)  # lines are missing: no turn is certain
        return log

    def scan(self, block: Block) -> list[Item]:
        """The events of a block of a dialogue log, in the order of the lines that settle them."""
        try:
            return self._scan(block)
        except BaseException as error:
            _silence(block, error)
            raise

    def _scan(self, block: Block) -> list[Item]:
        data, start, end = block.data, block.start, block.end
        if isinstance(data, memoryview):
            data, start, end = data[start:end].tobytes(), 0, end - start
        log = self._log(block)
        run = Run(block, data, start, end, log)
        first = FIRST.match(data, start, end)
        matches: Iterator[re.Match[bytes]] = HEAD.finditer(data, start, end)
        young = log.store.young
        lifetime = log.store.lifetime
        touched = log.store.touched
        last, time = log.last, log.time
        for match in chain((first,), matches) if first is not None else matches:
            stamp, context, head = match.groups()
            if stamp != last:
                dated = self._dated(log, stamp)
                if dated is None:
                    continue
                last, time = log.last, log.time = stamp, dated
                young = log.store.young  # the first stamp may bring the sessions of the day before
            session = young.get(context)
            if type(session) is not Open:
                session = self._unseen(run, context, head, match, time)
                young = log.store.young
                if session is None:
                    continue
            if time - session.used > lifetime:
                log.store.put(context, None)
                self._begin(run, context, match.start(3), match, time)
                continue
            touched.add(context)
            session.used = time
            turn = session.turn
            if turn == SERVER:
                code = session.machine.quick.get(head)
                if code is not None:
                    session.turn = CLIENT
                    answers = session.table.get(code)
                    if answers is not None:
                        self._answered(run, session, answers, match.start(3), time)
                    continue
            elif turn == CLIENT:
                verbs = session.machine.verbs.get(head)
                if verbs is not None and self._command(run, session, verbs, match.start(3)):
                    continue
            self._slow(run, context, session, head, match, time)
            young = log.store.young
        ends = log.ends
        while len(ends) >= _FILES and block.position >> _HIGH not in ends:
            del ends[next(iter(ends))]
        ends[block.position >> _HIGH] = (
            block.position + block.end - block.start,
            bool(block.cuts) and data.rfind(b"\n", start, end - 1) + 1 - start + block.start in block.cuts,
        )
        return run.found

    def _dated(self, log: Log, stamp: bytes) -> float | None:
        base, second = log.stamps.slashed(stamp[:17]), SECONDS.get(stamp[18:])
        if base is None or second is None:
            return None
        time = log.stamps.settle(base + second)
        if log.began is None:
            log.began = time
            self._follow_on(log, time)
        return time

    def _follow_on(self, log: Log, time: float) -> None:
        """A file of another day: the sessions of the one before go on in it."""
        for other in self._logs.values():
            near = 0 <= time - other.time <= log.store.lifetime
            if other is not log and other.family == log.family and near and len(other.store):
                log.store.take_over(other.store)
                log.text, log.began = other.text, other.began
                return

    # ------------------------------------------------------------ answers

    def names(self, parsers: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The dialogue parsers among those called `parsers`, () all."""
        return tuple(one.name for one in self.machines if not parsers or one.name in parsers)

    def spoken(self, line: bytes, parsers: tuple[str, ...] = ()) -> bool:
        """Whether a line that comes alone is of a dialogue log."""
        return bool(self.names(parsers)) and FIRST.match(line) is not None

    @staticmethod
    def prefix(line: bytes) -> bytes:
        """Stamp and context of a line: what of it may be shown."""
        match = FIRST.match(line)
        return b"" if match is None else line[: match.start(3)]

    def hear(self, line: bytes, arrival: float, timezone: str, parsers: tuple[str, ...]) -> Event | None:
        """The latest event that a line settles, after those that were heard before it."""
        data = line + b"\n"
        names = self.names(parsers)
        block = Block(
            _HEARD, data, 0, len(data), self._heard, arrival, False, True, (), timezone, None, names
        )
        self._heard += len(data)
        events = [one for one in self.scan(block) if isinstance(one, Event)]
        return events[-1] if events else None

    def begin(self, name: str) -> None:
        """What comes next of a log is read as if nothing of it had been read before."""
        self._logs.pop(name, None)

    def taken(self) -> dict[str, int]:
        """How many lines each rule took; rules that took none are left out."""
        entries = (entry for machine in self.machines for entry in machine.entries)
        return {entry.full_name: entry.count for entry in entries if entry.count}

    # ------------------------------------------------------------ the checkpoint

    def snapshot(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]:
        """Rows that changed since the last snapshot (None: gone), or all that are open."""
        for name, log in self._logs.items():
            prefix = name.encode("utf-8", "surrogateescape") + b"\0"
            for context, row in rows(log.store, full):
                yield prefix + context, row

    def restore(self, found: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up the rows of a checkpoint, once their logs are read again."""
        for key, row in found:
            name, _, context = key.rpartition(b"\0")
            self._restored.setdefault(name, []).append((context, row))


def _silence(block: Block, error: BaseException) -> None:
    """Whatever went wrong, its report shows no line: neither the block nor the variables of the calls."""
    if isinstance(block.data, bytearray):
        block.data[block.start : block.end] = b"*" * (block.end - block.start)
    trace = error.__traceback__
    while trace is not None:
        with suppress(RuntimeError):  # the caller's, which is still at work
            trace.tb_frame.clear()
        trace = trace.tb_next
