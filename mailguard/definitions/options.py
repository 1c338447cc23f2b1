"""The settings as values: what `settings` reads and everybody else uses.

Durations are seconds. `mailguard/defaults.toml` says what each key means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..core.detectors import Detector
from ..core.engine import Setup
from ..core.growth import Rules as GrowthRules
from ..core.policy import Rules
from ..model import Network
from ..notation import parse_network

#: Networks for private use and this host itself; the text says which.
PRIVATE: tuple[tuple[str, str], ...] = (
    ("10.0.0.0/8", "private use (RFC 1918)"),
    ("172.16.0.0/12", "private use (RFC 1918)"),
    ("192.168.0.0/16", "private use (RFC 1918)"),
    ("100.64.0.0/10", "shared address space of a provider (RFC 6598)"),
    ("169.254.0.0/16", "link-local"),
    ("fc00::/7", "private use (RFC 4193)"),
    ("fe80::/10", "link-local"),
)
#: Where a /64 is not one customer's: a ban of it would keep strangers out.
SHARED: tuple[tuple[str, str], ...] = (
    ("64:ff9b::/96", "NAT64: all of IPv4 in one /64 (RFC 6052)"),
    ("64:ff9b:1::/48", "NAT64 (RFC 8215)"),
    ("2001::/32", "Teredo: all clients of a server in one /64 (RFC 4380)"),
)
LOOPBACK: tuple[tuple[str, str], ...] = (
    ("127.0.0.0/8", "this host"),
    ("::1", "this host"),
    ("0.0.0.0/8", "this host"),
)


class General(NamedTuple):
    """`[general]`. Durations in seconds."""

    mode: str
    state: Path
    socket: Path
    evidence: str
    retention: float
    heartbeat: float  # 0: none
    language: str


class Log(NamedTuple):
    """One `[log.NAME]`."""

    name: str
    kind: str
    path: tuple[str, ...] = ()
    parsers: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    timezone: str = ""
    year: int | None = None
    trust: str = "ban"
    silent_after: float = 0.0  # 0: learn what is normal
    start: str = "end"
    listen: tuple[str, ...] = ()  # syslog: where
    senders: tuple[Network, ...] = ()  # syslog: from whom

    @property
    def may_ban(self) -> bool:
        return self.trust == "ban"


class Never(NamedTuple):
    """`[never]`. `networks` are the configured ones; `listed` adds loopback and private use."""

    own: bool
    private: bool
    networks: tuple[tuple[Network, str], ...]

    def listed(self) -> tuple[tuple[Network, str], ...]:
        """What the settings say is never banned; own addresses and gateways, found at run time, come on
        top.
        """
        fixed = LOOPBACK + SHARED + (PRIVATE if self.private else ())
        told = [(network, reason) for text, reason in fixed if (network := parse_network(text)) is not None]
        return (*told, *self.networks)


class Firewall(NamedTuple):
    """`[firewall]`. `ports` by scope; the scope "mail" blocks its own and those of "auth"."""

    action: str
    ports: dict[str, tuple[int, ...]]


class Policy(NamedTuple):
    """`[policy]`."""

    rules: Rules
    max_keys: int
    max_standing: int


class Alerts(NamedTuple):
    """`[alerts]`. `command`: program and arguments; empty: none."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """`[growth]`. `spools`: folders of mail servers; "auto": those of this host."""

    enabled: bool = True
    rules: GrowthRules = field(default_factory=GrowthRules)
    spools: tuple[str, ...] = ("auto",)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked."""

    path: Path | None  # the administrator's file; None: defaults only
    general: General
    logs: tuple[Log, ...]
    never: Never
    firewall: Firewall
    policy: Policy
    alerts: Alerts
    detectors: tuple[Detector, ...]
    growth: Growth = field(default_factory=Growth)

    def setup(
        self,
        *,
        secret: bytes = b"mailguard",
        never: Sequence[tuple[Network, str]] = (),
        track: bool = False,
        guessed: Iterable[str] = (),
    ) -> Setup:
        """What an engine is made of. `never`: own addresses and the like, found at run time."""
        return Setup(
            self.detectors,
            self.policy.rules,
            (*self.never.listed(), *never),
            self.policy.max_keys,
            self.policy.max_standing,
            secret,
            track,
            frozenset(guessed),
        )
