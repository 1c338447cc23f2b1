"""A block of many lines is judged as rows; what comes of it is what comes of objects."""

from __future__ import annotations

import pytest

from mailguard.core import judge as judge_module
from mailguard.core import native
from mailguard.core.engine import Engine
from mailguard.core.joined import Joined
from mailguard.core.judge import Judge
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parsers
from mailguard.definitions.settings import load_settings
from mailguard.model import Block

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(
        native.load("sessions") is None or native.load("scan") is None,
        reason="the core was not compiled here",
    ),
]


def test_a_large_block_is_judged_as_rows_and_as_objects_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Effects, evidence with its lines, running stamps and checkpoint are the same at any size of block."""
    lines = [
        f"Nov 22 10:{number // 60 % 60:02d}:{number % 60:02d} mail1 {text}\n".encode()
        for number, text in enumerate(
            f"postfix/smtpd[{200 + number % 7}]: {what}"
            for number in range(900)
            for what in (
                f"connect from unknown[192.0.2.{number % 30}]",
                f"warning: unknown[192.0.2.{number % 30}]: SASL LOGIN authentication failed: x, "
                f"sasl_username=u{number % 9}@example.com",
                f"disconnect from unknown[192.0.2.{number % 30}] ehlo=1 auth=0/1 commands=1/2",
            )
        )
    ]
    data = b"".join(lines)
    seen = []
    for rows_from in (1, 1 << 30):
        monkeypatch.setattr(judge_module, "ROWS_FROM", rows_from)
        parsers = load_parsers(["postfix"])
        made = Judge(
            Scanner(parsers, keep_lines=True), Joined(parsers), Engine(load_settings().setup(track=True))
        )
        found: list[object] = []
        for step in (len(data), 30_000, 700):
            for start in range(0, len(data), step):
                begin = data.rfind(b"\n", 0, start) + 1
                end = data.rfind(b"\n", 0, start + step) + 1
                block = Block("mail.log", data, begin, end, begin, 1_795_345_000.0, False, year=2026)
                found += [made.feed([block], 1_795_345_000.0), made.take_evidence()]
            found.append(sorted(made.checkpoint(), key=repr))
        seen.append(found)
    assert seen[0] == seen[1]
    assert any(seen[0])
