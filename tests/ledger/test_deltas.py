"""Checkpoints as packed rows: what was packed comes back, and merging changes nothing of what is known."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.ledger import Ledger, LedgerError, deltas, store
from mailguard.ledger.deltas import Merger, Row, known, merge, pack, unpack

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["history/source", "ban", "ordinal", "s\u00e9ance"]),
        st.binary(max_size=3),
        st.none() | st.binary(max_size=300),
    ),
    max_size=12,
)


def database() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    for statement in store.SCHEMA.split(";\n"):
        if any(table in statement for table in ("delta", "state", "meta")):
            db.execute(statement)
    return db


def put(db: sqlite3.Connection, rows: list[Row]) -> None:
    if rows:
        db.execute("INSERT INTO delta (rows) VALUES (?)", (pack(rows),))


@given(rows=ROWS)
def test_what_was_packed_comes_back(rows: list[Row]) -> None:
    """Names, keys, values (empty ones too) and deletions, in their order."""
    if rows:
        assert list(unpack(pack(rows))) == rows
    else:
        assert pack(rows) == b""


@given(rows=ROWS.filter(bool), cut=st.integers(0, 40))
def test_a_damaged_value_is_noticed(rows: list[Row], cut: int) -> None:
    """A value that is cut, or longer than it says, is refused and not read as something else."""
    value = pack(rows)
    for wrong in (value[:cut] if cut < len(value) else value[:-1], value + b"x", b"\x09" + value[1:]):
        with pytest.raises(ValueError, match="a checkpoint"):
            list(unpack(wrong))


class Broken(Exception):
    pass


class Fragile:
    """A connection that breaks at the n-th transaction, as a killed process does."""

    def __init__(self, db: sqlite3.Connection, left: int):
        self.db, self.left = db, left

    def __getattr__(self, name: str) -> object:
        return getattr(self.db, name)

    def execute(self, statement: str, *rest: Any) -> object:
        if statement.startswith("BEGIN"):
            self.left -= 1
            if self.left < 0:
                raise Broken
        return self.db.execute(statement, *rest)


@given(
    checkpoints=st.lists(ROWS, max_size=8), left=st.integers(0, 6), most=st.sampled_from([1, 500, 1 << 20])
)
def test_merging_changes_nothing_wherever_it_is_killed(
    checkpoints: list[list[Row]], left: int, most: int
) -> None:
    """What is known is the last value of each key: before, between any two transactions, after, and after
    later checkpoints."""
    expected: dict[tuple[str, bytes], bytes | None] = {}
    db = database()
    before = deltas._PART
    deltas._PART = 2  # many transactions
    try:
        for number, rows in enumerate(checkpoints):
            put(db, rows)
            expected.update(((table, key), value) for table, key, value in rows)
            if number == len(checkpoints) // 2:
                with suppress(Broken):
                    merge(Fragile(db, left), most)  # type: ignore[arg-type]
        standing = {place: value for place, value in expected.items() if value is not None}
        assert {row[:2]: row[2] for row in known(db)} == standing
        assert len(list(known(db))) == len(standing)
        while merge(db, most):
            assert {row[:2]: row[2] for row in known(db)} == standing
        assert db.execute("SELECT count(*) FROM delta").fetchone() == (0,)
        assert {row[:2]: row[2] for row in db.execute("SELECT * FROM state")} == standing
    finally:
        deltas._PART = before
        db.close()


def test_a_merger_that_was_overtaken_brings_nothing(tmp_path: Path) -> None:
    """The process of a guard that was killed lives on beside the next guard's: what it read is no longer the
    last value of its keys, and the deltas that told so are gone."""
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    slow = sqlite3.connect(path, isolation_level=None)
    db = sqlite3.connect(path, isolation_level=None)

    class Slow:
        """A connection that is waited for after its deltas were read."""

        begun = 0

        def __getattr__(self, name: str) -> object:
            return getattr(slow, name)

        def execute(self, statement: str, *rest: Any) -> object:
            self.begun += statement.startswith("BEGIN")
            if statement.startswith("BEGIN") and self.begun == 2:
                put(db, [("t", b"a", b"new"), ("t", b"b", None)])
                while merge(db):
                    pass
            return slow.execute(statement, *rest)

    put(db, [("t", b"a", b"old"), ("t", b"b", b"old")])
    assert not merge(Slow())  # type: ignore[arg-type]
    assert list(known(db)) == [("t", b"a", b"new")]
    slow.close()
    db.close()


def rows_of(path: Path, table: str) -> int:
    db = sqlite3.connect(path)
    (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    db.close()
    return int(count)


class TestMerger:
    def test_a_process_merges_when_there_is_much(self, tmp_path: Path) -> None:
        """While the ledger goes on; the next one to open it finds every last value."""
        path = tmp_path / "ledger.db"
        ledger = Ledger(path)
        assert ledger._merger is not None
        ledger._merger._many = 10_000
        for number in range(30):
            rows = [("t", b"%d" % key, b"%d" % number * 100) for key in range(10)]
            ledger.checkpoint([*rows, ("once", b"%d" % number, b"x")], {"log": b"%d" % number})
        assert ledger._merger._child is not None
        assert ledger._merger._child.wait(20) == 0
        assert rows_of(path, "state") > 10
        left = rows_of(path, "delta")
        assert left < 30
        ledger.checkpoint([("t", b"0", None)], {"log": b"end"})
        ledger.close()
        again = Ledger(path)
        found = {row[:2]: row[2] for row in again.restore()}
        assert len(found) == 9 + 30
        assert found["t", b"9"] == b"29" * 100
        assert again.positions() == {"log": b"end"}
        again.close()

    def test_without_processes_it_is_done_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where none can be started the deltas do not grow for ever."""

        def none(*_args: object, **_named: object) -> object:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        monkeypatch.setattr(subprocess, "Popen", none)
        ledger = Ledger(tmp_path / "ledger.db")
        assert ledger._merger is not None
        ledger._merger._many = 1000
        for number in range(20):
            ledger.checkpoint([("t", b"1", b"x" * 300 + b"%d" % number)], {})
        assert ledger._db.execute("SELECT count(*) FROM delta").fetchone()[0] < 8
        assert list(ledger.restore()) == [("t", b"1", b"x" * 300 + b"19")]
        ledger.close()

    def test_a_ledger_in_memory(self) -> None:
        """No other process can reach it: it is merged in place."""
        ledger = Ledger(":memory:")
        assert ledger._merger is not None
        ledger._merger._many = 1000
        for number in range(9):
            ledger.checkpoint([("t", b"1", b"%d" % number * 300)], {})
        assert list(ledger.restore()) == [("t", b"1", b"8" * 300)]
        assert ledger._db.execute("SELECT count(*) FROM delta").fetchone()[0] < 5
        ledger.close()

    def test_its_process_ends_with_the_ledger(self, tmp_path: Path) -> None:
        """Nothing of ours is left running, and what it did by then harms nothing."""
        ledger = Ledger(tmp_path / "ledger.db")
        merger = ledger._merger
        assert isinstance(merger, Merger)
        merger._many = 1
        ledger.checkpoint([("t", b"1", b"x")], {})
        child = merger._child
        assert child is not None
        ledger.close()
        assert child.returncode is not None
        again = Ledger(tmp_path / "ledger.db")
        assert list(again.restore()) == [("t", b"1", b"x")]
        again.close()


def test_a_damaged_checkpoint_is_said(tmp_path: Path) -> None:
    """A start that would forget part of what was known does not happen silently."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger.checkpoint([("t", b"1", b"x")], {})
    ledger._db.execute("UPDATE delta SET rows = substr(rows, 1, 12)")
    with pytest.raises(LedgerError, match="a checkpoint is cut short"):
        list(ledger.restore())
    ledger.close()


def test_a_ledger_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """What it knows stays; a reader opens it as it is."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger._db.execute("INSERT INTO state VALUES ('t', x'01', x'02')")
    ledger._db.execute("DROP TABLE delta")
    ledger._db.execute("PRAGMA user_version = 1")
    ledger.close()
    Ledger(path, readonly=True).close()
    ledger = Ledger(path)
    ledger.checkpoint([("t", b"\3", b"\4")], {})
    assert sorted(ledger.restore()) == [("t", b"\1", b"\2"), ("t", b"\3", b"\4")]
    ledger.close()
