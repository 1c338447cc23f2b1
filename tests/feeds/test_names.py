"""What names of log files mean, and marks that find a file again."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard.feeds.marks import Mark, decode, digest, encode
from mailguard.feeds.names import Rank, day, rotated, unrotated
from mailguard.feeds.search import siblings


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
