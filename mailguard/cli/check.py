"""`mailguard check`: settings and definitions, every problem at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mailguard.problems import Problem, ProblemsError

from .config import config_option, settings_path
from .messages import text
from .output import output_option, write_json, write_line

if TYPE_CHECKING:
    from mailguard.core.rules import Parser
    from mailguard.definitions.actions import Action
    from mailguard.definitions.settings import Settings

Value = TypeVar("Value")
#: A folder without definitions: then only the shipped ones are read.
NOWHERE = Path("/dev/null")


class Checked:
    """What could be loaded, and the problems of all that could not."""

    def __init__(self, config: Path | None, etc: Path | None):
        """`config` None: the shipped settings. `etc`: the folder of own definitions, None for the usual."""
        from mailguard.definitions.actions import load_actions
        from mailguard.definitions.parsers import load_parsers
        from mailguard.definitions.settings import load_settings
        from mailguard.firewall.actions import self_test

        self.problems: list[Problem] = []
        self.settings: Settings | None = self._try(lambda: load_settings(config))
        self.parsers: list[Parser] = self._try(lambda: load_parsers(etc=etc)) or []
        self.actions: dict[str, Action] = self._try(lambda: load_actions(etc)) or {}
        self.problems += [problem for action in self.actions.values() for problem in self_test(action)]

    def _try(self, load: Callable[[], Value]) -> Value | None:
        try:
            return load()
        except ProblemsError as error:
            self.problems += error.problems
            return None


@click.command("check")
@config_option
@click.option("--shipped", is_flag=True, help="Check only what came with mailguard.")
@output_option
def command(config: str | None, shipped: bool, form: str) -> int:
    """Check settings and definitions; list every problem.

    Exit 65 when a definition is wrong, 78 when the settings are.
    """
    if shipped:
        checked = Checked(None, NOWHERE)
    else:
        checked = Checked(settings_path(config), None)
    if form == "json":
        write_json(*(as_json(problem) for problem in checked.problems))
    if checked.problems:
        error = ProblemsError(checked.problems)
        if form != "json":
            raise error
        return error.exit_code
    if form != "json":
        from mailguard.core import native

        assert checked.settings is not None
        write_line(
            text(
                "check.right",
                settings=checked.settings.path or text("check.defaults"),
                detectors=len(checked.settings.detectors),
                parsers=len(checked.parsers),
                rules=sum(len(parser.rules) for parser in checked.parsers),
                actions=len(checked.actions),
            )
        )
        if checked.settings.alerts.command:
            write_line(text("check.alerts"))
        write_line(text("check.compiled", parts=", ".join(native.there()) or text("compiled.nothing")))
    return 0


def as_json(problem: Problem) -> dict[str, Any]:
    """A problem as an object; file and line apart where there is a line."""
    file, _, line = problem.where.rpartition(":")
    place = {"file": file, "line": int(line)} if line.isdigit() else {"file": problem.where, "line": None}
    return place | asdict(problem)
