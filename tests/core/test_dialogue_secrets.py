"""No byte of a password stays anywhere: not in memory, not in the ledger, not in what is printed.

Each dialogue below holds a password of its own, in base64 as the log has it. After the scan neither that nor
what it means may be found in anything the process can reach, in its files, its output, or its core.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import shutil
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard.core import dialogue
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block, Event

ROOT = Path(__file__).resolve().parents[2]
PARSER = load_parser(ROOT / "parsers" / "epost-receivelog.toml")
STEM = "Pw9q"
USERS = ("sato", "suzuki", "tanaka", "ito", "kato", "yamada", "mori")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode()


def secrets() -> dict[str, bytes]:
    """What must be found nowhere, by what it is."""
    found: dict[str, bytes] = {}
    for number, user in enumerate(USERS):
        word = f"{STEM}Zx{number}Kw{number}Lq"
        found[f"password {number}"] = word.encode()
        found[f"base64 {number}"] = encoded(word).encode()
        for at, text in enumerate((f"\0{user}\0{word}", f"{user}\0{user}\0{word}")):
            found[f"plain {number}.{at}"] = encoded(text).encode()[-16:]
    found["digest"] = encoded("tanaka 5d41402abc4b2a76b9719d911017c592").encode()[-24:]
    found["hexadecimal digest"] = b"5d41402abc4b2a76b9719d911017c592"
    found["token"] = b"ya29tokenPw9qZx6"
    return found


def talks() -> Iterator[list[str]]:
    """Every way in which a password gets into the log."""
    word = [f"{STEM}Zx{number}Kw{number}Lq" for number in range(len(USERS))]
    yield ["AUTH LOGIN", "334 dXNlcm5hbWU6", encoded("sato"), "334 UGFzc3dvcmQ6", encoded(word[0])]
    yield [f"AUTH LOGIN {encoded('suzuki')}", "334 cGFzcw==", encoded(word[1]) + f" ({word[1]})"]
    yield [f"AUTH PLAIN {encoded(chr(0) + 'tanaka' + chr(0) + word[2])}"]
    yield ["AUTH PLAIN", "334 ", encoded("ito\0ito\0" + word[3])]
    yield ["AUTH CRAM-MD5", "334 PDEyMz4=", encoded("tanaka 5d41402abc4b2a76b9719d911017c592")]
    yield [f"AUTH XOAUTH2 {encoded('user=mori' + chr(1) + 'auth=Bearer ya29tokenPw9qZx6' + chr(1) * 2)}"]
    # A client that goes on although AUTH is switched off: its password is no command, and is repeated.
    wrong = encoded(word[4])
    yield [
        "AUTH LOGIN", "503 5.5.1 Error: authentication not enabled.", encoded("kato"),
        f'500 5.5.2 command unrecognized: "{encoded("kato")}"', wrong,
        f'500 5.5.2 command unrecognized: "{wrong}"',
        word[5], f'500 5.5.2 command unrecognized: "{word[5]}"',
    ]  # fmt: skip


def log() -> bytes:
    lines: list[str] = []
    for number, talk in enumerate(talks()):
        end = ["535 5.7.0 Authentication failed."] if not talk[-1].startswith("500") else []
        for text in [
            "220 example.jp E-POST ESMTP Receiver (4.90) ...", "EHLO pc",
            f"250-example.jp Hello [203.0.113.{number + 1}], pleased to meet you",
            *talk, *end, "CloseClient Started.:SOCKET.C", "closesocket():SOCKET.C",
        ]:  # fmt: skip
            lines.append(f"[12/Dec/2026:00:01:49], 347c89c8, {text}\r\n")
    return "".join(lines).encode()


def leaks(data: bytes) -> list[str]:
    return [name for name, secret in secrets().items() if secret in data]


def test_the_log_holds_what_is_searched_for() -> None:
    """The search would find them."""
    assert len(leaks(log())) >= 12


def scan(data: bytearray, **more: Any) -> tuple[Scanner, list[Event]]:
    scanner = Scanner([PARSER], keep_lines=True, **more)
    block = Block("receivelog", data, 0, len(data), 0, 1_800_000_000.0, False, timezone="UTC")
    return scanner, [one for one in scanner.scan(block) if isinstance(one, Event)]


def reachable(roots: list[object]) -> Iterator[bytes]:
    """Every text and all bytes that can be reached from `roots`."""
    seen: set[int] = set()
    todo = roots
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type) or callable(one):
            continue
        seen.add(id(one))
        if isinstance(one, bytes | bytearray):
            yield bytes(one)
        elif isinstance(one, str):
            yield one.encode("utf-8", "surrogatepass")
        else:
            todo += gc.get_referents(one)


def test_names_are_read_and_passwords_are_gone() -> None:
    """Events tell the names; neither they, nor the scanner, nor the block itself hold a secret."""
    data = bytearray(log())
    scanner, events = scan(data)
    users = [one.fields.get("user") for one in events if one.kind == "auth_failure"]
    assert users == ["sato", "suzuki", "tanaka", "ito", "tanaka", "mori"]
    rows = [value or b"" for _, value in scanner.dialogues.snapshot(True)]
    everything = b"\n".join(reachable([scanner, events, rows, scanner.counters]))
    assert len(everything) > 1000
    assert leaks(everything) == []
    assert leaks(bytes(data)) == [], "the feed's buffer"


def test_evidence_has_no_client_text() -> None:
    """The lines kept as evidence are the server's; one that repeats the client's is cut."""
    _, events = scan(bytearray(log()))
    for one in events:
        assert leaks(one.line) == []
        if one.rule.endswith("/no-command"):
            assert one.line.endswith(b"347c89c8, 500 ...")


def test_a_checkpoint_in_the_middle_of_a_login_holds_no_secret() -> None:
    """Between the name and the password, and after the password before its result."""
    data = log()
    for at in range(0, len(data), 97):
        stop = data.rfind(b"\n", 0, at) + 1
        scanner, _ = scan(bytearray(data[:stop]))
        assert leaks(b"".join(value or b"" for _, value in scanner.dialogues.snapshot(True))) == []


def test_a_crash_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback with all local variables, wherever the reader fails."""
    for name in ("_make", "_text", "_server", "_reply", "_command", "_ended", "_client"):
        with monkeypatch.context() as patch:
            patch.setattr(dialogue.Reader, name, lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError) as raised:
                scan(bytearray(log()))
        report = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
        shown = "".join(report.format())
        assert "dialogue.py" in shown
        assert leaks(shown.encode()) == [], name


