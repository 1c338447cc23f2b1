"""The sentences of the commands that read recorded logs; `messages` takes them in."""

from __future__ import annotations

REPLAY: dict[str, str] = {
    # what there is to say about a log
    "notice.log-unreadable": "{log} cannot be read: {why}; what was read of it before counts",
    "notice.log-archive": "{log} is an archive ({form}) and was left out; unpack it first",
    "notice.log-binary": "{log} is no text and was left out",
    "notice.log-strange": "{log}: none of its first lines has a stamp that is known",
    "notice.log-twice": "{log} begins like {other} and was left out: its lines would count twice",
    "notice.folder-empty": "{log} holds no log",
    "notice.journals-left-out": (
        "left out: {count} journal file(s) ({log}); beside log files they hold the same lines; "
        "name them to read them"
    ),
    "notice.log-years": "{log} spans more than one year without naming it; it begins in {year}",
    "notice.log-years-unknown": (
        "{log} goes back by more than half a year: it spans several years without naming them, which cannot "
        "be counted in a pipe; name the file itself, or the first year with --year"
    ),
    "notice.log-clock": (
        "{log}: the clock was set back, by up to {span}, at {at}; {lines} event(s) after it counted at "
        "their own time"
    ),
    "notice.log-disorder": "{log}: {lines} event(s) behind later ones, by up to {span}",
    "notice.more": "and {count} more of the kind",
    "notice.eventfile-cut": "{log} ends in the middle; the events before that count",
    # replay
    "replay.interrupted": "interrupted: this is what was found up to here",
    "replay.nothing": "there is no log to read",
    "replay.judged": "judged are events from {since} until {until}",
    "replay.begin": "the beginning",
    "replay.end": "the end",
    "replay.bans": "Bans",
    "replay.detectors": "Detectors",
    "replay.kinds": "Hostile events",
    "replay.uncaught": "Never banned: {sources} source(s) with {events} hostile event(s)",
    "replay.uncaught-worst": (
        "Never banned: {sources} source(s) with {events} hostile event(s); the worst {shown}"
    ),
    "replay.hurt": (
        "{hurt} of {bans} ban(s) would have hurt somebody known; {stopped} hostile event(s) stopped"
    ),
    "replay.forgotten": (
        "more hostile sources came than are kept in mind: {count} that did little are left out of what "
        "was never banned"
    ),
    "replay.known-forgotten": (
        "more senders and users came than are kept in mind: of {count} that were long not seen, what "
        "they did "
        "before a ban is not known"
    ),
    "replay.only-unknown": "There is no detector '{name}' in these settings.{hint}",
    "replay.order": "{since} is not before {until}",
    "replay.reading": "reading",
    "replay.rate": "{rate} lines/s",
    "replay.no-ledger": (
        "mailguard: {path} cannot be read, so hours in which somebody was shut out are not known"
    ),
    # a cluster
    "cluster.not-installed": (
        "mailguard: --dask needs Dask: pip install mailguard[dask], here and on every worker"
    ),
    "cluster.unreachable": (
        "mailguard: no Dask scheduler answers at {address}: {why}. "
        "Name the address that `dask scheduler` prints, such as tcp://192.0.2.5:8786"
    ),
    "cluster.idle": (
        "mailguard: the Dask cluster at {address} has no workers. Start some: dask worker {address}"
    ),
    "cluster.missing": (
        "mailguard: a worker of {address} cannot run mailguard: {why}. "
        "Install there what is installed here: pip install mailguard[dask]"
    ),
    "cluster.differs": (
        "mailguard: the worker {worker} has mailguard {there}, here is {here}: it might read lines "
        "otherwise. Install the same version in both places, and start the worker anew"
    ),
    "cluster.definitions": (
        "mailguard: a worker of {address} makes other parsers ({there}) of the definition files than this "
        "process has ({here}). A file was changed since this command began: run it again"
    ),
    "cluster.lost": "the Dask cluster at {address} has no workers any more; the rest is read here",
    "column.time": "time",
    "column.detector": "detector",
    "column.until": "until",
    "column.for": "for",
    "column.after": "after",
    "column.hostile": "events",
    "column.stopped": "stopped",
    "column.hurt": "would have hurt",
    "column.verdict": "verdict",
    "column.bans": "bans",
    "column.alerts": "alerts",
    "column.median": "median",
    "column.events": "events",
    "column.through": "let through",
    "column.source": "source",
    "column.first": "first",
    "column.kinds": "what it did",
    "replay.verdict": "{time} {network}: {verdict}",
    # verdicts
    "verdict.nobody": "nobody known was hurt",
    "verdict.hidden": (
        "not visible for {hidden}, when it was shut out for real; nobody known was hurt in the rest"
    ),
    "verdict.locked": (
        "the server itself locked it out {times} time(s), so not all is visible; nobody known was hurt "
        "in the rest"
    ),
    "verdict.hurt": "{who} would have been locked out for {length}",
    "verdict.hurt-hidden": (
        "{who} would have been locked out for {length}; for {hidden} of it, when it was shut out for real, "
        "nothing is visible"
    ),
    "who.account": "1 account",
    "who.accounts": "{count} accounts",
    "who.customer": "customer {names}",
    "who.customers": "customers {names}",
    "who.more": "{names} and {count} more",
    "who.mail": "the senders of {count} message(s)",
    "who.mail-sources": "the senders who write from {count} address(es)",
    "who.accounts-most": "at most {count} account(s)",
    "who.people": "people who log in",
    "who.and": "{one} and {other}",
    # impact
    "impact.title": "{network}, from {what}:",
    "impact.logs": "the logs ({first} to {last})",
    "impact.guard": "what the guard remembers",
    "impact.mail": (
        "  Mail: {messages} message(s) of {pairs} sender/recipient pair(s) accepted, last at {last}."
    ),
    "impact.domains": "    Senders: {names}.",
    "impact.logins": "  Logins: {logins} of {accounts} account(s) succeeded, last at {last}.",
    "impact.users": "    Accounts: {names}.",
    "impact.hostile": "  Hostile: {events} event(s) of {sources} address(es), last at {last}: {kinds}.",
    "impact.none": "  No accepted mail and no login from there is known.",
    "impact.spared": "  {network} is never banned by mailguard itself ({reason}).",
    "impact.hidden": "  It was shut out for {hidden} of that time: what would have come then is not visible.",
    "kept.messages": "  Mail: {number} message(s) accepted.",
    "kept.messages-least": "  Mail: at least {number} message(s) accepted; earlier ones were not counted.",
    "kept.messages-uncounted": "  Mail: messages were accepted, but not counted then.",
    "kept.logins": "  Logins: {number} login(s) succeeded.",
    "kept.logins-least": "  Logins: at least {number} login(s) succeeded; earlier ones were not counted.",
    "kept.logins-uncounted": "  Logins: some succeeded, but were not counted then.",
    "impact.guard-mail": "  Mail came from {sources} address(es) in it, of {pairs} sender/recipient pair(s).",
    "impact.guard-mail-least": (
        "  Mail came from {sources} address(es) in it, of at least {pairs} sender/recipient pair(s)."
    ),
    "impact.guard-logins": "  Logins came from {sources} address(es) in it, of {accounts} account(s).",
    "impact.guard-logins-around": (
        "  Logins came from it; {accounts} account(s) logged in from it or from its neighbours in {around}."
    ),
    "impact.guard-logins-many": "  Logins came from {sources} address(es) in it.",
    "impact.guard-unnamed": (
        "  Whose messages and logins these were is not kept. The logs tell: "
        "mailguard impact {network} FILE..."
    ),
    "impact.verdict": "A ban would lock out: {who}.",
    "impact.verdict-none": "A ban would lock out nobody who is known.",
    "impact.verdict-neighbours": (
        "A ban would lock out nobody who is known; it is other addresses of that network that are."
    ),
    "ban.sure": "Ban {network} all the same?",
    "ban.unsure": (
        "{network} was not banned: somebody known would be locked out, and nobody could be asked; "
        "--yes bans it all the same"
    ),
    "ban.left": "{network} was not banned",
    # compare
    "compare.same": "the same",
    "compare.only-a": "only in A",
    "compare.only-b": "only in B",
    "compare.earlier": "earlier in B",
    "compare.later": "later in B",
    "compare.side": "{time} {detector} for {length}: {verdict}",
    "compare.summary": (
        "{name}: {bans} ban(s), {caught} source(s) caught, {stopped} hostile event(s) stopped, {through} "
        "let through, "
        "{hurt} ban(s) that would have hurt somebody known"
    ),
    "compare.counts": (
        "{same} the same, {only_a} only in A, {only_b} only in B, {earlier} earlier in B, {later} later in B"
    ),
    "column.where": "where",
    "column.a": "A",
    "column.b": "B",
    # events files
    "error.eventfile": "mailguard: {what}",
    "eventfile.missing": (
        "Parquet needs a package that is not installed: pip install 'mailguard[parquet]'; or write jsonl "
        "or csv"
    ),
    "eventfile.output": "Parquet is no text: name a file with --to.",
    "eventfile.written": "{path}: {events} event(s)",
}
