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
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn

from mailguard.clock import Clock
from mailguard.firewall import privileges
from mailguard.firewall.choose import choose
from mailguard.firewall.driver import Driver
from mailguard.firewall.enforcing import Enforcer
from mailguard.firewall.interface import Firewall, FirewallError
from mailguard.firewall.reach import HandedOver
from mailguard.firewall.recording import Recording
from mailguard.firewall.remote import RemoteFirewall
from mailguard.problems import EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE

#: Seconds between the end of a spawned enforcer and the next one.
_APART = 0.5


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
