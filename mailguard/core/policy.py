"""Offence -> effects: whether a finding becomes a ban, an alert, or nothing, always in the same order.

The order: evidence that may not ban -> the never-list -> standing -> pardons -> escalation -> overlap
-> caps.

Owns: that order and the length of a ban.
Never: counts events; bans a network that touches the never-list or the allow list; bans a range in which
somebody of good standing lives; bans without an end on its own.
Limits: one offence of several strangers bans at most as many sources as its evidence names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..model import Alert, Ban, Effect, Impose, Lift, Network, Offence
from ..notation import format_network
from .bans import SCOPE_COVERS, Bans, Held, Ordinals, is_wide
from .detectors import Detector
from .networks import NetworkMap, source_network
from .pardons import Pardons
from .standing import Book

#: Offences made only of these are forgiven to a source in good standing (they become alerts); guessing never.
FORGIVEN = frozenset(
    {
        "unknown_recipient",
        "policy_reject",
        "content_reject",
        "blocklisted",
        "relay_denied",
        "protocol_violation",
        "session_aborted",
        "rate_exceeded",
        "tls_failure",
        "connect",
        "disconnect",
    }
)
#: Failed logins gathered over a window of this length or longer are, where people log in every day, mostly
#: theirs: thirty of them mistype more names in a week than an attacker tries. There they are an alert.
SLOW = 86400.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The `[policy]` table. Seconds and numbers."""

    escalation: tuple[float, ...] = ()  # the n-th ban of a network lasts at least this long
    forget: float = 30 * 86400.0  # clean time after which a network's earlier bans are forgotten
    max_bans: int = 100_000
    max_networks: int = 2_000


class Policy:
    """Decides; keeps the bans that stand."""

    def __init__(
        self,
        rules: Rules,
        never: NetworkMap,
        allow: NetworkMap,
        book: Book,
        bans: Bans,
        ordinals: Ordinals,
        pardons: Pardons | None = None,
    ):
        self.rules = rules
        self.never = never
        self.allow = allow
        self.book = book
        self.bans = bans
        self.ordinals = ordinals
        self.pardons = pardons or Pardons()
        self.enforcing = False
        self.cap_told = False
        self.refused_at_cap = 0

    # ------------------------------------------------------------ deciding

    def spared(self, network: Network) -> tuple[Network, str] | None:
        """The entry of the never-list or the allow list that `network` touches, with its reason."""
        return self.never.touching(network) or self.allow.touching(network)

    def decide(self, detector: Detector, offence: Offence, target: Network, time: float) -> list[Effect]:
        """What follows from an offence of `target`, decided at `time`; `detector` has a ban rule."""
        if not offence.may_ban:
            return [Alert(offence, time, "trust", target)]
        if self.spared(target) is not None:
            return [Alert(offence, time, "never-list", target)]
        if self._in_good_standing(detector, offence, target, time):
            return [Alert(offence, time, "standing", target)]
        if self.pardons.excuses(offence, target):
            return [Alert(offence, time, "unbanned", target)]
        if self.bans.around(target, offence.scope, time):
            return []
        ordinal = self.ordinals.next(target, time)
        ban = Ban(target, time, time + self.length(detector, ordinal), ordinal, offence, scope=offence.scope)
        return self.impose(ban, time)

    def _in_good_standing(self, detector: Detector, offence: Offence, target: Network, time: float) -> bool:
        if is_wide(target):
            return self.book.network(target, time).good(time)
        standing = self.book.source(target.address)
        if FORGIVEN.issuperset(offence.kinds):
            return standing.good(time)
        return detector.within >= SLOW and standing.home(time)

    def length(self, detector: Detector, ordinal: int) -> float:
        """Seconds the `ordinal`-th ban by this detector lasts."""
        rule = detector.ban
        if rule is None:
            return 0.0
        length = rule.first
        for _ in range(ordinal - 1):
            length *= rule.factor
            if length >= rule.longest:
                break
        table = self.rules.escalation
        if table:
            length = max(length, table[min(ordinal, len(table)) - 1])
        return min(length, rule.longest)

    # ------------------------------------------------------------ letting stand

    def impose(self, ban: Ban, time: float, asked: bool = False) -> list[Effect]:
        """Let a ban stand, with what that means for others; `asked`: an administrator wants it, in any
        mode.
        """
        real = self.enforcing or asked
        replaced = [
            held
            for held in self.bans.within(ban.network, time)
            if held.key != (ban.network, ban.scope)
            and held.ban.scope in SCOPE_COVERS[ban.scope]
            and (ban.until is None or held.until <= ban.until)
        ]
        effects: list[Effect] = []
        for held in replaced:
            self._leave(held, time, "replaced", effects)
        evicted = [] if self.bans.get(ban.network, ban.scope) else self.bans.overfull(is_wide(ban.network))
        if evicted and ban.offence is not None:
            rank = (ban.ordinal, ban.until if ban.until is not None else float("inf"))
            told = self._say_cap(ban, ban.offence, time)
            if any(held.rank > rank for held in evicted):
                self.refused_at_cap += 1
                return effects + told
            effects += told
        for held in evicted:
            self._leave(held, time, "evicted", effects)
        self.bans.put(ban, not real)
        if ban.offence is not None:
            end = ban.until if ban.until is not None else float("inf")
            self.ordinals.note(ban.network, ban.ordinal, end)
        if real:
            return [*effects, Impose(ban, time)] if not replaced else [Impose(ban, time), *effects]
        if ban.offence is not None:
            effects.append(Alert(ban.offence, time, "observe", ban.network, ban))
        return effects

    def _leave(self, held: Held, time: float, reason: str, effects: list[Effect]) -> None:
        self.bans.remove(*held.key)
        if not held.simulated:
            effects.append(Lift(held.ban.network, time, reason, held.ban.scope))

    def _say_cap(self, ban: Ban, offence: Offence, time: float) -> list[Effect]:
        if self.cap_told:
            return []
        self.cap_told = True
        return [Alert(offence, time, "cap", ban.network)]

    def lift(self, held: Held, time: float, reason: str) -> list[Effect]:
        """End a ban early."""
        effects: list[Effect] = []
        self._leave(held, time, reason, effects)
        return effects

    def expire(self, time: float) -> None:
        """Take note of ended bans; the kernel ends them by itself."""
        self.bans.expire(time)
        if self.cap_told and len(self.bans) < self.rules.max_bans * 0.9:
            self.cap_told = False

    def strangers(
        self, detector: Detector, offence: Offence, user: int | None, sources: Sequence[int], time: float
    ) -> list[Effect]:
        """An offence counted under a name: the sources that took part, one by one, but not the user's own
        networks.
        """
        effects: list[Effect] = []
        for source in sources:
            if user is not None and self.book.known(user, source, time):
                continue
            target = source_network(source)
            own = replace(offence, key=format_network(target), sources=(source,))
            effects += self.decide(detector, own, target, time)
        return effects
