"""Files of events on their way to those who judge: as rows, where the compiled core is there and the file
gives columns, else as events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from ..core import native
from ..eventfile import EventColumns, EventFileError, read_whole
from ..model import Event
from .feed import BATCH
from .merging import Chunk, Drafted, Segment, Written, objects, running, times_of


class Columns:
    """Reads files of events. `rows`: nothing but such files is read, so rows may be made of them; what is
    read together with logs goes through their sessions, as events."""

    def __init__(self, rows: bool):
        self._native = native.load("sessions") if rows else None
        self._reader: Any = None if self._native is None else self._native.Reader()

    def chunks(self, path: str, newest: float) -> Iterator[tuple[int, Chunk]]:
        """Stretches of a file, each with the number of events that were read for it. `newest`: no running
        stamp is below that.

        Raises what `eventfile.read_whole` raises."""
        for found in read_whole(path):
            size = len(found)
            for chunk in self._stretch(path, found, newest):
                newest = chunk.running[-1]
                yield size, chunk
                size = 0

    def _stretch(self, path: str, found: EventColumns | list[Event], newest: float) -> Iterator[Chunk]:
        if self._native is not None and isinstance(found, EventColumns) and len(found):
            try:
                ready = self._native.Columns(found)
            except OverflowError:
                pass  # its events can be made all the same
            except ValueError as error:
                raise EventFileError(f"{path} cannot be read: {error}") from error
            else:
                yield Chunk(ready.running(newest), Written(found, ready))
                return
        for start in range(0, len(found), BATCH):
            stop = start + BATCH
            events = found[start:stop] if isinstance(found, list) else found.events(start, stop)
            drafts = cast(list[Drafted], events)
            stamps = running(times_of(drafts), newest)
            newest = stamps[-1]
            yield Chunk(stamps, drafts)

    def gather(self, segments: Sequence[Segment]) -> Sequence[Event]:
        """The events of what stands in segments; they were joined before they were written."""
        if not any(isinstance(found, Written) for found, _, _ in segments):
            return cast(list[Event], objects(segments))
        told = self._reader.begin()
        for found, begin, stop in segments:
            if isinstance(found, Written):
                self._reader.take(told, found.ready, begin, stop)
            else:
                told.extend(cast(list[Event], found)[begin:stop])
        gathered: Sequence[Event] = told
        return gathered
