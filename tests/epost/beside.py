"""E-Post's receiver and the driver on the same tables, one system call at a time.

`Stepping` is the driver's disk: between any two of its calls, and between any two bytes of a call,
somebody else may look, and between any two calls somebody else may write. So every interleaving of the
driver with a server that appends whole rows can be played, without threads and without luck.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from mailguard.clock import ManualClock
from mailguard.epost.tables import parse
from mailguard.firewall.epost import Epost
from mailguard.firewall.epostdisk import Disk
from mailguard.model import Ban
from mailguard.notation import parse_address
from tests.epost_server import Options, Server
from tests.epost_server.tables import matches
from tests.written import network

BEGIN = 1_795_000_000.0
KINDS = ("smtp", "pop", "imap")
#: Rows that somebody wrote before: a white list, a comment, a damaged line, a lock-out that is over.
OTHERS = b"'the office\n192.0.2.250\ttrue\n203.0.113.200\nnonsense row\n203.0.113.201\t133977293793391816\n"
INNOCENT = ("192.0.2.250", "192.0.3.1", "10.0.0.1", "2001:db8:ffff::1", "198.51.101.1")


class Crashed(BaseException):
    """The driver's process was killed here."""


class Stepping(Disk):
    """Calls `between` before each call, and `seen` with each content a reader can meet while bytes are
    written. `crash_at`: the number of the write that is not survived; `torn`: the bytes of it that are still
    done.
    """

    def __init__(self) -> None:
        self.between: Callable[[], None] = lambda: None
        self.seen: Callable[[bytes], None] | None = None
        self.writes = 0
        self.crash_at = 0
        self.torn = 0

    def open(self, path: str, append: bool = False) -> int:
        self.between()
        return super().open(path, append)

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        self.between()
        return super().read(descriptor, length, offset)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        self.between()
        self._crash(lambda part: os.pwrite(descriptor, part, offset), data)
        if self.seen is not None and len(data) > 1:
            whole = super().read(descriptor, 1 << 24, 0)
            for done in range(1, len(data)):
                self.seen(whole[:offset] + data[:done] + whole[offset + done :])
        super().write(descriptor, data, offset)

    def append(self, descriptor: int, data: bytes) -> int:
        self.between()
        # An append is done or not: the kernel cuts one only where the disk is full.
        self._crash(lambda part: os.write(descriptor, data), data)
        if self.seen is not None:
            whole = Path(f"/proc/self/fd/{descriptor}").read_bytes()
            for done in range(1, len(data)):
                self.seen(whole + data[:done])
        return super().append(descriptor, data)

    def pause(self, seconds: float) -> None:
        self.between()

    def _crash(self, write: Callable[[bytes], int], data: bytes) -> None:
        self.writes += 1
        if self.writes == self.crash_at:
            if part := data[: self.torn]:
                write(part)
            raise Crashed


class Stage:
    """One server and one driver, with everything that may be said of their tables at any moment."""

    def __init__(self, folder: Path, lock: float | None = None, end: bytes = b"\n", head: bytes = OTHERS):
        """`lock`: AuthLockOutTime in seconds, which the driver knows too; None: it is for ever, unknown."""
        self.clock = ManualClock(BEGIN)
        self.program = folder / "program"
        self.lock = lock
        minutes = 0 if lock is None else round(lock / 60)
        options = Options(line_end=end, auth_lock_out=3, auth_lock_out_time=minutes, accounts={"sato": "x"})
        self.server = Server(folder / "spool", self.program, self.clock, options)
        self.head = head.replace(b"\n", end)
        for kind in KINDS:
            self.path(kind).write_bytes(self.head)
        self.end = end
        self.state = folder / "state" / "epost.sqlite"
        self.disk = Stepping()
        self.appended: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
        self.driver = self.start()

    def start(self) -> Epost:
        """The driver's process begins (anew)."""
        locks = {} if self.lock is None else dict.fromkeys(KINDS, self.lock)
        state = str(self.state)
        return Epost(str(self.program), KINDS, locks, state=state, clock=self.clock, disk=self.disk)

    def die(self) -> None:
        """The driver's process is gone, with all that it knew."""
        self.driver.state.close()

    def path(self, kind: str) -> Path:
        return self.program / f"reject{kind}ip.dat"

    def lock_out(self, number: int, kind: str) -> None:
        """The server appends a row of its own."""
        address = f"203.0.113.{number % 100}"
        before = self.path(kind).stat().st_size
        self.server.tables[kind].lock(address, self.clock.now(), iplock=False)
        row = self.path(kind).read_bytes()[before:]
        assert row.endswith(self.end)
        self.appended[kind].append(row)

    # ---- what must be true

    def others_stand(self) -> None:
        """Rows of others are there byte for byte, in their order, once each."""
        for kind in KINDS:
            data = self.path(kind).read_bytes()
            assert data.startswith(self.head)
            theirs = [
                line
                for line in data[len(self.head) :].splitlines(keepends=True)
                if line.startswith(b"203.0.113.")
            ]
            assert theirs == self.appended[kind], kind

    def nobody_wrong(self, data: bytes) -> None:
        """Nobody who was never banned is kept out by this content, and no row is damaged but the one that
        was."""
        rows = parse(data)
        for address in INNOCENT:
            packed = parse_address(address)
            assert packed is not None
            for row in rows:
                refuses = row.rejects and row.matches(packed)
                assert not refuses or address == "192.0.2.250", (address, row)

    def refused(self, address: str, kind: str = "smtp") -> bool:
        """Whether the server turns that client away."""
        return self.session(address, kind) == []

    def turned_away(self, addresses: Iterable[str], kind: str) -> set[str]:
        """Of these clients those whom the server's reading of its table turns away; no session is played."""
        lock, now = self.lock or 0.0, self.clock.now()
        rows = [row for row in self.server.tables[kind].rows() if row.live(now, lock) and not row.iplock]
        away = set()
        for address in addresses:
            first = next((row for row in rows if matches(row.pattern, address)), None)
            if first is not None and not first.white:
                away.add(address)
        return away

    def session(self, address: str, kind: str) -> list[str]:
        """The server's greeting."""
        if kind == "smtp":
            session = self.server.smtp(address)
        else:
            session = self.server.imap(address) if kind == "imap" else self.server.pop3(address)  # type: ignore[assignment]
        greeting = list(session.greeting)
        if greeting:
            session.hang_up()
        return greeting

    def ours(self, kind: str) -> list[str]:
        """The patterns of the rows in force that the driver wrote, sorted."""
        data = self.path(kind).read_bytes()[len(self.head) :]
        return sorted(
            row.pattern for row in parse(data) if row.rejects and not row.pattern.startswith("203.")
        )


def ban(text: str, until: float | None, scope: str = "mail") -> Ban:
    """A ban since the beginning; `until` in seconds since 1970."""
    return Ban(network(text), BEGIN, until, scope=scope)
