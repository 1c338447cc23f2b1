"""The `[dialogue]` table of a parser definition, the keys of its rules, and what such a file must prove.

A dialogue rule never stands alone: who wrote its line follows from the lines before. So its samples and
forgeries are little dialogues, read by the very reader that live logs take.
"""

from __future__ import annotations

import re
from typing import Any

from ..core.dialogue_decoders import DECODERS
from ..core.dialogue_words import FORMS, HEAD, MESSAGE, OTHER, PLACES, Command, Dialogue
from ..core.pattern import Pattern
from ..core.pattern.template import Text
from ..core.rules import Parser, Rule, Sample
from ..model import FIELDS, Block, Event
from ..notation import parse_duration
from ..problems import Problem
from .reading import Reading, near

TOP = (
    "about",
    "greeting",
    "replies",
    "unknown",
    "ends",
    "reading",
    "traces",
    "challenge",
    "text",
    "nobody",
    "turns",
    "tagged",
    "addresses",
    "lifetime",
    "cap",
    "command",
)
COMMAND = ("words", "field", "form", "keep", "decoder", "mark", "about")
RULE = ("place", "answers", "keep", "with")
#: The arrival of the lines inside definitions: 2026-12-31, so that year-less stamps fall into 2026.
ARRIVAL = 1_798_675_200.0
_LARGEST_CAP = 1_000_000
_WORD = re.compile(r"[A-Z]{4}[A-Z0-9 ]{0,28}\Z")
_NOBODY = re.compile(r"(?:[0-9A-Fa-f]{8,16})?\Z")
_TEXT = re.compile(rb"\[[^\]]{20}\], ?[0-9A-Fa-f]{8,16}, ?(.*)", re.DOTALL)

Keys = tuple[str | int, ...]


def read_dialogue(read: Reading) -> Dialogue | None:
    """The `[dialogue]` of a file, None where it has none or it says nothing that can be used."""
    data = read.document.data
    if "dialogue" not in data:
        return None
    keys: Keys = ("dialogue",)
    table = read.get(data, "dialogue", dict, {}, (), "parser")
    read.keys(table, TOP, keys, "dialogue")
    greeting = read.texts(table, "greeting", keys, "dialogue")
    if not greeting:
        read.problem(
            keys,
            "dialogue: greeting is missing",
            "a session begins where the server greets; without it no turn is certain",
            'greeting = ["220 "]',
        )
    for name in ("greeting", "unknown", "ends", "reading", "traces", "challenge", "text"):
        for text in read.texts(table, name, keys, "dialogue"):
            least = 2 if name == "challenge" else HEAD
            if len(text) < least:
                read.problem(
                    (*keys, name),
                    f"dialogue: {name} holds {text!r}",
                    "lines are told apart by their first bytes",
                    f"Write {least} characters or more.",
                )
    lifetime = parse_duration(read.get(table, "lifetime", str, "1h", keys, "dialogue"))
    if not lifetime:
        read.problem((*keys, "lifetime"), "dialogue: lifetime is no duration", instead='Write it as "1h".')
    cap = read.get(table, "cap", int, 20_000, keys, "dialogue")
    if not 4 <= cap <= _LARGEST_CAP:
        read.problem((*keys, "cap"), f"dialogue: cap must be from 4 to {_LARGEST_CAP}")
    nobody = read.get(table, "nobody", str, "", keys, "dialogue")
    if not _NOBODY.match(nobody):
        read.problem(
            (*keys, "nobody"),
            f"dialogue: nobody is no context: {nobody!r}",
            instead="A context is 8 to 16 hexadecimal digits.",
        )
    turns = read.get(table, "turns", bool, True, keys, "dialogue")
    tagged = read.get(table, "tagged", bool, False, keys, "dialogue")
    addresses = read.get(table, "addresses", bool, True, keys, "dialogue")
    return Dialogue(
        greeting,
        read.texts(table, "replies", keys, "dialogue") or ("###",),
        read.texts(table, "unknown", keys, "dialogue"),
        read.texts(table, "ends", keys, "dialogue"),
        read.texts(table, "reading", keys, "dialogue"),
        read.texts(table, "traces", keys, "dialogue"),
        read.texts(table, "challenge", keys, "dialogue"),
        read.texts(table, "text", keys, "dialogue"),
        nobody,
        lifetime or 3600.0,
        cap,
        tuple(_commands(read, table)),
        turns,
        tagged,
        addresses,
    )


