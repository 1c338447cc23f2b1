"""The parse stage in a process of another host: what it is asked, and what it answers.

Nothing here knows a cluster; whoever calls `work` with a request of plain values is answered the same. A
worker that differs in program, Python or definitions refuses, because its answer might differ, too. It keeps
the definitions it was sent, by their digest; one that has not got them, or has not got the very same file,
says so and is asked again with them in the request.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__
from ..core.pattern.pattern import Pattern
from ..core.rules import Parser
from ..definitions.parsers import read_parser
from ..definitions.source import read_text
from .pieces import Parse, Piece, packed
from .sources import PLAIN
from .workers import Definitions

#: What of the program decides what a line means.
ROOMS = ("core", "definitions", "feeds", "replay")
_KEPT = 2  # sets of definitions that a worker keeps
_SAMPLES = 32  # places of a file that are compared ...
_SAMPLE = 1024  # ... and how many bytes of each
_HEAD = 1 << 16  # bytes at the beginning, which tell what kind of log it is

# The words of an answer.
PARTS, WANT_DEFINITIONS, WANT_BYTES, REFUSED = "parts", "want definitions", "want bytes", "refused"
Answer = tuple[str, Any]
Texts = Sequence[tuple[str, str]]  # path and text of definition files, in their order


class Nature(NamedTuple):
    """What must be the same at both ends."""

    program: str  # version
    python: str  # version; columns are written as its `marshal` does
    code: str  # digest of the modules that decide


class Request(NamedTuple):
    """What a worker is asked. It travels as a plain tuple: other versions must be able to refuse it."""

    nature: tuple[str, ...]
    definitions: str  # digest
    piece: tuple[Any, ...]
    samples: str  # digest of places in the file
    prefilter: str = "auto"
    native: bool | None = None
    texts: Texts | None = None
    data: tuple[bytes, bytes] | None = None  # the file's head and the piece


@lru_cache(maxsize=1)
def nature() -> Nature:
    """This process's own."""
    package = Path(__file__).resolve().parent.parent
    found = hashlib.sha256()
    modules = [path for room in ROOMS for path in (package / room).rglob("*.py")]
    for path in sorted([*modules, *package.glob("*.py")]):
        found.update(f"{path.relative_to(package).as_posix()}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return Nature(__version__, "{}.{}".format(*sys.version_info), found.hexdigest()[:16])


def about() -> tuple[str, ...]:
    """`nature` as plain values, for the other end."""
    return tuple(nature())


def texts_of(parsers: Iterable[Parser]) -> list[tuple[str, str]]:
    """The files of parsers. Raises ProblemsError where one cannot be read any more."""
    return [(parser.path, read_text(parser.path)) for parser in parsers]


# ---------------------------------------------------------------- digests


def digest(parsers: Iterable[Parser]) -> str:
    """What parsers say, whoever loaded them from wherever."""
    found = hashlib.sha256()
    for piece in _told(tuple(parsers)):
        found.update(piece)
    return found.hexdigest()


def _told(value: Any) -> Iterator[bytes]:
    """A value as bytes that are the same in every process."""
    yield type(value).__name__.encode() + b"("
    if isinstance(value, Pattern):  # its automata follow from the template
        yield from _told((value.text, value.names, value.types, value.proved, value.key))
    elif is_dataclass(value) or hasattr(value, "_fields"):
        names = getattr(value, "_fields", None) or [one.name for one in fields(value) if one.repr]
        for name in names:
            if name not in ("path", "where"):
                yield from _told(getattr(value, name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _told(item)
    elif isinstance(value, dict):
        yield from _told(sorted(value.items()))
    elif isinstance(value, frozenset | set):
        yield from _told(sorted(value))
    elif isinstance(value, re.Pattern):
        yield from _told((value.pattern, value.flags))
    elif value is None or isinstance(value, str | bytes | int | float | bool):
        yield repr(value).encode()
    else:
        raise TypeError(f"a definition holds a {type(value).__name__}, which has no digest")
    yield b")"


def samples(path: str, start: int, end: int | None) -> str:
    """A digest of the head of a file and of places from `start` up to `end`; "": it has not that many bytes.

    Hosts have logs of their own in the same places: a name says nothing. Raises OSError."""
    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        end = size if end is None else end
        if size < end:
            return ""
        found.update(os.pread(file.fileno(), min(_SAMPLE, end), 0))
        step = max(1, (end - start) // _SAMPLES)
        for at in [*range(start, end, step), max(start, end - _SAMPLE)]:
            found.update(os.pread(file.fileno(), min(_SAMPLE, end - at), at))
    return f"{end} {found.hexdigest()}"


def bytes_of(piece: Piece) -> tuple[bytes, bytes]:
    """Head and bytes of a piece of a plain file, to be sent. Raises OSError."""
    with open(piece.path, "rb", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size if piece.end is None else piece.end
        head = os.pread(file.fileno(), min(_HEAD, piece.start), 0)
        gathered, at = [], piece.start
        while at < end and (more := os.pread(file.fileno(), end - at, at)):
            gathered.append(more)
            at += len(more)
    return head, b"".join(gathered)


# ---------------------------------------------------------------- the worker


class _Loaded:
    """The parse stage of one set of definitions. One scanner is used by one thread at a time."""

    def __init__(self, parse: Parse):
        self.parse = parse
        self.lock = threading.Lock()


_loaded: dict[tuple[str, str, bool | None], _Loaded] = {}
_loading = threading.Lock()


def work(request: Sequence[Any]) -> Answer:
    """Answer a request. Raises what only a defect of the program raises."""
    if tuple(request[0]) != about():
        return REFUSED, ("nature", about())
    asked = Request(*request)
    loaded = _load(asked)
    if loaded is None:
        return WANT_DEFINITIONS, None
    if isinstance(loaded, str):
        return REFUSED, ("definitions", loaded)
    piece = Piece(*asked.piece)
    if asked.data is not None:
        with _written(piece, *asked.data) as here, loaded.lock:
            return PARTS, packed(loaded.parse(here))
    try:
        if samples(piece.path, piece.start, piece.end if piece.form == PLAIN else None) != asked.samples:
            return WANT_BYTES, None
        with loaded.lock:
            return PARTS, packed(loaded.parse(piece))
    except OSError:  # not there, not readable, gone meanwhile: who asks has it
        return WANT_BYTES, None


def _load(asked: Request) -> _Loaded | str | None:
    """The parse stage of these definitions; None: they must be sent; text: what was made of them differs."""
    key = asked.definitions, asked.prefilter, asked.native
    with _loading:
        found = _loaded.pop(key, None)
        if found is None:
            if asked.texts is None:
                return None
            parsers = [read_parser(text, path, check=False) for path, text in asked.texts]
            made = digest(parsers)
            if made != asked.definitions:
                return made
            definitions = Definitions(parsers, asked.prefilter)
            definitions.native = asked.native
            found = _Loaded(definitions())
        while len(_loaded) >= _KEPT:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = found  # the newest stands last
        return found


@contextmanager
def _written(piece: Piece, head: bytes, data: bytes) -> Iterator[Piece]:
    """The piece, with its bytes in a file of our own, at their places: between them it is a hole."""
    with tempfile.NamedTemporaryFile(prefix="mailguard-", buffering=0) as file:
        os.pwrite(file.fileno(), head, 0)
        done = 0
        while done < len(data):
            done += os.pwrite(file.fileno(), data[done:], piece.start + done)
        yield piece._replace(at=file.name)
