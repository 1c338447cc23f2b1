"""`mailguard ban`: an administrator's own ban."""

from __future__ import annotations

import math

import click

from mailguard.model import Network
from mailguard.notation import format_network

from .arguments import length as length_of
from .arguments import network as network_of
from .asked import report
from .client import question, socket_option
from .moments import local
from .output import output_option


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
@socket_option
@output_option
def command(
    network: Network, length: float, reason: str, scope: str, force: bool, socket: str, form: str
) -> None:
    """Ban an address or a network.

    Own addresses, the gateway, allowed networks and very wide networks are refused with the reason.
    """
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
