"""What a definition says about a dialogue log, as values; and the same made ready for the hot path.

Owns: which rules answer which command. Never: looks at a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .pattern.template import Slot, Text

if TYPE_CHECKING:
    from .compiled import Entry
    from .rules import Parser

#: How the argument of a command is read: as an envelope path behind a colon, or as it stands.
FORMS = ("path", "rest")
#: Where a rule's line stands: it answers a command, is a trace, is what ends a session.
PLACES = ("reply", "trace", "end")
#: What stands for a line that is no command, and for the text that follows the server's go-ahead.
OTHER, MESSAGE = "other", "text"
#: What a line may be, by its first four bytes.
GREETS, ENDS, READS, TRACES, ASKS, GOES_ON = 1, 2, 4, 8, 16, 32
HEAD = 4  # bytes by which a line is told apart


class Command(NamedTuple):
    """A word with which a client's line begins."""

    name: str
    words: tuple[str, ...]  # capitals, of four letters or more
    field: str = ""  # what its argument is
    form: str = "rest"
    keep: bool = False  # the argument is remembered for later lines
    decoder: str = ""  # what follows is an authentication dialogue
    mark: bool = False  # other logs tell of the session under the time of its latest such command


class Dialogue(NamedTuple):
    """A log of what client and server said, without a mark of who did. Texts are beginnings of lines."""

    greeting: tuple[str, ...]  # what the server says first
    replies: tuple[str, ...] = ("###",)  # `###`: three digits and a blank or hyphen
    unknown: tuple[str, ...] = ()  # how a line that is no command is answered
    ends: tuple[str, ...] = ()  # traces that end a session
    reading: tuple[str, ...] = ()  # traces in place of a client's line
    traces: tuple[str, ...] = ()  # other traces
    challenge: tuple[str, ...] = ()  # the server waits for an answer
    text: tuple[str, ...] = ()  # the server waits for a message, until a line with one dot
    nobody: str = ""  # the context of lines without a session
    lifetime: float = 3600.0
    cap: int = 20_000
    commands: tuple[Command, ...] = ()
    turns: bool = True  # client and server take turns; False: only traces are read
    tagged: bool = False  # a command begins with a word of the client's, which its answer repeats
    addresses: bool = True  # a line tells the client's address; False: acts are laid to nobody


Table = dict[bytes, "tuple[Answer | None, ...]"]
#: In place of the first answer: the line says that this log follows the session.
MARK = None


class Answer:
    """A rule ready to be asked about a server's line."""

    __slots__ = ("commands", "echoes", "entry", "head", "keep", "place", "rule", "ties", "with_")

    def __init__(self, entry: Entry):
        rule = entry.rule
        self.entry = entry
        self.rule = rule
        self.place = rule.place
        self.commands = rule.answers
        self.keep = rule.keep
        self.with_ = rule.with_
        parts = rule.pattern.parts
        self.head = parts[0].text if isinstance(parts[0], Text) else b""
        #: A client's words of no interest stand in the line: it is no evidence as it stands.
        self.echoes = any(isinstance(part, Slot) and not part.name for part in parts) and rule.pattern.foreign
        self.ties = "source" in rule.pattern.names and rule.place == "reply"


