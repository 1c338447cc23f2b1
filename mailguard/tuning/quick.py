"""The figures of a setting in seconds: the compiled way, where it is there and where nothing happens that it
does not work out (see core/native/trying.pyx). A replay says the same, more slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..core import native as twins
from ..core.engine import _OTHER_SHARE, _SHARES, Engine, Setup
from ..core.loosest import loosest
from ..core.networks import NetworkMap, source_network, wide_network
from ..core.quota import Quota
from ..core.table import Table
from ..core.watches import Watch
from ..core.window import needs_of
from ..eventfile import EventColumns
from ..model import Event
from .measures import Measures, people

_FORMS = ("source", "network", "user", "user+network")
_LONGEST = (
    390 * 86400.0
)  # seconds of history: what speaks for somebody counts for 13 months, and is not aged here
_LINGER = 3600.0  # a ban that ended may be counted for so long
_FULL = 0.7  # of a table's room: with hashed keys none of its shards is full before


class Quick:
    """Takes batches of events once; then `measure` a setting. Processes forked after that may share it."""

    def __init__(self, setups: Sequence[Setup], native: bool | None = None):
        """`setups`: all that are to come; they differ only in their detectors. `native`: see
        `mailguard.core.native`.

        Raises ValueError where that is not so."""
        first = setups[0]
        if any(
            (one.rules, one.never, one.max_keys, one.max_standing, one.secret)
            != (first.rules, first.never, first.max_keys, first.max_standing, first.secret)
            for one in setups
        ):
            raise ValueError("the settings differ in more than their detectors")
        self.why_not = ""  # "compiled", "kinds", "year" or "room": why a replay has to say
        self._setup = first
        self._twin = twins.choose("trying", native)
        self._events: Any = None
        self._spared: tuple[bytes, bytes] | None = None
        self._try: Any = None
        self._detectors = list(dict.fromkeys(found for one in setups for found in one.detectors))
        if self._twin is None:
            self.why_not = "compiled"
            return
        conditions: dict[Any, set[str]] = {}
        extras: dict[str, set[str]] = {}
        for found in self._detectors:
            if found.unless:
                conditions.setdefault(found.unless, set()).update(found.on)
            if found.key not in _FORMS:
                extras.setdefault(found.key, set()).update(found.on)
        wanted = {kind for found in self._detectors for kind in found.on}
        try:
            self._events = self._twin.Events(conditions, extras, wanted)
        except ValueError:
            self.why_not = "kinds"

    def take(self, events: list[Event]) -> None:
        """The next batch."""
        if self._events is not None:
            self._events.add(events)

    def fields(self) -> list[str]:
        """Captured fields that `take_columns` asks for."""
        return [] if self._events is None else list(self._events.fields_wanted())

    def take_columns(self, columns: EventColumns) -> Sequence[int]:
        """The next batch as columns, where `why_not` is empty; how many there are of each kind, by number."""
        counts: Sequence[int] = self._events.add_columns(columns)
        return counts

    @property
    def span(self) -> tuple[float, float]:
        """The earliest and the latest stamp of all that came; infinite where nothing came."""
        return self._events.earliest, self._events.latest

    def close(self) -> None:
        """The last batch has come: find out who can matter, and whether all can be remembered."""
        events = self._events
        if events is None:
            return
        events.link()
        if events.count and events.latest - events.earliest > _LONGEST:
            self.why_not = "year"
            return
        never = NetworkMap(self._setup.never)
        self._spared = (
            bytes(never.touching(source_network(key)) is not None for key in events.source_keys),
            bytes(never.touching(wide_network(key)) is not None for key in events.network_keys),
        )
        loose = loosest(self._detectors)
        scout = Engine(replace(self._setup, detectors=loose, track=False), False)
        for lane in scout.lanes:  # it remembers as much as the one that remembers most
            asks = [Watch(found, 0, 8, False).ask for found in self._detectors if found.key == lane.form]
            lane.history.needs = needs_of(asks)
        known_only = {found.key for found in self._detectors} - {
            found.key for found in self._detectors if found.who != "known"
        }
        try:
            numbers = {found.name: number for number, found in enumerate(loose)}
            tried = self._twin.Try(events, scout.setup.rules, *self._spared)
            tried.begin(scout, numbers)
            found = tried.scout(known_only)
        except ValueError:
            self.why_not = "kinds"
            return
        if not self._all_remembered(scout, {form: keys for form, (_, keys) in found.items()}):
            self.why_not = "room"
            return
        events.keep({form: live for form, (live, _) in found.items()})

    def _all_remembered(self, engine: Engine, keys: dict[str, int]) -> bool:
        """No table is too small to remember all; else what happens depends on who is forgotten. `keys`: how
        many of each form of key would be kept."""
        events, book = self._events, engine.book
        sources, networks, pairs, users = events.standing()
        whole = sum(_SHARES.values()) + _OTHER_SHARE * len(events.extras)  # where every form of key is in use
        room = {form: self._setup.max_keys * _SHARES.get(form, _OTHER_SHARE) // whole for form in keys}
        if any(
            count > _FULL * room[form] for form, count in keys.items() if form not in ("source", "network")
        ):
            return False
        if not (
            book.sources.holds(sources)
            and book.networks.holds(networks)
            and pairs <= _FULL * book.logins.cap
            and users <= _FULL * book.users.cap
        ):
            return False
        for form, known in (("source", events.source_keys), ("network", events.network_keys)):
            if form in room and not Table(form, room[form], engine.salt).holds(known):
                return False
        if "source" not in room:
            return True
        quota = Quota(Table("quota", room["source"]))
        return (
            max(events.per48.values(), default=0) < quota.per48
            and max(events.per32.values(), default=0) < quota.per32
        )

    def measure(self, setup: Setup, detector: str) -> Measures | None:
        """The figures of a setting; `detector`: the one that is tuned. None: a replay has to say."""
        if self.why_not or self._spared is None:
            return None
        numbers = {found.name: number for number, found in enumerate(setup.detectors)}
        try:
            if self._try is None:  # in each process its own: the memory is used again and again
                self._try = self._twin.Try(self._events, setup.rules, *self._spared)
            self._try.begin(Engine(setup, False), numbers)
        except ValueError:
            return None
        tried = self._try
        tried.run()
        found, rules = tried.figures(numbers[detector]), setup.rules
        if (
            (found["bans"] >= rules.max_bans and tried.peak(_LINGER, False) >= rules.max_bans)
            or (found["wide"] >= rules.max_networks and tried.peak(_LINGER, True) >= rules.max_networks)
            or found["banned"] >= rules.max_bans
        ):
            return None  # somebody would have to give way, or the ordinal of somebody would be forgotten
        accounts, partners = people(found["hits"])
        figures = {name: value for name, value in found.items() if name not in ("hits", "wide", "banned")}
        return Measures(accounts=accounts, partners=partners, **figures)
