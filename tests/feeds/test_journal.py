"""The journal, from real journal files that systemd-journal-remote writes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard.clock import SystemClock
from mailguard.feeds import journal, libsystemd
from mailguard.feeds.entries import Reader, unit_patterns
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.journal import JournalSource, any_mail, recorded_entries
from mailguard.feeds.journalctl import entry, value
from mailguard.feeds.lines import LIMIT
from mailguard.feeds.live import LiveFeed
from mailguard.feeds.recorded import RecordedFeed
from mailguard.model import Notice, Record, Records

REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT = "5f0c2d1e8a7b4c3d9e6f1a2b3c4d5e6f"
START = 1_795_307_873_000_000

pytestmark = pytest.mark.real


def export(number: int, message: bytes | None, **fields: str | bytes | None) -> bytes:
    """One entry in journal export format, `number` seconds after the start."""
    given: dict[str, str | bytes | None] = {
        "MESSAGE": message, "SYSLOG_IDENTIFIER": "postfix/smtpd", "SYSLOG_FACILITY": "2", "_PID": "77",
        "_COMM": "smtpd", "_UID": "0", "_HOSTNAME": "mail1", "_SYSTEMD_UNIT": "postfix@-.service",
        "_TRANSPORT": "syslog", **fields,
    }  # fmt: skip
    text = f"__REALTIME_TIMESTAMP={START + number * 1_000_000}\n__MONOTONIC_TIMESTAMP={number + 1}000000\n"
    entry = (text + f"_BOOT_ID={BOOT}\n").encode()
    for name, content in given.items():
        if content is not None:
            raw = content.encode() if isinstance(content, str) else content
            entry += name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
    return entry + b"\n"


class Journald:
    """Writes entries into a journal file, kept open as journald keeps its own."""

    def __init__(self, path: Path):
        self.path = path
        self.process = subprocess.Popen(
            [REMOTE, "-o", str(path), "-"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.count = 0

    def __call__(self, *entries: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(entries))
        self.process.stdin.flush()

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        assert self.process.wait(30) == 0


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Callable[..., Journald]]:
    made: list[Journald] = []

    def make(name: str = "mail.journal", *entries: bytes) -> Journald:
        made.append(Journald(tmp_path / name))
        made[-1](*entries)
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.close()


@pytest.fixture(params=["libsystemd", "journalctl"])
def follow(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes followers of journal files, through the library and through the pipe."""
    made: list[Follower] = []

    def make(path: Path, saved: dict[str, bytes] | None = None, **options: Any) -> Follower:
        made.append(Follower(path, saved or {}, request.param == "libsystemd", options))
        return made[-1]

    yield make
    for one in made:
        one.feed.close()


class Follower:
    def __init__(self, path: Path, saved: dict[str, bytes], library: bool, options: dict[str, Any]):
        options = {"start": "begin", "name": "journal", **options}
        settings = LogOptions(kind="journal", paths=(str(path),), **options)
        self.feed = LiveFeed([JournalSource(settings, saved, SystemClock(), library=library)])
        self.records: list[Record] = []
        self.trust: list[bool] = []
        self.notices: list[Notice] = []

    def until(self, count: int, seconds: float = 20.0) -> list[bytes]:
        """Read until `count` records came; their messages."""
        end = time.monotonic() + seconds
        while len(self.records) < count:
            assert time.monotonic() < end, f"only {self.records} {self.notices}"
            self.take(0.2)
        return [record.message for record in self.records]

    def take(self, seconds: float) -> None:
        for item in self.feed.next(time.monotonic() + seconds) or []:
            if isinstance(item, Records):
                self.records += item.records
                self.trust += [item.may_ban] * len(item.records)
            elif isinstance(item, Notice):
                self.notices.append(item)


