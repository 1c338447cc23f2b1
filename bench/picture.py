"""Draws the README's picture: what a terminal shows while the samples are played.

    python bench/picture.py [FILE.svg]

Starts `mailguard run --demo`, waits until the samples are over, and asks it as a person would, on a terminal
of its own. Prints the effects that there were meanwhile.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

MAILGUARD = str(Path(sys.executable).with_name("mailguard"))
WIDTH = 112
ASKED = (["bans"], ["why", "192.0.2.71"])


def on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [MAILGUARD, *arguments], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment
    )
    os.close(theirs)
    said = bytearray()
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:
            break
        if not piece:
            break
        said += piece
    process.wait()
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def main() -> None:
    target = (
        Path(sys.argv[1])
        if len(sys.argv) > 1
        else Path(__file__).resolve().parent.parent / "man/terminal.svg"
    )
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/control.sock"
        environment = os.environ | {
            "MAILGUARD_SOCKET": socket, "COLUMNS": str(WIDTH), "TERM": "xterm-256color", "TZ": "UTC",
        }  # fmt: skip
        guard = subprocess.Popen(
            [MAILGUARD, "run", "--demo", "-o", "plain"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        time.sleep(55)
        console = Console(record=True, width=WIDTH, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
        for arguments in ASKED:
            console.print(Text.assemble(("# ", "bold"), (f"mailguard {' '.join(arguments)}", "bold")))
            console.print(Text.from_ansi(on_a_terminal(arguments, environment)))
        guard.send_signal(signal.SIGTERM)
        assert guard.stdout is not None
        effects = guard.stdout.read().splitlines()
    target.write_text(console.export_svg(title="mailguard"), encoding="utf-8")
    print("\n".join([*effects, f"drawn: {target}"]))


if __name__ == "__main__":
    main()
