"""Files: the same contract for inotify and for polling, and what only files do."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailguard.clock import ManualClock
from mailguard.feeds.files import DAY_BITS
from mailguard.feeds.lines import LIMIT, PENDING
from mailguard.feeds.names import day

Make = Callable[..., Any]


@pytest.fixture(params=["inotify", "polling", "native"])
def follow(request: pytest.FixtureRequest, read: Make) -> Make:
    """Makes readers with each kind of watcher."""

    def make(*paths: Path, **options: Any) -> Any:
        return read(*paths, watcher=request.param, **options)

    return make


class TestContract:
    """What every watcher must give."""

    def test_appended_lines(self, follow: Make, write: Make, tmp_path: Path) -> None:
        """Lines come as they are written, with their offsets."""
        log = write(tmp_path / "mail.log")
        log(b"one\n")
        reader = follow(tmp_path / "mail.log")
        reader.until(lambda r: r.lines() == [b"one"])
        log(b"two\nthree\n")
        reader.until(lambda r: r.lines() == [b"one", b"two", b"three"])
        assert [position for _, position, _ in reader.blocks][:2] == [0, 4]
        assert reader.blocks[0][0] == str(tmp_path / "mail.log")

    def test_start_at_the_end(self, follow: Make, write: Make, tmp_path: Path) -> None:
        """What was there before is not handed out; a line half written then is, whole."""
        log = write(tmp_path / "mail.log")
        log(b"old\nha")
        reader = follow(tmp_path / "mail.log", start="end")
        reader.drain()
        log(b"lf\nnew\n")
        reader.until(lambda r: len(r.lines()) == 2)
        assert reader.lines() == [b"half", b"new"]

    def test_a_file_that_appears_later(self, follow: Make, write: Make, tmp_path: Path) -> None:
        """Also in a folder that appears later; said once that it is missing, and that it is back."""
        path = tmp_path / "var" / "log" / "mail.log"
        reader = follow(path, start="end")
        reader.until(lambda r: r.said("log-missing"))
        path.parent.mkdir(parents=True)
        write(path)(b"first\n")
        reader.until(lambda r: r.lines() == [b"first"] and r.said("log-back"))
        assert len(reader.said("log-missing")) == 1

    def test_rename_and_create(self, follow: Make, write: Make, tmp_path: Path) -> None:
        """The old file is read to its end, late lines included, and then the new one from its start."""
        path = tmp_path / "mail.log"
        old = write(path)
        reader = follow(path)
        old(b"1\n")
        reader.until(lambda r: r.lines() == [b"1"])
        old(b"2\n")
        path.rename(tmp_path / "mail.log.1")
        old(b"3\n")
        new = write(path)
        new(b"4\n")
        reader.until(lambda r: len(r.lines()) == 4)
        assert reader.lines() == [b"1", b"2", b"3", b"4"]
        old(b"late\n")
        reader.until(lambda r: r.lines()[-1] == b"late")
        new(b"5\n")
        reader.until(lambda r: r.lines()[-1] == b"5")
        assert reader.said("bytes-lost") == []

    def test_copytruncate(self, follow: Make, write: Make, tmp_path: Path) -> None:
        """The file starts again at 0; what was read is not repeated, what was not is read from the copy."""
        path = tmp_path / "mail.log"
        log = write(path)
        reader = follow(path)
        log(b"1\n")
        reader.until(lambda r: r.lines() == [b"1"])
        log(b"2\n")
        shutil.copy(path, tmp_path / "mail.log.1")
        os.ftruncate(log.fd, 0)
        log(b"3 is longer than what stood there before\n")
        reader.until(lambda r: len(r.lines()) == 3)
        assert reader.lines() == [b"1", b"2", b"3 is longer than what stood there before"]
        assert reader.said("bytes-lost") == []

    def test_globs(self, follow: Make, write: Make, tmp_path: Path) -> None:
        """Files and folders that come to match later are followed from their start."""
        (tmp_path / "a").mkdir()
        write(tmp_path / "a" / "x.log")(b"before\n")
        reader = follow(tmp_path / "*" / "*.log", start="end")
        reader.drain()
        write(tmp_path / "a" / "y.log")(b"new file\n")
        reader.until(lambda r: r.lines(tmp_path / "a" / "y.log") == [b"new file"])
        (tmp_path / "b").mkdir()
        write(tmp_path / "b" / "z.log")(b"new folder\n")
        reader.until(lambda r: r.lines(tmp_path / "b" / "z.log") == [b"new folder"])
        assert reader.lines(tmp_path / "a" / "x.log") == []

    def test_deletion(self, follow: Make, write: Make, tmp_path: Path) -> None:
        """A deleted file is read to its end; the next one of the name begins anew."""
        path = tmp_path / "mail.log"
        log = write(path)
        log(b"1\n")
        reader = follow(path)
        reader.drain()
        log(b"2\n")
        path.unlink()
        write(path)(b"3\n")
        reader.until(lambda r: len(r.lines()) == 3)
        assert reader.lines() == [b"1", b"2", b"3"]


def test_half_a_line_waits(read: Make, write: Make, tmp_path: Path) -> None:
    """An unterminated line is handed out when its LF comes, and a restart between gives it whole."""
    log = write(tmp_path / "mail.log")
    reader = read(tmp_path / "mail.log")
    log(b"ha")
    assert reader.drain().lines() == []
    rows = reader.positions()
    reader.close()
    again = read(tmp_path / "mail.log", saved=rows)
    log(b"lf\n")
    assert again.drain().lines() == [b"half"]


def test_long_lines(read: Make, write: Make, tmp_path: Path) -> None:
    """Cut at the limit, marked, counted; a line that never ends is handed out in part, also over a
    restart in its middle."""
    log = write(tmp_path / "mail.log")
    reader = read(tmp_path / "mail.log")
    log(b"a\n" + b"L" * 9000 + b"\nb\n")
    assert reader.drain().lines() == [b"a", b"L" * LIMIT, b"b"]
    assert reader.cuts == [b"L" * LIMIT]
    assert reader.source.status()[str(tmp_path / "mail.log")]["dropped"] == 9000 - LIMIT
    log(b"M" * (PENDING + 1))
    assert reader.drain().lines()[-1] == b"M" * LIMIT
    log(b"M" * 200_000)
    assert len(reader.drain().lines()) == 4
    again = read(tmp_path / "mail.log", saved=reader.positions())
    log(b"MM\nc\n")
    assert again.drain().lines() == [b"c"]


def test_a_log_with_a_hole(read: Make, tmp_path: Path) -> None:
    """A writer that does not append leaves NUL bytes before its next line after copytruncate."""
    path = tmp_path / "mail.log"
    with path.open("wb", buffering=0) as log:
        log.write(b"x" * 100_000 + b"\n")
        reader = read(path).drain()
        os.truncate(path, 0)
        log.write(b"after the hole\n")
        assert reader.drain().lines()[1:] == [b"after the hole"]
    assert reader.source.status()[str(path)]["nul"] == 100_001


def test_busy_logs_take_turns(read: Make, tmp_path: Path) -> None:
    """One call hands out at most about 1 MiB of each log, and something of every log."""
    for name in "abcdefgh":
        (tmp_path / f"{name}.log").write_bytes(b"line of a busy log\n" * 150_000)
    reader = read(tmp_path / "*.log")
    assert reader.take()
    sizes: dict[str, int] = {}
    for log, _, text in reader.blocks:
        sizes[log] = sizes.get(log, 0) + len(text)
    assert max(sizes.values()) <= 1 << 20
    assert reader.take()
    assert reader.take()
    assert len({log for log, _, _ in reader.blocks}) == 8
    assert len(reader.drain().lines()) == 8 * 150_000


def test_loss_by_truncation_is_said(read: Make, write: Make, tmp_path: Path) -> None:
    """Where no copy exists: with the number of bytes that are known to have been there, and blind."""
    path = tmp_path / "mail.log"
    log = write(path)
    reader = read(path)
    log(b"read\nhalf")
    reader.drain()
    os.ftruncate(log.fd, 0)
    log(b"new\n")
    assert reader.drain().lines() == [b"read", b"new"]
    assert [said["bytes"] for said in reader.said("bytes-lost")] == [4]
    assert all(notice.blind for notice in reader.notices if notice.id == "bytes-lost")


def test_loss_while_nobody_watched_is_said(read: Make, write: Make, tmp_path: Path) -> None:
    """The file that was being read is gone and no copy is found: unknown how much was lost, but said."""
    path = tmp_path / "mail.log"
    log = write(path)
    reader = read(path)
    log(b"read\n")
    rows = reader.drain().positions()
    reader.close()
    log(b"never seen\n")
    os.ftruncate(log.fd, 0)
    log(b"new\n")
    again = read(path, saved=rows).drain()
    assert again.lines() == [b"new"]
    assert [(said["bytes"], said["from"]) for said in again.said("bytes-lost")] == [(None, 5)]


def test_a_file_cut_back_by_a_crash(read: Make, write: Make, tmp_path: Path) -> None:
    """After a power loss the file is shorter than the position: nothing is repeated, what follows is read."""
    path = tmp_path / "mail.log"
    log = write(path)
    log(b"first line" + b"." * 300 + b"\nsecond line\nthird line\n")
    reader = read(path).drain()
    rows = reader.positions()
    os.ftruncate(log.fd, 323)
    reader.drain()
    log(b"fourth line\n")
    assert reader.drain().lines()[3:] == [b"fourth line"]
    os.ftruncate(log.fd, 323)
    again = read(path, saved=rows)
    again.drain()
    log(b"fifth line\n")
    assert again.drain().lines() == [b"fifth line"]


def test_a_file_rewritten_by_an_editor(read: Make, write: Make, tmp_path: Path) -> None:
    """A new file with the old contents is not read again."""
    path = tmp_path / "mail.log"
    log = write(path)
    log(b"first line" + b"." * 300 + b"\nsecond line\n")
    reader = read(path).drain()
    shutil.copy(path, tmp_path / "new")
    (tmp_path / "new").rename(path)
    write(path)(b"third line\n")
    assert reader.drain().lines()[2:] == [b"third line"]


def test_compressed_while_away(read: Make, write: Make, tmp_path: Path) -> None:
    """Three rotations and their compression later: the rest of the file, the files between, the new file."""
    path = tmp_path / "mail.log"
    log = write(path)
    log(b"1\n")
    reader = read(path).drain()
    rows = reader.positions()
    reader.close()
    log(b"2\n")
    for name, text in (("mail.log.3.gz", path.read_bytes()), ("mail.log.2.gz", b"3\n")):
        with gzip.open(tmp_path / name, "wb") as packed:
            packed.write(text)
    (tmp_path / "mail.log.1").write_bytes(b"4\n")
    path.unlink()
    path.write_bytes(b"5\n")
    again = read(path, saved=rows).drain()
    assert again.lines() == [b"2", b"3", b"4", b"5"]
    assert again.said("bytes-lost") == []
    rows = again.positions()
    assert read(path, saved=rows).drain().lines() == []


def test_a_rotated_file_that_is_just_being_packed(read: Make, write: Make, tmp_path: Path) -> None:
    """The half of a compressed file that is there tells nothing: it is waited for, and nothing said to be
    lost."""
    clock = ManualClock(1000.0)
    path = tmp_path / "mail.log"
    log = write(path)
    lines = [
        b"%d: something random, %s\n" % (number, os.urandom(30).hex().encode()) for number in range(3000)
    ]
    log(lines[0])
    reader = read(path, clock=clock).drain()
    rows = reader.positions()
    reader.close()
    packed = gzip.compress(b"".join(lines))
    path.unlink()
    path.write_bytes(b"")
    half = tmp_path / "mail.log.2.gz"  # of a rotation that keeps the newest as it is
    half.write_bytes(packed)
    (tmp_path / "mail.log.1.gz").write_bytes(b"")
    again = read(path, saved=rows, clock=clock).drain()
    assert len(again.lines()) == 2999
    for size in (5, 60, len(packed) // 2, len(packed)):  # by another program, of what was read
        (tmp_path / "mail.log.1.gz").write_bytes(packed[:size])
        clock.set(clock.now() + 6)
        again.drain()
    assert len(again.lines()) == 2999
    assert again.said("bytes-lost") == []


def test_a_compressed_file_that_is_written_while_it_is_read(read: Make, write: Make, tmp_path: Path) -> None:
    """What comes behind is read when it comes; what never comes is said to be lost."""
    clock = ManualClock(1000.0)
    path = tmp_path / "mail.log"
    write(path)(b"first\n")
    reader = read(path, clock=clock).drain()
    rows = reader.positions()
    reader.close()
    lines = [b"%d: something random, %s" % (number, os.urandom(30).hex().encode()) for number in range(3000)]
    whole = gzip.compress(b"first\n" + b"".join(line + b"\n" for line in lines))
    path.unlink()
    path.write_bytes(b"now\n")
    packed = tmp_path / "mail.log.1.gz"
    packed.write_bytes(whole[: len(whole) // 2])
    again = read(path, saved=rows, clock=clock).drain()
    assert 100 < len(again.lines()) < 2900
    assert again.said("bytes-lost") == []
    with open(packed, "ab") as file:
        file.write(whole[len(whole) // 2 : -100])
    clock.set(clock.now() + 6)
    again.drain()
    read_so_far = [line for line in again.lines() if line != b"now"]
    assert read_so_far == lines[: len(read_so_far)]
    assert len(read_so_far) > 2900
    clock.set(clock.now() + 70)
    again.drain()
    clock.set(clock.now() + 6)
    again.drain()
    assert len(again.said("bytes-lost")) == 1


def test_unreadable_and_back(read: Make, write: Make, open_folder: Path) -> None:
    """Said once, tried again when it changes, read from where it stood."""
    target = 65534 if os.geteuid() == 0 else None
    path = open_folder / "mail.log"
    log = write(path)
    log(b"1\n")
    os.chmod(path, 0o000)
    try:
        if target is not None:
            os.seteuid(target)
        reader = read(path)
        reader.drain()
        assert len(reader.said("log-unreadable")) == 1
        if target is not None:
            os.seteuid(0)
        os.chmod(path, 0o644)
        if target is not None:
            os.seteuid(target)
        reader.until(lambda r: r.lines() == [b"1"] and r.said("log-back"))
        assert len(reader.said("log-unreadable")) == 1
    finally:
        if target is not None:
            os.seteuid(0)


def test_a_link_that_is_turned(read: Make, write: Make, tmp_path: Path) -> None:
    """A link to today's file that is turned to tomorrow's is a rotation."""
    first, second, link = tmp_path / "one.log", tmp_path / "two.log", tmp_path / "current"
    log = write(first)
    link.symlink_to(first)
    reader = read(link)
    log(b"1\n")
    assert reader.drain().lines() == [b"1"]
    write(second)(b"2\n")
    link.unlink()
    link.symlink_to(second)
    log(b"late\n")
    reader.drain()
    assert reader.lines(link) == [b"1", b"late", b"2"]


def test_one_file_under_two_names_is_read_once(read: Make, write: Make, tmp_path: Path) -> None:
    """A link beside the file it leads to counts nothing twice."""
    write(tmp_path / "a.log")(b"1\n")
    (tmp_path / "b.log").symlink_to(tmp_path / "a.log")
    assert read(tmp_path / "*.log").drain().lines() == [b"1"]


def test_a_name_that_is_read_as_well(read: Make, write: Make, tmp_path: Path) -> None:
    """Rotated to a name that the glob matches too, the file goes on where it stood."""
    log = write(tmp_path / "mail.log")
    reader = read(tmp_path / "mail.log*")
    log(b"1\n")
    reader.drain()
    (tmp_path / "mail.log").rename(tmp_path / "mail.log.old")
    write(tmp_path / "mail.log")(b"2\n")
    reader.drain()
    log(b"late\n")
    reader.drain()
    assert sorted(reader.lines()) == [b"1", b"2", b"late"]
    again = read(tmp_path / "mail.log*", saved=reader.positions())
    assert again.drain().lines() == []


def test_a_folder_in_place_of_a_file(read: Make, tmp_path: Path) -> None:
    """A named pipe is no log: said, and nothing waits for its writer."""
    os.mkfifo(tmp_path / "mail.log")
    reader = read(tmp_path / "mail.log").drain()
    assert reader.said("log-unreadable")[0]["why"] == "not a regular file"


def test_a_rotated_file_is_let_go(read: Make, write: Make, tmp_path: Path) -> None:
    """After a while without late lines: closed, its unterminated end handed out as cut, not read again."""
    clock = ManualClock(1000.0)
    path = tmp_path / "mail.log"
    log = write(path)
    log(b"1\nhalf")
    reader = read(path, clock=clock).drain()
    path.rename(tmp_path / "mail.log.1")
    write(path)(b"2\n")
    assert reader.drain().lines() == [b"1", b"2"]
    clock.set(1000.0 + 3700)
    reader.drain()
    assert (reader.lines(), reader.cuts) == ([b"1", b"2", b"half"], [b"half"])
    assert len(reader.source.claims) == 1
    again = read(path, clock=clock, saved=reader.positions()).drain()
    assert again.lines() == []


def test_a_missing_file_is_said_after_a_while(read: Make, write: Make, tmp_path: Path) -> None:
    """A gap during a rotation is nothing to speak of; a log that stays away is."""
    clock = ManualClock(1000.0)
    path = tmp_path / "mail.log"
    write(path)
    reader = read(path, clock=clock).drain()
    path.unlink()
    assert reader.drain().said("log-missing") == []
    clock.set(1000.0 + 6)
    assert len(reader.drain().said("log-missing")) == 1
    write(path)(b"1\n")
    assert len(reader.drain().said("log-back")) == 1
    assert reader.lines() == [b"1"]


class TestDays:
    """E-Post's day-named files."""

    @pytest.fixture
    def spool(self, tmp_path: Path) -> Path:
        (tmp_path / "acceptlog" / "MAIL1").mkdir(parents=True)
        (tmp_path / "inlog").mkdir()
        return tmp_path

    def test_midnight(self, read: Make, write: Make, spool: Path) -> None:
        """Tomorrow's file is read from its start, today's stays open for late lines, with and without the
        computer's folder; the log is the folder, and positions grow over the days."""
        host, plain = spool / "acceptlog" / "MAIL1", spool / "inlog"
        (host / "261120.log").write_bytes(b"long ago\n")
        today = write(host / "261122.log")
        today(b"1\n")
        write(plain / "261122.log")(b"in\n")
        reader = read(spool, kind="epost")
        reader.drain()
        assert reader.lines(host) == [b"long ago", b"1"]
        write(host / "261123.log")(b"2\n")
        today(b"late\n")
        reader.drain()
        assert sorted(reader.lines(host)) == [b"1", b"2", b"late", b"long ago"]
        assert reader.lines(plain) == [b"in"]
        positions = [position for log, position, text in reader.blocks if text == b"2\n"]
        assert positions == [(day("261123.log") or 0) << DAY_BITS]
        status = reader.source.status()
        assert set(status) == {str(host), str(plain)}
        assert status[str(host)]["bytes"] == sum(len(line) + 1 for line in reader.lines(host))
        assert status[str(host)]["path"] == str(host / "261123.log")

    def test_days_that_passed_while_away(self, read: Make, write: Make, spool: Path) -> None:
        """All files that came since the checkpoint are read, older ones are not."""
        host = spool / "acceptlog" / "MAIL1"
        for number in range(10, 20):
            (host / f"2611{number}.log").write_bytes(b"old\n")
        reader = read(spool, kind="epost", start="end").drain()
        rows = reader.positions()
        reader.close()
        for number in range(20, 25):
            (host / f"2611{number}.log").write_bytes(b"day %d\n" % number)
        write(host / "261119.log")(b"late\n")
        again = read(spool, kind="epost", start="end", saved=rows).drain()
        assert sorted(again.lines()) == sorted([b"late", *(b"day %d" % number for number in range(20, 25))])

    def test_a_log_folder_that_appears_later(self, read: Make, write: Make, spool: Path) -> None:
        """A log that is switched on later is read from its start."""
        reader = read(spool, kind="epost", start="end").drain()
        (spool / "receivelog" / "MAIL1").mkdir(parents=True)
        write(spool / "receivelog" / "MAIL1" / "261122.log")(b"new\n")
        reader.until(lambda r: r.lines() == [b"new"])

    def test_a_folder_as_path(self, read: Make, spool: Path) -> None:
        """A path that is a folder means its day-named files."""
        (spool / "inlog" / "261122.LOG").write_bytes(b"1\r\n")
        (spool / "inlog" / "notes.txt").write_bytes(b"2\n")
        assert read(spool / "inlog").drain().lines() == [b"1\r"]

    def test_old_files_are_let_go(self, read: Make, spool: Path) -> None:
        """Years of files do not cost a descriptor each: only the newest two are open."""
        host = spool / "acceptlog" / "MAIL1"
        for number in range(1, 29):
            (host / f"2611{number:02d}.log").write_bytes(b"x\n")
        reader = read(spool, kind="epost").drain()
        assert len(reader.source.follows) == 2
        assert len(reader.lines()) == 2


