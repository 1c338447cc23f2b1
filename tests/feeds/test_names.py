"""What names of log files mean, and marks that find a file again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mailguard.clock import SystemClock
from mailguard.daemon.build import options_of
from mailguard.daemon.learn import rotated_logs
from mailguard.definitions.settings import Log
from mailguard.feeds.listing import Listing, Listings
from mailguard.feeds.live import LiveFeed, make_source
from mailguard.feeds.marks import Mark, decode, digest, encode
from mailguard.feeds.names import Rank, day, rotated, unrotated
from mailguard.feeds.search import find, in_order, newer, siblings


@pytest.mark.parametrize(
    ("base", "name", "rank"),
    [
        ("mail.log", "mail.log.1", Rank("number", -1)),
        ("mail.log", "mail.log.12.gz", Rank("number", -12)),
        ("mail.log", "mail.1.log", Rank("number", -1)),
        ("mail.log", "mail.log-20261122", Rank("date", 20261122000000)),
        ("mail.log", "mail-20261122.log.xz", Rank("date", 20261122000000)),
        ("mail.log", "mail.log.2026-11-22", Rank("date", 20261122000000)),
        ("maillog", "maillog-20261122", Rank("date", 20261122000000)),
        ("maillog", "maillog.20261122-093107", Rank("date", 20261122093107)),
        ("mail.log", "mail.log-1795307873", Rank("date", 1795307873)),
        ("mail.log", "mail.log", None),
        ("mail.log", "mail.err", None),
        ("mail.log", "mail.log.old", None),
        ("mail.log", "mail.info.1", None),
        ("261122.log", "261123.log", None),
    ],
)
def test_rotated_names(base: str, name: str, rank: Rank | None) -> None:
    """Numbers and dates, with and without compression, before or behind the extension."""
    assert rotated(base, name) == rank


def test_newer_files_rank_higher() -> None:
    """Ranks of one scheme sort from the oldest file to the newest."""
    names = ["mail.log.3.gz", "mail.log.2.gz", "mail.log.1"]
    ranks = [rotated("mail.log", name) for name in names]
    assert ranks == sorted(ranks, key=lambda rank: rank or Rank("", 0))


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("000101.log", 0),
        ("171130.log", 6543 * 24),
        ("171130.LOG", 6543 * 24),
        ("17113005.log", 6543 * 24 + 5),
        ("20171130.log", 6543 * 24),
        ("171330.log", None),
        ("171100.log", None),
        ("mail.log", None),
        ("1711301.log", None),
        ("171130.log.gz", None),
    ],
)
def test_day_named_files(name: str, hours: int | None) -> None:
    """Six digits are a day, eight a day with hour or a year in four digits; other names are none."""
    assert day(name) == hours


def test_globs_leave_out_rotated_forms() -> None:
    """A rotated or compressed file is not a log of its own beside the one it came from."""
    names = {
        "mail.log",
        "mail.log.1",
        "mail.log.2.gz",
        "auth.log",
        "host7.log",
        "mail-20260101.log",
        "x.log.3",
    }
    assert {name for name in names if unrotated(name, names)} == {
        "mail.log",
        "auth.log",
        "host7.log",
        "x.log.3",
    }


def test_marks_survive_their_row() -> None:
    """A row gives back the marks that were put in; rubbish gives none and no error."""
    marks = [Mark(1, 2, 3, "aa", 4, True, "r", 5, 6), Mark(1, 3, 0, "", 0)]
    assert decode(encode(marks)) == marks
    for row in (
        b"",
        b"{}",
        b"\xff",
        b'{"v":2,"files":[]}',
        b'{"v":1,"files":[[1]]}',
        b'{"v":1,"files":[[1,2,3,4,5]]}',
    ):
        assert decode(row) == []


def test_a_mark_knows_its_file() -> None:
    """By the bytes it knew, however much was appended; not another file, nor one that is shorter."""
    mark = Mark(1, 2, 4, digest(b"abcd"), 4)
    assert mark.fits(b"abcdefgh")
    assert not mark.fits(b"abc")
    assert not mark.fits(b"abcx")


def test_among_thousands_of_files_each_is_told_at_once(tmp_path: Path) -> None:
    """Which of many are rotated forms of another is not found by comparing each with each."""
    names = {f"box{number}.log" for number in range(20_000)} | {"box7.log.1", "box7-20261101.log"}
    assert {name for name in names if not unrotated(name, names)} == {"box7.log.1", "box7-20261101.log"}
    for name in ("a.log", "a.log.1", "b.log", "unlike"):
        (tmp_path / name).touch()
    assert [one.path for one in siblings(str(tmp_path / "a.log"), forms=True)] == [str(tmp_path / "a.log.1")]
    assert len(siblings(str(tmp_path / "a.log"))) == 4


def test_numbers_count_from_the_newest_or_from_the_oldest(tmp_path: Path) -> None:
    """As logrotate numbers, unless the files' times and what they hold say the contrary."""

    def written(name: str, day: int, changed: int) -> Path:
        path = tmp_path / name
        path.write_bytes(b"2026-11-%02dT00:00:00+00:00 mail postfix/smtpd[1]: x\n" % day)
        os.utime(path, (changed, changed))
        return path

    log = written("mail.log", 9, 900)
    first, second, third = (written(f"mail.log.{number}", number, 100 * number) for number in (1, 2, 3))
    order = [one.path for one in in_order(siblings(str(log), forms=True))]
    assert order == [str(first), str(second), str(third)]
    found = next(one for one in siblings(str(log)) if one.path == str(second))
    assert [one.path for one in newer(str(log), found, 0)] == [str(third)]
    for number, path in enumerate((first, second, third), 1):
        written(path.name, 9 - number, 100 * number)  # an archive was packed anew: its time says nothing
    order = [one.path for one in in_order(siblings(str(log), forms=True))]
    assert order == [str(third), str(second), str(first)]


