"""Who does the parse stage: this process (`Here`), several of this host's (`processes`) or a `cluster`.

An executor is asked for the results of a run of pieces, in their order, and reads no further ahead than it
may. `forward` says that the pieces are parts of a log that is read forwards: they go to one worker, which
then does not have to begin anew for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ..core import native
from ..core.rules import Parser
from ..core.scanner import Scanner
from .pieces import Parse, Parsed, Piece

Make = Callable[[], Parse]


class Definitions:
    """What a process needs to parse; makes its parse stage. A forked process inherits one that is made."""

    def __init__(self, parsers: Sequence[Parser], prefilter: str = "auto"):
        self.parsers = tuple(parsers)
        self.prefilter = prefilter
        # Said here, because a process that is not forked does not know what was forbidden.
        self.native = None if native.there() else False
        self._made: Parse | None = None

    def __call__(self) -> Parse:
        if self._made is None:
            scanner = Scanner(self.parsers, prefilter=self.prefilter, native=self.native)
            scanner.sampling = False  # nobody asks a replay whether a format changed
            self._made = Parse(scanner)
        return self._made

    def __getstate__(self) -> tuple[tuple[Parser, ...], str, bool | None]:
        return self.parsers, self.prefilter, self.native

    def __setstate__(self, state: tuple[tuple[Parser, ...], str, bool | None]) -> None:
        self.parsers, self.prefilter, self.native = state
        self._made = None


class Executor(Protocol):
    """Parses pieces."""

    def run(self, pieces: Iterator[Piece], forward: bool) -> Iterator[Parsed]:
        """What came out of each piece, in order, each in one part or several."""

    def close(self) -> None:
        """Give everything back. May be repeated."""


class Here:
    """This process alone."""

    def __init__(self, make: Make):
        self._parse = make()

    def run(self, pieces: Iterator[Piece], forward: bool) -> Iterator[Parsed]:
        return (part for piece in pieces for part in self._parse.parts(piece))

    def close(self) -> None: ...
