"""What `journalctl -o json` printed, read from a file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from mailguard.feeds import exported
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.recorded import RecordedLog
from mailguard.model import Block, Record, Records

FIELDS = {
    "__CURSOR": "s=1",
    "__REALTIME_TIMESTAMP": "1795307873155746",
    "SYSLOG_IDENTIFIER": "postfix/smtpd",
    "SYSLOG_PID": "209",
    "_HOSTNAME": "mail1",
    "_UID": "0",
}


def line(**fields: object) -> bytes:
    return json.dumps(FIELDS | fields).encode() + b"\n"


def records(path: Path, **options: object) -> list[Record]:
    """All records of a file."""
    log = RecordedLog(str(path), LogOptions(**options))  # type: ignore[arg-type]
    items = list(log)
    assert log.complete
    assert log.bytes == len(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    assert all(isinstance(item, Records) for item in items)
    return [record for item in items if isinstance(item, Records) for record in item.records]


def test_each_line_is_one_record(tmp_path: Path) -> None:
    """Text, byte arrays, nulls, and lines that are no entries: the number of a record is that of its line."""
    lines = [
        line(MESSAGE="connect from x"),
        b"not json\n",
        line(MESSAGE=list(b"a\x01\x85b")),
        line(MESSAGE=None),
        b"[1, 2]\n",
        b'{"a":' * 5000 + b"\n",
        b"\n",
        line(MESSAGE="first\nsecond", SYSLOG_IDENTIFIER=["dovecot", "x"]),
    ]
    path = tmp_path / "journal.json"
    path.write_bytes(b"".join(lines)[:-1])  # the last without its LF
    found = records(path)
    assert [record.message for record in found] == [
        b"connect from x", b"", b"a\x01\x85b", b"", b"", b"", b"", b"first\nsecond",
    ]  # fmt: skip
    assert [record.position for record in found] == [sum(map(len, lines[:at])) for at in range(len(lines))]
    assert found[0] == Record(1795307873.155746, b"mail1", b"postfix/smtpd", 209, b"connect from x", 0)
    assert found[3].cut
    assert found[7].program == b"dovecot"


def test_compressed_and_divided_by_belief(tmp_path: Path) -> None:
    """A compressed export is read too; what a local user wrote stands apart and only alerts."""
    path = tmp_path / "journal.json.gz"
    path.write_bytes(
        gzip.compress(line(MESSAGE="a") * 3000 + line(MESSAGE="b", _UID="1000") + line(MESSAGE="c"))
    )
    assert [record.message for record in records(path)] == [b"a"] * 3000 + [b"b", b"c"]
    items = [item for item in RecordedLog(str(path)) if isinstance(item, Records)]
    assert [(len(item.records), item.may_ban) for item in items] == [
        (1024, True), (1024, True), (952, True), (1, False), (1, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "begin", [b"", b"{", b'{"a": 1}\n', b'Nov 22 10:49:08 mail1 x[1]: {"MESSAGE": "a"}\n', b"\0{\n"]
)
def test_other_logs_stay_lines(begin: bytes, tmp_path: Path) -> None:
    """A log is no export because a line of it looks like JSON."""
    path = tmp_path / "mail.log"
    path.write_bytes(begin + b"Nov 22 10:49:08 mail1 x[1]: y\n")
    assert all(isinstance(item, Block) for item in RecordedLog(str(path)))


def test_endless_lines(tmp_path: Path) -> None:
    """A line beyond the bound is no entry, and the next one is read again at its place."""
    path = tmp_path / "journal.json"
    path.write_bytes(line(MESSAGE="a") + b"x" * (exported._LONGEST * 3) + b"\n" + line(MESSAGE="b"))
    found = records(path)
    assert [record.message for record in found] == [b"a", b"", b"b"]
    assert found[2].position == path.stat().st_size - len(line(MESSAGE="b"))