def when_there(path: Path, count: int) -> None:
    """Wait until a journal file holds `count` entries: another process writes it."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            found = recorded_entries(str(path), "x", LogOptions(), 0.0)
            if sum(len(records.records) for records, _ in found) >= count:
                return
        except OSError:
            continue
    raise AssertionError("the journal was not written")


def test_entries_as_they_come(follow: Any, journald: Any) -> None:
    """Fields, stamps and bytes are those that were written; appended entries are handed out at once."""
    writer = journald("mail.journal", export(0, b"one", _SOURCE_REALTIME_TIMESTAMP=str(START - 5)))
    when_there(writer.path, 1)
    reader = follow(writer.path)
    reader.until(1)
    assert reader.records[0] == Record(
        (START - 5) / 1e6, b"mail1", b"postfix/smtpd", 77, b"one", START, False
    )
    writer(export(1, b"two", SYSLOG_PID="4711"), export(2, b"three"))
    assert reader.until(3) == [b"one", b"two", b"three"]
    assert reader.records[1].pid == 4711
    assert reader.records[2].time == (START + 2_000_000) / 1e6


def test_hostile_messages(follow: Any, journald: Any) -> None:
    """Control characters, broken encodings, line separators and newlines reach the reader as they are; a long
    message is cut; an entry without a message or identifier harms nothing."""
    messages = [b"a\x07b", b"\xff\xfe", "a\u2028b\u0085c".encode(), b"line one\nrip=192.0.2.7", b"", b"\x00x"]
    writer = journald("mail.journal", *(export(i, message) for i, message in enumerate(messages)))
    writer(export(10, b"L" * 10_000), export(11, None), export(12, b"bare", SYSLOG_IDENTIFIER=None))
    when_there(writer.path, 9)
    reader = follow(writer.path)
    assert reader.until(9)[:6] == messages
    long, empty, bare = reader.records[6:]
    assert (long.message, long.cut) == (b"L" * LIMIT, True)
    assert (empty.message, empty.cut) == (b"", True)
    assert bare.program == b"smtpd"


def test_position(follow: Any, journald: Any) -> None:
    """A restart goes on after the last entry handed out, neither repeating nor leaving out."""
    writer = journald("mail.journal", export(0, b"0"), export(1, b"1"))
    when_there(writer.path, 2)
    reader = follow(writer.path)
    reader.until(2)
    rows = reader.feed.positions()
    reader.feed.close()
    writer(export(2, b"2"))
    when_there(writer.path, 3)
    again = follow(writer.path, rows)
    assert again.until(1) == [b"2"]
    writer(export(3, b"3"))
    assert again.until(2) == [b"2", b"3"]


def test_start_at_the_end(follow: Any, journald: Any) -> None:
    """Older entries are not handed out; a restart before the first new one loses none."""
    writer = journald("mail.journal", export(0, b"0"))
    when_there(writer.path, 1)
    reader = follow(writer.path, start="end")
    reader.take(0.0)
    rows = reader.feed.positions()
    writer(export(1, b"1"))
    assert reader.until(1) == [b"1"]
    assert follow(writer.path, rows).until(1) == [b"1"]


def test_trust(follow: Any, journald: Any) -> None:
    """Entries of mail services and of root may ban; those of a local user who plays postfix only alert."""
    local = {"_SYSTEMD_UNIT": "session-4.scope", "_UID": "1000", "_COMM": "smtpd"}
    writer = journald(
        "mail.journal",
        export(0, b"postfix"),
        export(1, b"logger", **local),
        export(2, b"user unit", **{**local, "_SYSTEMD_UNIT": "user@1000.service"}),
        export(3, b"nobody knows", _SYSTEMD_UNIT=None, _UID=None),
        export(4, b"root", _SYSTEMD_UNIT=None, _UID="0"),
        export(5, b"mailguard itself", SYSLOG_IDENTIFIER="mailguard"),
        export(6, b"dovecot", _SYSTEMD_UNIT="dovecot.service", _UID="999"),
    )
    when_there(writer.path, 6)
    reader = follow(writer.path)
    assert reader.until(6) == [b"postfix", b"logger", b"user unit", b"nobody knows", b"root", b"dovecot"]
    assert reader.trust == [True, False, False, False, True, True]
    distrusted = follow(writer.path, may_ban=False)
    distrusted.until(6)
    assert not any(distrusted.trust)


@pytest.mark.parametrize("units", [("postfix@-.service",), ("postfix",), ("post*.service",)])
def test_filters(follow: Any, journald: Any, units: tuple[str, ...]) -> None:
    """Units by name, by name without suffix (instances too) and by wildcard; identifiers by name."""
    writer = journald(
        "mail.journal",
        export(0, b"other", _SYSTEMD_UNIT="cron.service"),
        export(1, b"wanted"),
        export(2, b"another program", SYSLOG_IDENTIFIER="postfix/qmgr"),
    )
    when_there(writer.path, 3)
    reader = follow(writer.path, units=units, identifiers=("postfix/smtpd",))
    writer(export(3, b"wanted too"))
    assert reader.until(2) == [b"wanted", b"wanted too"]


def test_rotation(journald: Any, tmp_path: Path) -> None:
    """In a folder, the next journal file is followed when the first is closed and another one appears."""
    first = journald("a.journal", export(0, b"0"))
    when_there(first.path, 1)
    reader = Follower(tmp_path, {}, True, {})
    assert reader.until(1) == [b"0"]
    first(export(1, b"1"))
    reader.until(2)
    first.close()
    os.rename(first.path, tmp_path / "a@0.journal")
    second = journald("b.journal", export(2, b"2"))
    assert reader.until(3) == [b"0", b"1", b"2"]
    second(export(3, b"3"))
    reader.until(4)
    reader.feed.close()


@pytest.mark.parametrize("pattern", ["mail.journal", "ma*.journal"])
def test_a_single_file_that_is_made_anew(
    follow: Any, journald: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    """Renamed, written on for a while, and another file put in its place: all entries, each once, and nothing
    is called lost. A wildcard follows whatever fits."""
    monkeypatch.setattr(journal, "_LOOK_FILES", 0.1)
    first = journald("mail.journal", export(0, b"0"))
    when_there(first.path, 1)
    reader = follow(tmp_path / pattern)
    assert reader.until(1) == [b"0"]
    os.rename(first.path, tmp_path / "old@0.journal")
    first(export(1, b"1"))
    when_there(tmp_path / "old@0.journal", 2)
    first.close()
    second = journald("mail.journal", export(2, b"2"))
    assert reader.until(3) == [b"0", b"1", b"2"]
    second(export(3, b"3"))
    assert reader.until(4) == [b"0", b"1", b"2", b"3"]
    assert [notice.id for notice in reader.notices if notice.id != "journal-fallback"] == []


def test_a_wildcard_that_fits_nothing_yet(follow: Any, journald: Any, tmp_path: Path) -> None:
    """It is said, and never does this host's own journal take its place."""
    reader = follow(tmp_path / "*.journal")
    reader.take(0.0)
    assert [notice.id for notice in reader.notices] == ["log-unreadable"]
    assert reader.records == []


