"""One detector over the histories of its keys: does a record complete something?

Owns: up to when the evidence of each key is consumed (of what may ban, and apart from it of what may only
alert), and until when an alert about it is not repeated.
Never: records an event, and never consumes on its own: who settles what fired says so.
"""

from __future__ import annotations

from .detectors import KIND_NUMBER, Detector
from .marks import Marks
from .window import KNOWN, Ask, Span, View, find, find_before


class Fired:
    """What a lane found: who watched, the key, the records."""

    __slots__ = ("key", "span", "trusted", "view", "watch")

    def __init__(self, watch: Watch, key: int, view: View, span: Span, trusted: bool):
        self.watch = watch
        self.key = key
        self.view = view
        self.span = span
        self.trusted = trusted


class Watch:
    """A detector made ready for its lane: what to ask, and up to when each key's evidence is consumed."""

    __slots__ = ("ask", "detector", "least", "marks", "suspicions", "then", "told")

    def __init__(self, detector: Detector, condition: int, cap: int, track: bool):
        self.detector = detector
        mask, want = condition, 0
        if detector.who != "any":
            mask |= KNOWN
            want |= KNOWN if detector.who == "known" else 0
        self.ask = Ask(
            kinds=bytes(KIND_NUMBER[kind] for kind in detector.on),
            within=detector.within,
            count=detector.count,
            distinct=detector.values,
            by_network=detector.distinct == "network",
            mask=mask,
            want=want,
        )
        self.least = self.ask.least()
        self.then = KIND_NUMBER[detector.then] if detector.then else -1
        self.marks = Marks(f"mark/{detector.name}", cap, track)
        self.suspicions = Marks(f"suspicion/{detector.name}", cap, track)  # for evidence that may not ban
        self.told = Marks(f"told/{detector.name}", cap, track)  # silent until then

    def look(self, key: int, view: View, place: int) -> Fired | None:
        """Does the record at `place` complete something?"""
        mark = self.marks.get(key)
        span = find(view, place, self.ask, mark, False)
        if span is not None:
            return Fired(self, key, view, span, True)
        if view.suspicious:
            span = find(view, place, self.ask, max(mark, self.suspicions.get(key)), True)
            if span is not None:
                return Fired(self, key, view, span, False)
        return None

    def look_before(self, key: int, view: View, at: float) -> Fired | None:
        """Does an event at time `at`, which is not recorded itself, end a sequence?"""
        mark = self.marks.get(key)
        span = find_before(view, at, self.ask, mark, False)
        if span is not None:
            return Fired(self, key, view, span, True)
        span = find_before(view, at, self.ask, max(mark, self.suspicions.get(key)), True)
        return None if span is None else Fired(self, key, view, span, False)

    def consume(self, key: int, until: float, trusted: bool) -> None:
        """Evidence of the key up to time `until` has led to something and counts no more."""
        (self.marks if trusted else self.suspicions).set(key, until)
