"""What a shell may complete behind a command: files, and the names of parsers, actions and detectors.

Each is a function for click's `shell_complete`. Never fails: whoever presses TAB wants no traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _item(text: str, kind: str = "plain") -> CompletionItem:
    from click.shell_completion import CompletionItem  # only a shell that asks pays for it

    return CompletionItem(text, kind)


def files(context: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:
    """The shell completes file names by itself."""
    return [_item(begun, "file")]


def folders(context: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:
    return [_item(begun, "dir")]


def _names(known: Callable[[], Iterable[str]]) -> Completer:
    def complete(context: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:
        try:
            return [_item(name) for name in sorted(known()) if name.startswith(begun)]
        except Exception:
            return []

    return complete


def _definitions(kind: str) -> Iterable[str]:
    from mailguard.definitions import source

    return source.search(kind)


def _detectors() -> Iterable[str]:
    """Those of the defaults and of the settings, which are not checked here."""
    import tomllib
    from contextlib import suppress
    from pathlib import Path

    import mailguard

    from .config import settings_path

    found: set[str] = set()
    for path in (Path(mailguard.__file__).with_name("defaults.toml"), settings_path(None)):
        with suppress(OSError, ValueError):
            found |= set(tomllib.loads(path.read_text("utf-8")).get("detector", {})) if path else set()
    return found


parsers = _names(lambda: _definitions("parsers"))
actions = _names(lambda: _definitions("actions"))
detectors = _names(lambda: [*_detectors(), "administrator"])
tested = _names(lambda: [*_definitions("parsers"), *_definitions("actions"), *_detectors()])
