"""The compiled twins of the ledger: the same rows, lines and bytes; a secret never slips through."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core.names import Hasher
from mailguard.core.table import Table
from mailguard.ledger import native
from mailguard.ledger.deltas import Row, pack, pack_slowly, unpack
from mailguard.ledger.evidence import Lines, newest_slowly, storable
from mailguard.ledger.redact import Known, Redactor
from mailguard.ledger.store import Store
from mailguard.ledger.writer import TURN, latest
from mailguard.model import Changes, Event, Part
from mailguard.notation import V6

keep: Any = native.load()
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(keep is None, reason="the compiled module is not built: make native"),
]

PIECES = (
    "user=<", "sato@example.net", ">, method=PLAIN", "AUTH PLAIN dGVzdA==", "AUTHENTICATE LOGIN ", " LOGIN ",
    "a LOGIN b c ", "PASS hunter2", ": PASS x", "resp=abcd", "response=", "password=x", "given password: y",
    "passwd", "PASSWORD", "assw", "dGVzdGRhdGF0ZXN0ZGF0YQ==", "ABCDEFGHIJKLMNOP=", "abcdefghijklmnop=",
    "a" * 40, "=" * 3, "rip=192.0.2.7", "mori", "m", "\u540d", "\r", "\n", "\x00", "\x7f", "\u2028", "\u202e",
    "SASL LOGIN authentication failed", " LOGIN authentication ", "AUTH from", "AUTH LOGIN dGVz", "AUTH",
    "PASS", "pass:", "pass=", "dGVzdGRhdGF0ZXN0=", "@", "\udc80", " ", ",", "x" * 500, "SATO@example.net",
)  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=8).map("".join)
names = st.sampled_from(
    ("sato@example.net", "mori", "m", "", "a@b@c", "\u540d", "known", "x" * 40, "PASS", "=" * 20)
)
fields = st.dictionaries(
    st.sampled_from(("user", "recipient", "sender", "method", "stage")), names, max_size=4
)


def redactor(full: bool = False) -> Redactor:
    return Redactor(b"k" * 16, full=full, known=lambda name: name == "known")


@given(texts, fields, st.booleans())
@settings(max_examples=400)
def test_lines_are_kept_alike(text: str, told: dict[str, str], full: bool) -> None:
    """The compiled way says just what Python says, or leaves it to Python."""
    raw = text.encode("utf-8", "surrogateescape")
    made = keep.line(raw, told, redactor(full))
    assert made in (None, redactor(full).line(raw, told))


def test_the_usual_line_is_not_left_to_python() -> None:
    """Else nothing would be gained."""
    raw = b"Nov 22 15:00:00 mail1 dovecot: imap-login: Aborted login: user=<sato@example.net>, method=PLAIN"
    one = redactor()
    assert keep.line(raw, {"user": "sato@example.net"}, one) == one.line(raw, {"user": "sato@example.net"})
    assert "sato" not in keep.line(raw, {"user": "sato@example.net"}, one)


def test_what_daemons_say_most_is_not_left_to_python() -> None:
    """No client's words stand there, though some of them look like it."""
    one = redactor()
    for text in (
        b"warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
        b"lost connection after AUTH from unknown[192.0.2.7]",
    ):
        assert keep.line(text, {}, one) == text.decode()


events = st.builds(
    lambda source, text, told, log, number: Event(
        "auth_failure", 1.5 + number, source, "p/r", 1, told, log, number,
        line=text.encode("utf-8", "surrogateescape"),
    ),
    st.one_of(st.integers(0, 2**32 - 1), st.integers(V6, V6 + 2**128 - 1)), texts, fields,
    st.sampled_from(("log", "/var/log/\udce3")), st.integers(0, 9),
)  # fmt: skip


@given(st.lists(events, max_size=12))
@settings(max_examples=100, deadline=None)
def test_the_same_rows(found: list[Event]) -> None:
    """Nine values for each line, in the same order; the line as UTF-8."""
    lines = Lines(Store(":memory:").db, redactor())
    expected = lines._values_slowly(found)
    expected[7::9] = [text.encode() for text in expected[7::9]]
    assert keep.values(found, lines.redactor, storable) == expected


@given(st.lists(st.lists(st.one_of(events, events.map(lambda one: one._replace(source=None))), max_size=12)))
@settings(max_examples=100, deadline=None)
def test_the_same_newest(batches: list[list[Event]]) -> None:
    """Of each source the last ones, in their order, and whom to look at."""
    few = [[one._replace(source=one.source and one.source % 5) for one in batch] for batch in batches]
    for made in (batches, few):
        for most in (2, 4):
            assert keep.newest(made, most) == newest_slowly(made, most)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("a", "history/source", "\u00e9")),
            st.binary(max_size=20),
            st.none() | st.binary(max_size=50),
        ),
        max_size=30,
    )
)
def test_checkpoints_are_packed_alike(rows: list[Row]) -> None:
    packed = keep.pack(rows)
    assert packed == pack_slowly(rows) if rows else packed == b""
    if rows:
        assert list(unpack(packed)) == rows


