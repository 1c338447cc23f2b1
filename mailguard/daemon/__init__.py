"""The guard as a program: `mailguard run` and the systemd unit end up in `main`.

The order matters: everything that can be wrong is found before anything is touched; the enforcer is started
before privileges are given up; they are given up before the first byte of a log is read.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..control import ControlError
from ..definitions.settings import Log
from ..definitions.source import shipped
from ..firewall import privileges
from ..firewall.interface import Firewall, FirewallError
from ..ledger import LedgerError
from ..model import Notice
from ..problems import EXIT_NO_INPUT, EXIT_OK, EXIT_PERMISSION, EXIT_UNAVAILABLE
from .build import Loaded, load, named_logs
from .door import Door
from .guard import Guard, Options
from .printer import Printer

if TYPE_CHECKING:
    from ..feeds.detect import Found

__all__ = ["Guard", "Options", "main"]

_CLONE_NEWNET = 0x40000000
_MOST_FILES = 1 << 18
JUDGE = "mailguard"


def main(options: Options) -> int:
    """Run the guard until it is told to stop; the exit code. Raises ProblemsError when settings or
    definitions are wrong."""
    loaded = load(options.config)
    printer = Printer(options.form)
    printer.speak(loaded.settings.general.language)
    logs = find_logs(options, loaded)
    if not logs and not options.demo:
        printer.notice(Notice("no-log"))
        if options.enforcer is not None:
            return EXIT_NO_INPUT
        options = replace(options, demo=True)
    if options.demo:
        return demo(options, loaded, printer)
    return stand(options, loaded, logs, printer)


def find_logs(options: Options, loaded: Loaded) -> Sequence[Log]:
    """The logs to read: those named on the command line, in the settings, or found on this host."""
    if options.logs:
        return named_logs(options.logs)
    if loaded.settings.logs or options.demo:
        return loaded.settings.logs
    from ..feeds.detect import detect

    return choose_logs(detect())


def choose_logs(found: Sequence[Found]) -> tuple[Log, ...]:
    """Of the logs on this host those that tell each thing once.

    syslog and the journal hold the same lines, so the journal is read only where no file has them. A log that
    this user may not read is kept when there is nothing better: it is said, and read as soon as that is
    possible.
    """
    readable = [one for one in found if one.readable] or list(found)
    files = [
        one
        for one in readable
        if one.kind != "journal"
        and not (one.shared and not one.size and not one.rotated)
        and not (one.kind == "synology-db" and one.covered)
    ]
    syslog = any(one.shared for one in files)
    chosen = files + [one for one in readable if one.kind == "journal" and not syslog]
    logs: dict[str, Log] = {}
    for one in chosen or readable:
        name = one.name if one.name not in logs else f"{one.name}-{len(logs)}"
        logs[name] = Log(name, one.kind, one.paths)
    return tuple(logs.values())


def stand(
    options: Options,
    loaded: Loaded,
    logs: Sequence[Log],
    printer: Printer,
    state: str | None = None,
    look: Callable[[], Notice | None] | None = None,
) -> int:
    """Make the firewall and the folders, give privileges up, and run. `look` may have something to say now
    and then."""
    from ..firewall.own import own_networks

    settings = loaded.settings
    _many_files()
    try:
        firewall, words = make_firewall(options, loaded)
    except FirewallError as error:
        printer.notice(Notice("firewall-lost", {"reason": str(error)}))
        return EXIT_UNAVAILABLE
    printer.notice(Notice("firewall", {"words": words}))
    state = state or options.state or str(settings.general.state)
    socket = options.socket or os.environ.get("MAILGUARD_SOCKET") or str(settings.general.socket)
    state, socket = make_folders(state, socket, printer)
    who = privileges.become_judge(JUDGE)
    printer.notice(Notice("privileges", {"who": who}))

    def again() -> tuple[Loaded, Sequence[Log]]:
        fresh = load(options.config)
        return fresh, find_logs(options, fresh)

    guard = None
    try:
        guard = Guard(
            options, loaded, logs, Door(firewall, getattr(firewall, "name", "")),
            state=state, socket=socket, never=own_networks, reload_with=again,
            firewall_words=words, printer=printer,
        )  # fmt: skip
        guard.desk.look = look
        guard.start()
        code = guard.run()
    except (FirewallError, ControlError, LedgerError, sqlite3.Error) as error:
        printer.notice(Notice("failed", {"what": str(error)}))
        code = EXIT_UNAVAILABLE
    finally:
        ended = guard.end() if guard is not None else EXIT_OK
    return code or ended


def _many_files() -> None:
    """Let as many files be open as this process may have: each log is one."""
    with suppress(OSError, ValueError):  # systemd's unit forbids it, and states a limit itself
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def make_firewall(options: Options, loaded: Loaded) -> tuple[Firewall, str]:
    """The way to ban, with a sentence about it. Raises FirewallError when there is none."""
    settings = loaded.settings
    if options.enforcer is not None:
        from ..firewall.choose import caveat, wants_hosts
        from ..firewall.reach import connect_to
        from ..firewall.remote import RemoteFirewall

        remote = RemoteFirewall(connect_to(options.enforcer), settings.firewall.ports)
        words = caveat(settings.firewall.action)
        at = f"bans by the enforcer at {options.enforcer}"
        if wants_hosts(settings.firewall.action):
            from .hosts import HostsToo

            return HostsToo(remote), "; ".join([at, words])
        return remote, "; ".join([at, words] if words else [at])
    from ..enforcer import spawn
    from ..firewall.choose import choose

    driver, words = choose(options.firewall or settings.firewall.action, settings.firewall.ports)
    if driver.capabilities or driver.keeps_root:
        remote = spawn(driver, settings.firewall.ports)
        if driver.wants_hosts:
            from .hosts import HostsToo

            return HostsToo(remote), words
        return remote, words
    return driver, words


def make_folders(state: str, socket: str, printer: Printer) -> tuple[str, str]:
    """The folders of ledger and socket, owned by the judge's user; where they cannot be made, others in the
    home."""
    account = privileges.account(JUDGE) if os.geteuid() == 0 else None
    wanted = state
    try:
        _folder(state, 0o700, account)
    except OSError:
        home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        state = os.path.join(home, "mailguard")
        _folder(state, 0o700, None)
        printer.notice(Notice("state-elsewhere", {"path": state, "wanted": wanted}))
    else:
        printer.notice(Notice("ledger", {"path": state}))
    folder = os.path.dirname(socket)
    try:
        _folder(folder, 0o755, account)
    except OSError:
        socket = os.path.join(state, "control.sock")
        printer.notice(Notice("socket-elsewhere", {"path": socket, "wanted": folder}))
    return state, socket


def _folder(path: str, mode: int, account: tuple[int, int, tuple[int, ...]] | None) -> None:
    """Make a folder, or see that it can be written; give it and its files to the judge's user."""
    os.makedirs(path, mode=mode, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(13, "may not be written", path)
    if account is None or path in ("/run", "/tmp", "/var/run"):
        return
    uid, gid, _ = account
    os.chown(path, uid, gid)
    for entry in os.scandir(path):
        if entry.is_file(follow_symlinks=False):
            os.chown(entry.path, uid, gid, follow_symlinks=False)


# ---------------------------------------------------------------- a host without mail logs


def demo(options: Options, loaded: Loaded, printer: Printer) -> int:
    """Play the sample logs as if they were written now, and guard them; as root in a network namespace of its
    own."""
    samples = shipped("samples")
    printer.notice(Notice("demo"))
    if os.geteuid() == 0:
        # Of its own: bans of the samples must not reach the host's firewall.
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            printer.notice(Notice("demo-namespace", {"why": os.strerror(ctypes.get_errno())}))
            return EXIT_PERMISSION
        printer.notice(Notice("demo-namespace"))
    with tempfile.TemporaryDirectory(prefix="mailguard-demo-") as folder:
        account = privileges.account(JUDGE) if os.geteuid() == 0 else None
        logs, state = os.path.join(folder, "logs"), os.path.join(folder, "state")
        os.mkdir(logs, 0o755)
        os.chmod(folder, 0o755)
        socket = options.socket or os.environ.get("MAILGUARD_SOCKET") or os.path.join(folder, "control.sock")
        enforce = options.enforce is not False
        options = replace(options, demo=True, enforce=enforce, socket=socket, flush=True)
        printer.notice(Notice("demo-ask", {"socket": socket}))
        command = [sys.executable, "-m", "mailguard.demo", str(samples), logs]
        root = str(Path(__file__).resolve().parent.parent.parent)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        # As the judge's user, who must be able to end it.
        who = {} if account is None else {"user": account[0], "group": account[1], "extra_groups": []}
        if account is not None:
            for path in (folder, logs):
                os.chown(path, account[0], account[1])
        player = subprocess.Popen(command, env=environment, **who)  # type: ignore[call-overload]
        told: list[int] = []

        def over() -> Notice | None:
            if told or player.poll() is None:
                return None
            told.append(1)
            return Notice("demo-over")

        try:
            return stand(
                options, loaded, [Log("demo", "file", (logs + "/*.log",), start="begin")], printer, state
            )
        finally:
            player.kill()
            player.wait()
            with suppress(OSError):
                os.unlink(socket)
