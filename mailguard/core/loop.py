"""The only loop of the program: items in, effects out, in one order everywhere.

A batch goes: judge, firewall, ledger, words. The firewall comes before the ledger, because a ban that is late
lets attacks through and a note that is late loses nothing: after a crash the lines since the last checkpoint
are read again and give the same effects, which the ledger knows by what was found. For the same reason the
firewall may begin with a ban while the judge still words it (`Gate.ahead`).

Owns: the order of steps. What a failing firewall or disk is owed stands in `gate` and `notes`.
Never: reads, writes or asks the time by itself; all that comes in by protocols, so live and replay are this
code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..model import Block, Effect, Events, Item, Notice, Readings, Records, Request
from . import native
from .gate import Gate
from .notes import Notes
from .ports import Clock, Feed, Firewall, Judge, Ledger, Pace, Teller

#: Seconds after the first lines when usual turns end, so that somebody looks what else there may be to do.
GATHER = 0.1
_PATIENCE = 0.25  # seconds that a question waits for a slow disk
#: Seconds the clock may go back without a word: what was dated ahead by less harms nothing.
SET_BACK = 3600.0
#: What the judge answers itself; its effects and state are written down before the answer goes out.
JUDGE_VERBS = frozenset({"ban", "unban", "allow", "disallow", "enforce", "observe", "panic"})

#: What is not done before the firewall has done it; while that is lost the answer says so.
_CHANGES = frozenset({"ban", "unban", "allow", "disallow", "enforce", "panic", "pause"})


class Loop:
    """One run of the program. `step` is one batch; `run` is all of them and the last checkpoint."""

    def __init__(
        self,
        feed: Feed,
        judge: Judge,
        firewall: Firewall,
        ledger: Ledger,
        clock: Clock,
        teller: Teller,
        *,
        pace: Pace | None = None,
        firewall_errors: tuple[type[Exception], ...] = (OSError,),
    ):
        """`firewall_errors` is what a firewall raises when it fails; anything else is a defect.

        `feed` and `judge` may be replaced between two steps (reload).
        """
        self.feed = feed
        self.judge = judge
        self.clock = clock
        self.teller = teller
        self.stopping = False
        self._monotonic = clock.monotonic()
        self._wall = clock.now()  # as of the last step
        self._offset = self._monotonic - clock.now()  # between the two clocks, as of the last step
        native.load("turn")  # not in the middle of a turn
        self._seen: list[Item] = []  # judged in the usual turns of this step
        self.hurry = False  # never wait for items: something else is to be done when there are none
        pace = pace or Pace()
        self.notes = Notes(ledger, clock, teller.notice, pace)
        self.gate = Gate(firewall, clock, ledger.due, teller.notice, pace, firewall_errors)

    def run(self) -> None:
        """Until the feed ends or somebody asks to stop; then the last checkpoint."""
        while not self.stopping and self.step():
            pass
        self.judge.complete()
        self.checkpoint()

    def step(self) -> bool:
        """One batch; False when the feed has ended."""
        deadline = self.deadline()
        items = self._usual(deadline)
        if items is None:
            items = self.feed.next(deadline)
        if items is None:
            return False
        now = self.clock.now()
        if now < self._wall - SET_BACK:
            self.teller.notice(Notice("clock-back", {"seconds": self._wall - now}))
        self._wall = now
        records: list[Item] = []
        asked: list[Request] = []
        notes = self.notes
        for item in items:
            if isinstance(item, Block):
                notes.dirty += item.end - item.start
                records.append(item)
            elif isinstance(item, Records | Events | Readings):
                notes.dirty += 1000
                records.append(item)
            elif isinstance(item, Request):
                asked.append(item)
            else:
                self._heard(item, asked)
        effects = self.judge.tick(now)
        if records:
            effects += self.judge.feed(records, now)
            # Before the effects are noted: the ledger copies the lines behind an effect from these.
            if hostile := self.judge.take_evidence():
                notes.ledger.evidence(hostile)
        if effects:
            self.carry_out(effects, now)
        elif self.gate.begun is not None:
            self.gate.apply(effects, now)
        for request in asked:
            self._answer(request, now)
        monotonic = self.clock.monotonic()
        self._monotonic, self._offset = monotonic, monotonic - now
        if self.gate.waits:
            self.gate.tick(now, monotonic)
        notes.tick(self.judge, self.feed, monotonic)
        seen, self._seen = self._seen, []
        for notice in self.teller.watch(seen + items, now):
            self.teller.notice(notice)
        return True

    def _usual(self, deadline: float | None) -> list[Item] | None:
        """Turns of lines alone while nothing is due, in compiled code (`native/turn.pyx`): what `step` does
        with a block, but for what can wait a moment. What is left for `step`; None: there were none."""
        gate, notes = self.gate, self.notes
        room = notes.room
        quick, parts = getattr(self.feed, "quick", None), getattr(self.judge, "usual", None)
        if quick is None or parts is None or self.hurry or gate.waits or room <= 0 or notes.ledger.trouble:
            return None
        usual = parts()
        if usual is None:
            return None
        near = quick(math.inf if deadline is None else deadline, GATHER)
        if near is None:
            return None
        try:
            effects = usual.run(near, gate, self._wall, room)
        finally:
            near.end()
        notes.dirty += usual.size
        self._wall, self._seen = usual.now, usual.seen
        if hostile := self.judge.take_evidence():
            notes.ledger.evidence(hostile)
        if effects:
            self.carry_out(effects, self._wall)
        elif gate.begun is not None:
            gate.apply([], self._wall)
        if usual.left is not None:
            return [usual.left]
        return [] if usual.seen else None

    def deadline(self) -> float | None:
        """Monotonic seconds at which something is to be done even if no item comes."""
        if self.hurry:
            return self.clock.monotonic()
        earliest = self.notes.deadline(self._monotonic)
        retry = self.gate.retry.at
        if retry is not None and (earliest is None or retry < earliest):
            earliest = retry
        for wall in (self.judge.next_deadline(), self.teller.next_deadline(), self.gate.paused_until):
            if wall is not None and (earliest is None or wall + self._offset < earliest):
                earliest = wall + self._offset
        return earliest

    def ask(self, verb: str, **args: Any) -> None:
        """Carry out a request of the program's own, at once."""
        self._answer(Request(verb, args), self.clock.now())

    def checkpoint(self) -> None:
        """Write everything down now."""
        self.notes.checkpoint(self.judge, self.feed)

    def status(self) -> dict[str, Any]:
        """What `status` says about the loop itself."""
        return self.gate.status() | self.notes.status()

    def _heard(self, notice: Notice, asked: list[Request]) -> None:
        """A notice of a feed or the firewall: some are meant for the loop itself."""
        if notice.id == "stop":
            self.stopping = True
        elif notice.id == "reload":
            asked.append(Request("reload"))
            return
        elif notice.id == "firewall-answers":
            self.gate.hurry()
            return
        elif notice.id == "firewall-lost" and not self.gate.lost():
            return  # on purpose, or said already
        self.teller.notice(notice)

    def carry_out(self, effects: list[Effect], now: float) -> None:
        """Firewall, ledger, words."""
        self.gate.apply(effects, now)
        self.notes.ledger.record(effects)
        self.teller.effects(effects)

    def _answer(self, request: Request, now: float) -> None:
        if request.verb in JUDGE_VERBS:
            if request.verb == "panic":
                self.gate.panic()  # the doors first, the single lifts after
            effects, answer = self.judge.request(request.verb, request.args, now)
            self.gate.allow(self.judge.allowed())
            if effects:
                self.carry_out(effects, now)
            answer = self.teller.asked(request, effects, answer, now)
            # Requests are in no log: what they changed must be on disk before the next crash.
            self.checkpoint()
        elif request.verb == "pause":
            answer = self.teller.asked(request, [], self._pause(request.args, now), now)
            self.notes.ledger.settle()
        elif request.verb == "stop":
            self.stopping, answer = True, {"ok": True}
        else:
            self.notes.ledger.settle(_PATIENCE)  # so that an answer knows of the ban that was just told
            answer = self.teller.answer(request, now)
        if self.gate.retry.failing and answer.get("ok") and request.verb in _CHANGES:
            answer = {**answer, "firewall_lost": True}
        if request.reply is not None:
            request.reply(answer)

    def _pause(self, args: Mapping[str, Any], now: float) -> dict[str, Any]:
        seconds = args.get("for")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < 1e9:
            return {"ok": False, "error": "pause wants a length of time in seconds"}
        if seconds == 0:
            self.gate.resume(now)
        else:
            self.gate.pause(now + seconds)
        return {"ok": True, "paused_until": self.gate.paused_until}


def run(
    feed: Feed,
    judge: Judge,
    firewall: Firewall,
    ledger: Ledger,
    clock: Clock,
    teller: Teller,
    *,
    pace: Pace | None = None,
) -> None:
    """Run one loop to its end (replay, tests)."""
    Loop(feed, judge, firewall, ledger, clock, teller, pace=pace).run()
