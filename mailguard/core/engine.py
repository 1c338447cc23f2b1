"""Standing, detectors and policy behind one door: events in, effects out.

Owns: the order in which an event is looked at, the engine's clock (the newest stamp it has seen), and the
state that a checkpoint carries over a restart.
Never: asks the time, reads a line, knows what a firewall is. The same events in the same order give the same
effects, live, in replay and after a restart.
Limits: one event costs a bounded amount of work; housekeeping happens in pieces of one shard (about 2,000
keys), one key looked at for each event.

The order for an event: it counts towards standing (`earning`); if its source is under a ban that covers it,
it is noted there and goes no further; else every lane records it; whatever fires becomes an offence
(`offences`), and is settled with the policy (`settling`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model import HOSTILE, Changes, Effect, Event, Network
from ..notation import V6, covers, host_prefix
from . import native as twins
from .bans import Bans, Ordinals
from .detectors import KIND_NAMES, KIND_NUMBER, Detector
from .earning import Earning, alias
from .lanes import Lane, event_flags
from .names import Hasher, Names
from .networks import NetworkMap, source_network, wide_network
from .offences import Offences
from .pardons import Pardons
from .policy import Policy, Rules
from .quota import Quota
from .settling import Settling
from .standing import Book
from .table import Table
from .watches import Fired
from .window import KNOWN, LATENESS

#: How the room for keys is divided among the forms of key that are in use.
_SHARES = {"source": 8, "network": 3, "user": 2, "user+network": 2}
_OTHER_SHARE = 1
#: Kinds whose events carry a user whose own networks excuse them.
_EXCUSED = frozenset({"auth_failure", "locked_out"})
#: Kinds that a source in good standing excuses: mail from where mail or people have been coming for days.
_USUAL = frozenset({"mail_accepted", "mail_bounced"})
_SWEEP_LEAST = 256


@dataclass(frozen=True, slots=True)
class Setup:
    """All that an engine is made of."""

    detectors: Sequence[Detector]
    rules: Rules = field(default_factory=Rules)
    never: Sequence[tuple[Network, str]] = ()
    max_keys: int = 1_000_000  # live keys over all detectors
    max_standing: int = 200_000
    secret: bytes = b"mailguard"  # for keyed hashes; the ledger keeps one for each installation
    track: bool = False  # remember changes for checkpoints
    guessed: frozenset[str] = frozenset()  # parsers whose rules are guessed: they alert only


class Engine:
    """Events in, effects out."""

    def __init__(self, setup: Setup, native: bool | None = None):
        """`native`: use the compiled twin, see `mailguard.core.native`."""
        self.setup = setup
        self.hasher = Hasher(setup.secret)
        self.salt = self.hasher("salt")
        self.clock = float("-inf")
        self.logs, self.rules = Names("name/log"), Names("name/rule")
        self.book = Book(setup.max_standing, self.salt, setup.track)
        self.bans = Bans(setup.rules.max_bans, setup.rules.max_networks)
        self.ordinals = Ordinals(2 * setup.rules.max_bans, setup.rules.forget, self.salt, setup.track)
        self.allow = NetworkMap()
        self.policy = Policy(
            setup.rules,
            NetworkMap(setup.never),
            self.allow,
            self.book,
            self.bans,
            self.ordinals,
            Pardons(setup.track),
        )
        self._counts: dict[str, int] = dict.fromkeys(
            ("events", "hostile", "under_ban", "imposed", "lifted", "alerts", "silenced"), 0
        )
        self.lanes = self._make_lanes()
        self._quota = next((Quota(lane.history.table) for lane in self.lanes if lane.form == "source"), None)
        # kind -> the lanes that take events of strangers, and of known users
        self._by_kind: dict[str, tuple[tuple[Lane, ...], tuple[Lane, ...]]] = {
            kind: (
                tuple(lane for lane in self.lanes if lane.takes(number, 0)),
                tuple(lane for lane in self.lanes if lane.takes(number, KNOWN)),
            )
            for kind, number in KIND_NUMBER.items()
            if any(number in lane.who for lane in self.lanes)
        }
        self._offences = Offences(self.book, self.hasher, self.rules, self.logs)
        settling = Settling(self.policy, self.bans, self._offences, setup.guessed, self._counts)
        self._settle = settling.settle
        earning = Earning(self.book, self.hasher, self.lanes, settling)
        self._completing, self._pardoning = earning.completing, earning.pardoning
        self._login, self._accepted = earning.login, earning.mail
        self._allow_changed: set[Network] = set()
        self._sweep_in = _SWEEP_LEAST
        self._sweep_turn = 0
        self._twin = twins.choose("engine", native)
        self._feeder: Any = None
        self._tell: Callable[[int, int, str, float], None] | None = None
        self.rewire()

    def rewire(self) -> None:
        """Let the compiled twin, where it is in use, look anew at all that it works on (after a restore)."""
        if self._twin is None:
            return
        self._gather()
        self._feeder = self._twin.Feeder(self, self._tell)
        self._offences.unfold = self._twin.unfold
        self.book.stale = self._twin.stale_earned, self._twin.stale_logins
        for lane in self.lanes:
            lane.history.stale = self._twin.stale_histories
        # In place of the methods, so that no call goes through Python on its way.
        self.feed, self.feed_many = self._feeder.feed, self._feeder.feed_many  # type: ignore[method-assign]

    def foretell(self, tell: Callable[[int, int, str, float], None]) -> None:
        """From now on call `tell(address, prefix, scope, until)` for a ban that will follow, as soon as that
        is certain; all that is to be decided and worded comes after. Not for every ban, and never without
        the compiled twin."""
        pardons = self.policy.pardons

        def certain(address: int, prefix: int, scope: str, until: float) -> None:
            if pardons.of(Network(address, prefix)) is None:  # of those the policy may think otherwise
                tell(address, prefix, scope, until)

        self._tell = certain
        self.rewire()

    @property
    def compiled(self) -> bool:
        """Events go through the compiled twin."""
        return self._feeder is not None

    @property
    def counts(self) -> dict[str, int]:
        """What was counted since the first checkpoint: "events", "hostile", "under_ban", "imposed", ..."""
        self._gather()
        return self._counts

    def _gather(self) -> None:
        feeder, counts = self._feeder, self._counts
        if feeder is not None:
            for name in ("events", "hostile", "under_ban"):
                counts[name] += getattr(feeder, name)
                setattr(feeder, name, 0)

    def _make_lanes(self) -> tuple[Lane, ...]:
        by_form: dict[str, list[Detector]] = {}
        for detector in self.setup.detectors:
            by_form.setdefault(detector.key, []).append(detector)
        whole = sum(_SHARES.get(form, _OTHER_SHARE) for form in by_form) or 1
        lanes = []
        for form, detectors in by_form.items():
            cap = self.setup.max_keys * _SHARES.get(form, _OTHER_SHARE) // whole
            table = Table(f"history/{form}", cap, self.salt, self.setup.track)
            lanes.append(Lane(form, detectors, table, self.hasher, self.setup.track))
        return tuple(lanes)

    @property
    def wanted(self) -> frozenset[str]:
        """Kinds of events that change anything here: rules of other kinds need not be compiled."""
        kinds = set(self._by_kind) | {"auth_success", "mail_accepted"}
        return frozenset(kinds | {KIND_NAMES[kind] for lane in self.lanes for kind in lane.completing})

    # ------------------------------------------------------------ events

    def feed_many(self, events: Iterable[Event]) -> list[Effect]:  # the compiled twin stands in for both
        """What follows from these events, one after the other; all effects in order."""
        effects: list[Effect] = []
        feed = self.feed_slowly
        for event in events:
            if found := feed(event):
                effects += found
        return effects

    def feed(self, event: Event) -> list[Effect]:
        """What follows from one event."""
        return self.feed_slowly(event)

    def feed_slowly(self, event: Event) -> list[Effect]:
        """`feed` in Python: the reference, and what takes the events that the compiled twin hands back."""
        counts = self._counts
        counts["events"] += 1
        kind, time, source, rule_name, _, fields, log_name, _, scope, _, proved, _ = event
        if time > self.clock:
            self.clock = time
        if self.clock >= self.bans.soonest:  # also after a late event, whose ban may be over at once
            self.policy.expire(self.clock)
        self._sweep_in -= 1
        if self._sweep_in <= 0:
            self._sweep()
        effects: list[Effect] = []
        if kind in HOSTILE:
            counts["hostile"] += 1
        elif kind == "auth_success":
            effects = self._login(event)
        elif kind == "mail_accepted":
            self._accepted(event)
        lanes = self._by_kind.get(kind)
        if lanes is None:
            return effects
        held = self.bans.covering(source, scope, time) if source is not None else None
        if held is not None:
            if kind in HOSTILE:
                counts["under_ban"] += 1
                self.bans.hit(held, time)
            return effects
        known = False
        if kind in _USUAL:
            known = source is None or self.book.source(source).good(time)
        elif kind in _EXCUSED and source is not None and "user" in proved and (user := fields.get("user")):
            book, hasher = self.book, self.hasher
            known = book.known(hasher[user], source, time) or book.known(hasher[alias(user)], source, time)
        number, flags = KIND_NUMBER[kind], event_flags(event, known)
        log, rule = self.logs.number(log_name), self.rules.number(rule_name)
        found: list[tuple[Lane, Fired]] = []
        for lane in lanes[known]:
            key = lane.key_of(event)
            if key is None:
                continue
            if key >= V6 and lane.form == "source" and self._quota is not None:
                key = self._quota.key(key)
            for fired in lane.feed(key, event, number, flags, log, rule, self.clock):
                found.append((lane, fired))
        if found:
            effects += self._settle(found, event)
        return effects

    # ------------------------------------------------------------ time and housekeeping

    def turn_back(self, now: float) -> None:
        """It is `now`: where the clock was far ahead before, what comes now must not look old."""
        if self.clock > now + LATENESS:
            self.clock = now

    def set_back(self, now: float) -> None:
        """The host's clock was set back to `now`: what was dated ahead of it must neither last nor hide what
        comes. Looks at all that is known."""
        self.turn_back(now)
        self.bans.turn_back(now)
        self.policy.pardons.marks.turn_back(now)
        for lane in self.lanes:
            lane.turn_back(now + LATENESS)

    def _sweep(self) -> None:
        places = len(self.lanes) + 2
        self._sweep_turn = (self._sweep_turn + 1) % places
        if self._sweep_turn < len(self.lanes):
            looked = self.lanes[self._sweep_turn].sweep(self.clock)
        elif self._sweep_turn == len(self.lanes):
            looked = self.book.sweep(self.clock)
        else:
            looked = self.ordinals.sweep(self.clock)
        self._sweep_in = max(_SWEEP_LEAST, looked)

    def set_allow(self, network: Network, reason: str | None) -> bool:
        """Put a network on the allow list (`reason` None: take it off); True when that changed something."""
        changed = True
        if reason is None:
            changed = self.allow.remove(network)
        else:
            self.allow.add(network, reason)
        if changed:
            self._allow_changed.add(network)
        return changed

    def take_allow_changes(self, full: bool) -> list[Network]:
        """Networks whose place on the allow list changed since the last call; `full`: all that are on it."""
        changed = sorted(self._allow_changed | ({network for network, _ in self.allow} if full else set()))
        self._allow_changed.clear()
        return changed

    def clear(self, network: Network) -> int:
        """Forget what the sources in `network` (and the network itself) did; how many keys that were."""
        cleared = 0
        for lane in self.lanes:
            if lane.form not in ("source", "network"):
                continue
            for key in self._keys_in(lane, network):
                cleared += lane.forget(key)
        return cleared

    def _keys_in(self, lane: Lane, network: Network) -> Iterable[int]:
        if lane.form == "source" and network == source_network(network.address):
            return [network.address]
        if lane.form == "network":
            own = wide_network(network.address)
            if covers(own, network):
                return [own.address]
            return [key for key, _ in lane.history.table.items() if covers(network, wide_network(key))]
        return [
            key for key, _ in lane.history.table.items() if covers(network, Network(key, host_prefix(key)))
        ]

    @property
    def folded(self) -> int:
        """Events counted under the shared key of an IPv6 network that used up its quota."""
        return self._quota.folded if self._quota is not None else 0

    def keys(self) -> dict[str, int]:
        """Live keys of each form."""
        return {lane.form: len(lane.history.table) for lane in self.lanes}

    def tables(self) -> Iterator[Table]:
        for lane in self.lanes:
            yield lane.history.table
        yield from self.book.tables
        yield self.ordinals.table

    def changes(self, full: bool) -> Changes:
        """What changed since the last call (`full`: all that is known), but of bans and the allowlist."""
        made = Changes([*self.logs.changes(full), *self.rules.changes(full)])
        for lane in self.lanes:
            made.rows += lane.changes(full)
        made.rows += self.policy.pardons.changes(full)
        self.book.owe(full)
        for table in self.tables():
            if full:
                made.rows += table.changes(full)
            elif (part := table.take()) is not None:
                made.parts.append(part)
        return made
