"""Whom a ban would have hurt, as an id with arguments; whoever shows it finds the words."""

from __future__ import annotations

from typing import Any, NamedTuple

from .known import Closely, Tally, named
from .timeline import BanRecord

#: Nobody known was hurt.
NOBODY = "nobody"
#: Accepted mail or logins came from there while the ban would have stood.
HURT = "hurt"
#: Nothing came while it would have stood, but the network was shut out for real in some of that time.
HIDDEN = "hidden"


class Verdict(NamedTuple):
    """`id` is one of the above; `seconds` how long the ban lasts, None: for ever."""

    id: str
    accounts: int = 0
    users: tuple[str, ...] = ()
    messages: int = 0
    customers: tuple[str, ...] = ()
    more: int = 0  # customers that are not named
    seconds: float | None = 0.0
    hidden: float = 0.0
    locked_out: int = 0

    def row(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "id": self.id,
            "accounts": self.accounts,
            "messages": self.messages,
            "customers": [*self.customers],
            "more": self.more,
            "hidden_seconds": round(self.hidden),
            "locked_out": self.locked_out,
        }


def verdict(ban: BanRecord) -> Verdict:
    """The verdict on one ban of a replay."""
    until, since = ban.effect.ban.until, ban.effect.time
    seconds = None if until is None else max(0.0, ban.until - since)
    return judge(ban.during, seconds, ban.hidden, ban.locked_out)


def judge(tally: Closely, seconds: float | None, hidden: float, locked_out: int) -> Verdict:
    """The verdict on what came from a network while a ban stood."""
    domains = named(tally.domains)
    named_ones = len([name for name in tally.domains if name])
    return Verdict(
        HURT if tally else HIDDEN if hidden or locked_out else NOBODY,
        tally.accounts,
        tuple(named(tally.users)),
        tally.messages,
        tuple(domains),
        named_ones - len(domains),
        seconds,
        hidden,
        locked_out,
    )


__all__ = ["HIDDEN", "HURT", "NOBODY", "Tally", "Verdict", "judge", "verdict"]
