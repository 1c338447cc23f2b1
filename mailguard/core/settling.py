"""What follows from an event by which something fired: offences to the policy, alerts said once.

Owns: the order in which findings of one event are settled, and which alerts repeat one that was given.
Never: counts events; reads evidence again that was settled, for it is consumed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Alert, Effect, Event, Offence
from .bans import Bans
from .lanes import Lane
from .networks import source_network
from .offences import Offences, target
from .policy import Policy
from .watches import Fired


class Settling:
    """Findings in, effects out."""

    __slots__ = ("bans", "counts", "guessed", "offences", "policy")

    def __init__(
        self, policy: Policy, bans: Bans, offences: Offences, guessed: frozenset[str], counts: dict[str, int]
    ):
        """`guessed`: parsers whose rules are guessed; `counts`: the engine's, where "imposed", "lifted",
        "alerts" and "silenced" are added to.
        """
        self.policy = policy
        self.bans = bans
        self.offences = offences
        self.guessed = guessed
        self.counts = counts

    def settle(self, found: Sequence[tuple[Lane, Fired]], event: Event) -> list[Effect]:
        """What follows from all that fired because of one event."""
        effects: list[Effect] = []
        source = event.source
        for lane, fired in found:
            if (
                lane.form == "source"
                and source is not None
                and self.bans.covering(source, event.scope, event.time) is not None
            ):
                break  # under a ban by what fired before it; the rest of its evidence stays
            effects += self.decide(lane, fired, event)
        return effects

    def decide(self, lane: Lane, fired: Fired, event: Event) -> list[Effect]:
        """What follows from one finding; its evidence is consumed."""
        watch, detector, time = fired.watch, fired.watch.detector, event.time
        watch.consume(fired.key, fired.span.last, fired.trusted)
        offence, sources = self.offences.of(lane, fired, event)
        effects: list[Effect] = []
        by_name = lane.form not in ("source", "network")
        if detector.ban is None or (detector.alert and by_name):
            why = "stale-client" if detector.who == "known" else "user" if lane.form == "user" else "alert"
            about = None if by_name or event.source is None else target(lane, event.source)
            if by_name and detector.then and event.source is not None:
                about = source_network(event.source)  # from where the account was entered
            effects.append(Alert(offence, time, why, about))
        if detector.ban is None:
            pass
        elif by_name:
            user = fired.key if lane.form == "user" else None
            effects += self.policy.strangers(detector, offence, user, sources, time)
        elif event.source is not None:
            effects += self.policy.decide(detector, offence, target(lane, event.source), time)
        return self._count(self._once(fired, effects, time))

    def _once(self, fired: Fired, effects: list[Effect], time: float) -> list[Effect]:
        """Without the alerts that repeat one about the same key within the detector's quiet time."""
        if not any(isinstance(effect, Alert) and effect.why not in ("observe", "cap") for effect in effects):
            return effects
        told = fired.watch.told
        if time >= told.get(fired.key):
            told.set(fired.key, time + fired.watch.detector.quiet)
            return self._guess(effects)
        kept = [
            effect for effect in effects if not isinstance(effect, Alert) or effect.why in ("observe", "cap")
        ]
        self.counts["silenced"] += len(effects) - len(kept)
        return kept

    def _guess(self, effects: list[Effect]) -> list[Effect]:
        """An alert for lack of trust says so when the reason is that the rule's format is guessed."""
        return [
            Alert(effect.offence, effect.time, "guessed", effect.network, effect.would)
            if isinstance(effect, Alert) and effect.why == "trust" and self._is_guessed(effect.offence)
            else effect
            for effect in effects
        ]

    def _is_guessed(self, offence: Offence) -> bool:
        return any(piece.rule.partition("/")[0] in self.guessed for piece in offence.evidence)

    def _count(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            name = type(effect).__name__
            self.counts["imposed" if name == "Impose" else "lifted" if name == "Lift" else "alerts"] += 1
        return effects
