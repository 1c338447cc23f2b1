"""From an action definition to a driver, and what a definition would do."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mailguard.clock import Clock, ManualClock
from mailguard.definitions.actions import Action
from mailguard.firewall.driver import Driver
from mailguard.model import Effect
from mailguard.notation import parse_duration
from mailguard.problems import Problem


def build(
    action: Action, clock: Clock | None = None, ports: Mapping[str, Sequence[int]] | None = None
) -> Driver:
    """The driver of an action, not yet opened. Each driver's module is loaded only when it is wanted."""
    options: dict[str, Any] = dict(action.options)
    close_sockets = options.pop("close_sockets", None)
    driver: Driver
    if action.driver == "nftables":
        from mailguard.firewall.nftables import Nftables

        driver = Nftables(clock, ports, **options)
    elif action.driver == "ipset":
        from mailguard.firewall.ipset import Ipset

        driver = Ipset(clock, ports, **options)
    elif action.driver == "command":
        from mailguard.firewall.command import Command

        if "timeout" in options:
            options["timeout"] = parse_duration(options["timeout"])
        driver = Command(clock=clock, ports=ports, **options)
    elif action.driver == "epost":
        from mailguard.definitions.eposttables import arguments
        from mailguard.firewall.epost import Epost

        driver = Epost(clock=clock, ports=ports, **arguments(options))
    elif action.driver == "synology":
        from mailguard.firewall.synology import Synology

        if "timeout" in options:
            options["timeout"] = parse_duration(options["timeout"])
        driver = Synology(clock=clock, ports=ports, **options)
    elif action.driver == "dry-run":
        from mailguard.firewall.recording import DryRun

        driver = DryRun(_say, clock, ports)
    else:
        from mailguard.firewall.recording import Recording

        driver = Recording(clock, ports)
    if close_sockets is not None:
        driver.close_sockets = close_sockets
    return driver


def _say(line: str) -> None:
    print(f"mailguard: would {line}", file=sys.stderr, flush=True)


def plan(action: Action, effects: Iterable[Effect], now: float = 0.0) -> list[str]:
    """The operations, as text, that an action would do for effects, with nothing banned before."""
    return build(action, ManualClock(now)).plan_effects(effects, now)


def self_test(action: Action) -> list[Problem]:
    """The problems that the samples of a definition show."""
    problems = []
    for sample in action.samples:
        planned = plan(action, sample.effects)
        if planned != list(sample.expect):
            problems.append(
                Problem(
                    sample.where,
                    f"action {action.name}: the sample plans something else",
                    "planned: " + "\n".join(planned or ["nothing"]),
                    "expect = [" + ", ".join(repr(line) for line in planned) + "]",
                )
            )
    return problems
