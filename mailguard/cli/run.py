"""`mailguard run`: the guard in the foreground; the systemd unit runs it too."""

from __future__ import annotations

import click

from .completing import actions, files, folders
from .config import config_option, settings_path
from .output import output_option


@click.command("run")
@config_option
@click.option("--enforce/--observe", default=None, help="Ban, or ban nobody, whatever the settings say.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="FILE",
    shell_complete=files,
    help="Read this file instead; - is standard input.",
)
@click.option("--demo", is_flag=True, help="Play the sample logs as if they were being written now.")
@click.option("--firewall", metavar="NAME", shell_complete=actions, help="The action to use.")
@click.option("--state", metavar="FOLDER", shell_complete=folders, help="Where the ledger is kept.")
@click.option("--socket", metavar="PATH", help="Where the guard can be asked.")
@click.option("--enforcer", metavar="SOCKET", help="Ask the enforcer at this socket instead of starting one.")
@click.option("--flush", is_flag=True, help="Remove the bans when the guard stops.")
@output_option
def command(
    config: str | None,
    enforce: bool | None,
    logs: tuple[str, ...],
    demo: bool,
    firewall: str | None,
    state: str | None,
    socket: str | None,
    enforcer: str | None,
    flush: bool,
    form: str,
) -> int:
    """Run the guard in the foreground.

    It finds the logs that are there and the firewall that works here, and shows what it sees and does. On a
    host without any mail log it plays the samples.
    """
    from mailguard.daemon import Options, main

    options = Options(
        config=settings_path(config),
        enforce=enforce,
        logs=logs,
        demo=demo,
        firewall=firewall,
        state=state,
        socket=socket,
        enforcer=enforcer,
        flush=flush,
        form=form,
    )
    return main(options)
