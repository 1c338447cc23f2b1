"""Tables that an administrator saved from MailPlus Server's auditing or from Log Center: CSV or HTML.

The columns are chosen at the export and named in the administrator's language, so each is known by the words
of its heading, never by its place. Every cell is hostile text: it is never split by what it contains. Each
row that can be read becomes one record with a plain wording that a parser reads (program `mailplus-audit`,
or that of DSM's own sentences); the address stands before everything that a client chose.

No genuine export was at hand: the wordings are inferred, so what is read here only alerts.

Limits: 64 MiB. Rows are sorted by time, because exports begin with the newest.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mailguard.core.envelope import Opener
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.lines import LIMIT
from mailguard.feeds.synodbrow import PROGRAM, plain_words
from mailguard.model import Item, Notice, Record, Records
from mailguard.notation import format_address, parse_address

AUDIT = b"mailplus-audit"
MOST = 64 << 20
_BATCH = 1024
_CELLS = 64  # in a row
_HEADS = 20  # rows among which the headings are looked for

#: Meaning of a column, then the words of its heading in small letters.
HEADINGS = """
stamp: date & time|date and time|date/time|datetime|date time|timestamp|日時|日期与时间|日期和时间|日期與時間
stamp: 日期时间|datum/uhrzeit|datum und uhrzeit|date et heure|date/heure
date: date|日付|日期|datum
clock: time|時刻|時間|时间|zeit|uhrzeit|heure
level: level|severity|レベル|级别|等级|層級|等級|stufe|niveau
ip: ip|ip address|client ip|client ip address|client|source ip|remote ip|ipアドレス|ip アドレス|接続元
ip: クライアント|クライアントip|クライアント ip|ip地址|ip 地址|客户端|客户端 ip|客户端ip|用戶端|用戶端 ip
ip: ip-adresse|adresse ip
user: user|username|user name|account|ユーザー|ユーザー名|ユーザ|アカウント|用户|用户名|使用者|使用者名稱
user: benutzer|benutzername|utilisateur
sender: sender|from|mail from|送信者|差出人|发件人|寄件者|寄件人|absender|von|expéditeur
recipient: recipient|recipients|to|rcpt to|受信者|宛先|收件人|收件者|empfänger|an|destinataire
status: status|result|action|ステータス|状態|結果|动作|状态|结果|狀態|ergebnis|statut|aktion
event: event|type|category|log type|イベント|種類|種別|カテゴリ|事件|类型|類型|ereignis|typ|événement
text: description|details|detail|message|reason|説明|詳細|内容|理由|描述|说明|說明|详细信息|詳細資訊
text: beschreibung|meldung|grund|détails
"""
_MEANING = {
    word: meaning
    for meaning, _, words in (line.partition(": ") for line in HEADINGS.split("\n") if line)
    for word in words.split("|")
}
_WARNING = frozenset(
    ("warning", "warn", "error", "err", "警告", "エラー", "错误", "錯誤", "warnung", "fehler")
)
_INFO = frozenset(("info", "information", "情報", "信息", "資訊", "informationen"))
_LISTED = ("dnsbl", "rbl")
_REJECTED = ("reject", "拒否", "拒绝", "拒絕", "abgelehnt", "rejet", "spf", "dkim", "dmarc")
#: Not delivered or delivered with a mark because of what is inside: no reason to keep a sender out.
_CONTENT = (
    *("malicious", "悪意", "恶意", "惡意", "spam", "スパム", "垃圾"),
    *("virus", "ウイルス", "ウィルス", "病毒", "attachment", "添付", "附件"),
)
_YEAR_FIRST = re.compile(
    r"(\d{4})[-/.年] ?(\d{1,2})[-/.月] ?(\d{1,2})日?[ T]+(午前|午後|上午|下午)? ?(\d{1,2}):(\d\d)(?::(\d\d))?"
    r"(?:\.\d+)? ?([AaPp][Mm])? ?(Z|[+-]\d\d:?\d\d)?"
)
_YEAR_LAST = re.compile(
    r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})[ ,]+(\d{1,2}):(\d\d)(?::(\d\d))? ?([AaPp][Mm])?"
)
_DIGITS = re.compile(r"\d\d")
_EPOCH = re.compile(r"\d{9,10}")
_UNKNOWN_USER = re.compile(r"\b5\.1\.1\b|user unknown", re.IGNORECASE)
_RELAY = re.compile(r"relay access denied", re.IGNORECASE)


class Table(NamedTuple):
    """The rows of an export by meaning. `skipped`: rows that have other cells than the headings say. `mail`:
    it is about messages, not about logins."""

    rows: list[tuple[int, dict[str, str]]]
    skipped: int
    mail: bool


def is_table(begin: bytes) -> bool:
    """Does a file that begins so hold such a table?"""
    text = _decoded(begin)
    head = text.lstrip().lower()
    if head.startswith(("<!doctype html", "<html", "<table")) or (head[:5] == "<?xml" and "<html" in head):
        return True
    line = text.lstrip("\ufeff").partition("\n")[0]
    return _meanings(_cells(line, _delimiter(line))) is not None


def exported_rows(data: bytes, log: str, options: LogOptions, arrival: float) -> Iterator[Item]:
    """The records of an export, oldest first; then what was not understood."""
    table = _table(data)
    times = _Times(options, arrival, table)
    records = []
    odd = 0
    for number, row in table.rows:
        time = times.of(row)
        told = None if time is None else _told(row, table.mail)
        if time is None or told is None:
            odd += 1
            continue
        program, words = told
        raw = words.encode("utf-8", "surrogateescape")
        records.append(Record(time, b"", program, 0, raw[:LIMIT], number, len(raw) > LIMIT))
    records.sort(key=lambda one: one.time)
    for at in range(0, len(records), _BATCH):
        yield Records(log, records[at : at + _BATCH], arrival, False, False, options.parsers)
    if odd or table.skipped or not table.rows:
        args = {"log": log, "rows": len(table.rows) + table.skipped, "odd": odd + table.skipped}
        yield Notice("export-rows", args)


# ---------------------------------------------------------------- the table


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    for encoding in ("utf-8-sig", "cp932"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            if error.start >= len(data) - 4:  # only the end of a beginning is cut
                return data[: error.start].decode(encoding, "replace")
    return data.decode("latin-1")


def _table(data: bytes) -> Table:
    text = _decoded(data).lstrip("\ufeff")
    if text.lstrip()[:1] == "<":
        from mailguard.feeds.pages import Page

        page = Page()
        page.feed(text)
        page.close()
        grid: Iterator[Sequence[str]] = iter(page.rows)
    else:
        grid = _grid(text)
    meanings: list[str] | None = None
    rows: list[tuple[int, dict[str, str]]] = []
    skipped = 0
    for number, cells in enumerate(grid, 1):
        if meanings is None:
            meanings = _meanings(cells)
            if meanings is None and number >= _HEADS:
                break
        elif len(cells) != len(meanings):
            skipped += any(cells)
        elif _meanings(cells) is None:  # the headings again, on a new page
            row: dict[str, str] = {}
            for meaning, cell in zip(meanings, cells, strict=True):
                if meaning and cell.strip() and meaning not in row:
                    row[meaning] = cell.strip()
            rows.append((number, row))
    return Table(rows, skipped, bool({"sender", "recipient"} & set(meanings or ())))


def _grid(text: str) -> Iterator[list[str]]:
    first = text.lstrip("\r\n").partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(first))
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:  # a cell beyond all bounds: that row is lost, the next one is read
            yield []


def _delimiter(line: str) -> str:
    """The one that makes the most headings of the first line."""
    return max(",\t;", key=lambda mark: sum(cell in _MEANING for cell in _headings(_cells(line, mark))))


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _headings(cells: Sequence[str]) -> list[str]:
    return [cell.strip().strip(":").casefold() for cell in cells]


def _meanings(cells: Sequence[str]) -> list[str] | None:
    """What the columns mean ("" for what is of no interest), None where these are no headings: they name a
    time and at least two things more."""
    found = [_MEANING.get(cell, "") for cell in _headings(cells)]
    known = set(found) - {""}
    if len(cells) > _CELLS or len(known) < 3 or not known & {"stamp", "date", "clock"}:
        return None
    if any(_DIGITS.search(cell) for cell in cells):
        return None  # a line of a log
    return found


# ---------------------------------------------------------------- times


class _Times:
    """The times of rows. Whether the day or the month comes first in 03/04/2026 is asked of all rows."""

    def __init__(self, options: LogOptions, arrival: float, table: Table):
        self._opener = Opener(zone=options.timezone)
        self._opener.arrive(arrival, False)
        self._arrival = arrival
        found = [match for _, row in table.rows if (match := _YEAR_LAST.fullmatch(_stamp(row)))]
        self._day_first: bool | None = None
        if any(int(match[1]) > 12 for match in found):
            self._day_first = True
        elif any(int(match[2]) > 12 or match[7] for match in found):
            self._day_first = False

    def of(self, row: Mapping[str, str]) -> float | None:
        """Seconds since 1970; None where no time stands that can be read."""
        text = _stamp(row)
        if _EPOCH.fullmatch(text):
            return float(text)
        if match := _YEAR_FIRST.fullmatch(text):
            year, month, day, half, hour, minute, second, other, zone = match.groups()
            return self._time(year, month, day, _hour(hour, half or other), minute, second, zone or "")
        if match := _YEAR_LAST.fullmatch(text):
            one, two, year, hour, minute, second, half = match.groups()
            readings = {True: (two, one), False: (one, two)}  # day first: month, day
            wanted = [self._day_first] if self._day_first is not None else [True, False]
            times = [
                time
                for first in wanted
                if (time := self._time(year, *readings[first], _hour(hour, half), minute, second)) is not None
            ]
            past = [time for time in times if time <= self._arrival + 172_800.0]
            return max(past, default=None)
        return None

    def _time(
        self, year: str, month: str, day: str, hour: int, minute: str, second: str | None, zone: str = ""
    ) -> float | None:
        stamp = f"{year}-{int(month):02}-{int(day):02}T{hour:02}:{minute}:{second or '00'}{zone} x: y"
        line = stamp.encode()
        opened = self._opener.open(line, 0, len(line))
        return None if opened is None else opened.time


def _stamp(row: Mapping[str, str]) -> str:
    """The cells that tell the time, as one."""
    if "stamp" in row:
        return row["stamp"]
    return " ".join(row[name] for name in ("date", "clock") if name in row)


def _hour(text: str, half: str | None) -> int:
    hour = int(text)
    if half and half.lower() in ("pm", "午後", "下午"):
        return hour + 12 if hour < 12 else hour
    return 0 if half and hour == 12 else hour


# ---------------------------------------------------------------- what a row tells


def _told(row: Mapping[str, str], mail: bool) -> tuple[bytes, str] | None:
    """Program and wording of a row; None where it cannot be read."""
    sentence = next((row[name] for name in ("event", "text") if "[" in row.get(name, "")), "")
    if sentence and not mail:
        level = row.get("level", "").casefold()
        columns = {
            "level": "warning" if level in _WARNING else "info" if level in _INFO else level,
            "username": row.get("user", ""),
            "ip": row.get("ip", ""),
        }
        words = plain_words(columns, sentence)
        return (PROGRAM, words) if words is not None else (b"Connection", sentence)
    packed = parse_address(row.get("ip", "").strip("[]() "))
    category = f"{row.get('event', '')} {row.get('status', '')}".casefold()
    if not category.strip():
        return None
    if packed is None:
        return (AUDIT, "other") if any(word in category for word in _CONTENT) else None
    source = format_address(packed)
    text = row.get("text", "")
    if any(word in category for word in _CONTENT):
        return AUDIT, f"content from {source} by {row.get('sender', '')}"
    if any(word in category for word in _LISTED):
        return AUDIT, f"listed from {source} by {row.get('sender', '')}"
    if any(word in category for word in _REJECTED):
        if _UNKNOWN_USER.search(text) and "recipient" in row:
            return AUDIT, f"unknown from {source} to {row['recipient']}"
        if _RELAY.search(text) and "recipient" in row:
            return AUDIT, f"relay from {source} to {row['recipient']}"
        return AUDIT, f"rejected from {source} by {row.get('sender', '')}"
    return AUDIT, f"other from {source}"
