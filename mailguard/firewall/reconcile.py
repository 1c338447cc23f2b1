"""Keeps the system as it should be: hears of foreign changes, looks, compares, repairs, says so.

A look is cheap (does table, chains, sets and rules stand?) and done in place. The comparison of all
elements is not (seconds for a hundred thousand), so a forked child does it and sends back only the
differences; meanwhile bans go on. What stands unasked is adopted until its own end, never removed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
from collections.abc import Callable, Iterable
from typing import NoReturn

from mailguard.clock import Clock
from mailguard.firewall.desired import Key
from mailguard.firewall.driver import Differences, Driver
from mailguard.firewall.interface import FirewallError
from mailguard.firewall.netlink import InterruptedDump
from mailguard.model import Network, Notice
from mailguard.notation import format_network

#: Seconds from hearing of a change to looking: a firewall script makes many at once.
SETTLE = 0.15
#: Seconds between repairs: who fights the guard should not be answered a thousand times a second.
APART = 1.0
_RETRY_FIRST, _RETRY_LONGEST = 1.0, 60.0
_LARGEST_ANSWER = 256 << 20
#: Seconds between two ticks at least, whatever a driver asks for.
_SHORTEST = 0.005
_NAMED = 5
_UNREADABLE_SAID = 5


class Reconciler:
    """Owns: when to look, the child that compares. Never asks the judge.

    Times are monotonic seconds of `clock`, but for bans.
    """

    def __init__(self, driver: Driver, clock: Clock, say: Callable[[Notice], None]):
        self.driver = driver
        self._clock = clock
        self._say = say
        self._look_at: float | None = None
        self._tick_at: float | None = None
        self._paused_until = 0.0
        self._running = False
        self._compare = False  # a comparison is due, also when the layout stands
        self._last_repair = float("-inf")
        self._failed = 0.0  # seconds to wait after a failed repair; 0: it worked
        self._unreadable = 0  # comparisons that failed in a row
        self._child: tuple[int, int] | None = None  # pid and descriptor of the answer
        self._answer = bytearray()
        self._changed: set[Key] = set()  # since the child was forked

    # ---- what the enforcer tells

    def opened(self, incomplete: bool) -> None:
        """The driver was opened; with `incomplete` its elements were not all read."""
        self._running = True
        self._compare = incomplete
        self._failed = 0.0
        self._tick_at = self._clock.monotonic()
        self._soon(SETTLE if incomplete else self.driver.look_every)
        self._drop_child()

    def stop(self) -> None:
        """Repair nothing until the next `opened`."""
        self._running = False
        self._look_at = self._tick_at = None
        self._drop_child()

    def pause(self, seconds: float) -> None:
        """Repair nothing for so long; 0: go on."""
        now = self._clock.monotonic()
        self._paused_until = now + seconds
        if self._running:
            self._compare = True
            self._look_at = self._paused_until

    def changed(self, keys: Iterable[Key]) -> None:
        """These bans changed: the driver may have something to do earlier, and a comparison that runs saw
        them before."""
        if self._child is not None:
            self._changed.update(keys)
        if self._running:
            self._tick_at = self._clock.monotonic()

    # ---- descriptors and deadlines

    def descriptors(self) -> list[int]:
        """What to wait for, now."""
        watched = self.driver.watch_fileno() if self._running else None
        answer = None if self._child is None else self._child[1]
        return [number for number in (watched, answer) if number is not None]

    def readable(self, descriptor: int) -> None:
        """One of the descriptors can be read."""
        if self._child is not None and descriptor == self._child[1]:
            self._read_child()
        elif self.driver.touched():
            self._compare = True
            self._soon(SETTLE)

    def deadline(self) -> float | None:
        """When `run_due` has something to do."""
        # Nothing is renewed while a child reads.
        tick_at = self._tick_at if self._child is None else None
        return min((time for time in (self._look_at, tick_at) if time is not None), default=None)

    def run_due(self) -> None:
        """Do what is due."""
        now = self._clock.monotonic()
        if self._tick_at is not None and now >= self._tick_at and self._child is None:
            self._tick(now)
        if self._look_at is not None and now >= self._look_at:
            self._look(now)

    # ---- looking and repairing

    def _soon(self, seconds: float) -> None:
        """Look in so many seconds, unless it is earlier already; never within a pause."""
        at = max(self._clock.monotonic() + seconds, self._last_repair + min(seconds, APART))
        if self._look_at is not None:
            at = min(at, self._look_at)
        self._look_at = max(at, self._paused_until)

    def _tick(self, now: float) -> None:
        wall = self._clock.now()
        try:
            later = self.driver.tick(wall)
        except FirewallError as error:
            self._trouble(error)
            later = wall + _RETRY_LONGEST
        self._tick_at = None if later is None else now + max(_SHORTEST, later - wall)

    def _look(self, now: float) -> None:
        self._look_at = None
        wall = self._clock.now()
        self.driver.purge(wall)
        words = self.driver.missing_layout()
        if words or self._failed:
            try:
                incomplete = self.driver.open_keys({}, wall, soon=True)
            except FirewallError as error:
                self._trouble(error)
                return
            self._last_repair = now
            bans = len(self.driver.desired.bans)
            if words:
                self._say(Notice("firewall-repaired", {"what": "; ".join(words[:_NAMED]), "bans": bans}))
            self._failed = 0.0
            self._compare = incomplete
            self._tick_at = now
        if self._child is None:
            # Where nobody tells of changes every look is a whole one.
            if self._compare or self.driver.watch_fileno() is None:
                self._fork()
            self._compare = False
        self._soon(self.driver.look_every)

    def _trouble(self, error: FirewallError) -> None:
        """A repair failed: said the first time, tried again later and later."""
        if not self._failed:
            self._say(Notice("firewall-lost", {"reason": str(error)}))
        self._failed = min(max(self._failed * 2, _RETRY_FIRST), _RETRY_LONGEST)
        self._look_at = self._clock.monotonic() + self._failed

    def _unread(self, reason: str) -> None:
        """The elements could not be read, often because the ruleset changed meanwhile: later again."""
        self._unreadable += 1
        if self._unreadable == _UNREADABLE_SAID:
            self._say(Notice("firewall-table", {"what": f"its bans cannot be compared: {reason}"}))
        self._compare = True
        self._soon(min(APART * 2**self._unreadable, _RETRY_LONGEST))

    def _mend(self, differences: Differences) -> None:
        now = self._clock.now()
        try:
            self.driver.mend(differences, now)
        except FirewallError as error:
            self._trouble(error)
            return
        self._last_repair = self._clock.monotonic()
        wrong, foreign = _names(differences.wrong), _names([key for key, _ in differences.foreign])
        words = []
        if wrong:
            words.append(_listed("was missing or changed", "were missing or changed", wrong))
        if foreign:
            words.append(
                _listed("that nobody asked for was adopted", "that nobody asked for were adopted", foreign)
            )
        args = {"what": "; ".join(words), "wrong": len(wrong), "adopted": len(foreign)}
        args |= {"networks": wrong[:_NAMED], "adopted_networks": foreign[:_NAMED]}
        self._say(Notice("firewall-repaired", args))

    # ---- the child that compares

    def _fork(self) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        gc.freeze()  # a collection in either process would copy every page of the bans
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.set_blocking(writing, True)
            _answer(self.driver, self._clock.now(), writing)
        gc.unfreeze()
        os.close(writing)
        self._child = (pid, reading)
        self._answer.clear()
        self._changed.clear()

    def _read_child(self) -> None:
        assert self._child is not None
        try:
            data = os.read(self._child[1], 1 << 20)
        except BlockingIOError:
            return
        if data and len(self._answer) < _LARGEST_ANSWER:
            self._answer += data
            return
        answer = bytes(self._answer)
        self._drop_child()
        try:
            told = json.loads(answer)
        except ValueError:
            told = "the comparison was ended"
        if isinstance(told, str):
            self._unread(told)
            return
        self._unreadable = 0
        wrong, strange = told
        missing: list[Key] = [(key[0], key[1], key[2]) for key in wrong]
        adopted: list[tuple[Key, float]] = [((key[0], key[1], key[2]), until) for key, until in strange]
        bans = self.driver.desired.bans
        differences = Differences(
            [key for key in missing if key in bans and key not in self._changed],
            [(key, until) for key, until in adopted if key not in bans and key not in self._changed],
            [],
        )
        if differences and self._running and self._clock.monotonic() >= self._paused_until:
            self._mend(differences)

    def _drop_child(self) -> None:
        if self._child is not None:
            pid, descriptor = self._child
            self._child = None
            os.close(descriptor)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # a whole comparison may take seconds: nobody waits for it
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _names(keys: Iterable[Key]) -> list[str]:
    return [format_network(Network(address, prefix)) for _, address, prefix in keys]


def _listed(one: str, many: str, names: list[str]) -> str:
    """`2 bans were missing: 192.0.2.7, 192.0.2.8`, the first few by name."""
    more = ", ..." if len(names) > _NAMED else ""
    head = f"1 ban {one}" if len(names) == 1 else f"{len(names)} bans {many}"
    return f"{head}: {', '.join(names[:_NAMED])}{more}"


def _answer(driver: Driver, now: float, writing: int) -> NoReturn:
    """The child's life: compare, write the differences, or in a text why it could not; end."""
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.nice(10)  # bans go first
        try:
            driver.in_child()
            found = driver.compare(now)
            answer: object = [found.wrong, found.foreign]
        except InterruptedDump:
            answer = ""
        except (OSError, FirewallError) as error:
            answer = str(error)
        data = memoryview(json.dumps(answer).encode())
        while data:
            data = data[os.write(writing, data) :]
        code = 0
    except OSError:
        pass  # nobody reads any more
    finally:
        os._exit(code)
