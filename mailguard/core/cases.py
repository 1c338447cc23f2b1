"""Cases of a detector: events at stated times, and when it fires.

Owns: how a case becomes events of one lane. Never: says what a case should give; the definition does.
"""

from __future__ import annotations

from ..model import VALUE_FIELD, Event
from ..notation import parse_address
from .detectors import KIND_NUMBER, Case, Detector
from .lanes import Lane, event_flags
from .names import Hasher
from .table import Table


def run_case(detector: Detector, case: Case) -> float | None:
    """When the detector first fires on the case's events, in the case's seconds; None: it does not."""
    hasher = Hasher(b"case")
    lane = Lane(detector.key, [detector], Table("case", 64), hasher)
    kind = case.kind or detector.on[0]
    known = detector.who == "known"
    clock = 0.0
    for index, at in enumerate(case.at):
        value = case.values[index] if case.values else ""
        fields = dict(case.fields)
        source = parse_address("192.0.2.1")
        if value and detector.distinct in ("source", "network"):
            source = parse_address(value)
        elif value:
            fields[detector.distinct or VALUE_FIELD.get(kind, "user")] = value
        clock = max(clock, at)
        if detector.then and index == len(case.at) - 1:
            found = lane.complete(1, KIND_NUMBER[detector.then], at)
        else:
            event = Event(kind, at, source, "case/case", 1, fields, "case", index, proved=frozenset(fields))
            found = lane.feed(1, event, KIND_NUMBER[kind], event_flags(event, known), 0, 0, clock)
        if list(found):
            return at
    return None
