"""DSM's log databases followed while DSM writes them: each row once, whatever happens to the table."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.clock import ManualClock
from mailguard.feeds import synodb
from mailguard.feeds.interface import LogOptions, Saved
from mailguard.feeds.lines import LIMIT
from mailguard.feeds.live import LiveFeed, make_source
from mailguard.feeds.recorded import RecordedLog
from mailguard.feeds.synodbrow import PROGRAM, record, time_of
from mailguard.model import Item, Notice, Record, Records
from tests.bounded import by_permissions

OLD = "id INTEGER PRIMARY KEY, time INT, level TEXT, username TEXT, msg TEXT"
NEW = OLD + ", user TEXT, uid INT, ip TEXT, protocol TEXT, token TEXT, useragent TEXT"
NOW = 1_795_307_873


class Dsm:
    """The database as DSM writes it."""

    def __init__(self, path: Path, columns: str = NEW, journal: str = "WAL"):
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute(f"PRAGMA journal_mode = {journal}")
        self.db.execute("PRAGMA synchronous = OFF")  # for readers it is the same, and no disk is waited for
        self.db.execute(f"CREATE TABLE IF NOT EXISTS logs ({columns})")
        self.count = 0

    def write(self, msg: str | bytes | None = None, **columns: Any) -> int:
        self.count += 1
        row = {"time": NOW + self.count, "level": "warning", "username": f"u{self.count}"} | columns
        row["msg"] = (
            f"User [{row['username']}] from [192.0.2.61] failed to log in via [MailPlus-Server] due to "
            "authorization failure."
            if msg is None
            else msg
        )
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        done = self.db.execute(f"INSERT INTO logs ({names}) VALUES ({marks})", list(row.values()))
        return int(done.lastrowid or 0)

    def __call__(self, sql: str, *values: Any) -> None:
        self.db.execute(sql, values)

    def close(self) -> None:
        self.db.close()


class Follower:
    """A live feed over databases."""

    def __init__(self, *paths: Path, saved: Saved | None = None, start: str = "begin"):
        self.clock = ManualClock(NOW + 86400.0)
        options = LogOptions("nas", "synology-db", tuple(map(str, paths)), start=start)
        self.source = make_source(options, saved or {}, self.clock)
        self.feed = LiveFeed([self.source], self.clock, spacing=0.0)
        self.items: list[Item] = []

    def look(self) -> Follower:
        """One look, a second later, and all that it finds."""
        self.clock.set(self.clock.now() + 6.0)
        while items := self.feed.next(self.clock.monotonic()):
            self.items += items
        return self

    def records(self) -> list[Record]:
        return [one for item in self.items if isinstance(item, Records) for one in item.records]

    def users(self) -> list[bytes]:
        """The names in the plain wording."""
        return [one.message.rpartition(b" by ")[2] for one in self.records()]

    def said(self) -> list[str]:
        return [item.id for item in self.items if isinstance(item, Notice)]

    def close(self) -> None:
        self.feed.close()


@pytest.fixture
def dsm(tmp_path: Path) -> Iterator[Callable[..., Dsm]]:
    made: list[Dsm] = []

    def make(**options: Any) -> Dsm:
        made.append(Dsm(tmp_path / options.pop("name", ".SYNOCONNDB"), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    made: list[Follower] = []

    def make(*paths: Path, **options: Any) -> Follower:
        made.append(Follower(*paths, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.close()


# ---------------------------------------------------------------- rows


def plain(msg: str | bytes, program: bytes = b"Connection", **columns: Any) -> tuple[bytes, bytes]:
    row = {"time": NOW, "level": "warning", "username": "tanaka", "msg": msg} | columns
    made = record(row, 7, program, NOW + 5.0)
    assert made.position == 7
    return made.program, made.message


FAILED = b"login failed from 192.0.2.61 via MailPlus-Server by tanaka"


@pytest.mark.parametrize(
    "msg",
    [
        "User [tanaka] from [192.0.2.61] failed to log in via [MailPlus-Server] due to this and that.",
        "User [tanaka] failed to log in from [192.0.2.61] via [MailPlus-Server].",
        "User [tanaka] from [pc1(192.0.2.61)] failed to sign in to [MailPlus-Server] via [password] due to x",
        "由于授权失败,来自 [192.0.2.61] 的用户 [tanaka] 无法通过 [MailPlus-Server] 登录",
        "ユーザー [tanaka] は [192.0.2.61] から [mailplus-server] 経由でログインできませんでした。",
        "[MailPlus Server]: Benutzer [tanaka] von [::ffff:192.0.2.61] abgewiesen",
    ],
)
def test_every_language(msg: str) -> None:
    """Whatever the language and its order: the name is known from its column, the rest is DSM's."""
    assert plain(msg) == (PROGRAM, FAILED)


