"""Which settings a command works with: `--config`, MAILGUARD_CONFIG, or the file at its usual place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .completing import files

#: The usual place of the settings.
CONFIG = "/etc/mailguard/mailguard.toml"


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--config` of every command that reads the settings."""
    return click.option("--config", metavar="FILE", default=None, shell_complete=files, help="The settings.")(
        function
    )


def settings_path(config: str | None) -> Path | None:
    """The settings file to read; None: there is none, the defaults alone count.

    A file that was named must be there; the one at the usual place need not.
    """
    named = config or os.environ.get("MAILGUARD_CONFIG")
    if named:
        return Path(named)
    usual = Path(CONFIG)
    return usual if usual.exists() else None
