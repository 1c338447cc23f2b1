"""Which server a log is of: logs are of one server when their paths differ by the names of the logs alone.

Owns: that comparison, remembered for each rule and log. No program's name stands here: a definition says what
its logs are called (`log`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model import Event
from .items import family
from .rules import Parser

_CAP = 100_000


class Servers:
    """Knows the server of an event."""

    def __init__(self, parsers: Iterable[Parser]):
        self._logs = {parser.name: parser.logs for parser in parsers}
        self._known: dict[tuple[str, str], bytes] = {}

    def of(self, event: Event) -> bytes:
        """The server whose log tells the event."""
        return self.named(event.rule.partition("/")[0], event.log)

    def named(self, parser: str, log: str) -> bytes:
        """The server of a log that the parser of that name reads."""
        server = self._known.get((parser, log))
        if server is None:
            if len(self._known) >= _CAP:
                self._known.clear()
            server = self._known[parser, log] = self._find(parser, log)
        return server

    def _find(self, parser: str, log: str) -> bytes:
        whole = family(log)
        for name in self._logs[parser]:
            at = whole.lower().rfind(name.encode())  # as the administrator of a Windows host made the folder
            if at >= 0:
                return whole[:at] + whole[at + len(name) :]
        return whole
