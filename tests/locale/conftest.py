"""Languages settled for one test, and the fake guard of the command line's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailguard import cli
from mailguard.cli import speaking
from tests.cli.conftest import guard, run

__all__ = ["guard", "run"]

Speak = Callable[..., None]


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Iterator[Speak]:
    """Set the environment that names a language, as a login does; English again at the end."""

    def settle(**environment: str) -> None:
        for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANG"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    yield settle
    monkeypatch.undo()
    speaking.begin([], {})
    _restore(cli.program)


def _restore(command: Any) -> None:
    speaking.localize(command)
    for group in cli.COMMANDS.values():
        for name in group:
            cli.program.get_command(None, name)  # type: ignore[arg-type]
