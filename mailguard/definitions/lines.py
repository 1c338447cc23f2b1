"""The lines inside a parser definition: samples, forgeries and what must stay unmatched."""

from __future__ import annotations

from typing import Any

from ..core.rules import Sample
from ..model import FIELDS
from .reading import Reading

#: Keys of a line; a sample may say what to expect as well, a forgery the true source.
LINE = ("line", "message", "program", "encoding", "after", "about")
#: Keys of the file, which TOML lays to the last table when they stand behind it.
_ABOVE = {
    name: f"A key of the file: {name} stands before the first [table]."
    for name in ("format", "title", "envelope", "guard", "guessed", "log", "scope")
}
SAMPLE = (*LINE, "expect")
FORGERY = (*LINE, "source")

Keys = tuple[str | int, ...]


def read_lines(
    read: Reading,
    table: dict[str, Any],
    name: str,
    keys: Keys,
    about: str,
    allowed: tuple[str, ...],
    programs: tuple[str, ...],
) -> tuple[Sample, ...]:
    """The tables `name` of `table`, each a line with the keys `allowed`; a message is the first program's.

    `keys` is where `table` stands, `about` what problems begin with.
    """
    found = []
    for number, one in enumerate(read.tables(table, name, keys, about or "parser")):
        what = f"{about}: {name}" if about else name
        sample = _line(read, one, (*keys, name, number), what, allowed, programs)
        if sample is not None:
            found.append(sample)
    return tuple(found)


def _line(
    read: Reading,
    table: dict[str, Any],
    keys: Keys,
    about: str,
    allowed: tuple[str, ...],
    programs: tuple[str, ...],
) -> Sample | None:
    read.keys(table, allowed, keys, about, _ABOVE)
    if ("line" in table) == ("message" in table):
        read.problem(keys, f"{about}: line or message, one of them, is needed")
        return None
    encoding = read.get(table, "encoding", str, "utf-8", keys, about)
    try:
        if "line" in table:
            line = str(read.get(table, "line", str, "", keys, about)).encode(encoding)
        else:
            program = read.get(table, "program", str, programs[0] if programs else "", keys, about)
            message = read.get(table, "message", str, "", keys, about)
            line = f"Nov 22 10:49:07 mail1 {program}[209]: {message}".encode(encoding)
        after = tuple(text.encode(encoding) for text in read.texts(table, "after", keys, about))
    except (LookupError, UnicodeEncodeError) as error:
        read.problem((*keys, "encoding"), f"{about}: {error}")
        return None
    for text in (line, *after):
        if b"\n" in text:
            read.problem(keys, f"{about}: a line holds a line end", "a record ends at LF and nowhere else")
            return None
    expect = read.get(table, "expect", dict, {}, keys, about)
    if isinstance(table.get("expect"), dict):
        read.keys(expect, {*FIELDS, "weight", "event"}, (*keys, "expect"), about)
    truth = table.get("source", False)
    if "source" in allowed and not isinstance(truth, str) and truth is not False:
        read.problem(
            (*keys, "source"), f"{about}: source is the true address, or false for no event", whole=True
        )
    if "source" in allowed and "source" not in table:
        read.problem(
            keys,
            f"{about}: source is missing",
            "a forgery says what the truth is",
            'source = "192.0.2.7", or source = false where the line must make no event.',
            whole=True,
        )
    return Sample(
        line, read.document.where(*keys), after, dict(expect), truth if isinstance(truth, str) else None
    )
