"""`mailguard pause`: the bans out of the firewall for a while."""

from __future__ import annotations

import click

from mailguard.notation import format_time

from .arguments import pause
from .client import question, socket_option
from .messages import text
from .moments import local
from .output import output_option, write_json, write_line


@click.command("pause")
@click.argument("length", type=pause, metavar="TIME")
@socket_option
@output_option
def command(length: float, socket: str, form: str) -> None:
    """Lift the bans from the firewall for a while.

    They are not forgotten and come back by themselves; `mailguard pause 0s` brings them back at once.
    """
    until = question(socket, "pause", **{"for": length}).get("paused_until")
    if form == "json":
        write_json({"paused_until": None if until is None else format_time(until)})
    elif until is None:
        write_line(text("pause.over"))
    else:
        write_line(text("pause.done", until=local(until)))
