"""Lines about a message that are read before the line that says where it came from.

Owns: drafts whose shared session is not open yet; they wait a little for the line that opens it, and are
joined right behind it. Never: asks a clock; looks into a session.
Limits: at most 10,000 wait, each for ten seconds at most (of wall time live, else of the time of the lines),
and only where the log that opens such sessions was written in the last day; what waited in vain is told as it
is.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from ..model import Event
from .acts import ALIVE, FRESH, NEVER
from .items import Draft
from .rules import Parser
from .servers import Servers

EARLY = 10.0  # seconds that a line waits for the one before it
_CAP = 10_000


class _Early(NamedTuple):
    """A draft that waits for its session."""

    due: float
    key: bytes
    draft: Draft


class Early:
    """Drafts that came before their session."""

    def __init__(self, parsers: Iterable[Parser], servers: Servers):
        users: set[str] = set()
        openers: set[str] = set()
        for parser in parsers:
            shared = {kind.name for kind in parser.sessions if kind.shared}
            for rule in parser.rules:
                actions = {use.action for use in rule.sessions if use.session in shared}
                (openers if "open" in actions else users).update([rule.full_name] if actions else [])
        #: Rules that only use sessions which the rules of other logs open, and the rules that open them.
        self.users = frozenset(users) if openers else frozenset[str]()
        self.openers = frozenset(openers)
        self.due = NEVER
        self._servers = servers
        #: By turn, which is the order of their ends too; and the turns of those that wait for a key.
        self.held: OrderedDict[int, _Early] = OrderedDict()
        self._keys: dict[bytes, list[int]] = {}
        self._turn = 0
        self._opened: dict[bytes, float] = {}  # server: when a session was last opened there
        self._first: dict[bytes, float] = {}  # ... and when it was first met

    def __bool__(self) -> bool:
        """Whether a draft waits."""
        return bool(self.held)

    def hold(self, draft: Draft, at: float) -> list[Draft]:
        """A draft whose session is not open; those that wait no more, itself among them where it shall not
        wait. `at`: the time in which waiting is counted."""
        event, key = draft.event, b"".join(draft.keys)
        server = self._servers.of(event)
        fresh = event.time - self._first.setdefault(server, event.time) <= FRESH
        opened = self._opened.get(server, -NEVER)
        if not key or not (fresh or event.time - opened <= ALIVE):
            return [draft]
        self._add(_Early(at + EARLY, key, draft))
        return [] if len(self.held) <= _CAP else [self._pop()]

    def _add(self, one: _Early) -> None:
        self._turn += 1
        self.held[self._turn] = one
        self._keys.setdefault(one.key, []).append(self._turn)
        self.due = min(self.due, one.due)

    def _pop(self) -> Draft:
        turn, first = self.held.popitem(last=False)
        turns = self._keys[first.key]
        turns.remove(turn)
        if not turns:
            del self._keys[first.key]
        return first.draft

    def opened(self, draft: Draft) -> list[Draft]:
        """A session begins: the drafts that waited for it, in their order."""
        server, time = self._servers.of(draft.event), draft.event.time
        self._opened[server] = max(time, self._opened.get(server, time))
        key = b"".join(draft.keys)
        return [self.held.pop(turn).draft for turn in self._keys.pop(key, ())]

    def release(self, at: float) -> list[Draft]:
        """Drafts that waited in vain until `at`."""
        if at < self.due:
            return []
        found: list[Draft] = []
        while self.held:
            self.due = next(iter(self.held.values())).due
            if self.due > at:
                return found
            found.append(self._pop())
        self.due = NEVER
        return found

    def row(self) -> bytes | None:
        """For the checkpoint; None: nothing waits."""
        if not self.held:
            return None
        waiting = [
            [one.due, [key.decode("latin-1") for key in one.draft.keys], *_packed(one.draft.event)]
            for one in self.held.values()
        ]
        return json.dumps(waiting, separators=(",", ":")).encode()

    def restore(self, row: bytes) -> None:
        """Take up the row of a checkpoint."""
        for due, keys, *fields, proved in json.loads(row):
            draft = Draft(
                Event._make([*fields, frozenset(proved), b""]), tuple(key.encode("latin-1") for key in keys)
            )
            self._add(_Early(float(due), b"".join(draft.keys), draft))


def _packed(event: Event) -> list[object]:
    """An event as JSON can hold it, without its line."""
    return [*event[:10], sorted(event.proved)]
