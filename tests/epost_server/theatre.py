"""Plays stories: acts at their times against the stand-in, which writes its logs, which the real feed reads,
which the judge judges; and whoever is banned does not get through any more.

Time is the story's; seconds since its beginning, a Monday at midnight.
"""

from __future__ import annotations

import base64
import heapq
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from mailguard.clock import ManualClock
from mailguard.core.loop import Loop
from mailguard.daemon.build import Loaded, make_judge
from mailguard.definitions.parsers import load_parsers
from mailguard.definitions.settings import load_settings
from mailguard.feeds.growth import Meter, Sizes, count_all
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.live import LiveFeed, make_source
from mailguard.firewall.recording import Recording
from mailguard.model import Alert, Effect, Impose, Item, Network, Notice, Offence, Readings
from mailguard.notation import covers, format_network, host_prefix, parse_address
from mailguard.replay import Collector, Forgetful, Summary
from tests.epost_server.options import ALL_LOGS, Options
from tests.epost_server.server import Server
from tests.epost_server.session import Session

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
BEGIN = datetime(2026, 10, 5, 0, 0, tzinfo=ZoneInfo("Asia/Tokyo")).timestamp()
EVERY_LOG, TWO_LOGS = ALL_LOGS, frozenset({"acceptlog", "imap4log"})
PEOPLE = ("sato", "suzuki", "takahashi", "tanaka", "watanabe", "ito", "yamamoto", "nakamura", "kato", "mori")
_SHIPPED = Path(__file__).resolve().parents[2] / "parsers"


