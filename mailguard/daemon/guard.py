"""The running guard: its parts put together, restored, run, reloaded and ended."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..clock import Clock, SystemClock
from ..control import Server
from ..core.judge import Judge
from ..core.loop import SET_BACK, Loop
from ..core.ports import Pace
from ..core.scanner import Scanner
from ..definitions.settings import Log, Settings
from ..feeds.growth import Meter
from ..feeds.live import LiveFeed, make_source
from ..firewall.interface import FirewallError
from ..health import Health
from ..ledger import Ledger, LedgerError
from ..ledger.redact import Known
from ..ledger.writer import Writer
from ..model import Impose, Network, Notice
from ..notation import format_effect
from ..problems import EXIT_OK, EXIT_UNAVAILABLE, ProblemsError
from ..replay import Merged, Summary
from ..sdnotify import Notifier
from . import garbage
from .alerts import Runner
from .build import Loaded, make_judge, options_of
from .desk import Desk
from .door import Door
from .hosts import HostsToo
from .learn import rotated_logs
from .meter import measure
from .printer import Printer
from .signals import Signals

MOST_TOLD = 10  # bans that would stand, listed at the first start
SALT = "secret"  # the ledger's name for the key of the engine's hashes


@dataclass(frozen=True, slots=True)
class Options:
    """What was said on the command line of `mailguard run`. None: as the settings say."""

    config: Any = None  # Path of the settings; None: defaults
    enforce: bool | None = None  # True: ban, False: observe
    logs: tuple[str, ...] = ()  # files instead of the logs in the settings; "-" is standard input
    demo: bool = False
    firewall: str | None = None  # name of an action
    state: str | None = None  # folder of the ledger
    socket: str | None = None  # path of the control socket
    enforcer: str | None = None  # socket of an enforcer that runs already
    flush: bool = False  # remove bans at the end
    form: str = "auto"  # how effects are written: "auto", "plain", "json"


class Guard:
    """A live loop with everything around it. `start`, `run`, `end`, in that order."""

    def __init__(
        self,
        options: Options,
        loaded: Loaded,
        logs: Sequence[Log],
        door: Door,
        *,
        state: str,
        socket: str,
        never: Callable[[], list[tuple[Network, str]]],
        reload_with: Callable[[], tuple[Loaded, Sequence[Log]]],
        firewall_words: str = "",
        clock: Clock | None = None,
        pace: Pace | None = None,
        printer: Printer | None = None,
        notifier: Notifier | None = None,
    ):
        """`never` finds this host's own addresses; `reload_with` reads settings, definitions and logs
        anew."""
        self.options = options
        self.loaded = loaded
        self.logs = tuple(logs)
        self.door = door
        self.firewall_words = firewall_words
        self.clock = clock or SystemClock()
        self.started = self.clock.now()
        self.ledger_path = state + "/ledger.db"
        self._lock = _alone(state)
        self.printer = printer or Printer(options.form)
        self.notifier = notifier or Notifier()
        self.runner = Runner(loaded.settings.alerts.command)
        self._never = never
        self._reload_with = reload_with
        self._signals = Signals()
        self._server = Server(socket, self.clock.monotonic)
        self._pace = pace
        self.ledger = Ledger(self.ledger_path, evidence=loaded.settings.general.evidence)
        self.writer = Writer(self.ledger)
        self.health = Health(self.started, heartbeat=loaded.settings.general.heartbeat or None)
        self.desk = Desk(self)
        self.meter: Meter | None = None
        self.judge: Judge
        self.scanner: Scanner
        self.feed: LiveFeed
        self.loop: Loop

    # ------------------------------------------------------------ starting

    def start(self) -> None:
        """Restore what was known, take the firewall and the control socket, learn from old logs at the first
        start.

        Raises FirewallError, ControlError, LedgerError: then nothing stands yet and the process should end.
        """
        now = self.clock.now()
        rows = list(self.ledger.restore())
        first = not rows
        self.judge, self.scanner = self._make_judge(self.loaded)
        self.judge.restore(rows)
        del rows
        if self.judge.engine.clock > now + SET_BACK:
            self.judge.engine.set_back(now)
            self.ledger.turn_back(now)
        saved = self.ledger.positions()
        self.feed = LiveFeed(clock=self.clock)
        self.loop = Loop(
            self.feed, self.judge, self.door, self.writer, self.clock, self.desk,
            pace=self._pace,
            firewall_errors=(FirewallError, OSError, LedgerError),
        )  # fmt: skip
        self._watch_hosts()
        self._server.open(self.feed.wait)
        self._signals.open(self.feed.add_fd)
        self._open_firewall(now)
        self._set_mode(first)
        self._restore_health(now)
        if first:
            self._learn(now)
        for log in self.logs:
            self.feed.add(make_source(options_of(log, first), saved, self.clock))
            self.printer.notice(Notice("watching", {"log": ", ".join(log.path or log.listen) or log.kind}))
        self._catch_up(quiet=first and not self.options.demo)
        self._expect()
        self.meter = measure(self)  # not before: what was written meanwhile is read at once
        # From here on nothing is lost: a guard that is killed goes on from this checkpoint.
        self.loop.checkpoint()
        self.judge.foretell(self.loop.gate.ahead)
        garbage.seldom()
        sys.setswitchinterval(0.0005)  # the ledger's thread gives way quickly
        self.notifier.ready(self.desk.line())

    def _make_judge(self, loaded: Loaded) -> tuple[Judge, Scanner]:
        secret = self.ledger.get(SALT)
        if not isinstance(secret, bytes):
            secret = self.ledger.redactor.key
            self.ledger.put(SALT, secret)
        never = self._never() if loaded.settings.never.own else ()
        judge, scanner = make_judge(loaded, secret=secret, never=never)
        if isinstance(self.door.inner, HostsToo):
            judge.keep_hostile()
        book, hasher = judge.engine.book, judge.engine.hasher
        # As `book.exists(hasher(name))`, in fewer steps: asked for every hostile line.
        self.ledger.redactor.known = Known(hasher, book.users, book.users.sieve)
        return judge, scanner

    def _watch_hosts(self) -> None:
        """Where single addresses are banned beside their networks, they are those of hostile events."""
        firewall = self.door.inner
        if isinstance(firewall, HostsToo):
            self.writer.watch = lambda events: firewall.saw(events, self.clock.now())

    def _open_firewall(self, now: float) -> None:
        """Put in what is due, unless a pause was asked for and lasts."""
        paused = self.ledger.get("paused-until")
        if isinstance(paused, int | float) and paused > now:
            self.loop.gate.pause(paused)
        else:
            try:
                self.door.open(self.ledger.due(now), now)
                self.door.allow(self.judge.allowed())
            except FirewallError as error:
                if not error.later:
                    raise
                self.loop.gate.not_yet(error, said=str(error) in self.firewall_words)
            self.loop.gate.restored(self.judge.allowed())
        self.door.attend(self.feed.wait)

    def set_back(self) -> None:
        """The clock was set back: the ends that the ledger and the firewall know lie too far ahead."""
        now = self.clock.now()
        self.judge.engine.set_back(now)
        self.writer.later(lambda: self.ledger.turn_back(now))
        self.loop.gate.reopen(now)

    def _set_mode(self, first: bool) -> None:
        """The command line decides, then what was asked since the settings were changed, then the
        settings."""
        stated = self.loaded.settings.general.mode
        asked = self.ledger.get("mode")
        if self.options.enforce is not None:
            mode = "enforce" if self.options.enforce else "observe"
        elif isinstance(asked, str) and self.ledger.get("mode-stated") == stated:
            mode = asked
        else:
            mode = stated
        if not first and mode == "enforce" and not self.judge.enforcing:
            self.loop.ask("enforce")
        self.judge.enforcing = mode == "enforce"
        self.remember_mode()
        self.printer.notice(Notice("mode", {"mode": mode}))

    def remember_mode(self) -> None:
        """Keep the mode with what the settings said at that time: a later change of the settings counts
        again."""
        self.remember("mode", "enforce" if self.judge.enforcing else "observe")
        self.remember("mode-stated", self.loaded.settings.general.mode)

    def remember(self, name: str, value: str | float | None) -> None:
        """Keep a named value in the ledger, as soon as it can be written."""
        self.writer.later(lambda: self.ledger.put(name, value))

    def _restore_health(self, now: float) -> None:
        known = self.ledger.get("health")
        if isinstance(known, str):
            with suppress(ValueError, TypeError, AttributeError):  # learned again within two weeks
                self.health.load(known, now)

    def _expect(self) -> None:
        """Logs that stand in the settings are expected to speak."""
        now = self.clock.now()
        limits = {log.name: log.silent_after or None for log in self.logs}
        for source in self.feed.sources:
            for name in source.status():
                self.health.expect(name, now, limits.get(source.name))

    def _learn(self, now: float) -> None:
        """Rotated logs through the same loop; what they would have led to is counted, not told."""
        recorded = rotated_logs([(log, options_of(log, True)) for log in self.logs], now)
        if not recorded:
            return
        self.printer.notice(Notice("learning", {"count": len(recorded)}))
        self.desk.learning = True
        # A crash before its end begins anew: nothing is written as known before all of it was read.
        feed = Merged(recorded, self.judge, None, Summary())
        loop = Loop(
            feed, self.judge, self.door, self.writer, self.clock, self.desk,
            pace=Pace(checkpoint_every=float("inf"), checkpoint_bytes=1 << 62),
            firewall_errors=(FirewallError, OSError, LedgerError),
        )  # fmt: skip
        patience = 0.0
        while loop.step():
            if time.monotonic() >= patience:
                patience = time.monotonic() + 10
                self.notifier.patience(60)
        self.desk.learning = False

    def _catch_up(self, quiet: bool) -> None:
        """Read what stands in the logs already; `quiet`: count what follows from it instead of telling it."""
        self.desk.learning = quiet
        self.loop.hurry = True
        patience, before = 0.0, -1
        while not self.loop.stopping and before != self.scanner.counters.lines:
            before = self.scanner.counters.lines
            self.loop.step()
            if time.monotonic() >= patience:
                patience = time.monotonic() + 10
                self.notifier.patience(60)
        self.loop.hurry = False
        self.desk.learning = False
        if quiet and self.scanner.counters.lines:
            told = {
                "records": self.scanner.counters.lines,
                "events": self.judge.engine.counts["events"],
                "would": self.desk.would,
            }
            self.printer.notice(Notice("learned", told))
            self._tell_would()

    def _tell_would(self) -> None:
        """The bans that would stand now, newest first, and how to make them real."""
        if self.judge.enforcing:
            return
        would = sorted(
            (held.ban for held in self.judge.engine.bans if held.simulated), key=lambda ban: -ban.since
        )
        for ban in would[:MOST_TOLD]:
            self.printer.notice(Notice("would", {"effect": format_effect(Impose(ban, ban.since))}))
        if len(would) > MOST_TOLD:
            self.printer.notice(Notice("would-more", {"count": len(would) - MOST_TOLD}))
        self.printer.notice(Notice("observing"))

    # ------------------------------------------------------------ running and ending

    def run(self) -> int:
        """Until somebody stops it. The exit code."""
        self.loop.run()
        return EXIT_OK

    def end(self) -> int:
        """Write the last checkpoint and let go of everything. Bans stand, unless `--flush` was said."""
        self.notifier.stopping()
        code = EXIT_OK
        self.remember("health", self.health.save())
        if not self.writer.close():
            # What could not be written is read again from the logs at the next start; bans stand in the
            # firewall.
            self.printer.notice(Notice("disk-full", {"reason": self.writer.trouble or "it takes too long"}))
            code = EXIT_UNAVAILABLE
        why = self.door.close(keep=not self.options.flush)
        if why and self.options.flush:
            self.printer.notice(Notice("firewall-lost", {"reason": why}))
            code = EXIT_UNAVAILABLE
        self._server.close()
        self._signals.close()
        if self.meter is not None:
            self.meter.close()
        if hasattr(self, "feed"):
            self.feed.close()
        self.ledger.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        return code

    # ------------------------------------------------------------ reloading

    def reload(self) -> dict[str, Any]:
        """All or nothing: new settings, definitions and logs, with all that is known; or the old ones go
        on."""
        self.notifier.reloading()
        try:
            loaded, logs = self._reload_with()
            judge, scanner = self._make_judge(loaded)
            saved = self.feed.positions()
            wanted = [options_of(log, False) for log in logs]
            standing = [one for one in self.feed.sources if getattr(one, "lasting", False)]
            lasting = {getattr(one, "options", None): one for one in standing}
            sources = [lasting.get(one) or make_source(one, saved, self.clock) for one in wanted]
        except (ProblemsError, OSError, ValueError) as error:
            self.printer.notice(Notice("reload-refused", {"problems": str(error)}))
            self.notifier.ready(self.desk.line())
            return {"ok": False, "id": "reload-refused", "error": str(error)}
        # First what changed, for what comes next takes it from the old judge without writing it.
        self.loop.checkpoint()
        if self.writer.busy:
            problem = f"the ledger cannot be written: {self.writer.trouble or 'it takes too long'}"
            self.printer.notice(Notice("reload-refused", {"problems": problem}))
            self.notifier.ready(self.desk.line())
            return {"ok": False, "id": "reload-refused", "error": problem}
        judge.restore(
            (table, key, value) for table, key, value in self.judge.checkpoint(True) if value is not None
        )
        before = self.loaded.settings
        if (
            before.firewall != loaded.settings.firewall
            or before.general.state != loaded.settings.general.state
        ):
            self.printer.notice(Notice("restart-needed"))
        stated = before.general.mode
        if loaded.settings.general.mode != stated and self.options.enforce is None:
            judge.enforcing = loaded.settings.general.mode == "enforce"
        self.judge = self.loop.judge = judge
        judge.foretell(self.loop.gate.ahead)
        self.scanner = scanner
        before, self.loaded, self.logs = self.loaded.settings, loaded, tuple(logs)
        before_sources = self.feed.sources
        for source in before_sources:
            if source not in sources:
                self.feed.remove(source)
        for source in sources:
            if source not in before_sources:
                self.feed.add(source)
        self.runner = Runner(loaded.settings.alerts.command)
        self.ledger.redactor.full = loaded.settings.general.evidence == "full"
        if loaded.settings.firewall.ports != before.firewall.ports:
            self.door.set_ports(loaded.settings.firewall.ports)
            self.loop.gate.reopen(self.clock.now())
        if loaded.settings.general.heartbeat != before.general.heartbeat:
            self.health.beat_every(loaded.settings.general.heartbeat or None, self.clock.now())
        self.remember_mode()
        self.loop.notes.dirty = 1
        self.loop.checkpoint()
        self._expect()
        if self.meter is not None:
            self.meter.close()
        self.meter = measure(self)
        if loaded.settings.general.language != before.general.language:
            self.printer.speak(loaded.settings.general.language)
        self.printer.notice(Notice("reloaded"))
        if later := self._next_start(before):
            self.printer.notice(Notice("next-start", {"keys": ", ".join(later)}))
        self.notifier.ready(self.desk.line())
        return {"ok": True, "id": "reloaded"}

    def _next_start(self, before: Settings) -> list[str]:
        """Keys that were changed and that a running guard cannot change."""
        now, options = self.loaded.settings, self.options
        return [
            key
            for key, said, old, new in (
                ("state", options.state, before.general.state, now.general.state),
                ("socket", options.socket, before.general.socket, now.general.socket),
                ("action", options.firewall or options.enforcer, before.firewall.action, now.firewall.action),
            )
            if said is None and old != new
        ]


def _alone(state: str) -> int | None:
    """Keep other guards from this state folder; the descriptor that does, None where files cannot be locked.
    Raises LedgerError when another guard is there: two would count and write over each other."""
    try:
        lock = os.open(state + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None  # the ledger meets the same trouble and says it better
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise LedgerError(f"another guard runs already (it keeps its state in {state})") from None
    except OSError:
        os.close(lock)
        return None
    return lock
