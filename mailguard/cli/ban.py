"""`mailguard ban`: an administrator's own ban."""

from __future__ import annotations

import math
import sys
from typing import Any

import click

from mailguard.model import Network
from mailguard.notation import format_network

from .arguments import length as length_of
from .arguments import network as network_of
from .asked import report
from .client import GuardError, question, socket_option
from .impact import remembered, remembered_lines
from .messages import text
from .moments import local
from .output import output_option, safe


@click.command("ban")
@click.argument("network", type=network_of)
@click.option(
    "--for",
    "length",
    type=length_of,
    default="1d",
    show_default=True,
    metavar="TIME",
    help="How long, or the word permanent.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the ban.")
@click.option(
    "--scope",
    type=click.Choice(["auth", "mail", "all"]),
    default="mail",
    show_default=True,
    help="The ports to close.",
)
@click.option("--force", is_flag=True, help="Ban it although it was refused.")
@click.option("--yes", is_flag=True, help="Do not ask, whoever would be locked out.")
@socket_option
@output_option
def command(
    network: Network, length: float, reason: str, scope: str, force: bool, yes: bool, socket: str, form: str
) -> None:
    """Ban an address or a network.

    Own addresses, the gateway, allowed networks and very wide networks are refused with the reason. Where
    mail was accepted or somebody logged in from there, that is shown first and you are asked; where nobody
    can be asked (no terminal, -o json), such a ban is refused unless --yes is given.
    """
    if not (yes or force):
        known = remembered(network, socket)
        if not known["empty"]:
            _ask(known, form)
    answer = question(
        socket,
        "ban",
        network=format_network(network),
        **{"for": "permanent" if math.isinf(length) else length},
        reason=reason,
        scope=scope,
        force=force or None,
    )
    until = answer.get("ban", {}).get("until")
    if until is None:
        report(form, answer, "ban.for-ever")
    else:
        report(form, answer, "ban.done", end=local(until))


def _ask(known: dict[str, Any], form: str) -> None:
    """Show who would be locked out, and go on only if the administrator wants to."""
    network = known["network"]
    if form == "json" or not sys.stdin.isatty():
        answer = {"id": "impact", "args": {"network": network}, "impact": known}
        raise GuardError(text("ban.unsure", network=network), 1, answer)
    for line in remembered_lines(known):
        click.echo(safe(line), err=True)
    if not click.confirm(text("ban.sure", network=network), err=True):
        raise GuardError(text("ban.left", network=network), 1)