@pytest.mark.parametrize(
    ("ip", "source"),
    [
        ("192.0.2.9", b"192.0.2.9"),
        ("::ffff:192.0.2.9", b"192.0.2.9"),
        ("2001:DB8::9", b"2001:db8::9"),
        ("", b"192.0.2.61"),
        (None, b"192.0.2.61"),
        ("pc1", b"192.0.2.61"),
        ("pc1(192.0.2.9)", b"192.0.2.9"),
        ("192.0.2.9(pc1)", b"192.0.2.9"),
        (b"192.0.2.9", b"192.0.2.9"),
    ],
)
def test_the_column_of_the_address(ip: Any, source: bytes) -> None:
    """The column is preferred; where it holds no address the sentence tells it."""
    msg = (
        "User [tanaka] from [192.0.2.61] failed to log in via [MailPlus-Server] due to authorization failure."
    )
    assert plain(msg, ip=ip) == (PROGRAM, FAILED.replace(b"192.0.2.61", source))


@pytest.mark.parametrize(
    "name",
    [
        "x] from [203.0.113.99",
        "203.0.113.99",
        "192.0.2.61",
        "] from [",
        "x] from [203.0.113.99] failed to log in via [MailPlus-Server] due to authorization failure.",
        "MailPlus-Server",
        "a] from [192.0.2.61] x [a",
        "x\ny",
        "\x1b[31m",
        "[", "]", "[]", "][", " ",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "sentence",
    [
        "User [{}] from [192.0.2.61] failed to log in via [MailPlus-Server] due to authorization failure.",
        "来自 [192.0.2.61] 的用户 [{}] 无法通过 [MailPlus-Server] 登录",
        "[MailPlus-Server] [192.0.2.61] [{}]",
    ],
)
def test_names_that_imitate(name: str, sentence: str) -> None:
    """No name moves the address, and none hides the login."""
    assert plain(sentence.format(name), username=name) == (
        PROGRAM,
        b"login failed from 192.0.2.61 via MailPlus-Server by " + name.encode(),
    )


@given(st.text(max_size=30), st.sampled_from(["u", "[", "]", "203.0.113.99", "MailPlus-Server"]))
def test_any_name(name: str, more: str) -> None:
    """Any name at all: the address is the true one, or the sentence stays as it is."""
    name += more + name
    sentence = f"User [{name}] from [192.0.2.61] failed to log in via [MailPlus-Server] due to x."
    program, message = plain(sentence, username=name)
    if program == PROGRAM:
        assert message.startswith(b"login failed from 192.0.2.61 via MailPlus-Server by ")


@pytest.mark.parametrize(
    ("msg", "columns", "message"),
    [
        ("User [tanaka] from [192.0.2.61] logged in successfully via [MailPlus-Server].", {"level": "info"},
         b"login succeeded from 192.0.2.61 via MailPlus-Server by tanaka"),
        ("User [tanaka] from [192.0.2.61] logged out the server via [MailPlus-Server] with totally [0] "
         "uploaded and [1] downloaded.", {"level": "info"},
         b"logout from 192.0.2.61 via MailPlus-Server by tanaka"),
        ("User [tanaka] from [192.0.2.61] failed to log in via [SSH] due to authorization failure.", {},
         b"login failed from 192.0.2.61 via SSH by tanaka"),
        ("User [tanaka] from [192.0.2.61] failed to log in via [MailServer] due to x.", {"level": "err"},
         b"login failed from 192.0.2.61 via Mail Server by tanaka"),
    ],
)  # fmt: skip
def test_other_outcomes(msg: str, columns: dict[str, Any], message: bytes) -> None:
    """Success, logout, other services, each in its plain wording."""
    assert plain(msg, **columns) == (PROGRAM, message)


@pytest.mark.parametrize(
    ("msg", "columns"),
    [
        ("Host [192.0.2.61] was blocked via [MailPlus-Server].", {"username": "SYSTEM"}),
        ("User [yamada] from [192.0.2.61] failed to log in via [MailPlus-Server] due to x.", {}),
        ("User [tanaka] from [192.0.2.61] and [192.0.2.62] via [MailPlus-Server].", {}),
        ("User [tanaka] from [home] failed to log in via [MailPlus-Server] due to x.", {}),
        (
            "User [tanaka] from [192.0.2.61] failed to log in via [MailPlus-Server] due to x.",
            {"level": "odd"},
        ),
        ("User [tanaka] from [192.0.2.61] failed", {}),
        ("", {"username": None}),
    ],
)
def test_what_columns_do_not_settle(msg: str, columns: dict[str, Any]) -> None:
    """It stays the sentence, under the program name of its database."""
    assert plain(msg, b"System", **columns) == (b"System", msg.encode())


def test_rows_of_any_sort() -> None:
    """Broken encodings, NULs, line ends, numbers where texts should be, times that are none."""
    assert plain(b"\xff\0\n", username=b"\xff") == (b"Connection", b"\xff\0\n")
    assert record({"msg": 5, "time": "soon", "level": 3, "username": 4}, 1, b"Connection", 9.0) == Record(
        9.0, b"", b"Connection", 0, b"5", 1
    )
    assert record({"msg": None, "time": -1}, 1, b"Connection", 9.0).time == 9.0
    long = record({"msg": "x" * (LIMIT + 1)}, 1, b"Connection", 9.0)
    assert (len(long.message), long.cut) == (LIMIT, True)


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (NOW, NOW),
        (str(NOW), NOW),
        (f" {NOW}.25 ".encode(), NOW + 0.25),
        ("2026-11-22T00:37:53Z", NOW),
        ("2026-11-22 09:37:53+09:00", NOW),
        ("2026-11-22 09:37:53", NOW),
        ("2026/11/22 09:37:53", NOW),
        ("2026-13-22 09:37:53", None),
        ("9" * 12, None),
        ("\u0661\u0667", None),
        ("9" * 5000, None),
        ("-5", None),
        (float("nan"), None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times_as_numbers_texts_and_dates(value: Any, time: float | None) -> None:
    """A date without a zone is one of the zone that the log states, or of this host."""
    assert time_of(value, ZoneInfo("Asia/Tokyo")) == time


def test_a_column_of_texts(dsm: Callable[..., Dsm], follow: Callable[..., Follower]) -> None:
    """Declared TEXT: SQLite hands out texts, and they count. Rows whose time is none only alert, which is
    said once; a backlog of them must be no burst that bans."""
    nas = dsm(columns=NEW.replace("time INT", "time TEXT"))
    nas.write()
    follower = follow(nas.path).look()
    assert [one.time for one in follower.records()] == [NOW + 1]
    assert all(item.may_ban for item in follower.items if isinstance(item, Records))
    for number in range(3):
        nas.write(time="long ago")
        follower.items.clear()
        follower.look()
        assert len(follower.records()) == 1
        assert not any(item.may_ban for item in follower.items if isinstance(item, Records))
        assert follower.said() == (["synology-time"] if number == 0 else [])


# ---------------------------------------------------------------- following


@pytest.mark.parametrize("columns", [OLD, NEW])
@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_rows_as_they_come(
    dsm: Callable[..., Dsm], follow: Callable[..., Follower], columns: str, journal: str
) -> None:
    """Old and new tables, with and without a write-ahead log: each row once, with its time and id."""
    nas = dsm(columns=columns, journal=journal)
    nas.write()
    one = follow(nas.path).look()
    assert one.users() == [b"u1"]
    one.look()
    for _ in range(2500):
        nas.write()
    one.look()
    assert one.users() == [b"u%d" % number for number in range(1, 2502)]
    assert one.records()[0].time == NOW + 1
    assert [record.position for record in one.records()] == list(range(1, 2502))
    assert one.said() == []
    status = one.source.status()[str(nas.path)]
    assert (status["offset"], status["opened"]) == (2501, True)


def test_the_end_is_a_start(dsm: Callable[..., Dsm], follow: Callable[..., Follower]) -> None:
    """A log that begins at its end begins there, also when the row at the end is taken away."""
    nas = dsm()
    for _ in range(3):
        nas.write()
    one = follow(nas.path, start="end")
    nas.write()
    assert one.look().users() == [b"u4"]


def test_trims_clears_and_what_was_lost(dsm: Callable[..., Dsm], follow: Callable[..., Follower]) -> None:
    """Trimmed at the old end: nothing happens. Trimmed beyond the place: said. Cleared: begun again."""
    nas = dsm()
    for _ in range(10):
        nas.write()
    one = follow(nas.path).look()
    nas("DELETE FROM logs WHERE id <= 8")
    nas.write()
    assert one.look().users()[-1:] == [b"u11"]
    for _ in range(5):
        nas.write()
    nas("DELETE FROM logs WHERE id <= 14")
    assert one.look().users()[-2:] == [b"u15", b"u16"]
    assert one.said() == ["bytes-lost"]
    nas("DELETE FROM logs")
    one.look()
    nas.write()
    assert one.look().users()[-1:] == [b"u17"]
    assert one.records()[-1].position == 1
    for _ in range(40):
        nas.write()
    one.look()
    nas("DELETE FROM logs")
    for _ in range(100):  # cleared and refilled beyond the place between two looks
        nas.write()
    assert one.look().users()[-100:] == [b"u%d" % number for number in range(58, 158)]
    assert one.said() == ["bytes-lost", "log-rotated", "log-rotated"]


def test_a_file_that_comes_late_is_replaced_or_broken(
    dsm: Callable[..., Dsm], follow: Callable[..., Follower], tmp_path: Path
) -> None:
    """Missing: said once, read as soon as it is there. Replaced: the new is read. No database: said."""
    path = tmp_path / ".SYNOCONNDB"
    one = follow(path, start="end").look().look()
    assert one.said() == ["log-missing"]
    first = dsm()
    first.write()
    assert one.look().users() == [b"u1"]
    assert one.said() == ["log-missing", "log-back"]
    first.close()
    for file in tmp_path.iterdir():
        file.unlink()
    second = dsm()
    second.write(username="new")
    assert one.look().users() == [b"u1", b"new"]
    second.close()
    for file in tmp_path.iterdir():
        file.unlink()
    path.write_bytes(b"no database" * 1000)
    one.look().look()
    assert one.said()[-1:] == ["log-unreadable"]
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE other (id)").connection.close()
    one.look()
    assert one.source.status()[str(path)]["words"] == "it has no table logs"


def test_a_writer_that_holds_the_lock(dsm: Callable[..., Dsm], follow: Callable[..., Follower]) -> None:
    """A database locked by its writer is looked at later; the loop does not wait."""
    nas = dsm(journal="DELETE")
    nas.write()
    one = follow(nas.path).look()
    nas("BEGIN EXCLUSIVE")
    nas.write()
    begin = time.monotonic()
    one.look()
    assert time.monotonic() - begin < 1
    assert one.users() == [b"u1"]
    nas("COMMIT")
    assert one.look().users() == [b"u1", b"u2"]
    assert one.said() == []


def test_nothing_is_changed(dsm: Callable[..., Dsm], follow: Callable[..., Follower]) -> None:
    """The database is opened so that it cannot be written."""
    nas = dsm()
    nas.write()
    follow(nas.path).look()
    before = nas.path.read_bytes()
    database = synodb.Database(str(nas.path))
    database.changed()
    assert database._connection is not None
    for sql in ("DELETE FROM logs", "PRAGMA user_version = 5", "CREATE TABLE x (y)"):
        with pytest.raises(sqlite3.OperationalError):
            database._connection.execute(sql)
    database.close()
    assert nas.path.read_bytes() == before


def test_a_folder_without_write_permission_as_user(dsm: Callable[..., Dsm], tmp_path: Path) -> None:
    """As `test_a_folder_without_write_permission`, with real permissions, which count for root too."""
    with by_permissions():
        with pytest.raises(PermissionError):
            read_only_probe(tmp_path)
        read_only(dsm, tmp_path)


def test_a_folder_without_write_permission(
    dsm: Callable[..., Dsm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database with a write-ahead log that nobody has open, where no file may be made: its main file is
    read, and again when it changed."""
    real = sqlite3.connect

    def connect(name: Any, *more: Any, **options: Any) -> sqlite3.Connection:
        if "mode=ro" in str(name) and not os.path.exists(f"{tmp_path}/.SYNOCONNDB-wal"):
            raise sqlite3.OperationalError("unable to open database file")
        return real(name, *more, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    read_only(dsm, tmp_path)


def read_only_probe(folder: Path) -> None:
    """Raises PermissionError: a folder without write permission takes no file."""
    folder.chmod(0o555)
    try:
        (folder / "probe").touch()
    finally:
        folder.chmod(0o755)


def read_only(dsm: Callable[..., Dsm], folder: Path) -> None:
    nas = dsm()
    nas.write()
    nas.close()
    folder.chmod(0o555)
    try:
        one = Follower(nas.path).look().look()
        assert one.users() == [b"u1"]
        folder.chmod(0o755)
        again = dsm()
        again.write(username="second")
        folder.chmod(0o555)
        assert one.look().users() == [b"u1", b"second"]
        assert one.said() == []
        again.close()
        one.close()
    finally:
        folder.chmod(0o755)


WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute("PRAGMA synchronous = OFF")
for number in range(int(sys.argv[2])):
    text = f"User [w{number}] from [192.0.2.61] failed to log in via [MailPlus-Server] due to x."
    db.execute("INSERT INTO logs (time, level, username, msg) VALUES (?, 'warning', ?, ?)",
               (1795307873 + number, f"w{number}", text))
    if number % 500 == 499:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if number % 700 == 699:
        db.execute("DELETE FROM logs WHERE id < (SELECT MAX(id) FROM logs) - 5000")
print("done", flush=True)
"""


def test_a_writer_at_the_same_time(dsm: Callable[..., Dsm], follow: Callable[..., Follower]) -> None:
    """Another process writes, checkpoints and trims while we read, and we are killed and started again from
    what was saved: each row exactly once, in order."""
    nas = dsm()
    one = follow(nas.path)
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(nas.path), "3000"], stdout=subprocess.PIPE)
    users: list[bytes] = []
    limit = time.monotonic() + 60
    restarts = 0
    while len(users) < 3000:
        assert time.monotonic() < limit
        one.look()
        users += one.users()
        one.items.clear()
        if restarts < 40:
            restarts += 1
            saved = one.feed.positions()
            one.close()
            one = follow(nas.path, saved=saved, start="end")
    assert child.stdout is not None
    assert child.stdout.read() == b"done\n"
    child.stdout.close()
    child.wait(20)
    one.look()
    assert users + one.users() == [b"w%d" % number for number in range(3000)]


_step = st.sampled_from(["write", "write", "write", "trim", "clear", "look", "look", "save", "kill"])


@given(st.lists(_step, max_size=40), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens(tmp_path_factory: pytest.TempPathFactory, steps: list[str], wal: bool) -> None:
    """Any sequence of writing, trimming, clearing, looking and being killed: after each look that follows
    everything of the table is known, each row once for each life."""
    nas = Dsm(tmp_path_factory.mktemp("nas") / ".SYNOCONNDB", journal="WAL" if wal else "DELETE")
    one = Follower(nas.path)
    known: list[bytes] = []  # up to the saved place
    rows: dict[str, bytes] = {}
    expected: list[bytes] = []
    unread: list[bytes] = []
    for step in [*steps, "look"]:
        if step == "write":
            nas.write()
            unread.append(b"u%d" % nas.count)
        elif step == "trim":
            nas("DELETE FROM logs WHERE id <= (SELECT MAX(id) FROM logs) / 2")
        elif step == "clear":
            one.look()
            expected, unread = expected + unread, []
            nas("DELETE FROM logs")
            one.look()
            known, rows = known + one.users(), one.feed.positions()
            one.items.clear()
        elif step == "look":
            one.look()
            expected, unread = expected + unread, []
        elif step == "save":
            known, rows = known + one.users(), one.feed.positions()
            one.items.clear()
        else:
            one.close()
            one = Follower(nas.path, saved=rows)
    lost = [item for item in one.items if isinstance(item, Notice) and item.id == "bytes-lost"]
    found = known + one.users()
    assert found == sorted(set(found), key=lambda name: int(name[1:]))
    if "trim" not in steps:
        assert found == expected + unread
        assert not lost
    one.close()
    nas.close()


def test_as_a_recorded_log(dsm: Callable[..., Dsm]) -> None:
    """`mailguard events` and `replay` read a database as they read a file; what is none says so."""
    nas = dsm(name=".SYNOSYSDB")
    for _ in range(1500):
        nas.write("Host [192.0.2.61] was blocked via [MailPlus-Server].", username="SYSTEM")
    items = list(RecordedLog(str(nas.path)))
    assert [len(item.records) for item in items if isinstance(item, Records)] == [1024, 476]
    assert isinstance(items[0], Records)
    assert items[0].records[0].program == b"System"
    assert not items[0].live
