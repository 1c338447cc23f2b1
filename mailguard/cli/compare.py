"""`mailguard compare`: two policies on the same logs, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mailguard.notation import times_in

from .completing import files as log_files
from .messages import text
from .moments import brief, rough
from .output import output_option, write_json, write_line, write_table
from .recorded import Recorded, ledger_option, recorded_options
from .rehearsing import (
    engine_maker,
    outcome,
    progress,
    settings_of,
    shutouts_of,
    tell,
)
from .verdicts import row_words, words

if TYPE_CHECKING:
    from mailguard.replay.comparing import Pair
    from mailguard.replay.rehearsal import Rehearsal
    from mailguard.replay.timeline import BanRecord


@click.command("compare")
@click.argument("a", metavar="A.toml", shell_complete=log_files)
@click.argument("b", metavar="B.toml", shell_complete=log_files)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=log_files)
@recorded_options
@ledger_option
@output_option
def command(
    a: str,
    b: str,
    files: tuple[str, ...],
    recorded: Recorded,
    ledger: str | None,
    form: str,
) -> int:
    """Show what two policies would have done with logs.

    The logs are read once and judged twice: bans only in A, only in B, earlier, later, and whom each would
    have hurt.
    """
    from mailguard.replay.comparing import compare

    both = [settings_of(a), settings_of(b)]
    loaded = recorded.load()
    rehearsed = recorded.rehearsal(
        files,
        loaded,
        [engine_maker(settings, loaded, ()) for settings in both],
        shutouts=shutouts_of(ledger, both[0]),
    )
    with progress(rehearsed):
        rehearsed.run()
    pairs = compare(*(trial.timeline.bans() for trial in rehearsed.trials))
    if form == "json":
        moment = times_in(recorded.timezone)
        for pair in pairs:
            write_json(_object(pair, moment))
        write_json(_summary(rehearsed, pairs, (a, b), moment))
    else:
        _tables(form, rehearsed, pairs, (a, b))
    tell(rehearsed.summary.notices, rehearsed.summary.untold)
    return outcome(rehearsed)


def _object(pair: Pair, moment: Any) -> dict[str, Any]:
    from mailguard.notation import format_network
    from mailguard.replay.rows import entry_row

    sides = [None if one is None else row_words(one, entry_row(one, moment)) for one in (pair.a, pair.b)]
    seconds = None if pair.seconds is None else round(pair.seconds, 6)
    return {
        "network": format_network(pair.network),
        "where": pair.where,
        "seconds": seconds,
        "a": sides[0],
        "b": sides[1],
    }


def _summary(rehearsed: Rehearsal, pairs: Sequence[Pair], names: tuple[str, str], moment: Any) -> Any:
    from mailguard.replay.comparing import counts
    from mailguard.replay.rows import summary_row

    found: dict[str, Any] = {"compared": counts(pairs)}
    for side, name, trial in zip("ab", names, rehearsed.trials, strict=True):
        found[side] = {"settings": name} | summary_row(rehearsed, trial, moment)["summary"]
    return {"summary": found}


def _tables(form: str, rehearsed: Rehearsal, pairs: Sequence[Pair], names: tuple[str, str]) -> None:
    from mailguard.model import HOSTILE
    from mailguard.notation import format_network
    from mailguard.replay.comparing import SAME, counts

    rows = [
        (format_network(pair.network), text(f"compare.{pair.where}"), _side(pair.a), _side(pair.b))
        for pair in pairs
        if pair.where != SAME
    ]
    if rows:
        columns = [text(f"column.{name}") for name in ("network", "where", "a", "b")]
        write_table(form, "", columns, rows, 1)
    write_line(text("compare.counts", **counts(pairs)))
    hostile = sum(count for kind, count in rehearsed.summary.by_kind.items() if kind in HOSTILE)
    for side, name, trial in zip("AB", names, rehearsed.trials, strict=True):
        timeline = trial.timeline
        stopped = sum(timeline.stopped.values())
        write_line(
            text(
                "compare.summary",
                name=f"{side} ({name})",
                bans=len(timeline.bans()),
                caught=timeline.caught,
                stopped=stopped,
                through=hostile - stopped,
                hurt=sum(score.hurt for score in timeline.scores.values()),
            )
        )


def _side(ban: BanRecord | None) -> str:
    """One ban in a cell: when, by whom, how long, whom it would have hurt."""
    from mailguard.replay.verdict import verdict

    if ban is None:
        return "-"
    effect = ban.effect
    until = effect.ban.until
    return text(
        "compare.side",
        time=brief(effect.time),
        detector=effect.ban.offence.detector if effect.ban.offence else "",
        length=text("time.ever") if until is None else rough(until - effect.time),
        verdict=words(verdict(ban)),
    )
