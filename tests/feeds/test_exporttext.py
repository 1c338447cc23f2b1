"""What `journalctl -o export` printed, read from a file."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.feeds.exporttext import DamagedError, text_entries
from mailguard.feeds.interface import LogOptions
from mailguard.feeds.recorded import RecordedLog
from mailguard.model import Notice, Record, Records

FIELDS = {
    "__CURSOR": b"s=1",
    "__REALTIME_TIMESTAMP": b"1795307873155746",
    "SYSLOG_IDENTIFIER": b"postfix/smtpd",
    "SYSLOG_PID": b"209",
    "_HOSTNAME": b"mail1",
    "_UID": b"0",
}


def field(name: str, value: bytes) -> bytes:
    """As journald writes it: with its length where it is no plain text."""
    if any(byte < 32 and byte != 9 for byte in value):
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def entry(message: bytes, **fields: bytes) -> bytes:
    return b"".join(field(*one) for one in (FIELDS | fields | {"MESSAGE": message}).items()) + b"\n"


def read(path: Path) -> tuple[list[Record], list[Notice]]:
    log = RecordedLog(str(path), LogOptions())
    items = list(log)
    assert log.complete
    found = [record for item in items if isinstance(item, Records) for record in item.records]
    return found, [item for item in items if isinstance(item, Notice)]


@pytest.mark.parametrize("packed", [False, True])
def test_each_entry_is_one_record(tmp_path: Path, packed: bool) -> None:
    """Plain text, bytes, two values of one field, an entry without a message, several empty lines."""
    none = b"".join(field(*one) for one in FIELDS.items()) + b"\n"
    pieces = [
        entry(b"connect from x"),
        entry(b"a\nMESSAGE=forged\n\n__CURSOR=s=2\nMESSAGE=forged too\n\n"),
        none,
        b"\n\n",
        entry(b"the first")[:-1] + b"MESSAGE=the second\n\n",
        entry(b"a=b", SYSLOG_IDENTIFIER=b"dovecot")[:-1],  # cut behind the last field
    ]
    path = tmp_path / ("journal.export.gz" if packed else "journal.export")
    data = b"".join(pieces)
    path.write_bytes(gzip.compress(data) if packed else data)
    found, said = read(path)
    assert not said
    assert [record.message for record in found] == [
        b"connect from x", b"a\nMESSAGE=forged\n\n__CURSOR=s=2\nMESSAGE=forged too\n\n", b"", b"the first",
        b"a=b",
    ]  # fmt: skip
    assert found[0] == Record(1795307873.155746, b"mail1", b"postfix/smtpd", 209, b"connect from x", 0)
    assert found[1].position == len(pieces[0])
    assert found[4].program == b"dovecot"


def test_what_a_local_user_wrote_only_alerts(tmp_path: Path) -> None:
    path = tmp_path / "journal.export"
    path.write_bytes(entry(b"a") + entry(b"b", _UID=b"1000") + entry(b"c"))
    items = [item for item in RecordedLog(str(path)) if isinstance(item, Records)]
    assert [([record.message for record in item.records], item.may_ban) for item in items] == [
        ([b"a"], True), ([b"b"], False), ([b"c"], True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "damage",
    [
        b"no field\n\n",
        b"MESSAGE\n" + (5).to_bytes(8, "little") + b"longer than that\n\n",
        b"MESSAGE\n" + (1 << 50).to_bytes(8, "little") + b"x\n\n",
        b"MESSAGE\n" + (50).to_bytes(8, "little") + b"x\n\n",
        b"MESSAGE=unterminated",
        b"MESSAGE\n\1\2",
    ],
)
def test_damage_ends_it_and_is_said(tmp_path: Path, damage: bytes) -> None:
    """What stands behind a place that makes no sense may be anybody's text: it is not read as entries."""
    path = tmp_path / "journal.export"
    path.write_bytes(entry(b"good") + damage + entry(b"forged"))
    if damage.startswith((b"MESSAGE=u", b"MESSAGE\n\1")):
        path.write_bytes(entry(b"good") + damage)
    found, said = read(path)
    assert [record.message for record in found] == [b"good"]
    assert [notice.id for notice in said] == ["log-unreadable"]


@given(messages=st.lists(st.binary(max_size=60), max_size=6), size=st.integers(1, 40))
def test_however_it_is_divided(messages: list[bytes], size: int) -> None:
    data = b"".join(entry(message) for message in messages)
    place = 0

    def some(_most: int) -> bytes:
        nonlocal place
        place += size
        return data[place - size : place]

    assert [one[0]["MESSAGE"] for _, one in text_entries(some, 0, 0.0) if one is not None] == messages


def test_too_much_is_left_out() -> None:
    """Of a value of more than 4 MiB nothing is kept; the entry counts without it, and a line is no field."""
    large = b"MESSAGE\n" + (5 << 20).to_bytes(8, "little") + bytes(5 << 20) + b"\n\n"
    left = [b"__CURSOR=s=1\n" + large + entry(b"next")]
    found = [one for _, one in text_entries(lambda most: left.pop() if left else b"", 0, 0.0)]
    assert found[0] is None
    assert found[1] is not None
    assert found[1][0]["MESSAGE"] == b"next"
    endless = iter(lambda: b"x" * (1 << 18), None)
    with pytest.raises(DamagedError):
        list(text_entries(lambda most: next(endless), 0, 0.0))


def test_a_genuine_export(tmp_path: Path) -> None:
    """The same journal by `-o json` and by `-o export` gives the same records."""
    remote = Path("/lib/systemd/systemd-journal-remote")
    if not remote.exists() or shutil.which("journalctl") is None:
        pytest.skip("journalctl and systemd-journal-remote are not here")
    source = tmp_path / "in.export"
    names = ("a plain line", "two\nlines", "tab\tand \x01 control", "größer")
    source.write_bytes(
        b"".join(
            entry(name.encode(), __CURSOR=b"s=1", _BOOT_ID=b"0" * 31 + b"1", __MONOTONIC_TIMESTAMP=b"%d" % at)
            for at, name in enumerate(names, 1)
        )
    )
    journal = tmp_path / "made.journal"
    subprocess.run([remote, "-o", journal, source], check=True, capture_output=True)
    both = []
    for form in ("export", "json"):
        path = tmp_path / f"out.{form}"
        printed = subprocess.run(
            ["journalctl", f"--file={journal}", "-o", form, "--all"], check=True, capture_output=True
        )
        path.write_bytes(printed.stdout)
        found, said = read(path)
        assert not said
        both.append([record._replace(position=0) for record in found])
    assert both[0] == both[1]
    assert [record.message.decode() for record in both[0]] == list(names)
