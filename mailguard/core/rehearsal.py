"""One set of events under many settings, each as exactly as if it alone were replayed.

How to use it, with events in the order in which they count and every `Setup` that is to come:

    rehearsal = Rehearsal(events, setups)
    for setup in setups:
        effects, engine = rehearsal.run(setup)       # what `Engine(setup)` would say to all events, in order
        engine.counts["under_ban"], engine.bans      # hostile events that met a ban, what stands at the end

For a policy or two, `Engine.feed_many(events)` is simpler and as fast. What a rehearsal saves is, first, all
that does not depend on the settings: names are hashed and sources are keyed once, and the events stand as
rows one behind the other. Second, what cannot matter under any of the settings is left out: the sources that
never do enough for the loosest of them, and what speaks for nobody who could be banned. A rehearsal is not
changed by `run`, so processes forked after it was made can share it, each running some of the settings.

Owns: which events can matter. Never: decides anything; that is the engine's, and the same code as ever.
Limits: `effects` are equal to those of a replay, evidence included (with `brief` the lists of evidence are
empty, for those who only count). Of the engine there are the bans, the standing of those concerned, and the
counts "hostile", "events" and "under_ban" of the events that were left in (`kept`); nothing is tracked for
checkpoints. Where some table would be too small to remember every key of the events, nothing is left out.
Without the compiled engine nothing is prepared: the same answers, in the time of as many replays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..model import Effect, Event
from . import native as twins
from .detectors import Detector, Watch
from .engine import Engine, Setup
from .window import needs_of

_MOST_CONDITIONS = 8  # different `unless` that a prepared event has an answer for


def loosest(detectors: Sequence[Detector]) -> list[Detector]:
    """Detectors that fire wherever one of these may: lowest counts, widest windows, nobody excused."""
    groups: dict[tuple[Any, ...], list[Detector]] = {}
    for found in detectors:
        form = found.distinct if found.distinct in ("source", "network") else bool(found.distinct)
        groups.setdefault((found.key, frozenset(found.on), form, found.count > 0), []).append(found)
    return [
        Detector(
            f"loosest-{number}",
            "",
            alike[0].on,
            alike[0].key,
            max(found.within for found in alike),
            count=min(found.count for found in alike),
            distinct=alike[0].distinct,
            values=min(found.values for found in alike),
        )
        for number, alike in enumerate(groups.values())
    ]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows under one setting: the effects in order, and the engine at the end."""

    effects: list[Effect]
    engine: Engine

    def __iter__(self) -> Any:
        return iter((self.effects, self.engine))


class Rehearsal:
    """Events made ready for many settings; see above."""

    def __init__(self, events: Sequence[Event], setups: Sequence[Setup], native: bool | None = None):
        """`setups` differ as they like in detectors and rules; they share the secret of the hashes, which no
        effect but the names of hashed keys depends on. `native`: see `mailguard.core.native`.

        Raises ValueError where there are no setups or more than one secret.
        """
        if len({setup.secret for setup in setups}) != 1:
            raise ValueError("a rehearsal wants settings, all with the same secret")
        self.events = list(events)
        self._detectors = {found for setup in setups for found in setup.detectors}
        self._native = native
        self._prepared: Any = None
        twin = twins.choose("engine", native)
        ordered = list(dict.fromkeys(found for setup in setups for found in setup.detectors))
        conditions = tuple(dict.fromkeys(found.unless for found in ordered if found.unless))
        if twin is None or len(conditions) > _MOST_CONDITIONS:
            return
        smallest = replace(
            setups[0],
            detectors=loosest(ordered),
            max_keys=min(setup.max_keys for setup in setups),
            max_standing=min(setup.max_standing for setup in setups),
            track=False,
        )
        scout = Engine(smallest, native)
        try:
            self._prepared = twin.Prepared(self.events, scout.hasher, conditions)
        except ValueError:
            return  # something that no parser makes: Python looks at each
        for lane in scout.lanes:  # it remembers as much as the one that remembers most
            asks = [Watch(found, 0, 8, False).ask for found in ordered if found.key == lane.form]
            lane.history.needs = needs_of(asks)
        scout.rewire()
        live = scout.scout(self._prepared)
        if live is not None:
            self._prepared.keep(live, frozenset(kind for found in ordered for kind in found.on))

    @property
    def kept(self) -> int:
        """How many events can matter under some of the settings."""
        return len(self.events) if self._prepared is None else int(self._prepared.count)

    def run(self, setup: Setup, *, enforcing: bool = True, brief: bool = False) -> Verdict:
        """What follows from the events under `setup`, one of those the rehearsal was made for. `brief`:
        offences come without their lists of evidence.

        Raises ValueError for a detector that the rehearsal was not made for.
        """
        if not self._detectors.issuperset(setup.detectors):
            raise ValueError("the rehearsal was not made for these detectors")
        engine = Engine(replace(setup, track=False), self._native)
        engine.policy.enforcing = enforcing
        engine.brief = brief
        if self._prepared is None:
            return Verdict(engine.feed_many(self.events), engine)
        return Verdict(engine.run(self._prepared), engine)
