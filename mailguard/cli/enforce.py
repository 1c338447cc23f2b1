"""`mailguard enforce`: bans on."""

from __future__ import annotations

import sys
from typing import Any

import click

from .asked import report
from .client import question, socket_option
from .messages import text
from .output import output_option, safe


@click.command("enforce")
@click.option("--yes", is_flag=True, help="Do not ask.")
@socket_option
@output_option
def command(yes: bool, socket: str, form: str) -> int:
    """Switch bans on.

    Bans that were only observed until now and have not ended become real. On a terminal it says what that
    means and asks first.
    """
    if not yes and sys.stdin.isatty():
        for line in consequences(question(socket, "status")):
            click.echo(safe(line), err=True)
        if not click.confirm(text("enforce.sure"), default=True, err=True):
            return 1
    answer = question(socket, "enforce")
    report(form, answer, "enforce.done", imposed=answer.get("imposed", 0))
    return 0


def consequences(status: dict[str, Any]) -> list[str]:
    """What an administrator should know before."""
    told = []
    if status["would"]:
        told.append(text("enforce.would", count=status["would"]))
    if any(log.get("kind") in ("file", "syslog") for log in status["logs"].values()):
        told.append(text("enforce.trust"))
    return told
