"""From an action definition to a driver, and what a definition would do."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mailguard.clock import Clock, ManualClock
from mailguard.definitions.actions import Action, find_action
from mailguard.firewall.driver import Driver
from mailguard.firewall.interface import FirewallError
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
    elif action.driver == "several":
        from mailguard.firewall.several import Several

        driver = Several([build(part, clock, ports) for part in parts_of(action)], clock, ports)
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


def parts_of(action: Action) -> list[Action]:
    """The actions that an action of the driver `several` stands for. Raises FirewallError."""
    parts = []
    for name in action.options["actions"]:
        etc = Path(action.path).parent.parent if action.path else None
        part = find_action(name, etc) or find_action(name)
        if part is None or part.driver in ("several", "recording", "dry-run"):
            why = "there is no such action" if part is None else f"it is of the driver {part.driver}"
            raise FirewallError(f"action {action.name}: {name!r} cannot be a part: {why}")
        parts.append(part)
    return parts


def _say(line: str) -> None:
    print(f"mailguard: would {line}", file=sys.stderr, flush=True)


def plan(action: Action, effects: Iterable[Effect], now: float = 0.0) -> list[str]:
    """The operations, as text, that an action would do for effects, with nothing banned before."""
    return build(action, ManualClock(now)).plan_effects(effects, now)


def self_test(action: Action) -> list[Problem]:
    """The problems that the samples of a definition show."""
    problems = []
    for sample in action.samples:
        try:
            planned = plan(action, sample.effects)
        except FirewallError as error:
            return [Problem(sample.where, str(error))]
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
