"""Parsers as values: their ordered rules, and what a matched rule makes of the captured bytes.

Owns: the decoding of captured fields. Never: decodes a whole line.

A field is decoded as UTF-8, else CP932, else Latin-1, and characters that could steer a terminal or end a
line are replaced, so that no control character ever stands in a `str` field.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..model import CONTEXT, HOSTILE
from ..notation import parse_address
from .dialogue_words import Dialogue
from .envelope import SYSLOG
from .pattern import Pattern
from .pattern.template import is_foreign

SCOPES = ("auth", "mail", "all")
#: The event of a rule that only sets a shape aside.
IGNORE = "ignore"
#: Slots that go elsewhere than into `Event.fields`.
UNLISTED = ("source", "time")

# C0, DEL, C1, the Unicode line ends, and the marks that turn the direction of text
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# What the codec gives for 0x80, 0xA0 and 0xFD to 0xFF, which are no CP932
_NOT_CP932 = re.compile("[\x80\xa0\uf8f0-\uf8f3]")
_REMEMBERED = 16384  # more would only crowd the processor's cache


class Weight(NamedTuple):
    """How many attempts a line stands for: a fixed number, or a slot, less another slot or number."""

    fixed: int = 1
    slot: str = ""
    less: str = ""  # a second slot that is taken off
    minus: int = 0  # a number that is taken off


#: The weight of a rule that states none.
ONE = Weight()


class SessionUse(NamedTuple):
    """One thing a rule does with one session."""

    session: str
    action: str  # "open", "use" or "close"
    carry: tuple[str, ...] = ()  # fields that are remembered for later rules
    tally: str = ""  # add the weight to this counter
    less: str = ""  # take this counter off the weight
    otherwise: str = ""  # the kind of event where nothing is left of the weight; "" none
    once: bool = False  # an event only the first time in a session
    must: bool = False  # no session: no event, for context kinds too


class SessionKind(NamedTuple):
    """A declared session: the slots that name it, how long it lives since its last line, how many are
    kept."""

    name: str
    key: tuple[str, ...]
    lifetime: float = 3600.0
    cap: int = 100_000
    shared: bool = False  # by all parsers that declare one of this name and share it, log by log of a server


class Sample(NamedTuple):
    """A line inside a definition and what must become of it."""

    line: bytes
    where: str
    after: tuple[bytes, ...]
    expect: dict[str, object]
    source: str | None = None  # of a forgery: the true source; None: no event


class Rule(NamedTuple):
    """One shape of message and the kind of event it means."""

    parser: str
    name: str
    event: str
    pattern: Pattern
    weight: Weight = ONE
    scope: str = "mail"
    sessions: tuple[SessionUse, ...] = ()
    where: str = ""
    samples: tuple[Sample, ...] = ()
    forgeries: tuple[Sample, ...] = ()
    guard: str = ""  # who guarantees what prose and inline classes hold
    unproved: tuple[str, ...] = ()  # slots that the author knows to be ambiguous: never keys
    covered_by: tuple[str, ...] = ()  # parsers of logs that tell the same act better; see `joined`
    heard_by: tuple[str, ...] = ()  # dialogue parsers that tell the same act, but not from where; see `heard`
    suspect: int = 0  # bytes from the line's beginning that a client may have written; see `suspects`
    place: str = "reply"  # in a dialogue: where its line stands ...
    answers: tuple[str, ...] = ()  # ... which commands it answers, () all ...
    keep: tuple[str, ...] = ()  # ... slots remembered for later lines of the session ...
    with_: tuple[str, ...] = ()  # ... and what of those its event tells

    @property
    def full_name(self) -> str:
        return f"{self.parser}/{self.name}"

    @property
    def hostile(self) -> bool:
        return self.event in HOSTILE

    @property
    def breaks_off(self) -> bool:
        """Whether it takes records without their end: behind a suspect client's text stands nothing."""
        return self.suspect > 0 and is_foreign(self.pattern.parts[-1])

    def kinds(self) -> frozenset[str]:
        """The kinds of event the rule can make."""
        made = {self.event} | {use.otherwise for use in self.sessions}
        return frozenset(kind for kind in made if kind in HOSTILE or kind in CONTEXT)


class Parser(NamedTuple):
    """The rules for one program family, in the order in which they are tried."""

    name: str
    title: str
    rules: tuple[Rule, ...]
    envelopes: tuple[str, ...] = (SYSLOG,)
    programs: tuple[str, ...] = ()  # last components of program names; empty: every program
    guessed: bool = False  # its shapes were never seen: events only alert
    scope: str = "mail"
    sessions: tuple[SessionKind, ...] = ()
    unmatched: tuple[Sample, ...] = ()
    path: str = ""
    scopes: tuple[
        tuple[str, str], ...
    ] = ()  # part of a program's name: scope of its lines, whatever the rule's
    logs: tuple[str, ...] = ()  # names of logs, by which alone the paths of one server's logs differ
    dialogue: Dialogue | None = None  # what client and server said, line by line

    def takes(self, program: bytes) -> bool:
        """True when lines of `program` (`postfix/submission/smtpd`) are this parser's: its last part
        counts."""
        return not self.programs or program.rpartition(b"/")[2].decode("latin-1") in self.programs


def clean(text: str) -> str:
    """`text` without characters that could steer a terminal; each becomes U+FFFD."""
    return text if text.isprintable() else _UNSAFE.sub("\ufffd", text)


def decode(raw: bytes) -> str:
    """A captured field as text that is safe to show."""
    if raw.isascii():
        text = raw.decode("ascii")
    else:
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            try:
                text = raw.decode("cp932")
            except UnicodeDecodeError:
                text = raw.decode("latin-1")
            else:
                if _NOT_CP932.search(text):
                    text = raw.decode("latin-1")
    return text if text.isprintable() else _UNSAFE.sub("\ufffd", text)


class Addresses(dict[bytes, int | None]):
    """Text of addresses to packed addresses (None: the text is no address), remembered, bounded."""

    def __missing__(self, text: bytes) -> int | None:
        if len(self) >= _REMEMBERED:
            self.clear()
        found = self[text] = parse_address(text)
        return found
