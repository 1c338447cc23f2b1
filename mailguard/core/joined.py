"""Sessions over several logs of one server, and acts that several of its logs tell.

Owns: the order in which a line is asked about: may a client have written it (`suspects`), is its message
known yet (`early`), does another log tell the same act (`acts`, `heard`), which session is it of. No
program's name stands here. Never: asks a clock; time is that of the lines, or what `now` was set to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..model import Event
from .acts import WAIT, Acts
from .early import Early
from .heard import Heard
from .items import Draft, family
from .rules import IGNORE, Parser
from .servers import Servers
from .sessions import Segment, Sessions, objects
from .suspects import Suspects

__all__ = ["WAIT", "Joined"]

_NEVER = float("inf")
_HELD = b"\0held"
_SUSPECTS = b"\0suspects"
_MARKS = b"\0marks"
_EARLY = b"\0early"
_HEARD = b"\0heard"


class Joined(Sessions):
    """Sessions, and what several logs of one server tell of one act."""

    def __init__(
        self,
        parsers: Iterable[Parser],
        native: bool | None = None,
        *,
        covering: bool = True,
        track: bool = True,
    ):
        """`covering` False: every teller counts (for those who look at single lines). `track`: see
        `Sessions`."""
        parsers = tuple(parsers)
        super().__init__(parsers, native, track=track)
        self._servers = Servers(parsers)
        self._acts = Acts(parsers, self._servers, covering)
        self._heard = Heard(parsers, self._servers, covering)
        self._early = Early(parsers, self._servers)
        self._suspects = Suspects(parsers)
        #: For rules of shared sessions the host and declaration that begin their keys have to be replaced.
        self._shared: dict[str, tuple[tuple[bytes, bytes] | None, ...]] = {}
        for parser in parsers:
            declared = {kind.name: kind for kind in parser.sessions}
            for rule in parser.rules:
                shared = tuple(
                    (f"\0{parser.name}/{use.session}".encode(), f"\0/{use.session}".encode())
                    if declared[use.session].shared
                    else None
                    for use in rule.sessions
                )
                if any(shared):
                    self._shared[rule.full_name] = shared
        self._clock = float("-inf")
        acts, heard, early = self._acts, self._heard, self._early
        dialogues = {parser.name for parser in parsers if parser.dialogue is not None}
        #: Rules whose events are looked at here; all others go straight to the sessions.
        concerned = frozenset(
            rule.full_name
            for parser in parsers
            for rule in parser.rules
            if parser.name in acts.tellers
            or parser.name in heard.lenders
            or rule.full_name in acts.better
            or rule.full_name in heard.lines
            or rule.full_name in self._shared
            or rule.suspect
        ) | {f"{name}/" for name in dialogues}
        if acts.better or heard.lines or self._shared or self._suspects.reach:
            self.join = self._join_all  # type: ignore[method-assign]
            if self._gatherer is not None:
                self._gatherer.concern(concerned)
            self.held = (acts.held, heard.held, early.held, self._suspects.places)
            self.concerned = concerned
        self._waits = (acts, heard, early)

    @property
    def covered(self) -> int:
        """Events that another log told better."""
        return self._acts.covered + self._heard.covered

    # ------------------------------------------------------------ items

    def gather(self, segments: Sequence[Segment]) -> Sequence[Event]:
        """As for sessions; of objects where a line is asked about here."""
        if (
            self._acts or self._heard or self._early or self._suspects
            or self.gatherer_concerns(segments)
        ):  # fmt: skip
            return self.join(objects(segments))
        return super().gather(segments)

    def _join_all(self, drafts: Sequence[Event | Draft]) -> list[Event]:
        suspects, acts, heard, early = self._suspects, self._acts, self._heard, self._early
        if (
            not (acts or heard or early or suspects) and not self.concerns(drafts, self.concerned)
        ):  # fmt: skip
            return self.alone(drafts)
        found: list[Event] = []
        waiting: list[Event | Draft] = []
        better, tellers, lines, lenders, shared = (
            acts.better, acts.tellers, heard.lines, heard.lenders, self._shared,
        )  # fmt: skip
        for item in drafts:
            event = item if type(item) is Event else item.event  # type: ignore[union-attr]
            rule = event.rule
            if suspects or rule in suspects.reach:
                judged = suspects.judge(event, self.now)
                if judged is not event:
                    item = judged if type(item) is Event else Draft(judged, item.keys)  # type: ignore[union-attr]
                    event = judged
            if event.time > self._clock:
                self._clock = event.time
            at = self._clock if self.now is None else self.now
            if acts or heard or early:
                waiting += self._due(at)
            if rule in shared and type(item) is Draft:
                item = Draft(event, self._keys(rule, event.log, item.keys))
            parser = rule.partition("/")[0]
            if rule in lines:
                waiting += heard.line(event, at)
                continue
            if parser in lenders:
                waiting += heard.said(event, at)
                continue
            if rule in better:
                counts = not acts.covers(event, self.now, self._clock)
            else:
                counts = parser not in tellers or acts.tells(event)
            if not counts:
                if rule in early.openers and type(item) is Draft:  # the message is known all the same
                    item = Draft(event._replace(kind=IGNORE), item.keys)
                else:
                    continue
            if rule in early.users and type(item) is Draft:
                found += self.alone(waiting)
                waiting = []
                told = self.alone([item])
                if told and told[0].source is None:
                    waiting += early.hold(item, at)
                else:
                    found += told
                continue
            waiting.append(item)
            if rule in early.openers and type(item) is Draft:
                waiting += early.opened(item)
        found += self.alone(waiting)
        return found

    def _keys(self, rule: str, log: str, keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """The keys of shared sessions: of the server instead of the log, of nobody instead of the parser."""
        host, server = family(log), self._servers.named(rule.partition("/")[0], log)
        made: list[bytes] = []
        for key, names in zip(keys, self._shared[rule], strict=True):
            if names is not None and key.startswith(host + names[0]):
                key = server + names[1] + key[len(host) + len(names[0]) :]
            made.append(key)
        return tuple(made)

    # ------------------------------------------------------------ what waits

    def _due(self, at: float) -> list[Event | Draft]:
        """What counts because it has waited long enough."""
        return [*self._acts.release(at), *self._heard.release(at), *self._early.release(at)]

    def release(self, now: float) -> list[Event]:
        """Held events that count now: wall time is `now`."""
        for one in self._waits:
            if one.due <= now and one:
                return self.alone(self._due(now))
        return []

    def next_release(self) -> float | None:
        """Wall time of the next held event, live; None: nothing waits."""
        if self.now is None:
            return None
        due = _NEVER
        for one in self._waits:
            if one.due < due and one:
                due = one.due
        return None if due == _NEVER else due

    def flush(self) -> list[Event]:
        """All held events: nothing will come any more."""
        return self.alone(self._due(_NEVER))

    # ------------------------------------------------------------ the checkpoint

    def _waiting(self) -> dict[bytes, bytes | None]:
        """The events that wait, and what is known about them."""
        made: dict[bytes, bytes | None] = {}
        if self._acts.better:
            made[_HELD] = self._acts.held_row()
        if self._suspects.reach:
            made[_SUSPECTS] = self._suspects.row()
        if self._acts.marked:
            made[_MARKS] = self._acts.marks_row(self._clock)
        if self._early.users:
            made[_EARLY] = self._early.row()
        if self._heard.lines:
            made[_HEARD] = self._heard.row()
        return made

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up the rows of a checkpoint."""
        takes = {
            _HELD: self._acts.restore_held,
            _SUSPECTS: self._suspects.restore,
            _MARKS: self._acts.restore_marks,
            _EARLY: self._early.restore,
            _HEARD: self._heard.restore,
        }
        others: list[tuple[bytes, bytes]] = []
        for key, value in rows:
            take = takes.get(key)
            if take is None:
                others.append((key, value))
            else:
                take(value)
        super().restore(others)
