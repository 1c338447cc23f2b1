"""The options of the driver `synology` in an action definition. Pure: values in, problems out."""

from __future__ import annotations

import re
from typing import Any

from mailguard.definitions.reading import Reading, near
from mailguard.notation import parse_duration

#: Options of the driver and their types.
OPTIONS: dict[str, type] = {
    "via": str,
    "database": str,
    "create": list,
    "delete": list,
    "expand": int,
    "state": str,
    "timeout": str,
}
WAYS = ("table", "webapi")
PLACEHOLDERS = ("address", "network", "family")
_MOST = 65536
_BRACES = re.compile(r"\{([^{}]*)\}")


def check(reading: Reading, options: dict[str, Any], about: str) -> None:
    """Note what is wrong with the options."""
    keys = ("options",)
    via = options.get("via", WAYS[0])
    if via not in WAYS:
        reading.problem((*keys, "via"), f"{about}: via cannot be {via!r}", instead=near(via, WAYS))
    for name in ("database", "state"):
        if name in options and not options[name].startswith("/"):
            reading.problem((*keys, name), f"{about}: {name} must be an absolute path")
    for name in ("create", "delete"):
        if name in options:
            _command(reading, name, options[name], about)
        elif via == "webapi":
            reading.problem(
                keys,
                f"{about}: the command `{name}` is missing",
                'with via = "webapi" entries are made and taken away by commands',
                '["/usr/syno/bin/synowebapi", "--exec", "api=SYNO.Core.Security.AutoBlock.Rules", '
                f'"method={name}", "version=1", "type=deny", "ip={{address}}"]',
            )
        if name in options and via == "table":
            reading.problem((*keys, name), f'{about}: {name} is for via = "webapi"')
    if "database" in options and via == "webapi":
        reading.problem((*keys, "database"), f'{about}: database is for via = "table"')
    if "expand" in options and not 1 <= options["expand"] <= _MOST:
        reading.problem((*keys, "expand"), f"{about}: expand must be from 1 to {_MOST}")
    if "timeout" in options:
        seconds = parse_duration(options["timeout"])
        if not seconds or seconds > 300:
            what = f"{about}: timeout is no duration up to 5m"
            reading.problem((*keys, "timeout"), what, instead='"20s"')


def _command(reading: Reading, name: str, arguments: list[Any], about: str) -> None:
    keys = ("options", name)
    if not arguments or not all(isinstance(one, str) and one and "\0" not in one for one in arguments):
        why = "no shell is ever asked to split a text"
        reading.problem(keys, f"{about}: {name} must be a list of texts", why)
        return
    if not arguments[0].startswith("/") or "{" in arguments[0]:
        what = f"{about}: {name}: {arguments[0]!r} is no absolute path"
        reading.problem(keys, what, instead="Name the program in full.")
    words = [word for one in arguments for word in _BRACES.findall(one)]
    for word in words:
        if word not in PLACEHOLDERS:
            reading.problem(
                keys, f"{about}: {name}: {{{word}}} is not known here", instead=near(word, PLACEHOLDERS)
            )
    if not {"address", "network"} & set(words):
        reading.problem(
            keys, f"{about}: {name} names nobody", "every call would do the same", "Write {address} in it."
        )
