"""The ban timeline for people: tables on a terminal, and lines for a spreadsheet."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from mailguard.model import HOSTILE

from .messages import text
from .moments import brief, local, rough
from .output import safe, write_line, write_table
from .plots import spark
from .verdicts import row_words, words

if TYPE_CHECKING:
    from mailguard.replay.rehearsal import Rehearsal
    from mailguard.replay.timeline import BanRecord, Entry
    from mailguard.replay.trial import Trial

BARS = 32  # columns that the volume over time has at most
WIDE = 150  # columns of a terminal from which on a ban's times and verdict are told whole
SHOWN = 500  # bans shown in a table; -o json and csv have all
_PLAIN = (
    "time", "effect", "network", "detector", "until", "ordinal", "count", "first", "last", "key", "kinds",
    "why", "hostile_first", "delay", "hostile_before", "stopped", "lifted",
)  # fmt: skip
_PHASES = ("before", "during", "after")
_TALLY = ("messages", "pairs", "last_mail", "logins", "accounts", "last_login")


def write_csv(entries: Sequence[Entry], moment: Callable[[float], str]) -> None:
    """One line for each effect, with a heading; what an effect has not is empty."""
    from mailguard.replay.rows import entry_row

    writer = csv.writer(sys.stdout, lineterminator="\n")
    phases = [f"{phase}_{name}" for phase in _PHASES for name in _TALLY]
    writer.writerow([*_PLAIN, *phases, "hidden_seconds", "verdict"])
    for entry in entries:
        row = row_words(entry, entry_row(entry, moment))
        collateral: dict[str, Any] = row["collateral"] or {}
        cells = [row[name] for name in _PLAIN]
        cells[_PLAIN.index("kinds")] = "+".join(row["kinds"] or ())
        cells += [collateral.get(phase, {}).get(name) for phase in _PHASES for name in _TALLY]
        cells += [collateral.get("hidden_seconds"), (row["verdict"] or {}).get("text")]
        writer.writerow(["" if cell is None else _cell(cell) for cell in cells])


def _cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula."""
    shown = safe(value)
    formula = shown.startswith(tuple("=+-@＝＋－＠")) and not shown.lstrip("-").replace(".", "").isdigit()
    return f"'{shown}" if formula else shown


def write_tables(rehearsed: Rehearsal, trial: Trial, timezone: str) -> None:
    """Bans, detectors, kinds, and who was never banned."""
    timeline, summary = trial.timeline, rehearsed.summary
    bans = timeline.bans()
    if bans:
        wide = get_terminal_size().columns >= WIDE
        columns = ["time", "network", "detector", "until" if wide else "for", "after", "hostile", "stopped"]
        columns += ["verdict"] if wide else []
        _table("replay.bans", columns, [_ban(ban, wide)[: len(columns)] for ban in bans[-SHOWN:]], 3)
        if not wide:
            _verdicts(bans[-SHOWN:])
        if len(bans) > SHOWN:
            write_line(text("why.earlier", count=len(bans) - SHOWN))
    scores = [(name, score) for name, score in sorted(timeline.scores.items()) if name]
    if scores:
        from statistics import median

        rows = [
            (
                name,
                score.bans,
                score.alerts,
                score.stopped,
                rough(median(score.delays)) if score.delays else "",
                score.hurt,
            )
            for name, score in scores
        ]
        _table("replay.detectors", ("detector", "bans", "alerts", "stopped", "median", "hurt"), rows)
    kinds = [
        (kind, count, timeline.stopped[kind], count - timeline.stopped[kind])
        for kind, count in summary.by_kind.most_common()
        if kind in HOSTILE
    ]
    if kinds:
        _kinds(rehearsed, kinds, timezone)
    _uncaught(trial)
    stopped = sum(timeline.stopped.values())
    hurt = sum(score.hurt for score in timeline.scores.values())
    write_line(text("replay.hurt", hurt=hurt, bans=len(bans), stopped=stopped))
    if timeline.forgotten:
        write_line(text("replay.forgotten", count=timeline.forgotten))
    if timeline.known.forgotten:
        write_line(text("replay.known-forgotten", count=timeline.known.forgotten))


def _kinds(rehearsed: Rehearsal, kinds: Sequence[tuple[str, int, int, int]], timezone: str) -> None:
    """Hostile events by kind, with their volume over time where it was watched."""
    from zoneinfo import ZoneInfo

    from mailguard.report.calendar import edges, step_of
    from mailguard.report.watching import Watcher

    columns = [text(f"column.{name}") for name in ("kind", "events", "stopped", "through")]
    rows: list[tuple[object, ...]] = [*kinds]
    first, last = rehearsed.summary.first, rehearsed.summary.last
    if isinstance(rehearsed.watched, Watcher) and first is not None and last is not None:
        step = step_of(first, last, BARS)
        bounds = edges(first, last, ZoneInfo(timezone) if timezone else None, step)
        volumes = {one.kind: spark(one.events) for one in rehearsed.watched.volumes(bounds)}
        columns.append(text("column.over-time", step=rough(step)))
        rows = [(*row, volumes.get(str(row[0]), "")) for row in rows]
    write_table("auto", text("replay.kinds"), columns, rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], whole: int = 0) -> None:
    write_table("auto", text(title), [text(f"column.{name}") for name in columns], rows, whole)


def _ban(record: BanRecord, wide: bool) -> tuple[object, ...]:
    """`wide`: there is room for whole times and sentences."""
    from mailguard.notation import format_network
    from mailguard.replay.verdict import verdict

    ban = record.effect.ban
    since, until = record.effect.time, ban.until
    brief_end = text("time.ever") if until is None else rough(until - since)
    return (
        local(since) if wide else brief(since),
        format_network(ban.network),
        ban.offence.detector if ban.offence else "",
        local(until) if wide and until is not None else brief_end,
        "" if record.delay is None else rough(record.delay),
        record.hostile_before,
        record.stopped,
        words(verdict(record)),
    )


def _verdicts(bans: Sequence[BanRecord]) -> None:
    """Where a table has no room for them: what is to be said of a ban but that it hurt nobody."""
    from mailguard.notation import format_network
    from mailguard.replay.verdict import verdict

    for ban in bans:
        told = verdict(ban)
        if told.id == "hurt" or told.hidden or told.locked_out:
            network = format_network(ban.effect.ban.network)
            write_line(
                text("replay.verdict", time=brief(ban.effect.time), network=network, verdict=words(told))
            )


def _uncaught(trial: Trial) -> None:
    from mailguard.notation import format_network
    from mailguard.replay.rows import WORST
    from mailguard.replay.timeline import FIRST, KINDS, LAST, host_network, kinds_of, total

    sources, events, worst = trial.timeline.uncaught(WORST)
    if not sources:
        return
    rows = [
        (
            format_network(host_network(key)),
            brief(record[FIRST]),
            brief(record[LAST]),
            total(record[KINDS]),
            ", ".join(f"{count} {kind}" for kind, count in kinds_of(record[KINDS]).items()),
        )
        for key, record in worst
    ]
    name = "replay.uncaught-worst" if sources > len(worst) else "replay.uncaught"
    title = text(name, sources=sources, events=events, shown=len(worst))
    columns = ("source", "first", "last", "events", "kinds")
    write_table("auto", title, [text(f"column.{name}") for name in columns], rows, 3)
