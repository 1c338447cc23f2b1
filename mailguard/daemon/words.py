"""What the running guard says: notices as sentences, effects as lines. Every message is an id with
arguments; `mailguard/locale` has the sentences in other languages, by `notice.` and the id. Effects are in
the notation, which is no language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import locale
from ..locale import counted, translated
from ..locale.said import said
from ..model import Alert, Effect, Lift, Notice
from ..notation import format_duration, format_effect

#: One sentence for each notice. Arguments that may be missing are "?".
SENTENCES: dict[str, str] = {
    "log-missing": "{log} is not there; it is read as soon as it appears",
    "log-unreadable": "{log} cannot be read: {why}",
    "log-back": "{log} is read again",
    "log-rotated": "{log} was rotated ({how}); {lost} bytes lost",
    "log-silent": "{log} has been silent for {seconds}, longer than is normal for it ({patience})",
    "log-speaks": "{log} speaks again after {silent}",
    "bytes-lost": "{log}: bytes were lost unread ({lost}): {why}",
    "lines-cut": "long lines were cut and only partly understood: {cut} of {lines}",
    "log-cut": "{log}: long lines were cut and only partly understood: {lines} so far",
    "nothing-matches": "{log} grows but no rule has taken a line for {seconds}; did its format change?",
    "matches-again": "the lines of {log} are understood again",
    "lag": "the stamps in {log} are {seconds} behind the clock",
    "lag-over": "{log} has caught up",
    "suppressed": "the logger itself dropped lines of {log}: {line}",
    "watch-limit": "no more files can be watched ({why}); {log} is polled instead",
    "journal-fallback": "the journal is read through journalctl: {why}",
    "syslog-clock": "{log}: the clock of {sender} is {seconds} {way}; its stamps are put right by that much",
    "syslog-clock-right": "{log}: the clock of {sender} is right again",
    "syslog-refused": "{log}: {sender} is not among the senders; what it sends is dropped ({count} so far)",
    "syslog-packed": (
        "{log}: {sender} puts several messages into one datagram; all but the first only alert (use TCP)"
    ),
    "syslog-lost": "{log}: messages came faster than they could be taken; {count} are lost so far",
    "syslog-full": "{log}: a connection was refused: {why}",
    "syslog-broken": "{log}: the connection of {sender} was ended: {why}",
    "synology-time": (
        "{log}: the times of {count} rows cannot be read; when they arrive counts, and they only alert"
    ),
    "export-rows": "{log}: {odd} of {rows} rows of the saved table were not understood",
    "firewall-lost": "the firewall does not take bans: {reason}; they stay due and are tried again",
    "firewall-back": "the firewall is back; everything that is due stands",
    "clock-back": "the clock was set back by {seconds}; bans that would have begun later begin now",
    "doors-open": "the firewall is back; the bans are out of it, as was asked",
    "firewall-answers": "the firewall answers again",
    "firewall-repaired": "somebody changed mailguard's own firewall table ({what}); it was repaired",
    "firewall-table": "the firewall: {what}",
    "disk-full": "the ledger cannot be written: {reason}; bans go on, and what happened is kept in memory",
    "disk-back": "the ledger is written again; {dropped} effects were lost meanwhile",
    "reload": "settings and definitions are read anew",
    "reloaded": "new settings and definitions are in use",
    "restart-needed": "what changed about the firewall or the state folder counts from the next start on",
    "next-start": "changed in the settings, and used from the next start of the guard on: {keys}",
    "reload-refused": "the new settings or definitions are wrong, the old ones stay in use:\n{problems}",
    "stop": "stopping; bans stand until their end",
    "stop-flush": "stopping; bans are removed",
    "mode": "mode: {mode}",
    "paused": "paused until {until}: nobody is kept out",
    "resumed": "the pause is over: bans stand again",
    "heartbeat": "watching for {up}: {lines} lines, {events} events, {bans} bans stand{blind}",
    "learning": "reading {count} rotated log(s) to learn who is normal here",
    "learned": "{records} lines from before were read: {events} events, {would} reasons for a ban",
    "would": "would stand now: {effect}",
    "would-more": "and {count} more; `mailguard bans --would` lists them",
    "observing": "nobody is banned yet: `mailguard enforce` (or --enforce at the start) switches bans on",
    "privileges": "the judge runs as {who}",
    "firewall": "firewall: {words}",
    "watching": "watching {log}",
    "no-log": "there is no mail log on this host",
    "demo": "playing the sample logs as if they were written now",
    "demo-namespace": "the bans go into a network namespace of its own; the host's firewall is not touched",
    "demo-over": "these were all the samples; the guard goes on watching until Ctrl-C",
    "demo-ask": "in another terminal: export MAILGUARD_SOCKET={socket}; mailguard bans",
    "socket-elsewhere": "the commands find the guard by --socket {path}, because {wanted} cannot be written",
    "defect": "this should not happen, and the guard goes on:\n{what}",
    "failed": "the guard cannot stand: {what}",
    "request": "asked by an administrator: {verb}",
    "state-elsewhere": "the state is kept in {path}, because {wanted} cannot be written",
    "ledger": "what is known is kept in {path}",
}
#: What stands around and inside sentences.
FRAMES = {
    "blind.sentence": "BLIND: {words}",
    "blind.list": "; BLIND: {what}",
    "length.short": "{seconds}s",
}
#: Arguments that are words of other rooms.
_SAID = frozenset({"words", "who", "why", "reason", "what", "way"})
_LENGTHS = frozenset({"seconds", "patience", "silent", "up"})


def speak(language: str, environment: Mapping[str, str], *, terminal: bool) -> None:
    """Let the guard speak the language of the settings. "auto": English in a log, where programs look for
    words; on a terminal what the environment asks for."""
    if language == "auto":
        language = locale.asked(environment) if terminal else locale.ENGLISH
    locale.use(language)


class _Missing(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def sentence(notice: Notice) -> str:
    """The words of a notice; ids without a sentence are told with their arguments."""
    arguments = {name: _shown(name, value) for name, value in notice.args.items()}
    cut_in_one_log = notice.id == "lines-cut" and "cut" not in arguments
    name = "log-cut" if cut_in_one_log else notice.id
    template = SENTENCES.get(name)
    if template is None:
        return notice.id + "".join(f" {name}={value}" for name, value in arguments.items())
    words = counted(translated(f"notice.{name}", template), arguments).format_map(_Missing(arguments))
    return _frame("blind.sentence", words=words) if notice.blind else words


def _frame(name: str, **arguments: object) -> str:
    return translated(name, FRAMES[name]).format_map(arguments)


def _shown(name: str, value: Any) -> str:
    if name in _LENGTHS and isinstance(value, int | float):
        return locale.length(value) if value >= 1 else _frame("length.short", seconds=f"{value:.2g}")
    if name == "blind":
        return _frame("blind.list", what=", ".join(value)) if value else ""
    return said(str(value)) if name in _SAID else str(value)


def effect_line(effect: Effect) -> str:
    """One line for an effect: the plain notation; in observe mode with the ban that would have been."""
    text = format_effect(effect)
    if isinstance(effect, Alert) and effect.would is not None and effect.would.until is not None:
        return f"{text} would ban for {format_duration(effect.would.until - effect.would.since)}"
    return text


def priority(said: Effect | Notice) -> int:
    """The syslog priority a line has in the journal: 4 warning, 5 notice, 6 informational."""
    if isinstance(said, Notice):
        return 4 if said.blind or said.id in _WARNINGS else 6
    return 6 if isinstance(said, Lift) else 5


_WARNINGS = frozenset({"firewall-lost", "disk-full", "reload-refused", "firewall-repaired", "log-missing"})


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as values that JSON knows."""
    return {name: value if isinstance(value, int | float | str | list | None) else str(value)
            for name, value in arguments.items()}  # fmt: skip
