"""Mail logs of a few kinds of lines, and rehearsals of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailguard.core.detectors import BanRule, Detector
from mailguard.core.engine import Engine, Setup
from mailguard.core.rules import Parser
from mailguard.definitions.parsers import load_parsers
from mailguard.feeds.interface import LogOptions
from mailguard.replay.rehearsal import Rehearsal
from mailguard.replay.rows import entry_row, summary_row
from mailguard.replay.sources import find

T = 1_760_000_000.0
DETECTORS = (
    Detector(
        "guessing", "many", ("auth_failure",), "source", 600.0, count=4, ban=BanRule(120.0, 2.0, 86400.0)
    ),
    Detector(
        "range", "net", ("auth_failure",), "network", 3600.0, distinct="source", values=3,
        ban=BanRule(300.0, 2.0, 86400.0),
    ),
)  # fmt: skip


def stamp(at: float) -> str:
    return datetime.fromtimestamp(T + at, UTC).isoformat(timespec="seconds")


def failed(at: float, host: str, user: str = "anna") -> str:
    """A login that failed."""
    return (
        f"{stamp(at)} mx dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): "
        f"user=<{user}@example.com>, method=PLAIN, rip={host}, lip=203.0.113.1, TLS, session=<{at:.0f}>\n"
    )


def login(at: float, host: str, user: str = "anna") -> str:
    """A login that succeeded."""
    return (
        f"{stamp(at)} mx dovecot: imap-login: Login: user=<{user}@example.com>, method=PLAIN, rip={host}, "
        f"lip=203.0.113.1, mpid=7, TLS, session=<{at:.0f}>\n"
    )


def mail(at: float, host: str, sender: str = "shop@example.jp", queue: str = "4711AB") -> str:
    """A message that was accepted: two lines that only its queue id joins."""
    queue = f"{queue}{int(at) % 9973:X}".replace("1", "2")
    return (
        f"{stamp(at)} mx postfix/smtpd[9]: {queue}: client=mail.example.org[{host}]\n"
        f"{stamp(at)} mx postfix/qmgr[5]: {queue}: from=<{sender}>, size=77, nrcpt=1 (queue active)\n"
        f"{stamp(at)} mx postfix/qmgr[5]: {queue}: removed\n"
    )


@pytest.fixture(scope="session")
def parsers() -> Sequence[Parser]:
    return load_parsers(("postfix", "dovecot"))


Try = Callable[..., Rehearsal]


@pytest.fixture
def rehearse(parsers: Sequence[Parser]) -> Try:
    """Rehearse logs with two detectors of fixed thresholds."""

    def run(*paths: Path | str, options: LogOptions | None = None, **more: Any) -> Rehearsal:
        options = options or LogOptions(timezone="UTC")
        found = find([str(path) for path in paths], options)
        more.setdefault("workers", 1)
        make = [lambda: Engine(Setup(DETECTORS))]
        rehearsed = Rehearsal(found.sources, parsers, make, options, told=found.notices, **more)
        rehearsed.run()
        return rehearsed

    return run


def told(rehearsed: Rehearsal) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and summary of the first trial."""
    trial = rehearsed.trials[0]
    rows = [entry_row(entry, moment) for entry in trial.timeline.entries]
    return rows, summary_row(rehearsed, trial, moment)["summary"]


def moment(at: float) -> str:
    """A time as seconds after T, which is easy to read in a test."""
    return f"{at - T:g}"


def output(rehearsed: Rehearsal) -> str:
    """All that is told, as text, without the names of the logs."""
    rows, summary = told(rehearsed)
    summary.pop("problems")
    return json.dumps([rows, summary], sort_keys=True)
