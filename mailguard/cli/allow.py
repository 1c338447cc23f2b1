"""`mailguard allow`: networks that are never banned."""

from __future__ import annotations

import click

from mailguard.model import Network
from mailguard.notation import format_network

from .arguments import network as network_of
from .asked import report
from .client import question, socket_option
from .messages import text
from .output import output_option, write_json, write_line, write_table


@click.group("allow")
def command() -> None:
    """Networks that are never banned."""


@command.command("add")
@click.argument("network", type=network_of)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the network.")
@socket_option
@output_option
def add(network: Network, reason: str, socket: str, form: str) -> None:
    """Never ban NETWORK; lift the bans inside it."""
    name = format_network(network)
    answer = question(socket, "allow", network=name, reason=reason)
    report(form, answer, "allow.added")


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
    networks = question(socket, "allow-list")["networks"]
    if form == "json":
        write_json(*networks)
        return
    columns = [text(f"column.{name}") for name in ("network", "why", "origin")]
    write_table(form, "", columns, [(one["network"], one["reason"], one.get("origin")) for one in networks])


@command.command("check")
@click.argument("network", type=network_of)
@socket_option
@output_option
def check(network: Network, socket: str, form: str) -> int:
    """Is NETWORK allowed, and by what? Exit 0 yes, 1 no."""
    name = format_network(network)
    answer = question(socket, "allow-check", network=name)
    by = answer.get("by")
    if form == "json":
        write_json({"network": name, "allowed": by is not None, "by": by})
    elif by is None:
        write_line(text("allow.no", network=name))
    else:
        write_line(text("allow.yes", network=name, by=by["network"], why=by["reason"]))
    return 0 if by is not None else 1
