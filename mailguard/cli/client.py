"""How a command asks the running guard: the option `--socket`, and answers or a clear end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from mailguard.control import DEFAULT_SOCKET, ControlDenied, ControlError, ask
from mailguard.locale.said import said
from mailguard.problems import EXIT_PERMISSION, EXIT_UNAVAILABLE

from .completing import files
from .config import general, settings_path
from .messages import text
from .moments import timed


class GuardError(Exception):
    """The guard could not be asked, or it said no; `code` is the exit code of the command."""

    def __init__(self, message: str, code: int, answer: dict[str, Any] | None = None):
        super().__init__(message)
        self.code = code
        self.answer = answer

    def as_json(self) -> dict[str, Any]:
        """For who asked for JSON: no answer looks like the answer to another question."""
        return {"ok": False, "exit": self.code, "error": str(self), **timed(self.answer or {})}


def usual_socket() -> str:
    """Where the guard listens: MAILGUARD_SOCKET, else what the settings say, else the default.

    The settings are read for this one key only, without a check: a command that asks must stay quick, and
    works beside settings that are wrong.
    """
    named = os.environ.get("MAILGUARD_SOCKET")
    if named:
        return named
    found = general(settings_path(None)).get("socket")
    return found if isinstance(found, str) else DEFAULT_SOCKET


def socket_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--socket` that every command has that asks the guard."""
    return click.option(
        "--socket",
        metavar="PATH",
        default=usual_socket,
        shell_complete=files,
        help="The control socket.",
    )(function)


def question(socket: str, verb: str, /, **arguments: Any) -> dict[str, Any]:
    """The guard's answer. GuardError: it was not reached (exit 69), refused (1), or may not be asked (77)."""
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        answer = ask(socket, verb, given)
    except ControlDenied as error:
        raise GuardError(said(str(error)), EXIT_PERMISSION) from None
    except ControlError as error:
        raise GuardError(said(str(error)), EXIT_UNAVAILABLE) from None
    if not answer.get("ok", True):
        raise GuardError(refusal(answer), EXIT_PERMISSION if answer.get("denied") else 1, answer)
    if answer.get("firewall_lost"):
        click.echo(f"mailguard: {text('asked.firewall-lost')}", err=True)
    return answer


def refusal(answer: dict[str, Any]) -> str:
    """Why the guard said no, in words."""
    if "error" in answer:
        return str(answer["error"])
    name, arguments = str(answer.get("id", "")), answer.get("args", {})
    if name == "nothing-to-lift" and arguments.get("still_inside"):
        return text("refused.still-inside", networks=", ".join(arguments["still_inside"]))
    if name == "refused":
        reason = str(arguments.get("reason", ""))
        if reason in ("too-wide", "standing"):
            return text(f"refused.{reason}", network=arguments.get("network"))
    return text(f"refused.{name}", **arguments)
