"""`mailguard action`: the ways to ban."""

from __future__ import annotations

import click

from mailguard.locale import translated
from mailguard.locale.said import said

from .completing import actions
from .definitions import find, shadow, show_and_copy
from .messages import text
from .output import output_option, write_json, write_line, write_table


@click.group("action")
def command() -> None:
    """List, show, copy and plan the ways to ban."""


@command.command("list")
@output_option
def list_(form: str) -> None:
    """List the ways to ban, and whether each works on this host."""
    from mailguard.definitions import source
    from mailguard.definitions.actions import load_action
    from mailguard.firewall.choose import probe

    rows = []
    for name, path in source.search("actions").items():
        action = load_action(path)
        rows.append((name, action.title, action.driver, shadow("actions", path), probe(action), str(path)))
    if form == "json":
        keys = ("name", "title", "driver", "origin", "hindrance", "path")
        write_json(*(dict(zip(keys, row, strict=True)) for row in rows))
        return
    columns = [text(f"column.{key}") for key in ("name", "title", "driver", "origin", "here")]
    table = [
        (
            row[0],
            translated("title", row[1]),
            *row[2:4],
            text("action.not-here", why=said(row[4])) if row[4] else text("action.here"),
        )
        for row in rows
    ]
    write_table(form, "", columns, table)


show_and_copy(command, "actions", actions)


@command.command("plan")
@click.argument("name", shell_complete=actions)
@click.argument("effects", nargs=-1, metavar="[EFFECT]...")
@click.option(
    "--scope",
    type=click.Choice(["auth", "mail", "all"]),
    default="mail",
    show_default=True,
    help="The ports that the effects concern.",
)
@output_option
def plan_(name: str, effects: tuple[str, ...], scope: str, form: str) -> None:
    """Print what the action NAME would do; nothing is done.

    EFFECT is in the notation of the log, such as "ban 192.0.2.7 for 10m" or "lift 192.0.2.7". Without one the
    samples of the definition are planned.
    """
    from mailguard.definitions.actions import load_action, parse_effect
    from mailguard.firewall.actions import plan

    action = load_action(find("actions", name))
    told = []
    for words in effects:
        effect = parse_effect(words, scope)
        if effect is None:
            raise click.UsageError(text("usage.effect", text=words))
        told.append(effect)
    planned = [tuple(told)] if told else [sample.effects for sample in action.samples]
    for one in planned:
        for operation in plan(action, one):
            if form == "json":
                write_json({"action": name, "operation": operation})
            else:
                write_line(operation)
