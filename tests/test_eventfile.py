"""Events files: every event comes back exactly, in each form, and what is no events file is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard import eventfile
from mailguard.eventfile import COLUMNS, FORMS, EventFileError, Facts, form_of, read, writer
from mailguard.eventfile.columns import FIELD_COLUMNS, from_events
from mailguard.model import FIELDS, KINDS, Event
from mailguard.notation import V6

pytest.importorskip("pyarrow")

texts = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12
) | st.sampled_from(["", '"', ",", '"",', "\n", "a\r\nb", "=1+1", "'=1", "''-", "'a", "\t=", "＝1", '""'])
addresses = st.integers(0, (1 << 32) - 1) | st.integers(V6 + (1 << 33), V6 + (1 << 128) - 1)
events = st.builds(
    Event,
    st.sampled_from(sorted(KINDS)),
    st.floats(0, 4e9),
    st.none() | addresses.filter(lambda one: one < V6 or (one - V6) >> 32 != 0xFFFF),
    st.sampled_from(["postfix/a", "dovecot/b", "x/ü"]),
    st.integers(1, 65535),
    st.dictionaries(st.sampled_from(sorted(set(FIELDS) - {"source"})), texts, max_size=4),
    st.sampled_from(["/var/log/mail.log", "a,b", 'c"d']),
    st.integers(0, 1 << 50),
    st.sampled_from(["auth", "mail", "all"]),
    st.booleans(),
    st.frozensets(st.sampled_from(["source", "user", "recipient"])),
    st.just(b""),
)


def written(path: Path, form: str, found: list[Event], facts: Facts | None = None) -> Path:
    with path.open("wb") as file:
        out = writer(form, file)
        out.write(found[: len(found) // 2])
        out.write(found[len(found) // 2 :])
        out.close(facts or Facts(len(found)))
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(events, max_size=20), st.sampled_from(FORMS), st.integers(1, 30))
def test_every_event_comes_back(tmp_path: Path, found: list[Event], form: str, rows: int) -> None:
    """All columns of any event, odd texts included, in any number of rows at a time."""
    path = written(tmp_path / "events", form, found)
    back = [event for columns in read(str(path), rows) for event in columns.events()]
    assert back == found
    assert all(type(event.time) is float for event in back)


@given(st.lists(events, max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_columns_are_the_events(found: list[Event], start: int, stop: int) -> None:
    """Any stretch of the columns, without a file."""
    columns = from_events(found)
    assert columns.events(start, stop) == found[start:stop]
    assert len(columns) == len(found)


def test_columns_can_be_asked_without_events(tmp_path: Path) -> None:
    """Codes into few values; a field that no event has is None."""
    one = Event("auth_failure", 1.5, 7, "a/b", 1, {"user": "anna"}, "l", 0)
    path = written(tmp_path / "e.parquet", "parquet", [one, one._replace(source=None, fields={}), one])
    (columns,) = read(str(path))
    assert list(columns.source.codes) == [0, -1, 0]
    assert columns.source.values == [7]
    assert list(columns.time) == [1.5, 1.5, 1.5]
    users = columns.field("user")
    assert users is not None
    assert users.decoded(0, 3) == ["anna", None, "anna"]
    assert columns.field("sender") is None


@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_known_by_content(tmp_path: Path, form: str) -> None:
    """Whatever the file is called; other files are none."""
    one = Event("connect", 1.0, None, "a/b", 1, {}, "l", 0)
    assert form_of(written(tmp_path / "x", form, [one]).read_bytes()[:64]) == form
    assert form_of(b"Nov 22 10:00:00 mx postfix") is None


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_facts_about_the_whole(tmp_path: Path, form: str) -> None:
    """Lines read and the stamps at both ends are kept."""
    told = Facts(0, 99, 5.0, 1.25e9, ("a.log", "b.log"))
    path = written(tmp_path / "x", form, [], told)
    if form == "jsonl":
        assert json.loads(path.read_text()) == {"summary": told.row()}
    assert eventfile.facts(str(path)) == told


def test_columns_are_those_of_the_manual() -> None:
    """Each captured field has a column; time and source as fields would have one of their own."""
    assert set(FIELD_COLUMNS) == set(FIELDS) - {"source"}
    assert FIELD_COLUMNS["time"] == "time_field"
    assert all(COLUMNS.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "party"}, "no kind"),
        ({"time": "noon"}, "numbers"),
        ({"source": "192.0.2.300"}, "no address"),
        ({"scope": "some"}, "no scope"),
        ({"user": 7}, "text"),
        ({"proved": "shoe"}, "proved"),
        ({"may_ban": 1}, "may_ban"),
    ],
)
def test_a_wrong_line_is_told(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    """With its file and line; nothing is guessed."""
    one = Event("auth_failure", 1.5, 7, "a/b", 1, {"user": "anna"}, "l", 0)
    path = written(tmp_path / "x.jsonl", "jsonl", [one])
    row = json.loads(path.read_text().splitlines()[0]) | change
    path.write_text(path.read_text() + json.dumps(row) + "\n")
    with pytest.raises(EventFileError, match=rf"x.jsonl:3: .*{words}"):
        list(read(str(path)))


def test_broken_files_are_told(tmp_path: Path) -> None:
    """Cut Parquet and JSON, other columns, other files."""
    one = Event("auth_failure", 1.5, 7, "a/b", 1, {"user": "anna"}, "l", 0)
    for form in ("parquet", "jsonl"):
        path = written(tmp_path / "x", form, [one] * 50)
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(EventFileError):
            list(read(str(path)))
    path.write_text("kind,time,source,shoe\n")
    with pytest.raises(EventFileError, match="shoe"):
        list(read(str(path)))
    path.write_text("Nov 22")
    with pytest.raises(EventFileError, match="no events file"):
        list(read(str(path)))
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"kind": ["connect"]}), path)
    with pytest.raises(EventFileError, match="column time"):
        list(read(str(path)))


def test_no_cell_of_csv_is_a_formula(tmp_path: Path) -> None:
    """Names are chosen by strangers, and CSV is opened in spreadsheets: an apostrophe stands before what they
    would compute, and is gone when the file is read."""
    names = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "＝1", "'=1"]
    found = [
        Event("auth_failure", 1.0, 7, "a/b", 1, {"user": name, "sender": name}, "=log", n)
        for n, name in enumerate(names)
    ]
    path = written(tmp_path / "e.csv", "csv", found)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["user"] for row in rows] == [f"'{name}" for name in names]
    assert rows[0]["log"] == "'=log"
    (columns,) = read(str(path))
    assert columns.events() == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "coffee"}, "'coffee' is no kind"),
        ({"scope": "moon"}, "'moon' is no scope"),
        ({"time": float("nan")}, "time"),
        ({"time": float("inf")}, "time"),
        ({"proved": frozenset({"moon"})}, "proved"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_cannot_be_is_refused(tmp_path: Path, form: str, change: dict[str, Any], words: str) -> None:
    """In each form, also where the file itself is whole."""
    one = Event("auth_failure", 1.0, 7, "a/b", 1, {}, "l", 0)
    path = written(tmp_path / "e", form, [one, one._replace(**change)])
    for fields in (None, ["user"]):
        with pytest.raises(EventFileError, match=words):
            list(read(str(path), fields=fields))


@pytest.mark.parametrize("weight", [-1, 1 << 40])
def test_weights_beyond_all_bounds_are_refused(tmp_path: Path, weight: int) -> None:
    """A number that no column holds is told with its line."""
    path = tmp_path / "e.jsonl"
    written(path, "jsonl", [Event("connect", 1.0, 7, "a/b", 1, {}, "l", 0)])
    path.write_text(path.read_text().replace('"weight": 1', f'"weight": {weight}'))
    with pytest.raises(EventFileError, match=":1: no event: time, weight or position"):
        list(read(str(path)))


def test_a_reader_that_asks_for_little_gets_little(tmp_path: Path) -> None:
    """Only the captured fields that were named are there; where a line stood is not read."""
    one = Event("auth_failure", 1.5, 7, "a/b", 1, {"user": "anna", "method": "PLAIN"}, "l", 9)
    (columns,) = read(str(written(tmp_path / "e", "parquet", [one] * 3)), fields=["user"])
    user, method = columns.field("user"), columns.field("method")
    assert user is not None
    assert user.decoded(0, 3) == ["anna"] * 3
    assert method is None
    assert len(columns.rule.codes) == len(columns.position) == 0
