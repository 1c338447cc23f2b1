"""Logins that two logs of a server tell: a line that says from where but not always who, and a dialogue that
says who but never from where.

Owns: which line of the one is which act of the other. They have no number in common; only the server, the
account, the mechanism, the result and the second. Rules of lines name the dialogue parsers that tell the same
acts (`heard_by`).
Never: asks a clock; lays an act to an address that its own line does not tell.
Limits: at most 10,000 lines and acts wait, each for three seconds, an act for a nameless line up to six.

One act counts once: a line counts with its address, and the act of the dialogue that it is then does not. An
act that no line tells, because that log is switched off or cannot be read, counts by its account alone: it is
laid to nobody and bans nobody.

A line without a name gets that of its act where all that could be its act have the same one: acts of that
mechanism with that result, two seconds around; and no session that is not followed said anything meanwhile.

A dialogue that has proved that it tells the acts of this server's lines, and has told something since,
refutes what it did not hear: of lines whose act is not found, no more are believed than acts were heard whose
names cannot be read. The others ban nobody and speak for nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence, Sized

from ..model import Event
from .acts import ALIVE, FRESH, NEAR, NEVER, WAIT, Memory
from .rules import IGNORE, Parser
from .servers import Servers
from .waiting import Held, Lately, Side, Waiting

_CAP = 10_000
_PROOF = 3  # so many acts of a dialogue were those of lines: it tells what happens
_LATELY = 256  # acts and lines of each kind that are remembered
_COMPARED = 32  # characters of a name
_KEPT = "@._-"
_NOBODY = ("", "-")


class Heard:
    """Brings lines and acts together."""

    def __init__(self, parsers: Sequence[Parser], servers: Servers, covering: bool):
        """`covering` False: every teller counts."""
        names = {parser.name for parser in parsers if parser.dialogue is not None}
        heard = {
            rule.full_name: next((name for name in rule.heard_by if name in names), "")
            for parser in parsers
            for rule in parser.rules
            if covering
        }
        #: Rules of lines, each with the dialogue parser that tells its acts; and those parsers.
        self.lines = {rule: name for rule, name in heard.items() if name}
        self.lenders = frozenset(self.lines.values())
        self.covered = 0  # acts that a line told better
        self._servers = servers
        self._waiting = Waiting()
        self._turn = 0
        self._late: Memory = Memory()  # (side, name, method): lines that were told before their act came
        self._acts: dict[Side, Lately] = {}  # what was said lately
        self._unread: dict[Side, Lately] = {}  # acts without a name
        self._unmet: dict[Side, Lately] = {}  # lines whose act was not found
        self._strangers = Memory()  # (server, parser): times at which somebody spoke who is not followed
        self._seen: dict[tuple[bytes, str], float] = {}  # server, dialogue parser: until when it was read
        self._told: dict[tuple[bytes, str], float] = {}  # the same for its lines
        self._first: dict[bytes, float] = {}
        self._met: dict[tuple[bytes, str], int] = {}  # how many acts of a dialogue were those of lines

    def __bool__(self) -> bool:
        """Whether something waits."""
        return len(self._waiting) > 0

    @property
    def held(self) -> Sized:
        """What waits."""
        return self._waiting.turns

    @property
    def due(self) -> float:
        """When to `release`."""
        return self._waiting.due

    # ------------------------------------------------------------ what is told

    def line(self, event: Event, at: float) -> list[Event]:
        """A line with an address; what counts now. `at`: the time in which waiting is counted."""
        lender = self.lines[event.rule]
        server = self._servers.of(event)
        side, name, method = (server, lender, event.kind), _name(event), _method(event)
        told = server, lender
        self._told[told] = max(event.time, self._told.get(told, event.time))
        self._first.setdefault(server, event.time)
        if name:
            act = self._waiting.find(side, False, name, method, event.time)
            if act is not None:
                self._meet(act)
                return [event]
        if not self._alive(self._seen, told, event):
            self._late.add(_late(side, name, method), event.time)
            return [event]
        return self._hold(Held(at + WAIT, self._turned(), side, event, name, method, True))

    def said(self, event: Event, at: float) -> list[Event]:
        """What a dialogue tells: an act, or the mark of somebody who is not followed; what counts now."""
        parser = event.rule.partition("/")[0]
        server = self._servers.of(event)
        told = server, parser
        self._seen[told] = max(event.time, self._seen.get(told, event.time))
        self._first.setdefault(server, event.time)
        if event.source is not None:
            return [event]
        side, name, method = (server, parser, event.kind), _name(event), _method(event)
        if event.kind == IGNORE:
            self._strangers.add(told, event.time)
            return []
        if not name:
            _lately(self._unread, side).add(event.time, method)
            return []
        _lately(self._acts, side).add(event.time, method, name)
        line = self._waiting.find(side, True, name, method, event.time)
        if line is not None:
            self._meet(line)
            return [line.event]
        if self._late.take(_late(side, name, method), event.time, NEAR):
            self._meet(None, told)
            return []
        act = Held(at + WAIT, self._turned(), side, event, name, method, False)
        if self._loose(act) is None and not self._alive(self._told, told, event):
            return [event]
        return self._hold(act)

    def _turned(self) -> int:
        self._turn += 1
        return self._turn

    def _alive(self, seen: dict[tuple[bytes, str], float], told: tuple[bytes, str], event: Event) -> bool:
        """Whether the other log is written, as far as is known."""
        fresh = event.time - self._first[told[0]] <= FRESH
        return fresh or event.time - seen.get(told, -NEVER) <= ALIVE

    def _loose(self, act: Held) -> Held | None:
        """The first waiting line that may be the act's without naming it: of the same mechanism."""
        if not act.method:
            return None
        return self._waiting.find(act.side, True, None, act.method, act.event.time)

    def _meet(self, one: Held | None, told: tuple[bytes, str] | None = None) -> None:
        """Line and act have met: what waited of them waits no more, and the act is told by its line."""
        if one is not None:
            self._waiting.take(one)
            told = one.side[:2]
        assert told is not None
        self.covered += 1
        self._met[told] = self._met.get(told, 0) + 1

    # ------------------------------------------------------------ waiting

    def _hold(self, one: Held) -> list[Event]:
        self._waiting.hold(one)
        return [] if len(self._waiting) <= _CAP else self._settle(self._waiting.first())

    def release(self, at: float) -> list[Event]:
        """What counts because it waited until `at`, in the order in which it came."""
        if at < self.due:
            return []
        found: list[Event] = []
        for one in self._waiting.freed(at):  # lines name their acts first
            if one in self._waiting:
                found += self._settle(one)
        self._waiting.renew()
        return found

    def _settle(self, one: Held) -> list[Event]:
        """Nothing more can come of waiting."""
        line = None if one.line or len(self._waiting) > _CAP else self._loose(one)
        self._waiting.take(one)
        if one.line:
            return [self._named(one) if one.method else self._doubted(one)]
        if line is not None and line.due > one.due:  # that one may still be its line
            return self._hold(one._replace(due=line.due))
        return [one.event]

    def _named(self, line: Held) -> Event:
        """A line with a mechanism, with the name of its act where it has none and that is certain."""
        event, side = line.event, line.side
        act = self._waiting.find(side, False, None, line.method, event.time)
        if act is None:
            return self._doubted(line)
        self._meet(act)
        if line.name:
            return event
        acts, unread = self._acts.get(side), self._unread.get(side)
        if (
            acts is None
            or not _alike(acts.names(event.time, line.method))
            or (unread is not None and any(True for _ in unread.names(event.time, line.method)))
            or self._strangers.near(side[:2], event.time, NEAR)
        ):
            return event
        user = act.event.fields["user"]
        return event._replace(fields=event.fields | {"user": user}, proved=event.proved | {"user"})

    def _doubted(self, line: Held) -> Event:
        """A line whose act was not heard."""
        event, side = line.event, line.side
        self._late.add(_late(side, line.name, line.method), event.time)
        unmet = _lately(self._unmet, side)
        unmet.add(event.time)
        told = side[:2]
        if (
            self._met.get(told, 0) < _PROOF
            or self._seen.get(told, -NEVER) < event.time
            or self._strangers.near(told, event.time, NEAR)
        ):
            return event
        lines = unmet.near(event.time) + self._waiting.lines(side, event.time)
        unread = self._unread.get(side)
        heard = 0 if unread is None else unread.near(event.time)
        return event if lines <= heard else event._replace(may_ban=False)

    # ------------------------------------------------------------ the checkpoint

    def row(self) -> bytes | None:
        """What waits; None: nothing does."""
        rows = [
            [
                one.due, one.line, one.side[0].decode("latin-1"), one.side[1], *one.event[:10],
                sorted(one.event.proved),
            ]
            for one in self._waiting
        ]  # fmt: skip
        return json.dumps(rows, separators=(",", ":")).encode() if rows else None

    def restore(self, row: bytes) -> None:
        """Take up the row of a checkpoint."""
        for due, line, server, parser, *fields, proved in json.loads(row):
            event = Event._make([*fields, frozenset(proved), b""])
            side = server.encode("latin-1"), parser, event.kind
            self._first.setdefault(side[0], event.time)
            name, method = _name(event), _method(event)
            self._hold(Held(float(due), self._turned(), side, event, name, method, bool(line)))


def _name(event: Event) -> str:
    """What of an account's name both logs tell alike: they differ in quotes and what escapes them, and may
    cut it. Whoever writes a name oddly is not let off for it."""
    user = event.fields.get("user", "")
    if user in _NOBODY:
        return ""
    kept = "".join(char for char in user.casefold() if char.isalnum() or char in _KEPT)
    return kept[:_COMPARED] + ("\ufffd" if "\ufffd" in user else "")


def _lately(kept: dict[Side, Lately], side: Side) -> Lately:
    found = kept.get(side)
    if found is None:
        found = kept[side] = Lately(_LATELY)
    return found


def _alike(names: Iterator[str]) -> bool:
    """Whether there is a name, and no other."""
    first = next(names, None)
    return first is not None and all(name == first for name in names)


def _late(side: Side, name: str, method: str) -> tuple[object, ...]:
    """By what a line that was told already is known: its mechanism, or else its name."""
    return *side, "" if method else name, method


def _method(event: Event) -> str:
    return event.fields.get("method", "").upper()
