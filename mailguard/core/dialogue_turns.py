"""Whose line it is: client and server take turns, and the server answers every line before it reads the next.

A line's place tells whose it is, and its look does not: a client can send what looks like a reply, a trace,
the end of its session or the beginning of the next. Where the look of a line in the client's place leaves two
readings, the next line of that context decides:

a trace or an end    when a reply follows, the client wrote it; else it is what it seems
a greeting           is followed under both readings, one turn apart, until the lines refute one of them:
                     what happened meanwhile counts only for the one that is left
another address      as the answer to a greeting word, in the client's place: when no reply follows, lines are
                     missing or were slipped in, and none of the addresses counts any more

Never: keeps a client's line. What answers a challenge, and what is no command, is blotted out in the block.
"""

from __future__ import annotations

import re

from ..notation import parse_address
from .dialogue_contexts import Contexts
from .dialogue_decoders import DECODERS
from .dialogue_events import argument_of
from .dialogue_log import Run
from .dialogue_state import (
    ANSWER,
    CLIENT,
    CONTEST,
    MAYBE,
    ODD,
    REFUSED,
    RIVAL,
    SERVER,
    SERVES,
    TEXT,
    Held,
    Open,
    Rivals,
)
from .dialogue_words import (
    ASKS,
    ENDS,
    GOES_ON,
    GREETS,
    MESSAGE,
    READS,
    TRACES,
    Command,
    Machine,
)

_BOUNDARY = frozenset(b" \t\r\n:")


class Turns(Contexts):
    """Follows the turns of a session."""

    # ------------------------------------------------------------ the client's lines

    def _command(self, run: Run, session: Open, verbs: tuple[tuple[bytes, Command], ...], at: int) -> bool:
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
                    self._keep(session, command.field, argument_of(command, argument))
            else:
                session.argument = None
            if command.decoder:
                stop = run.stop(behind)
                session.exchange, secret = DECODERS[command.decoder](data, behind, stop)
                run.blot(secret, stop)
            return True
        return False

    def _client(
        self, run: Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
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

    def _text(self, run: Run, session: Open, at: int, time: float) -> None:
        """The client's line is an answer to a challenge, or no command."""
        stop = run.stop(at)
        if session.state == ANSWER:
            assert session.exchange is not None
            session.exchange.take(run.data, at, stop)
            session.turn, session.state = SERVER, ""
        else:
            machine = session.machine
            if machine.placed or not session.void:
                made = self._presence(run, machine, None, time, at)  # it may talk the reader out of step
                if made is not None:
                    run.found.append(made)
            session.command, session.argument, session.exchange = machine.other, None, None
            session.table = machine.tables[machine.other.name]
            session.turn, session.state = ODD, SERVES
            if session.address is not None and bytes(run.data[at : at + 4]) in machine.codes:
                told = self._told(machine, bytes(run.data[at:stop]))
                if told is not None and told != session.address:
                    session.state = CONTEST
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
        self, run: Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        state = session.state
        if session.machine.tagged and state != REFUSED:
            self._word(run, context, session, head, match, time)
        elif session.turn == CLIENT or state == ANSWER:
            self._client(run, context, session, head, match, time)
        elif state == TEXT:
            self._message(run, context, session, head, match, time)
        elif state == MAYBE:
            self._maybe(run, context, session, head, match, time)
        elif state == RIVAL:
            self._rivals(run, context, session, head, match, time)
        elif state == REFUSED:
            self._refused(run, context, session, head, match, time)
        else:
            self._server(run, context, session, head, match, time)

    def _word(
        self, run: Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        """A line of a dialogue whose commands begin with a word of the client's; see `dialogue_tagged`."""
        raise NotImplementedError

    def _server(
        self, run: Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        """A line in the server's place."""
        machine, at = session.machine, match.start(3)
        code = machine.codes.get(head)
        looks = machine.looks.get(head, 0)
        if code is not None:
            if machine.alike:
                greets = bool(run.log.banner) and run.data.startswith(run.log.banner, at)
            else:
                greets = code not in session.table
            if looks & GREETS and greets and run.begins(machine.greeting, at):
                self._begin(run, context, at, match, time)  # it is the server's for certain: a new session
                return
            self._reply(run, session, code, looks, at, time)
            return
        contested = session.state == CONTEST
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

    def _reply(self, run: Run, session: Open, code: bytes, looks: int, at: int, time: float) -> None:
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
        self, run: Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        """A line after the server's go-ahead. Where the lines of messages are logged, all of them are the
        client's, up to the one with one dot; where not, the next reply is the server's."""
        at = match.start(3)
        if head == b"." and run.stop(at) == at + 1:
            run.log.text = True
            session.state = SERVES
            return
        if not run.log.text:
            machine = session.machine
            code = machine.codes.get(head)
            if code is not None or run.begins(machine.ends + machine.reading + machine.traces, at):
                self._server(run, context, session, head, match, time)

    def _maybe(
        self, run: Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
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
        self, run: Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
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
        self, run: Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
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
    def _repeats(run: Run, machine: Machine, at: int, asked: int) -> bool:
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
        session.turn, session.state = ODD, SERVES

    def _decide(self, run: Run, context: bytes, session: Open) -> Open:
        """One reading is refuted: the one under which the server should have spoken. The other is left."""
        rivals, session.rivals = session.rivals, None
        assert rivals is not None
        if rivals.serving:
            run.store.put(context, rivals.rival)
            return rivals.rival
        run.found += rivals.deferred
        session.turn, session.state = (ODD, ANSWER) if rivals.inner == ANSWER else (CLIENT, "")
        return session
