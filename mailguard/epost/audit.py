"""What in E-Post's tables and control files deserves a look: the vendor's own checklist, as far as files
show it.

Pure: contents in, findings out. A finding is an id with arguments; the sentences are the command line's.
Sources of the checklist: E-Post's FAQ on lock-outs, effect.dat and open relays (see
man/notes/0015-epost-tables.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mailguard.epost import effect, tables
from mailguard.epost.folders import Content, Counters, Spool
from mailguard.epost.own import names, unknown
from mailguard.model import Network
from mailguard.notation import covers, format_network

SEVERE, WARNING, NOTE, UNSEEN = "severe", "warning", "note", "unseen"
SEVERITIES = (SEVERE, WARNING, NOTE, UNSEEN)
DAY = 86400.0
#: A table's rows that are told one by one; more are counted.
MOST = 20
#: Counts of a counter file at which a lock-out that is on would long have come.
_SURELY = 30
#: Zones of ordb.dat that the server uses.
_ZONES = 10


class Finding(NamedTuple):
    """`where`: the file, with its line after a colon where there is one."""

    severity: str
    id: str
    where: str
    args: Mapping[str, object]


def table_findings(
    content: Content,
    own: Collection[tuple[int, bytes]],
    guarded: Sequence[tuple[Network, str]],
    lock: float | None,
    now: float,
) -> Iterator[Finding]:
    """One reject table. `guarded`: networks that must not be kept out, with the reason."""
    path, data = content.path, content.data
    if data is None:
        kind = "table-unreadable" if content.error else "table-missing"
        yield Finding(WARNING if content.error else NOTE, kind, path, {"why": content.error})
        return
    rows = tables.parse(data)
    foreign = [row for row in rows if (row.offset, row.text.encode("latin-1", "replace")) not in own]
    yield _summary(path, rows, len(rows) - len(foreign), lock, now)
    if data and not data.endswith(b"\n"):
        yield Finding(WARNING, "table-no-end", f"{path}:{len(rows)}", {})
    yield from _limited(_flaws(path, foreign), path)
    yield from _unknown(path, data, rows, own)
    yield from _limited(_caught(path, foreign, guarded, lock, now), path)
    yield from _limited(_behind(path, rows, lock, now), path)
    if any(row.kind == tables.TIMED and not row.iplock for row in foreign) and lock == 0:
        yield Finding(WARNING, "table-for-ever", path, {})


def _summary(path: str, rows: Sequence[tables.Row], own: int, lock: float | None, now: float) -> Finding:
    timed = [row for row in rows if row.kind == tables.TIMED]
    begun = [row.begun for row in timed if row.begun is not None]
    return Finding(
        NOTE,
        "table-rows",
        path,
        {
            "rows": sum(row.kind not in (tables.COMMENT, tables.EMPTY) for row in rows),
            "permanent": sum(row.kind == tables.PERMANENT for row in rows),
            "timed": len(timed),
            "over": sum(not row.in_force(now, lock) for row in timed if not row.iplock),
            "white": sum(row.kind == tables.ALLOW for row in rows),
            "own": own,
            "oldest": min(begun, default=None),
            "newest": max(begun, default=None),
        },
    )


def _unknown(
    path: str, data: bytes, rows: Sequence[tables.Row], own: Collection[tuple[int, bytes]]
) -> Iterator[Finding]:
    """Rows in the form that mailguard writes and that are not in its list: of a list that was lost, or
    somebody writes as it does."""
    found = unknown("reject", data, {offset for offset, _ in own})
    if found:
        first = next(row.number for row in rows if row.offset == found[0][0])
        args = {"count": len(found), "names": names("reject", [text for _, _, text in found])}
        yield Finding(NOTE, "rows-unknown", f"{path}:{first}", args)


def _flaws(path: str, rows: Iterable[tables.Row]) -> Iterator[Finding]:
    for row in rows:
        if row.flaw:
            yield Finding(WARNING, f"row-{row.flaw}", f"{path}:{row.number}", {"text": row.text[:80]})


def _caught(
    path: str,
    rows: Iterable[tables.Row],
    guarded: Sequence[tuple[Network, str]],
    lock: float | None,
    now: float,
) -> Iterator[Finding]:
    """Rows of others in force that keep out somebody who must get in, unless a row above lets him."""
    white: list[tables.Row] = []
    for row in rows:
        if row.kind == tables.ALLOW:
            white.append(row)
            continue
        if not row.rejects or not row.in_force(now, lock):
            continue
        for network, reason in guarded:
            if not _hits(row, network):
                continue
            if any(_covers(one, network) or (row.network and _covers(one, row.network)) for one in white):
                continue
            # The row's own network where that is the narrower one.
            inside = row.network is not None and covers(network, row.network)
            who = row.network if inside and row.network is not None else network
            args = {"pattern": row.pattern, "network": format_network(who), "reason": reason}
            yield Finding(SEVERE, "caught", f"{path}:{row.number}", args | {"since": row.begun})
            break


def _hits(row: tables.Row, network: Network) -> bool:
    """Whether a row concerns a network, or hosts in it."""
    if row.network is not None:
        return covers(row.network, network) or covers(network, row.network)
    return row.matches(network.address)


def _behind(path: str, rows: Iterable[tables.Row], lock: float | None, now: float) -> Iterator[Finding]:
    """White-list rows that are not reached."""
    before: list[tables.Row] = []
    hosts: dict[Network, tables.Row] = {}  # the first row of each plain address
    for row in rows:
        if row.rejects and not row.iplock and row.in_force(now, lock):
            if row.network is None or "/" in row.pattern or "*" in row.pattern:
                before.append(row)
            else:
                hosts.setdefault(row.network, row)
        if row.kind == tables.ALLOW and row.network is not None:
            network = row.network
            above = hosts.get(network) or next((one for one in before if _covers(one, network)), None)
            if above is not None:
                args = {"pattern": row.pattern, "above": above.pattern, "line": above.number}
                yield Finding(WARNING, "white-behind", f"{path}:{row.number}", args)


def _covers(row: tables.Row, network: Network) -> bool:
    if row.network is not None:
        return covers(row.network, network)
    return row.matches(network.address)


def _limited(found: Iterable[Finding], path: str) -> Iterator[Finding]:
    more = 0
    for number, finding in enumerate(found):
        if number < MOST:
            yield finding
        else:
            more += 1
    if more:
        yield Finding(WARNING, "more", path, {"count": more})


def partner_findings(
    content: Content,
    own: Collection[tuple[int, bytes]],
    speaks: Callable[[Network], str],
    lock: float | None,
    now: float,
) -> Iterator[Finding]:
    """Rows of others that keep out somebody of good standing; `speaks` says what speaks for a network, or
    ""."""
    for row in tables.parse(content.data or b""):
        outside = (row.offset, row.text.encode("latin-1", "replace")) not in own
        if outside and row.rejects and row.network is not None and row.in_force(now, lock):
            words = speaks(row.network)
            if words:
                args = {"pattern": row.pattern, "words": words, "since": row.begun}
                yield Finding(SEVERE, "partner", f"{content.path}:{row.number}", args)


# ---------------------------------------------------------------- effect.dat


def effect_findings(
    content: Content, domains: Collection[str], now: float, personal: bool = False
) -> Iterator[Finding]:
    """effect.dat, or with `personal` one of a mailbox. `domains`: those of this server, in lower case."""
    path, data = content.path, content.data
    if data is None:
        if content.error:
            yield Finding(WARNING, "effect-unreadable", path, {"why": content.error})
        elif not personal:
            yield Finding(NOTE, "effect-missing", path, {})
        return
    found = effect.parse(data)
    entries = [line for line in found if line.kind == effect.ENTRY]
    args = {"entries": len(entries), "changed": content.changed, "age": now - content.changed}
    yield Finding(NOTE, "effect-personal" if personal else "effect-lines", path, args)
    yield from _limited(_effect_flaws(path, found), path)
    yield from _limited(_relays(path, entries, domains), path)
    yield from _limited(_order(path, found, entries, personal), path)


def _effect_flaws(path: str, found: Iterable[effect.Line]) -> Iterator[Finding]:
    for line in found:
        if line.flaw:
            yield Finding(WARNING, f"effect-{line.flaw}", f"{path}:{line.number}", {"text": line.text[:80]})


def _relays(path: str, entries: Iterable[effect.Line], domains: Collection[str]) -> Iterator[Finding]:
    for line in entries:
        where = f"{path}:{line.number}"
        if line.type != "true":
            continue
        if line.everybody:
            yield Finding(SEVERE, "effect-open", where, {"text": line.text[:80]})
        elif line.is_domain:
            domain = line.pattern.rpartition("@")[2].lower().lstrip("*.")
            local = any(one == domain or one.endswith("." + domain) for one in domains)
            severity, name = (SEVERE, "effect-local-domain") if local else (WARNING, "effect-domain")
            yield Finding(severity, name, where, {"text": line.text[:80], "domain": domain})
        elif line.network is not None and line.network.prefix < (8 if line.network.address < 1 << 32 else 16):
            yield Finding(WARNING, "effect-wide", where, {"text": line.text[:80]})


def _order(
    path: str, found: Sequence[effect.Line], entries: Sequence[effect.Line], personal: bool
) -> Iterator[Finding]:
    head = [line.pattern.lower() for line in found[:2]]
    if not personal and entries and sorted(head) != ["#<>", "#blank"]:
        yield Finding(WARNING, "effect-head", f"{path}:1", {})
    stop: effect.Line | None = None
    refusing: list[effect.Line] = []
    for line in entries:
        where = f"{path}:{line.number}"
        if stop is not None:
            name = "effect-behind-only" if stop.type == "only" else "effect-behind-all"
            yield Finding(WARNING, name, where, {"text": line.text[:80], "line": stop.number})
            break
        above = next(
            (
                one
                for one in refusing
                if one.network is not None and line.network is not None and covers(one.network, line.network)
            ),
            None,
        )
        if line.spares and above is not None:
            args = {"text": line.text[:80], "above": above.pattern, "line": above.number}
            yield Finding(WARNING, "effect-behind", where, args)
        if line.type == "false":
            refusing.append(line)
        if line.type == "only" or line.everybody:
            stop = line


# ---------------------------------------------------------------- the rest of the checklist


def list_findings(ordb: Content, mail: Content) -> Iterator[Finding]:
    """Block lists and the content filter."""
    zones = [line for line in _texts(ordb) if line[:1] not in (" ", "'")]
    if ordb.error or mail.error:
        for one in (ordb, mail):
            if one.error:
                yield Finding(WARNING, "file-unreadable", one.path, {"why": one.error})
        return
    if not zones:
        yield Finding(WARNING, "ordb-none", ordb.path, {})
    elif len(zones) > _ZONES:
        yield Finding(WARNING, "ordb-many", ordb.path, {"zones": len(zones), "used": _ZONES})
    if not any(re.match(r"\s*RBL\s*:", line, re.IGNORECASE) for line in _texts(mail)):
        yield Finding(NOTE, "mail-no-rbl", mail.path, {})


def _texts(content: Content) -> list[str]:
    text = (content.data or b"").decode("cp932", "replace")
    return [line for line in text.splitlines() if line.strip()]


def spool_findings(spool: Spool, tables_of: Sequence[Content], now: float) -> Iterator[Finding]:
    """Logs that are off, VRFY, lock-outs that never come."""
    for path in spool.errors:
        yield Finding(WARNING, "spool-unreadable", path, {})
    if spool.errors:
        return
    if spool.closed:
        yield Finding(UNSEEN, "unseen-folders", spool.closed[0], {"count": len(spool.closed)})
    off = [name for name, at in spool.logs.items() if not at]
    if off:
        yield Finding(NOTE, "logs-off", spool.path, {"logs": ", ".join(off)})
    old = [name for name, at in spool.logs.items() if at and now - at > DAY]
    if old:
        yield Finding(NOTE, "logs-old", spool.path, {"logs": ", ".join(old)})
    yield from _vrfy(spool)
    rows = [row for one in tables_of for row in tables.parse(one.data or b"")]
    yield from _never("auth", spool.path, spool.authlock, any(
        row.kind == tables.TIMED and not row.iplock for row in rows))  # fmt: skip
    yield from _never("ip", spool.path, spool.iplock, any(row.iplock for row in rows))


def _never(kind: str, path: str, counters: Counters, fired: bool) -> Iterator[Finding]:
    if fired:
        return
    args: dict[str, object] = {"files": counters.number, "highest": counters.highest}
    if not counters.number:
        yield Finding(WARNING, f"{kind}-lock-off", path, args)
    elif counters.highest >= _SURELY:
        yield Finding(WARNING, f"{kind}-lock-never", path, args)
    else:
        yield Finding(NOTE, f"{kind}-lock-not-yet", path, args)


_ASKED = re.compile(
    rb"^\[[^\]\r\n]*\], ([0-9a-fA-F]{8,16}), (VRFY|EXPN)\b[^\n]*\n(?:\s*\n)*\[[^\]\r\n]*\], \1, (\d{3})",
    re.MULTILINE | re.IGNORECASE,
)


def _vrfy(spool: Spool) -> Iterator[Finding]:
    """Whether VRFY or EXPN was answered with an account."""
    read = [one for one in spool.dialogues if one.data is not None]
    if not read:
        yield Finding(UNSEEN, "vrfy-no-log", spool.path, {})
        return
    asked = answered = 0
    where = read[-1].path
    for one in read:
        for match in _ASKED.finditer(one.data or b""):
            asked += 1
            if match[3] == b"250":
                answered += 1
                where = one.path
    if answered:
        yield Finding(WARNING, "vrfy-answered", where, {"asked": asked, "answered": answered})
    elif asked:
        yield Finding(NOTE, "vrfy-refused", where, {"asked": asked})
    else:
        yield Finding(UNSEEN, "vrfy-not-asked", where, {})


def unseen() -> list[Finding]:
    """What no file shows."""
    return [
        Finding(UNSEEN, name, "", {}) for name in ("unseen-registry", "unseen-accounts", "unseen-network")
    ]
