"""The sessions of a parser definition: what `[session.NAME]` declares, and how rules use it."""

from __future__ import annotations

from typing import Any

from ..core.rules import SessionKind, SessionUse
from ..model import FIELDS, KINDS
from ..notation import parse_duration
from .reading import Reading, near

SESSION = ("key", "lifetime", "cap", "shared", "about")
USE = ("open", "use", "close", "carry", "tally", "less", "otherwise", "once", "must")
_FROM_ENVELOPE = ("pid", "host")
_LARGEST_CAP = 1_000_000

Keys = tuple[str | int, ...]


def read_kinds(read: Reading) -> dict[str, SessionKind]:
    """The sessions that a file declares, by name."""
    found: dict[str, SessionKind] = {}
    tables = read.get(read.document.data, "session", dict, {}, (), "parser")
    for name, table in tables.items():
        keys: Keys = ("session", name)
        about = f"session {name}"
        if not isinstance(table, dict):
            read.problem(keys, f"{about}: must be a table", instead=f"Write [session.{name}].")
            continue
        read.keys(table, SESSION, keys, about)
        parts = read.texts(table, "key", keys, about)
        if not parts:
            read.problem(
                keys,
                f"{about}: key is missing",
                "a session is found again by its key",
                'key = ["queue_id"], or ["pid", "source"].',
            )
        for part in parts:
            if part not in FIELDS and part not in _FROM_ENVELOPE:
                read.problem(
                    (*keys, "key"),
                    f"{about}: unknown field {part!r}",
                    instead=near(part, {*FIELDS, *_FROM_ENVELOPE}),
                )
        lifetime = parse_duration(read.get(table, "lifetime", str, "1h", keys, about))
        if not lifetime:
            read.problem(
                (*keys, "lifetime"),
                f"{about}: lifetime is no duration",
                instead='Write it as "1h" or "5d".',
            )
        cap = read.get(table, "cap", int, 100_000, keys, about)
        if not 2 <= cap <= _LARGEST_CAP:
            read.problem((*keys, "cap"), f"{about}: cap must be from 2 to {_LARGEST_CAP}")
        shared = read.get(table, "shared", bool, False, keys, about)
        found[name] = SessionKind(name, parts, lifetime or 3600.0, cap, shared)
    return found


def read_uses(
    read: Reading,
    table: dict[str, Any],
    keys: Keys,
    about: str,
    names: tuple[str, ...],
    sessions: dict[str, SessionKind],
) -> tuple[SessionUse, ...]:
    """How a rule opens, uses or closes `sessions`; `names` are the slots of its pattern."""
    uses: list[SessionUse] = []
    for one in read.tables(table, "session", keys, about):
        at: Keys = (*keys, "session")
        read.keys(one, USE, at, f"{about}: session")
        actions = [action for action in ("open", "use", "close") if action in one]
        if len(actions) != 1:
            read.problem(
                at,
                f"{about}: a session is either opened, used or closed",
                instead='session = { open = "NAME" }, { use = "NAME" } or { close = "NAME" }.',
            )
            continue
        session = read.get(one, actions[0], str, "", at, about)
        kind = sessions.get(session)
        if kind is None:
            read.problem(
                at,
                f"{about}: no session {session!r} is declared",
                instead=near(session, sessions) if sessions else "Declare [session.NAME].",
            )
            continue
        for part in kind.key:
            if part not in names and part not in _FROM_ENVELOPE:
                read.problem(
                    at,
                    f"{about}: the key of session {session} is not in the line",
                    f"{part!r} is no slot of the rule",
                    f"Capture {{{part}:...}}.",
                )
        carry = read.texts(one, "carry", at, about)
        for slot in carry:
            if slot not in FIELDS:
                read.problem(at, f"{about}: unknown field {slot!r}", instead=near(slot, FIELDS))
        otherwise = read.get(one, "otherwise", str, "", at, about)
        if otherwise and otherwise not in KINDS:
            read.problem(at, f"{about}: unknown event {otherwise!r}", instead=near(otherwise, KINDS))
        uses.append(
            SessionUse(
                session,
                actions[0],
                carry,
                read.get(one, "tally", str, "", at, about),
                read.get(one, "less", str, "", at, about),
                otherwise,
                read.get(one, "once", bool, False, at, about),
                read.get(one, "must", bool, False, at, about),
            )
        )
    return tuple(uses)
