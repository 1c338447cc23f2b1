"""`mailguard observe`: switch bans off."""

from __future__ import annotations

import click

from .asked import report
from .client import question, socket_option
from .output import output_option


@click.command("observe")
@socket_option
@output_option
def command(socket: str, form: str) -> None:
    """Switch bans off; say what would be banned.

    Bans that stand run until their end.
    """
    report(form, question(socket, "observe"), "observe.done")
