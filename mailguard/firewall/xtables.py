"""The chain in the `raw` table of iptables and ip6tables that asks the ipsets: made once, then only looked
at.

Two ways to write it: python-iptables on legacy tables where it is installed, else the host's own commands.
Both leave the same chain: what comes over loopback and from the allowed set returns, what is in a set of a
scope and goes to the scope's ports is dropped, before connection tracking.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mailguard.firewall import tools
from mailguard.firewall.interface import SCOPES, FirewallError


class Rule(NamedTuple):
    """One rule of the chain: what must match, and where it goes."""

    target: str
    match_set: str = ""
    ports: tuple[int, ...] = ()
    interface: str = ""

    def arguments(self) -> list[str]:
        """As iptables takes it."""
        words = ["-i", self.interface] if self.interface else []
        if self.ports:
            words += ["-p", "tcp", "-m", "multiport", "--dports", ",".join(map(str, self.ports))]
        if self.match_set:
            words += ["-m", "set", "--match-set", self.match_set, "src"]
        return [*words, "-j", self.target]


def rules(prefix: str, ports: Mapping[str, Sequence[int]], family: str) -> list[Rule]:
    """The chain's rules for family "4" or "6". A multiport match takes 15 ports."""
    made = [Rule("RETURN", interface="lo"), Rule("RETURN", f"{prefix}-allowed{family}")]
    for scope in reversed(SCOPES):  # "all" first: it is the widest
        numbers = tuple(ports.get(scope, ()))
        for kind in ("host", "net"):
            name = f"{prefix}-{scope}-{kind}{family}"
            if scope == "all":
                made.append(Rule("DROP", name))
            made += [Rule("DROP", name, numbers[at : at + 15]) for at in range(0, len(numbers), 15)]
    return made


class Writer(Protocol):
    """One family's `raw` table."""

    def make(self, chain: str, made: Sequence[Rule]) -> None:
        """The chain with these rules, hooked first in PREROUTING. Raises FirewallError."""

    def remove(self, chain: str) -> None:
        """Unhook and delete the chain; one that is not there is no error."""

    def listed(self, chain: str) -> str:
        """What stands of it, as text to compare; "" when it is not hooked."""


class Commands:
    """By the host's iptables or ip6tables, which knows its own backend."""

    def __init__(self, program: str):
        self._program = program

    def _run(self, *arguments: str, given: str = "") -> str:
        return tools.run([self._program, "-w", "5", "-t", "raw", *arguments], given)

    def make(self, chain: str, made: Sequence[Rule]) -> None:
        lines = ["*raw", f":{chain} - [0:0]"]
        lines += [f"-A {chain} {' '.join(rule.arguments())}" for rule in made]
        # With --noflush a chain that is named is emptied and filled in one step, the others stay.
        tools.run([f"{self._program}-restore", "-w", "5", "--noflush"], "\n".join([*lines, "COMMIT", ""]))
        try:
            self._run("-C", "PREROUTING", "-j", chain)
        except FirewallError:
            self._run("-I", "PREROUTING", "1", "-j", chain)

    def remove(self, chain: str) -> None:
        for arguments in (("-D", "PREROUTING", "-j", chain), ("-F", chain), ("-X", chain)):
            with contextlib.suppress(FirewallError):
                self._run(*arguments)

    def listed(self, chain: str) -> str:
        try:
            self._run("-C", "PREROUTING", "-j", chain)
            return self._run("-S", chain)
        except FirewallError:
            return ""


class Legacy:
    """By python-iptables (the extra `legacy`), which reaches legacy tables only."""

    def __init__(self, family: str):
        try:
            import iptc
        except Exception as error:  # it loads libraries of iptables at import, and fails in many ways
            raise FirewallError(f"python-iptables cannot be used: {error}") from error
        self._iptc: Any = iptc
        self._kind = iptc.Table6 if family == "6" else iptc.Table
        self._rule = iptc.Rule6 if family == "6" else iptc.Rule

    def _table(self) -> Any:
        table = self._kind(self._kind.RAW)
        table.refresh()
        return table

    def _built(self, rule: Rule) -> Any:
        built = self._rule()
        if rule.interface:
            built.in_interface = rule.interface
        if rule.ports:
            built.protocol = "tcp"
            match = built.create_match("multiport")
            match.dports = ",".join(map(str, rule.ports))
        if rule.match_set:
            match = built.create_match("set")
            match.match_set = [rule.match_set, "src"]
        built.create_target(rule.target)
        return built

    def make(self, chain: str, made: Sequence[Rule]) -> None:
        try:
            table = self._table()
            table.autocommit = False
            try:
                ours = self._iptc.Chain(table, chain)
                if table.is_chain(chain):
                    ours.flush()
                else:
                    table.create_chain(chain)
                for rule in made:
                    ours.append_rule(self._built(rule))
                first = self._iptc.Chain(table, "PREROUTING")
                if not any(rule.target.name == chain for rule in first.rules):
                    first.insert_rule(self._built(Rule(chain)))
                table.commit()
            finally:
                table.autocommit = True
        except (self._iptc.IPTCError, OSError, ValueError, AttributeError) as error:
            raise FirewallError(f"python-iptables: {error}") from error

    def remove(self, chain: str) -> None:
        try:
            table = self._table()
            if not table.is_chain(chain):
                return
            first = self._iptc.Chain(table, "PREROUTING")
            for rule in first.rules:
                if rule.target.name == chain:
                    first.delete_rule(rule)
            self._iptc.Chain(table, chain).flush()
            table.delete_chain(chain)
        except (self._iptc.IPTCError, OSError) as error:
            raise FirewallError(f"python-iptables: {error}") from error

    def listed(self, chain: str) -> str:
        try:
            table = self._table()
            first = self._iptc.Chain(table, "PREROUTING")
            if not table.is_chain(chain) or not any(rule.target.name == chain for rule in first.rules):
                return ""
            easy = self._iptc.easy.dump_chain(table.name, chain, ipv6=self._kind is self._iptc.Table6)
            for rule in easy:
                rule.pop("counters", None)
            return repr(easy)
        except (self._iptc.IPTCError, OSError) as error:
            raise FirewallError(f"python-iptables: {error}") from error


def is_legacy(program: str = "iptables") -> bool:
    """Whether the host's iptables writes legacy tables. Raises FirewallError when there is none."""
    return "nf_tables" not in tools.run([program, "--version"])


def writers(program: str = "iptables") -> dict[str, Writer]:
    """One writer for each family, the right sort for this host. Raises FirewallError without iptables."""
    other = program.replace("iptables", "ip6tables", 1)
    made: dict[str, Writer] = {"4": Commands(program), "6": Commands(other)}
    if program == "iptables" and is_legacy(program):
        with contextlib.suppress(FirewallError):
            made = {"4": Legacy("4"), "6": Legacy("6")}
    if not os.path.exists("/proc/net/if_inet6"):
        del made["6"]  # a kernel without IPv6 has no table for it, and nobody comes that way
    return made
