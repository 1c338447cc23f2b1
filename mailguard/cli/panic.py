"""`mailguard panic`: every ban lifted at once."""

from __future__ import annotations

import click

from .client import question, socket_option
from .messages import text
from .output import output_option, write_json, write_line


@click.command("panic")
@socket_option
@output_option
def command(socket: str, form: str) -> None:
    """Lift every ban at once and only observe.

    The firewall is emptied first; nothing is banned until `mailguard enforce`.
    """
    answer = question(socket, "panic")
    lifted = len(answer.get("effects", []))
    if form == "json":
        write_json({"lifted": lifted, "mode": "observe"})
    else:
        write_line(text("panic.done", count=lifted))
