"""The sockets of a syslog receiver: bound by this process, or passed by systemd (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
import stat

from mailguard.notation import Endpoint, is_v6, parse_address

CONNECTIONS = 64  # open at once, and waiting to be taken
_RECEIVE = 4 << 20  # bytes that the kernel may keep for us between two reads


def bound(place: Endpoint) -> socket.socket:
    """A socket of our own, bound and not blocking. Raises OSError."""
    kind = socket.SOCK_DGRAM if place.transport == "udp" else socket.SOCK_STREAM
    family = socket.AF_INET6 if is_v6(place.address) else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # the stated address and no other
        if place.transport == "udp":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((place.host, place.port))
        if place.transport == "tcp":
            made.listen(CONNECTIONS)
    except OSError:
        made.close()
        raise
    return made


def inherited(place: Endpoint) -> socket.socket | None:
    """A copy of the socket that systemd passed for that address; None when there is none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "")
    for number in range(3, 3 + (int(count) if count.isdigit() and int(count) < 64 else 0)):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            passed = socket.socket(fileno=os.dup(number))
        except OSError:
            continue
        kind = socket.SOCK_DGRAM if place.transport == "udp" else socket.SOCK_STREAM
        if passed.type == kind and passed.family in (socket.AF_INET, socket.AF_INET6):
            name = passed.getsockname()
            if name[1] == place.port and parse_address(name[0]) == place.address:
                passed.setblocking(False)
                return passed
        passed.close()
    return None
