"""What every way to ban promises, and the words its callers use.

A firewall is told what must be blocked; it answers only when the ban stands, or raises `FirewallError`, after
which nothing of that call counts as done. Every call may be repeated without harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mailguard.model import Ban, Network, Notice

#: What a ban concerns. The order is that of the wire format: append only.
SCOPES: tuple[str, ...] = ("auth", "mail", "all")

#: TCP destination ports of each scope; "all" is every protocol and port.
PORTS: dict[str, tuple[int, ...]] = {
    "auth": (110, 143, 465, 587, 993, 995, 4190),
    "mail": (25, 110, 143, 465, 587, 993, 995, 2525, 4190),
}

#: One transaction of the kernel never carries more elements than this: its cost grows with the square of it.
MOST_AT_ONCE = 50_000


class Standing(NamedTuple):
    """A ban as the firewall has it: when it ends (seconds since 1970, None: never) and what still knocks."""

    expires: float | None
    packets: int = 0
    bytes: int = 0


class FirewallError(Exception):
    """The firewall did not do it: `str()` is the reason in plain words. The ban stays due.

    `lost`: the firewall itself has gone (the enforcer ended, the table cannot be made): call `open` again.
    `later`: what hinders it goes away by itself (a share that is not mounted yet): nobody need give up.
    """

    def __init__(self, reason: str, lost: bool = False, later: bool = False):
        super().__init__(reason)
        self.lost = lost
        self.later = later


class Firewall(Protocol):
    """See the module. Times are seconds since 1970; `now` is the caller's clock."""

    def open(self, bans: Iterable[Ban], now: float) -> None:
        """Make ready and put `bans` in. What stands already beside them is adopted until it ends."""

    def impose(self, bans: Sequence[Ban], now: float) -> None:
        """Block from now until each ban's end; on return it holds. A ban that is over is left out."""

    def lift(self, networks: Sequence[tuple[Network, str]]) -> None:
        """End bans early, by network and scope. What is not there is no error."""

    def allow(self, networks: Sequence[Network]) -> None:
        """Replace the contents of the allowed set: these pass even from inside a banned network."""

    def banned(self) -> dict[tuple[Network, str], Standing]:
        """What is blocked, as asked from the system itself. Reads every element: not for the hot path."""

    def pause(self, until: float | None) -> None:
        """Repair nothing before `until` (seconds since 1970); None: repair again from now on."""

    def panic(self) -> None:
        """Lift everything and repair nothing until the next `open`."""

    def close(self, keep: bool) -> None:
        """End. `keep`: bans stand until their own ends; otherwise everything of ours is removed."""

    def fileno(self) -> int | None:
        """Readable when `notices` has something; None: never."""

    def notices(self) -> list[Notice]:
        """What happened since the last call: `firewall-repaired`, `firewall-lost`."""


def ports_of(ports: Mapping[str, Sequence[int]] | None) -> dict[str, tuple[int, ...]]:
    """The ports of the scopes "auth" and "mail", defaults filled in; `mail` always contains `auth`."""
    auth = tuple(sorted(set((ports or {}).get("auth") or PORTS["auth"])))
    mail = tuple(sorted({*((ports or {}).get("mail") or PORTS["mail"]), *auth}))
    return {"auth": auth, "mail": mail}
