"""Where definition files come from, and on which line every key stands."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.definitions import source
from mailguard.problems import ProblemsError

TEXT = """\
# a comment with [brackets] and "quotes"
format = 1
title = "one # no comment"   # a comment
"quoted key" = 'literal \\'
dotted.key.deep = true

[session.queue]
key = ["queue_id",   # first
       "pid"]
lifetime = "5d"

[[rule]]
name = "first"
text = \"\"\"
[not.a.table]
name = "neither"\"\"\"
more = '''
x = 1'''
inline = { a = 1, b = { c = [ { d = 1 }, { e = "}" } ] } }
  [[rule.sample]]
  line = "a"
  [[rule.sample]]
  line = "b"
  expect = { source = "192.0.2.7", user = "x" }

[[rule]]
name = "second"
  [[rule.sample]]
  line = "c"
[rule.extra]
x = 1
"""


def test_lines_of_keys() -> None:
    """Tables, keys, arrays of tables, dotted and quoted keys and inline tables have their own line."""
    document = source.parse(TEXT, "f.toml")
    lines = document.lines
    assert document.data["rule"][0]["sample"][1]["expect"]["user"] == "x"
    expected = {
        ("format",): 2,
        ("title",): 3,
        ("quoted key",): 4,
        ("dotted", "key", "deep"): 5,
        ("session", "queue"): 7,
        ("session", "queue", "key"): 8,
        ("session", "queue", "key", 1): 9,
        ("session", "queue", "lifetime"): 10,
        ("rule", 0): 12,
        ("rule", 0, "name"): 13,
        ("rule", 0, "text"): 14,
        ("rule", 0, "more"): 17,
        ("rule", 0, "inline", "b", "c", 1, "e"): 19,
        ("rule", 0, "sample", 0, "line"): 21,
        ("rule", 0, "sample", 1): 22,
        ("rule", 0, "sample", 1, "expect", "user"): 24,
        ("rule", 1): 26,
        ("rule", 1, "sample", 0, "line"): 29,
        ("rule", 1, "extra", "x"): 31,
    }
    assert {keys: lines.get(keys) for keys in expected} == expected


def test_where_falls_back_to_the_table_around() -> None:
    """A key that is missing is told at the line of the nearest table that is there."""
    document = source.parse(TEXT, "f.toml")
    assert document.where("rule", 1, "event") == "f.toml:26"
    assert document.where("nothing", "here") == "f.toml:1"


def paths(value: object, keys: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [keys] if keys else []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += paths(inner, (*keys, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            found += paths(inner, (*keys, number))
    return found


STRINGS = st.sampled_from(
    [
        '"a"',
        "'b'",
        '"[x]"',
        '"\\""',
        "'''m\nn'''",
        '"""o\n"p" = 1"""',
        '"# no"',
        '""',
        "''",
        '"""a\\""""',
        "''''q'''",
    ]
)
VALUES = st.recursive(
    st.one_of(STRINGS, st.sampled_from(["1", "true", "2026-11-22", "1.5"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[\n" + ", # c ]\n".join(items) + "\n]"),
        st.lists(inner, max_size=3).map(
            lambda items: "{ " + ", ".join(f"k{at} = {item}" for at, item in enumerate(items)) + " }"
        ),
    ),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.sampled_from(["", "[t{n}]\n", "[[list]]\n", "# c\n\n"]), VALUES), max_size=8))
def test_every_key_has_a_line(parts: list[tuple[str, str]]) -> None:
    """Whatever TOML a file is, every key in it has a line of that file on which its name stands."""
    text = "".join(f"{head.format(n=n)}key{n} = {value}\n" for n, (head, value) in enumerate(parts))
    document = source.parse(text, "f.toml")
    rows = text.split("\n")
    for keys in paths(document.data):
        assert keys in document.lines
        if isinstance(keys[-1], str):
            assert keys[-1] in rows[document.lines[keys] - 1]


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (b"a = 1\nb = [\nc", "f.toml:3", "is not TOML: "),
        (b"a = 1\n\na = 2\n", "f.toml:3", "is not TOML: "),
        (b"a = 1\nb = '\xff'\n", "f.toml:2", "is not UTF-8"),
        (b"a = '", "f.toml:1", "is not TOML: "),
    ],
)
def test_what_is_no_toml(tmp_path: Path, content: bytes, where: str, what: str) -> None:
    """A file that cannot be understood is told with its line."""
    path = tmp_path / "f.toml"
    path.write_bytes(content)
    with pytest.raises(ProblemsError) as caught:
        source.load(path)
    (problem,) = caught.value.problems
    assert (problem.where, problem.what[: len(what)]) == (f"{tmp_path}/{where}", what)


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is a problem, no traceback; as a setting it exits 78."""
    with pytest.raises(ProblemsError, match="cannot be read") as caught:
        source.load(tmp_path / "none.toml", settings=True)
    assert caught.value.exit_code == 78


