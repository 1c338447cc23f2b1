"""One syslog message that came over the net, as a record or as a line of a log of its own.

RFC 3164 and RFC 5424, and what senders make of them: without a header, without a stamp, with NUL or line ends
behind. The header is opened by the same code that opens the lines of files (`core.envelope`).

The text of an E-Post log inside a message (a Windows host that forwards its log files) is known by the
program, which is the name of the log, or by its own stamp in brackets: it is handed on as a line of a log
named after sender and program, so that its own parsers read it.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from typing import NamedTuple

from mailguard.core.envelope import Opener
from mailguard.feeds.interface import EPOST_LOGS
from mailguard.feeds.lines import LIMIT
from mailguard.feeds.syslogclock import SenderClock
from mailguard.model import Notice, Record

_MOST = 1024  # senders, and machines behind them, whose clocks are known
_MOST_REPEATED = 20  # enough for every threshold, too few to fill memory by one message
_PRI = re.compile(rb"(?:<\d{1,3}>)?")
_BARE = re.compile(rb"([\w./-]{1,64})(?:\[(\d{1,10})\])?: ")
_EPOST = re.compile(rb"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\]")
_EPOST_LOGS = {name.encode(): name for name in EPOST_LOGS}
_ODD = re.compile(r"[^\w.-]")  # in the name that a machine gives itself
_NAME = re.compile(rb"[A-Za-z0-9_-]{1,32}\Z")
_ENDS = b"\0\r\n"


class Line(NamedTuple):
    """A line of a log that came inside messages: `log` is the name of that log's program."""

    log: str
    data: bytes
    cut: bool


class Messages:
    """Opens the messages of all senders of one log."""

    def __init__(self, log: str, zone: str = "", year: int | None = None, saved: bytes = b""):
        self._log = log
        self._zone = zone
        self._year = year
        self._openers: OrderedDict[str, Opener] = OrderedDict()
        self._clocks: OrderedDict[str, SenderClock] = OrderedDict()
        self._position = 0
        self.unopened = 0  # messages in which no program stands
        self.repeat = 1  # how many messages the one opened last stands for: "message repeated N times: [...]"
        for machine, offset in _offsets(saved).items():
            self._clocks[machine] = SenderClock(offset)

    def open(
        self, data: bytes, sender: str, arrival: float, cut: bool, said: list[Notice]
    ) -> Record | Line | None:
        """The record of a message from `sender` (an address); None where no program can be found in it.

        `said` takes what is to be said about the sender's clock.
        """
        if len(data) > LIMIT:
            data, cut = data[:LIMIT], True
        data = data.strip(_ENDS)
        if not data:
            return None
        self.repeat = 1
        opener = self._opener(sender, arrival)
        opened = opener.open(data, 0, len(data))
        if opened is None:
            start = _PRI.match(data).end()  # type: ignore[union-attr]
            if _EPOST.match(data, start):
                return Line("", data[start:], cut)
            bare = _BARE.match(data, start)
            if bare is None:
                self.unopened += 1
                return None
            host, program, pid = b"", bare.group(1), int(bare.group(2) or 0)
            time, message = arrival, data[bare.end() :]
            if program.lower() in _EPOST_LOGS or _EPOST.match(message):
                return _line(program, message, cut)
        else:
            host, program, pid = opened.host, opened.program, opened.pid
            message = data[opened.start : opened.end]
            self.repeat = min(opened.repeat, _MOST_REPEATED)
            if program.lower() in _EPOST_LOGS or _EPOST.match(message):
                return _line(program, message, cut)
            machine = f"{sender}/{_ODD.sub('?', host[:64].decode('ascii', 'replace'))}"
            time = self._settled(machine, opened.time, arrival, said)
        self._position = max(self._position + 1, int(arrival * 1e6))
        place = sender.encode() + b"/" + host
        return Record(time, place, program, pid, message, self._position, cut)

    def _opener(self, sender: str, arrival: float) -> Opener:
        opener = self._openers.get(sender)
        if opener is None:
            if len(self._openers) >= _MOST:
                self._openers.popitem(last=False)
            opener = self._openers[sender] = Opener(("syslog",), self._zone)
        else:
            self._openers.move_to_end(sender)
        opener.arrive(arrival, True, self._year)
        opener.stamps.limit = float("inf")  # how far ahead a stamp is is what the clock asks
        return opener

    def _settled(self, machine: str, stamp: float, arrival: float, said: list[Notice]) -> float:
        clock = self._clocks.get(machine)
        if clock is None:
            if len(self._clocks) >= _MOST:
                self._clocks.popitem(last=False)
            clock = self._clocks[machine] = SenderClock()
        else:
            self._clocks.move_to_end(machine)
        time, news = clock.settle(stamp, arrival)
        if news:
            what = "syslog-clock" if clock.offset else "syslog-clock-right"
            way = "behind" if clock.offset > 0 else "ahead"
            args = {"log": self._log, "sender": machine, "seconds": abs(clock.offset), "way": way}
            said.append(Notice(what, args))
        return time

    def save(self) -> bytes:
        """The clocks that are known to be wrong, for the checkpoint."""
        wrong = {machine: round(clock.offset, 3) for machine, clock in self._clocks.items() if clock.offset}
        return json.dumps({"v": 1, "clocks": wrong}, separators=(",", ":")).encode() if wrong else b""


def _line(program: bytes, message: bytes, cut: bool) -> Line:
    """A line of the log that the program is named after; E-Post's own names are written as E-Post does."""
    known = _EPOST_LOGS.get(program.lower())
    return Line(known or (program.decode() if _NAME.match(program) else ""), message, cut)


def _offsets(row: bytes) -> dict[str, float]:
    """The clocks of a saved row; a row that cannot be read yields none: they are found out again."""
    try:
        value = json.loads(row or b"{}")
        found = value.get("clocks", {})
        return {str(machine): float(offset) for machine, offset in list(found.items())[:_MOST]}
    except (ValueError, TypeError, AttributeError):
        return {}