def test_entries_gone_after_the_cursor(journald: Any, tmp_path: Path) -> None:
    """Vacuumed while nobody watched: said, blind, and what is left is read."""
    first = journald("a.journal", export(0, b"0"))
    when_there(first.path, 1)
    reader = Follower(tmp_path, {}, True, {})
    reader.until(1)
    rows = reader.feed.positions()
    reader.feed.close()
    first.close()
    first.path.unlink()
    second = journald("b.journal", export(60, b"much later"))
    when_there(second.path, 1)
    again = Follower(tmp_path, rows, True, {})
    assert again.until(1) == [b"much later"]
    assert [(notice.id, notice.blind) for notice in again.notices] == [("bytes-lost", True)]
    again.feed.close()


def test_a_missing_journal(tmp_path: Path) -> None:
    """Said once and tried again: nothing ends because of it."""
    reader = Follower(tmp_path / "none.journal", {}, True, {})
    reader.take(0.0)
    assert [notice.id for notice in reader.notices] == ["log-unreadable"]
    reader.feed.close()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, journald: Any) -> None:
    """Where libsystemd is missing, that is said and journalctl reads instead."""
    writer = journald("mail.journal", export(0, b"0"))
    when_there(writer.path, 1)

    def missing() -> dict[str, Any]:
        raise libsystemd.LibraryMissingError(2, "libsystemd cannot be used")

    monkeypatch.setattr(libsystemd, "library", missing)
    reader = Follower(writer.path, {}, True, {})
    assert reader.until(1) == [b"0"]
    assert [notice.id for notice in reader.notices] == ["journal-fallback"]
    reader.feed.close()
    writer.close()
    records = list(recorded_entries(str(writer.path), "x", LogOptions(), 0.0))
    assert [record.message for batch, _ in records for record in batch.records] == [b"0"]


