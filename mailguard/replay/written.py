"""A file of events as columns, for whoever needs no events (see `mailguard.eventfile`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..core.detectors import KIND_NUMBER
from ..eventfile import EventColumns, facts, read
from .rehearsal import Rehearsal
from .sources import EVENTS
from .summary import Summary


def can_be_taken(rehearsed: Rehearsal) -> bool:
    """Is it one file of events, all of which count? Several must be brought into one order."""
    sources = rehearsed.sources
    return (
        len(sources) == 1
        and sources[0].form == EVENTS
        and rehearsed.since is None
        and rehearsed.until is None
    )


def take(rehearsed: Rehearsal, fields: Iterable[str], taker: Callable[[EventColumns], Sequence[int]]) -> None:
    """Give all to `taker`, which says how many there are of each kind (by `KIND_NUMBER`); the summary becomes
    that of `Rehearsal.batches`. `fields`: captured fields that `taker` asks for.

    Raises what `eventfile.read` raises."""
    (source,) = rehearsed.sources
    summary = rehearsed.summary = Summary(notices=list(rehearsed.told))
    known, progress, done = facts(source.path), rehearsed.progress, 0
    for columns in _counted(read(source.path, fields=fields), summary):
        share = source.size * len(columns) // known.events if known.events else 0
        done += share
        for kind, count in zip(KIND_NUMBER, taker(columns), strict=True):
            if count:
                summary.by_kind[kind] += count
        if progress is not None:
            progress.advance(share, len(columns))
    summary.records += known.records
    for stamp in (known.first, known.last):
        if stamp is not None:
            summary.span(stamp)
    if progress is not None:
        progress.advance(max(0, source.size - done), 0)


def _counted(batches: Iterator[EventColumns], summary: Summary) -> Iterator[EventColumns]:
    for columns in batches:
        yield columns
        summary.events += len(columns)