class Machine:
    """One dialogue definition made ready."""

    __slots__ = (
        "alike",
        "challenge",
        "codes",
        "commands",
        "dialogue",
        "end_rules",
        "ends",
        "entries",
        "greeting",
        "guessed",
        "looks",
        "marks",
        "name",
        "nobody",
        "other",
        "parser",
        "placed",
        "quick",
        "reading",
        "tables",
        "tagged",
        "text",
        "trace_rules",
        "traces",
        "tying",
        "unknown",
        "verbs",
        "words",
    )

    def __init__(
        self, parser: Parser, entries: tuple[Entry, ...], wanted: frozenset[str] | None, marks: bool
    ):
        """`marks`: somebody wants to know which sessions it follows."""
        dialogue = parser.dialogue
        assert dialogue is not None
        self.parser = parser
        self.name = parser.name
        self.dialogue = dialogue
        self.guessed = parser.guessed
        self.entries = entries
        self.greeting = _texts(dialogue.greeting)
        self.unknown = _texts(dialogue.unknown)
        self.ends = _texts(dialogue.ends)
        self.reading = _texts(dialogue.reading)
        self.traces = _texts(dialogue.traces)
        self.challenge = _texts(dialogue.challenge)
        self.text = _texts(dialogue.text)
        self.nobody = dialogue.nobody.encode()
        self.looks: dict[bytes, int] = {}
        for bit, texts in (
            (GREETS, self.greeting),
            (ENDS, self.ends),
            (READS, self.reading),
            (TRACES, self.traces),
            (ASKS, self.challenge),
            (GOES_ON, self.text),
        ):
            for text in texts:
                self.looks[text[:HEAD]] = self.looks.get(text[:HEAD], 0) | bit
        self.tagged = dialogue.tagged
        self.placed = dialogue.addresses
        self.codes = _codes(dialogue.replies) if dialogue.turns and not dialogue.tagged else {}
        for text in self.challenge:
            for head in [head for head in self.codes if len(text) < HEAD and head.startswith(text)]:
                self.looks[head] = self.looks.get(head, 0) | ASKS
        #: A greeting looks like any other reply, so its look alone begins no session.
        self.alike = any(
            _key(text) == reply.strip().encode() for text in self.greeting for reply in dialogue.replies
        )
        #: Replies after which nothing else has to be looked at.
        special = {_key(text) for text in (*self.greeting, *self.challenge, *self.text)}
        self.quick = {head: code for head, code in self.codes.items() if code not in special}
        self.commands = {command.name: command for command in dialogue.commands}
        self.other = Command(OTHER, ())
        self.verbs: dict[bytes, tuple[tuple[bytes, Command], ...]] = {}
        self.words = {word.encode(): command for command in dialogue.commands for word in command.words}
        for command in dialogue.commands if not dialogue.tagged else ():
            for word in command.words:
                raw = word.encode()
                for head in (raw[:HEAD], raw[:HEAD].lower(), raw[:HEAD].capitalize()):
                    self.verbs[head] = (*self.verbs.get(head, ()), (raw, command))
        answers = [Answer(entry) for entry in entries if _useful(entry, wanted)]
        names = [*self.commands, OTHER, MESSAGE]
        self.tables: dict[str, Table] = {name: {} for name in names}
        for answer in answers:
            if answer.place == "reply":
                for name in answer.commands or names:
                    table = self.tables[name]
                    key = _key(answer.head)
                    table[key] = (*table.get(key, ()), answer)
        self.marks = marks
        if marks:
            special = {_key(text) for text in (*self.greeting, *self.challenge)}
            for command in dialogue.commands:
                table = self.tables[command.name]
                for code in set(self.codes.values()) - special if command.mark else ():
                    table[code] = (MARK, *table.get(code, ()))
        self.tying = tuple(answer for answer in answers if answer.ties)
        self.trace_rules = tuple(answer for answer in answers if answer.place == "trace")
        self.end_rules = tuple(answer for answer in answers if answer.place == "end")


def _useful(entry: Entry, wanted: frozenset[str] | None) -> bool:
    """False for rules whose events nobody asked for and that teach nothing about the session."""
    rule = entry.rule
    return (
        wanted is None
        or bool(rule.kinds() & wanted)
        or bool(rule.keep)
        or "source" in rule.pattern.names
        or rule.event == "ignore"
    )


def _texts(words: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in words)


def _key(head: bytes) -> bytes:
    """What a reply is looked up by: its three digits, or its first word, at most four bytes of it."""
    return head[:3] if head[:3].isdigit() else head.split(b" ")[0][:HEAD]


def _codes(replies: tuple[str, ...]) -> dict[bytes, bytes]:
    """The first four bytes of every reply, to what it is looked up by."""
    found: dict[bytes, bytes] = {}
    for reply in replies:
        if reply == "###":
            for number in range(200, 600):
                code = b"%d" % number
                for behind in (b" ", b"-", b""):
                    found[code + behind] = code
            continue
        raw = reply.encode()
        key = _key(raw) if len(raw) >= HEAD else raw.strip()
        for head in _heads(raw):
            found[head] = key
    return found


def _heads(raw: bytes) -> list[bytes]:
    """The first four bytes that a line beginning with `raw` can have, where they are printable."""
    if len(raw) >= HEAD:
        return [raw[:HEAD]]
    found = [raw]
    for _ in range(HEAD - len(raw)):
        found += [one + bytes([byte]) for one in found if len(one) < HEAD for byte in range(32, 127)]
    return [raw.rstrip(), *found]
