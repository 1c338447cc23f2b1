"""Passwords in the dialogues of IMAP and POP3: the names are read, and no byte of a password is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import pytest

from mailguard.core import dialogue
from mailguard.core.joined import Joined
from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block, Event
from tests.core.test_dialogue_secrets import encoded, memory_of, reachable

ROOT = Path(__file__).resolve().parents[2]
LOGS = ("receiveimap4", "receivepop3")
PARSERS = {name: load_parser(ROOT / "parsers" / f"epost-{name}.toml") for name in LOGS}
BOTH = pytest.mark.parametrize("name", LOGS)
WORDS = [f"Pw9qZx{number}Kw{number}Lq" for number in range(12)]
DIGEST = "5d41402abc4b2a76b9719d911017c592"
IMAP = (
    [f"a LOGIN sato {WORDS[0]}", "a NO LOGIN fails"],
    [f'a LOGIN "suzuki" "{WORDS[1]}"', "* x", "a NO LOGIN fails"],
    ["a LOGIN {6}", "+ go on", f"tanaka {{{len(WORDS[2])}}}", "+ go on", WORDS[2], "a NO LOGIN fails"],
    ["a LOGIN {3+}", f"ito {WORDS[3]}", "a NO LOGIN fails"],
    [f"a AUTHENTICATE PLAIN {encoded(chr(0) + 'kato' + chr(0) + WORDS[4])}", "a NO AUTHENTICATE fails"],
    ["a AUTHENTICATE PLAIN", "+ ", encoded(f"\0mori\0{WORDS[5]}"), "a NO AUTHENTICATE fails"],
    ["a AUTHENTICATE CRAM-MD5", "+ PDE+", encoded(f"yamada {DIGEST}"), "a NO AUTHENTICATE fails"],
    [f"LOGIN nobody {WORDS[6]}", "LOGIN BAD illegal argument"],  # the first word was left away
    [f"a LOGN nobody {WORDS[7]}", "a BAD illegal argument", WORDS[8], f"{WORDS[8]} BAD illegal argument"],
    ["a LOGIN {9}", "+ go on", f"no\r\nname {WORDS[9]}", "a NO LOGIN fails"],
)
POP = (
    ["USER sato", "+OK", f"PASS {WORDS[0]}", "-ERR authentication failed"],
    ["user suzuki", "+OK", f"pass {WORDS[1]}", "-ERR"],
    [f"APOP tanaka {DIGEST}", "-ERR authentication failed"],
    [f"AUTH PLAIN {encoded(chr(0) + 'ito' + chr(0) + WORDS[2])}", "-ERR authentication failed"],
    ["AUTH LOGIN", "+ VXNlcm5hbWU6", encoded("kato"), "+ UGFzc3dvcmQ6", encoded(WORDS[3]), "-ERR x"],
    ["AUTH PLAIN", "+ ", encoded(f"\0mori\0{WORDS[5]}"), "-ERR authentication failed"],
    ["AUTH CRAM-MD5", "+ PDE+", encoded(f"yamada {DIGEST}"), "-ERR authentication failed"],
    [f" PASS {WORDS[6]}", "-ERR invalid command", f"PAS {WORDS[7]}", "-ERR invalid command"],
    [WORDS[8], "-ERR invalid command"],
)
NAMES = ["sato", "suzuki", "tanaka", "ito", "kato", "mori", "yamada"]
BROKEN = {"receiveimap4": ["no\ufffd"], "receivepop3": []}  # a name with a line end in it
UNSEEN = {"receiveimap4": [f"z LOGIN hayashi {WORDS[10]}"], "receivepop3": [f"PASS {WORDS[10]}"]}
GREETING = {"receiveimap4": "* OK example.jp E-POST ready", "receivepop3": "+OK example.jp E-POST ready"}


def log(name: str) -> bytes:
    lines = [f"[12/Dec/2026:00:01:48], 347c0000, {text}\r\n" for text in UNSEEN[name]]
    for talk in IMAP if name == "receiveimap4" else POP:
        for text in [GREETING[name], *talk, "CloseClient Started.:SOCKET.C", "closesocket():SOCKET.C"]:
            lines.append(f"[12/Dec/2026:00:01:49], 347c89c8, {text}\r\n")
    return "".join(lines).encode()


def secrets() -> dict[str, bytes]:
    found = {word: word.encode() for word in WORDS}
    for number, word in enumerate(WORDS):
        found[f"base64 {number}"] = encoded(word).encode()
        for user in NAMES:
            found[f"plain {user} {number}"] = encoded(f"\0{user}\0{word}").encode()[-16:]
    found["digest"], found["in base64"] = DIGEST.encode(), encoded(f"yamada {DIGEST}").encode()[-24:]
    return found


def leaks(data: bytes) -> list[str]:
    return [name for name, secret in secrets().items() if secret in data]


def scan(name: str, data: bytearray) -> tuple[Scanner, list[Event]]:
    scanner = Scanner([PARSERS[name]], keep_lines=True)
    block = Block(name, data, 0, len(data), 0, 1_800_000_000.0, False, timezone="UTC")
    return scanner, [one for one in scanner.scan(block) if isinstance(one, Event)]


@BOTH
def test_names_are_read_and_passwords_are_gone(name: str) -> None:
    """Neither events nor the scanner nor the block itself hold a secret."""
    assert len(leaks(log(name))) >= 10
    data = bytearray(log(name))
    scanner, events = scan(name, data)
    users = [one.fields["user"] for one in events if one.kind == "auth_failure" and "user" in one.fields]
    assert users == NAMES + BROKEN[name]
    rows = [value or b"" for _, value in scanner.dialogues.snapshot(True)]
    everything = b"\n".join(reachable([scanner, events, rows, scanner.counters]))
    assert leaks(everything) == []
    assert leaks(bytes(data)) == [], "the feed's buffer"
    assert all(one.line and leaks(one.line) == [] for one in events)


@BOTH
def test_a_checkpoint_holds_no_secret(name: str) -> None:
    """Wherever the log is read to; and a login told in two halves is told once, with its name."""
    data = log(name)
    whole = [one.fields.get("user") for one in scan(name, bytearray(data))[1]]
    for at in range(0, len(data), 61):
        stop = data.rfind(b"\n", 0, at) + 1
        scanner, before = scan(name, bytearray(data[:stop]))
        rows = [(key, value) for key, value in scanner.dialogues.snapshot(True) if value is not None]
        assert leaks(b"".join(value for _, value in rows)) == []
        again = Scanner([PARSERS[name]])
        again.restore({}, rows)
        rest = bytearray(data[stop:])
        behind = again.scan(Block(name, rest, 0, len(rest), stop, 1_800_000_000.0, False, timezone="UTC"))
        told = [one.fields.get("user") for one in [*before, *behind] if isinstance(one, Event)]
        assert len(told) == len(whole), data[:stop][-80:]


def test_what_waits_holds_no_secret() -> None:
    """Acts that wait for their lines, in memory and in the checkpoint."""
    parsers = [*PARSERS.values(), load_parser(ROOT / "parsers" / "epost-imap4log.toml")]
    data = bytearray(log("receiveimap4"))
    joined = Joined(parsers)
    joined.now = 1_797_000_000.0
    found = Scanner(parsers).scan(
        Block("/s/receiveimap4/M", data, 0, len(data), 0, 1.8e9, True, timezone="UTC")
    )
    assert joined.join(found) == []
    rows = [value or b"" for _, value in joined.snapshot(True)]
    assert b"sato" in b"".join(rows)
    assert leaks(b"\n".join(reachable([joined, rows]))) == []


@BOTH
def test_a_crash_shows_no_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback with all local variables, wherever the reader fails."""
    names = ("_make", "_word", "_said", "_more", "_due") if name == "receiveimap4" else ("_make", "_text")
    for method in names:
        with monkeypatch.context() as patch:
            patch.setattr(dialogue.Reader, method, lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError) as raised:
                scan(name, bytearray(log(name)))
        report = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
        assert leaks("".join(report.format()).encode()) == [], method


