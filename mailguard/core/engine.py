"""Standing, detectors and policy behind one door: events in, effects out.

Owns: the order in which an event is looked at, the engine's clock (the newest stamp it has seen), and the
state that a checkpoint carries over a restart.
Never: asks the time, reads a line, knows what a firewall is. The same events in the same order give the same
effects, live, in replay and after a restart.
Limits: one event costs a bounded amount of work; housekeeping happens in pieces of one shard (about 2,000
keys), one key looked at for each event.

The order for an event: it counts towards standing; if its source is under a ban that covers it, it is noted
there and goes no further; else every lane records it; whatever fires is decided by the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model import HOSTILE, Alert, Effect, Event, Evidence, Network, Offence
from ..notation import V6, covers, format_network, host_prefix
from . import native as twins
from .bans import Bans, Ordinals
from .detectors import (
    KIND_NAMES,
    KIND_NUMBER,
    MAX_EVIDENCE,
    SCOPES,
    Detector,
)
from .lanes import Lane, event_flags
from .names import UNNAMED, Hasher, Names
from .networks import NetworkMap, source_network, source_of_value, source_value, wide_network
from .pardons import Pardons
from .policy import Policy, Rules
from .quota import Quota
from .standing import Book
from .table import Row, Table
from .watches import Fired
from .window import KNOWN, LATENESS, SCOPE, View

#: How the room for keys is divided among the forms of key that are in use.
_SHARES = {"source": 8, "network": 3, "user": 2, "user+network": 2}
_OTHER_SHARE = 1
#: Kinds whose events carry a user whose own networks excuse them.
_EXCUSED = frozenset({"auth_failure", "locked_out"})
#: Kinds that a source in good standing excuses: mail from where mail or people have been coming for days.
_USUAL = frozenset({"mail_accepted", "mail_bounced"})
_FAILURE = KIND_NUMBER["auth_failure"]
_SWEEP_LEAST = 256
_new = tuple.__new__  # `Evidence(...)` takes four times as long


def short_name(user: str) -> str:
    """The name under which somebody who logged in as `user` is known too: people leave the domain out, or
    write one that the server does not want. `sato@example.net` is `sato`; `sato` is `sato@` with any domain.
    Accounts of two domains are never the same.
    """
    return user.partition("@")[0] if "@" in user else f"{user}@"


def alias(user: str) -> str:
    """What `short_name` of an account would be that `user` may mean."""
    return f"{user.partition('@')[0]}@" if "@" in user else user


def unfold(
    buffer: bytes, indexes: Sequence[int], most: int, rules: dict[int, str], logs: dict[int, str]
) -> tuple[set[int], int, list[int], tuple[Evidence, ...]]:
    """What these records of a history tell together: their kinds, the widest scope, their different values
    (in the order in which each came last), and the last `most` as evidence.
    """
    records = View(buffer).records(indexes)
    values = dict.fromkeys(record[2] for record in reversed(records) if record[2])
    evidence = [
        _new(Evidence, (time, rules.get(rule, UNNAMED), logs.get(log, UNNAMED), position, weight))
        for time, position, _, log, rule, weight, _, _ in (records[-most:] if most else ())
    ]
    return (
        {record[6] for record in records},
        max([record[7] & SCOPE for record in records]),
        list(reversed(values)),
        tuple(evidence),
    )


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
        self._completing = tuple(lane for lane in self.lanes if lane.completing)
        self._pardoning = tuple(
            lane
            for lane in self.lanes
            if lane.form in ("source", "user", "user+network") and _FAILURE in lane.who
        )
        self._allow_changed: set[Network] = set()
        self._sweep_in = _SWEEP_LEAST
        self._sweep_turn = 0
        self._unfold = unfold
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
        self._unfold = self._twin.unfold
        self.book.stale = self._twin.stale_earned, self._twin.stale_logins
        for lane in self.lanes:
            lane.history.stale = self._twin.stale_histories
        for table in self.tables():
            table.rows = self._twin.Shelf(table).changes
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

    def _settle(self, found: Sequence[tuple[Lane, Fired]], event: Event) -> list[Effect]:
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
            effects += self._decide(lane, fired, event)
        return effects

    def _decide(self, lane: Lane, fired: Fired, event: Event) -> list[Effect]:
        watch, detector, time = fired.watch, fired.watch.detector, event.time
        watch.consume(fired.key, fired.span.last, fired.trusted)
        offence, sources = self._offence(lane, fired, event)
        effects: list[Effect] = []
        by_name = lane.form not in ("source", "network")
        if detector.ban is None or (detector.alert and by_name):
            why = "stale-client" if detector.who == "known" else "user" if lane.form == "user" else "alert"
            target = None if by_name or event.source is None else self._target(lane, event.source)
            if by_name and detector.then and event.source is not None:
                target = source_network(event.source)  # from where the account was entered
            effects.append(Alert(offence, time, why, target))
        if detector.ban is None:
            pass
        elif by_name:
            user = fired.key if lane.form == "user" else None
            effects += self.policy.strangers(detector, offence, user, sources, time)
        elif event.source is not None:
            effects += self.policy.decide(detector, offence, self._target(lane, event.source), time)
        return self._count(self._once(fired, effects, time))

    def _target(self, lane: Lane, source: int) -> Network:
        return wide_network(source) if lane.form == "network" else source_network(source)

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
        self._counts["silenced"] += len(effects) - len(kept)
        return kept

    def _guess(self, effects: list[Effect]) -> list[Effect]:
        """An alert for lack of trust says so when the reason is that the rule's format is guessed."""
        return [
            Alert(effect.offence, effect.time, "guessed", effect.network, effect.would)
            if isinstance(effect, Alert) and effect.why == "trust" and self._guessed(effect.offence)
            else effect
            for effect in effects
        ]

    def _guessed(self, offence: Offence) -> bool:
        return any(piece.rule.partition("/")[0] in self.setup.guessed for piece in offence.evidence)

    def _count(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            name = type(effect).__name__
            self._counts["imposed" if name == "Impose" else "lifted" if name == "Lift" else "alerts"] += 1
        return effects

    def _offence(self, lane: Lane, fired: Fired, event: Event) -> tuple[Offence, list[int]]:
        """The finding, and the sources that took part where the key is a name or a network (all, newest
        last).
        """
        view, span, detector = fired.view, fired.span, fired.watch.detector
        most = MAX_EVIDENCE
        seen, scope, values, evidence = self._unfold(
            view.buffer, span.indexes, most, self.rules.names, self.logs.names
        )
        if lane.form == "source":
            sources = [] if event.source is None else [event.source]
        else:
            sources = [source_of_value(value) for value in values]
            if detector.then and event.source is not None:  # who completed it is not among them
                sources = [*(source for source in sources if source != event.source), event.source]
        kinds = tuple(kind for kind in detector.on if KIND_NUMBER[kind] in seen)
        offence = Offence(
            detector.name,
            self._key_text(lane, fired, event),
            span.first,
            span.last,
            span.total,
            kinds,
            evidence,
            SCOPES[scope],
            fired.trusted,
            tuple(sources[-MAX_EVIDENCE:]),
            span.different,
            detector.distinct if span.different else "",
        )
        return offence, sources

    def _key_text(self, lane: Lane, fired: Fired, event: Event) -> str:
        """The key in words: an address, a network, an account's name, or a hash of what may never have
        existed.
        """
        form = lane.form
        if form in ("source", "network") and event.source is not None:
            return format_network(self._target(lane, event.source))
        if form in ("user", "user+network"):
            user = event.fields.get("user", "")
            if self.book.exists(self.hasher(user)):
                name = "".join(char if char.isprintable() else "?" for char in user[:64])
            else:
                name = f"user#{self.hasher(user):016x}"
            if form == "user" or event.source is None:
                return name
            return f"{name} at {format_network(wide_network(event.source))}"
        sender = event.fields.get("sender", "")
        if form == "sender" and sender and event.kind not in HOSTILE:  # mail of ours, not what somebody tried
            return "".join(char if char.isprintable() else "?" for char in sender[:128])
        return f"{form}#{fired.key:016x}"

    # ------------------------------------------------------------ what speaks for somebody

    def _login(self, event: Event) -> list[Effect]:
        """A login succeeded: perhaps the end of a sequence, else standing, and pardon for the way there."""
        user, source, time = event.fields.get("user"), event.source, event.time
        if not user or source is None or "user" not in event.proved:
            return []
        name = self.hasher[user]
        known = self.book.known(name, source, time)
        effects: list[Effect] = []
        suspicious = False
        for lane in self._completing:
            key = lane.key_of(event)
            if key is None:
                continue
            for fired in lane.complete(key, KIND_NUMBER[event.kind], time):
                who = fired.watch.detector.who
                if who != "any" and (who == "known") != known:
                    continue
                # From where our people have long been logging in, it is more likely one of them.
                suspicious = suspicious or not (known or self.book.source(source).good(time))
                effects += self._decide(lane, fired, event)
        if not event.may_ban:  # what anybody may have written speaks for nobody, and against nobody's name
            return effects
        if suspicious:
            self.book.revoke(name, source, time, shared=self.book.source(source).login_days > 0)
            return effects
        other = self.hasher[short_name(user)]
        self.book.login(name, source, time)
        self.book.settle(other, source, time)
        for lane in self._pardoning:
            key = lane.key_of(event)
            if key is None or lane.history.table.get(key) is None:
                continue
            for value in (name, other) if lane.form == "source" else (source_value(source),):
                lane.history.forget(key, _FAILURE, value)
        return effects

    def _accepted(self, event: Event) -> None:
        if event.source is not None and event.may_ban:
            fields, hasher = event.fields, self.hasher

            def pair() -> int:
                sender, recipient = fields.get("sender", ""), fields.get("recipient", "")
                return hasher[f"{sender}\0{recipient}"] if sender or recipient else 0

            self.book.mail(event.source, event.time, pair)

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

    def changes(self, full: bool) -> list[Row]:
        """What changed in the packed tables since the last call."""
        rows = [*self.logs.changes(full), *self.rules.changes(full)]
        for lane in self.lanes:
            rows += lane.changes(full)
        rows += self.book.changes(full)
        rows += self.ordinals.changes(full)
        rows += self.policy.pardons.changes(full)
        return rows
