"""The words of the report; `messages` takes them in."""

from __future__ import annotations

REPORT: dict[str, str] = {
    "column.over-time": "over time, a bar for {step}",
    "tuning.strange": "{path} is not what `mailguard tune -o json` writes",
    "tuning.where": "--tuning is drawn on the page: name it with --html",
    "report.written": "{path}: the report",
    "report.title": "What the policy would have done",
    "report.when": "Logs from {first} to {last} ({span})",
    "report.interrupted": "Interrupted: this is what was found up to there.",
    "report.contents": "Contents",
    "report.theme": "Colours",
    "report.theme.auto": "as the system",
    "report.theme.light": "light",
    "report.theme.dark": "dark",
    "report.footer": "Made by mailguard {version}. What the figures mean: mailguard(8), section REPORTS.",
    "report.comma": ", ",
    "report.kinds": "{kind} {count}",
    "report.as-table": "The figures as a table",
    "report.scale": "Each row has a scale of its own; one bar is {step}.",
    "report.latest": "Only the latest {count} are listed here; replay -o csv has all.",
    "report.lifted": "{length} (lifted)",
    "report.tally": "{messages} mail, {logins} login(s)",
    # summary
    "report.summary.heading": "Summary",
    "report.empty": "There was nothing to judge: no line with a known stamp was read.",
    "report.lead-quiet": "There is no hostile event in these logs.",
    "report.lead-none": (
        "The policy would have banned nobody for the {hostile} hostile event(s) in these logs."
    ),
    "report.lead-one": "With one ban the policy would have stopped {share} of the hostile events here.",
    "report.lead": "With {bans} ban(s) the policy would have stopped {share} of the hostile events here.",
    "report.lead-hurt": "{hurt} of them would have locked out somebody known.",
    "report.lead-hurt-one": "It would have locked out somebody known.",
    "report.lead-nobody": "Nobody known would have been locked out.",
    "report.figure.records": "Lines read",
    "report.figure.hostile": "Hostile events",
    "report.figure.stopped": "Would have been stopped",
    "report.figure.bans": "Bans",
    "report.figure.caught": "Sources banned",
    "report.figure.never": "Sources never banned",
    "report.figure.alerts": "Alerts",
    "report.figure.tried": "Settings tried",
    "report.figure.detectors": "Detectors",
    "report.figure.hurt": "Bans that hurt somebody",
    # who would have been hurt
    "report.hurt.heading": "Who would have been hurt",
    "report.hurt.lead": (
        "From the networks of {hurt} of {bans} ban(s), mail was accepted or somebody logged in while the ban "
        "would have stood:"
    ),
    "report.hurt.none": (
        "From none of the banned networks was mail accepted, and nobody logged in, while a ban would have "
        "stood."
    ),
    "report.hurt.hidden": (
        "Bans of which not all is visible, because the network was shut out for real at that time: {count}."
    ),
    "report.hurt.note": (
        "Known is who sent mail that was accepted or logged in, according to these logs. Who was shut out "
        "for real left no trace."
    ),
    "report.hurt.caption": "Bans that would have locked out somebody known",
    # volume
    "report.volume.heading": "Attacks over time",
    "report.volume.caption": "Hostile events by kind",
    "report.volume.alt": (
        "{kind}: {events} event(s), of which {stopped} would have been stopped; at most {peak} in one bar"
    ),
    "report.volume.strong": "let through",
    "report.volume.quiet": "stopped by a ban",
    "report.volume.through": "{count} let through",
    "report.volume.peak": "peak {count}",
    "report.kind.auth_failure": "failed logins",
    "report.kind.unknown_recipient": "unknown recipients",
    "report.kind.relay_denied": "relay attempts",
    "report.kind.blocklisted": "on block lists",
    "report.kind.policy_reject": "refused by policy",
    "report.kind.content_reject": "refused for contents",
    "report.kind.protocol_violation": "protocol violations",
    "report.kind.session_aborted": "aborted sessions",
    "report.kind.rate_exceeded": "over the rate limit",
    "report.kind.address_probe": "address probes",
    "report.kind.locked_out": "locked out by the server",
    "report.kind.tls_failure": "failed TLS handshakes",
    # bans
    "report.bans.heading": "Bans over time",
    "report.bans.caption": "Bans that stood, and bans imposed by each detector",
    "report.bans.standing": "standing bans",
    "report.bans.standing-alt": "Standing bans over time; at most {peak} at once",
    "report.bans.at-once": "at most at once",
    "report.bans.bans": "bans",
    "report.bans.detector-alt": "Bans by {detector} over time; {bans} in all",
    "report.bans.networks": "Every banned network",
    "report.bans.networks-most": "The {count} network(s) whose bans would have stopped most",
    "report.bans.network-alt": "{network}: bans: {bans}, the first at {first}; events stopped: {stopped}",
    "report.bans.stopped": "{count} stopped",
    "report.bans.hurts": "would have hurt",
    "report.bans.solid": "banned",
    "report.bans.thin": "from the first hostile event to the ban",
    "report.detectors.caption": "Detectors",
    # tuning
    "report.tuning.heading": "Tuning",
    "report.tuning.title": "What other settings would have done",
    "report.tuning.lead": (
        "The same logs were judged under each setting. Further left less is let through, further down fewer "
        "bans lock out somebody known."
    ),
    "report.tuning.nothing": "No setting was tried.",
    "report.tuning.alt": "{count} setting(s) of {detector}: what they let through, whom they would have hurt",
    "report.tuning.caption": "Settings that were tried",
    "report.tuning.advised": "advised",
    "report.tuning.present": "in force",
    "report.tuning.best": "none is better in both",
    "report.tuning.other": "others",
    "report.tuning.up": "↑ bans that would have locked out somebody known",
    "report.tuning.across": "hostile events let through →",
    # sources, accounts
    "report.sources.heading": "Where it came from",
    "report.sources.caption": "Sources with most hostile events",
    "report.networks.caption": "Networks with most hostile events (/24, /48)",
    "report.sources.forgotten": (
        "More sources came than are kept in mind: {count} that did little are left out, and figures of "
        "sources and networks may be too low."
    ),
    "report.accounts.heading": "Which accounts were tried",
    "report.accounts.caption": "Accounts with most failed logins",
    "report.accounts.note": (
        "Names with which nobody logged in are shortened, because passwords are typed there too."
    ),
    "report.accounts.forgotten": (
        "More names were tried than are kept in mind; those tried least are left out, and figures may be too "
        "low."
    ),
    # never banned
    "report.never.heading": "Never banned",
    "report.never.lead": (
        "Sources that would not have been banned: {sources}, with {events} hostile event(s)."
    ),
    "report.never.caption": "Those with most hostile events",
    # the list
    "report.list.heading": "All bans",
    "report.list.caption": "Bans in the order in which they would have been imposed",
    "report.list.printed": "On paper are the latest {count}.",
    # logs
    "report.logs.heading": "What was read",
    "report.logs.more": "and {count} more",
    "report.logs.notices": "What there is to say about it",
    # columns
    "report.column.time": "time",
    "report.column.network": "network",
    "report.column.detector": "detector",
    "report.column.length": "for",
    "report.column.verdict": "whom it would have hurt",
    "report.column.after": "after",
    "report.column.before": "events before",
    "report.column.stopped": "stopped",
    "report.column.accounts": "accounts (logins)",
    "report.column.senders": "senders (mail)",
    "report.column.earlier": "known before",
    "report.column.later": "after the ban",
    "report.column.source": "source",
    "report.column.sources": "sources",
    "report.column.events": "events",
    "report.column.share": "share",
    "report.column.bans": "bans",
    "report.column.first": "first",
    "report.column.last": "last",
    "report.column.kinds": "what it did",
    "report.column.account": "account",
    "report.column.failures": "failed",
    "report.column.logins": "logged in",
    "report.column.alerts": "alerts",
    "report.column.median": "median time to the ban",
    "report.column.hurt": "would have hurt",
    "report.column.setting": "setting",
    "report.column.mark": "note",
    "report.column.caught": "attackers caught",
    "report.column.through": "let through",
    "report.column.hurting": "bans that hurt somebody",
    "report.column.peak": "at once",
}
