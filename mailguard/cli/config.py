"""Which settings a command works with: `--config`, MAILGUARD_CONFIG, or the file at its usual place."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
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


def general(path: Path | None) -> dict[str, Any]:
    """The table `[general]` as it stands in the settings file, not checked; empty where it cannot be read.

    For the few keys that a command needs before anything else: it must stay quick, and work beside settings
    that are wrong.
    """
    if path is None:
        return {}
    try:
        found = path.stat()
        return _general(path, found.st_mtime_ns, found.st_size)
    except (OSError, ValueError):  # ValueError: no UTF-8, or no TOML
        return {}


@cache
def _general(path: Path, changed: int, size: int) -> dict[str, Any]:
    """By the file's time and size, so that it is read once."""
    import tomllib

    table = tomllib.loads(path.read_text("utf-8")).get("general")
    return table if isinstance(table, dict) else {}
