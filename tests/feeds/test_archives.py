"""Compressed files of several members: all of it is read, and what is no member is said."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from mailguard.feeds.archives import open_packed
from mailguard.feeds.recorded import RecordedLog
from mailguard.model import Block, Notice

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}
LINES = [b"%06d is a line of the log\n" % number for number in range(70_000)]
FIRST, SECOND = b"".join(LINES[:60_000]), b"".join(LINES[60_000:])


def read(path: Path) -> tuple[bytes, list[str]]:
    """What a replay reads of a file: the bytes of its lines, and what it says."""
    data, said = b"", []
    for item in RecordedLog(str(path)):
        if isinstance(item, Block):
            data += bytes(item.data[item.start : item.end])
        elif isinstance(item, Notice):
            said.append(f"{item.id}: {item.args['why']}")
    return data, said


@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize("zeros", [0, 4, 512, 100_000])
def test_zeros_between_members_and_behind_them(tmp_path: Path, form: str, zeros: int) -> None:
    """As xz allows, and as tape drives and `dd` leave them."""
    pack, path = PACKERS[form], tmp_path / f"mail.log.{form}"
    path.write_bytes(pack(FIRST) + bytes(zeros) + pack(SECOND) + bytes(zeros))
    assert read(path) == (FIRST + SECOND, [])


@pytest.mark.parametrize("form", PACKERS)
def test_what_is_no_member(tmp_path: Path, form: str) -> None:
    """It is said, and everything before it was read."""
    path = tmp_path / f"mail.log.{form}"
    path.write_bytes(PACKERS[form](FIRST) + PACKERS[form](SECOND) + b"\nsomething else")
    data, (said,) = read(path)
    assert data == FIRST + SECOND
    assert said.startswith("log-unreadable: the compressed file is damaged")


@pytest.mark.parametrize("form", PACKERS)
def test_a_member_that_ends_in_the_middle(tmp_path: Path, form: str) -> None:
    """What was there is read, and the rest is said to be missing."""
    path = tmp_path / f"mail.log.{form}"
    path.write_bytes(PACKERS[form](FIRST) + PACKERS[form](SECOND)[:-20])
    data, (said,) = read(path)
    assert data.startswith(FIRST)
    assert (FIRST + SECOND).startswith(data[:-1])  # the last line got an LF of ours
    assert "ends in the middle" in said


@pytest.mark.parametrize("form", PACKERS)
def test_looked_at_and_read_in_pieces(tmp_path: Path, form: str) -> None:
    """What was looked at is read all the same; reads of any length give the same bytes."""
    path = tmp_path / f"mail.log.{form}"
    path.write_bytes(PACKERS[form](FIRST) + PACKERS[form](b"") + PACKERS[form](SECOND))
    with open_packed(str(path)) as file:  # type: ignore[union-attr]
        assert file.peek(4096)[:4096] == FIRST[:4096]
        pieces = [file.read(1), file.read(100_000), file.read1(10)]
        view = bytearray(50_000)
        pieces.append(bytes(view[: file.readinto(view)]))
        pieces.append(file.read())
    assert b"".join(pieces) == FIRST + SECOND
