"""`mailguard bans`: the bans that stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click

from mailguard.model import Network
from mailguard.notation import format_network, format_time

from . import eposts
from .arguments import moment, network
from .client import question, socket_option
from .completing import detectors
from .messages import text
from .moments import brief, left
from .output import is_terminal, output_option, write_json, write_line, write_table

PAGE = 1000  # bans in one answer of the guard


def would_stand(socket: str, **asked: Any) -> list[dict[str, Any]]:
    """The newest bans that are merely observed."""
    found: list[dict[str, Any]] = question(socket, "bans", would=True, limit=PAGE, **asked)["bans"]
    return found


def standing(socket: str, **asked: Any) -> Iterator[dict[str, Any]]:
    """All bans that fit, page after page."""
    after = 0
    while True:
        bans = question(socket, "bans", after=after, limit=PAGE, **asked)["bans"]
        yield from bans
        if len(bans) < PAGE:
            return
        after = bans[-1]["id"]


@click.command("bans")
@click.option(
    "--detector",
    metavar="NAME",
    shell_complete=detectors,
    help="Only bans by this detector; administrator: those asked for.",
)
@click.option("--since", type=moment, metavar="TIME", help="Only bans that began then or later.")
@click.option("--contains", type=network, metavar="ADDRESS", help="Only bans that keep this address out.")
@click.option("--would", is_flag=True, help="The bans that would stand: those that are only observed.")
@socket_option
@output_option
def command(
    detector: str | None, since: float | None, contains: Network | None, would: bool, socket: str, form: str
) -> None:
    """List the bans that stand, and E-Post's own lock-outs.

    The latter are read from its tables where an action names them, see mailguard-action(5); their detector
    is called epost.
    """
    asked = {
        "detector": detector,
        "since": since,
        "contains": None if contains is None else format_network(contains),
    }
    given = {name: value for name, value in asked.items() if value is not None}
    bans: Iterable[dict[str, Any]] = ()
    theirs: list[dict[str, Any]] = []
    if would:
        bans = would_stand(socket, **given)
    else:
        bans = standing(socket, **given) if detector != "epost" else ()
        theirs = eposts.standing(contains, since) if detector in (None, "epost") else []
    if form == "json":
        for ban in (*bans, *theirs):
            write_json(as_json(ban))
    elif form == "auto" and is_terminal():
        if detector != "epost" or not theirs:
            table(list(bans), "bans.would" if would else "bans.title")
        if theirs:
            table(theirs, "epost.title")
    else:
        for ban in bans:
            write_line(as_line(ban))
        for ban in theirs:
            write_line(eposts.as_line(ban))


def as_json(ban: dict[str, Any]) -> dict[str, Any]:
    """The ban with its times as text."""
    times = {name: ban.get(name) for name in ("since", "until", "first", "last")}
    times |= {name: ban[name] for name in ("last_hit",) if name in ban}
    return ban | {name: None if at is None else format_time(at) for name, at in times.items()}


def as_line(ban: dict[str, Any]) -> str:
    """Network, ports, end, and the notation of the effect."""
    until = "permanent" if ban["until"] is None else format_time(ban["until"])
    knocks = "" if ban.get("packets") is None else f" knocks {ban['packets']}"
    return f"{ban['network']} {ban['scope']} until {until}{knocks}: {ban['text']}"


def table(bans: list[dict[str, Any]], title: str = "bans.title") -> None:
    """For people: how long it lasts, and the reason without what other columns say."""
    if not bans:
        write_line(text("bans.none"))
        return
    columns = [text(f"column.{name}") for name in ("network", "ports", "left", "since", "knocks", "why")]
    rows = [
        (
            ban["network"],
            ban["scope"],
            left(ban["until"]) if ban.get("ends_known", True) else text("epost.end-unknown"),
            None if ban["since"] is None else brief(ban["since"]),
            ban.get("packets"),
            reason(ban["text"]),
        )
        for ban in bans
    ]
    write_table("auto", text(title, count=len(bans)), columns, rows, whole=len(columns) - 1)


def reason(notation: str) -> str:
    """What stands behind `by` in the notation of a ban."""
    return notation.partition(" by ")[2] or notation