def _commands(read: Reading, table: dict[str, Any]) -> list[Command]:
    found: list[Command] = []
    tables = read.get(table, "command", dict, {}, ("dialogue",), "dialogue")
    for name, one in tables.items():
        keys: Keys = ("dialogue", "command", name)
        about = f"command {name}"
        if not isinstance(one, dict):
            read.problem(keys, f"{about}: must be a table", instead=f"Write [dialogue.command.{name}].")
            continue
        read.keys(one, COMMAND, keys, about)
        if name in (OTHER, MESSAGE):
            read.problem(
                keys, f"{about}: the name is taken", f"{name!r} stands for lines that are no command"
            )
        words = read.texts(one, "words", keys, about)
        if not words:
            read.problem(keys, f"{about}: words is missing", instead='words = ["EHLO", "HELO"]')
        for word in words:
            if not _WORD.match(word):
                read.problem(
                    (*keys, "words"),
                    f"{about}: {word!r} is no command word",
                    "it is found by its first four letters",
                    "Write four capitals or more; how a client writes it does not matter.",
                )
        field = read.get(one, "field", str, "", keys, about)
        if field and field not in FIELDS:
            read.problem((*keys, "field"), f"{about}: unknown field {field!r}", instead=near(field, FIELDS))
        form = read.get(one, "form", str, "rest", keys, about)
        if form not in FORMS:
            read.problem((*keys, "form"), f"{about}: unknown form {form!r}", instead=near(form, FORMS))
        decoder = read.get(one, "decoder", str, "", keys, about)
        if decoder and decoder not in DECODERS:
            read.problem(
                (*keys, "decoder"), f"{about}: unknown decoder {decoder!r}", instead=near(decoder, DECODERS)
            )
        if decoder and field:
            read.problem(
                keys,
                f"{about}: field and decoder exclude each other",
                "what follows such a command may be secret",
            )
        keep = read.get(one, "keep", bool, False, keys, about)
        mark = read.get(one, "mark", bool, False, keys, about)
        found.append(Command(name, words, field, form, keep, decoder, mark))
    return found


def read_rule(
    read: Reading, table: dict[str, Any], keys: Keys, about: str, dialogue: Dialogue | None, pattern: Pattern
) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Place, answers, keep and with of a rule."""
    if dialogue is None:
        for name in RULE:
            if name in table:
                read.problem(
                    (*keys, name),
                    f"{about}: {name} is for the rules of a dialogue",
                    "the file declares no [dialogue]",
                )
        return "reply", (), (), ()
    if "session" in table:
        read.problem(
            (*keys, "session"),
            f"{about}: a rule of a dialogue has no session of its own",
            "the context of its line is its session",
            "Use keep and with.",
        )
    place = read.get(table, "place", str, "reply", keys, about)
    if place not in PLACES:
        read.problem((*keys, "place"), f"{about}: unknown place {place!r}", instead=near(place, PLACES))
    answers = read.texts(table, "answers", keys, about)
    known = [*(command.name for command in dialogue.commands), OTHER, MESSAGE]
    for name in answers:
        if name not in known:
            read.problem((*keys, "answers"), f"{about}: unknown command {name!r}", instead=near(name, known))
    if place == "reply" and not dialogue.turns:
        read.problem(
            keys,
            f"{about}: nobody knows whether the server wrote its line",
            "the dialogue has turns = false",
            'Only traces can be read: place = "trace".',
        )
    first = pattern.parts[0] if pattern.parts else None
    if not isinstance(first, Text) or len(first.text) < 3:
        read.problem(
            (*keys, "match"),
            f"{about}: the line does not begin with a text of three letters or more",
            "rules of a dialogue are found by how their lines begin",
        )
    keep = read.texts(table, "keep", keys, about)
    for name in keep:
        if name not in pattern.names:
            read.problem(
                (*keys, "keep"), f"{about}: there is no slot {name!r}", instead=near(name, pattern.names)
            )
    with_ = read.texts(table, "with", keys, about)
    for name in with_:
        if name not in FIELDS:
            read.problem((*keys, "with"), f"{about}: unknown field {name!r}", instead=near(name, FIELDS))
    return place, answers, keep, with_


# ---------------------------------------------------------------- samples


def feed(parser: Parser, sample: Sample) -> list[Event]:
    """The events that the last line of a sample settles, after the lines before it."""
    from ..core.dialogue import Reader  # only who tries samples needs it

    reader = Reader([parser])
    events: list[Event] = []
    position = 0
    for lines in (sample.after, (sample.line,)):
        data = b"".join(line + b"\n" for line in lines)
        if data:
            block = Block("-", bytearray(data), 0, len(data), position, ARRIVAL, False, timezone="UTC")
            events = [one for one in reader.scan(block) if isinstance(one, Event)]
            position += len(data)
    return events


def text_of(line: bytes, tagged: bool = False) -> bytes | None:
    """What stands behind stamp and context, and behind the word that the answer repeats; None where they do
    not stand first."""
    match = _TEXT.match(line)
    if match is None:
        return None
    text = match[1].rstrip(b"\r")
    return text.partition(b" ")[2] if tagged else text


def taken(parser: Parser, rule: Rule, sample: Sample, what: str) -> list[Problem]:
    """Problems when an earlier rule, or none, takes the line of a sample."""
    about = f"rule {rule.name}: {what}"
    tagged = parser.dialogue is not None and parser.dialogue.tagged and rule.place == "reply"
    text = text_of(sample.line, tagged)
    if text is None:
        return [
            Problem(
                sample.where,
                f"{about} has no stamp and context",
                "every line of a dialogue log begins with them",
                "Write [12/Dec/2017:00:01:49], 347c89c8, TEXT.",
            )
        ]
    for other in parser.rules:
        alike = other.place == rule.place and (
            not other.answers or not rule.answers or set(other.answers) & set(rule.answers)
        )
        if not alike or other.pattern.match(text, 0, len(text)) is None:
            continue
        if other is rule:
            return []
        return [
            Problem(
                sample.where,
                f"{about} is taken by the earlier rule {other.name}",
                "the first rule that fits takes a line",
                "Move the rule up, or make the other one narrower.",
            )
        ]
    return [
        Problem(sample.where, f"{about} does not fit", f"the text is {text.decode('utf-8', 'replace')!r}")
    ]
