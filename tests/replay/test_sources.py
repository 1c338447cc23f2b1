"""What bad input gets: each said clearly, counted, and nothing invented."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from mailguard.feeds.interface import LogOptions
from mailguard.feeds.recorded import RecordedLog
from mailguard.model import Notice
from mailguard.replay.cutting import spans
from mailguard.replay.sources import PLAIN, find
from mailguard.replay.summary import Summary

from .conftest import T, Try, failed, told

UTC_ZONE = LogOptions(timezone="UTC")


def said(notices: list[Notice]) -> list[str]:
    return [notice.id for notice in notices]


def tries(begin: int = 0, count: int = 4, host: str = "192.0.2.7") -> str:
    return "".join(failed(begin + n, host, f"u{n}") for n in range(count))


def test_folders_wildcards_and_files(tmp_path: Path) -> None:
    """Everything below a folder, whatever matches, each file once; hidden files are left out."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.log").write_text(tries(0))
    (tmp_path / "a" / ".hidden").write_text(tries(100))
    (tmp_path / "two.log").write_text(tries(200))
    (tmp_path / "link.log").symlink_to(tmp_path / "two.log")
    found = find([str(tmp_path), str(tmp_path / "*.log"), str(tmp_path / "two.log")], UTC_ZONE)
    assert [Path(source.path).name for source in found.sources] == ["one.log", "link.log"]
    assert [source.first for source in found.sources] == [T, T + 200]
    assert found.notices == []


