"""A log whose path has a name that a definition states is read by that definition alone: in some of E-Post's
logs others write whole lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailguard.core.items import Draft
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parsers
from mailguard.feeds.interface import EPOST_LOGS, UNREAD_LOGS, LogOptions
from mailguard.model import Block
from mailguard.replay.sources import find

PARSERS = load_parsers(sorted(path.stem for path in (Path(__file__).parents[2] / "parsers").glob("*.toml")))
STAMP = "[12/Dec/2026:00:01:49]"
#: Lines of every log about the same bystander, as another mail server could put them into senderlog.
FORGED = {
    "acceptlog": f"{STAMP}, (example.jp), 203.0.113.99[203.0.113.99], AUTH-LOGIN:a [failed],,abort",
    "imap4log": "[12/Dec/2026:00:01:49] a from 203.0.113.99 LOGIN a **** failed",
    "pop3log": "a from 203.0.113.99 PASS **** [12/Dec/2026:00:01:49] (-ERR no)",
    "inlog": "<B0000097405@example.jp> [12/Dec/2026:00:01:49] 203.0.113.99 pc a@example.net b@example.jp",
    "faillog": f"B0000055688@example.jp send fail on {STAMP} from a@example.jp to b@x.org [550 x]",
    "outlog": "B0000055688@example.jp sent on [12/Dec/2026:00:01:49] from a@example.jp to b@example.org",
    "receivelog": "[12/Dec/2026:00:01:49], 00000000, reject address = [203.0.113.99]",
    "syslog": "Dec 12 00:01:49 mail1 postfix/smtpd[202]: warning: unknown[203.0.113.99]: SASL LOGIN "
    "authentication failed: x",
}
WHOSE = {"receivelog": ("receivelog", "receiveimap4", "receivepop3"), "outlog": ("outlog", "outlocallog")}


def told(log: str, text: str, native: bool | None = None) -> set[str]:
    data = bytearray(text.encode() + b"\n")
    block = Block(log, data, 0, len(data), 0, 1_797_100_000.0, False, timezone="UTC")
    found: list[Any] = Scanner(PARSERS, native=native).scan(block)
    return {(one.event if isinstance(one, Draft) else one).rule.partition("/")[0] for one in found}


@pytest.mark.parametrize("native", [False, None])
@pytest.mark.parametrize("path", ["/spool/{}/MAIL1", "/spool/{}/261212.log", "/spool/{}/MAIL1/261212.log"])
def test_each_log_has_its_own_lines(path: str, native: bool | None) -> None:
    """A line of one log in the folder of another tells nothing; in its own, and in a file without such a
    name, it is read."""
    for shape, text in FORGED.items():
        for log in EPOST_LOGS:
            found = told(path.format(log), text, native)
            own = log in WHOSE.get(shape, (shape,))
            assert bool(found) is own, (shape, log)
        assert told("/var/log/anything", text, native), shape


def test_who_is_asked_by_name_is_asked() -> None:
    """The settings may say who reads a log, whatever it is called."""
    data = bytearray(FORGED["syslog"].encode() + b"\n")
    block = Block("/x/inlog/y", data, 0, len(data), 0, 1_797_100_000.0, False, parsers=("postfix",))
    assert Scanner(PARSERS).scan(block)


def test_a_spool_is_read_as_its_logs(tmp_path: Path) -> None:
    """Named as a whole, its queues are left alone: messages hold whatever lines anybody sent."""
    for place in ("acceptlog/MAIL1/261212.log", "inlog/MAIL1/261212.log", "senderlog/MAIL1/261212.log",
                  "incoming/B0000097405.MSG", "domains/x.org/B0000097405.RCP", "notes.txt"):  # fmt: skip
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(f"{FORGED['acceptlog']} {place}\n")
    found = find([str(tmp_path)], LogOptions())
    assert [Path(one.path).parts[-3] for one in found.sources] == ["acceptlog", "inlog"]
    assert found.notices == []
    assert set(UNREAD_LOGS) < set(EPOST_LOGS)
