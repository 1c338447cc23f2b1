"""`mailguard why`: what is known about an address or a network, said calmly, and how to undo it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from mailguard.locale import length as length_of
from mailguard.model import Network
from mailguard.notation import format_network

from . import eposts
from .arguments import network as network_of
from .bans import as_json
from .client import question, socket_option
from .messages import text
from .moments import ago, left, local, timed
from .output import output_option, write_json, write_line
from .verdicts import kept

LINES = 20  # lines of evidence shown, newest last
EFFECTS = 10  # earlier effects shown, newest first


@click.command("why")
@click.argument("network", type=network_of)
@socket_option
@output_option
def command(network: Network, socket: str, form: str) -> None:
    """Explain what is known about an address or a network.

    The ban and its end, who found what, the counts in the windows, the lines that led to it, what speaks for
    it, and how to undo it.
    """
    answer = question(socket, "why", network=format_network(network))
    theirs = list(eposts.lock_outs(network))
    if form == "json":
        hidden = ("ok", "id", "args")
        shown = {name: value for name, value in answer.items() if name not in hidden}
        if theirs:
            shown["epost"] = [as_json(eposts.as_ban(one)) for one in theirs]
        write_json({"network": format_network(network), **timed(shown)})
        return
    for line in explanation(format_network(network), answer):
        write_line(line)
    for line in eposts.explained(theirs):
        write_line(line)


def explanation(network: str, answer: dict[str, Any]) -> Iterator[str]:
    """All of it, paragraph by paragraph."""
    yield from _verdict(network, answer)
    yield from _counted(answer)
    yield from _lines(answer)
    yield from _standing(answer)
    yield from _before(answer)
    yield from _undo(network, answer)


def _verdict(network: str, answer: dict[str, Any]) -> Iterator[str]:
    real = [ban for ban in answer["bans"] if not ban.get("simulated")]
    would = [ban for ban in answer["bans"] if ban.get("simulated")]
    if not answer["bans"]:
        yield text("why.not-banned", network=network)
    for ban in (*real, *would):
        name = ban["network"] if ban["network"] == network else f"{network} ({ban['network']})"
        ends = text("time.ever") if ban["until"] is None else local(ban["until"])
        yield text(
            "why.would" if ban.get("simulated") else "why.banned",
            network=name,
            until=ends,
            left=left(ban["until"]),
            ports=text(f"ports.{ban['scope']}"),
        )
        yield from _finding(ban)
    if answer.get("spared"):
        yield text("why.spared", **answer["spared"])
    if answer.get("unbanned") is not None:
        yield text("why.unbanned", at=local(answer["unbanned"]))
    if answer.get("inside"):
        yield text("why.inside", count=len(answer["inside"]))


def _finding(ban: dict[str, Any]) -> Iterator[str]:
    if ban["since"] is None:
        yield text("why.unknown")
        return
    if ban["detector"] == "administrator":
        yield text("why.asked", since=local(ban["since"]), reason=ban["reason"] or text("why.no-reason"))
    else:
        yield text(
            "why.found",
            detector=ban["detector"],
            count=ban["count"],
            kinds=" + ".join(ban["kinds"]),
            span=length_of(ban["last"] - ban["first"]),
            first=local(ban["first"]),
            last=local(ban["last"]),
        )
        if ban["key"] != ban["network"]:
            yield text("why.key", key=ban["key"])
    if ban["ordinal"] > 1:
        yield text("why.ordinal", ordinal=ban["ordinal"])
    if ban.get("hits"):
        yield text("why.hits", hits=ban["hits"], last=local(ban["last_hit"]))


def _counted(answer: dict[str, Any]) -> Iterator[str]:
    if not answer.get("history"):
        return
    yield ""
    yield text("why.counted")
    for one in answer["history"]:
        values = text("why.values", values=one["values"]) if one["values"] else ""
        span = length_of(one["last"] - one["first"])
        yield text("why.count", **{**one, "values": values, "span": span, "last": ago(one["last"])})


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    lines = answer.get("lines", [])
    if not lines:
        return
    yield ""
    yield text("why.lines")
    if len(lines) > LINES:
        yield text("why.earlier", count=len(lines) - LINES)
    for one in lines[-LINES:]:
        yield f"  {local(one['time'])}  {one['rule']}  {one['log']}"
        if one["line"]:
            yield f"    {one['line']}"
        elif one.get("fields"):  # a dialogue: what was said is not kept, but what was learned of it
            yield "    " + ", ".join(f"{name} {value}" for name, value in sorted(one["fields"].items()))


def _standing(answer: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield text("why.speaks")
    said = False
    for name in ("standing", "network_standing"):
        known = answer.get(name) or {}
        for what in ("mail", "login"):
            days = known.get(f"{what}_days")
            if days:
                said = True
                last = local(known[f"last_{what}"])
                yield text(f"why.{name}-{what}", days=days, last=last)
        if known.get("revoked"):
            yield text("why.revoked")
    yield from kept(answer.get("friends") or {})
    if not said:
        yield text("why.nothing-speaks")


def _before(answer: dict[str, Any]) -> Iterator[str]:
    effects = answer.get("effects", [])
    if not effects:
        return
    yield ""
    yield text("why.before", times=answer.get("times_banned", 0))
    for effect in effects[:EFFECTS]:
        yield f"  {local(effect['time'])}  {effect['text']}"


def _undo(network: str, answer: dict[str, Any]) -> Iterator[str]:
    commands = list(answer.get("undo", []))
    if answer["bans"] and not answer.get("spared"):
        commands.append(f'mailguard allow add {network} --reason "..."')
    if not commands:
        return
    yield ""
    yield text("why.undo")
    for one in commands:
        yield f"  {one}"
