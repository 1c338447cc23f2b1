"""The open sessions of one dialogue log, bounded; and what of them a checkpoint keeps.

Owns: which context is open. Never: keeps a client's line; of an authentication dialogue only the name.
Limits: at most `cap` contexts in two generations: a full young generation becomes the old one, and what that
still held is forgotten and counted. A session without a line for its lifetime is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .dialogue_decoders import Exchange

if TYPE_CHECKING:
    from ..model import Event
    from .dialogue_words import Command, Machine, Table
    from .items import Draft

#: Whose line is next. ODD: something has to be looked at first, see `Open.state`.
CLIENT, SERVER, ODD = 0, 1, 2
#: States of an odd session.
ANSWER, TEXT, MAYBE, RIVAL = "answer", "text", "maybe", "rival"
SERVES, CONTEST, REFUSED = "serves", "contest", "refused"
TAGGED = "tagged"  # the client is to speak, in a dialogue whose commands begin with a word of its own


class Held:
    """A trace in the client's place, which the client may have written, until the next line tells."""

    __slots__ = ("end", "event", "state")

    def __init__(self, end: bool, event: Event | None, state: str):
        self.end = end
        self.event = event
        self.state = state  # of the session before


class Open:
    """One open session."""

    __slots__ = (
        "address",
        "argument",
        "asked",
        "command",
        "exchange",
        "fragile",
        "held",
        "kept",
        "machine",
        "proved",
        "rivals",
        "state",
        "table",
        "told",
        "turn",
        "used",
        "void",
    )

    def __init__(self, machine: Machine, time: float):
        self.machine = machine
        self.turn = CLIENT
        self.state = ""
        self.used = time
        self.command: Command = machine.other
        self.table: Table = machine.tables["other"]
        self.argument: bytes | None = None  # of the command, where it is a field
        self.asked = 0  # a sum of the client's word that the answer repeats, where that is no known command
        self.address: int | None = None
        self.void = False  # two addresses were told: none counts
        self.kept: dict[str, str] | None = None
        self.proved: frozenset[str] = frozenset()
        self.exchange: Exchange | None = None
        self.told = 0  # events
        self.held: Held | None = None
        self.rivals: Rivals | None = None
        self.fragile = False  # a rival was refuted by its words alone: one line out of turn, and it was right


class Rivals:
    """Two readings of one context: the session goes on, or `rival` has begun in it."""

    __slots__ = ("asked", "deferred", "inner", "rival", "serving")

    def __init__(self, rival: Open, asked: int):
        self.rival = rival
        self.asked = asked  # hash of the line that looked like a greeting
        self.serving = True  # the session waits for the server, and the rival for its client
        self.inner = ""  # else: the state of the session
        self.deferred: list[Event | Draft] = []  # of the session


class Store:
    """The contexts of one log: open sessions; None where a session was closed, False where lines without a
    known beginning came."""

    __slots__ = ("cap", "evicted", "lifetime", "old", "touched", "young")

    def __init__(self, lifetime: float, cap: int):
        self.lifetime = lifetime
        self.cap = max(4, cap)
        self.young: dict[bytes, Open | bool | None] = {}
        self.old: dict[bytes, Open | bool | None] = {}
        self.evicted = 0
        self.touched: set[bytes] = set()

    def __len__(self) -> int:
        return sum(isinstance(one, Open) for part in (self.young, self.old) for one in part.values())

    def revive(self, context: bytes) -> Open | bool | str | None:
        """What is known about a context that the young generation does not hold; "" nothing."""
        if context not in self.old:
            return ""
        found = self.old.pop(context)
        self.put(context, found)
        return found

    def put(self, context: bytes, what: Open | bool | None) -> None:
        """Remember a context."""
        if len(self.young) >= self.cap // 2 and context not in self.young:
            self.evicted += sum(isinstance(other, Open) for other in self.old.values())
            self.old, self.young = self.young, {}
        self.young[context] = what

    def take_over(self, other: Store) -> None:
        """Take all contexts of the log before this one."""
        self.old, self.young = other.old, other.young
        self.touched |= {*self.old, *self.young}
        other.old, other.young = {}, {}


def pack(session: Open) -> bytes:
    """A row of the checkpoint. Undecided sessions are not kept: their next line begins nothing."""
    exchange = session.exchange
    return json.dumps(
        [
            session.machine.name,
            session.turn,
            session.state,
            session.used,
            session.command.name,
            None if session.argument is None else session.argument.decode("latin-1"),
            session.address,
            session.void,
            session.kept,
            sorted(session.proved),
            None if exchange is None else [exchange.method, exchange.user, exchange.answers],
            session.told,
        ],
        separators=(",", ":"),
    ).encode()


def unpack(value: bytes, machines: dict[str, Machine]) -> Open | None:
    """None when the row is not one of ours, or of a definition that is not there any more."""
    try:
        row: list[Any] = json.loads(value)
        machine = machines.get(row[0])
        if machine is None:
            return None
        session = Open(machine, float(row[3]))
        session.turn, session.state = int(row[1]), str(row[2])
        session.command = machine.commands.get(row[4], machine.other)
        session.table = machine.tables.get(row[4], machine.tables["other"])
        session.argument = None if row[5] is None else row[5].encode("latin-1")
        session.address, session.void = row[6], bool(row[7])
        session.kept, session.proved = row[8], frozenset(row[9])
        session.exchange = None if row[10] is None else Exchange(*row[10])
        session.told = int(row[11])
    except (ValueError, TypeError, IndexError, KeyError, AttributeError):
        return None
    return session


def rows(store: Store, full: bool) -> Iterator[tuple[bytes, bytes | None]]:
    """Context and row of what changed since the last call (None: gone), or of all that is open."""
    touched, store.touched = store.touched, set()
    for context in [*store.old, *store.young] if full else touched:
        session = store.young.get(context, store.old.get(context, ""))
        if isinstance(session, Open) and session.state not in (MAYBE, RIVAL):
            yield context, pack(session)
        elif (session is None and not full) or not full:
            yield context, None
