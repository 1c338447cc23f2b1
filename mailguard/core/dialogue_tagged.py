"""Dialogues in which a client's command begins with a word of its own, which the server's answer repeats.

    a1 LOGIN sato secret
    * CAPABILITY ...            the server's, on the way; tells nothing here, whoever wrote it
    a1 NO LOGIN fails           the answer: that word, and OK, NO or BAD

Owns: whose line it is, as in `dialogue_turns`: what a client sends in its own place is the client's, also
when it looks like an answer. While an answer is due, the client is not read; so what repeats its word is the
answer.
Never: keeps a client's line. Each is blotted out in the block, but for its first word; `+` asks for more of a
command (a password, a literal), and what follows is the client's.
Limits: an answer that stands on a line without prefix is not seen. There the next command that is one of the
definition's ends the waiting; other lines cannot, since they may be of a message that the client reads.
"""

from __future__ import annotations

import re
from binascii import crc32

from .dialogue_decoders import DECODERS, Literal
from .dialogue_log import Run
from .dialogue_state import ANSWER, MAYBE, ODD, SERVES, TAGGED, Held, Open
from .dialogue_turns import Turns
from .dialogue_words import Command, Machine

_ANSWERS = (b"OK", b"NO", b"BAD")
_UNTAGGED = 42  # *
_MORE = 43  # +
_BLANK = 32
_LONGEST = 64  # bytes of a client's word


def _word(run: Run, at: int, stop: int) -> int:
    """A sum of the first word of a line, which may be a secret: it is not copied, and not stored."""
    end = run.data.find(b" ", at, stop)
    return crc32(memoryview(run.data)[at : stop if end < 0 else end])


def _stands(run: Run, word: bytes, at: int, stop: int) -> bool:
    """Whether a word in capitals stands there, however it is written."""
    data, end = run.data, at + len(word)
    if end > stop or (end < stop and data[end] != _BLANK):
        return False
    return all(data[at + place] & 0xDF == letter for place, letter in enumerate(word))


class Tagged(Turns):
    """Follows the turns of such sessions."""

    def _word(
        self, run: Run, context: bytes, session: Open, head: bytes, match: re.Match[bytes], time: float
    ) -> None:
        machine, at = session.machine, match.start(3)
        session.turn = ODD
        stop = run.stop(at)
        if session.state == MAYBE:
            held = session.held
            assert held is not None
            if self._answer_at(run, session, at, stop) >= 0:  # it was answered, so the client wrote it
                session.held, session.state = None, TAGGED
                if held.state == ANSWER:
                    self._due(run, session, at, stop, time)
                return
            if held.end or not run.begins(machine.ends, at):
                if run.data[at : at + 1] == b"*" and not run.begins(machine.greeting, at):
                    return
                self._ended(run, context, session, None)
                self._unseen(run, context, head, match, time)
                return
            self._ended(run, context, session, None)
            return
        looks = machine.looks.get(head, 0)
        if looks and run.begins(machine.ends + machine.reading + machine.traces, at):
            self._trace(run, context, session, at, stop)
        elif session.state == ANSWER:
            self._more(run, session, at, stop)
        elif session.state == SERVES:
            self._due(run, session, at, stop, time)
        elif looks and run.begins(machine.greeting, at):
            self._begin(run, context, at, match, time)
        else:
            self._said(run, session, at, stop)

    def _trace(self, run: Run, context: bytes, session: Open, at: int, stop: int) -> None:
        """A line that looks like a trace: the server's, unless the client wrote it and is answered."""
        end = run.begins(session.machine.ends, at)
        if session.state == SERVES and end:
            self._ended(run, context, session, None)
        elif session.state != SERVES:
            if session.state != ANSWER:
                session.argument, session.asked = None, _word(run, at, stop)
            session.held, session.state = Held(end, None, session.state), MAYBE

    def _more(self, run: Run, session: Open, at: int, stop: int) -> None:
        """What the client sends because it was asked for more."""
        if session.exchange is not None:
            session.exchange.take(run.data, at, stop)
        run.blot(at, run.record(at))  # a literal may have line ends in it
        session.state = SERVES

    def _said(self, run: Run, session: Open, at: int, stop: int) -> None:
        """A command."""
        machine, data = session.machine, run.data
        session.command, session.exchange = machine.other, None
        session.table = machine.tables[machine.other.name]
        tag = data.find(b" ", at, stop)
        first = data[at] if at < stop else _UNTAGGED
        if tag < 0 or tag - at > _LONGEST or first in (_UNTAGGED, _MORE):
            session.argument, session.asked = None, _word(run, at, stop)
            session.state = TAGGED if first in (_UNTAGGED, _MORE) else SERVES
            run.blot(at, stop)  # one word alone may be anything
            return
        command = self._command_at(run, machine, tag + 1, stop)
        if command is None:
            session.argument, session.asked = None, _word(run, at, stop)
            run.blot(at, stop)
        else:
            session.argument = bytes(data[at:tag])
            session.command, session.table = command, machine.tables[command.name]
            behind = data.find(b" ", tag + 1, stop)
            if command.decoder and behind >= 0:
                session.exchange, _ = DECODERS[command.decoder](data, behind, stop)
            run.blot(tag + 1, stop)
        session.state = SERVES

    @staticmethod
    def _command_at(run: Run, machine: Machine, at: int, stop: int) -> Command | None:
        """The command whose word stands there. What may be a password is compared where it is, not copied."""
        for word, command in machine.words.items():
            if _stands(run, word, at, stop):
                return command
        return None

    @staticmethod
    def _answer_at(run: Run, session: Open, at: int, stop: int) -> int:
        """Where the server's word stands in a line that repeats the client's; -1: it is no such line."""
        tag = run.data.find(b" ", at, stop)
        if tag < 0 or not any(_stands(run, word, tag + 1, stop) for word in _ANSWERS):
            return -1
        if session.argument is None:
            asked = _word(run, at, stop) == session.asked
        else:
            asked = tag - at == len(session.argument) and run.begins((session.argument,), at)
        return tag + 1 if asked else -1

    def _due(self, run: Run, session: Open, at: int, stop: int, time: float) -> None:
        """A line while an answer is due."""
        data, machine = run.data, session.machine
        behind = self._answer_at(run, session, at, stop)
        if behind >= 0:
            answers = session.table.get(bytes(data[behind : behind + 3]).strip())
            if answers is not None:
                self._answered(run, session, answers, behind, time)
            elif session.argument is None:
                run.blot(at, stop)  # the word may have been anything
            session.command, session.exchange, session.state = machine.other, None, TAGGED
            session.argument = None
            return
        first = data[at] if at < stop else _UNTAGGED
        if first == _UNTAGGED:
            return
        if first == _MORE:
            if session.exchange is not None:
                session.state = ANSWER
            return
        tag = data.find(b" ", at, stop)
        if tag >= 0 and self._command_at(run, machine, tag + 1, stop) is not None:
            self._said(run, session, at, stop)  # an answer is missing
        elif isinstance(session.exchange, Literal):
            self._more(run, session, at, stop)  # it did not wait to be asked
        else:
            run.blot(at, stop)
