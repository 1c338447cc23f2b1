"""The enforcer: takes the judge's frames and applies them to one driver, and repairs what drifts meanwhile.

How it is started, and with which rights, is in `mailguard.enforcer`.
"""

from __future__ import annotations

import gc
import select
import signal
import socket
import sys
from math import ceil

from mailguard.clock import Clock, SystemClock
from mailguard.firewall import sockets, wire
from mailguard.firewall.desired import FOREVER, Bans, Changes, Key
from mailguard.firewall.driver import Attend, Driver
from mailguard.firewall.interface import FirewallError
from mailguard.firewall.reconcile import Reconciler
from mailguard.model import Network, Notice

#: Seconds a judge may leave an answer unread before the connection is given up.
_PATIENCE = 10.0
#: Ends that a repeated ban may differ by and still be the same: durations travel, not times.
_SAME = 1.0
_WAITING_NOTICES = 100


def _hung_up(line: socket.socket) -> bool:
    """Whether the other end is closed; what it wrote before may still have to be read."""
    poll = select.poll()
    poll.register(line, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


class Enforcer:
    """One driver, one judge at a time.

    Owns: the connection, the bans being collected for `open`. Times of bans are wall seconds of `clock`.
    """

    def __init__(self, driver: Driver, clock: Clock | None = None):
        self.driver = driver
        self.clock: Clock = clock or SystemClock()
        self.reconciler = Reconciler(driver, self.clock, self._tell)
        self.closer = sockets.Closer(self.clock) if driver.close_sockets else None
        self._listener: socket.socket | None = None
        self._judge: socket.socket | None = None
        self._frames = wire.Frames(wire.ASKED)
        self._buffer = bytearray(1 << 19)
        self._attend: Attend | None = None
        self._opening: dict[Key, float] | None = None
        self._notices: list[Notice] = []
        self._woken: socket.socket | None = None
        self._ended = False
        self.dismissed = False  # the judge said that it ends

    # ---- the loop

    def serve(self, judge: socket.socket) -> None:
        """Serve one judge until it goes."""
        self._welcome(judge)
        while self._judge is not None:
            self._step()

    def listen(self, listener: socket.socket) -> None:
        """Serve one judge after the other, until SIGTERM; bans stand when it ends."""
        listener.setblocking(False)
        self._listener = listener
        self._woken, waking = socket.socketpair()
        waking.setblocking(False)
        signal.set_wakeup_fd(waking.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.end())
        while not self._ended:
            self._step()

    def end(self) -> None:
        """Leave the loop after this step."""
        self._ended = True

    def _step(self) -> None:
        helpers: dict[int, Reconciler | sockets.Closer] = {}
        for helper in (self.reconciler, self.closer):
            if helper is not None:
                helpers.update(dict.fromkeys(helper.descriptors(), helper))
        listening = [one.fileno() for one in (self._listener, self._woken) if one is not None]
        for number in self._wait([*helpers, *listening]):
            if self._judge is not None and number == self._judge.fileno():
                self._read()
            elif number in helpers:
                helpers[number].readable(number)
            elif self._listener is not None and number == self._listener.fileno():
                self._accept()
        self.reconciler.run_due()
        if self.closer is not None:
            self.closer.run_due()
        for notice in self.driver.notices():
            self._tell(notice)

    def _wait(self, others: list[int]) -> list[int]:
        """Wait for the judge and these descriptors; those that can be read and were not yet. Where there is a
        compiled way it has read what the judge wrote."""
        patience = self._patience()
        if self._attend is not None and self._judge is not None and self._frames.idle:
            try:
                found = self._attend(
                    self._judge.fileno(), others, -1 if patience is None else patience, self._buffer
                )
            except FirewallError:
                self._attend = None  # the usual way tells the judge what is wrong
                return []
            except OSError:
                found = 0
            if isinstance(found, list):
                return found
            if isinstance(found, tuple):
                self._was_banned(*found)
            elif found >= 0:
                self._take(found)
            return []
        # Made anew each time: descriptors of children come and go, and their numbers come back.
        waiting = select.poll()
        for number in others:
            waiting.register(number, select.POLLIN)
        if self._judge is not None:
            waiting.register(self._judge, select.POLLIN)
        return [number for number, _ in waiting.poll(patience)]

    def _patience(self) -> int | None:
        """Milliseconds until something is due by itself."""
        deadlines = [self.reconciler.deadline(), self.closer.deadline() if self.closer else None]
        known = [deadline for deadline in deadlines if deadline is not None]
        return ceil(max(0.0, min(known) - self.clock.monotonic()) * 1000) if known else None

    # ---- the connection

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        # A judge that has gone makes room, also where the next one comes before its end was noticed.
        while self._judge is not None and _hung_up(self._judge):
            self._read()
        if self._judge is not None:
            connection.close()  # one judge at a time
            return
        self._welcome(connection)

    def _welcome(self, judge: socket.socket) -> None:
        judge.setblocking(False)
        self._judge = judge
        self._frames = wire.Frames(wire.ASKED)
        self._opening = None
        waiting, self._notices = self._notices, []
        for notice in waiting:
            self._tell(notice)

    def _farewell(self) -> None:
        if self._judge is not None:
            self._judge.close()
            self._judge = None

    def _read(self) -> None:
        if self._judge is None:
            return
        try:
            size = self._judge.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        self._take(size)

    def _take(self, size: int) -> None:
        """So many bytes from the judge lie in the buffer; 0: it has gone."""
        judge = self._judge
        if not size:
            self._farewell()
            return
        data = memoryview(self._buffer)[:size]
        try:
            if self._frames.idle and self._at_once(data):
                return
            for kind, sequence, body in self._frames.feed(data):
                self._handle(kind, sequence, body)
                if self._judge is not judge:
                    return  # it went while it was being answered
        except wire.WireError as error:
            print(f"mailguard-enforcer: connection closed: {error}", file=sys.stderr)
            self._farewell()

    def _at_once(self, data: memoryview) -> bool:
        """The case that must not wait: one new ban. The kernel first, then the answer, then all else; False:
        it is another case. Raises WireError."""
        now = self.clock.now()
        asked = wire.read_one(data, now)
        if asked is None:
            return False
        sequence, key, until = asked
        if not self.driver.at_once(key, until, now):
            return False
        self._was_banned(sequence, key, until - now, False)
        return True

    def _was_banned(self, sequence: int, key: Key, seconds: float, answered: bool) -> None:
        """One ban stands by the shortest way: answer, unless that is done, and remember it."""
        if not answered:
            self._send(wire.frame(wire.ACK, sequence))
        bans = {key: self.clock.now() + seconds}
        self.driver.desired.commit(bans)
        self._banned(bans)

    def _banned(self, bans: Bans) -> None:
        """What follows from bans that stand and were answered."""
        self.reconciler.changed(bans)
        if self.closer is not None:
            self.closer.banned(bans, self.driver.ports, self.driver.allowed)

    def _send(self, data: bytes) -> None:
        if self._judge is None:
            return
        try:
            sent = self._judge.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._farewell()
            return
        if sent == len(data):
            return
        try:
            self._judge.settimeout(_PATIENCE)
            self._judge.sendall(memoryview(data)[sent:])
            self._judge.setblocking(False)
        except OSError:
            self._farewell()

    def _tell(self, notice: Notice) -> None:
        """To the judge; without one it waits, and the newest are kept."""
        if self._judge is None:
            self._notices = [*self._notices[-_WAITING_NOTICES:], notice]
        else:
            self._send(wire.frame(wire.NOTICE, 0, wire.pack_notice(notice)))

    # ---- what the judge asks

    def _handle(self, kind: int, sequence: int, body: bytes) -> None:
        now = self.clock.now()
        try:
            if kind == wire.IMPOSE:
                bans = self._settled(wire.unpack_bans(body, now))
                self.driver.change(dict(bans), now)
                self._send(wire.frame(wire.ACK, sequence))
                self._banned(bans)
                return
            if kind == wire.OPEN:
                if not self._open(body, now):
                    return
            elif kind == wire.LIFT:
                gone: Changes = dict.fromkeys(wire.unpack_places(body))
                self.driver.change(gone, now)
                self.reconciler.changed(gone)
            elif kind == wire.ALLOW:
                self.driver.allow([Network(*place) for _, *place in wire.unpack_places(body)])
            elif kind == wire.BANNED:
                for rows in wire.pack_standing(self.driver.look()):
                    self._send(wire.frame(wire.STANDING, sequence, rows))
            else:
                self._manage(kind, body)
        except FirewallError as error:
            self._send(wire.frame(wire.ERROR, sequence, wire.pack_error(error)))
            return
        self._send(wire.frame(wire.ACK, sequence))

    def _manage(self, kind: int, body: bytes) -> None:
        if kind == wire.SETUP:
            self.driver.set_ports(wire.unpack_ports(body))
        elif kind == wire.PAUSE:
            self.reconciler.pause(wire.unpack_seconds(body))
        elif kind == wire.PANIC:
            if body:
                raise wire.WireError("panic has no body")
            self.reconciler.stop()
            self.driver.panic()
        elif kind == wire.CLOSE:
            keep = wire.unpack_flag(body)
            self.dismissed = True
            if not keep:
                self.reconciler.stop()
                self.driver.panic()

    def _settled(self, bans: dict[Key, float]) -> dict[Key, float]:
        """A ban that stands already with that end keeps its end to the last digit: nothing is to be done."""
        known = self.driver.desired.bans
        if not known:
            return bans
        for key, until in bans.items():
            before = known.get(key)
            if before is not None and before != FOREVER != until and abs(before - until) < _SAME:
                bans[key] = before
        return bans

    def _open(self, body: bytes, now: float) -> bool:
        """Collect the parts of `open`; True when the last one came and the firewall stands."""
        last = wire.unpack_flag(body[:1])
        if self._opening is None:
            self._opening = {}
        self._opening |= wire.unpack_bans(body[1:], now)
        if len(self._opening) > wire.MOST_BANS:
            raise wire.WireError("too many bans")
        if not last:
            return False
        bans, self._opening = self._opening, None
        gc.disable()
        try:
            incomplete = self.driver.open_keys(self._settled(bans), now, soon=True)
        finally:
            gc.enable()
        self.reconciler.opened(incomplete)
        self._attend = self.driver.attend()
        gc.freeze()  # what stands now stands for long: the collector need not look at it again
        return True