def test_a_folder_is_read_once_for_all_its_logs(tmp_path: Path) -> None:
    """Names that were read are asked again until the folder changes; a file renamed since is found."""
    for number in range(50):
        (tmp_path / f"box{number}.log").write_bytes(b"first line of %d\n" % number)
    os.utime(tmp_path, (1e9, 1e9))
    listings = Listings()
    listing = listings.of(str(tmp_path))
    path = tmp_path / "box7.log"
    state = path.stat()
    head = path.read_bytes()
    mark = Mark(state.st_dev, state.st_ino, len(head), digest(head), 5)
    for _ in range(3):
        found = find(str(path), mark, listings=listings)
        assert found is not None
        assert found.path == str(path)
        assert newer(str(path), found, 0, listings) == []
    assert listings.of(str(tmp_path)) is listing
    path.rename(tmp_path / "box7.old")
    path.write_bytes(b"another one\n")
    found = find(str(path), mark, listings=listings)
    assert found is not None
    assert found.path == str(tmp_path / "box7.old")
    listings.forget()
    assert listings.of(str(tmp_path)) is not listing


def test_the_first_start_reads_a_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for the rotated files of all the logs in it, and for what the live feed asks afterwards."""
    for number in range(300):
        (tmp_path / f"box{number}.log").write_bytes(b"a line\n")
        (tmp_path / f"box{number}.log.1").write_bytes(b"an older line\n")
    os.utime(tmp_path, (1e9, 1e9))
    made: list[str] = []
    init = Listing.__init__

    def counted(self: Listing, folder: str) -> None:
        made.append(folder)
        init(self, folder)

    monkeypatch.setattr(Listing, "__init__", counted)
    log = Log("boxes", "file", (f"{tmp_path}/*.log",))
    assert len(rotated_logs([(log, options_of(log, True))], time.time())) == 300
    assert len(made) == 1
    feed = LiveFeed([make_source(options_of(log, True), {}, SystemClock())])
    assert len(made) == 2
    rows = feed.positions()
    feed.close()
    feed = LiveFeed([make_source(options_of(log, False), rows, SystemClock())])
    assert len(made) == 3
    feed.close()
