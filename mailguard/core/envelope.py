"""Opens a log line: the stamp, host, program and process id before the message.

Owns: the grammar of the prefixes, and the dating of one log (`Stamps`).
Never: decodes a line; the message stays bytes at its place in the block. Asks no clock.
Limits: a prefix that fits none of the styles is not opened (None); such lines make no events.

The styles, as syslogd, journalctl and the daemons write them:

=========  ===========================================================================================
syslog     `Nov  2 09:05:07 mail1 postfix/smtpd[202]: ` with or without `<PRI>`, host or pid; the same
           after an RFC 3339, `short-unix` or `short-full` stamp; RFC 5424; an octet count may precede
dovecot    `Nov 22 09:57:12 imap-login: Info: `: Dovecot's own log_path: no host, a level word after
           the prefix. `Info: ` is taken out, because through syslog Dovecot leaves it away; the other
           level words stay, because there it writes them; so one rule fits both
epost      `[30/Nov/2017:08:20:44]`, then an optional comma and an optional blank: E-Post
epost-line the same without the comma: its imap4log and pop3log, where the client's word comes first. A line
           of a dialogue log, which is the client's as a whole, has the comma and is never taken for one
none       the whole line is the message; its stamp stands in a `{time:stamp}` slot
=========  ===========================================================================================

A TAI64N label (`@400000006b02...`, by multilog and s6-log) may stand before the first two: it is the line's
time then, and a stamp of the program's own behind it is skipped. multilog's label is ten seconds ahead of the
clock; s6 counts the leap seconds since 1972 as well, so its lines are dated up to 27 seconds late.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .stamps import SECONDS, Stamps
from .stamps import zone_of as zone_of

SYSLOG, DOVECOT, EPOST, EPOST_LINE, NONE = "syslog", "dovecot", "epost", "epost-line", "none"
STYLES = (SYSLOG, DOVECOT, EPOST, EPOST_LINE, NONE)


class Opened(NamedTuple):
    """An opened line. The message is `data[start:end]`; `data` None means the line itself."""

    time: float
    host: bytes
    program: bytes
    pid: int  # 0: the line names none
    start: int
    end: int
    style: str = SYSLOG
    repeat: int = 1  # from "message repeated N times: [ ... ]"
    data: bytes | None = None


_FRACTION = rb"(?:[.,](\d{1,9}))?"
_TAG = rb" (?:(\S{0,254}[^\s:]) {1,2})?([^\s:\[]{1,128})(?:\[(\d{1,10})\])?: ?"
_TRADITIONAL = re.compile(
    rb"([A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d):(\d\d)" + _FRACTION + rb"(?: \d{4})?(?= )"
)
_ISO = re.compile(
    rb"(?:[A-Z][a-z]{2} )?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):(\d\d)"
    + _FRACTION
    + rb"([Zz]|[+-]\d\d(?::?\d\d)?|)(?= )"
)
_ZONE_WORD = re.compile(rb" (?:(UTC|GMT)|[A-Z]{2,5}|[+-]\d\d)(?= )")
_UNIX = re.compile(rb"(\d{9,11})\.(\d{1,9})(?= )")
_TAI64N = re.compile(rb"@(4[0-9a-f]{15})([0-9a-f]{8}) ")
_TAI_1970 = (1 << 62) + 10  # the label of 1970-01-01 00:00:00 UTC
_SYSLOG = re.compile(_TAG)
# RFC 3164 lets any other character end the program's name: `nas System SYSTEM:<TAB>Host ...`
_BLANK_TAG = re.compile(rb" (\S{1,255}) ([A-Za-z0-9]{1,32})(?:\[(\d{1,10})\])? (?=\S)")
# The two styles of nearly every line, in one step. A line that is not quite so goes the long way.
_COMMON_TAG = rb" ([\w.-]{1,253}) ([\w./-]{1,128})(?:\[(\d{1,10})\])?: "
_COMMON_1 = re.compile(rb"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d):(\d\d)" + _COMMON_TAG)
_COMMON_2 = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d):(\d\d)(?:\.(\d{1,9}))?([+-]\d\d:\d\d)" + _COMMON_TAG)
_PRI = re.compile(rb"(?:\d{1,6} (?=<))?(?:<\d{1,3}>)?")
_RFC5424 = re.compile(
    rb"1 (\S{1,64}) (\S{1,255}) (\S{1,48}) (\S{1,128}) \S{1,32} "
    rb'(?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*+")*+\])++)(?: {1,2}|$)(?:\xef\xbb\xbf)?'
)
_PROCESS = re.compile(rb" (?!dovecot[:(])([a-z][a-z0-9-]{1,31})(?:[(<]|: )")  # never a host such as fd00::1
_LEVEL = re.compile(rb": (Info|Debug|Warning|Error|Fatal|Panic): ")
_EPOST = re.compile(rb"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d):(\d\d)\](,?) ?")
_STAMP = re.compile(rb"\[?(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d):(\d\d)\]?")
_REPEATED = re.compile(rb"message repeated (\d{1,6}) times: \[ ?")
_LATEST = 253402300800  # the year 10000
_NULS = re.compile(rb"\0*")
#: What a fraction of a second is multiplied by, by its number of digits.
SCALE = [10.0**-digits for digits in range(10)]

_new = tuple.__new__


class Opener:
    """Opens the lines of one log. Call `arrive` before the lines of a block."""

    __slots__ = ("_dovecot", "epost", "stamps", "syslog")

    def __init__(self, styles: tuple[str, ...] = STYLES, zone: str = ""):
        self.syslog = SYSLOG in styles
        self._dovecot = DOVECOT in styles
        self.epost = EPOST in styles or EPOST_LINE in styles
        self.stamps = Stamps(zone)

    def arrive(self, arrival: float, live: bool, year: int | None = None) -> None:
        """See `Stamps.arrive`."""
        self.stamps.arrive(arrival, live, year)

    def open(self, data: bytes, start: int, end: int) -> Opened | None:
        """The opened line `data[start:end]` (without its LF), or None when no prefix fits."""
        if start < end and data[end - 1] == 13:
            end -= 1
        if start < end and data[start] == 0:  # the hole that copytruncate or a power loss leaves
            start = _NULS.match(data, start, end).end()  # type: ignore[union-attr]
        if start >= end:
            return None
        stamps = self.stamps
        first = data[start]
        if first >= 65:
            common = _COMMON_1.match(data, start, end) if self.syslog else None
            if common is not None:
                key, second, host, program, pid = common.groups()
                base = stamps.yearless(key)
                if base is None or second not in SECONDS:
                    return None
                time = base + SECONDS[second]
                if data[end - 1] == 93 or time > stamps.running or time > stamps.limit:  # the long way
                    return self._opened(time, host, program, pid, common.end(), data, end)
                return _new(
                    Opened,
                    (time, host, program, int(pid) if pid else 0, common.end(), end, SYSLOG, 1, None),
                )
            if first == 91:  # [
                return self._open_epost(data, start, end) if self.epost else None
        else:  # a digit or <
            common = _COMMON_2.match(data, start, end) if self.syslog else None
            if common is not None:
                key, second, fraction, zone, host, program, pid = common.groups()
                base = stamps.dated(key, zone)
                if base is None or second not in SECONDS:
                    return None
                time = base + SECONDS[second]
                if fraction:
                    time += int(fraction) * SCALE[len(fraction)]
                return self._opened(time, host, program, pid, common.end(), data, end)
            start = _PRI.match(data, start, end).end()  # type: ignore[union-attr]
            if data[start : start + 2] == b"1 ":
                found = self._open_5424(data, start, end)
                if found is not None:
                    return found
        match = _TRADITIONAL.match(data, start, end)
        if match is not None:
            key, second, fraction = match.groups()
            base = stamps.yearless(key)
            rest = match.end()
        else:
            match = _ISO.match(data, start, end)
            if match is not None:
                key, second, fraction, zone = match.groups()
                rest = match.end()
                if data[start] >= 65:  # short-full: a weekday before, the abbreviation of a zone behind
                    word = _ZONE_WORD.match(data, rest, end)
                    if word is not None:
                        rest = word.end()
                        zone = b"Z" if word.group(1) else zone
                base = stamps.dated(key, zone)
            else:
                labelled = self._labelled(data, start, end) if first == 64 else None
                match = _UNIX.match(data, start, end) if labelled is None else None
                if labelled is not None:
                    base, fraction, rest = labelled
                elif match is not None:
                    whole, fraction = match.groups()
                    base, rest = float(whole), match.end()
                else:
                    return None
                second = b"00"
        if base is None or second not in SECONDS:
            return None
        time = base + SECONDS[second]
        if fraction:
            time += int(fraction) * SCALE[len(fraction)]
        if self._dovecot:
            process = _PROCESS.match(data, rest, end)
            if process is not None:
                level = _LEVEL.search(data, process.end(1), end)
                if level is not None:
                    return self._open_dovecot(data, rest + 1, end, time, level)
        if not self.syslog:
            return None
        tag = _SYSLOG.match(data, rest, end) or _BLANK_TAG.match(data, rest, end)
        if tag is None:
            return None
        host, program, pid = tag.groups()
        return self._opened(time, host or b"", program, pid, tag.end(), data, end)

    def _opened(
        self, time: float, host: bytes, program: bytes, pid: bytes | None, at: int, data: bytes, end: int
    ) -> Opened:
        """A syslog line whose message begins at `at`; a repetition notice is unwrapped."""
        repeat = 1
        if data[end - 1] == 93 and data.startswith(b"message repeated ", at):
            wrapped = _REPEATED.match(data, at, end)
            if wrapped is not None:
                at, end, repeat = wrapped.end(), end - 1, max(1, int(wrapped.group(1)))
        stamps = self.stamps
        if time > stamps.limit or time > stamps.running:
            time = stamps.settle(time)
        return _new(Opened, (time, host, program, int(pid) if pid else 0, at, end, SYSLOG, repeat, None))

    def _labelled(self, data: bytes, start: int, end: int) -> tuple[float, bytes, int] | None:
        """Second and fraction of a TAI64N label, and where the blank before the rest stands."""
        match = _TAI64N.match(data, start, end)
        if match is None:
            return None
        label, nanoseconds = int(match[1], 16) - _TAI_1970, int(match[2], 16)
        if not 0 <= label < _LATEST or nanoseconds >= 1_000_000_000:
            return None
        at = match.end()
        own = _TRADITIONAL.match(data, at, end) or _ISO.match(data, at, end)
        return float(label), b"%09d" % nanoseconds, at - 1 if own is None else own.end()

    def stamp(self, text: bytes) -> float | None:
        """Time of a stamp that stands inside a message, with or without its brackets."""
        match = _STAMP.fullmatch(text)
        if match is None:
            return None
        base = self.stamps.slashed(match.group(1))
        second = SECONDS.get(match.group(2))
        return None if base is None or second is None else self.stamps.settle(base + second)

    # ------------------------------------------------------------ the other styles

    def _open_epost(self, data: bytes, start: int, end: int) -> Opened | None:
        match = _EPOST.match(data, start, end)
        if match is None:
            return None
        base = self.stamps.slashed(match.group(1))
        second = SECONDS.get(match.group(2))
        if base is None or second is None:
            return None
        style = EPOST if match.group(3) else EPOST_LINE
        return _new(
            Opened, (self.stamps.settle(base + second), b"", b"", 0, match.end(), end, style, 1, None)
        )

    def _open_dovecot(self, data: bytes, start: int, end: int, time: float, level: re.Match[bytes]) -> Opened:
        """Dovecot's own file. The first level word counts: what a client chose stands behind it, except in an
        `auth(USER,...)` prefix where auth_username_chars is empty; its login line still counts such a try."""
        time = self.stamps.settle(time)
        if level.group(1) != b"Info":
            return Opened(time, b"", b"dovecot", 0, start, end, DOVECOT)
        message = data[start : level.start() + 2] + data[level.end() : end]
        return Opened(time, b"", b"dovecot", 0, 0, len(message), DOVECOT, 1, message)

    def _open_5424(self, data: bytes, start: int, end: int) -> Opened | None:
        """RFC 5424. A nil stamp counts as the arrival; a nil host or program is empty."""
        if not self.syslog:
            return None
        match = _RFC5424.match(data, start, end)
        if match is None:
            return None
        stamp, host, program, pid = match.groups()
        if stamp == b"-":
            time = self.stamps.arrived
        else:
            iso = _ISO.match(stamp + b" ")
            if iso is None or iso.end() != len(stamp):
                return None
            key, second, fraction, zone = iso.groups()
            base = self.stamps.dated(key, zone)
            if base is None or second not in SECONDS:
                return None
            time = base + SECONDS[second]
            if fraction:
                time += int(fraction) * SCALE[len(fraction)]
        return Opened(
            self.stamps.settle(time),
            b"" if host == b"-" else host,
            b"" if program == b"-" else program,
            int(pid) if pid.isdigit() else 0,
            match.end(),
            end,
        )