numbered = st.dictionaries(
    st.integers(0, 1 << 130) | st.sampled_from((0, 1, 255, 256, 1 << 63, 1 << 64, (1 << 128) - 1, 1 << 128)),
    st.none() | st.binary(max_size=50) | st.tuples(st.binary(max_size=50)),
    max_size=40,
)
named = st.dictionaries(st.binary(max_size=20), st.none() | st.binary(max_size=50), max_size=20)
parts = st.lists(
    st.builds(Part, st.just("one"), st.just(b""), numbered)
    | st.builds(Part, st.just("two"), st.sampled_from((b"paper/a\0", b"paper/b\0")), named),
    max_size=4,
)
checkpoint = st.builds(
    Changes,
    st.lists(
        st.tuples(st.sampled_from(("one", "three")), st.binary(max_size=3), st.none() | st.binary()),
        max_size=3,
    ),
    parts,
)


@given(checkpoint)
@settings(max_examples=300)
def test_parts_are_packed_as_the_rows_that_they_stand_for(changes: Changes) -> None:
    """Whether all keys are numbers or none, whatever they were told with."""
    rows = list(changes)
    packed = keep.pack(changes.rows, changes.parts)
    assert packed == pack(changes) == pack_slowly(rows)
    if rows:
        assert list(unpack(packed)) == rows


@pytest.mark.parametrize(
    "values",
    [{1: "text"}, {1: ("text",)}, {1: (b"a", b"b")}, {1: 5}, {"text": b""}, {b"k": (b"v",)}, {b"k": 5}],
)
def test_what_is_no_value_of_a_part_is_refused(values: Any) -> None:
    with pytest.raises(TypeError):
        keep.pack([], [Part("a", b"", values)])


@pytest.mark.parametrize(
    "part", [("a", b""), (b"a", b"", {}), ("a", "b", {}), ("a", b"", []), ("a", b"x" * 70_000, {}), 5]
)
def test_what_is_no_part_is_refused(part: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        keep.pack([], [part])


def test_numbers_have_bounds() -> None:
    for number in (-1, -(1 << 70), 1 << 192):
        with pytest.raises(ValueError, match="a key is"):
            keep.pack([], [("a", b"", {number: b"x"})])
    packed = keep.pack([], [("a", b"", {(1 << 192) - 1: b"x"})])
    assert list(unpack(packed)) == [("a", b"\xff" * 24, b"\0x")]


def test_what_is_no_row_is_refused() -> None:
    for wrong in ([("a", "text", None)], [("a", b"", 5)], [(b"a", b"", b"")], [("a", b"")], [5]):
        with pytest.raises((TypeError, ValueError)):
            keep.pack(wrong)


@given(st.lists(names, max_size=6), st.lists(names, min_size=1, max_size=6), st.booleans())
@settings(max_examples=200)
def test_users_are_shown_alike(users: list[str], asked: list[str], gone: bool) -> None:
    """The sieve in front of the users hides nobody, and shows nobody else; also when users went again."""
    hasher, table = Hasher(b"k" * 16), Table("users", 64)
    for name in users:
        table.put(hasher(name), b"x", False)
    if gone and users:
        table.drop(hasher(users[0]))
    known = Known(hasher, table, table.sieve)
    for name in asked:
        shown = hasher(name) in table
        assert known(name) == shown
        one = Redactor(b"k" * 16, known=known)
        raw = f"user=<{name}>, method=PLAIN".encode("utf-8", "surrogateescape")
        made = keep.line(raw, {"user": name}, one)
        assert made in (None, one.line(raw, {"user": name}))
        if len(name) > 4 and name.isascii() and "=" not in name:
            assert made is not None
            assert (name in made) == shown


keys = st.sampled_from([b"a", b"b", b"c"])
rows = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), keys, st.none() | st.binary(max_size=2)), max_size=8
)


@given(st.lists(rows, max_size=5))
def test_of_each_key_the_last_row_stays(checkpoints: list[list[Row]]) -> None:
    """Of several checkpoints, in their order."""
    wanted = {(name, key): value for one in checkpoints for name, key, value in one}
    for made in (list(latest([Changes(one) for one in checkpoints])), keep.latest(checkpoints)):
        assert len(made) == len(wanted)
        assert {(name, key): value for name, key, value in made} == wanted


@given(st.lists(checkpoint, max_size=4), st.lists(checkpoint, max_size=2))
@settings(max_examples=300)
def test_of_each_key_in_parts_the_last_row_stays(checkpoints: list[Changes], later: list[Changes]) -> None:
    """Also where they are handed in once more, because writing failed, with others behind them."""
    for added in ([], later):
        checkpoints += added
        wanted = {(name, key): value for one in checkpoints for name, key, value in one}
        made = list(latest(checkpoints))
        assert {(name, key): value for name, key, value in made} == wanted


def test_long_turns_for_the_writer() -> None:
    """The ledger's thread asks for long turns; its policy and nice value stay, and other threads' turns."""
    before, found = keep.scheduled(), []

    def ask() -> None:
        found.extend((keep.unhurried(TURN), keep.scheduled()))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    taken, after = found
    assert after[:2] == before[:2]
    version = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if taken and version >= (6, 12):
        assert after[2] == TURN
    assert keep.scheduled() == before
