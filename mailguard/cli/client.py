"""How a command asks the running guard: the option `--socket`, and answers or a clear end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from mailguard.control import DEFAULT_SOCKET, ControlError, ask
from mailguard.problems import EXIT_PERMISSION, EXIT_UNAVAILABLE

__all__ = ["GuardError", "question", "socket_option"]


class GuardError(Exception):
    """The guard could not be asked, or it said no; `code` is the exit code of the command."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def socket_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--socket` that every command has that asks the guard."""
    return click.option(
        "--socket",
        metavar="PATH",
        default=lambda: os.environ.get("MAILGUARD_SOCKET", DEFAULT_SOCKET),
        help="The control socket.",
    )(function)


def question(socket: str, verb: str, /, **arguments: Any) -> dict[str, Any]:
    """The guard's answer. GuardError: it was not reached (exit 69), refused (1), or may not be asked (77)."""
    try:
        answer = ask(socket, verb, arguments)
    except ControlError as error:
        raise GuardError(str(error), EXIT_UNAVAILABLE) from None
    if not answer.get("ok", True):
        raise GuardError(str(answer.get("error", "")), EXIT_PERMISSION if answer.get("denied") else 1)
    return answer
