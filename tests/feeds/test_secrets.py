"""What a live feed read holds no password afterwards: not in its buffer, not in what it knows files again by.

The scanner blots out what it reads; this is about the copies of the feed's own.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.feeds import native
from mailguard.feeds.marks import HEAD, Imprint, imprint
from tests.core.test_dialogue_secrets import memory_of

ROOT = Path(__file__).resolve().parents[2]
LOGS = {
    "receivepop3": ["+OK example.jp ready", "USER sato", "+OK", "PASS {}", "-ERR no"],
    "receiveimap4": ["* OK example.jp ready", "a LOGIN sato {}", "a NO LOGIN fails"],
    "receivelog": [
        "220 example.jp ESMTP", "EHLO pc", "250 example.jp Hello [192.0.2.7], pleased to meet you",
        "AUTH LOGIN", "334 dXNlcm5hbWU6", "c2F0bw==", "334 UGFzc3dvcmQ6", "{}",
        "535 5.7.0 Authentication failed.",
    ],
}  # fmt: skip
END = "CloseClient Started.:SOCKET.C"
CHILD = """
import sys
sys.path.insert(0, {root!r})
from mailguard.clock import SystemClock
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parsers
from mailguard.feeds.files import FileSource
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.live import LiveFeed
from mailguard.model import Block
paths, compiled = {paths!r}, {compiled}
clock = SystemClock()
scanner = Scanner(load_parsers(["epost-receivelog", "epost-receiveimap4", "epost-receivepop3"]))
options = LogOptions(paths=paths, start="begin", name="test")
feed = LiveFeed([FileSource(options, {{}}, clock)], clock, watcher="inotify", spacing=0.0, compiled=compiled)
print("ready", flush=True)
lines = 0
while True:
    for item in feed.next(clock.monotonic() + 1.0):
        if isinstance(item, Block):
            lines += item.data.count(b"\\n", item.start, item.end)
            scanner.scan(item)
    item = None
    print(lines, flush=True)
"""


def session(log: str, number: int) -> list[bytes]:
    said = [*LOGS[log], END]
    head = f"[12/Dec/2026:00:00:{number:02}], 347c89c8, "
    return [(head + text.format(f"Pw9qZx{number:02}Kw7Lq") + "\r\n").encode() for text in said]


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.compiled)])
@pytest.mark.parametrize("log", LOGS)
def test_no_password_stays_in_the_feed(tmp_path: Path, log: str, compiled: bool) -> None:
    """From the first bytes of a file on, line by line and several at once, the last one a password's."""
    if compiled and native.load("near") is None:
        pytest.skip("the compiled module is not built: make native")
    path = tmp_path / log / "MAIL1" / "261212.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    code = CHILD.format(root=str(ROOT), paths=(str(path),), compiled=compiled)
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        written = 0
        with path.open("ab", buffering=0) as file:
            for number in range(8):
                lines = session(log, number)
                if number == 7:  # the log ends behind the password
                    lines = lines[: [b"Pw9q" in line for line in lines].index(True) + 1]
                for part in [b"".join(lines)] if number % 2 else lines:
                    file.write(part)
                    written += part.count(b"\n")
                    while int(child.stdout.readline()) < written:
                        pass
        memory = memory_of(child.pid)
        assert b"MAIL1" in memory
        assert memory.count(b"Pw9qZx") == 0
    finally:
        child.kill()
        child.wait(timeout=10)
        assert child.stdout is not None
        child.stdout.close()


@given(st.binary(min_size=HEAD, max_size=HEAD), st.integers(0, HEAD - 1), st.integers(1, 255))
def test_other_bytes_have_another_imprint(data: bytes, at: int, change: int) -> None:
    """Of any one byte; nothing has none."""
    other = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
    assert imprint(data) != imprint(other)
    assert imprint(data) == imprint(memoryview(bytearray(data)))
    assert imprint(b"") == Imprint()
