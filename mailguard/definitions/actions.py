"""Action definitions: a TOML file that names a driver, gives it its options, and shows samples of what it
does.

Keys of the file: `format` (1), `title`, `driver`, `[options]`, `[[sample]]`. A sample has `effect` (one
effect or a list, in the notation of the ledger), optional `scope`, and `expect`: the planned operations as
text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailguard.definitions import eposttables, source, synologylist
from mailguard.definitions.reading import Reading, near
from mailguard.model import Ban, Effect, Impose, Lift
from mailguard.notation import parse_duration, parse_network
from mailguard.problems import Problem, ProblemsError

FORMAT = 1
SCOPES = ("auth", "mail", "all")
#: Drivers and the type of each of their options.
DRIVERS: dict[str, dict[str, type]] = {
    "nftables": {"table": str, "priority": int, "close_sockets": bool},
    "ipset": {"prefix": str, "chain": str, "iptables": str, "close_sockets": bool},
    "recording": {},
    "dry-run": {},
    "command": {
        "start": list,
        "ban": list,
        "unban": list,
        "stop": list,
        "timeout": str,
        "ends": bool,
        "close_sockets": bool,
    },
    "epost": eposttables.OPTIONS,
    "several": {"actions": list},
    "synology": synologylist.OPTIONS,
}
#: What an argument of a command may contain in braces: filled with values that were parsed into types before.
PLACEHOLDERS: dict[str, str] = {
    "network": "the network, as 192.0.2.7 or 192.0.2.0/24",
    "address": "its first address",
    "prefix": "its prefix length",
    "family": "4 or 6",
    "seconds": "seconds until the ban ends, 0 for a permanent one",
    "scope": "auth, mail or all",
}
_COMMANDS = ("start", "ban", "unban", "stop")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,15}\Z")
#: Each names the network of a ban.
_NETWORKS = frozenset(("network", "address"))
_BRACES = re.compile(r"\{([^{}]*)\}")
_BAN = re.compile(r"ban (\S+) for (\S+)(?: .*)?\Z")
_LIFT = re.compile(r"lift (\S+?)(?:: .*)?\Z")


@dataclass(frozen=True, slots=True)
class Sample:
    """Effects and the text of the operations they must give. `where` is file:line."""

    effects: tuple[Effect, ...]
    expect: tuple[str, ...]
    where: str


@dataclass(frozen=True, slots=True)
class Action:
    """One way to ban, as defined. `options` hold only keys that the driver knows, of the right types."""

    name: str
    title: str
    driver: str
    options: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    path: str = ""


def load_action(path: Path | str) -> Action:
    """One definition. Raises ProblemsError with every problem of the file."""
    return read_action(source.load(path))


def read_action(document: source.Document) -> Action:
    """As `load_action`, for a file already read."""
    reading = Reading(document)
    data = document.data
    name = Path(document.path).stem
    about = f"action {name}"
    reading.keys(data, ("format", "title", "driver", "options", "sample"), (), about)
    if reading.need(data, "format", int, (), about) not in (FORMAT, None):
        reading.problem(("format",), f"{about}: format {data['format']!r} is not known", instead="format = 1")
    title = reading.need(data, "title", str, (), about) or ""
    driver = reading.need(data, "driver", str, (), about)
    if driver is not None and driver not in DRIVERS:
        reading.problem(("driver",), f"{about}: there is no driver {driver!r}", instead=near(driver, DRIVERS))
        driver = None
    options = reading.get(data, "options", dict, {}, (), about)
    if driver is not None:
        options = _options(reading, driver, options, about)
    samples = _samples(reading, data, about)
    if not samples and not reading.problems:
        why = "a definition shows what it does"
        reading.problem((), f"{about}: there is no sample", why, "Add a [[sample]].")
    if reading.problems:
        raise ProblemsError(reading.problems)
    return Action(name, title, driver or "", options, tuple(samples), document.path)


def load_actions(etc: Path | None = None) -> dict[str, Action]:
    """All definitions by name, the administrator's before the shipped. Raises ProblemsError for all files
    at once.
    """
    actions: dict[str, Action] = {}
    problems: list[Problem] = []
    for name, path in source.search("actions", etc).items():
        try:
            actions[name] = load_action(path)
        except ProblemsError as error:
            problems += error.problems
    if problems:
        raise ProblemsError(problems)
    return actions


def find_action(name: str, etc: Path | None = None) -> Action | None:
    """The definition of that name, or None. Raises ProblemsError when it is broken."""
    path = source.search("actions", etc).get(name)
    return None if path is None else load_action(path)


# ---------------------------------------------------------------- options


def _options(reading: Reading, driver: str, options: dict[str, Any], about: str) -> dict[str, Any]:
    known = DRIVERS[driver]
    keys = ("options",)
    reading.keys(options, known, keys, f"{about}: driver {driver}")
    found = {
        name: reading.get(options, name, kind, None, keys, about)
        for name, kind in known.items()
        if name in options
    }
    found = {name: value for name, value in found.items() if value is not None}
    for name in ("table", "prefix", "chain"):
        if name in found and not _NAME.match(found[name].lower()):
            reading.problem(
                (*keys, name),
                f"{about}: {name} {found[name]!r} is no name",
                "it becomes part of the firewall's own text",
                "A letter, then at most 15 letters, digits, - and _.",
            )
    if "priority" in found and not -400 < found["priority"] < -200:
        reading.problem(
            (*keys, "priority"),
            f"{about}: priority {found['priority']} is outside -399 to -201",
            "the chain must stand behind defragmentation (-400) and before connection tracking (-200)",
        )
    if driver == "command":
        _commands(reading, found, options, about)
    if driver == "several":
        _several(reading, found, about)
    if driver == "epost":
        eposttables.check(reading, found, about)
    if driver == "synology":
        synologylist.check(reading, found, about)
    return found


def _commands(reading: Reading, options: dict[str, Any], written: dict[str, Any], about: str) -> None:
    if "ban" not in written:
        reading.problem(("options",), f"{about}: the command `ban` is missing")
    if "unban" not in written and not options.get("ends"):
        reading.problem(
            ("options",),
            f"{about}: the command `unban` is missing",
            "somebody must end the bans",
            "Add `unban`, or `ends = true` when the command ends a ban by itself after {seconds}.",
        )
    for name in _COMMANDS:
        if name in options:
            options[name] = _command(reading, name, options[name], about)
    if "timeout" in options:
        seconds = parse_duration(options["timeout"])
        if not seconds or seconds > 300:
            what = f"{about}: timeout is no duration up to 5m"
            reading.problem(("options", "timeout"), what, instead='"10s"')


def _several(reading: Reading, options: dict[str, Any], about: str) -> None:
    names = options.get("actions", [])
    if len(names) < 2 or len(set(map(str, names))) < len(names) or not all(isinstance(n, str) for n in names):
        reading.problem(
            ("options", "actions") if "actions" in options else ("options",),
            f"{about}: actions must name two or more different actions",
            instead='actions = ["nftables", "epost"]',
        )


def _command(reading: Reading, name: str, arguments: list[Any], about: str) -> tuple[str, ...]:
    keys = ("options", name)
    if not arguments or not all(isinstance(one, str) and one and "\0" not in one for one in arguments):
        why = "no shell is ever asked to split a text"
        reading.problem(keys, f"{about}: {name} must be a list of texts", why)
        return ()
    if not arguments[0].startswith("/") or "{" in arguments[0]:
        what = f"{about}: {name}: {arguments[0]!r} is no absolute path"
        reading.problem(keys, what, instead="Name the program in full.")
    allowed: Sequence[str] = list(PLACEHOLDERS) if name in ("ban", "unban") else []
    for argument in arguments:
        for word in _BRACES.findall(argument):
            if word not in allowed:
                reading.problem(
                    keys,
                    f"{about}: {name}: {{{word}}} is not known here",
                    instead=near(word, allowed) if allowed else "start and stop concern no network.",
                )
        if re.search(r"[{}]", _BRACES.sub("", argument)):
            reading.problem(keys, f"{about}: {name}: a brace without its partner in {argument!r}")
    words = {word for argument in arguments for word in _BRACES.findall(argument)}
    if name in ("ban", "unban") and words <= set(allowed) - _NETWORKS:
        reading.problem(
            keys,
            f"{about}: {name} does not say whom it concerns",
            "the program would be told the same for every network",
            "Give it {network}, or {address} where it takes single addresses.",
        )
    return tuple(arguments)


# ---------------------------------------------------------------- samples


def _samples(reading: Reading, data: dict[str, Any], about: str) -> list[Sample]:
    samples = []
    listed = reading.get(data, "sample", list, [], (), about)
    for number, table in enumerate(listed):
        keys = ("sample", number)
        what = f"{about}: sample {number + 1}"
        if not isinstance(table, dict):
            reading.problem(keys, f"{what} is no table")
            continue
        reading.keys(table, ("effect", "scope", "expect"), keys, what)
        scope = reading.get(table, "scope", str, "mail", keys, what)
        if scope not in SCOPES:
            no_scope = f"{what}: there is no scope {scope!r}"
            reading.problem((*keys, "scope"), no_scope, instead=near(scope, SCOPES))
            continue
        effects = []
        for text in reading.texts(table, "effect", keys, what):
            effect = parse_effect(text, scope)
            if effect is None:
                reading.problem(
                    (*keys, "effect"),
                    f"{what}: {text!r} is no effect",
                    instead="`ban NETWORK for DURATION` (or `for ever`), or `lift NETWORK`.",
                )
            else:
                effects.append(effect)
        missing = [name for name in ("effect", "expect") if name not in table]
        if missing:
            reading.problem(keys, f"{what}: {' and '.join(missing)} is missing")
            continue
        expect = reading.texts(table, "expect", keys, what)
        samples.append(Sample(tuple(effects), expect, reading.document.where(*keys)))
    return samples


def parse_effect(text: str, scope: str = "mail", now: float = 0.0) -> Effect | None:
    """`ban 192.0.2.7 for 10m ...` or `lift 192.0.2.7...` at the time `now`; None when it is neither."""
    if match := _BAN.match(text):
        network, words = parse_network(match[1]), match[2]
        seconds = None if words == "ever" else parse_duration(words)
        if network is None or (seconds is None and words != "ever"):
            return None
        return Impose(Ban(network, now, None if seconds is None else now + seconds, scope=scope), now)
    if match := _LIFT.match(text):
        network = parse_network(match[1])
        return None if network is None else Lift(network, now, "unban", scope)
    return None
