"""The options of the commands that read recorded logs, and what follows from them: which lines are read, how,
by whom, and which of their events count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .arguments import moment as moment_of
from .arguments import zone as zone_name
from .completing import detectors as detector_names
from .completing import files
from .config import config_option
from .definitions import parser_option
from .messages import text
from .output import safe

if TYPE_CHECKING:
    from mailguard.core.engine import Engine
    from mailguard.core.rules import Parser
    from mailguard.feeds.interface import LogOptions
    from mailguard.replay.rehearsal import Rehearsal
    from mailguard.replay.workers import Executor

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _all(*options: Decorator) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_CLUSTER = "mailguard.dask"  # where a command keeps the address


def _remember_cluster(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """The address of a cluster; every command that reads logs hands it to `rehearsal`."""
    context.meta[_CLUSTER] = value


_OPTIONS: tuple[Decorator, ...] = (
    parser_option,
    click.option(
        "--year",
        type=click.IntRange(1970, 9999),
        metavar="YEAR",
        help="The year of the first line's stamp.",
    ),
    click.option(
        "--timezone", type=zone_name, default="", help="The zone of the host that wrote the stamps."
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 256),
        metavar="N",
        help="Processes that read lines. Default: one for each core.",
    ),
    click.option(
        "--dask",
        metavar="ADDRESS",
        expose_value=False,
        callback=_remember_cluster,
        help="Let a Dask cluster read lines, by its scheduler's address, such as tcp://192.0.2.5:8786.",
    ),
    click.option("--from", "since", type=moment_of, metavar="TIME", help="Judge only events from then on."),
    click.option("--until", type=moment_of, metavar="TIME", help="Judge only events before then."),
)


class Recorded(NamedTuple):
    """What was asked for. `since`, `until`: only events from the one stamp up to the other count."""

    parsers: tuple[str, ...]
    year: int | None
    timezone: str
    workers: int | None
    since: float | None
    until: float | None

    @property
    def options(self) -> LogOptions:
        from mailguard.feeds.interface import LogOptions

        return LogOptions(year=self.year, timezone=self.timezone, parsers=self.parsers)

    def load(self) -> list[Parser]:
        """The parsers. Raises ProblemsError."""
        from mailguard.definitions.parsers import load_parsers

        return load_parsers(self.parsers or None)

    def counts(self, time: float) -> bool:
        """Is it within the part that was asked for?"""
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)

    def rehearsal(
        self,
        paths: tuple[str, ...],
        parsers: Sequence[Parser],
        makers: Sequence[Callable[[], Engine]] = (),
        **more: Any,
    ) -> Rehearsal:
        """A rehearsal on the logs that `paths` name. Raises OSError where one that was named cannot be
        read."""
        from mailguard.replay.cutting import years_of
        from mailguard.replay.rehearsal import Rehearsal
        from mailguard.replay.sources import STDIN, find

        options = self.options
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise click.UsageError(text("replay.order", since="--from", until="--until"))
        found = find(paths, options)
        for at, source in enumerate(found.sources):
            if (
                source.form == STDIN
                and source.year is None
                and (year := years_of(source.path, options)) is not None
            ):
                found.sources[at] = source._replace(year=year)  # it cannot be begun anew
                found.say("log-years", source.path, year=year)
        executor = cluster_of(parsers) if found.sources else None
        return Rehearsal(
            found.sources,
            parsers,
            makers,
            options,
            workers=self.workers,
            since=self.since,
            until=self.until,
            told=found.notices,
            executor=executor,
            **more,
        )


def recorded_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command these options; it gets them together, as `recorded`."""

    @wraps(function)
    def command(**given: Any) -> Any:
        taken = {name: given.pop(name) for name in Recorded._fields}
        return function(recorded=Recorded(**taken), **given)

    return _all(*_OPTIONS)(command)


#: By which policy.
settings_options = _all(
    config_option,
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change one setting, such as detector.password-guessing.count=3.",
    ),
)
#: And with which detectors.
policy_options = _all(
    settings_options,
    click.option(
        "--only",
        multiple=True,
        metavar="DETECTOR",
        shell_complete=detector_names,
        help="Try only this detector.",
    ),
)
ledger_option = click.option(
    "--ledger",
    metavar="PATH",
    shell_complete=files,
    help="The ledger that knows when somebody was shut out for real.",
)


def cluster_of(parsers: Sequence[Parser]) -> Executor | None:
    """The cluster that `--dask` names, until the command ends; None: this host reads alone.

    Raises ClusterError, and ImportError where Dask is not installed."""
    context = click.get_current_context(silent=True)
    address = context.meta.get(_CLUSTER) if context is not None else None
    if context is None or address is None:
        return None
    from mailguard.replay.cluster import Cluster

    def lost(where: str) -> None:
        click.echo(f"mailguard: {safe(text('cluster.lost', address=where))}", err=True)

    cluster = Cluster(address, parsers, tell=lost)
    context.call_on_close(cluster.close)
    return cluster
