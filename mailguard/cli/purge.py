"""`mailguard purge`: delete stored personal data."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from mailguard.model import Network
from mailguard.problems import EXIT_NO_INPUT

from .arguments import duration
from .arguments import network as network_of
from .config import config_option, settings_path
from .messages import text
from .output import safe, write_line


@click.command("purge")
@click.option("--older-than", type=duration, metavar="TIME", help="Only what is older.")
@click.option("--network", type=network_of, metavar="NETWORK", help="Only what concerns this network.")
@config_option
@click.option("--state", metavar="FOLDER", help="Where the ledger is kept.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(
    older_than: float | None, network: Network | None, config: str | None, state: str | None, yes: bool
) -> int:
    """Delete stored personal data.

    The lines that led to bans, with names and recipients, and effects that are over. Bans that stand stay.
    """
    if older_than is not None and network is not None:
        raise click.UsageError(text("purge.which"))
    path = ledger_path(config, state)
    if not path.exists():
        click.echo(text("purge.none", path=safe(path)), err=True)
        return EXIT_NO_INPUT
    if not yes and sys.stdin.isatty() and not click.confirm(text("purge.sure", path=path), err=True):
        return 1
    from mailguard.ledger import Ledger

    ledger = Ledger(path)
    try:
        ledger.tidy(time.time(), retention=float("inf"))  # bans that are over no longer hold their effects
        before = None if older_than is None else time.time() - older_than
        deleted = ledger.purge(before=before, network=network)
    finally:
        ledger.close()
    write_line(text("purge.done", lines=deleted["evidence"], effects=deleted["effects"]))
    return 0


def ledger_path(config: str | None, state: str | None) -> Path:
    """The ledger's file, as the settings or the command line say."""
    from mailguard.definitions.settings import load_settings

    folder = Path(state) if state else load_settings(settings_path(config)).general.state
    return folder / "ledger.db"
