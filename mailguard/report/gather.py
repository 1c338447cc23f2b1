"""From a rehearsal that has ended to the contents of its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo

from ..model import HOSTILE, Network
from ..notation import covers
from ..replay.rehearsal import Rehearsal
from ..replay.summary import Summary
from ..replay.timeline import BanRecord, host_network
from ..replay.verdict import HIDDEN, HURT, verdict
from .calendar import edges, step_of
from .contents import Report
from .watching import Account, Watcher

MOST = 20  # sources, networks and accounts that are listed


def begun(rehearsed: Rehearsal, seen: Summary, zone: tzinfo | None) -> Report:
    """A report that tells what was read, and nothing of bans."""
    return Report(
        first=seen.first,
        last=seen.last,
        zone=zone,
        logs=[source.path for source in rehearsed.sources],
        records=seen.records,
        hostile=sum(count for kind, count in seen.by_kind.items() if kind in HOSTILE),
        interrupted=rehearsed.interrupted,
        notices=seen.notices,
        untold=seen.untold,
    )


def gather(
    rehearsed: Rehearsal,
    watcher: Watcher,
    zone: tzinfo | None,
    *,
    names: bool = False,
) -> Report:
    """What the first trial found. `names`: also names that nobody logged in with are shown in full."""
    trial, seen = rehearsed.trials[0], rehearsed.summary
    timeline = trial.timeline
    bans = timeline.bans()
    verdicts = [(ban, verdict(ban).id) for ban in bans]
    sources, events, worst = timeline.uncaught(MOST)
    report = replace(
        begun(rehearsed, seen, zone),
        stopped=sum(timeline.stopped.values()),
        caught=timeline.caught,
        alerts=trial.summary.alerts,
        bans=bans,
        scores=[(name, score) for name, score in sorted(timeline.scores.items()) if name],
        sources=[
            (host_network(key), one, _met(bans, host_network(key))) for key, one in watcher.sources(MOST)
        ],
        networks=[(network, one, _met(bans, network)) for network, one in watcher.networks(MOST)],
        accounts=[(account_name(one, names), one) for one in watcher.accounts(MOST)],
        never=(sources, events),
        worst=[(host_network(key), record) for key, record in worst],
        forgotten=watcher.forgotten,
        names_forgotten=watcher.names_forgotten,
        hurt=[ban for ban, found in verdicts if found == HURT],
        hidden=[ban for ban, found in verdicts if found == HIDDEN],
    )
    if seen.first is not None and seen.last is not None:
        step = step_of(seen.first, seen.last)
        report.edges = edges(seen.first, seen.last, zone, step)
        report.volumes = watcher.volumes(report.edges)
    return report


def _met(bans: Sequence[BanRecord], network: Network) -> int:
    """How many bans were of the network, or of some of it, or around it."""
    return sum(
        covers(ban.effect.ban.network, network) or covers(network, ban.effect.ban.network) for ban in bans
    )


def account_name(account: Account, full: bool) -> str:
    """The name as it may be shown: people type passwords where a name is asked, so one that nobody logged in
    with is shortened, `jo…@example.com`, unless the settings keep names."""
    if full or account.logins:
        return account.name
    local, at, domain = account.name.rpartition("@")
    if not at:
        local, domain = account.name, ""
    return f"{local[:2] if len(local) > 4 else local[:1]}…{at}{domain}"
