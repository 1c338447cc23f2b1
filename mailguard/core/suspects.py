"""Lines that a client may have written: those that were written together with a client's text.

A server that writes a client's text as it came lets the client write line feeds too, and behind each of
them whole records, byte for byte as the server's own; so no look of a line tells them apart. But a server
writes a record with its line end at once. A rule that takes such records states how many bytes from their
beginning may be the client's (`suspect`); what is read later was written later, and is the server's.

Owns: which events stand in such bytes. They never ban and speak for nobody, unless they are laid to the
very source whose record it is: nobody need frame himself, and nobody gets off by it. The record itself is
laid to its own source, which stands before the client's text, and counts.
Never: asks a clock.
Limits: the sixteen latest such places of a log, of 64 logs. Recorded logs do not show when a line was
written; there only a record that visibly breaks off (its rule ends with the client's text) makes what
follows suspect, by the bytes alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from ..model import Event
from .rules import Parser

_LATER = 0.1  # seconds of wall time from one reading to another, in which a long write may have gone on
_PLACES = 16
_LOGS = 64


class _Place(NamedTuple):
    """Bytes of a log that may be a client's."""

    begin: int
    end: int
    source: int | None  # whose record it is; None: that is not certain, it stands in such bytes itself
    read: float | None  # wall time; None: not known


class Suspects:
    """The places in logs whose lines a client may have written."""

    def __init__(self, parsers: Iterable[Parser]):
        rules = [rule for parser in parsers for rule in parser.rules if rule.suspect]
        #: How many bytes from the beginning of its lines may be the client's, for each rule that says so.
        self.reach = {rule.full_name: rule.suspect for rule in rules}
        self._broken = frozenset(rule.full_name for rule in rules if rule.breaks_off)
        self.places: dict[str, list[_Place]] = {}

    def __bool__(self) -> bool:
        """Whether there are such places."""
        return bool(self.places)

    def judge(self, event: Event, now: float | None) -> Event:
        """The event as it may count; `now`: wall time of the batch, live."""
        log, position = event.log, event.position
        doubted = any(
            one.begin < position < one.end and (one.source is None or one.source != event.source)
            for one in self._open(log, now)
        )
        reach = self.reach.get(event.rule)
        if reach and (now is not None or event.rule in self._broken):
            places = self.places.setdefault(log, [])
            places.append(_Place(position, position + reach, None if doubted else event.source, now))
            del places[:-_PLACES]
            while len(self.places) > _LOGS:
                del self.places[next(iter(self.places))]
        return event._replace(may_ban=False) if doubted and event.may_ban else event

    def _open(self, log: str, now: float | None) -> list[_Place]:
        """The places of a log that may go on."""
        places = self.places.get(log)
        if places is None or now is None:
            return places or []
        # Those of a checkpoint were read just before it, and what comes first now stands right behind.
        places = [one if one.read is not None else one._replace(read=now) for one in places]
        places = [one for one in places if abs(now - (one.read or 0.0)) <= _LATER]
        if places:
            self.places[log] = places
        else:
            del self.places[log]
        return places

    def row(self) -> bytes | None:
        """For the checkpoint: a restart may come between two lines of one write. None: there is nothing."""
        if not self.places:
            return None
        places = {log: [one[:3] for one in found] for log, found in self.places.items()}
        return json.dumps(places, separators=(",", ":")).encode()

    def restore(self, row: bytes) -> None:
        """Take up the row of a checkpoint."""
        for log, found in json.loads(row).items():
            self.places[log] = [_Place(begin, end, source, None) for begin, end, source in found]
