"""Parser definitions: the text of a file in `parsers/` to a `Parser`, checked.

Whatever is wrong with a file is told at once, each with file, line, why and what to do instead. A parser that
loads keeps every promise of mailguard-parser(5): see `checks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.rules import Parser
from ..problems import Problem, ProblemsError
from . import source
from .kept import Kept
from .reading import near
from .remembered import Passed


def load_parser(path: Path | str, check: bool = True) -> Parser:
    """The parser a file defines. `check` False leaves the samples and proofs alone.

    Raises ProblemsError with every problem of the file.
    """
    return _parser(source.load(path), check)


def read_parser(text: str, path: str, check: bool = True) -> Parser:
    """As `load_parser`, for a text that stands in no file yet; `path` gives the parser its name."""
    return _parser(source.parse(text, path), check)


def _parser(document: source.Document, check: bool) -> Parser:
    from .parsertext import parser_of  # most runs find every parser kept

    return parser_of(document, check)


def load_parsers(
    names: Iterable[str] | None = None, etc: Path | None = None, check: bool = True
) -> list[Parser]:
    """The parsers called `names` (None: all that are there), administrator's files before shipped ones.

    Raises ProblemsError with the problems of all files together; a name that is not there is one of them.
    """
    found = source.search("parsers", etc)
    kept = Kept()
    problems: list[Problem] = []
    parsers: list[Parser] = []
    for name in found if names is None else names:
        if name not in found:
            problems.append(Problem(f"parser {name}", "there is no such parser", instead=near(name, found)))
            continue
        try:
            parsers.append(_kept_parser(kept, name, str(found[name]), check))
        except ProblemsError as error:
            problems += error.problems
    kept.save(found)
    if problems:
        raise ProblemsError(problems)
    return parsers


def _kept_parser(kept: Kept, name: str, path: str, check: bool) -> Parser:
    """As `load_parser`, without reading again what was read before."""
    text = source.text_of(path)
    parser = kept.find(name, path, text)
    if parser is None or (check and Passed.key(path, text) not in Passed()):
        parser = _parser(source.parse(text, path), check)
        kept.keep(name, path, text, parser)
    return parser


def self_test(parser: Parser) -> list[Problem]:
    """Run the samples, forgeries and unmatched lines inside a parser; the problems, [] when all is well."""
    from .samples import run_samples

    return run_samples(parser)


__all__ = ["load_parser", "load_parsers", "read_parser", "self_test"]
