"""Journal entries as records, and which of them may be believed.

`SYSLOG_IDENTIFIER`, `SYSLOG_PID` and `MESSAGE` come from the sender: any local user can write an entry
that claims to be `postfix/smtpd`. Fields with a leading underscore are set by journald from what the
kernel says of the sender. An entry may ban when its unit is a mail service's, or its user id is root's or
a mail daemon's; entries of others are read all the same, but only alert. `_COMM` is not asked: every
process may choose its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from mailguard.feeds.lines import LIMIT
from mailguard.model import Record, Records

#: Fields that are read of each entry.
FIELDS: tuple[str, ...] = (
    "MESSAGE",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_PID",
    "_PID",
    "_COMM",
    "_HOSTNAME",
    "_UID",
    "_SYSTEMD_UNIT",
    "_SOURCE_REALTIME_TIMESTAMP",
)

#: Units of mail services; only the system's own manager can name a unit so.
MAIL_UNITS: tuple[str, ...] = (
    "postfix.service",
    "postfix@*.service",
    "dovecot.service",
    "exim.service",
    "exim4.service",
    "exim4-base.service",
    "opensmtpd.service",
    "smtpd.service",
    "sendmail.service",
    "sm-client.service",
    "cyrus-imapd.service",
    "courier-*.service",
    "saslauthd.service",
    "stalwart*.service",
    "epst*.service",
)

#: Users that only mail daemons run as.
MAIL_USERS: tuple[str, ...] = (
    "postfix", "dovecot", "dovenull", "exim", "Debian-exim", "smmta", "smmsp", "cyrus", "courier",
    "opensmtpd", "_smtpd", "stalwart", "stalwart-mail",
)  # fmt: skip

_SKEW = 60.0  # seconds the sender's stamp may differ from journald's
_OWN = b"mailguard"


def value(field: Any) -> bytes | None:
    """The bytes of a JSON field; None for null and for what no journalctl writes."""
    if isinstance(field, str):
        return field.encode("utf-8", "replace")
    if isinstance(field, list) and field:
        if all(type(byte) is int and 0 <= byte <= 255 for byte in field):
            return bytes(field)
        return value(field[0]) if isinstance(field[0], str | list) else None
    return None


def mail_uids() -> frozenset[int]:
    """User ids on this host that only mail daemons (and root) run as."""
    import pwd

    found = {0}
    for name in MAIL_USERS:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return frozenset(found)


def unit_patterns(units: Iterable[str]) -> tuple[str, ...]:
    """Unit names as patterns: a name without a suffix means the service and its instances."""
    found: list[str] = []
    for unit in units:
        if "." in unit:
            found.append(unit)
        else:
            found += [f"{unit}.service", f"{unit}@*.service"]
    return tuple(found)


class Reader:
    """Turns the fields of entries into Records. `units` (patterns) and `identifiers` leave out all others.

    `uids`: user ids to believe beside the mail units; default: this host's mail daemons and root.
    """

    def __init__(
        self,
        log: str,
        parsers: tuple[str, ...] = (),
        units: Iterable[str] = (),
        identifiers: Iterable[str] = (),
        may_ban: bool = True,
        uids: frozenset[int] | None = None,
    ):
        self._log = log
        self._parsers = parsers
        self._units = unit_patterns(units)
        self._identifiers = frozenset(os.fsencode(name) for name in identifiers)
        self._may_ban = may_ban
        self._uids = mail_uids() if uids is None else uids
        self._believed: dict[tuple[bytes | None, bytes | None], bool] = {}
        self._wanted: dict[bytes, bool] = {}
        self.cut = 0
        self.distrusted = 0

    def records(
        self, entries: Iterable[tuple[Mapping[str, bytes], int]], arrival: float, live: bool
    ) -> list[Records]:
        """Entries (fields and journald's microseconds) in order, divided where belief changes."""
        found: list[Records] = []
        for fields, realtime in entries:
            if not self._is_wanted(fields):
                continue
            may_ban = self._may_ban and self.believed(fields)
            self.distrusted += self._may_ban and not may_ban
            if not found or found[-1].may_ban != may_ban:
                found.append(Records(self._log, [], arrival, live, may_ban, self._parsers))
            found[-1].records.append(self._record(fields, realtime))
        return found

    def believed(self, fields: Mapping[str, bytes]) -> bool:
        """Was the entry written by a mail daemon (or root), as far as the kernel tells?"""
        key = (fields.get("_SYSTEMD_UNIT"), fields.get("_UID"))
        known = self._believed.get(key)
        if known is None:
            unit, uid = key
            name = (unit or b"").decode("utf-8", "replace")
            known = any(fnmatchcase(name, pattern) for pattern in (*MAIL_UNITS, *self._units))
            known = known or _number(uid, -1) in self._uids
            if len(self._believed) > 10_000:
                self._believed.clear()
            self._believed[key] = known
        return known

    def _is_wanted(self, fields: Mapping[str, bytes]) -> bool:
        identifier = fields.get("SYSLOG_IDENTIFIER", b"")
        if identifier == _OWN or (self._identifiers and identifier not in self._identifiers):
            return False  # what mailguard itself says never becomes an event
        if not self._units:
            return True
        unit = fields.get("_SYSTEMD_UNIT", b"")
        known = self._wanted.get(unit)
        if known is None:
            name = unit.decode("utf-8", "replace")
            known = any(fnmatchcase(name, pattern) for pattern in self._units)
            if len(self._wanted) > 10_000:
                self._wanted.clear()
            self._wanted[unit] = known
        return known

    def _record(self, fields: Mapping[str, bytes], realtime: int) -> Record:
        taken = realtime / 1e6
        stamp = _number(fields.get("_SOURCE_REALTIME_TIMESTAMP"), realtime) / 1e6
        message = fields.get("MESSAGE")
        cut = message is None or len(message) > LIMIT
        self.cut += cut
        return Record(
            stamp if abs(stamp - taken) <= _SKEW else taken,
            fields.get("_HOSTNAME", b""),
            fields.get("SYSLOG_IDENTIFIER") or fields.get("_COMM", b""),
            _number(fields.get("SYSLOG_PID") or fields.get("_PID"), 0),
            (message or b"")[:LIMIT],
            realtime,
            cut,
        )


def _number(text: bytes | None, default: int) -> int:
    """A decimal number in a field; fields from senders may hold anything."""
    if text is not None and len(text) <= 20 and text.isdigit():
        return int(text)
    return default