def test_commands_print_no_secret(tmp_path: Path) -> None:
    """`events`, `explain` and `replay`, as text and as JSON, and the ledger of nobody."""
    path = tmp_path / "receivelog.log"
    path.write_bytes(log())
    program = [sys.executable, "-m", "mailguard"]
    for command in (
        ["events", str(path)],
        ["events", "-o", "json", str(path)],
        ["explain", "-"],
        ["explain", "-o", "json", "-"],
        ["replay", "--config", os.devnull, str(path)],
        ["replay", "--config", os.devnull, "-o", "json", str(path)],
    ):
        with path.open("rb") as lines:
            done = subprocess.run(
                [*program, *command], stdin=lines, capture_output=True, cwd=ROOT, check=False,
                env=os.environ | {"TZ": "UTC"},
            )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        assert b"sato" in done.stdout or command[0] == "replay", command
        assert leaks(done.stdout + done.stderr) == [], command


CHILD = """
    import sys
    sys.path.insert(0, {root!r})
    from pathlib import Path
    from mailguard.core.joined import Joined
    from mailguard.core.scanner import Scanner
    from mailguard.definitions.parsers import load_parser
    from mailguard.feeds.recorded import RecordedFeed
    parser = load_parser(Path({root!r}) / "parsers" / "epost-receivelog.toml")
    scanner, joined = Scanner([parser], keep_lines=True), Joined([parser])
    feed = RecordedFeed([{path!r}])
    events = []
    while (items := feed.next(None)) is not None:
        for item in items:
            events += joined.join(scanner.scan(item))
    print(sum(one.kind == "auth_failure" for one in events), flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_whole_memory_of_a_process_holds_no_secret(tmp_path: Path) -> None:
    """All memory of a process that has read the log, freed or not, as a core would show it.

    The first lines of a log are read once more to know the file again, so they come before.
    """
    path = tmp_path / "receivelog.log"
    head = b"".join(
        b"[12/Dec/2026:00:00:%02d], 347c89c8, 00000000 nothing to tell here\r\n" % (at % 60)
        for at in range(2000)
    )
    path.write_bytes(head + log())
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD.format(root=str(ROOT), path=str(path)))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"6\n"
        core = tmp_path / "core"
        if shutil.which("gcore") and os.geteuid() == 0:
            subprocess.run(
                ["gcore", "-o", str(core), str(child.pid)], check=True, capture_output=True, timeout=60
            )
            memory = (tmp_path / f"core.{child.pid}").read_bytes()
        else:
            memory = memory_of(child.pid)
        assert b"sato" in memory
        assert leaks(memory) == []
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(timeout=10)


def memory_of(pid: int) -> bytes:
    """All that a process may write to."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if rights.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                try:
                    found.append(memory.read(end - start))
                except OSError:
                    continue
    return b"".join(found)


def test_json_rows_are_json() -> None:
    """A row of the checkpoint can be read back, name and all."""
    data = log()
    stop = data.index(b"334 UGFzc3dvcmQ6")
    scanner, _ = scan(bytearray(data[: data.rfind(b"\n", 0, stop) + 1]))
    (row,) = [value for _, value in scanner.dialogues.snapshot(True) if value]
    assert json.loads(row)[10] == ["LOGIN", "sato", 1]
