"""Files of events are replayed as rows: what comes of them is what comes of events, and of the logs."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mailguard
from mailguard import eventfile
from mailguard.core import native
from mailguard.core.rules import Parser
from mailguard.eventfile import EventFileError, Facts, writer
from mailguard.feeds.interface import LogOptions
from mailguard.model import FIELDS, Event
from mailguard.replay.columns import Columns
from mailguard.replay.merging import Stream, segments
from mailguard.replay.rehearsal import Rehearsal
from mailguard.replay.sources import find
from tests.test_eventfile import events

from .conftest import T, Try, failed, login, mail, output, told

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

sessions = native.load("sessions")
COMPILED = [
    pytest.mark.compiled,
    pytest.mark.skipif(sessions is None, reason="the compiled core was not built"),
]
ONE = Event("auth_failure", T, 7, "a/b", 1, {"user": "anna", "session": "s1"}, "l", 0, "auth")


def compiled(test: Any) -> Any:
    """The test is of compiled code."""
    for mark in COMPILED:
        test = mark(test)
    return test


def written(path: Path, found: Sequence[Event], form: str = "parquet", groups: int = 1) -> Path:
    """An events file; of Parquet with so many row groups."""
    with path.open("wb") as file:
        out = writer(form, file)
        for at in range(groups):
            out.write(found[at * len(found) // groups : (at + 1) * len(found) // groups])
            if groups > 1:
                out._put(out._waiting) if out._waiting else None  # type: ignore[attr-defined]
                out._waiting = []  # type: ignore[attr-defined]
        out.close(Facts(len(found), len(found)))
    return path


def back(paths: Iterable[Path], size: int = 512, rows: bool = True) -> list[Sequence[Event]]:
    """The batches of a replay of these files."""
    columns = Columns(rows)
    streams = [
        Stream(str(path), (chunk for _, chunk in columns.chunks(str(path), float("-inf")))) for path in paths
    ]
    return [columns.gather(found) for found in segments(streams, size)]


# ---------------------------------------------------------------- the events


@compiled
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(events, max_size=30), st.integers(1, 3), st.integers(1, 40))
def test_rows_are_the_events(tmp_path: Path, found: list[Event], groups: int, size: int) -> None:
    """Any event, odd texts and both families included, from so many row groups, however they are cut."""
    path = written(tmp_path / "e.parquet", found, groups=groups)
    batches = back([path], size)
    assert all(hasattr(batch, "rows") for batch in batches)
    assert [event for batch in batches for event in batch] == found
    assert [event for batch in back([path], size, rows=False) for event in batch] == found


@compiled
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(events, max_size=12), min_size=2, max_size=4), st.integers(1, 9))
def test_several_files_in_one_order(tmp_path: Path, found: list[list[Event]], size: int) -> None:
    """Rows of several files, one of text among them, come in the order in which their events come."""
    paths = [written(tmp_path / f"{at}", some) for at, some in enumerate(found[:-1])]
    paths.append(written(tmp_path / "text", found[-1], "jsonl"))
    rows, plain = back(paths, size), back(paths, size, rows=False)
    assert [event for batch in rows for event in batch] == [event for batch in plain for event in batch]


@compiled
def test_what_no_row_holds_is_an_event(tmp_path: Path) -> None:
    """A field of more than 64 KiB, and more rules than there are numbers."""
    long = ONE._replace(fields={"user": "ä" * 40_000, "sender": "a@example.org"})
    path = written(tmp_path / "e.parquet", [ONE, long, ONE])
    assert [[*batch] for batch in back([path])] == [[ONE, long, ONE]]
    many = [ONE._replace(rule=f"a/{at}", position=at) for at in range(66_000)]
    batches = back([written(path, many)])
    assert [event for batch in batches for event in batch] == many
    sets = [frozenset(name for bit, name in enumerate(FIELDS) if at >> bit & 1) for at in range(2050)]
    pairs = [ONE._replace(rule=f"a/{at}", proved=proved) for at, proved in enumerate(sets)]
    batches = back([written(path, pairs)])
    assert all(isinstance(batch, list) for batch in batches)
    assert [event for batch in batches for event in batch] == pairs


@compiled
@given(st.lists(events, max_size=30), st.floats(0, 4e9), st.floats(0, 4e9))
def test_a_part_of_the_time(found: list[Event], since: float, until: float) -> None:
    """Rows between two stamps are the events between them."""
    batch = sessions.Reader().begin()
    batch.extend(found)
    kept = [event for event in found if since <= event.time < until]
    assert [*sessions.between(batch, since, until)] == kept
    assert [*sessions.between(batch, float("-inf"), float("inf"))] == found


# ---------------------------------------------------------------- files of others


def changed(path: Path, **columns: Any) -> Path:
    """The file with other columns in the place of its own; None: without that one."""
    table = pq.read_table(path)
    for name, column in columns.items():
        place = table.schema.get_field_index(name)
        table = table.remove_column(place)
        if column is not None:
            table = table.add_column(place, name, column(pq.read_table(path).column(name)))
    pq.write_table(table, path)
    return path


def cast(to: Any) -> Callable[[Any], Any]:
    def change(column: Any) -> Any:
        plain = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        return plain.cast(to)

    return change


def coded(index: Any, text: Any) -> Callable[[Any], Any]:
    def change(column: Any) -> Any:
        plain = pa.array(column.to_pylist(), pa.string()).dictionary_encode()
        return pa.DictionaryArray.from_arrays(plain.indices.cast(index), plain.dictionary.cast(text))

    return change


TEXTS = ("kind", "source", "rule", "log", "scope", "proved", "user", "session", "sender")
MIXED = [
    ONE,
    ONE._replace(source=None, kind="connect", fields={"host": "mx.example.org"}, position=1),
    ONE._replace(fields={"user": "ü\n\x01", "sender": ""}, may_ban=False, weight=3, position=2),
    ONE._replace(source=(1 << 128) + (0x20010DB8 << 96) + 5, log="m", proved=frozenset({"user"}), position=3),
]


@pytest.mark.parametrize("rows", [pytest.param(True, marks=COMPILED), False], ids=["rows", "events"])
@pytest.mark.parametrize(
    "change",
    [
        cast(pa.string()), cast(pa.large_string()), cast(pa.string_view()), cast(pa.binary()),
        coded(pa.int8(), pa.string()), coded(pa.uint32(), pa.large_string()), coded(pa.int64(), pa.string()),
    ],
    ids=["string", "large", "view", "binary", "int8", "polars", "int64"],
)  # fmt: skip
def test_text_of_other_types(tmp_path: Path, change: Callable[[Any], Any], rows: bool) -> None:
    """As pandas, polars, DuckDB and others write text: with long offsets, other codes, or none."""
    path = changed(written(tmp_path / "e.parquet", MIXED), **dict.fromkeys(TEXTS, change))
    assert [[*batch] for batch in back([path], rows=rows)] == [MIXED]


@pytest.mark.parametrize("rows", [pytest.param(True, marks=COMPILED), False], ids=["rows", "events"])
def test_numbers_of_other_types(tmp_path: Path, rows: bool) -> None:
    """Wider and narrower numbers; columns of fields that are missing; a number as a field."""
    path = changed(
        written(tmp_path / "e.parquet", MIXED),
        weight=cast(pa.int64()), position=cast(pa.int32()), may_ban=cast(pa.int8()), pid=None, relay=None,
        size=lambda column: pa.array([7, None, 8, 9], pa.int16()),
    )  # fmt: skip
    found = [
        event._replace(fields=event.fields | ({"size": size} if size else {}))
        for event, size in zip(MIXED, ["7", "", "8", "9"], strict=True)
    ]
    assert [[*batch] for batch in back([path], rows=rows)] == [found]


@pytest.mark.parametrize("rows", [pytest.param(True, marks=COMPILED), False], ids=["rows", "events"])
def test_no_rows_and_names_that_come_twice(tmp_path: Path, rows: bool) -> None:
    """A group without rows, as others write an empty table, is read; a name that stands for two columns is
    refused."""
    path = written(tmp_path / "e.parquet", MIXED)
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    assert [event for batch in back([tmp_path / "none.parquet"], rows=rows) for event in batch] == []
    pq.write_table(table.append_column("user", table.column("user")), tmp_path / "twice.parquet")
    with pytest.raises(EventFileError, match="user is more than one column"):
        back([tmp_path / "twice.parquet"], rows=rows)


BAD = pa.Array.from_buffers(
    pa.string(), 4, [None, pa.array([0, 1, 2, 3, 4], pa.int32()).buffers()[1], pa.py_buffer(b"ab\xffd")]
)


@pytest.mark.parametrize("rows", [pytest.param(True, marks=COMPILED), False], ids=["rows", "events"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user": lambda column: BAD}, "[uU][tT][fF]"),
        ({"session": lambda column: BAD}, "[uU][tT][fF]"),
        ({"rule": lambda column: pa.array(["a/b", None, "a/b", "a/b"])}, "rule is missing"),
        ({"weight": lambda column: pa.array([1, None, 1, 1])}, "number is missing"),
        ({"weight": lambda column: pa.array([1, 1 << 40, 1, 1])}, "not in range"),
        ({"time": lambda column: pa.array([1.0, 2.0, float("nan"), 3.0])}, "no moment"),
        ({"kind": lambda column: pa.array(["connect", "tea", "connect", "connect"])}, "'tea' is no kind"),
        ({"may_ban": None}, "column may_ban is missing"),
        ({"time": lambda column: pa.array([1.0, 2.0, 1e12, 3.0])}, "no moment"),
        ({"time": lambda column: pa.array([1.0, -1e300, 2.0, 3.0])}, "no moment"),
        ({"weight": lambda column: pa.array([1, -1, 1, 1], pa.int32())}, "less than nothing"),
        ({"user": lambda column: pa.array([["a"], ["b"], None, []])}, "user is more than one column"),
        ({"kind": lambda column: pa.array([{"a": "connect"}] * 4)}, "kind is more than one column"),
    ],
)
def test_what_is_no_event_is_told(tmp_path: Path, change: dict[str, Any], words: str, rows: bool) -> None:
    """With the name of the file, before anything is judged."""
    path = changed(written(tmp_path / "e.parquet", MIXED), **change)
    with pytest.raises(EventFileError, match=rf"e\.parquet .*{words}"):
        back([path], rows=rows)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """Also told to who asks for single fields, as `tune` does."""
    path = changed(written(tmp_path / "e.parquet", MIXED), user=lambda column: BAD)
    for fields in (["user"], None):
        (columns,) = eventfile.read(str(path), fields=fields)
        with pytest.raises(EventFileError, match=r"e\.parquet .*utf"):
            columns.field("user")


@compiled
def test_columns_that_do_not_hold_together(tmp_path: Path) -> None:
    """Codes and places that lead nowhere are refused; nothing is read there."""
    path = written(tmp_path / "e.parquet", MIXED)
    (columns,) = eventfile.read_whole(str(path))
    assert isinstance(columns, eventfile.EventColumns)
    assert columns.texts is not None
    ready = sessions.Columns(columns)
    with pytest.raises(IndexError):
        sessions.Reader().take(sessions.Reader().begin(), ready, 2, 5)
    texts, kind = columns.texts, columns.kind
    narrow = memoryview(bytes(4 * 4)).cast("i")
    for wrong in (
        texts["user"]._replace(codes=narrow[:3]),
        texts["user"]._replace(codes=memoryview(b"\7\0\0\0" * 4).cast("i")),
        texts["user"]._replace(data=b""),
        texts["user"]._replace(offsets=memoryview(b"\1\0\0\0\0\0\0\0" * 2).cast("i")),
        texts["session"]._replace(there=b""),
        texts["session"]._replace(first=-1),
        texts["session"]._replace(offsets=narrow),
    ):
        columns.texts = texts | {"user": wrong}
        with pytest.raises(ValueError, match=r"stands for no value|nowhere|equally long"):
            sessions.Columns(columns)
    columns.texts = texts
    columns.kind = kind._replace(values=[])
    with pytest.raises(ValueError, match="stands for no value"):
        sessions.Columns(columns)


# ---------------------------------------------------------------- effects

HOSTS = [*[f"192.0.2.{n}" for n in range(8)], "198.51.100.9", "2001:db8::7", "2001:db8:0:1::7", "2001:db8::9"]
NAMES = ["anna", "sato", "ü\u3042", "a\x01b", "\u202e", "x y", "'", '"', "=1", "é" * 60]


def story(chance: random.Random, count: int) -> str:
    """A log of mixed lines, some of which stand behind later ones."""
    lines = []
    at = 0.0
    for _ in range(count):
        at += chance.choice((0, 1, 5, 60))
        late = at - chance.choice((0, 0, 0, 0, 3, 40))
        host, draw = chance.choice(HOSTS), chance.random()
        if draw < 0.6:
            lines.append(failed(late, host, chance.choice(NAMES)))
        elif draw < 0.75:
            lines.append(login(late, host, chance.choice(NAMES)))
        elif draw < 0.95:
            lines.append(mail(late, host, f"p{chance.randrange(3)}@example.org"))
        else:
            lines.append("no line of ours\n")
    return "".join(lines)


SPAN = ("from", "until", "seconds")


def alike(rehearsed: Rehearsal, *without: str) -> tuple[list[Any], dict[str, Any]]:
    """What is told, but for what only logs have."""
    rows, summary = told(rehearsed)
    for name in ("problems", "logs", "late", "cut", *without):
        summary.pop(name)
    return rows, summary


def parse_once(parsers: Sequence[Parser], logs: Sequence[Path], path: Path, form: str) -> Path:
    """What `mailguard events` does."""
    options = LogOptions(timezone="UTC")
    rehearsed = Rehearsal(find([str(one) for one in logs], options).sources, parsers, [], options, workers=1)
    with path.open("wb") as file:
        out = writer(form, file)
        for batch in rehearsed.batches():
            out.write(batch)
        seen = rehearsed.summary
        out.close(Facts(out.events, seen.records, seen.first, seen.last))
    return path


@pytest.mark.parametrize("seed", range(30))
def test_replayed_as_the_logs_were(
    rehearse: Try, parsers: Sequence[Parser], tmp_path: Path, seed: int
) -> None:
    """A file of events gives what its logs give, as rows, as events, and in each form, also a part of the
    time and with two processes."""
    chance = random.Random(seed)
    paths = [tmp_path / f"mail{number}.log" for number in range(chance.randrange(1, 4))]
    for path in paths:
        path.write_text(story(chance, chance.choice((1, 20, 200, 900))))
        os.utime(path, (T + 86_400, T + 86_400))
    part = chance.choice(({}, {}, {"since": T + 300}, {"since": T + 100, "until": T + 900.5}))
    # Of a part of the time a log tells the stamps at its ends, a file of events the earliest and latest.
    without = SPAN if part else ()
    logs = rehearse(*paths, **part)
    one = alike(logs, *without)
    for form in ("parquet", "jsonl"):
        target = parse_once(parsers, paths, tmp_path / f"events.{form}", form)
        assert alike(rehearse(target, **part), *without) == one
    target = parse_once(parsers, paths, tmp_path / "events.csv", "csv")  # which knows nothing of the whole
    without = *SPAN, "records"
    assert alike(rehearse(target, **part), *without) == alike(logs, *without)


@pytest.mark.parametrize("seed", range(30, 40))
def test_replayed_the_same_by_whomever(
    rehearse: Try, parsers: Sequence[Parser], tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows by one process and by two, and events by Python alone: the same bytes."""
    chance = random.Random(seed)
    log = tmp_path / "mail.log"
    log.write_text(story(chance, 900))
    os.utime(log, (T + 86_400, T + 86_400))
    target = parse_once(parsers, [log], tmp_path / "events", "parquet")
    part = chance.choice(({}, {"since": T + 300.5}))
    one = output(rehearse(target, **part))
    assert output(rehearse(target, workers=2, **part)) == one
    monkeypatch.setattr(mailguard, "NATIVE", False)
    assert output(rehearse(target, **part)) == one


def test_events_and_logs_together(rehearse: Try, parsers: Sequence[Parser], tmp_path: Path) -> None:
    """A file of events beside a log: as both logs."""
    chance = random.Random(3)
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    for log in logs:
        log.write_text(story(chance, 200))
        os.utime(log, (T + 86_400, T + 86_400))
    target = parse_once(parsers, logs[:1], tmp_path / "a.parquet", "parquet")
    assert alike(rehearse(target, logs[1])) == alike(rehearse(*logs))
