"""`mailguard test`: the tests inside definitions and settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mailguard.problems import EXIT_DEFINITION, Problem, ProblemsError

from .completing import tested
from .config import config_option, settings_path
from .messages import text
from .output import output_option, safe, write_json, write_table
from .wrongs import told

if TYPE_CHECKING:
    from pathlib import Path


class Tested(NamedTuple):
    """What one definition's own tests gave."""

    kind: str
    name: str
    tests: int
    problems: tuple[Problem, ...]

    @property
    def result(self) -> str:
        return text("test.failed", count=len(self.problems)) if self.problems else text("test.passed")


def parser_tests(path: Path) -> Tested:
    """The samples, forgeries and unmatched lines of a parser, and its proofs."""
    from mailguard.definitions.parsers import load_parser, self_test

    try:
        parser = load_parser(path)
    except ProblemsError as error:
        return Tested("parser", path.stem, 0, error.problems)
    tests = sum(len(rule.samples) + len(rule.forgeries) for rule in parser.rules) + len(parser.unmatched)
    return Tested("parser", parser.name, tests, tuple(self_test(parser)))


def action_tests(path: Path) -> Tested:
    """The samples of an action: what its driver plans for effects."""
    from mailguard.definitions.actions import load_action
    from mailguard.firewall.actions import self_test

    try:
        action = load_action(path)
    except ProblemsError as error:
        return Tested("action", path.stem, 0, error.problems)
    return Tested("action", action.name, len(action.samples), tuple(self_test(action)))


def detector_tests(config: Path | None) -> Iterator[Tested]:
    """The cases beside the thresholds. Settings with a case that fails do not load."""
    from mailguard.definitions.settings import load_settings

    for detector in load_settings(config).detectors:
        yield Tested("detector", detector.name, len(detector.cases), ())


@click.command("test")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=tested)
@config_option
@output_option
def command(names: tuple[str, ...], config: str | None, form: str) -> int:
    """Run the tests inside the definitions and settings.

    NAME is a parser, an action or a detector; without one all are tested. Exit 65 when a test fails.
    """
    from mailguard.definitions import source

    parsers, actions = source.search("parsers"), source.search("actions")
    detectors = {one.name: one for one in detector_tests(settings_path(config))}
    known = {*parsers, *actions, *detectors}
    for name in names:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, 1)
            hint = text("usage.near", name=near[0]) if near else ""
            raise click.UsageError(text("test.unknown", name=name, hint=hint))
    wanted = set(names) or known
    tested = [parser_tests(path) for name, path in parsers.items() if name in wanted]
    tested += [action_tests(path) for name, path in actions.items() if name in wanted]
    tested += [one for name, one in detectors.items() if name in wanted]
    if form == "json":
        write_json(*(as_json(one) for one in tested))
    else:
        columns = [text(f"column.{name}") for name in ("kind", "name", "tests", "result")]
        write_table(form, "", columns, [(one.kind, one.name, one.tests, one.result) for one in tested])
        for one in tested:
            for problem in one.problems:
                click.echo(safe(told([problem]), lines=True), err=True)
    return EXIT_DEFINITION if any(one.problems for one in tested) else 0


def as_json(one: Tested) -> dict[str, Any]:
    """One definition's result as an object."""
    return {
        "kind": one.kind,
        "name": one.name,
        "tests": one.tests,
        "passed": not one.problems,
        "problems": [str(problem) for problem in one.problems],
    }
