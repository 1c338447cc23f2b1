"""Files that a command writes. One takes its place when it is whole; until then what was there stays."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import click

from .messages import text
from .output import safe


class Target:
    """The file at `path`, to be written as `file` and then kept (`keep`); without that all is as it was.

    What is no ordinary file (`/dev/null`, a pipe) is written to as it is, and never replaced; a link stays
    and what it leads to is replaced. `mode`: who may read a new file, as for `open`. `inputs`: the logs that
    are read, none of which it may be (click.UsageError). Raises OSError at once when it cannot be written.
    """

    file: IO[bytes]

    def __init__(self, path: str, mode: int = 0o666, inputs: Iterable[str] = ()):
        self.path = path
        self._place = Path(os.path.realpath(path))
        for one in inputs:
            if _same(one, self._place):
                raise click.UsageError(text("write.input", path=safe(path)))
        self._apart: Path | None = None
        if self._place.exists() and not self._place.is_file():
            self.file = open(self._place, "wb")  # noqa: SIM115
            return
        self._apart = self._place.parent / f".mailguard-{os.urandom(8).hex()}"
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            self.file = os.fdopen(os.open(self._apart, flags, mode), "wb")
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None

    def keep(self) -> None:
        """It is whole. Raises OSError."""
        self.file.close()
        if self._apart is not None:
            os.replace(self._apart, self._place)
            self._apart = None

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what could not be written is thrown away, or was told by `keep`
            self.file.close()
        if self._apart is not None:
            self._apart.unlink(missing_ok=True)


def _same(path: str, place: Path) -> bool:
    """Is what is read there the ordinary file at `place`?"""
    try:
        return path != "-" and place.is_file() and os.path.samefile(path, place)
    except OSError:  # it is not there, or a wildcard
        return False
