"""The figures of a setting in seconds: the compiled way, where it is there and where nothing happens that it does
not work out (see core/native/trying.pyx). A replay says the same, more slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core import native as twins
from ..core.engine import _OTHER_SHARE, _SHARES, Engine, Setup
from ..core.networks import NetworkMap, source_network, wide_network
from ..core.quota import Quota
from ..core.table import Table
from ..model import HOSTILE, Event
from .measures import Measures, measured, peak, people

_FORMS = ("source", "network", "user", "user+network")
_LONGEST = 390 * 86400.0  # seconds of history: what speaks for somebody counts for 13 months, and is not aged here
_LINGER = 3600.0  # a ban that ended may be counted for so long
_FULL = 0.7  # of a table's room: with hashed keys none of its shards is full before


class Quick:
    """Takes batches of events once; then `measure` a setting. May be shared by processes forked after that."""

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
        self.why_not = ""
        self.hostile = 0
        self._setup = first
        self._twin = twins.choose("trying", native)
        self._events: Any = None
        self._spared: tuple[bytes, bytes] | None = None
        self._room: dict[str, int] = {}
        detectors = list(dict.fromkeys(found for one in setups for found in one.detectors))
        if self._twin is None:
            self.why_not = "the core is not compiled"
            return
        try:
            self._events = self._twin.Events(
                {kind for found in detectors for kind in found.on},
                tuple(dict.fromkeys(found.unless for found in detectors if found.unless)),
                tuple(dict.fromkeys(found.key for found in detectors if found.key not in _FORMS)),
            )
        except ValueError as error:
            self.why_not = str(error)

    def take(self, events: list[Event]) -> None:
        """The next batch."""
        self.hostile += sum([event[0] in HOSTILE for event in events])
        if self._events is not None:
            self._events.add(events)

    def close(self) -> None:
        """The last batch has come."""
        events = self._events
        if events is None:
            return
        if events.count and events.latest - events.earliest > _LONGEST:
            self.why_not = "the history is longer than a year"
        engine = Engine(self._setup, False)
        self._watch_room(engine)
        never = NetworkMap(self._setup.never)
        self._spared = (
            bytes(never.touching(source_network(key)) is not None for key in events.source_keys),
            bytes(never.touching(wide_network(key)) is not None for key in events.network_keys),
        )

    def _watch_room(self, engine: Engine) -> None:
        """Whether some table would be too small to remember all: then it depends on everybody who is forgotten."""
        events, book = self._events, engine.book
        whole = sum(_SHARES.values()) + _OTHER_SHARE * len(events.extras)  # where every form of key is in use
        room = {
            form: self._setup.max_keys * _SHARES.get(form, _OTHER_SHARE) // whole
            for form in (*_FORMS, *events.extras)
        }
        quota = Quota(Table("quota", room["source"]))
        fits = (
            book.sources.holds([events.source_keys[number] for number in events.standing_sources])
            and book.networks.holds([events.network_keys[number] for number in events.standing_networks])
            and len(events.standing_pairs) <= _FULL * book.logins.cap
            and len(events.standing_users) <= _FULL * book.users.cap
            and Table("source", room["source"], engine.salt).holds(events.source_keys)
            and Table("network", room["network"], engine.salt).holds(events.network_keys)
            and max(events.per48.values(), default=0) < quota.per48
            and max(events.per32.values(), default=0) < quota.per32
        )
        if not fits:
            self.why_not = "more sources and names than the settings let the engine remember"
        self._room = room

    def measure(self, setup: Setup, detector: str) -> Measures | None:
        """The figures of a setting; `detector`: the one that is tuned. None: a replay has to say."""
        if self.why_not or self._spared is None:
            return None
        numbers = {found.name: number for number, found in enumerate(setup.detectors)}
        try:
            tried = self._twin.Try(self._events, Engine(setup, False), numbers, *self._spared)
        except ValueError:
            return None
        tried.run()
        found = tried.figures()
        bans, rules = found["bans"], setup.rules
        most = peak((ban[0], ban[1] + _LINGER) for ban in bans)
        wide = peak((ban[0], ban[1] + _LINGER) for ban in bans if ban[4])
        if most >= rules.max_bans or wide >= rules.max_networks or found["banned"] >= rules.max_bans:
            return None  # somebody would have to give way
        if any(keys > _FULL * self._room[form] for form, keys in found["keys"].items()):
            return None
        accounts, partners = people(found["hits"])
        return measured(
            bans,
            numbers[detector],
            self.hostile,
            caught=found["caught"],
            missed=found["missed"],
            stopped=found["stopped"],
            accounts=accounts,
            partners=partners,
            logins=found["logins"],
            messages=found["messages"],
        )