def test_more_logs_than_files_may_be_open(read: Make, write: Make, tmp_path: Path) -> None:
    """Some descriptors are left to others; the logs for which none is left are named."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(200):
        (tmp_path / f"box{number}.log").write_bytes(b"a line\n")
    used = len(os.listdir("/proc/self/fd"))  # tests before this one may have left some open
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 190, hard))
    try:
        reader = read(tmp_path / "*.log").drain()
        with open(os.devnull, "rb"):
            pass
        unread = {said["log"] for said in reader.said("log-unreadable")}
        assert 60 < len(unread) < 200
        assert len(reader.lines()) == 200 - len(unread)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_spool_that_goes_away_and_returns(read: Make, write: Make, tmp_path: Path) -> None:
    """Its share was unmounted: said once, and once that it is back; it goes on at the same place."""
    spool = tmp_path / "spool"
    for name in ("acceptlog", "inlog"):
        (spool / name / "MAIL1").mkdir(parents=True)
        write(spool / name / "MAIL1" / "261122.log")(b"one\n")
    reader = read(spool, kind="epost", watcher="polling").drain()
    spool.rename(tmp_path / "away")
    spool.mkdir()
    reader.until(lambda r: r.said("log-missing"))
    for name in ("acceptlog", "inlog"):
        write(tmp_path / "away" / name / "MAIL1" / "261122.log")(b"two\n")
    spool.rmdir()
    (tmp_path / "away").rename(spool)
    reader.until(lambda r: r.said("log-back") and len(r.lines()) == 4)
    assert [one.args["log"] for one in reader.notices] == [str(spool)] * 2
    assert sorted(reader.lines()) == [b"one", b"one", b"two", b"two"]
