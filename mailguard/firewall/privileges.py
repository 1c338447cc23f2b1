"""Giving privileges up: capabilities, users and groups of this process, by prctl(2) and capset(2).

What is given up cannot be taken back: the bounding set is emptied too and no program started afterwards can
gain anything (PR_SET_NO_NEW_PRIVS).
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
from collections.abc import Iterable

#: Numbers of the capabilities that are ever kept (linux/capability.h).
NUMBERS = {"dac_read_search": 2, "net_admin": 12, "net_raw": 13}
_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 8, 24, 38, 47
_AMBIENT_RAISE = 2
_VERSION_3 = 0x20080522
#: Groups that may read logs, where they exist.
LOG_GROUPS = ("adm", "systemd-journal")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, argument: int, second: int = 0) -> None:
    arguments = (ctypes.c_ulong(number) for number in (argument, second, 0, 0))
    _checked(_libc().prctl(option, *arguments), f"prctl({option})")


def effective() -> int:
    """The capabilities this process has, as a bit mask."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def has(name: str) -> bool:
    """Whether this process has that capability."""
    return bool(effective() >> NUMBERS[name] & 1)


def give_up(keep: Iterable[str], user: tuple[int, int, tuple[int, ...]] | None = None) -> None:
    """Keep only the capabilities named; with `user` (uid, gid, groups) become that user. Raises OSError.

    The kept ones are ambient too, so that a tool started afterwards (ipset, iptables) has them.
    """
    kept = [NUMBERS[name] for name in keep]
    mask = sum(1 << number for number in kept)
    if effective() == mask and user is None:
        return  # started with no more than that, for instance by systemd
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as last:
        highest = int(last.read())
    for number in range(highest + 1):
        if number not in kept:
            _prctl(_PR_CAPBSET_DROP, number)
    if user is not None:
        uid, gid, groups = user
        _prctl(_PR_SET_KEEPCAPS, 1)
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)(_Data(mask, mask, mask), _Data(0, 0, 0))
    _checked(_libc().capset(ctypes.byref(header), ctypes.byref(data)), "capset")
    for number in kept:
        with contextlib.suppress(OSError):  # an old kernel: tools started by a non-root enforcer go without
            _prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)


def account(name: str, extra: Iterable[str] = ()) -> tuple[int, int, tuple[int, ...]] | None:
    """uid, gid and groups of a user, with the groups of `extra` that exist; None: no such user."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = {user.pw_gid}
    for group in extra:
        with contextlib.suppress(KeyError):
            groups.add(grp.getgrnam(group).gr_gid)
    return user.pw_uid, user.pw_gid, tuple(sorted(groups))


def become_judge(user: str = "mailguard") -> str:
    """Give up what the judge does not need, once the enforcer runs; says in words what it is now.

    As root with that user on the host: the user, its groups and those that may read logs, no capability. As
    root without the user: root without any capability but CAP_DAC_READ_SEARCH, which reads the logs of
    every program. As anybody else: nothing changes.
    """
    if os.geteuid() != 0:
        return f"user {os.geteuid()}"
    found = account(user, LOG_GROUPS)
    if found is not None:
        give_up((), found)
        return f"user {user}, no capability"
    give_up(("dac_read_search",) if has("dac_read_search") else ())
    return "root without any capability but reading files"
