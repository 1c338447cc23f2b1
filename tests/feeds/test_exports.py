"""Tables that an administrator saved: columns by their headings, hostile cells, times of all sorts."""

from __future__ import annotations

import html
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailguard.feeds import exports
from mailguard.feeds.exports import AUDIT, exported_rows, is_table
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.recorded import RecordedLog
from mailguard.feeds.synodbrow import PROGRAM
from mailguard.model import Notice, Record, Records

NOON = 1_795_348_800.0  # 2026-11-22 12:00:00 UTC


def read(data: bytes | str, arrival: float = NOON) -> tuple[list[Record], list[dict[str, Any]]]:
    """Records and notices of an export."""
    raw = data.encode() if isinstance(data, str) else data
    assert is_table(raw[:4096])
    items = list(exported_rows(raw, "x", LogOptions(timezone="UTC"), arrival))
    assert all(not item.may_ban for item in items if isinstance(item, Records))
    records = [one for item in items if isinstance(item, Records) for one in item.records]
    return records, [item.args for item in items if isinstance(item, Notice)]


def messages(data: bytes | str) -> list[bytes]:
    return [one.message for one in read(data)[0]]


AUDITED = [
    ("Time,Client IP,Event,Sender,Recipient,Description", "Reject", "DNSBL", "Malicious content"),
    ("日時,クライアント,イベント,送信者,受信者,説明", "拒否", "DNSBL", "悪意あるコンテンツ"),
    ("日時,ipアドレス,ステータス,差出人,宛先,詳細", "拒否", "DNSBL", "悪意あるコンテンツ"),
    ("时间,IP地址,状态,发件人,收件人,描述", "拒绝", "DNSBL", "恶意内容"),
    ("Datum/Uhrzeit,IP-Adresse,Ereignis,Absender,Empfänger,Beschreibung", "Abgelehnt", "DNSBL", "Spam"),
]


@pytest.mark.parametrize("form", ["comma", "tab", "semicolon", "quoted", "html"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("heads", "reject", "listed", "content"), AUDITED)
def test_every_dialect(form: str, encoding: str, heads: str, reject: str, listed: str, content: str) -> None:
    """Languages, separators, quotes, line ends, byte order marks, HTML: the same records, oldest first."""
    table = [
        heads.split(","),
        ["2026-11-22 11:00:03", "192.0.2.3", content, "c@example.org", "c@example.jp", ""],
        ["2026-11-22 11:00:02", "192.0.2.2", listed, "b@example.org", "b@example.jp", "bl.example.net"],
        ["2026-11-22 11:00:01", "192.0.2.1", reject, "a@example.org", "a@example.jp", "550 policy"],
        ["2026-11-22 11:00:00", "192.0.2.1", reject, "", "z@example.jp", "550 5.1.1 User unknown"],
    ]
    if form == "html":
        rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table]
        text = "<html><body><table>" + "".join(f"<tr>{row}</tr>\n" for row in rows) + "</table></body></html>"
    elif form == "quoted":
        text = "\r\n".join(",".join(f'"{cell}"' for cell in row) for row in table) + "\r\n"
    else:
        text = "\r\n".join({"comma": ",", "tab": "\t", "semicolon": ";"}[form].join(row) for row in table)
    records, notices = read(text.encode(encoding))
    assert [one.message for one in records] == [
        b"unknown from 192.0.2.1 to z@example.jp",
        b"rejected from 192.0.2.1 by a@example.org",
        b"listed from 192.0.2.2 by b@example.org",
        b"content from 192.0.2.3 by c@example.org",
    ]
    assert [one.time - NOON for one in records] == [-3600, -3599, -3598, -3597]
    assert [one.position for one in records] == [5, 4, 3, 2]
    assert {one.program for one in records} == {AUDIT}
    assert notices == []


def test_cp932() -> None:
    """A file of a Japanese Windows."""
    text = "日時,クライアント,イベント,送信者\r\n2026/11/22 11:00:00,192.0.2.1,拒否,山田\r\n"
    assert messages(text.encode("cp932")) == ["rejected from 192.0.2.1 by 山田".encode()]