def test_mark_of_byte_order_and_crlf(tmp_path: Path) -> None:
    """A byte order mark and Windows line ends do no harm."""
    path = tmp_path / "f.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n")
    document = source.load(path)
    assert (document.data, document.lines[("b",)]) == ({"a": 1, "b": 2}, 2)


def test_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator's file replaces the shipped one, a link to /dev/null masks it, hidden files do not
    count."""
    shipped, etc = tmp_path / "shipped", tmp_path / "etc"
    (etc / "parsers").mkdir(parents=True)
    shipped.mkdir()
    for name in ("one.toml", "two.toml", "three.toml", "notes.txt"):
        (shipped / name).touch()
    for name in ("two.toml", "own.toml", ".hidden.toml", "two.toml~"):
        (etc / "parsers" / name).touch()
    (etc / "parsers" / "three.toml").symlink_to(os.devnull)
    monkeypatch.setattr(source, "shipped", lambda kind: shipped)
    assert source.search("parsers", etc) == {
        "one": shipped / "one.toml",
        "own": etc / "parsers" / "own.toml",
        "two": etc / "parsers" / "two.toml",
    }
    assert source.masked("parsers", etc) == ["three"]
    assert source.search("parsers", tmp_path / "nowhere").keys() == {"one", "two", "three"}


def test_shipped_folders() -> None:
    """The shipped parsers are found from a checkout."""
    assert (source.shipped("parsers") / "dovecot.toml").is_file()
    assert source.shipped("samples").name in ("logs", "samples")


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is read again; what others may write is not believed; no folder is no error."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert source.read_cache("test-only") == b""
    assert source.write_cache("test-only", b"one")
    assert source.read_cache("test-only") == b"one"
    assert [path.name for path in (tmp_path / "mailguard").iterdir()] == ["test-only"]
    (tmp_path / "mailguard" / "test-only").chmod(0o666)
    assert source.read_cache("test-only") == b""
    (tmp_path / "mailguard" / "test-only").chmod(0o644)
    os.rename(tmp_path / "mailguard" / "test-only", tmp_path / "mailguard" / "other")
    assert source.read_cache("other") == b""  # it was written for another purpose
    os.symlink("other", tmp_path / "mailguard" / "test-only")
    assert source.read_cache("test-only") == b""
    os.unlink(tmp_path / "mailguard" / "test-only")
    os.mkfifo(tmp_path / "mailguard" / "test-only", 0o600)
    assert source.read_cache("test-only") == b""
    monkeypatch.setattr(source, "cache_folders", lambda: [tmp_path / "file"])
    (tmp_path / "file").touch()
    assert not source.write_cache("x", b"")
    assert source.read_cache("x") == b""


def test_a_damaged_cache_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte counts, and so does where it ends: what settings are read from may not be another value."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert source.write_cache("test-only", b"seven = 7")
    file = tmp_path / "mailguard" / "test-only"
    whole = file.read_bytes()
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], bytes(at)):
            file.write_bytes(damaged)
            assert source.read_cache("test-only") == b""
    file.write_bytes(whole)
    assert source.read_cache("test-only") == b"seven = 7"


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(one: object, other: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        source.write_cache("test-only", b"one")
    assert list((tmp_path / "mailguard").iterdir()) == []


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000 + "]" * 5000, "a = " + "{ a = " * 3000 + "1" + "}" * 3000]
)
def test_values_nested_without_end_are_refused(text: str) -> None:
    """A file of thousands of nested values is a problem with a place, no crash."""
    with pytest.raises(ProblemsError, match="nested too deep"):
        source.parse(text, "x.toml")


@pytest.mark.parametrize("kind", ["pipe", "zero", "socket"])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    """A pipe would be waited for and a device read without end; /dev/null is an empty file."""
    path = tmp_path / "settings.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    with pytest.raises(ProblemsError) as caught:
        source.read_text(path, settings=True)
    (problem,) = caught.value.problems
    assert problem.settings
    assert problem.what == "is no file" or "cannot be read" in problem.what
    assert problem.instead
    assert source.read_text("/dev/null") == ""
