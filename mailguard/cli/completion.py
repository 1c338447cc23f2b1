"""`mailguard completion`: the script that teaches a shell the commands and options."""

from __future__ import annotations

import click

from .output import write_text


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a shell completion script.

    For bash: mailguard completion bash > /etc/bash_completion.d/mailguard
    """
    from click.shell_completion import get_completion_class

    from . import program

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these three shells"
    write_text(kind(program, {}, "mailguard", "_MAILGUARD_COMPLETE").source())
