"""What the lines of a dialogue tell: the server's answers, its traces, and what ends a session.

Owns: which rule takes a line whose speaker is known, and the event made of it. Never: asks who spoke; shows
or keeps a client's line.
Limits: what cannot be laid to one address for certain makes no event.
"""

from __future__ import annotations

from ..model import HOSTILE, Event
from ..notation import parse_address
from .compiled import Captures
from .dialogue_claims import FIRST
from .dialogue_log import Run
from .dialogue_state import Open
from .dialogue_words import MARK, Answer, Command, Machine
from .items import Draft
from .rules import IGNORE, decode

_SHOWN = 512  # bytes of a reply that evidence shows
_new = tuple.__new__


class Telling:
    """Makes events of lines."""

    lost: int  # hostile lines of sessions whose address is not certain
    wanted: frozenset[str] | None
    keep_lines: bool

    def _answered(
        self, run: Run, session: Open, answers: tuple[Answer | None, ...], at: int, time: float
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
                if made.kind == "auth_success" and "user" in made.fields and not session.machine.placed:
                    session.void = True  # who is in tries no more: what looks like it is a message's text
            return

    def _tie(self, run: Run, session: Open, answer: Answer, captures: Captures, at: int, time: float) -> None:
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
        self, run: Run, session: Open | None, machine: Machine, text: bytes, at: int, time: float
    ) -> Event | None:
        """The event of a trace, None where no rule has one."""
        return self._of(machine.trace_rules, run, session, text, at, time)

    def _of(
        self,
        answers: tuple[Answer, ...],
        run: Run,
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
        run: Run,
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
        machine = None if session is None else session.machine
        placed = machine is None or machine.placed
        if source is None and (placed or session is None or session.void):
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
                fields[command.field] = argument_of(command, session.argument)
                proved |= {command.field}
            exchange = session.exchange
            if answer.place == "reply" and command.decoder and exchange is not None:
                if exchange.method or placed:
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
            if machine is not None and machine.tagged:  # not even the client's word that the answer repeats
                prefix = FIRST.match(line)
                line = line[: 0 if prefix is None else prefix.start(3)] + b"... " + shown
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
                block.may_ban and placed and not entry.guessed,
                proved,
                line,
            ),
        )

    def _emit(self, run: Run, session: Open, made: Event) -> None:
        """Tell an event of a session; while it has a rival, only once that is refuted."""
        if made.kind == "session_aborted" and session.told:
            return  # the client had said something
        session.told += made.kind != "disconnect"
        if made.kind == "auth_success" and "user" in made.fields:
            self._keep(session, "user", made.fields["user"])
        (run.found if session.rivals is None else session.rivals.deferred).append(made)

    def _mark(self, run: Run, session: Open, time: float, at: int) -> None:
        """Say that this log tells of a session with that address and time; other logs that tell it too
        then need not. Without an address: that somebody is there, who is not followed."""
        made = self._presence(run, session.machine, session.address, time, at)
        if made is not None:
            (run.found if session.rivals is None else session.rivals.deferred).append(made)

    @staticmethod
    def _presence(run: Run, machine: Machine, source: int | None, time: float, at: int) -> Draft | None:
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

    def _ended(self, run: Run, context: bytes, session: Open, made: Event | None) -> None:
        """A session is over."""
        if made is not None:
            self._emit(run, session, made)
        run.store.put(context, None)
        run.store.touched.add(context)

    def _keep(self, session: Open, name: str, value: str) -> None:
        if session.kept is None:
            session.kept = {}
        session.kept[name] = value
        if name not in session.proved:
            session.proved |= {name}


def argument_of(command: Command, raw: bytes) -> str:
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
