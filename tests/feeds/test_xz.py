"""What unpacks .xz files without the interpreter gives what Python's lzma gives, up to what is strange."""

from __future__ import annotations

import io
import lzma
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mailguard.feeds import native
from mailguard.feeds.ahead import Ahead
from mailguard.feeds.archives import BROKEN, open_packed, strides, unxz

xz = native.load("xz")
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(xz is None or not xz.possible, reason="not built (make native), or without liblzma"),
]
MIB = 1 << 20
RING = 8 * MIB  # see xz.pyx


def text(size: int, chance: random.Random) -> bytes:
    """Lines, or bytes that are packed into more than they are, or into next to nothing."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(size)
    if kind == 1:
        return bytes(size)
    words = [chance.randbytes(chance.randrange(1, 40)).hex().encode() for _ in range(300)]
    lines = b"\n".join(chance.choices(words, k=2000))
    return (lines * (size // len(lines) + 1))[:size]


def packed(data: bytes, chance: random.Random) -> bytes:
    """An .xz stream, with any check and dictionary."""
    checks = (lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256)
    return lzma.compress(data, check=chance.choice(checks), preset=chance.choice((0, 0, 1, 6)))


def taken(file: Any, sizes: Iterator[int]) -> tuple[bytes, bool]:
    """What it gives, and whether to the end."""
    found = bytearray()
    room = memoryview(bytearray(2 * MIB))
    while True:
        try:
            count = file.readinto(room[: next(sizes)])
        except lzma.LZMAError:
            return bytes(found), False
        if not count:
            assert file.readinto(room) == 0
            return bytes(found), True
        found += room[:count]


def sizes(chance: random.Random) -> Iterator[int]:
    """Of what is asked for."""
    small = chance.random() < 0.3
    while True:
        yield chance.randrange(1, 3000) if small else chance.randrange(1, 2 * MIB)


def right(data: bytes) -> bytes | None:
    """What is in it; None where it is not made of whole streams alone, one behind the other."""
    found = []
    while data:
        one = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        try:
            found.append(one.decompress(data))
        except lzma.LZMAError:
            return None
        if not one.eof:
            return None
        data = one.unused_data
    return b"".join(found)


def readable(data: bytes) -> bytes:
    """What can be unpacked in small steps before something is strange."""
    found = bytearray()
    while data:
        one = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        file = io.BytesIO(data)
        try:
            while not one.eof:
                piece = file.read(256) if one.needs_input else b""
                if one.needs_input and not piece:
                    return bytes(found)
                found += one.decompress(piece, 1 << 14)
        except lzma.LZMAError:
            return bytes(found)
        data = one.unused_data + file.read()
    return bytes(found)


def strange(data: bytes, chance: random.Random) -> bytes:
    """With something done to it."""
    at = chance.randrange(len(data))
    match chance.randrange(7):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 2:
            return data + bytes(chance.randrange(1, 9))
        case 3:
            return data + bytes(4) + data
        case 4:
            return data + chance.randbytes(chance.randrange(1, 50))
        case 5:
            return data + data[:at]
        case _:
            return data + lzma.compress(b"behind", format=lzma.FORMAT_ALONE)


@pytest.mark.parametrize("seed", range(16))
def test_random_files(tmp_path: Path, seed: int) -> None:
    """One stream or several, empty ones among them, whole and with something done to them."""
    chance = random.Random(seed)
    texts = [text(chance.choice((0, 1, 5000, MIB, 3 * MIB)), chance) for _ in range(chance.randrange(1, 5))]
    data = b"".join(packed(one, chance) for one in texts)
    path = tmp_path / "mail.log.xz"
    for given in (data, strange(data, chance), strange(data, chance), strange(data, chance)):
        path.write_bytes(given)
        expected = right(given)
        file = xz.Unxz(str(path))
        found, ended = taken(file, sizes(chance))
        file.close()
        assert ended is (expected is not None)
        if expected is not None:
            assert found == expected
        else:
            # What small steps lose is no more than what is held back here.
            assert readable(given)[:-MIB].startswith(found)
        if not given.startswith(b"\xfd7zXZ\x00"):
            continue
        careful, beside = open_packed(str(path)), open_packed(str(path))
        assert careful is not None
        assert beside is not None
        assert drained(Ahead(beside, alone=unxz(str(path)))) == drained(Ahead(careful))


def drained(file: Ahead) -> tuple[bytes, str]:
    """All that can be read, and what is said about the rest."""
    found = bytearray()
    with file:
        try:
            while data := file.read(700_000):
                found += data
        except BROKEN as error:
            return bytes(found), f"{type(error).__name__}: {error}"
    return bytes(found), ""


def test_much_more_than_waits(tmp_path: Path) -> None:
    """A log many times the ring, taken faster and more slowly than it is unpacked; the last mebibyte of one
    that is cut off is not given."""
    chance = random.Random(7)
    piece = text(3 * MIB + 17, chance)
    whole = piece * 20
    path = tmp_path / "mail.log.xz"
    data = lzma.compress(whole, preset=0)
    path.write_bytes(data)
    for pause in (0.0, 0.01):
        file = xz.Unxz(str(path))
        room, found = bytearray(MIB), bytearray()
        while count := file.readinto(room):
            time.sleep(pause)
            found += room[:count]
        file.close()
        assert found == whole
    path.write_bytes(data[:-1])
    file = xz.Unxz(str(path))
    found_, ended = taken(file, iter([MIB] * 100))
    assert not ended
    assert found_ == whole[:-MIB]
    with pytest.raises(lzma.LZMAError):
        file.readinto(bytearray(1))


def test_what_is_no_such_file(tmp_path: Path) -> None:
    """An empty file, another format, a folder, none."""
    path = tmp_path / "mail.log.xz"
    for data in (b"", b"\xfd7zX", b"\x1f\x8b rest"):
        path.write_bytes(data)
        assert unxz(str(path)) is None
    with pytest.raises(lzma.LZMAError):
        xz.Unxz(str(path)).readinto(bytearray(10))
    with pytest.raises(lzma.LZMAError):
        xz.Unxz(str(tmp_path)).readinto(bytearray(10))
    with pytest.raises(FileNotFoundError):
        xz.Unxz(str(tmp_path / "none"))
    assert unxz.__module__


def test_without_liblzma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is Python's, in strides."""
    path = tmp_path / "mail.log.xz"
    path.write_bytes(lzma.compress(b"line\n"))
    monkeypatch.setattr(xz, "possible", False)
    assert unxz(str(path)) is None
    with pytest.raises(ValueError, match="liblzma"):
        xz.Unxz(str(path))


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A file that fills the ring."""
    path = tmp_path / "mail.log.xz"
    path.write_bytes(lzma.compress(bytes(4 * RING), preset=0))
    return path


def threads() -> int:
    """Those of the system."""
    return len(os.listdir("/proc/self/task"))


def test_closing(long: Path) -> None:
    """At any moment, also again and by the last reference; no thread and no descriptor is left."""
    before, files = threads(), len(os.listdir("/proc/self/fd"))
    chance = random.Random(1)
    for _ in range(100):
        file = xz.Unxz(str(long))
        for _ in range(chance.randrange(3)):
            assert file.readinto(bytearray(MIB)) == MIB
        if chance.random() < 0.5:
            time.sleep(chance.random() / 100)
        if chance.random() < 0.7:
            file.close()
            file.close()
            with pytest.raises(lzma.LZMAError):
                file.readinto(bytearray(1))
        del file
        assert (threads(), len(os.listdir("/proc/self/fd"))) == (before, files)


def test_wrong_use(long: Path) -> None:
    """What cannot be written to, nothing, the same object twice."""
    file = xz.Unxz(str(long))
    with pytest.raises(BufferError):
        file.readinto(b"constant")
    assert file.readinto(bytearray()) == 0
    with pytest.raises(ValueError, match="open"):
        file.__init__(str(long))
    file.close()
    with pytest.raises(lzma.LZMAError):
        xz.Unxz.__new__(xz.Unxz).readinto(bytearray(1))


def test_strange_with_strides(long: Path) -> None:
    """Where it fails, the file is read in small steps, though there are strides; closed, it stays closed."""
    long.write_bytes(long.read_bytes() + b"no stream")
    packed = open_packed(str(long))
    assert packed is not None
    before, wait = threads(), sys.getswitchinterval()
    file = Ahead(packed, strides(str(long)), unxz(str(long)))
    found, said = drained(file)
    assert found == bytes(4 * RING)
    assert said.startswith("OSError: the compressed file is damaged")
    packed = open_packed(str(long))
    assert packed is not None
    file = Ahead(packed, alone=unxz(str(long)))
    assert file.read(10) == bytes(10)
    file.close()
    with pytest.raises(lzma.LZMAError):
        file.read(10)
    file.close()
    assert (threads(), sys.getswitchinterval()) == (before, wait)


@contextmanager
def alarm(act: Any) -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        act()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_interrupted(tmp_path: Path) -> None:
    """Whoever waits for bytes hears signals meanwhile: Ctrl-C ends it, closing it then is refused. A second
    reader is refused, too."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR)  # so that nothing comes, and nothing ends
    file = xz.Unxz(str(path))
    before = threading.active_count()

    def stop() -> None:
        raise KeyboardInterrupt

    def close() -> None:
        with pytest.raises(lzma.LZMAError):
            file.readinto(bytearray(10))
        file.close()

    with alarm(close), pytest.raises(ValueError, match="being read"):
        file.readinto(bytearray(10))
    with alarm(stop), pytest.raises(KeyboardInterrupt):
        file.readinto(bytearray(10))
    os.write(end, lzma.compress(b"x" * (3 * MIB)))
    assert file.readinto(bytearray(10)) == 10
    os.write(end, b"no stream")
    file.close()
    os.close(end)
    assert threading.active_count() == before


def test_forked(long: Path) -> None:
    """A child that is forked meanwhile is refused, can close, and harms nobody."""
    for _ in range(20):
        file = xz.Unxz(str(long))
        assert file.readinto(bytearray(MIB)) == MIB
        child = os.fork()
        if not child:
            code = 1
            try:
                file.readinto(bytearray(MIB))
            except lzma.LZMAError:
                file.close()
                file.close()
                del file
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert status == 0
        found, ended = taken(file, iter([MIB] * 100))
        assert ended
        assert len(found) == 4 * RING - MIB
        file.close()
