"""Signs of life and of blindness: said once when it begins, once when it ends, and never for nothing."""

from __future__ import annotations

import pytest

from mailguard.health import DAY, HOUR, LAG, UNMATCHED_BYTES, Health
from mailguard.model import Block, Item, Notice, Record, Records

T = 1_760_000_000.0


class Watched:
    """A health with a clock."""

    def __init__(self, heartbeat: float | None = None):
        self.now = T
        self.health = Health(T, heartbeat=heartbeat)
        self.matched: dict[str, float] = {}
        self.said: list[Notice] = []
        self.lines = self.cut = 0

    def pass_by(self, seconds: float) -> None:
        """Time goes by, looked at as often as the loop would."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.health.next_deadline())
            self.said += self.health.tick(self.now, self.lines, self.cut)

    def line(self, data: bytes = b"a line\n", stamp: float | None = 0.0, log: str = "log") -> None:
        """A line comes in; `stamp`: seconds before now of the line a rule took, None: no rule took it."""
        if stamp is not None:
            self.matched[log] = self.now - stamp
        item: Item = Block(log, data, 0, len(data), 0, self.now, True)
        self.said += self.health.saw([item], self.matched, self.now)

    def ids(self) -> list[str]:
        return [notice.id for notice in self.said]


def test_silence_is_said_once_and_its_end_too() -> None:
    """A log with a stated patience that says nothing for so long, and then speaks again."""
    watched = Watched()
    watched.health.expect("log", T, 600)
    watched.line()
    watched.pass_by(590)
    assert watched.ids() == []
    watched.pass_by(30)
    watched.pass_by(DAY)
    assert watched.ids() == ["log-silent"]
    assert watched.said[0].blind
    assert watched.health.blind() == ["log-silent log"]
    watched.line()
    assert watched.ids() == ["log-silent", "log-speaks"]
    assert watched.health.blind() == []


def test_an_expected_log_that_never_speaks_is_silent() -> None:
    """A log that stands in the settings counts from the start of the guard."""
    watched = Watched()
    watched.health.expect("log", T)
    watched.pass_by(DAY - 1)
    assert watched.ids() == []
    watched.pass_by(60)
    assert watched.ids() == ["log-silent"]


def test_what_is_normal_is_learned() -> None:
    """After some days the patience is three times the longest pause; a quiet night is no silence."""
    watched = Watched()
    for _ in range(4):
        for _ in range(16):
            watched.line()
            watched.pass_by(HOUR)
        watched.pass_by(8 * HOUR)
    assert watched.ids() == []
    watched.line()
    watched.pass_by(26 * HOUR)
    assert watched.ids() == []
    watched.pass_by(2 * HOUR)
    assert watched.ids() == ["log-silent"]


def test_what_was_learned_survives_a_restart_and_the_pause_of_it_is_no_silence() -> None:
    """A guard that did not run for a week does not call its logs silent."""
    watched = Watched()
    for _ in range(60):
        watched.line()
        watched.pass_by(HOUR)
    later = Health(watched.now + 7 * DAY)
    later.load(watched.health.save(), watched.now + 7 * DAY)
    assert later.tick(watched.now + 7 * DAY + 60, 0, 0) == []
    status = later.status(watched.now + 7 * DAY)
    assert status["log"]["patience"] == pytest.approx(3 * HOUR)


def test_lines_that_no_rule_takes() -> None:
    """A log that grows while nothing in it is understood, for an hour at least."""
    watched = Watched()
    watched.line()
    for _ in range(UNMATCHED_BYTES // 65536 + 1):
        watched.line(b"x" * 65535 + b"\n", None)
    assert watched.ids() == []
    watched.pass_by(HOUR)
    watched.line(b"x\n", None)
    watched.line(b"x\n", None)
    assert watched.ids() == ["nothing-matches"]
    assert watched.said[0].blind
    watched.pass_by(2)
    watched.line()
    assert watched.ids() == ["nothing-matches", "matches-again"]


def test_lag() -> None:
    """Stamps far behind the clock, for a while; a single late line is nothing."""
    watched = Watched()
    watched.line(stamp=LAG + 5)
    watched.line(stamp=0)
    assert watched.ids() == []
    for _ in range(5):
        watched.line(stamp=LAG + 5)
        watched.pass_by(10)
    assert watched.ids() == ["lag"]
    watched.line(stamp=1)
    assert watched.ids() == ["lag", "lag-over"]


@pytest.mark.parametrize(
    "line",
    [
        b"Nov  2 09:05:07 mx rsyslogd: imuxsock[pid: 812, name: /usr/lib/postfix/sbin/master]: "
        b"begin to drop messages due to rate-limiting",
        b"Nov  2 09:05:07 mx rsyslogd[99]: imuxsock lost 400 messages from pid 812 due to rate-limiting",
        b"2026-11-02T09:05:07.1+00:00 mx systemd-journald[3]: Suppressed 2043 messages from postfix.service",
    ],
)
def test_a_logger_that_drops_lines_is_heard(line: bytes) -> None:
    """Once an hour at most."""
    watched = Watched()
    watched.line(line + b"\n")
    watched.line(line + b"\n")
    assert watched.ids() == ["suppressed"]
    assert watched.said[0].blind
    watched.pass_by(HOUR)
    watched.line(line + b"\n")
    assert watched.ids() == ["suppressed", "suppressed"]


def test_nobody_else_can_say_it() -> None:
    """The words in a user name, from another program, are no notice of the logger."""
    watched = Watched()
    watched.line(
        b"Nov  2 09:05:07 mx dovecot: imap-login: failed "
        b"user=<x rsyslogd: imuxsock lost 4 messages due to rate-limiting>\n"
    )
    watched.line(b"Nov  2 09:05:07 mx postfix/smtpd[1]: warning: Suppressed 12 messages from here\n")
    assert watched.ids() == []


def test_the_journal_says_it_too() -> None:
    """In records the program is told by the journal itself."""
    watched = Watched()
    records = [
        Record(T, b"mx", b"postfix/smtpd", 1, b"Suppressed 12 messages from here", 1),
        Record(T, b"mx", b"systemd-journald", 1, b"Suppressed 12 messages from postfix.service", 2),
    ]
    watched.said += watched.health.saw([Records("journal", records[:1], T, True)], {}, T)
    assert watched.ids() == []
    watched.said += watched.health.saw([Records("journal", records, T, True)], {}, T)
    assert watched.ids() == ["suppressed"]


def test_many_cut_lines() -> None:
    """More than one in a hundred, and at least twenty: somebody hides behind long lines."""
    watched = Watched()
    watched.lines, watched.cut = 100_000, 19
    watched.pass_by(60)
    assert watched.ids() == []
    watched.lines, watched.cut = 101_000, 119
    watched.pass_by(60)
    assert watched.ids() == ["lines-cut"]
    watched.lines = 110_000
    watched.pass_by(60)
    assert watched.health.blind() == []


def test_the_heartbeat_beats() -> None:
    """Once in its time, with what the guard is blind to."""
    watched = Watched(heartbeat=HOUR)
    watched.health.expect("log", T, 1800)
    watched.pass_by(3.5 * HOUR)
    assert watched.ids() == ["log-silent", "heartbeat", "heartbeat", "heartbeat"]
    assert watched.said[-1].args["blind"] == ["log-silent log"]


def test_recorded_blocks_are_no_signs_of_life() -> None:
    """What is replayed says nothing about the logs of now."""
    watched = Watched()
    watched.said += watched.health.saw([Block("old", b"x\n", 0, 2, 0, T, False)], {}, T)
    assert watched.health.status(T) == {}


def test_a_clock_that_is_set_back_stops_no_watch() -> None:
    """Set back by a day: looks, signs of life and silence go on from there, not a day later."""
    watched = Watched(heartbeat=HOUR)
    watched.health.expect("log", T, 600)
    watched.line()
    watched.now -= DAY
    watched.said += watched.health.tick(watched.now, 0, 0)
    assert watched.health.next_deadline() <= watched.now + HOUR
    watched.pass_by(HOUR)
    assert watched.ids() == ["log-silent", "heartbeat"]
