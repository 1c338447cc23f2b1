"""`mailguard allow`: networks that are never banned."""

from __future__ import annotations

import click

from mailguard.model import Network
from mailguard.notation import format_network, parse_network

from .arguments import network as network_of
from .asked import report
from .client import question, socket_option
from .messages import text
from .output import output_option, write_json, write_table


@click.group("allow")
def command() -> None:
    """Networks that are never banned."""


@command.command("add")
@click.argument("network", type=network_of)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the network.")
@click.option("--force", is_flag=True, help="Add it even if it is every address there is.")
@socket_option
@output_option
def add(network: Network, reason: str, force: bool, socket: str, form: str) -> None:
    """Never ban NETWORK; lift the bans inside it."""
    name = format_network(network)
    answer = question(socket, "allow", do="add", network=name, reason=reason, force=force or None)
    lifted = answer["lifted"]
    report(form, answer, "allow.added-lifted" if lifted else "allow.added", lifted=lifted)


@command.command("del")
@click.argument("network", type=network_of)
@socket_option
@output_option
def delete(network: Network, socket: str, form: str) -> None:
    """Take NETWORK, which was added, from the list."""
    report(form, question(socket, "disallow", network=format_network(network)), "allow.deleted")


@command.command("list")
@socket_option
@output_option
def list_(socket: str, form: str) -> None:
    """List the networks that are never banned, each with its reason."""
    answer = question(socket, "allow-list")
    rows = [(one["network"], one["reason"], text("allow.by-settings")) for one in answer["never"]]
    rows += [(one["network"], one["reason"], text("allow.by-command")) for one in answer["entries"]]
    rows.sort(key=_order)
    if form == "json":
        write_json(*({"network": row[0], "reason": row[1], "origin": row[2]} for row in rows))
        return
    columns = [text(f"column.{name}") for name in ("network", "why", "origin")]
    write_table(form, "", columns, rows)


def _order(row: tuple[str, str, str]) -> tuple[bool, int, int]:
    """IPv4 before IPv6, each by its number."""
    network = parse_network(row[0])
    return (True, 0, 0) if network is None else (":" in row[0], network.address, network.prefix)


@command.command("check")
@click.argument("network", type=network_of)
@socket_option
@output_option
def check(network: Network, socket: str, form: str) -> int:
    """Is NETWORK allowed, and by what? Exit 0 yes, 1 no."""
    answer = question(socket, "allow-check", network=format_network(network))
    allowed = bool(answer["allowed"])
    report(form, answer, "allow.yes" if allowed else "allow.part" if answer.get("part") else "allow.no")
    return 0 if allowed else 1
