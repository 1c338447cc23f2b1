"""Dialogue logs: lines a second on one core, and the memory of open sessions.

    python bench/dialogue.py [LINES] [SESSIONS]

Half of the sessions are partners' mail, half guess passwords; 50 contexts are open at a time. The same for
IMAP, where half of the sessions read mail.
"""

from __future__ import annotations

import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block

ROOT = Path(__file__).resolve().parent.parent
BLOCK = 1 << 20
MAIL = ("MAIL FROM:<somebody@example.net>", "250 2.0.0 ok")


def talk(rng: random.Random, number: int) -> list[str]:
    """The lines of one session, without stamp and context."""
    address = f"198.51.{100 + number % 3}.{number % 250}"
    lines = [
        "220 example.jp E-POST ESMTP Receiver (4.90) ...",
        f"EHLO host{number}.example.net",
        f"250-example.jp Hello [{address}], pleased to meet you\n250-SIZE 20971520\n250 AUTH LOGIN PLAIN\n",
    ]
    if rng.random() < 0.5:
        lines += [
            f"MAIL FROM:<user{number}@example.net> SIZE=4711",
            f"250 2.0.0 <user{number}@example.net>... Sender ok.",
        ]
        for other in range(rng.randint(1, 3)):
            lines += [
                f"RCPT TO:<tanaka{other}@example.jp>",
                f"250 2.0.0 <tanaka{other}@example.jp>... Recipient ok.",
            ]
        lines += [
            "DATA",
            f"354 Start mail; id <B{number:010d}@example.jp> end with <CRLF>.<CRLF>",
            "250 2.0.0 Message received ok.",
        ]
    else:
        for _ in range(rng.randint(1, 4)):
            lines += [
                "AUTH LOGIN",
                "334 dXNlcm5hbWU6",
                "YWRtaW4=",
                "334 UGFzc3dvcmQ6",
                "c2VjcmV0",
                "535 5.7.0 Authentication failed.",
            ]
    return [
        *lines,
        "QUIT",
        "221 2.0.0 example.jp closing connection",
        "CloseClient Started.:SOCKET.C",
        "closesocket():SOCKET.C",
    ]


def imap(rng: random.Random, number: int) -> list[str]:
    """The lines of one session of IMAP."""
    lines = ["* OK example.jp E-POST IMAP4rev1 Server ready", "a1 CAPABILITY", "* CAPABILITY IMAP4rev1",
             "a1 OK CAPABILITY completed"]  # fmt: skip
    if rng.random() < 0.5:
        lines += [f"a2 LOGIN user{number % 100} secret", "a2 OK LOGIN completed"]
        for tag in range(3, rng.randint(4, 12)):
            lines += [f"a{tag} SELECT INBOX", f"* {tag} EXISTS", f"a{tag} OK SELECT completed"]
    else:
        for tag in range(2, rng.randint(3, 6)):
            lines += [f'a{tag} LOGIN "admin" "guess{tag}"', f"a{tag} NO LOGIN fails"]
    return [*lines, "z LOGOUT", "* BYE", "z OK LOGOUT completed", "CloseClient Started.:SOCKET.C",
            "closesocket():SOCKET.C"]  # fmt: skip


def log(lines: int, talk: Callable[[random.Random, int], list[str]]) -> bytes:
    """A log of about so many lines."""
    rng = random.Random(1)
    contexts = [0x347C89C8 + 0x40 * at for at in range(50)]
    open_now: dict[int, list[str]] = {}
    found: list[str] = []
    number = 0
    count = 0
    while count < lines:
        context = rng.choice(contexts)
        if not open_now.get(context):
            open_now[context] = talk(rng, number)
            number += 1
        text = open_now[context].pop(0)
        second = count // 40
        stamp = f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        found.append(f"[12/Dec/2026:{stamp}], {context:08x}, {text}")
        count += 1 + text.count("\n")
    return ("\r\n".join(line.replace("\n", "\r\n") for line in found) + "\r\n").encode()


def main() -> None:
    """Print the figures."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    measure("receivelog", log(lines, talk))
    measure("receiveimap4", log(lines, imap))
    hold("receivelog", sessions, lambda rng, number: [*talk(rng, number)[:3], *MAIL])
    hold("receiveimap4", sessions, lambda rng, number: [*imap(rng, number)[:4], "b LOGIN sato x"])


def measure(name: str, data: bytes) -> None:
    """How fast it is read."""
    parser = load_parser(ROOT / "parsers" / f"epost-{name}.toml")
    total = data.count(b"\n")
    for wanted, what in ((None, "all kinds"), (frozenset({"auth_failure", "mail_accepted"}), "two kinds")):
        scanner = Scanner([parser], wanted_kinds=wanted)
        events, at = 0, 0
        begun = time.process_time()
        while at < len(data):
            stop = data.rfind(b"\n", at, at + BLOCK) + 1
            block = Block(
                name, bytearray(data[at:stop]), 0, stop - at, at, 1.8e9, False, timezone="Asia/Tokyo"
            )
            events += len(scanner.scan(block))
            at = stop
        spent = time.process_time() - begun
        speed = f"{total / spent:,.0f} lines/s, {len(data) / spent / 1e6:.0f} MB/s"
        print(f"{name}, {what}: {speed}, {events} events")


def hold(name: str, sessions: int, said: Callable[[random.Random, int], list[str]]) -> None:
    """What open sessions take."""
    scanner = Scanner([load_parser(ROOT / "parsers" / f"epost-{name}.toml")])
    gc.collect()
    held = "".join(
        f"[12/Dec/2026:00:00:01], {0x10000000 + 64 * number:08x}, {text}\r\n"
        for number in range(sessions)
        for text in said(random.Random(number), number)
    ).encode()
    tracemalloc.start()
    scanner.scan(Block(name, held, 0, len(held), 0, 1.8e9, False, timezone="Asia/Tokyo"))
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    print(f"{name}: {len(scanner.dialogues):,} open sessions: {kept / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
