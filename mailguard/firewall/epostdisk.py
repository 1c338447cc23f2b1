"""The system calls by which E-Post's tables are changed, and nothing above them.

No file is ever made, renamed, replaced or cut here: tables exist before, and their owner keeps them. Tests
put another `Disk` in this one's place to stop, delay or fail single calls.
"""

from __future__ import annotations

import errno
import os
import pwd
import time

from mailguard.firewall.interface import FirewallError

#: What Windows shares and busy files answer for a moment while somebody else has the file.
BUSY = frozenset({errno.EBUSY, errno.EACCES, errno.ETXTBSY, errno.EAGAIN, errno.EINTR})
#: Seconds between tries to open a file that somebody else has.
_PAUSES = (0.01, 0.02, 0.04, 0.08, 0.16)


#: Device, inode, size, time of the last change in nanoseconds.
Stamp = tuple[int, int, int, int]


class Disk:
    """Files by descriptor. Every method raises OSError."""

    def stamp(self, path: str) -> Stamp:
        """What differs after somebody changed a file."""
        known = os.stat(path)
        return known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns

    def open(self, path: str, append: bool = False) -> int:
        """An existing file, to change bytes in place (and read), or to append."""
        flags = os.O_WRONLY | os.O_APPEND if append else os.O_RDWR
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY)

    def open_to_read(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)

    def identity(self, descriptor: int) -> tuple[int, int, int]:
        """Device, inode and size."""
        known = os.fstat(descriptor)
        return known.st_dev, known.st_ino, known.st_size

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""
        parts = []
        while length > 0:
            part = os.pread(descriptor, min(length, 1 << 20), offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Change bytes in place, in one call."""
        if os.pwrite(descriptor, data, offset) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def append(self, descriptor: int, data: bytes) -> int:
        """Add to the end in one call, whoever else does the same; where the data begins.

        What could not be written whole is closed by a line end, so that nobody's next row hangs on to it.
        """
        written = os.write(descriptor, data)
        if written != len(data):
            os.write(descriptor, b"\n")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.lseek(descriptor, 0, os.SEEK_CUR) - written

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def pause(self, seconds: float) -> None:
        """Give somebody else time to finish."""
        time.sleep(seconds)


def open_patiently(disk: Disk, path: str, append: bool = False) -> int:
    """`Disk.open`, tried again for a moment while somebody else holds the file. Raises FirewallError."""
    for seconds in (*_PAUSES, None):
        try:
            return disk.open(path, append)
        except OSError as error:
            if error.errno not in BUSY or seconds is None:
                raise FirewallError(explained(path, error)) from error
            disk.pause(seconds)
    raise AssertionError("unreachable")


def _who() -> str:
    """The user that this process is, by name where it has one."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def explained(path: str, error: OSError) -> str:
    """What is wrong with a table, and what to do."""
    why = error.strerror or str(error)
    if error.errno == errno.ENOENT:
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):  # the same sentence for each of its tables
            return f"{folder}: {why} (is the share mounted?)"
        return (
            f"{path}: {why} (is the share mounted? where there was never such a file, create it once, empty; "
            "mailguard makes no file beside programs)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{path}: {why} (let the enforcer's user write it: setfacl -m u:{_who()}:rw {path}; on a share: "
            "mount -o uid=)"
        )
    if error.errno == errno.EROFS:
        return f"{path}: {why} (was it replaced by another file? then restart mailguard-enforcer.service)"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: {why} (the disk is full)"
    if error.errno in (errno.EIO, errno.ESTALE, errno.EHOSTDOWN):
        return f"{path}: {why} (is the share mounted?)"
    return f"{path}: {why}"
