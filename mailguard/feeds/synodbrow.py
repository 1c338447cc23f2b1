"""A row of DSM's log databases as a record.

DSM tells a login in columns and again in a sentence of the administrator's language, in which the order of
its bracketed parts changes and the user's name, chosen by a client, may hold brackets itself. Where the
columns settle what the sentence says, the record has a plain wording that does not depend on the language:

    login failed from 192.0.2.61 via MailPlus-Server by tanaka

The name stands last, so that nothing can be read out of it. Everything else keeps its own sentence and is
read like a line that Log Center forwarded. One row is one record, whatever it contains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from mailguard.feeds.lines import LIMIT
from mailguard.model import Record
from mailguard.notation import format_address, parse_address

PROGRAM = b"synology-db"
_GROUP = re.compile(r"\[([^\[\]]*)\]")
_INSIDE = re.compile(r"[^()]*\(([^()]*)\)\Z|([^()]*)\([^()]*\)\Z")
_SERVICE = re.compile(r"[A-Za-z0-9 +/._-]{1,40}\Z")
#: How a service that serves mail may be written, in small letters, and how it is called here.
MAIL = {
    "mailplus-server": "MailPlus-Server",
    "mailplus server": "MailPlus-Server",
    "mailplus": "MailPlus",
    "mail server": "Mail Server",
    "mailserver": "Mail Server",
}
_FAILED = ("warning", "warn", "err", "error")
_DONE = ("info", "information")
_OUT = "logged out"  # the one language in which a logout is known for certain
_LATEST = 4e9
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_DATE = re.compile(r"[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9]{2}:[0-9]{2}")


def time_of(value: Any, zone: tzinfo | None) -> float | None:
    """The column `time`: seconds since 1970, as number or text, or a date. A date without a zone is one of
    `zone` (None: this host's). None where it is nothing of these."""
    if isinstance(value, int | float):
        return float(value) if 0 < value < _LATEST else None
    text = _text(value).strip()
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if 0 < number < _LATEST else None
    if not _DATE.match(text):
        return None
    try:
        date = datetime.fromisoformat(text.replace("/", "-"))
        time = (date if date.tzinfo is not None else date.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return time if 0 < time < _LATEST else None


def record(
    row: Mapping[str, Any], number: int, program: bytes, arrival: float, zone: tzinfo | None = None
) -> Record:
    """The record of a row; `program` is the name under which Log Center forwards the same sentence. Without a
    time that can be read it is one of `arrival`."""
    time = time_of(row.get("time"), zone)
    settled = arrival if time is None else time
    sentence = _text(row.get("msg"))
    message = plain_words(row, sentence)
    if message is None:
        message, name = sentence, program
    else:
        name = PROGRAM
    raw = message.encode("utf-8", "surrogateescape")
    return Record(settled, b"", name, 0, raw[:LIMIT], number, len(raw) > LIMIT)


def plain_words(row: Mapping[str, Any], sentence: str) -> str | None:
    """The plain wording of a login or logout; None where the columns do not settle it."""
    level = _text(row.get("level")).strip().lower()
    if level not in _FAILED and level not in _DONE:
        return None
    for column in ("username", "user"):
        user = _text(row.get(column))
        rests = _without(sentence, user) if user else []
        if rests:
            break
    else:
        return None
    told = _certain([_address(rest) for rest in rests])
    own = _column_address(_text(row.get("ip")))
    source = own if own is not None else told
    service = _certain([_service(rest) for rest in rests])
    if service is None:
        service = MAIL.get(_text(row.get("protocol")).lower())
    if source is None or service is None:
        return None
    if level in _FAILED:
        verb = "login failed"
    elif all(_OUT in rest for rest in rests):
        verb = "logout"
    else:
        verb = "login succeeded"
    return f"{verb} from {source} via {service} by {user}"


def _text(value: Any) -> str:
    """A column as text: SQLite keeps what it was given, whatever the column was declared to be."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)


def _without(sentence: str, user: str) -> list[str]:
    """The sentence without `[user]`, once for each place where that stands; [] where it does not."""
    found: list[str] = []
    part, at = f"[{user}]", -1
    while (at := sentence.find(part, at + 1)) >= 0 and len(found) < 16:
        found.append(sentence[:at] + sentence[at + len(part) :])
    return found


def _certain(values: list[str | None]) -> str | None:
    """The one value that all readings give."""
    return values[0] if len(set(values)) == 1 else None


def _address(rest: str) -> str | None:
    """The only address among the bracketed parts."""
    found = {address for part in _GROUP.findall(rest) if (address := _column_address(part)) is not None}
    return found.pop() if len(found) == 1 else None


def _column_address(text: str) -> str | None:
    """`192.0.2.7`, `::ffff:192.0.2.7`, `pc1(192.0.2.7)` or `192.0.2.7(pc1)` as canonical text."""
    text = text.strip()
    packed = parse_address(text)
    if packed is None and (inside := _INSIDE.match(text)):
        packed = parse_address((inside[1] if inside[1] is not None else inside[2]).strip())
        if packed is None and inside[1] is not None:
            packed = parse_address(text.partition("(")[0].strip())
    return None if packed is None else format_address(packed)


def _service(rest: str) -> str | None:
    """The service: a known mail service, or the bracketed part behind the address that is neither address nor
    anything odd."""
    parts: list[str] = _GROUP.findall(rest)
    for part in parts:
        if part.lower() in MAIL:
            return MAIL[part.lower()]
    others = [part for part in parts if _column_address(part) is None and _SERVICE.match(part)]
    return others[0] if others else None
