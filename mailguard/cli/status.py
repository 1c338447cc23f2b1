"""`mailguard status`: is the guard standing? For people and for monitors: exit 0 yes, 1 a warning, 2 no."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from mailguard.locale.said import said
from mailguard.problems import EXIT_PERMISSION

from .client import GuardError, question, socket_option
from .messages import text
from .moments import ago, local, rough, timed
from .output import output_option, write_json, write_line, write_table

STANDING, WARNED, LOST = 0, 1, 2


@click.command("status")
@socket_option
@output_option
def command(socket: str, form: str) -> int:
    """Is the guard standing? Exit 0 yes, 1 with a warning, 2 no.

    A warning: it only observes, is paused, may be blind, cannot write its ledger, or a log or queue grows
    beyond what is normal.
    """
    try:
        answer = question(socket, "status")
    except GuardError as error:
        if form == "json":
            write_json({"standing": False, "exit": LOST, "warnings": [], "error": str(error)})
        else:
            unknown = error.code == EXIT_PERMISSION
            write_line(text("status.unknown" if unknown else "status.gone", why=error))
            if not unknown:
                write_line(text("status.start"))
        return LOST
    code, warnings = verdict(answer)
    if form == "json":
        write_json({"standing": code != LOST, "exit": code, "warnings": warnings, **timed(answer)})
        return code
    write_line(text(("status.standing", "status.warned", "status.lost")[code]))
    for warning in warnings:
        write_line(f"  ! {warning}")
    write_table(form, "", (text("column.what"), text("column.value")), facts(answer))
    rows = [log_row(name, log, answer["now"]) for name, log in answer["logs"].items()]
    write_table(form, text("status.logs"), [text(f"column.{one}") for one in ("log", "last", "note")], rows)
    return code


def verdict(answer: dict[str, Any]) -> tuple[int, list[str]]:
    """The exit code and, for people, each reason that it is not 0."""
    warnings = []
    firewall, ledger = answer["firewall"], answer["ledger"]
    if firewall["lost"]:
        warnings.append(text("status.firewall-lost", owed=firewall["owed"]))
    if answer["paused_until"] is not None:
        warnings.append(text("status.paused", until=local(answer["paused_until"])))
    elif answer["mode"] != "enforce":
        warnings.append(text("status.observing", would=answer["would"]))
    if firewall["name"] == "recording":
        warnings.append(text("status.recording"))
    warnings += [text("status.blind", what=said(what)) for what in answer["blind"]]
    for name, thing in growing(answer):
        told = {"name": name, "unit": thing["unit"], "amount": thing["amount"], "normal": thing["normal"]}
        warnings.append(text("status.growing", since=local(thing["since"]), **told))
    if ledger["failing"]:
        warnings.append(text("status.ledger-failing", path=ledger["path"]))
    if firewall["lost"]:
        return LOST, warnings
    return (WARNED if warnings else STANDING), warnings


def facts(answer: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """What stands in the table, name and value."""
    scanner, judge = answer["scanner"], answer["judge"]
    values: dict[str, object] = {
        "mode": answer["mode"],
        "since": f"{local(answer['started'])} ({ago(answer['started'], answer['now'])})",
        "firewall": said(answer["firewall"]["words"]) or answer["firewall"]["name"],
        "bans": answer["bans"],
        "would": answer["would"],
        "lines": answer["lines"],
        "events": judge["events"],
        "ambiguous": scanner["ambiguous"],
        "unmatched": sum(scanner["unmatched"].values()),
    }
    if answer.get("growth"):
        values["growth"] = growth_words(answer["growth"])
    if "compiled" in scanner:
        values["compiled"] = ", ".join(scanner["compiled"]) or text("compiled.nothing")
    values["version"] = f"{answer['version']} (pid {answer['pid']})"
    for name, value in values.items():
        yield text(f"status.fact.{name}"), value


def growing(answer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Logs and folders that grow beyond what is normal."""
    for name, thing in (answer.get("growth") or {"things": {}})["things"].items():
        if thing["since"] is not None:
            yield name, thing


def growth_words(growth: dict[str, Any]) -> str:
    """How many logs and folders are watched, and what about that is not as it should be."""
    things = growth["things"].values()
    words = [text("status.growth", count=len(things))]
    if learning := sum(thing["learning"] for thing in things):
        words.append(text("status.growth-learning", count=learning))
    for folder, why in growth["unreadable"].items():
        words.append(text("status.growth-unreadable", what=f"{folder} ({why})"))
    return "; ".join(words)


def log_row(name: str, log: dict[str, Any], now: float) -> tuple[str, str, str]:
    """A log: its name, when it last spoke, and what is wrong with it."""
    last = log.get("last")
    spoke = text("status.never") if last is None else text("time.ago", length=rough(now - last))
    return name, spoke, str(log.get("words") or "")
