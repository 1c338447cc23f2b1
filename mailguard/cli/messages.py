"""Every sentence the command line says, by id; `mailguard/locale` has them in other languages by the same id.

`text("ban.refused", network="192.0.2.0/24", why="...")` fills the arguments in; values that came from outside
are made safe where they are written, not here.
"""

from __future__ import annotations

from mailguard.locale import counted, translated

from .messages_epost import EPOST
from .messages_replay import REPLAY
from .messages_report import REPORT
from .messages_tune import TUNE

MESSAGES: dict[str, str] = {
    # errors
    "error.guard": "mailguard: {what}",
    "error.guard-gone": (
        "  instead: systemctl start mailguard; where it listens elsewhere, name that: --socket PATH"
    ),
    "error.interrupted": "mailguard: interrupted",
    "error.file": "mailguard: {name}: {what}",
    "error.write": "mailguard: what was to be written cannot be: {what}",
    "write.input": "{path} is one of the logs to read; name another file to write to",
    "error.firewall": "mailguard: the firewall refused: {what}",
    "error.ledger": "mailguard: {what}",
    "error.unexpected": (
        "mailguard: this should not happen: {kind}: {what}\n"
        "Please report it; MAILGUARD_DEBUG=1 shows where it happened."
    ),
    # usage
    "usage.no-command": "There is no command '{name}'.{hint}",
    "usage.near": " Did you mean '{name}'?",
    "usage.network": "'{text}' is no address or network (such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64)",
    "usage.network-host-bits": "'{text}' has host bits set; the network is {network}",
    "usage.duration": "'{text}' is no length of time (such as 10m, 1h30m, 7d){extra}",
    "usage.duration-long": "'{text}' is too long (at most {longest}){extra}",
    "usage.permanent": "; the word permanent means for ever",
    "usage.or-permanent": ", nor the word permanent",
    "usage.time": (
        "'{text}' is neither a time (such as 2026-11-22T03:00:00+01:00) nor a length of time ago (such as 2h)"
    ),
    "usage.zone": "'{text}' is no time zone (such as Europe/Berlin or UTC)",
    # what is wrong with settings and definitions
    "problem.what": "error: {where}: {what}",
    "problem.why": "  why:     {why}",
    "problem.instead": "  instead: {instead}",
    # times and lengths of time
    "time.moment": "{year}-{month}-{day} {clock}{offset}",
    "time.brief": "{month}-{day} {clock}",
    "time.brief-year": "{year}-{month}-{day} {clock}",
    "time.ever": "for ever",
    "time.over": "over",
    "time.ago": "{length} ago",
    # headings
    "column.name": "name",
    "column.title": "about",
    "column.rules": "rules",
    "column.origin": "from",
    "column.note": "note",
    "column.what": "what",
    "column.value": "value",
    # definitions
    "definition.shipped": "shipped",
    "definition.own": "own",
    "definition.replaces": "own, instead of the shipped one",
    "definition.copied": "{path}: this file is used from the next start or reload on",
    "definition.copied-to": "{path}: written",
    "definition.masked": "'{name}' is switched off: {path} is a link to /dev/null",
    "definition.exists": "{path} is there already; it was not touched",
    "definition.not-shipped": "'{name}' did not come with mailguard, so there is nothing to copy",
    "definition.unknown-parsers": "There is no parser '{name}'.{hint}",
    "definition.unknown-actions": "There is no action '{name}'.{hint}",
    "parser.taken": "{rule}: {count} events",
    "parser.none-taken": "mailguard: no line of {log} is taken by {name}, so nothing is confirmed",
    "parser.confirmed": "{events} events; {path} is used from the next start or reload on, and may ban",
    "parser.not-guessed": "'{name}' is not guessed, there is nothing to confirm",
    "parser.guessed": "guessed: alerts only",
    # answers of the guard
    "column.network": "network",
    "column.ports": "ports",
    "column.left": "left",
    "column.since": "since",
    "column.knocks": "knocks",
    "column.why": "why",
    "bans.none": "no bans stand",
    "bans.would": "{count} ban(s) would stand; nobody is kept out",
    "bans.title": "{count} ban(s) standing",
    "ban.done": "{network} is banned until {end}",
    "ban.for-ever": "{network} is banned for ever",
    "unban.which": "name networks, or a detector and a time, or --all",
    "unban.done": "{network} is no longer banned; what was counted against it is forgotten",
    "unban.still": "but {network} is banned and holds it",
    "allow.added": "{network} is never banned from now on",
    "allow.added-lifted": "{network} is never banned from now on; lifted inside it: {lifted} ban(s)",
    "allow.deleted": "{network} is no longer on the list",
    "allow.yes": "{network} is never banned: {entry} is on the list ({reason})",
    "allow.part": "{network} is not on the list, only {entry} in it is ({reason})",
    "allow.no": "{network} is not on the list",
    "allow.by-settings": "settings",
    "allow.by-command": "command",
    "observe.done": "only observing from now on; bans that stand run until their end",
    "asked.firewall-lost": "the firewall takes nothing at the moment; this counts in it as soon as it does",
    "panic.done": "{lifted} ban(s) lifted; only observing until `mailguard enforce`",
    "pause.done": "the bans are out of the firewall until {until}",
    "pause.over": "no pause; the bans are in the firewall",
    "ports.auth": "the ports for logins",
    "ports.mail": "the mail ports",
    "ports.all": "all ports",
    # status
    "status.gone": "mailguard does not stand: {why}",
    "status.start": "  to start it: systemctl start mailguard (or `mailguard run`, to watch it work)",
    "status.unknown": "it is not known whether mailguard stands: {why}",
    "status.standing": "mailguard stands",
    "status.warned": "mailguard stands, with a warning:",
    "status.lost": "mailguard runs, but its bans do not stand:",
    "status.firewall-lost": "the firewall is lost; {owed} change(s) due, tried again and again",
    "status.paused": "paused until {until}: nobody is kept out",
    "status.observing": "only observing; {would} ban(s) would stand (`mailguard enforce` switches them on)",
    "status.recording": "bans are only recorded, nothing is blocked",
    "status.blind": "it may be blind: {what}",
    "status.ledger-failing": "{path} cannot be written; what happens is kept in memory",
    "status.growing": "{name} has been growing since {since}: {amount} {unit}, normal at this hour: {normal}",
    "status.growth": "{count} logs and folders watched",
    "status.growth-learning": "{count} of them still being learned",
    "status.growth-unreadable": "not counted: {what}",
    "status.logs": "logs",
    "status.never": "never",
    "status.fact.mode": "mode",
    "status.fact.since": "running since",
    "status.fact.firewall": "firewall",
    "status.fact.bans": "bans that stand",
    "status.fact.would": "bans that would stand",
    "status.fact.lines": "lines read",
    "status.fact.events": "events",
    "status.fact.ambiguous": "lines with two readings",
    "status.fact.unmatched": "lines that no rule took",
    "status.fact.growth": "growth",
    "status.fact.compiled": "compiled core",
    "status.fact.version": "version",
    "column.log": "log",
    "column.last": "last line",
    # why
    "why.not-banned": "{network} is not banned.",
    "why.banned": "{network} is banned from {ports} until {until} ({left} left).",
    "why.would": "{network} would be banned from {ports} until {until} ({left} left); it is only observed.",
    "why.unknown": "  mailguard found it in the firewall; somebody else put it there.",
    "why.asked": "  An administrator asked for it at {since}: {reason}",
    "why.no-reason": "no reason given",
    "why.found": "  {detector} found {count} {kinds} in {span}, from {first} to {last}.",
    "why.key": "  It was counted under {key}.",
    "why.ordinal": "  It is the {ordinal}. ban of this network; each lasts longer than the one before.",
    "why.hits": "  {hits} more event(s) came from it since, the last at {last}.",
    "why.spared": "  It is never banned by mailguard itself: {network} is on the list ({reason}).",
    "why.unbanned": (
        "  Let out on {at}: what the mail server itself refuses within a minute is taken for a row of ours "
        "that came back with an old copy of its table, and bans nobody."
    ),
    "why.inside": "  Banned on their own inside it: {count} address(es) or network(s).",
    "why.counted": "What still counts in the windows:",
    "why.count": "  {key}: {count} {kind}{values} within {span}, the last {last}",
    "why.values": " with {values} different value(s)",
    "why.lines": "The lines behind it (names that are nobody's are cut and hashed):",
    "why.earlier": "  ({count} earlier ones are left out; -o json has them)",
    "why.speaks": "What speaks for it:",
    "why.nothing-speaks": "  Nothing is known: no accepted mail, no login.",
    "why.standing-mail": "  Mail from it was accepted on {days} day(s), last at {last}.",
    "why.standing-login": "  Logins from it succeeded on {days} day(s), last at {last}.",
    "why.network_standing-mail": "  Mail from its network was accepted on {days} day(s), last at {last}.",
    "why.network_standing-login": "  Logins from its network succeeded on {days} day(s), last at {last}.",
    "why.revoked": "  But that does not count any more: an account there seems to be stolen.",
    "why.before": "What happened ({times} ban(s) so far):",
    "why.undo": "To undo it:",
    # enforce and purge
    "enforce.would": "{count} ban(s), only observed until now, will stand.",
    "enforce.trust": (
        "Any program on this host can write into shared log files, and so have an address banned. "
        'trust = "alert" in [log.NAME] makes a log alert only.'
    ),
    "enforce.sure": "Switch bans on?",
    "enforce.done": "bans are on; {imposed} that were observed stand now",
    "purge.which": "name a time or a network, not both",
    "purge.none": "mailguard: there is no {path}; --state names another folder",
    "purge.sure": "Delete personal data from {path}?",
    "purge.done": "{lines} line(s) and {effects} effect(s) were deleted",
    # refusals of the guard
    "refused.refused": "{network} was refused: {entry} is never banned ({reason}); --force bans it anyway",
    "refused.too-wide": "{network} was refused: it is very wide; --force does it anyway",
    "refused.standing": (
        "{network} was refused: accepted mail and logins speak for it (see `mailguard why {network}`); "
        "--force bans it anyway"
    ),
    "refused.nothing-to-lift": "there was nothing to lift",
    "refused.still-inside": "there was nothing of that name to lift, but {networks} is banned and holds it",
    "refused.not-allowed-before": "{network} was not added by `mailguard allow`",
    "refused.bad-argument": "the guard does not understand {name} = {value}",
    "refused.unknown-verb": "the guard does not know '{verb}'; is it older than this program?",
    # explain
    "explain.line": "line       {line}",
    "explain.no-envelope": "envelope   no known envelope opens this line: it has no time and no program",
    "explain.envelope": "envelope   {time}  host {host}  program {program}",
    "explain.rule": "rule       {rule}  ({where})",
    "explain.no-parser": "rule       no parser is for the program {program}",
    "explain.no-rule": "rule       none of {parsers} takes this line; these come nearest:",
    "explain.spoken": "rule       none: a line of a dialogue, which {parsers} read after those before it (-)",
    "explain.nearest": "           {rule}: {fits} of {size} bytes fit",
    "explain.stops": "           ^ fits up to here; then comes: {rest}",
    "explain.end": "the end of the line",
    "explain.wanted": "           instead of: {wanted}",
    "explain.ambiguous": "event      none: another rule reads another source in it, so nobody is blamed",
    "explain.event": "event      {kind}  source {source}  weight {weight}  scope {scope}",
    "explain.field": "           {name} = {value}",
    "explain.guessed": "           it only alerts: this format was never seen in a genuine line",
    "explain.ignored": "event      none: this shape is set aside on purpose",
    "explain.session": "event      none by itself: it belongs to a session; give the lines before it too (-)",
    "explain.no-source": "event      none: it has no certain source",
    # replay
    "replay.summary": (
        "{records} record(s) over {span}: {events} event(s), {imposed} ban(s), {alerts} alert(s) "
        "({seconds} seconds)"
    ),
    # actions
    "column.driver": "driver",
    "column.here": "here",
    "action.here": "works here",
    "action.not-here": "not here: {why}",
    "usage.effect": "'{text}' is no effect (such as: ban 192.0.2.7 for 10m, or: lift 192.0.2.7)",
    # check and test
    "check.right": (
        "{settings} with {detectors} detectors, {parsers} parsers with {rules} rules and {actions} actions: "
        "all is right"
    ),
    "check.defaults": "the default settings",
    "check.alerts": (
        "the command of [alerts]: under the units of `mailguard install` it has no network and cannot hand "
        "mail to this host (postdrop); see [alerts] in mailguard.toml(5)"
    ),
    "check.compiled": "compiled core: {parts}",
    "compiled.nothing": "none; the Python code does the same, more slowly",
    "column.kind": "kind",
    "column.tests": "tests",
    "column.result": "result",
    "test.passed": "passed",
    "test.failed": "{count} failed",
    "test.unknown": "There is no parser, action or detector '{name}'.{hint}",
    # install
    "install.write": "write {path}",
    "install.run": "run   {command}",
    "install.remove": "remove {path}",
    "install.failed": "this failed: {command}",
    "install.not-root": "mailguard: installing units needs root; --dry-run shows what would be done",
    "install.no-systemd": "mailguard: systemd does not run this host; start `mailguard run` yourself",
    "install.hidden": "the guard's own user cannot read this program, because {folder} is closed to it",
    "install.hidden-why": "the units run as users of their own and hide home folders on purpose",
    "install.hidden-instead": (
        "install mailguard where every user can read it:\n"
        "python3 -m venv /opt/mailguard && /opt/mailguard/bin/pip install mailguard && "
        "/opt/mailguard/bin/mailguard install"
    ),
    "install.done": "mailguard runs. See `mailguard status`; `mailguard enforce` switches bans on.",
    "install.done-no-start": "mailguard starts with the next boot, or by: systemctl start mailguard",
}

MESSAGES |= REPLAY
MESSAGES |= REPORT
MESSAGES |= EPOST
MESSAGES |= TUNE


def text(message: str, /, **arguments: object) -> str:
    """The sentence `message` in the language that is spoken, with its arguments filled in."""
    told = translated(message, MESSAGES[message], arguments.get("count"))
    return counted(told, arguments).format_map(arguments)
