"""Hands alerts to the administrator's command: one process each, JSON on its standard input. Never waits for
it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

AT_ONCE = 8
PATIENCE = 60.0  # seconds a command may take
LARGEST = 32 * 1024  # less than a pipe takes at once, so that writing never waits


class Runner:
    """Runs the command of `[alerts]`. Limits: `AT_ONCE` processes; what comes beyond is counted and left
    out."""

    def __init__(self, command: Sequence[str]):
        self.command = list(command)
        self.left_out = 0
        self.failed = 0
        self._running: list[tuple[subprocess.Popen[bytes], float]] = []

    def tell(self, alert: dict[str, Any], now: float) -> None:
        """Start the command for one alert; `now` is monotonic."""
        if not self.command:
            return
        self.tick(now)
        if len(self._running) >= AT_ONCE:
            self.left_out += 1
            return
        text = json.dumps(alert, ensure_ascii=True).encode()[:LARGEST] + b"\n"
        try:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            self.failed += 1
            return
        assert process.stdin is not None
        with suppress(OSError):  # it may have ended without reading; its exit code tells
            process.stdin.write(text)
            process.stdin.close()
        self._running.append((process, now + PATIENCE))

    def tick(self, now: float) -> None:
        """Collect what has ended, end what takes too long."""
        still = []
        for process, end in self._running:
            code = process.poll()
            if code is None and now < end:
                still.append((process, end))
                continue
            if code is None:
                process.kill()
                process.wait()
            self.failed += code != 0
        self._running = still
