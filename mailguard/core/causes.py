"""Who was busy just now, log by log: the sources and accounts behind most events, against a while before.

Owns: counts of the last four spans of time, half a window each.
Never: keeps a name that may be a mistyped password: of failed logins only names that exist here are counted.
Limits: `MOST` sources and accounts of a log in one span. When there are more, the least busy half is
forgotten; who causes a fair share of the events is never among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ..model import Event

Who = TypeVar("Who", int, str)

MOST = 1024
SPANS = 4  # the last two are now, the two before are what now is compared with
LONGEST = 64  # characters of an account that are shown
_MAIL = frozenset({"mail_accepted", "mail_sent", "mail_bounced", "mail_deferred"})

Counts = dict[str, dict[int | str, int]]  # log -> who -> events


class Causes:
    """Fed with every event, asked when something grew."""

    def __init__(self, window: float, exists: Callable[[str], bool], name_of: Callable[[str], str]):
        """`window`: seconds that count as now. `exists`: is this a login name of somebody here? `name_of`:
        under which name a log is known."""
        self._span = window / 2
        self._exists = exists
        self._name_of = name_of
        self._spans: list[Counts] = [{} for _ in range(SPANS)]
        self._turn = float("-inf")

    def saw(self, events: Iterable[Event], times: int = 1) -> None:
        """Count these events; each stands for `times`."""
        turn, exists = self._turn, self._exists
        last: str | None = None
        counts: dict[int | str, int] = {}
        for kind, time, source, _, weight, fields, log, *_ in events:
            if time >= turn:
                self._turn_over(time)
                turn, last = self._turn, None
            if log != last:
                last, name = log, self._name_of(log)
                counts = self._spans[-1].setdefault(name, {})
            weight *= times
            if source is not None:
                counts[source] = counts.get(source, 0) + weight
            if account := fields.get("user"):
                if kind != "auth_success" and not exists(account):
                    account = ""
            elif kind in _MAIL:
                account = fields.get("sender")
            if account:
                account = account[:LONGEST]
                counts[account] = counts.get(account, 0) + weight
            if len(counts) > 2 * MOST:
                _forget(counts)

    def restart(self) -> None:
        """Forget who was busy: the clock was set back."""
        self._spans = [{} for _ in range(SPANS)]
        self._turn = float("-inf")

    def _turn_over(self, time: float) -> None:
        passed = SPANS if self._turn == float("-inf") else int((time - self._turn) // self._span) + 1
        for _ in range(min(passed, SPANS)):
            del self._spans[0]
            self._spans.append({})
        self._turn = (time // self._span + 1) * self._span

    def top(self, log: str | None, count: int = 3) -> tuple[list[tuple[int, int]], list[tuple[str, int]]]:
        """The sources and accounts that grew most in a log (None: in all), with how many events more."""
        more: dict[int | str, int] = {}
        for place, counts in enumerate(self._spans):
            sign = 1 if place >= SPANS // 2 else -1
            for name, found in counts.items():
                if log is None or name == log:
                    for who, number in found.items():
                        more[who] = more.get(who, 0) + sign * number
        sources = _busiest(((who, n) for who, n in more.items() if isinstance(who, int)), count)
        accounts = _busiest(((who, n) for who, n in more.items() if isinstance(who, str)), count)
        return sources, [(_printable(name), number) for name, number in accounts]


def _busiest(found: Iterable[tuple[Who, int]], count: int) -> list[tuple[Who, int]]:
    """Of those with a tenth of the greatest number at least, the first; a fixed order among equals."""
    grown = sorted(((who, number) for who, number in found if number > 0), key=lambda one: (-one[1], one[0]))
    return [one for one in grown[:count] if one[1] * 10 >= grown[0][1]]


def _forget(counts: dict[int | str, int]) -> None:
    """Only the `MOST` busiest stay; of equals, who came last. (Not all are sorted: that would hold lines up
    that decide.)"""
    least = sorted(counts.values(), reverse=True)[MOST - 1]
    numbers = list(counts.values())
    over = numbers.count(least) - (MOST - sum([number > least for number in numbers]))
    kept: dict[int | str, int] = {}
    for who, number in counts.items():
        if number > least:
            kept[who] = number
        elif number == least:
            if over > 0:
                over -= 1
            else:
                kept[who] = number
    counts.clear()
    counts.update(kept)


def _printable(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name)
