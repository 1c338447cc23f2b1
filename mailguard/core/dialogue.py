"""Dialogue logs: what client and server said, each line under the context of its session and without a mark
of who said it. No program's name stands here; the words are a definition's (`dialogue_words`).

Owns: who speaks. Client and server take turns, and the server answers every line before it reads the next; so
a line's place tells whose it is, and its look does not: a client can send what looks like a reply, a trace,
the end of its session or the beginning of the next.
Never: keeps a client's line. What answers a challenge, and what is no command, is blotted out in the block.
Limits: what cannot be laid to one address for certain makes no event. Lines without the prefix of stamp and
context continue the line before them, whatever they look like, and tell nothing.

Where the look of a line in the client's place leaves two readings, the next line of that context decides:

a trace or an end    when a reply follows, the client wrote it; else it is what it seems
a greeting           is followed under both readings, one turn apart, until the lines refute one of them:
                     what happened meanwhile counts only for the one that is left
another address      as the answer to a greeting word, in the client's place: when no reply follows, lines are
                     missing or were slipped in, and none of the addresses counts any more

The address is that of the reply that follows the client's greeting word at once. A context whose beginning
was not seen makes no event until a session begins in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from ..model import HOSTILE, Block, Event
from ..notation import parse_address
from .compiled import Captures, Entry
from .dialogue_decoders import DECODERS
from .dialogue_state import (
    ANSWER,
    CLIENT,
    MAYBE,
    ODD,
    RIVAL,
    SERVER,
    TEXT,
    Held,
    Open,
    Rivals,
    Store,
    rows,
    unpack,
)
from .dialogue_words import (
    ASKS,
    ENDS,
    GOES_ON,
    GREETS,
    MARK,
    MESSAGE,
    READS,
    TRACES,
    Answer,
    Command,
    Machine,
)
from .items import Draft, Item, family
from .rules import IGNORE, Parser, decode
from .stamps import SECONDS, Stamps

_PREFIX = rb"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d)\], ?([0-9A-Fa-f]{8,16}), ?([^\r\n]{0,4})"
_HEAD = re.compile(rb"\n" + _PREFIX)
_FIRST = re.compile(_PREFIX)
_BOUNDARY = frozenset(b" \t\r\n:")
_SERVES, _CONTEST, _REFUSED = "serves", "contest", "refused"
_HEARD = "-heard"  # the log of single lines
_BEGINNING = 16384  # bytes of a block in which is looked what it is: all of each would be looked through
_TELLING, _SILENT = _BEGINNING, 16  # so many blocks of that size without a stamp: it is no dialogue log
_LOGS = 1024  # logs whose kind is remembered
_FILES = 4  # of one log, whose ends are remembered
_HIGH = 40  # bits of a position below the day of a file
_SHOWN = 512  # bytes of a reply that evidence shows
_new = tuple.__new__


def _parts(log: str) -> set[str]:
    """Names of folders in a log's path, and of its file without what stands behind a dot."""
    return {part.partition(".")[0] for part in re.split(r"[/\\]", log.lower())}


def is_spoken(data: bytes) -> bool | None:
    """Whether the beginning of a log is that of a dialogue log; None: nothing in it tells."""
    first = 0 if data.startswith(b"[") else data.find(b"\n[") + 1
    return _FIRST.match(data, first) is not None if first or data.startswith(b"[") else None


class _Log:
    """What is known about one dialogue log."""

    __slots__ = (
        "began", "ends", "family", "last", "machines", "stamps", "store", "stranger", "text", "time",
    )  # fmt: skip

    def __init__(self, machines: tuple[Machine, ...], zone: str, name: str):
        self.machines = machines
        self.family = family(name)
        self.stamps = Stamps(zone)
        self.store = Store(
            max([one.dialogue.lifetime for one in machines]), max([one.dialogue.cap for one in machines])
        )
        self.text = False  # the lines of messages are logged too: a lone dot was seen
        self.began: float | None = None
        self.stranger = -1.0  # the second in which the latest line of a session that is not followed was told
        self.last = b""  # the latest stamp as text ...
        self.time = 0.0  # ... and its time
        self.ends: dict[int, tuple[int, bool]] = {}  # where the latest block of a file ended; in a cut line


