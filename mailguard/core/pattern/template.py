"""The template language: text in, a small tree out, or every problem with its column.

    text                 itself; `{{` and `}}` for braces
    {name:type}          a slot; `{:type}` a slot of no interest
    {name:[A-Z0-9]{6}}   a slot with a class of its own: ranges, `\\` before `] \\ - ^`; `{n}`, `{least,most}`
    {a|b|c}              one of these texts, without braces in them
    {? ... ?}            a part that may be missing, blanks as written; may be nested
    {=name}              the same text again that the foreign slot `name` held

There is no repetition, no look-ahead and no mode: the template covers the message from first to last
character.

Owns: the syntax. What a tree may not look like beyond it (foreign slots that touch) is said by `variants`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ...model import FIELDS
from ...problems import Problem, ProblemsError
from .slots import ANY, TYPES, SlotType, byte_set

LONGEST_CLASS = 1024  # bytes an inline class may hold at most
DEEPEST = 8  # optional parts inside one another
_NAMED = re.compile(r"([A-Za-z_0-9]*):")


class Text(NamedTuple):
    """Literal bytes."""

    text: bytes
    column: int


class Choice(NamedTuple):
    """One of these texts, none empty."""

    texts: tuple[bytes, ...]
    column: int


class Slot(NamedTuple):
    """A slot; `name` empty: of no interest."""

    name: str
    type: SlotType
    column: int


class Again(NamedTuple):
    """The text of the foreign slot `name` once more."""

    name: str
    column: int


class Maybe(NamedTuple):
    """A part that may be missing."""

    parts: tuple[Node, ...]
    column: int


Node = Text | Choice | Slot | Again | Maybe


def walk(parts: Iterable[Node]) -> Iterator[Node]:
    """Every node in reading order, the optional ones' insides after themselves."""
    for part in parts:
        yield part
        if isinstance(part, Maybe):
            yield from walk(part.parts)


def is_foreign(part: Node) -> bool:
    """A slot of anything, or its repetition."""
    return isinstance(part, Again) or (isinstance(part, Slot) and part.type.foreign)


def join(parts: Sequence[Node]) -> tuple[Node, ...]:
    """The same with neighbouring literals made one."""
    out: list[Node] = []
    for part in parts:
        last = out[-1] if out else None
        if isinstance(part, Text) and isinstance(last, Text):
            out[-1] = Text(last.text + part.text, last.column)
        else:
            out.append(part)
    return tuple(out)


class Trouble:
    """Collects the problems of one template; `where` and the columns say where each is."""

    def __init__(self, template: str, where: str):
        self.template = template
        self.where = where
        self.problems: list[Problem] = []

    def add(self, column: int, what: str, why: str = "", instead: str = "") -> None:
        """One problem at a column (counted from 1)."""
        start = max(0, column - 41)
        shown = self.template[start : start + 80].replace("\n", " ").replace("\t", " ")
        mark = f"{shown}\n{' ' * (column - 1 - start)}^"
        where = self.where or "template"
        self.problems.append(
            Problem(where, f"column {column}: {what}", f"{why}\n{mark}" if why else mark, instead)
        )

    def raise_any(self) -> None:
        if self.problems:
            raise ProblemsError(self.problems)


def _near(word: str, words: Iterable[str]) -> str:
    from difflib import get_close_matches  # only for who misspelt something

    close = get_close_matches(word, list(words), 1)
    return f"did you mean {close[0]!r}?" if close else "one of: " + " ".join(sorted(words))