class Theatre:
    """One server, one guard, one story."""

    def __init__(self, folder: Path, logs: frozenset[str] = EVERY_LOG, **options: Any):
        names = sorted(path.stem for path in _SHIPPED.glob("epost-*.toml"))
        parsers = load_parsers(names)
        self.clock = ManualClock(BEGIN)
        accounts = {name: f"{name}-himitsu" for name in PEOPLE}
        remote = {"partner.example": "198.51.100.25 mx.partner.example"}
        chosen: dict[str, Any] = {"accounts": accounts, "remote": remote, "logs": logs, **options}
        self.server = Server(folder / "spool", folder / "program", self.clock, Options(**chosen))
        settings = load_settings("mailguard.toml", text='[growth]\nevery = "5m"\n')
        self.judge, scanner = make_judge(Loaded(settings, tuple(parsers)), secret=b"theatre")
        self.judge.enforcing = True
        self.feed = LiveFeed(clock=self.clock, spacing=0.0)
        self.log = LogOptions(
            "epost", "epost", (str(folder / "spool"),), timezone="Asia/Tokyo", start="begin"
        )
        self.teller = Collector(Summary())
        self.loop = Loop(self.feed, self.judge, Recording(self.clock), Forgetful(), self.clock, self.teller)
        self.loop.hurry = True
        self.counters = scanner.counters
        self.effects: list[Effect] = []
        self.banned: dict[
            tuple[str, str], float
        ] = {}  # (network, detector) -> seconds into the story, first ban
        self.meter: Meter | None = None
        self.kept_out = 0  # acts that met a ban
        self.notices: list[Notice] = []  # what the feed and the loop had to say
        self._standing: dict[Network, float | None] = {}
        self._acts: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    # ------------------------------------------------------------ playing

    def at(self, seconds: float, act: Callable[..., None], *arguments: Any, **named: Any) -> None:
        """Have `act` called when the story is so old."""
        heapq.heappush(self._acts, (seconds, next(self._number), lambda: act(*arguments, **named)))

    def measure(self) -> None:
        """Have sizes of logs and messages in the spool measured from now on."""
        assert self.judge.growth is not None
        self._start()

        def sizes() -> dict[str, int]:
            return {name: known["bytes"] for name, known in self.feed.status().items() if not known["words"]}

        self.meter = Prompt(str(self.server.spool), sizes, self.clock, self.judge.growth.rules.every)
        self.meter.attend(self.feed.wait)

    def play(self) -> None:
        """All acts in the order of their times."""
        while self._acts:
            seconds, _, act = heapq.heappop(self._acts)
            self.clock.set(BEGIN + seconds)
            with suppress(Refused):
                act()
            self._read()
        self.server.close()
        if self.meter is not None:
            self.meter.close()
        self.feed.close()

    def _start(self) -> None:
        if not self.feed.sources:  # the server has run for a while when the guard comes
            self.feed.add(make_source(self.log, {}, self.clock))

    def _read(self) -> None:
        self._start()
        before = -1
        while before != self.counters.lines:
            before = self.counters.lines
            self.loop.step()
        self.notices = self.teller.summary.notices
        for effect in self.teller.take():
            self.effects.append(effect)
            if isinstance(effect, Impose):
                ban = effect.ban
                self._standing[ban.network] = ban.until
                detector = ban.offence.detector if ban.offence is not None else ""
                place = format_network(ban.network), detector
                self.banned.setdefault(place, effect.time - BEGIN)

    # ------------------------------------------------------------ what came of it

    def alerts(self, detector: str) -> list[Offence]:
        """What people were told about."""
        return [
            effect.offence
            for effect in self.effects
            if isinstance(effect, Alert) and effect.offence.detector == detector
        ]

    @property
    def told(self) -> set[str]:
        """Detectors that told people of something."""
        return {effect.offence.detector for effect in self.effects if isinstance(effect, Alert)}

    # ------------------------------------------------------------ acts

    def _knocks(self, address: str) -> None:
        """Raises Refused when a ban keeps the client out."""
        packed = parse_address(address)
        assert packed is not None
        client, now = Network(packed, host_prefix(packed)), self.clock.now()
        for network, until in self._standing.items():
            if (until is None or now < until) and covers(network, client):
                self.kept_out += 1
                raise Refused

    def connects(self, address: str, service: str = "smtp", port: int = 25) -> Session:
        """A connection, or Refused."""
        self._knocks(address)
        server = self.server
        session: Session
        if service == "smtp":
            session = server.smtp(address, port)
        else:
            session = server.imap(address) if service == "imap" else server.pop3(address)
        if not session.open:
            raise Refused
        return session

    def knocks(self, address: str) -> None:
        """Connects and leaves."""
        self.connects(address).hang_up()

    def logs_in(self, address: str, user: str, password: str = "") -> None:
        """Reads mail by IMAP; without a password the right one."""
        session = self.connects(address, "imap")
        session.send(f'a LOGIN {user} "{password or self._password(user)}"')
        if session.open:
            session.send("b SELECT INBOX")
            session.send("c LOGOUT")

    def _password(self, user: str) -> str:
        return f"{user.partition('@')[0]}-himitsu"

    def guesses(self, address: str, *names: str, port: int = 25) -> None:
        """AUTH LOGIN for each of these names on one connection, with a wrong password."""
        session = self.connects(address, port=port)
        session.send("EHLO pc")
        for name in names:
            if session.open:
                session.send("AUTH LOGIN")
                session.send(encoded(name))
                session.send(encoded("123456"))
        session.hang_up()

    def says(self, address: str, *lines: str, port: int = 25) -> None:
        """Whatever it likes, until the server cuts it off."""
        session = self.connects(address, port=port)
        for line in lines:
            if session.open:
                session.send(line)
        session.hang_up()

    def mails(
        self, address: str, sender: str, recipients: Sequence[str], helo: str = "mail.example.net"
    ) -> None:
        """Another server brings a message; it leaves when nobody took it."""
        session = self.connects(address)
        session.send(f"EHLO {helo}")
        self._mail(session, sender, recipients)
        session.send("QUIT")

    def submits(self, address: str, user: str, recipients: Sequence[str]) -> None:
        """A user logs in and sends a message."""
        session = self.connects(address, port=587)
        session.send("EHLO pc01")
        session.send("AUTH PLAIN " + encoded(f"\0{user}\0{self._password(user)}"))
        self._mail(session, f"{user.partition('@')[0]}@example.jp", recipients)
        session.send("QUIT")
        self.server.deliver()

    def _mail(self, session: Session, sender: str, recipients: Sequence[str]) -> None:
        session.send(f"MAIL FROM:<{sender}>")
        taken = [to for to in recipients if session.send(f"RCPT TO:<{to}>")[0].startswith("250")]
        if taken:
            for line in ("DATA", "Subject: x", "", "Hello", "."):
                session.send(line)


class Prompt(Meter):
    """A meter that counts when it is asked: a thread's time is not the story's."""

    def __init__(self, spool: str, sizes: Sizes, clock: ManualClock, every: float):
        super().__init__((), sizes, clock, every)
        self.spool = spool

    def _tick(self, events: int) -> list[Item]:
        messages, _ = count_all([self.spool])
        return [*super()._tick(events), Readings(self._clock.now(), {}, messages)]


class Refused(Exception):
    """The client did not get through."""


def encoded(text: str) -> str:
    """base64"""
    return base64.b64encode(text.encode()).decode()
