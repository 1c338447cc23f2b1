"""What a feed and its sources promise, and how a log is described to them.

A *feed* is what the loop asks for items; a *source* is one configured log inside a live feed. Positions are
rows of opaque bytes: what is in them has been handed out, so a checkpoint that stores them in the same
transaction as the engine's state is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mailguard.model import Item, Network

if TYPE_CHECKING:
    from mailguard.feeds.lines import Arena
    from mailguard.feeds.wait import Wait
    from mailguard.feeds.watch import Watchers

#: Names of E-Post's log folders below the spool, in the order in which their lines of one act are written.
EPOST_LOGS: tuple[str, ...] = (
    "acceptlog", "inlog", "receivelog", "outlog", "outlocallog", "faillog", "senderlog",
    "pop3log", "receivepop3", "imap4log", "receiveimap4",
)  # fmt: skip

#: Those of them that hold nothing for us: no stamps, no clients, and lines that other mail servers write.
UNREAD_LOGS: tuple[str, ...] = ("senderlog",)


@dataclass(frozen=True, slots=True)
class LogOptions:
    """One `[log.NAME]` of the settings, as the feeds need it.

    `paths`: for kind "file" paths, globs, or folders of day-named files; for "epost" spool folders; for
    "journal" nothing (this host's), journal files, or one folder of them; for "synology-db" the databases;
    for "syslog" nothing: it has `listen` and `senders` (networks; empty: everybody). `start` says where a log
    without saved position begins: "end" or "begin". Durations are seconds.
    """

    name: str = ""
    kind: str = "file"  # "file", "epost", "journal", "stdin", "syslog", "synology-db"
    paths: tuple[str, ...] = ()
    logs: tuple[str, ...] = EPOST_LOGS  # epost: the log folders to read
    parsers: tuple[str, ...] = ()
    units: tuple[str, ...] = ()  # journal: units, may hold * and ?; empty: all
    identifiers: tuple[str, ...] = ()  # journal: values of SYSLOG_IDENTIFIER; empty: all
    timezone: str = ""
    year: int | None = None
    may_ban: bool = True
    start: str = "end"
    linger: float = 3600.0  # how long a rotated file is watched for late lines
    listen: tuple[str, ...] = ()  # syslog: "udp://192.0.2.1:5514", "tcp://[2001:db8::1]:6514"
    senders: tuple[Network, ...] = ()  # syslog: who may send


class Feed(Protocol):
    """Where items come from: live logs or recorded ones."""

    def next(self, deadline: float | None) -> list[Item] | None:
        """Everything that is ready, waiting at most until `deadline` (monotonic seconds; None: for ever).

        An empty list means the deadline passed; None means that nothing will come any more. Blocks in the
        list are valid until the next call.
        """

    def positions(self) -> dict[str, bytes]:
        """Rows to checkpoint: exactly what `next` has handed out so far. Replaces all earlier rows."""

    def close(self) -> None:
        """Give everything back. May be repeated."""


class Source(Protocol):
    """One log, or one family of files, inside a live feed."""

    name: str

    @property
    def backlog(self) -> bool:
        """True while `read` would find something without waiting."""

    @property
    def ended(self) -> bool:
        """True when nothing will come any more (a closed standard input)."""

    def open(self, wait: Wait, watchers: Watchers) -> None:
        """Register with the wait; nothing is read yet."""

    def read(self, arena: Arena, items: list[Item], arrival: float) -> None:
        """Append what is ready, bounded (about 1 MiB for each log); never waits. `arrival`: wall time now."""

    def positions(self) -> dict[str, bytes]:
        """Its rows; keys begin with the kind of the source."""

    def status(self) -> dict[str, dict[str, Any]]:
        """Counters for each log it reads: see `LogStatus`."""

    def close(self) -> None:
        """Give everything back. May be repeated."""


@dataclass(slots=True)
class LogStatus:
    """What is known about one log. Times are wall seconds, 0 for never; sizes are bytes."""

    path: str = ""
    opened: bool = False
    offset: int = 0
    size: int = 0
    last_line: float = 0.0  # when the last line was handed out: silence is measured from here
    bytes: int = 0
    cut: int = 0  # lines longer than the limit
    dropped: int = 0  # bytes beyond the limit, left out
    nul: int = 0  # NUL bytes skipped at line starts
    lost: int = 0  # bytes known to be destroyed unread
    rotations: int = 0
    words: str = ""  # why it cannot be read; empty: it can

    def as_dict(self) -> dict[str, Any]:
        """The same as a plain dictionary."""
        return {name: getattr(self, name) for name in self.__slots__}


Saved = Mapping[str, bytes]
Callback = Callable[[int], "list[Item] | None"]
