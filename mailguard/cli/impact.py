"""`mailguard impact`: whom a ban of a network would hurt, from logs or from what the guard remembers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mailguard.model import Network
from mailguard.notation import format_network, parse_network, times_in

from .arguments import network as network_of
from .client import question, socket_option
from .completing import files as log_files
from .config import config_option
from .messages import text
from .moments import local, rough, timed
from .output import output_option, write_json, write_line
from .recorded import Recorded, ledger_option, recorded_options
from .rehearsing import (
    outcome,
    progress,
    settings_of,
    shutouts_of,
    tell,
)
from .verdicts import kept, who

if TYPE_CHECKING:
    from mailguard.replay.impact import Impact
    from mailguard.replay.summary import Summary

_STANDING = ("mail_days", "login_days")


@click.command("impact")
@click.argument("network", type=network_of)
@click.argument("files", nargs=-1, metavar="[FILE...]", shell_complete=log_files)
@config_option
@recorded_options
@ledger_option
@socket_option
@output_option
def command(
    network: Network,
    files: tuple[str, ...],
    config: str | None,
    recorded: Recorded,
    ledger: str | None,
    socket: str,
    form: str,
) -> int:
    """Show whom a ban of a network would hurt.

    With FILE from logs: accepted mail, logins that succeeded, and what came from there that was hostile.
    Without from what the running guard remembers.
    """
    if not files:
        known = remembered(network, socket)
        if form == "json":
            write_json(timed(known))
        else:
            for line in remembered_lines(known):
                write_line(line)
        return 0
    from mailguard.replay.impact import Impact

    impact = Impact(network)
    rehearsed = recorded.rehearsal(files, recorded.load())
    shutouts = shutouts_of(ledger, settings_of(config))
    try:
        with progress(rehearsed):
            for events in rehearsed.batches():
                impact.take(events)
    except KeyboardInterrupt:
        rehearsed.interrupted = True
    summary = rehearsed.summary
    begin, end = summary.first or 0.0, summary.last or 0.0
    hidden = sum(stop - start for start, stop in shutouts.hidden(network, begin, end))
    if form == "json":
        write_json(as_object(impact, summary, hidden, recorded.timezone))
    else:
        for line in lines(impact, summary, hidden):
            write_line(line)
    tell(summary.notices, summary.untold)
    return outcome(rehearsed)


def as_object(impact: Impact, summary: Summary, hidden: float, timezone: str) -> dict[str, Any]:
    """What logs tell, as an object."""
    from mailguard.replay.verdict import judge

    moment = times_in(timezone)
    verdict = judge(impact.friendly, None, hidden, impact.hostile["locked_out"])
    return {
        "network": format_network(impact.network),
        "from": "logs",
        "first": None if summary.first is None else moment(summary.first),
        "last": None if summary.last is None else moment(summary.last),
        "friendly": impact.friendly.row(moment),
        "hostile": {
            "events": impact.hostile.total(),
            "sources": len(impact.sources),
            "kinds": dict(impact.hostile.most_common()),
            "last": moment(impact.last_hostile) if impact.hostile else None,
        },
        "hidden_seconds": round(hidden),
        "verdict": verdict.row() | {"text": _verdict(verdict)},
    }


def _verdict(verdict: Any) -> str:
    person = who(verdict.accounts, verdict.customers, verdict.more, verdict.messages)
    return text("impact.verdict", who=person) if person else text("impact.verdict-none")


def lines(impact: Impact, summary: Summary, hidden: float) -> Iterator[str]:
    """What logs tell, for people."""
    from mailguard.replay.known import named
    from mailguard.replay.verdict import judge

    friendly = impact.friendly
    first, last = (local(one) if one is not None else "?" for one in (summary.first, summary.last))
    what = text("impact.logs", first=first, last=last)
    yield text("impact.title", network=format_network(impact.network), what=what)
    if friendly.messages:
        row = {"messages": friendly.messages, "pairs": friendly.pairs, "last": local(friendly.last_mail)}
        yield text("impact.mail", **row)
        if domains := named(friendly.domains):
            yield text("impact.domains", names=", ".join(domains))
    if friendly.logins:
        row = {"logins": friendly.logins, "accounts": friendly.accounts, "last": local(friendly.last_login)}
        yield text("impact.logins", **row)
        if users := named(friendly.users):
            yield text("impact.users", names=", ".join(users))
    if not friendly:
        yield text("impact.none")
    if impact.hostile:
        yield text(
            "impact.hostile",
            events=impact.hostile.total(),
            sources=len(impact.sources),
            last=local(impact.last_hostile),
            kinds=", ".join(f"{count} {kind}" for kind, count in impact.hostile.most_common()),
        )
    if hidden:
        yield text("impact.hidden", hidden=rough(hidden))
    yield _verdict(judge(friendly, None, hidden, impact.hostile["locked_out"]))


# ---------------------------------------------------------------- the guard


def remembered(network: Network, socket: str) -> dict[str, Any]:
    """What the running guard remembers in favour of a network; GuardError where it cannot be asked.

    `empty` is true where nothing is known that a ban would hurt."""
    answer = question(socket, "why", network=format_network(network))
    standing = answer.get("standing") or {}
    friends = answer.get("friends") or {}
    speaks = bool(any(standing.get(name) for name in _STANDING) and not standing.get("revoked"))
    speaks = speaks or any(friends.get(name) for name in ("mail_sources", "login_sources"))
    return {
        "network": format_network(network),
        "from": "guard",
        "empty": not speaks,
        "standing": standing,
        "network_standing": answer.get("network_standing") or {},
        "friends": friends,
        "spared": answer.get("spared"),
        "banned": bool(answer.get("banned")),
    }


def remembered_lines(known: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    yield text("impact.title", network=known["network"], what=text("impact.guard"))
    told = False
    for name in ("standing", "network_standing"):
        standing = known[name]
        for what in ("mail", "login"):
            if standing.get(f"{what}_days"):
                told = True
                last = local(standing[f"last_{what}"])
                yield text(f"why.{name}-{what}", days=standing[f"{what}_days"], last=last)
        if standing.get("revoked"):
            yield text("why.revoked")
    if not told and known["empty"]:
        yield text("impact.none")
    if known["spared"]:
        yield text("impact.spared", **known["spared"])
    if not known["empty"]:
        yield from _friends(known)
    else:
        near = any(known["network_standing"].get(name) for name in _STANDING)
        own = any(known["standing"].get(name) for name in _STANDING)
        yield text("impact.verdict-neighbours" if near and not own else "impact.verdict-none")


def _friends(known: dict[str, Any]) -> Iterator[str]:
    """Who is known to come from there, what of it is not kept, and the verdict."""
    from mailguard.core.networks import source_network, wide_network

    network, friends = parse_network(known["network"]), known["friends"]
    assert network is not None
    mail, logins = friends.get("mail_sources", 0), friends.get("login_sources", 0)
    accounts, parts = friends.get("accounts"), []
    around = source_network(network.address) == network  # logins are known by the network they came from
    yield from kept(friends)
    if mail:
        name = "impact.guard-mail-least" if friends["more_pairs"] else "impact.guard-mail"
        yield text(name, sources=mail, pairs=friends["pairs"])
    if logins and accounts is None:
        yield text("impact.guard-logins-many", sources=logins)
        parts.append(text("who.people"))
    elif logins and around:
        wide = format_network(wide_network(network.address))
        yield text("impact.guard-logins-around", accounts=accounts, around=wide)
        parts.append(text("who.accounts-most", count=accounts))
    elif logins:
        yield text("impact.guard-logins", sources=logins, accounts=accounts)
        parts.append(who(accounts, (), 0, 0) or text("who.people"))
    if not parts and known["standing"].get("login_days"):  # the addresses themselves are forgotten
        parts.append(text("who.people"))
    if mail or not parts:
        parts.append(text("who.mail-sources", count=mail or 1))
    yield text("impact.guard-unnamed", network=known["network"])
    person = text("who.and", one=parts[0], other=parts[1]) if len(parts) == 2 else parts[0]
    yield text("impact.verdict", who=person)