class _Run:
    """One block being read."""

    __slots__ = ("base", "block", "data", "end", "found", "log", "mutable", "store")

    def __init__(self, block: Block, data: Any, start: int, end: int, log: _Log):
        self.block = block
        self.data = data
        self.end = end
        self.base = block.position - start
        self.log = log
        self.store = log.store
        self.mutable = isinstance(data, bytearray)
        self.found: list[Item] = []

    def stop(self, at: int) -> int:
        """Where the text that begins at `at` ends, without its line end."""
        stop = self.data.find(b"\n", at, self.end)
        stop = self.end if stop < 0 else stop
        while stop > at and self.data[stop - 1] == 13:
            stop -= 1
        return int(stop)

    def begins(self, words: tuple[bytes, ...], at: int) -> bool:
        """Whether one of `words` stands at `at`."""
        return bool(words) and bool(self.data.startswith(words, at))

    def blot(self, start: int, end: int) -> None:
        """Overwrite what may be secret, where the block can be written to."""
        if self.mutable and start < end:
            self.data[start:end] = b"*" * (end - start)


class Reader:
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
        self._others = {log for parser in parsers if parser.dialogue is None for log in parser.logs}
        self._logs: dict[str, _Log] = {}
        self._claims: dict[tuple[str, tuple[str, ...]], bool] = {}
        self._silent: dict[tuple[str, tuple[str, ...]], int] = {}  # logs: blocks that did not tell
        self._named: dict[str, bool | None] = {}  # logs: whether their names say that they are dialogue logs
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

    # ------------------------------------------------------------ whose block it is

    def claims(self, block: Block) -> bool:
        """Whether a block is of a dialogue log: nobody else may read it, since clients write in it."""
        if not self.machines:
            return False
        key = block.log, block.parsers
        known = self._claims.get(key)
        if known is None:
            known = self._claim(block)
            if known is None:
                if block.end - block.start < _TELLING:
                    return False
                silent = self._silent.get(key, 0) + 1
                if silent < _SILENT:
                    if len(self._silent) >= _LOGS:
                        self._silent.clear()
                    self._silent[key] = silent
                    return False
                known = False  # a dialogue log stamps its lines: no client fills that much between two stamps
            if len(self._claims) >= _LOGS:
                self._claims.clear()
            self._claims[key] = known
        return known

    def _claim(self, block: Block) -> bool | None:
        """None: nothing in the block tells."""
        if block.parsers:
            mine = [name in self._by_name for name in block.parsers]
            if all(mine) or not any(mine):
                return all(mine)
        if block.log not in self._named:
            if len(self._named) >= _LOGS:
                self._named.clear()
            self._named[block.log] = self._by_its_name(block.log)
        named = self._named[block.log]
        if named is not None:
            return named
        data, start, end = block.data, block.start, min(block.end, block.start + _BEGINNING)
        if not data.startswith(b"[", start) and data.find(b"\n[", start, end) < 0:
            return None  # nearly every block of a log that nothing tells of: not copied
        return is_spoken(bytes(data[start:end]))

    def _by_its_name(self, log: str) -> bool | None:
        parts = _parts(log)
        if any(not parts.isdisjoint(machine.parser.logs) for machine in self.machines):
            return True
        return None if parts.isdisjoint(self._others) else False

    def _log(self, block: Block) -> _Log:
        log = self._logs.get(block.log)
        if log is None:
            machines = tuple(one for one in self.machines if not block.parsers or one.name in block.parsers)
            parts = _parts(block.log)
            named = tuple(one for one in machines if not parts.isdisjoint(one.parser.logs))
            log = self._logs[block.log] = _Log(named or machines, block.timezone, block.log)
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

    # ------------------------------------------------------------ a block

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
        run = _Run(block, data, start, end, log)
        first = _FIRST.match(data, start, end)
        matches: Iterator[re.Match[bytes]] = _HEAD.finditer(data, start, end)
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

    def _dated(self, log: _Log, stamp: bytes) -> float | None:
        base, second = log.stamps.slashed(stamp[:17]), SECONDS.get(stamp[18:])
        if base is None or second is None:
            return None
        time = log.stamps.settle(base + second)
        if log.began is None:
            log.began = time
            self._follow_on(log, time)
        return time

    def _follow_on(self, log: _Log, time: float) -> None:
        """A file of another day: the sessions of the one before go on in it."""
        for other in self._logs.values():
            near = 0 <= time - other.time <= log.store.lifetime
            if other is not log and other.family == log.family and near and len(other.store):
                log.store.take_over(other.store)
                log.text, log.began = other.text, other.began
                return

    # ------------------------------------------------------------ contexts without an open session

    def _unseen(
        self, run: _Run, context: bytes, head: bytes, match: re.Match[bytes], time: float
    ) -> Open | None:
        """A line of a context that has no session among the young; the session where an old one has."""
        store = run.store
        known = store.young.get(context, "")
        if known == "" and store.old:
            known = store.revive(context)
            if isinstance(known, Open):
                return known
        at = match.start(3)
        if self._begin(run, context, at, match, time):
            return None
        for machine in run.log.machines:
            if run.begins(machine.ends, at):
                return None
            if context == machine.nobody or run.begins(machine.traces + machine.reading, at):
                self._trace_alone(run, machine, context, known, at, time)
                return None
        if known is not False:
            store.put(context, False)
        for machine in run.log.machines:
            made = self._presence(run, machine, None, time, at)
            if made is not None:
                run.found.append(made)
                break
        return None

    def _begin(self, run: _Run, context: bytes, at: int, match: re.Match[bytes], time: float) -> bool:
        """Open a session where a greeting stands; False where none does."""
        for machine in run.log.machines:
            if run.begins(machine.greeting, at):
                run.store.put(context, Open(machine, time) if machine.dialogue.turns else None)
                run.store.touched.add(context)
                return True
        return False

    def _trace_alone(
        self, run: _Run, machine: Machine, context: bytes, known: object, at: int, time: float
    ) -> None:
        """A trace outside of a session: certain where none can be open, else when the next line agrees."""
        text = bytes(run.data[at : run.stop(at)])
        made = self._traced(run, None, machine, text, at, time)
        settled = known == "" and not run.store.evicted and self._settled(run.log, time)
        certain = machine.dialogue.turns and (known is None or settled)
        if context == machine.nobody or certain:
            if made is not None:
                run.found.append(made)
            return
        session = Open(machine, time)
        session.turn, session.state, session.held = ODD, _REFUSED, Held(False, made, "")
        run.store.put(context, session)

    @staticmethod
    def _settled(log: _Log, time: float) -> bool:
        """True when the log was read for so long that no session is older than what was read."""
        return log.began is not None and time - log.began > log.store.lifetime

    # ------------------------------------------------------------ the client's lines

    def _command(self, run: _Run, session: Open, verbs: tuple[tuple[bytes, Command], ...], at: int) -> bool:
        """Take a command; False where the line is none."""
        data, end = run.data, run.end
        for word, command in verbs:
            behind = at + len(word)
            if behind < end and data[behind] not in _BOUNDARY:
                continue
            if len(word) > 4 and bytes(data[at:behind]).upper() != word:
                continue
            session.command = command
            session.table = session.machine.tables[command.name]
            session.turn = SERVER
            session.exchange = None
            if command.field:
                argument = bytes(data[behind : run.stop(behind)])
                session.argument = argument
                if command.keep:
                    self._keep(session, command.field, _argument(command, argument))
            else:
                session.argument = None
            if command.decoder:
                stop = run.stop(behind)
                session.exchange, secret = DECODERS[command.decoder](data, behind, stop)
                run.blot(secret, stop)
            return True
        return False

    def _keep(self, session: Open, name: str, value: str) -> None:
        if session.kept is None:
            session.kept = {}
        session.kept[name] = value
        if name not in session.proved:
            session.proved |= {name}

    def _client(
        self, run: _Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        """A line in the client's place."""
        machine, at = session.machine, match.start(3)
        looks = machine.looks.get(head, 0)
        end = looks & ENDS and run.begins(machine.ends, at)
        if end or (looks & (READS | TRACES) and run.begins(machine.reading + machine.traces, at)):
            text = bytes(run.data[at : run.stop(at)])
            rules = machine.end_rules if end else machine.trace_rules
            session.held = Held(bool(end), self._of(rules, run, session, text, at, time), session.state)
            session.turn, session.state = ODD, MAYBE
            return
        if looks & GREETS and run.begins(machine.greeting, at):
            session.rivals = Rivals(Open(machine, time), hash(bytes(run.data[at : run.stop(at)])))
            self._unread(session)
            session.turn, session.state = ODD, RIVAL
            return
        if session.state != ANSWER:
            verbs = machine.verbs.get(head.upper())
            if verbs is not None and self._command(run, session, verbs, at):
                return
        self._text(run, session, at, time)

    def _text(self, run: _Run, session: Open, at: int, time: float) -> None:
        """The client's line is an answer to a challenge, or no command."""
        stop = run.stop(at)
        if session.state == ANSWER:
            assert session.exchange is not None
            session.exchange.take(run.data, at, stop)
            session.turn, session.state = SERVER, ""
        else:
            machine = session.machine
            made = self._presence(run, machine, None, time, at)  # whoever may talk the reader out of step
            if made is not None:
                run.found.append(made)
            session.command, session.argument, session.exchange = machine.other, None, None
            session.table = machine.tables[machine.other.name]
            session.turn, session.state = ODD, _SERVES
            if session.address is not None and bytes(run.data[at : at + 4]) in machine.codes:
                told = self._told(machine, bytes(run.data[at:stop]))
                if told is not None and told != session.address:
                    session.state = _CONTEST
        run.blot(at, stop)

    @staticmethod
    def _told(machine: Machine, text: bytes) -> int | None:
        """The address that a line would tell if it was the server's."""
        for answer in machine.tying:
            captures = answer.entry.find(text, 0, len(text))
            if captures is not None:
                return parse_address(captures[answer.entry.source] or b"")
        return None

    # ------------------------------------------------------------ lines that the hot path leaves over

    def _slow(
        self, run: _Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        state = session.state
        if session.turn == CLIENT or state == ANSWER:
            self._client(run, context, session, head, match, time)
        elif state == TEXT:
            self._message(run, context, session, head, match, time)
        elif state == MAYBE:
            self._maybe(run, context, session, head, match, time)
        elif state == RIVAL:
            self._rivals(run, context, session, head, match, time)
        elif state == _REFUSED:
            self._refused(run, context, session, head, match, time)
        else:
            self._server(run, context, session, head, match, time)

    def _server(
        self, run: _Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        """A line in the server's place."""
        machine, at = session.machine, match.start(3)
        code = machine.codes.get(head)
        looks = machine.looks.get(head, 0)
        if code is not None:
            if looks & GREETS and run.begins(machine.greeting, at) and code not in session.table:
                self._begin(run, context, at, match, time)  # it is the server's for certain: a new session
                return
            self._reply(run, session, code, looks, at, time)
            return
        contested = session.state == _CONTEST
        if run.begins(machine.ends, at):
            text = bytes(run.data[at : run.stop(at)])
            made = self._of(machine.end_rules, run, session, text, at, time)
            self._ended(run, context, session, made)
            return
        if run.begins(machine.reading + machine.traces, at):
            text = bytes(run.data[at : run.stop(at)])
            made = self._traced(run, session, machine, text, at, time)
            if made is not None:
                self._emit(run, session, made)
                session.table = {}  # the reply that follows tells it again
            return
        if session.fragile:
            run.store.put(context, False)  # the client's turn after all: another session
            return
        if contested:
            session.address, session.void = None, True
        verbs = machine.verbs.get(head) or machine.verbs.get(head.upper())
        if verbs is not None:
            session.state = ""
            self._command(run, session, verbs, at)  # a reply is missing

    def _reply(self, run: _Run, session: Open, code: bytes, looks: int, at: int, time: float) -> None:
        """The server's answer to the client's latest line."""
        machine = session.machine
        session.turn, session.state = CLIENT, ""
        if looks & ASKS and session.exchange is not None and run.begins(machine.challenge, at):
            session.turn, session.state = ODD, ANSWER
            return
        answers = session.table.get(code)
        if answers is not None:
            self._answered(run, session, answers, at, time)
        if session.command is machine.other:
            run.blot(at + 4, run.stop(at))  # it may repeat what the client wrote
        session.exchange = None
        if looks & GOES_ON and run.begins(machine.text, at):
            session.turn, session.state = ODD, TEXT
            session.table = machine.tables[MESSAGE]

    def _message(
        self, run: _Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        """A line after the server's go-ahead. Where the lines of messages are logged, all of them are the
        client's, up to the one with one dot; where not, the next reply is the server's."""
        at = match.start(3)
        if head == b"." and run.stop(at) == at + 1:
            run.log.text = True
            session.state = _SERVES
            return
        if not run.log.text:
            machine = session.machine
            code = machine.codes.get(head)
            if code is not None or run.begins(machine.ends + machine.reading + machine.traces, at):
                self._server(run, context, session, head, match, time)

    def _maybe(
        self, run: _Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        """The line after one in the client's place that looked like a trace."""
        held, machine, at = session.held, session.machine, match.start(3)
        assert held is not None
        session.held = None
        code, greets = machine.codes.get(head), run.begins(machine.greeting, at)
        if code is not None and not greets:  # it was answered, so the client wrote it
            session.state = held.state
            self._unread(session)
            self._reply(run, session, code, machine.looks.get(head, 0), at, time)
            return
        if held.event is not None:
            self._emit(run, session, held.event)
        ends = run.begins(machine.ends, at)
        if ends and not held.end:
            text = bytes(run.data[at : run.stop(at)])
            made = self._of(machine.end_rules, run, session, text, at, time)
            self._ended(run, context, session, made)
            return
        if held.end or greets:
            self._ended(run, context, session, None)
            if greets:
                self._begin(run, context, at, match, time)
            elif not ends:
                run.store.put(context, False)
            return
        session.turn, session.state = CLIENT if held.state != ANSWER else ODD, held.state
        self._client(run, context, session, head, match, time)

    def _refused(
        self, run: _Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        """The line after a trace in a context that may have an older session."""
        held, machine = session.held, session.machine
        assert held is not None
        at = match.start(3)
        if not run.begins(machine.greeting + machine.ends + machine.traces, at):
            run.store.put(context, False)  # it was answered: a client wrote it
            return
        if held.event is not None:
            run.found.append(held.event)
        run.store.put(context, None)
        self._unseen(run, context, head, match, time)

    # ------------------------------------------------------------ two readings

    def _rivals(
        self, run: _Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        """The line after one in the client's place that looked like a greeting: the session goes on, or its
        end was not logged and a new one has begun. Under one reading it is the server's turn, under the other
        the client's."""
        rivals, machine, at = session.rivals, session.machine, match.start(3)
        assert rivals is not None
        code = machine.codes.get(head)
        if code is not None and rivals.serving and self._repeats(run, machine, at, rivals.asked):
            rivals.serving = False  # it is the answer to that line, which the client wrote
            rivals.inner = ""
            left = self._decide(run, context, session)
            left.fragile = True
            run.blot(at + 4, run.stop(at))
            return
        if code is None and run.begins(machine.traces, at):  # a trace may stand in both places
            run.store.put(context, False)
            return
        unasked = not rivals.serving or (session.command is machine.other and session.exchange is None)
        if code is None or (unasked and not run.begins(machine.unknown, at)):
            left = self._decide(run, context, session)
            self._client(run, context, left, head, match, time)
        elif rivals.serving:
            self._reply(run, session, code, machine.looks.get(head, 0), at, time)
            run.blot(at + 4, run.stop(at))
            rivals.inner, rivals.serving = session.state, False
            session.turn, session.state = ODD, RIVAL
        else:
            run.blot(at + 4, run.stop(at))
            session.state = rivals.inner
            self._unread(session)
            rivals.serving = True
            session.turn, session.state = ODD, RIVAL

    @staticmethod
    def _repeats(run: _Run, machine: Machine, at: int, asked: int) -> bool:
        """Whether the line is the answer to a line that is no command, and repeats just that line."""
        if not run.begins(machine.unknown, at):
            return False
        stop = run.stop(at)
        first, last = run.data.find(b'"', at, stop), run.data.rfind(b'"', at, stop)
        return 0 <= first < last and hash(bytes(run.data[first + 1 : last])) == asked

    def _unread(self, session: Open) -> None:
        """The client's line is an answer or no command; nothing is taken from it."""
        if session.state == ANSWER and session.exchange is not None:
            session.exchange.answers += 1
        else:
            session.command, session.argument = session.machine.other, None
            session.table = session.machine.tables[session.machine.other.name]
            session.exchange = None
        session.turn, session.state = ODD, _SERVES

    def _decide(self, run: _Run, context: bytes, session: Open) -> Open:
        """One reading is refuted: the one under which the server should have spoken. The other is left."""
        rivals, session.rivals = session.rivals, None
        assert rivals is not None
        if rivals.serving:
            run.store.put(context, rivals.rival)
            return rivals.rival
        run.found += rivals.deferred
        session.turn, session.state = (ODD, ANSWER) if rivals.inner == ANSWER else (CLIENT, "")
        return session

    # ------------------------------------------------------------ events

    def _answered(
        self, run: _Run, session: Open, answers: tuple[Answer | None, ...], at: int, time: float
    ) -> None:
        """The server's answer to a command that has rules for it: the first that fits takes it."""
        if answers[0] is MARK:
            self._mark(run, session, time, at)
            if len(answers) == 1:
                return
        stop = run.stop(at)
        if session.command is session.machine.other:  # it may repeat what the client wrote
            quote = run.data.find(b'"', at, stop)
            stop = stop if quote < 0 else quote
        text = bytes(run.data[at:stop])
        for answer in answers:
            captures = None if answer is None else answer.entry.find(text, 0, len(text))
            if answer is None or captures is None:
                continue
            answer.entry.count += 1
            if answer.ties:
                self._tie(run, session, answer, captures, at, time)
            for name in answer.keep:
                value = captures[answer.rule.pattern.names.index(name)]
                if value is not None:
                    self._keep(session, name, decode(value))
            made = self._make(run, session, answer, captures, text, at, time)
            if made is not None:
                self._emit(run, session, made)
            return

    def _tie(
        self, run: _Run, session: Open, answer: Answer, captures: Captures, at: int, time: float
    ) -> None:
        """The server tells the client's address."""
        address = parse_address(captures[answer.entry.source] or b"")
        if session.void or address is None:
            return
        if session.address is not None and session.address != address:
            session.address, session.void = None, True
            return
        session.address = address
        self._mark(run, session, time, at)

    def _traced(
        self, run: _Run, session: Open | None, machine: Machine, text: bytes, at: int, time: float
    ) -> Event | None:
        """The event of a trace, None where no rule has one."""
        return self._of(machine.trace_rules, run, session, text, at, time)

    def _of(
        self,
        answers: tuple[Answer, ...],
        run: _Run,
        session: Open | None,
        text: bytes,
        at: int,
        time: float,
    ) -> Event | None:
        for answer in answers:
            if session is not None and answer.entry.source >= 0:
                continue  # who is refused has no session
            captures = answer.entry.find(text, 0, len(text))
            if captures is not None:
                answer.entry.count += 1
                return self._make(run, session, answer, captures, text, at, time)
        return None

    def _make(
        self,
        run: _Run,
        session: Open | None,
        answer: Answer,
        captures: Captures,
        text: bytes,
        at: int,
        time: float,
    ) -> Event | None:
        """The event of a line that a rule took. None where it makes none, or no address is certain."""
        entry = answer.entry
        kind = entry.kind
        if kind == IGNORE or (self.wanted is not None and kind not in self.wanted):
            return None
        source = parse_address(captures[entry.source] or b"") if entry.source >= 0 else None
        if source is None and session is not None:
            source = session.address
        if source is None:
            self.lost += kind in HOSTILE
            return None
        fields: dict[str, str] = {}
        proved = entry.proved
        if session is not None:
            for name in answer.with_:
                if session.kept is not None and name in session.kept:
                    fields[name] = session.kept[name]
                    proved |= session.proved & {name}
            command = session.command
            if answer.place == "reply" and command.field and session.argument is not None:
                fields[command.field] = _argument(command, session.argument)
                proved |= {command.field}
            exchange = session.exchange
            if answer.place == "reply" and command.decoder and exchange is not None:
                fields["method"] = exchange.method
                if exchange.user is not None:
                    fields["user"] = exchange.user
                proved |= {"method", "user"}
        for index, name in entry.fields:
            raw = captures[index]
            if raw is not None:
                fields[name] = decode(raw)
        block = run.block
        begin = run.data.rfind(b"\n", 0, at) + 1
        line = b""
        if self.keep_lines and entry.hostile:
            shown = answer.head + b" ..." if answer.echoes else text[:_SHOWN]
            line = bytes(run.data[begin:at]) + shown
        return _new(
            Event,
            (
                kind,
                time,
                source,
                entry.full_name,
                entry.weight,
                fields,
                block.log,
                run.base + begin,
                entry.scope,
                block.may_ban and not entry.guessed,
                proved,
                line,
            ),
        )

    def _emit(self, run: _Run, session: Open, made: Event) -> None:
        """Tell an event of a session; while it has a rival, only once that is refuted."""
        if made.kind == "session_aborted" and session.told:
            return  # the client had said something
        session.told += made.kind != "disconnect"
        if made.kind == "auth_success" and "user" in made.fields:
            self._keep(session, "user", made.fields["user"])
        (run.found if session.rivals is None else session.rivals.deferred).append(made)

    def _mark(self, run: _Run, session: Open, time: float, at: int) -> None:
        """Say that this log tells of a session with that address and time; other logs that tell it too
        then need not. Without an address: that somebody is there, who is not followed."""
        made = self._presence(run, session.machine, session.address, time, at)
        if made is not None:
            (run.found if session.rivals is None else session.rivals.deferred).append(made)

    @staticmethod
    def _presence(run: _Run, machine: Machine, source: int | None, time: float, at: int) -> Draft | None:
        if not machine.marks:
            return None
        if source is None:
            if run.log.stranger == time:
                return None
            run.log.stranger = time
        event = Event(
            IGNORE, time, source, f"{machine.name}/", 1, {}, run.block.log, run.base + at, "mail", False
        )
        return Draft(event, ())

    def _ended(self, run: _Run, context: bytes, session: Open, made: Event | None) -> None:
        """A session is over."""
        if made is not None:
            self._emit(run, session, made)
        run.store.put(context, None)
        run.store.touched.add(context)

    # ------------------------------------------------------------ answers

    def names(self, parsers: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The dialogue parsers among those called `parsers`, () all."""
        return tuple(one.name for one in self.machines if not parsers or one.name in parsers)

    def spoken(self, line: bytes, parsers: tuple[str, ...] = ()) -> bool:
        """Whether a line that comes alone is of a dialogue log."""
        return bool(self.names(parsers)) and _FIRST.match(line) is not None

    @staticmethod
    def prefix(line: bytes) -> bytes:
        """Stamp and context of a line: what of it may be shown."""
        match = _FIRST.match(line)
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


def _argument(command: Command, raw: bytes) -> str:
    """The argument of a command as text: of a path what stands in its brackets, or its first word."""
    text = raw.strip(b" \t\r")
    if command.form == "path":
        text = text.removeprefix(b":").partition(b":")[2] if b":" in text[1:] else text.removeprefix(b":")
        text = text.lstrip(b" \t")
        if text.startswith(b"<"):
            text = text[1:].partition(b">")[0]
        else:
            text = text.split(b" ")[0]
    return decode(text)
