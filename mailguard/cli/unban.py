"""`mailguard unban`: lift bans, and forget what was counted against these sources."""

from __future__ import annotations

import click

from mailguard.model import Network
from mailguard.notation import format_network

from .arguments import moment
from .arguments import network as network_of
from .asked import report
from .client import question, socket_option
from .completing import detectors
from .messages import text
from .output import output_option, write_line


@click.command("unban")
@click.argument("networks", type=network_of, nargs=-1, metavar="NETWORK...")
@click.option("--detector", metavar="NAME", shell_complete=detectors, help="All bans by this detector.")
@click.option("--since", type=moment, metavar="TIME", help="All bans that began then or later.")
@click.option("--all", "every", is_flag=True, help="All bans.")
@socket_option
@output_option
def command(
    networks: tuple[Network, ...],
    detector: str | None,
    since: float | None,
    every: bool,
    socket: str,
    form: str,
) -> None:
    """Lift bans.

    What was counted against these sources is forgotten, so that one more failure does not ban them again.
    """
    ways = sum((bool(networks), detector is not None or since is not None, every))
    if ways != 1:
        raise click.UsageError(text("unban.which"))
    answer = question(
        socket,
        "unban",
        networks=[format_network(network) for network in networks] or None,
        detector=detector,
        since=since,
        all=every or None,
    )
    if form == "json":
        report(form, answer, "unban.done")
        return
    for network in answer["args"]["lifted"]:
        write_line(text("unban.done", network=network))
    for network in answer["args"].get("still_inside", []):
        write_line(text("unban.still", network=network))
