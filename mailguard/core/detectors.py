"""Detectors as values: which events, counted how, over what window, by which key.

Owns: the meaning of a `[detector.NAME]` table. `keys` finds the key of an event, a `watches.Watch` asks a
history what the detector wants to know, a `lanes.Lane` is the history of all detectors with the same key.
Never: knows about bans, standing or networks that must not be banned. Punishing is `policy`'s business.
Limits: three different `unless` conditions among the detectors of one key; 50 pieces of evidence an offence.

Keys other than the source (and its network) are text that a client may choose; an event is counted under
such a key only if the field was proved to be what the server wrote in that place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..model import KINDS

KIND_NAMES: tuple[str, ...] = tuple(KINDS)
KIND_NUMBER: dict[str, int] = {name: number for number, name in enumerate(KIND_NAMES)}

#: What a detector can count by, with a sentence for the manual.
KEYS: dict[str, str] = {
    "source": "the address (an IPv6 /64 is one source)",
    "network": "the /24 of an IPv4 address, the /48 of an IPv6 address",
    "user": "the login name",
    "user+network": "the login name together with the network it came from",
    "helo": "the HELO argument",
    "sender": "the envelope sender",
    "recipient_domain": "the domain of the envelope recipient",
}
#: Fields that must be there and proved, for each key.
KEY_FIELD = {
    "user": "user",
    "user+network": "user",
    "helo": "helo",
    "sender": "sender",
    "recipient_domain": "recipient",
}
SCOPES = ("auth", "mail", "all")
SCOPE_NUMBER = {name: number for number, name in enumerate(SCOPES)}
WHO: dict[str, str] = {
    "any": "everybody",
    "stranger": "not a user from a network where that user logged in before; "
    "not mail from a source in good standing",
    "known": "only a user from a network where that user logged in before; "
    "only mail from a source in good standing",
}
MAX_EVIDENCE = 50


class BanRule(NamedTuple):
    """How long: `first` seconds, each further ban of the same network `factor` times longer, at most
    `longest`.
    """

    first: float
    factor: float
    longest: float


class Case(NamedTuple):
    """A test of a threshold: events at these times, and when the detector must fire (None: never)."""

    at: tuple[float, ...]
    fires: float | None
    values: tuple[str, ...] = ()  # the field that is counted, one for each event
    fields: tuple[tuple[str, str], ...] = ()
    kind: str = ""  # empty: the first of `on`
    where: str = ""


@dataclass(frozen=True, slots=True)
class Detector:
    """One `[detector.NAME]` table. Durations in seconds."""

    name: str
    about: str
    on: tuple[str, ...]
    key: str
    within: float
    count: int = 0  # events; 0: only `distinct` counts
    distinct: str = ""  # field whose different values count; "source" and "network" too
    values: int = 0  # how many different values
    then: str = ""  # a sequence: fires only at an event of this kind, after the others
    who: str = "any"
    unless: tuple[tuple[str, str], ...] = ()  # an event with all these field values does not count
    ban: BanRule | None = None
    alert: bool = False  # tell a person; with `ban` also when it bans
    quiet: float = 3600.0  # an alert about the same key is not repeated within this time
    cases: tuple[Case, ...] = ()
    where: str = ""  # file:line, for problems

    @property
    def value_form(self) -> str:
        """What a record of this detector's history carries as its value: "field" or "source"."""
        return "field" if self.key == "source" else "source"
