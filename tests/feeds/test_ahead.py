"""Archives unpacked in a thread: the same bytes and errors as read step by step, and no thread left."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mailguard.feeds.ahead import Ahead
from mailguard.feeds.archives import BROKEN, STRIDE, open_packed, strides, unxz, zstd_module

_CHANCE = random.Random(3)
#: About three strides, of which an archive has a few per cent.
TEXT = b"".join(
    b"%d mx postfix/smtpd[%d]: connect from unknown[192.0.2.%d]\n"
    % (number, _CHANCE.randrange(9999), _CHANCE.randrange(256))
    for number in range(3 * STRIDE // 60)
)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "bz2": lambda data: bz2.compress(data, 1),
}
if (_zstd := zstd_module()) is not None:
    PACKERS["zst"] = lambda data: bytes(_zstd.compress(data))


def read(file: Ahead) -> tuple[bytes, str]:
    """All that can be read, and what is said about the rest."""
    room = bytearray(300_000)
    found: list[bytes] = []
    with file:
        try:
            while count := file.readinto(memoryview(room)):
                found.append(bytes(room[:count]))
        except BROKEN as error:
            return b"".join(found), f"{type(error).__name__}: {error}"
    return b"".join(found), ""


def both(path: Path) -> tuple[bytes, str]:
    """What is read in strides, and what a thread unpacks alone: it must be what is read in small steps."""
    careful, packed, third = (open_packed(str(path)) for _ in range(3))
    assert careful is not None
    assert packed is not None
    assert third is not None
    before, wait = threading.active_count(), sys.getswitchinterval()
    found = read(Ahead(packed, strides(str(path))))
    assert found == read(Ahead(third, alone=unxz(str(path))))
    assert found == read(Ahead(careful))
    assert (threading.active_count(), sys.getswitchinterval()) == (before, wait)
    return found


@pytest.mark.parametrize("form", PACKERS)
def test_strides(tmp_path: Path, form: str) -> None:
    """Whole, as several members, cut off, damaged, and with something behind it."""
    pack = PACKERS[form]
    whole, path = pack(TEXT), tmp_path / "mail.log"
    path.write_bytes(whole)
    assert both(path) == (TEXT, "")
    path.write_bytes(pack(TEXT[:1000]) + pack(b"") + pack(TEXT[1000:]))
    assert both(path) == (TEXT, "")
    for share in (0.01, 0.5, 0.99):
        place = int(len(whole) * share)
        path.write_bytes(whole[:place])
        found, error = both(path)
        assert error
        assert TEXT.startswith(found)
        path.write_bytes(whole[:place] + b"\xff\x00\xff" * 40 + whole[place + 120 :])
        both(path)
    for behind in (bytes(4096), b"no archive", whole[:40]):
        path.write_bytes(whole + behind)
        found, _ = both(path)
        assert found.startswith(TEXT)


@pytest.mark.parametrize("form", PACKERS)
def test_nobody_wants_the_rest(tmp_path: Path, form: str) -> None:
    """Closed after the first bytes, and before them: the thread is gone, the file closed."""
    path = tmp_path / "mail.log"
    path.write_bytes(PACKERS[form](TEXT))
    before, wait = threading.active_count(), sys.getswitchinterval()
    for count, alone in ((1000, False), (0, False), (1000, True), (0, True)):
        packed = open_packed(str(path))
        assert packed is not None
        file = Ahead(packed, strides(str(path)), unxz(str(path)) if alone else None)
        assert file.read(count) == TEXT[:count]
        file.close()
        file.close()
        assert (threading.active_count(), sys.getswitchinterval()) == (before, wait)
