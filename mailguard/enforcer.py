"""The small privileged process: typed networks in, firewall operations out.

It reads no log and no file of the administrator's while it runs, accepts only the frames of `firewall.wire`
from one judge at a time, and applies each before it answers. A frame that is none closes the connection.
Bans stand when the judge goes: they have their ends in the kernel, and the reconciler keeps them there
until a judge comes back.

Started in one of two ways: `spawn` forks it from the guard in the foreground, and a keeper beside it that
forks the next one where it was killed; `python -m mailguard.enforcer` listens at a Unix socket (its own, or
one that systemd passes), and systemd keeps it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from typing import NoReturn

from mailguard.clock import Clock, SystemClock
from mailguard.firewall import privileges, sockets, wire
from mailguard.firewall.choose import choose
from mailguard.firewall.desired import FOREVER, Bans, Changes, Key
from mailguard.firewall.driver import Attend, Driver
from mailguard.firewall.interface import Firewall, FirewallError
from mailguard.firewall.reach import HandedOver
from mailguard.firewall.reconcile import Reconciler
from mailguard.firewall.recording import Recording
from mailguard.firewall.remote import RemoteFirewall
from mailguard.model import Network, Notice
from mailguard.problems import EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE

#: Seconds a judge may leave an answer unread before the connection is given up.
_PATIENCE = 10.0
#: Ends that a repeated ban may differ by and still be the same: durations travel, not times.
_SAME = 1.0
_WAITING_NOTICES = 100
#: Seconds between the end of a spawned enforcer and the next one.
_APART = 0.5


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


# ---------------------------------------------------------------- starting it


def spawn(driver: Driver, ports: Mapping[str, Sequence[int]] | None = None) -> RemoteFirewall:
    """Fork an enforcer with that driver; the firewall to use in this process. Call it before anything else
    runs.

    The child keeps the driver's capabilities only, and leaves the root user where the driver can do
    without.
    """
    line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _leave(partial(_keep, driver, theirs))
    theirs.close()
    firewall = RemoteFirewall(HandedOver(line), ports, name=driver.name)
    firewall.pid = pid
    return firewall


def start(
    action: str = "auto", ports: Mapping[str, Sequence[int]] | None = None, clock: Clock | None = None
) -> tuple[Firewall, str]:
    """The firewall for a guard in the foreground, not yet opened, and a sentence about it; see `spawn`.

    Raises FirewallError when that action does not work here, ProblemsError when its definition is broken.
    """
    driver, words = choose(action, ports, clock)
    if isinstance(driver, Recording):
        return driver, words
    return spawn(driver, ports), words


def _keep(driver: Driver, line: socket.socket) -> None:
    """One enforcer after the other, each connection handed over `line`, until the judge goes or dismisses
    one."""
    # Ctrl-C in the terminal is meant for the judge; with the connection these processes end too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keep = line.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
    _give_up(driver)
    line.setblocking(False)
    while True:
        judge, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        pid = os.fork()
        if pid == 0:
            line.close()
            judge.close()
            _leave(partial(_serve, driver, ours))
        ours.close()
        with contextlib.suppress(OSError):  # nobody is there any more: seen below
            socket.send_fds(line, [str(pid).encode()], [judge.fileno()])
        judge.close()
        _, code = os.waitpid(pid, 0)
        if code == 0:
            return
        time.sleep(_APART)
        try:
            line.recv(1)  # a judge says nothing here: it has gone
        except BlockingIOError:
            continue
        except OSError:  # it went without having taken the last connection
            pass
        return


def _serve(driver: Driver, judge: socket.socket) -> None:
    enforcer = Enforcer(driver)
    enforcer.serve(judge)
    if not enforcer.dismissed:
        raise SystemExit(1)


def _leave(work: Callable[[], None]) -> NoReturn:
    """The life of a forked process: it must never return into the judge's code."""
    code = 1
    try:
        work()
        code = 0
    except SystemExit:
        pass
    except BaseException as error:
        print(f"mailguard-enforcer: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(code)


def _give_up(driver: Driver) -> None:
    """Only the driver's capabilities; not root where the driver can do without it."""
    if os.geteuid() == 0:
        user = None if driver.keeps_root else privileges.account("mailguard-enforcer") or _NOBODY
        privileges.give_up(driver.capabilities, user)


_NOBODY = (65534, 65534, ())


def _listener(path: str | None) -> socket.socket:
    """The socket that systemd passes (sd_listen_fds(3)), or one made at `path` for this user only."""
    if path is None:
        if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
            raise OSError("systemd passed no socket")
        return socket.socket(fileno=3)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(4)
    return listener


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m mailguard.enforcer (--systemd | --socket PATH) [--action NAME]`."""
    parser = argparse.ArgumentParser(prog="mailguard-enforcer", description="The firewall side of mailguard")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--systemd", action="store_true", help="listen at systemd's socket")
    where.add_argument("--socket", metavar="PATH", help="listen at a Unix socket of this name")
    parser.add_argument("--action", default="auto", help="an action definition; auto: what works here")
    try:
        options = parser.parse_args(argv)
    except SystemExit as error:
        return EXIT_OK if error.code == 0 else EXIT_USAGE
    try:
        listener = _listener(None if options.systemd else options.socket)
        driver, words = choose(options.action)
        print(f"mailguard-enforcer: {words}", file=sys.stderr, flush=True)
        if isinstance(driver, Recording):
            return EXIT_UNAVAILABLE  # a guard that silently does not stand is worse than a stop
        _give_up(driver)
    except (OSError, FirewallError) as error:
        print(f"mailguard-enforcer: {error}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    Enforcer(driver).listen(listener)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
