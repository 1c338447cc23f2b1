"""Is the guard still seeing? The heartbeat, and the *I am blind* warnings.

A guard that died unnoticed is what its owners fear. So silence of a log, lines that stop matching, a logger
that says it dropped lines, stamps that lag behind and many cut lines are each said once when they begin and
once when they end, as `Notice`s with `blind` set. What a feed notices itself (missing, unreadable, lost
bytes) it says itself.

Owns: what is normal for each log, learned over two weeks.
Never: asks the time; every call brings it (wall seconds).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .model import Block, Item, Notice, Records

HOUR, DAY, WEEK = 3600.0, 86400.0, 604800.0
PATIENCE = DAY  # a log that is not known for two days may be silent this long
SHORTEST = HOUR  # nothing shorter than this is silence
LONGEST = WEEK
TIMES = 3.0  # silence is this many times the longest pause that was seen
UNMATCHED_BYTES = 256 * 1024
UNMATCHED_TIME = HOUR
LAG = 60.0  # seconds that stamps may be behind the clock
LAG_FOR = 30.0  # ... and how long, until it is said
CUT_SHARE = 0.01
CUT_LEAST = 20
LOOK_EVERY = 15.0  # seconds between two looks at what needs no line

# Who says that lines were dropped, and how: rsyslog, journald, syslog-ng. Only their own lines count: before
# the program stand a stamp and a host name, nothing else, so the words in a user name change nothing.
_DROPPED = (b"rate-limiting", b"Suppressed ", b"Missed ", b"Number of dropped messages")
_DROPPED_LINE = re.compile(
    rb"(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} [ \d]\d [\d:.]{8,15}|\d{4}-\S{10,40}) \S{1,255} "
    rb"(?:rsyslogd|systemd-journald?|journal|syslog-ng)(?:\[\d{1,9}\])?: "
    rb"(?:imuxsock[^\n]{0,120}(?:begin to drop messages|lost \d+ messages)|"
    rb"Suppressed \d+ messages|Missed \d+ kernel messages|Number of dropped messages)"
)
_DROPPED_MESSAGE = re.compile(
    rb"imuxsock[^\n]{0,120}(?:begin to drop messages|lost \d+ messages)|Suppressed \d+ messages|Missed \d+ "
)
_LOGGERS = frozenset({b"rsyslogd", b"systemd-journald", b"systemd-journal", b"journal", b"syslog-ng"})


@dataclass(slots=True)
class _Log:
    """One log as health sees it."""

    since: float  # first seen, ever
    last: float  # last bytes, or the start of the guard
    pauses: list[float] = field(default_factory=lambda: [0.0, 0.0])  # longest pause this week and last week
    week: float = 0.0  # when this week began
    silent_after: float | None = None  # stated in the settings
    silent: bool = False
    looked: float = 0.0  # wall time of the last closer look
    bytes_unmatched: int = 0
    last_match: float = 0.0  # wall time when a rule last took a line
    matched: float = 0.0  # stamp of that line
    unmatched: bool = False
    late_since: float | None = None
    lag: float = 0.0
    lagging: bool = False

    def patience(self, now: float) -> float:
        if self.silent_after is not None:
            return self.silent_after
        if now - self.since < 2 * DAY:
            return PATIENCE
        return min(max(TIMES * max(self.pauses), SHORTEST), LONGEST)


class Health:
    """Fed with every batch; asked for what is to be said."""

    def __init__(self, now: float, *, heartbeat: float | None = None):
        """`heartbeat`: seconds between two signs of life; None: none."""
        self.started = now
        self.heartbeat = heartbeat
        self._beat_at = now + heartbeat if heartbeat else None
        self._look_at = now + LOOK_EVERY
        self._logs: dict[str, _Log] = {}
        self._silent_after: dict[str, float] = {}
        self._cut_base = (0, 0)
        self._cutting = False
        self._suppressed_at = -HOUR

    def expect(self, log: str, now: float, silent_after: float | None = None) -> None:
        """A log that is configured: its silence counts even if it never says a word."""
        known = self._logs.get(log)
        if known is None:
            self._logs[log] = known = _Log(since=now, last=now, week=now, last_match=now)
        known.silent_after = silent_after

    def beat_every(self, seconds: float | None, now: float) -> None:
        """From now on this long between two signs of life; None: none."""
        self.heartbeat = seconds
        self._beat_at = now + seconds if seconds else None

    # ------------------------------------------------------------ what comes in

    def saw(self, items: Iterable[Item], matched: Mapping[str, float], now: float) -> list[Notice]:
        """A batch was handled; `matched` is, for each log, the stamp of the last line a rule took.

        Called for every batch, so what can wait is looked at once a second for each log.
        """
        said: list[Notice] = []
        for item in items:
            if isinstance(item, Block):
                if not item.live:
                    continue
                data, start, end = item.data, item.start, item.end
                size = end - start
                if (
                    data.find(_DROPPED[0], start, end) >= 0
                    or data.find(_DROPPED[1], start, end) >= 0
                    or data.find(_DROPPED[2], start, end) >= 0
                    or data.find(_DROPPED[3], start, end) >= 0
                ):
                    self._suppressed(item, now, said)
            elif isinstance(item, Records):
                if not item.live:
                    continue
                size = sum([len(record.message) for record in item.records])
                for record in item.records:
                    program = record.program.rpartition(b"/")[2]
                    if program in _LOGGERS and _DROPPED_MESSAGE.match(record.message):
                        self._say_suppressed(item.log, record.message, now, said)
            else:
                continue
            log = self._logs.get(item.log)
            if log is None:
                self._logs[item.log] = log = _Log(since=now, last=now, week=now, last_match=now)
            log.bytes_unmatched += size
            if now - log.last >= 1.0 or now - log.looked >= 1.0 or log.silent:
                self._heard(item.log, log, now, said)
                self._read(item.log, log, matched.get(item.log, 0.0), now, said)
                log.looked = now
            log.last = now
        return said

    def _heard(self, name: str, log: _Log, now: float, said: list[Notice]) -> None:
        if now - log.week > WEEK:
            log.pauses = [0.0, log.pauses[0]]
            log.week = now
        pause = now - log.last
        if pause > log.pauses[0]:
            log.pauses[0] = pause
        if log.silent:
            log.silent = False
            said.append(Notice("log-speaks", {"log": name, "silent": pause}))

    def _read(self, name: str, log: _Log, matched: float, now: float, said: list[Notice]) -> None:
        if matched == log.matched:
            long = now - log.last_match >= UNMATCHED_TIME
            if log.bytes_unmatched >= UNMATCHED_BYTES and long and not log.unmatched:
                log.unmatched = True
                said.append(
                    Notice(
                        "nothing-matches",
                        {"log": name, "bytes": log.bytes_unmatched, "since": log.last_match},
                        blind=True,
                    )
                )
            return
        if log.unmatched:
            log.unmatched = False
            said.append(Notice("matches-again", {"log": name}))
        log.matched, log.last_match, log.bytes_unmatched = matched, now, 0
        log.lag = now - matched
        if log.lag < LAG:
            if log.lagging:
                said.append(Notice("lag-over", {"log": name}))
            log.lagging, log.late_since = False, None
        elif log.late_since is None:
            log.late_since = now
        elif now - log.late_since >= LAG_FOR and not log.lagging:
            log.lagging = True
            said.append(Notice("lag", {"log": name, "seconds": log.lag}, blind=True))

    def _suppressed(self, block: Block, now: float, said: list[Notice]) -> None:
        for line in bytes(block.data[block.start : block.end]).split(b"\n"):
            if any(word in line for word in _DROPPED) and _DROPPED_LINE.match(line):
                self._say_suppressed(block.log, line, now, said)

    def _say_suppressed(self, log: str, line: bytes, now: float, said: list[Notice]) -> None:
        if now - self._suppressed_at < HOUR:
            return  # once an hour is enough: it goes on
        self._suppressed_at = now
        said.append(
            Notice("suppressed", {"log": log, "line": line[:200].decode("utf-8", "replace")}, blind=True)
        )

    # ------------------------------------------------------------ what time brings

    def next_deadline(self) -> float:
        """When `tick` has something to look at."""
        return self._look_at if self._beat_at is None else min(self._look_at, self._beat_at)

    def tick(self, now: float, lines: int, cut: int) -> list[Notice]:
        """What the passing of time brings; `lines` and `cut` count all lines and the cut ones since the
        start."""
        said: list[Notice] = []
        if self._look_at - now > 2 * LOOK_EVERY:
            self._set_back(now)
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            for name, log in self._logs.items():
                silence = now - log.last
                if not log.silent and silence >= log.patience(now):
                    log.silent = True
                    arguments = {"log": name, "seconds": silence, "patience": log.patience(now)}
                    said.append(Notice("log-silent", arguments, blind=True))
            self._cuts(lines, cut, said)
        if self._beat_at is not None and now >= self._beat_at:
            assert self.heartbeat is not None
            self._beat_at = now + self.heartbeat
            said.append(
                Notice("heartbeat", {"up": now - self.started, "lines": lines, "blind": self.blind()})
            )
        return said

    def _set_back(self, now: float) -> None:
        """The clock was set back: what lies ahead of it counts from now."""
        self._look_at = now
        self._suppressed_at = min(self._suppressed_at, now)
        if self.heartbeat and self._beat_at is not None:
            self._beat_at = min(self._beat_at, now + self.heartbeat)
        for log in self._logs.values():
            log.since, log.week = min(log.since, now), min(log.week, now)
            log.last, log.looked = min(log.last, now), min(log.looked, now)
            log.last_match = min(log.last_match, now)
            if log.late_since is not None:
                log.late_since = min(log.late_since, now)

    def _cuts(self, lines: int, cut: int, said: list[Notice]) -> None:
        lines_before, cut_before = self._cut_base
        seen, cuts = lines - lines_before, cut - cut_before
        if seen < 1000 and cuts < CUT_LEAST:
            return
        many = cuts >= CUT_LEAST and cuts >= CUT_SHARE * seen
        if many and not self._cutting:
            said.append(Notice("lines-cut", {"cut": cuts, "lines": seen}, blind=True))
        self._cutting = many
        self._cut_base = (lines, cut)

    # ------------------------------------------------------------ what is known

    def blind(self) -> list[str]:
        """What the guard may be blind to right now, one id with its log each; empty: it sees."""
        found = []
        for name, log in self._logs.items():
            for bad, word in (
                (log.silent, "log-silent"),
                (log.unmatched, "nothing-matches"),
                (log.lagging, "lag"),
            ):
                if bad:
                    found.append(f"{word} {name}")
        return found + (["lines-cut"] if self._cutting else [])

    def status(self, now: float) -> dict[str, dict[str, Any]]:
        """For each log: seconds since it spoke, how long it may be silent, seconds it lags, whether rules
        match."""
        return {
            name: {
                "silent_for": now - log.last,
                "patience": log.patience(now),
                "lag": log.lag,
                "silent": log.silent,
                "lagging": log.lagging,
                "unmatched": log.unmatched,
            }
            for name, log in self._logs.items()
        }

    def save(self) -> str:
        """What was learned, to be given to `load` after a restart."""
        return json.dumps({name: [log.since, log.pauses, log.week] for name, log in self._logs.items()})

    def load(self, text: str, now: float) -> None:
        """Take up what was learned before; the time without a guard is no silence."""
        for name, (since, pauses, week) in json.loads(text).items():
            self._logs[name] = _Log(since=since, last=now, pauses=list(pauses), week=week, last_match=now)

    def forget_others(self, names: Iterable[str]) -> None:
        """Only these logs are still read."""
        keep = set(names)
        self._logs = {name: log for name, log in self._logs.items() if name in keep}
