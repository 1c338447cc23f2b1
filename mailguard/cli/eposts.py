"""The E-Post servers that the action definitions name, and what their tables say: for `bans`, `why` and
`epost`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailguard.model import Network
from mailguard.notation import covers, format_time

from .messages import text
from .moments import ago, left, local

if TYPE_CHECKING:
    from mailguard.epost.lockouts import LockOut

#: Where E-Post's Unix programs keep their control files, when no action says otherwise.
USUAL = ("/usr/local/mta/bin", "/usr/local/mta")


@dataclass(frozen=True, slots=True)
class Place:
    """One server: its program folder, where the guard notes its own rows, lock times by table in seconds."""

    program: str
    state: str
    locks: dict[str, float] = field(default_factory=dict)

    def own(self) -> dict[str, set[tuple[int, bytes]]] | None:
        """The guard's own rows by path; None: they cannot be known."""
        from mailguard.epost.folders import own_rows

        return own_rows(self.state)


def places() -> list[Place]:
    """The servers whose folders are there, each once."""
    from mailguard.definitions import source
    from mailguard.definitions.actions import load_action
    from mailguard.definitions.eposttables import STATE, arguments
    from mailguard.problems import ProblemsError

    found: dict[str, Place] = {}
    for path in source.search("actions").values():
        try:
            action = load_action(path)
        except ProblemsError:
            continue  # `check` and the start say it; a question goes on without
        if action.driver == "epost":
            known = arguments(dict(action.options))
            program = os.path.abspath(known["program"])
            if os.path.isdir(program):
                found.setdefault(program, Place(program, known["state"], known["locks"]))
    for program in USUAL:
        if program not in found and os.path.exists(os.path.join(program, "rejectsmtpip.dat")):
            found[program] = Place(program, STATE)
    return list(found.values())


def place_of(program: str) -> Place:
    """The server with that program folder, with what an action knows of it."""
    from mailguard.definitions.eposttables import STATE

    program = os.path.abspath(program)
    return next((one for one in places() if one.program == program), Place(program, STATE))


def lock_outs(network: Network | None = None) -> Iterator[LockOut]:
    """E-Post's own rows, of all tables; with `network` those that concern it."""
    from mailguard.epost import tables
    from mailguard.epost.folders import control_file, same_path
    from mailguard.epost.lockouts import lock_outs as of_table

    for place in places():
        own = place.own() or {}
        for table, name in tables.FILES.items():
            content = control_file(place.program, name)
            if content.data is None:
                continue
            rows = tables.parse(content.data)
            lock = place.locks.get(table)
            for one in of_table(table, content.path, rows, own.get(same_path(content.path), set()), lock):
                if network is None or one.concerns(network):
                    yield one


def standing(network: Network | None, since: float | None) -> list[dict[str, Any]]:
    """The lock-outs that may count now, as `bans` tells of any other ban."""
    from mailguard.epost.lockouts import AUTH, HAND, IP

    now = time.time()
    found = []
    for one in lock_outs():
        row = one.row
        if one.origin not in (AUTH, IP, HAND) or one.over(now):
            continue
        if network is not None and not _contains(one, network):
            continue
        if since is not None and (row.begun is None or row.begun < since):
            continue
        found.append(as_ban(one))
    return found


def _contains(one: LockOut, network: Network) -> bool:
    row = one.row
    return covers(row.network, network) if row.network is not None else row.matches(network.address)


def as_ban(one: LockOut) -> dict[str, Any]:
    """A lock-out in the words of a ban."""
    row = one.row
    name = os.path.basename(one.file)
    return {
        "id": 0,
        "network": row.pattern,
        "scope": one.table,
        "since": row.begun,
        "until": one.until,
        "ends_known": one.ends_known,
        "detector": "epost",
        "table": one.file,
        "row": row.number,
        "origin": one.origin,
        "text": f"ban {row.pattern} by epost: "
        + text(f"epost.origin.{one.origin}", file=name, row=row.number),
    }


def as_line(ban: dict[str, Any]) -> str:
    """As `bans` prints it in a pipe."""
    if not ban["ends_known"]:
        until = text("epost.until-unknown")
    else:
        until = "permanent" if ban["until"] is None else format_time(ban["until"])
    return f"{ban['network']} {ban['scope']} until {until}: {ban['text']}"


def explained(found: Iterable[LockOut]) -> Iterator[str]:
    """What `why` says of the rows of E-Post's tables that concern a network."""
    from mailguard.epost.lockouts import DAMAGED, WHITE

    now = time.time()
    ordered = sorted(found, key=lambda one: (one.file, one.row.number))
    if not ordered:
        return
    yield ""
    yield text("why.epost")
    for one in ordered:
        row = one.row
        words = text(f"why.epost-{one.origin}", file=one.file, row=row.number, pattern=row.pattern)
        if row.begun is not None:
            words += text("why.epost-since", since=local(row.begun), ago=ago(row.begun, now))
        if one.origin not in (WHITE, DAMAGED):
            until = one.until
            if not one.ends_known:
                words += text("why.epost-end-unknown")
            elif until is None:
                words += text("why.epost-no-end")
            elif one.over(now):
                words += text("why.epost-over", until=local(until))
            else:
                words += text("why.epost-until", until=local(until), left=left(until, now))
        yield "  " + words