def test_an_empty_folder_is_said(rehearse: Try, tmp_path: Path) -> None:
    """It is no error, and the summary counts it."""
    rehearsed = rehearse(tmp_path)
    _, summary = told(rehearsed)
    assert [one["id"] for one in summary["problems"]] == ["folder-empty"]
    assert (summary["logs"], summary["records"], summary["events"]) == (0, 0, 0)


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Whoever named it meant it; the same for a wildcard that matches nothing."""
    with pytest.raises(FileNotFoundError):
        find([str(tmp_path / "gone.log")], UTC_ZONE)
    with pytest.raises(FileNotFoundError):
        find([str(tmp_path / "*.log")], UTC_ZONE)


def test_what_is_no_log_is_left_out(tmp_path: Path) -> None:
    """Binaries and archives, compressed ones too, are told by their contents."""
    (tmp_path / "wtmp").write_bytes(bytes(range(256)) * 64)
    (tmp_path / "wtmp.gz").write_bytes(gzip.compress(bytes(range(255, 0, -1)) * 64))
    with zipfile.ZipFile(tmp_path / "logs.zip", "w") as archive:
        archive.writestr("mail.log", tries())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo("mail.log")
        info.size = len(tries())
        tar.addfile(info, io.BytesIO(tries().encode()))
    (tmp_path / "logs.tar.gz").write_bytes(gzip.compress(packed.getvalue()))
    (tmp_path / "notes.txt").write_text("nothing with a stamp\n" * 10)
    found = find([str(tmp_path)], UTC_ZONE)
    assert sorted(said(found.notices)) == [
        "log-archive", "log-archive", "log-binary", "log-binary", "log-strange",
    ]  # fmt: skip
    assert [Path(source.path).name for source in found.sources] == ["notes.txt"]


def test_an_unreadable_file_in_a_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are read all the same."""
    import builtins

    (tmp_path / "a.log").write_text(tries())
    (tmp_path / "b.log").write_text(tries(100))
    real = builtins.open

    def refuse(path: object, *args: object, **named: object) -> object:
        if str(path).endswith("a.log"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(builtins, "open", refuse)
    found = find([str(tmp_path)], UTC_ZONE)
    assert said(found.notices) == ["log-unreadable"]
    assert len(found.sources) == 1


def test_the_same_log_twice_counts_once(tmp_path: Path, rehearse: Try) -> None:
    """A rotated file and its compressed copy: the plain one is read, and it is said."""
    (tmp_path / "mail.log.1").write_text(tries())
    (tmp_path / "mail.log.1.gz").write_bytes(gzip.compress(tries().encode()))
    rehearsed = rehearse(tmp_path)
    assert said(rehearsed.summary.notices) == ["log-twice"]
    assert rehearsed.summary.events == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_a_truncated_archive_is_read_up_to_its_end(tmp_path: Path, rehearse: Try, workers: int) -> None:
    """What was unpacked before the damage counts, the damage is said."""
    data = gzip.compress(
        "".join(tries(10 * n, 4, f"10.1.{n % 200}.{n // 200}") for n in range(3000)).encode()
    )
    path = tmp_path / "mail.log.gz"
    path.write_bytes(data[: len(data) // 2])
    rehearsed = rehearse(path, workers=workers)
    assert said(rehearsed.summary.notices) == ["log-unreadable"]
    assert 4000 < rehearsed.summary.events < 8000


def test_lines_out_of_order_are_counted(tmp_path: Path, rehearse: Try) -> None:
    """They count at their own time; a clock that was set back is told as such."""
    path = tmp_path / "mail.log"
    path.write_text(tries(100) + tries(50, 2) + tries(200))
    (notice,) = rehearse(path).summary.notices
    assert (notice.id, notice.args["lines"], notice.args["seconds"]) == ("log-disorder", 2, 53.0)
    path.write_text(tries(90_000) + tries(10) + tries(95_000))
    rehearsed = rehearse(path)
    (notice,) = rehearsed.summary.notices
    assert (notice.id, notice.args["lines"]) == ("log-clock", 4)
    assert told(rehearsed)[1]["late"] == 4


def yearless(year: int, month: int, count: int) -> str:
    lines = tries(0, count)
    stamp = datetime(year, month, 3, 9, 0, tzinfo=UTC).strftime("%b %e %H:%M:%S")
    return "".join(stamp + line[25:] for line in lines.splitlines(keepends=True))


@pytest.mark.parametrize("form", ["plain", "gz"])
@pytest.mark.parametrize("workers", [1, 2])
def test_two_years_in_one_file(tmp_path: Path, rehearse: Try, form: str, workers: int) -> None:
    """Stamps without year: the years are counted by the jumps back, compressed or not, and it is said."""
    months = [(2023, 11), (2024, 1), (2024, 5), (2024, 9), (2025, 2), (2025, 6)]
    text = "".join(yearless(year, month, 30) for year, month in months)
    path = tmp_path / "mail.log"
    path.write_bytes(text.encode() if form == "plain" else gzip.compress(text.encode()))
    os.utime(path, (1_751_000_000, 1_751_000_000))  # June 2025
    rehearsed = rehearse(path, workers=workers, piece=6000)
    summary = rehearsed.summary
    assert [(one.id, one.args.get("year")) for one in summary.notices] == [("log-years", 2023)]
    assert (summary.first, summary.last) == (
        datetime(2023, 11, 3, 9, tzinfo=UTC).timestamp(),
        datetime(2025, 6, 3, 9, tzinfo=UTC).timestamp(),
    )
    assert summary.late == 0


def test_no_cut_in_the_hour_that_repeats(tmp_path: Path) -> None:
    """Stamps without zone: a piece that began there could not know which of the two it is."""
    path = tmp_path / "mail.log"
    begin = datetime(2026, 10, 24, 18, 0, tzinfo=UTC).timestamp()
    from zoneinfo import ZoneInfo

    zone = ZoneInfo("Europe/Berlin")
    lines = [
        datetime.fromtimestamp(begin + 30 * n, zone).strftime("%b %e %H:%M:%S") + failed(0, "192.0.2.7")[25:]
        for n in range(2400)
    ]
    path.write_text("".join(lines))
    os.utime(path, (begin + 90_000, begin + 90_000))
    options = LogOptions(timezone="Europe/Berlin", year=2026)
    (source,) = find([str(path)], options).sources
    pieces, _ = spans(source, options, 4000)
    data = path.read_bytes()
    starts = [data[piece.start : piece.start + 12] for piece in pieces]
    assert len(pieces) > 50
    assert b"".join(data[piece.start : piece.end] for piece in pieces) == data
    assert not [one for one in starts if one.startswith(b"Oct 25 02")]
    assert [one for one in starts if one.startswith(b"Oct 25 05")]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_hour_that_repeats_is_read_alike(tmp_path: Path, rehearse: Try, workers: int) -> None:
    """In pieces and by several workers the repeated hour is read as the whole file is read."""
    from zoneinfo import ZoneInfo

    path = tmp_path / "mail.log"
    begin = datetime(2026, 10, 24, 22, 0, tzinfo=UTC).timestamp()
    zone = ZoneInfo("Europe/Berlin")
    lines = [
        datetime.fromtimestamp(begin + 30 * n, zone).strftime("%b %e %H:%M:%S")
        + failed(0, f"192.0.2.{n % 3}")[25:]
        for n in range(1200)
    ]
    path.write_text("".join(lines))
    os.utime(path, (begin + 90_000, begin + 90_000))
    options = LogOptions(timezone="Europe/Berlin", year=2026)
    summary = rehearse(path, options=options, workers=workers, piece=5000).summary
    assert (summary.first, summary.last) == (begin, begin + 30 * 1199)
    assert summary.late == 0


def test_a_file_of_the_year_1970(tmp_path: Path, rehearse: Try) -> None:
    """Images and archives that can be made again set every modification time to 0: a year-less log is dated
    by it, as wrong as it is, and not taken for none."""
    path = tmp_path / "mail.log"
    path.write_text("".join("Nov 21 10:00:00 " + line[26:] for line in tries().splitlines(True)))
    os.utime(path, (0, 0))
    summary = rehearse(path).summary
    assert (summary.by_kind["auth_failure"], summary.notices) == (4, [])
    assert summary.first == datetime(1969, 11, 21, 10, tzinfo=UTC).timestamp()


def test_holes_and_broken_lines(tmp_path: Path, rehearse: Try) -> None:
    """NUL bytes of a copytruncate, an unterminated last line and bytes that are no UTF-8 harm nothing."""
    path = tmp_path / "mail.log"
    path.write_bytes(b"\0" * 5000 + tries().encode() + b"\xff\xfe\n" + failed(50, "192.0.2.9").encode()[:-1])
    rehearsed = rehearse(path)
    assert rehearsed.summary.records == 5
    assert rehearsed.summary.by_kind["auth_failure"] >= 4
    (source,) = find([str(path)], UTC_ZONE).sources
    assert (source.form, source.first) == (PLAIN, T)


def test_a_pipe_is_refused_before_it_is_waited_for(tmp_path: Path) -> None:
    """What a log is takes two looks, and a pipe can be read once; nobody may be writing to it at all."""
    os.mkfifo(tmp_path / "mail.log")
    with pytest.raises(OSError, match="it is a pipe"):
        find([str(tmp_path / "mail.log")], UTC_ZONE)
    with pytest.raises(OSError, match="it is a pipe"):
        RecordedLog(str(tmp_path / "mail.log"))
    assert said(find([str(tmp_path / "*.log")], UTC_ZONE).notices) == ["log-unreadable"]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_compressed_standard_input(
    pack: Callable[[bytes], bytes], rehearse: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is unpacked like a file; what is damaged is told."""
    whole = pack(tries().encode() * 300)

    def given(data: bytes) -> Summary:
        stream = io.BufferedReader(cast(io.RawIOBase, io.BytesIO(data)))
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
        summary: Summary = rehearse("-").summary
        return summary

    assert given(whole).by_kind["auth_failure"] == 1200
    assert "log-unreadable" in said(given(whole[: len(whole) // 2]).notices)


def test_standard_input_that_is_no_log_is_told(rehearse: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at it before it is read; that no line of it was known must not pass for a quiet log."""
    for data, expected in (
        (b"nothing\nthat is\nknown\n", ["log-strange"]),
        (b"", []),
        (tries().encode(), []),
    ):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(data))))
        assert said(rehearse("-").summary.notices) == expected