@BOTH
def test_commands_print_no_secret(name: str, tmp_path: Path) -> None:
    """`events`, `explain` and `replay`, as text and as JSON."""
    path = tmp_path / name / "261212.log"
    path.parent.mkdir()
    path.write_bytes(log(name))
    for command in (
        ["events", str(path)],
        ["events", "-o", "json", str(path)],
        ["explain", "-"],
        ["explain", "-o", "json", "-"],
        ["replay", "--config", os.devnull, "-o", "json", str(path)],
    ):
        with path.open("rb") as lines:
            done = subprocess.run(
                [sys.executable, "-m", "mailguard", *command], stdin=lines, capture_output=True, cwd=ROOT,
                check=False, env=os.environ | {"TZ": "UTC"},
            )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        assert b"sato" in done.stdout or command[0] != "events", command
        assert leaks(done.stdout + done.stderr) == [], command


CHILD = """
    import sys
    sys.path.insert(0, {root!r})
    from pathlib import Path
    from mailguard.core.joined import Joined
    from mailguard.core.scanner import Scanner
    from mailguard.definitions.parsers import load_parser
    from mailguard.feeds.recorded import RecordedFeed
    parser = load_parser(Path({root!r}) / "parsers" / "epost-{name}.toml")
    scanner, joined = Scanner([parser], keep_lines=True), Joined([parser])
    feed = RecordedFeed([{path!r}])
    events = []
    while (items := feed.next(None)) is not None:
        for item in items:
            events += joined.join(scanner.scan(item))
    print(sum(one.kind == "auth_failure" and "user" in one.fields for one in events), flush=True)
    sys.stdin.read()
"""


@BOTH
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_whole_memory_of_a_process_holds_no_secret(name: str, tmp_path: Path) -> None:
    """All memory of a process that has read the log, freed or not. The first lines of a log are read once
    more to know the file again, so they come before."""
    path = tmp_path / f"{name}.log"
    head = b"".join(
        b"[12/Dec/2026:00:00:%02d], 00000000, nothing to tell here\r\n" % (at % 60) for at in range(2000)
    )
    path.write_bytes(head + log(name))
    code = textwrap.dedent(CHILD.format(root=str(ROOT), path=str(path), name=name))
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"%d\n" % len(NAMES + BROKEN[name])
        memory = memory_of(child.pid)
        assert b"yamada" in memory
        assert leaks(memory) == []
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(timeout=10)
