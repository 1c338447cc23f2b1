"""What fired, as an offence: the finding with its evidence and its key in words.

Owns: which sources took part, and how a key is told: what may be a name that never existed is a hash.
Never: decides what follows from an offence, and changes nothing.
Limits: 50 pieces of evidence, and as many sources, an offence.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model import HOSTILE, Event, Evidence, Network, Offence
from ..notation import format_network
from .detectors import KIND_NUMBER, MAX_EVIDENCE, SCOPES
from .lanes import Lane
from .names import UNNAMED, Hasher, Names
from .networks import source_network, source_of_value, wide_network
from .standing import Book
from .watches import Fired
from .window import SCOPE, View

_new = tuple.__new__  # `Evidence(...)` takes four times as long


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


def target(lane: Lane, source: int) -> Network:
    """What an offence by a key of that lane would ban: the source, or the network around it."""
    return wide_network(source) if lane.form == "network" else source_network(source)


class Offences:
    """Words what fired. Only reads what it was given."""

    __slots__ = ("book", "hasher", "logs", "rules", "unfold")

    def __init__(self, book: Book, hasher: Hasher, rules: Names, logs: Names):
        """`rules`, `logs`: the names of those in the records of the histories."""
        self.book = book
        self.hasher = hasher
        self.rules = rules
        self.logs = logs
        self.unfold = unfold  # or the compiled twin

    def of(self, lane: Lane, fired: Fired, event: Event) -> tuple[Offence, list[int]]:
        """The finding, and the sources that took part where the key is a name or a network (all, newest
        last).
        """
        view, span, detector = fired.view, fired.span, fired.watch.detector
        seen, scope, values, evidence = self.unfold(
            view.buffer, span.indexes, MAX_EVIDENCE, self.rules.names, self.logs.names
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
            self.key_text(lane, fired, event),
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

    def key_text(self, lane: Lane, fired: Fired, event: Event) -> str:
        """The key in words: an address, a network, an account's name, or a hash of what may never have
        existed.
        """
        form = lane.form
        if form in ("source", "network") and event.source is not None:
            return format_network(target(lane, event.source))
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