def test_the_connection_log_of_log_center() -> None:
    """DSM's own sentences, in any language, by the column of the user; what that does not settle is left as
    it is."""
    text = (
        "レベル,ログ,日時,ユーザー,イベント\n"
        "警告,接続,2026/11/22 09:05:07,tanaka,"
        "ユーザー [tanaka] は [192.0.2.61] から [MailPlus-Server] に失敗\n"
        "情報,接続,2026/11/22 09:05:08,alice,User [alice] from [192.0.2.77] logged in successfully via "
        "[MailPlus-Server].\n"
        "警告,接続,2026/11/22 09:05:09,SYSTEM,Host [192.0.2.61] was blocked via [MailPlus-Server].\n"
    )
    records, _ = read(text)
    assert [(one.program, one.message) for one in records] == [
        (PROGRAM, b"login failed from 192.0.2.61 via MailPlus-Server by tanaka"),
        (PROGRAM, b"login succeeded from 192.0.2.77 via MailPlus-Server by alice"),
        (b"Connection", b"Host [192.0.2.61] was blocked via [MailPlus-Server]."),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22 11:00:00", -3600),
        ("2026/11/22 11:00", -3600),
        ("2026.11.22 11:00:00", -3600),
        ("2026年11月22日 11:00:00", -3600),
        ("2026-11-22T11:00:00.123", -3600),
        ("2026-11-22T11:00:00+09:00", -36000),
        ("2026-11-22 11:00:00 PM", 39600),
        ("2026/11/22 午後 1:00", 3600),
        ("2026/11/22 午前 12:00", -43200),
        ("22/11/2026 11:00:00", -3600),
        ("11/22/2026 11:00:00 AM", -3600),
        ("22.11.2026 11:00", -3600),
        ("1795348800", 0),
        ("yesterday", None),
        ("2026-13-22 11:00:00", None),
        ("2026-11-22 25:00:00", None),
        ("", None),
    ],
)
def test_times(text: str, seconds: int | None) -> None:
    """Year first, year last, with halves of the day; what is no time makes no record and is counted."""
    records, notices = read(f"Time,Client IP,Event\n{text},192.0.2.1,Reject\n")
    assert [one.time - NOON for one in records] == ([] if seconds is None else [seconds])
    assert [one["odd"] for one in notices] == ([1] if seconds is None else [])


def test_day_and_month() -> None:
    """Which comes first is asked of all rows; where none tells, the reading that is not in the future."""
    table = "Time,Client IP,Event\n{},192.0.2.1,Reject\n{},192.0.2.1,Reject\n"
    days = 86400.0
    first, second = read(table.format("05/11/2026 12:00:00", "22/11/2026 12:00:00"))[0]
    assert (first.time, second.time) == (NOON - 17 * days, NOON)
    first, second = read(table.format("11/05/2026 12:00:00", "11/22/2026 12:00:00"))[0]
    assert (first.time, second.time) == (NOON - 17 * days, NOON)
    first, second = read(table.format("10/11/2026 12:00:00", "11/12/2026 12:00:00"))[0]
    assert first.time <= second.time <= NOON
    date_and_time = "Date,Time,Client IP,Event\n2026-11-22,11:00:00,192.0.2.1,Reject\n"
    assert read(date_and_time)[0][0].time == NOON - 3600


