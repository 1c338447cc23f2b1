"""`mailguard panic`: every ban lifted at once."""

from __future__ import annotations

import click

from .asked import report
from .client import question, socket_option
from .output import output_option


@click.command("panic")
@socket_option
@output_option
def command(socket: str, form: str) -> None:
    """Lift every ban at once and only observe.

    The firewall is emptied first; nothing is banned until `mailguard enforce`.
    """
    report(form, question(socket, "panic"), "panic.done")