class _Reader:
    """Reads one template from left to right."""

    def __init__(self, template: str, trouble: Trouble):
        self.text = template
        self.trouble = trouble

    def read(self) -> tuple[Node, ...]:
        text, add = self.text, self.trouble.add
        stack: list[tuple[int, list[Node]]] = [(0, [])]
        pending: list[str] = []
        since = 0

        def flush() -> None:
            if pending:
                stack[-1][1].append(Text("".join(pending).encode(), since))
                pending.clear()

        i = 0
        while i < len(text):
            here = text[i : i + 2]
            if here in ("{{", "}}"):
                if not pending:
                    since = i + 1
                pending.append(here[0])
                i += 2
            elif here == "{?":
                flush()
                if len(stack) == DEEPEST + 1:
                    add(i + 1, f"optional parts nested more than {DEEPEST} deep", instead="write two rules")
                    return ()
                stack.append((i + 1, []))
                i += 2
            elif here == "?}" and len(stack) > 1:
                flush()
                column, parts = stack.pop()
                if not parts:
                    add(column, "an optional part with nothing in it", instead="leave it out")
                else:
                    stack[-1][1].append(Maybe(tuple(parts), column))
                i += 2
            elif text[i] == "{":
                flush()
                node, i = self._brace(i)
                if node is not None:
                    stack[-1][1].append(node)
            elif text[i] == "}":
                add(
                    i + 1,
                    "a closing brace without an opening one",
                    instead="write }} for the character itself",
                )
                i += 1
            else:
                if text[i] == "\n":
                    add(i + 1, "a line feed", "a record is one line", "write another rule for the other line")
                if not pending:
                    since = i + 1
                pending.append(text[i])
                i += 1
        flush()
        for column, _ in stack[1:]:
            add(column, "an optional part that is not closed", instead="close it with ?}")
        return tuple(stack[0][1])

    def _brace(self, start: int) -> tuple[Node | None, int]:
        """The node whose `{` stands at `start`, and where the text goes on; None after a problem."""
        text, add, column = self.text, self.trouble.add, start + 1
        named = _NAMED.match(text, start + 1)
        if named and text[named.end() : named.end() + 1] == "[":
            kind, i = self._inline(named.end(), column)
            return (self._slot(named.group(1), kind, column) if kind else None), i
        end = text.find("}", start)
        if end < 0:
            add(
                column,
                "a brace that is not closed",
                instead="close it with }, or write {{ for the character itself",
            )
            return None, len(text)
        body = text[start + 1 : end]
        if body.startswith("="):
            return Again(body[1:], column), end + 1
        if "|" in body:
            texts = body.split("|")
            if not all(texts):
                add(
                    column, "an empty alternative", instead="put the alternatives into an optional part {? ?}"
                )
            elif len(set(texts)) < len(texts):
                add(column, "the same alternative twice")
            elif "{" in body:
                add(column, "a brace in an alternative", instead="write two rules, or an optional part {? ?}")
            else:
                return Choice(tuple(one.encode() for one in texts), column), end + 1
            return None, end + 1
        if not named:
            add(
                column,
                f"{{{body}}} is no slot",
                "a slot is {name:type} or {:type}",
                f"{{:{body}}}"
                if body in TYPES
                else f"{{{body}:foreign}}"
                if body in FIELDS
                else "write {{ and }} for the characters themselves",
            )
            return None, end + 1
        kind_name = body[body.index(":") + 1 :]
        kind = TYPES.get(kind_name)
        if kind is None:
            add(column, f"unknown slot type {kind_name!r}", instead=_near(kind_name, TYPES))
            return None, end + 1
        return self._slot(named.group(1), kind, column), end + 1

    def _slot(self, name: str, kind: SlotType, column: int) -> Slot | None:
        if name and name not in FIELDS:
            self.trouble.add(
                column, f"unknown field {name!r}", "field names are a closed list", _near(name, FIELDS)
            )
            return None
        if name == "source" and kind.name != "ip":
            self.trouble.add(
                column, f"the source as {kind.name}", "events are laid to addresses", "{source:ip}"
            )
        if name == "time" and kind.name != "stamp":
            self.trouble.add(column, f"the time as {kind.name}", "a stamp has a fixed form", "{time:stamp}")
        return Slot(name, kind, column)

    def _inline(self, start: int, column: int) -> tuple[SlotType | None, int]:
        """The class whose `[` stands at `start`, with its bounds and the closing brace."""
        text, add = self.text, self.trouble.add
        i, chars, low_char = start + 1, 0, -1
        negated = text[i : i + 1] == "^"
        i += negated
        pending_range = False
        while i < len(text) and text[i] != "]":
            escaped = text[i] == "\\"
            i += escaped
            if i >= len(text):
                break
            if (
                not escaped
                and text[i] == "-"
                and low_char >= 0
                and not pending_range
                and text[i + 1 : i + 2] != "]"
            ):
                pending_range = True
                i += 1
                continue
            code = ord(text[i])
            if code > 126 or code < 32 or (escaped and text[i] not in "]\\-^"):
                add(
                    i + 1,
                    f"{text[i]!r} in a class",
                    "a class is of printable ASCII bytes; \\ stands only before ] \\ - ^",
                    "use [^...] to take everything but some characters",
                )
            elif pending_range:
                if code < low_char:
                    add(i + 1, f"a range that runs backwards: {chr(low_char)}-{text[i]}")
                else:
                    chars |= byte_set(range(low_char, code + 1))
                pending_range, code = False, -1
            else:
                chars |= 1 << code
            low_char = code
            i += 1
        if negated:
            chars = ANY & ~chars & ~byte_set([*range(32), 127])
        bounds = re.compile(r"\](?:\{(\d{1,6})(?:,(\d{1,6}))?\})?\}").match(text, i)
        if bounds is None:
            add(
                column,
                "a class that is not closed",
                "after [...] come its bounds and the closing brace",
                "for example {:[A-Z0-9]{6,20}}; every class has a greatest length",
            )
            end = text.find("}", i)
            return None, len(text) if end < 0 else end + 1
        low = int(bounds.group(1) or 1)
        high = int(bounds.group(2) or low)
        if not chars:
            add(column, "an empty class")
        elif not low <= high <= LONGEST_CLASS or not high:
            add(column, f"the bounds {low} to {high}", f"least comes first, and {LONGEST_CLASS} is the most")
        else:
            return SlotType(
                text[start : bounds.end() - 1], "a class of its own", ((chars, low, high),)
            ), bounds.end()
        return None, bounds.end()


def parse(template: str, where: str = "") -> tuple[Node, ...]:
    """The tree of a template. Raises ProblemsError with all problems found."""
    trouble = Trouble(template, where)
    if not template:
        trouble.add(1, "an empty template", instead="write the message with its slots")
        trouble.raise_any()
    parts = _Reader(template, trouble).read()
    _check_names(parts, trouble)
    trouble.raise_any()
    return parts


def _check_names(parts: Sequence[Node], trouble: Trouble) -> None:
    seen: dict[str, Slot] = {}
    for node in walk(parts):
        if isinstance(node, Slot) and node.name:
            if node.name in seen:
                trouble.add(
                    node.column,
                    f"the field {node.name!r} twice",
                    "a field has one value",
                    f"{{:{node.type.name}}} for the one of no interest",
                )
            seen[node.name] = node
        elif isinstance(node, Again):
            first = seen.get(node.name)
            if first is None or not first.type.foreign:
                trouble.add(
                    node.column,
                    f"{{={node.name}}} repeats no foreign slot before it",
                    instead=f"{{{node.name}:foreign}} must stand before it",
                )
