"""What the guard writes: one line for an effect on standard output, sentences about itself on standard
error."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from datetime import datetime
from typing import TextIO

from ..ledger.redact import escape
from ..model import Effect, Notice
from ..notation import format_time
from ..replay import row
from .words import effect_line, priority, sentence, speak

FORMS = ("auto", "plain", "json")


class Printer:
    """Writes lines. Under systemd each carries its priority and no time; else the time stands before it."""

    def __init__(self, form: str = "auto", out: TextIO | None = None, err: TextIO | None = None):
        """`form`: "json" writes effects as the objects of `mailguard replay`; else the plain notation."""
        self.form = form
        self._out = sys.stdout if out is None else out
        self._err = sys.stderr if err is None else err
        self._journal = bool(os.environ.get("JOURNAL_STREAM"))
        self._short = form == "auto" and not self._journal and self._err.isatty()

    def speak(self, language: str) -> None:
        """Speak the language of the settings from now on; "auto": see `words.speak`."""
        speak(language, os.environ, terminal=self._short)

    def effect(self, effect: Effect) -> None:
        """One line for an effect."""
        if self.form == "json":
            self._write(self._out, json.dumps(row(effect, _moment), ensure_ascii=False))
        else:
            self._write(self._out, self._before(effect.time, priority(effect)) + escape(effect_line(effect)))

    def notice(self, notice: Notice) -> None:
        """A sentence about the guard itself; a long one over several lines."""
        now = time.time()
        for line in sentence(notice).splitlines():
            self._write(self._err, self._before(now, priority(notice)) + "mailguard: " + escape(line))

    def _before(self, at: float, level: int) -> str:
        if self._journal:
            return f"<{level}>"
        if self._short:
            return f"{datetime.fromtimestamp(at):%H:%M:%S} "
        return _moment(at) + " "

    @staticmethod
    def _write(stream: TextIO, line: str) -> None:
        # Whoever read along may have gone; the guard goes on without him.
        with suppress(OSError, ValueError):
            stream.write(line + "\n")
            stream.flush()


def _moment(at: float) -> str:
    return format_time(at, datetime.fromtimestamp(at).astimezone().tzinfo)