def test_hostile_cells() -> None:
    """Entities are decoded once, tags dropped; what a client chose stays in its cell, also with the words of
    categories, headings, separators and line ends in it."""
    rows = [
        "<tr><th>Time</th><th>Client IP</th><th>Event</th><th>Sender</th><th>Subject</th></tr>",
        "<tr><td>2026-11-22 11:00:00</td><td>192.0.2.1</td><td>Reject</td>"
        "<td>&amp;lt;td&amp;gt;203.0.113.99</td><td>x</td></tr>",
        "<tr><td>2026-11-22 11:00:01</td><td>192.0.2.1</td><td>Reject</td>"
        "<td>a</td><td>x</td><td>203.0.113.99</td></tr>",
        "<tr><td>2026-11-22 11:00:02</td><td><b>192.0.2.1</b></td><td>Spam</td><td>Reject</td><td></td></tr>",
        "<tr><td>2026-11-22 11:00:03</td><td>192.0.2.1</td><td>Delivered</td>"
        "<td>DNSBL<br>x</td><td></td></tr>",
    ]
    records, notices = read("<!DOCTYPE html>\n<table>" + "\n".join(rows) + "</table>")
    assert [one.message for one in records] == [
        b"rejected from 192.0.2.1 by &lt;td&gt;203.0.113.99",
        b"content from 192.0.2.1 by Reject",
        b"other from 192.0.2.1",
    ]
    assert [(one["odd"], one["rows"]) for one in notices] == [(1, 4)]
    text = (
        'Time,Client IP,Event,Sender,Description\r\n2026-11-22 11:00:00,192.0.2.1,Reject,"=x\r\n'
        '2026-11-22 11:00:00,203.0.113.99,Reject,y","see [203.0.113.99]"\r\n'
    )
    assert messages(text) == [b"rejected from 192.0.2.1 by =x\r\n2026-11-22 11:00:00,203.0.113.99,Reject,y"]


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_sender_and_subject(sender: str, subject: str) -> None:
    """Written by a proper writer of CSV, no cell moves the address."""

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    text = f"Time,Client IP,Event,Sender,Subject\r\n2026-11-22 11:00:00,192.0.2.1,Reject,{cell(sender)},"
    text += f"{cell(subject)}\r\n"
    raw = text.encode("utf-8", "replace")
    records = [one for item in exported_rows(raw, "x", LogOptions(timezone="UTC"), NOON)
               if isinstance(item, Records) for one in item.records]  # fmt: skip
    assert all(one.message.startswith(b"rejected from 192.0.2.1 by ") for one in records)
    assert len(records) == 1


@given(st.binary(max_size=300))
@example(b"<![\x00")
@example(b"<![if x]>\n<![CDATA[\n<!-- <!-- ]]>")
def test_no_bytes_break_it(data: bytes) -> None:
    """Whatever stands behind a heading."""
    for begin in (b"Time,Client IP,Event\n", b"<table><tr><td>Time<td>Client IP<td>Event</tr>"):
        list(exported_rows(begin + data, "x", LogOptions(timezone="UTC"), NOON))
        is_table(data)


def test_comments_without_an_end() -> None:
    """In each of many rows: as quick as without. (Older Pythons take such a comment for text, newer ones take
    all that follows for the comment, as browsers do.)"""
    row = "<tr><td>2026-11-22 11:00:00<td>192.0.2.1<td>Reject<td><!-- <![x </tr>\n"
    text = "<table><tr><td>Time<td>Client IP<td>Event<td>Sender</tr>" + row * 3000
    begun = time.process_time()
    assert len(read(text)[0]) in (1, 3000)
    assert time.process_time() - begun < 2.0


@pytest.mark.parametrize(
    "data",
    [
        b"Nov 22 10:49:08 mail1 postfix/smtpd[209]: connect from unknown[192.0.2.61]\n",
        b"[30/Nov/2017:08:20:44], time, ip, event\n",
        b"time,ip\n",
        b"sender,recipient,status\n",
        b"",
        b"\0" * 100,
        b"SQLite format 3\0",
    ],
)
def test_what_is_no_table(data: bytes) -> None:
    """Logs stay logs."""
    assert not is_table(data)


def test_as_a_recorded_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mailguard events FILE` and `replay`: known by its beginning; too large a file says so."""
    path = tmp_path / "export.csv"
    path.write_text("Time,Client IP,Event\n" + "2026-11-22 11:00:00,192.0.2.1,Reject\n" * 2000)
    items = list(RecordedLog(str(path), LogOptions(timezone="UTC")))
    assert [len(item.records) for item in items if isinstance(item, Records)] == [1024, 976]
    assert list(RecordedLog(str(path), start=100)) == []
    monkeypatch.setattr(exports, "MOST", 1000)
    (notice,) = RecordedLog(str(path))
    assert isinstance(notice, Notice)
    assert notice.id == "log-unreadable"


def test_an_empty_table_says_so() -> None:
    """Headings and nothing else."""
    assert read("Time,Client IP,Event\n") == ([], [{"log": "x", "rows": 0, "odd": 0}])
