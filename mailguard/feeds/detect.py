"""Which mail logs this host has: found by looking, told as plain values with words to show.

Looked at: the journal (is there one that may be read?), the usual mail log files, what Dovecot and
Postfix say of their own logs, an E-Post spool, the log databases of a Synology NAS. Nothing is opened for
long and nothing is changed.
"""

from __future__ import annotations

import glob
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace

from mailguard.feeds.interface import EPOST_LOGS
from mailguard.feeds.journal import any_mail
from mailguard.feeds.names import day
from mailguard.feeds.search import siblings
from mailguard.feeds.synodb import PATHS as NAS

#: Mail logs of Debian, Red Hat, Alpine, SUSE; and folders in which every *.log is one.
FILES: tuple[str, ...] = ("/var/log/mail.log", "/var/log/maillog", "/var/log/mail", "/var/log/exim4/mainlog")
FOLDERS: tuple[str, ...] = ("/var/log/mail", "/var/log/postfix", "/var/log/dovecot")
SPOOLS: tuple[str, ...] = ("/var/spool/epms",)
JOURNALS: tuple[str, ...] = ("/var/log/journal", "/run/log/journal")
_SECONDS = 5.0  # for a program that tells its settings


@dataclass(frozen=True, slots=True)
class Found:
    """One log that is there. `paths` and `kind` as in the settings; `rotated`: older files, oldest first.

    `shared`: any local program can write into it through syslog(3). `readable`: False where this user may
    not. `covered`: another log, found as well, holds the same entries: reading both would count twice.
    """

    kind: str
    name: str
    paths: tuple[str, ...]
    words: str
    rotated: tuple[str, ...] = ()
    shared: bool = False
    readable: bool = True
    size: int = 0
    covered: bool = False


Ask = Callable[[list[str]], str]


def ask(command: list[str]) -> str:
    """What a program prints; empty where there is no such program, it fails, or takes too long."""
    program = shutil.which(command[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def detect(root: str = "/", ask: Ask = ask) -> list[Found]:
    """The mail logs there are, the ones to be preferred first. `root` and `ask` are for tests."""
    found: list[Found] = []
    seen: set[tuple[int, int]] = set()

    def add_file(path: str, words: str, shared: bool) -> None:
        log = _file(root, path, words, shared)
        if log is not None:
            state = os.stat(log.paths[0])
            if (state.st_dev, state.st_ino) not in seen:
                seen.add((state.st_dev, state.st_ino))
                found.append(log)

    own = _told(ask)
    for path, words in own:
        add_file(path, words, shared=False)
    for path in FILES:
        add_file(path, "mail log of the system", shared=True)
    for folder in FOLDERS:
        inside = sorted(glob.glob(_under(root, folder) + "/*"))
        for path in inside:
            name = os.path.basename(path)
            if name.endswith((".log", "mail", "maillog")) or "." not in name:
                add_file("/" + os.path.relpath(path, root), "mail log of the system", shared=True)
    found += _spools(root)
    found += _nas(root, any(log.shared and log.size and log.readable for log in found))
    journal, holds_mail = _journal(root)
    if journal is not None:
        if holds_mail:
            found = [replace(log, covered=True) if log.shared else log for log in found]
        found.insert(0 if holds_mail else len(found), journal)
    return found


def _under(root: str, path: str) -> str:
    return path if root == "/" else os.path.join(root, path.lstrip("/"))


def _told(ask: Ask) -> list[tuple[str, str]]:
    """Log files that Dovecot and Postfix name in their own settings."""
    told: list[tuple[str, str]] = []
    for setting in ("log_path", "info_log_path"):
        path = ask(["doveconf", "-h", setting])
        if path.startswith("/") and not path.startswith("/dev/"):
            told.append((path, f"Dovecot's own log ({setting})"))
    path = ask(["postconf", "-h", "maillog_file"])
    if path.startswith("/") and not path.startswith("/dev/"):
        told.append((path, "Postfix's own log (maillog_file)"))
    return told


def _file(root: str, path: str, words: str, shared: bool) -> Found | None:
    """A regular file that may be a log; None where there is none."""
    real = _under(root, path)
    try:
        state = os.stat(real)
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    readable = os.access(real, os.R_OK)
    older = sorted(
        siblings(real, forms=True),
        key=lambda sibling: (sibling.modified, sibling.rank or (), sibling.path),
    )
    folder = os.path.dirname(real)
    said = words if readable else f"{words}; it may not be read by this user"
    name = os.path.basename(path).partition(".")[0] or "mail"
    rotated = tuple(os.path.join(folder, os.path.basename(sibling.path)) for sibling in older)
    return Found("file", name, (real,), said, rotated, shared, readable, state.st_size)


def _spools(root: str) -> list[Found]:
    """E-Post spools: a folder that holds one of the log folders with day-named files."""
    found = []
    for spool in SPOOLS:
        real = _under(root, spool)
        files: list[tuple[int, str]] = []
        for log in EPOST_LOGS:
            for pattern in (f"{real}/{log}/*", f"{real}/{log}/*/*"):
                for path in glob.glob(pattern):
                    value = day(os.path.basename(path))
                    if value is not None:
                        files.append((value, path))
        logs = sorted({os.path.relpath(path, real).partition("/")[0] for _, path in files})
        if logs:
            files.sort()
            words = "E-Post spool: " + ", ".join(logs)
            older = tuple(path for _, path in files)
            readable = all(os.access(path, os.R_OK) for path in older[-len(logs) :])
            found.append(Found("epost", "epost", (real,), words, older, False, readable, 0))
    return found


def _nas(root: str, maillog: bool) -> list[Found]:
    """The log databases of a Synology NAS. `maillog`: the mail server's own log is there, which tells more
    and tells the same logins."""
    paths = tuple(path for path in (_under(root, one) for one in NAS) if os.path.isfile(path))
    if not paths:
        return []
    readable = all(os.access(path, os.R_OK) for path in paths)
    words = "log databases of a Synology NAS"
    if maillog:
        words += "; the mail log tells the same logins, so read one of them"
    if not readable:
        words += "; they may not be read by this user"
    size = sum(os.stat(path).st_size for path in paths)
    return [Found("synology-db", "synology", paths, words, (), False, readable, size, maillog)]


def _journal(root: str) -> tuple[Found | None, bool]:
    """The systemd journal, where there is one, and whether it holds entries of mail services."""
    files: list[str] = []
    for place in JOURNALS:
        for pattern in ("*/*.journal", "*.journal"):
            files += glob.glob(os.path.join(_under(root, place), pattern))
    if not files:
        return None, False
    main = [path for path in files if os.path.basename(path) == "system.journal"] or files
    readable = any(os.access(path, os.R_OK) for path in main)
    holds_mail = readable and any_mail(tuple(path for path in files if os.access(path, os.R_OK)))
    words = "systemd journal" if holds_mail else "systemd journal, without entries of mail services so far"
    if not readable:
        words = "systemd journal; it may not be read by this user (group systemd-journal)"
    states = {path: os.stat(path) for path in files}
    older = tuple(sorted(files, key=lambda path: (states[path].st_mtime_ns, path)))
    size = sum(state.st_size for state in states.values())
    return Found("journal", "journal", (), words, older, False, readable, size), holds_mail