def test_recorded_journal_then_live(journald: Any, tmp_path: Path) -> None:
    """A journal file is a recorded log too, and following goes on where it ended."""
    writer = journald("mail.journal", export(0, b"0"), export(1, b"1"))
    when_there(writer.path, 2)
    feed = RecordedFeed([str(writer.path)], LogOptions(name="journal"))
    items = []
    while (more := feed.next()) is not None:
        items += more
    # type: ignore[union-attr]
    assert [record.message for item in items for record in item.records] == [b"0", b"1"]
    assert not any(item.live for item in items if isinstance(item, Records))
    reader = Follower(writer.path, feed.positions(), True, {})
    writer(export(2, b"2"))
    assert reader.until(1) == [b"2"]
    reader.feed.close()


def test_any_mail(journald: Any, tmp_path: Path) -> None:
    """A journal without entries of the mail facility is told from one with them."""
    other = journald("cron.journal", export(0, b"0", SYSLOG_FACILITY="9"))
    mail = journald("mail.journal", export(0, b"0"))
    when_there(other.path, 1)
    when_there(mail.path, 1)
    assert not any_mail((str(other.path),))
    assert any_mail((str(other.path), str(mail.path)))
    assert not any_mail((str(tmp_path / "none.journal"),))


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("text", b"text"),
        ([97, 255, 10], b"a\xff\n"),
        (None, None),
        (["first", "second"], b"first"),
        ([[98, 0], [99]], b"b\0"),
        ([], None),
        ([97, 300], None),
        ([True, False], None),
        (7, None),
        ({"a": 1}, None),
    ],
)
def test_json_fields(field: Any, expected: bytes | None) -> None:
    """String, array of byte values, null, array of several values; anything else is no value."""
    assert value(field) == expected


def test_json_lines() -> None:
    """Lines that are no entries are left out."""
    for line in (b"", b"[]", b"{}", b"x", b'{"__REALTIME_TIMESTAMP":"x","__CURSOR":""}', b"[" * 100_000):
        assert entry(line) is None
    assert entry(b'{"__REALTIME_TIMESTAMP":"5","__CURSOR":"c","MESSAGE":"m"}') == ({"MESSAGE": b"m"}, 5, b"c")


def test_stamps_and_numbers_of_senders() -> None:
    """A sender's stamp far from journald's own does not count, nor does a process id that is none."""
    reader = Reader("x", uids=frozenset({0}))
    fields = {"MESSAGE": b"m", "SYSLOG_PID": b"12x", "_SOURCE_REALTIME_TIMESTAMP": b"1"}
    (records,) = reader.records([(fields, START)], 0.0, True)
    assert (records.records[0].time, records.records[0].pid, records.may_ban) == (START / 1e6, 0, False)


def test_unit_patterns() -> None:
    """A name without suffix means the service and its instances."""
    assert unit_patterns(["postfix", "dovecot.service"]) == (
        "postfix.service", "postfix@*.service", "dovecot.service",
    )  # fmt: skip
