"""Parsers that an earlier run has read: the same as read anew, and nothing else than parsers."""

from __future__ import annotations

import io
import marshal
import pickle
from pathlib import Path

import pytest

from mailguard.core.rules import Parser
from mailguard.core.scanner import Scanner
from mailguard.definitions import parsers as reading
from mailguard.definitions import source
from mailguard.definitions.kept import Kept, _Reader
from mailguard.definitions.parsers import load_parsers
from mailguard.model import Block
from mailguard.problems import ProblemsError
from mailguard.replay.remote import digest
from tests.hostile import definition_lines


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    monkeypatch.setattr(source, "cache_folders", lambda: [tmp_path / "cache"])
    return tmp_path / "cache"


def names() -> tuple[str, ...]:
    return tuple(name for name in source.search("parsers") if name.startswith(("dovecot", "postfix", "mail")))


def test_they_are_the_same(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As values, and in what they find in every sample and forgery, by either scan."""
    fresh = load_parsers(names(), check=False)
    monkeypatch.setattr(reading, "_parser", None)  # nobody reads now
    kept = load_parsers(names(), check=False)
    assert digest(kept) == digest(fresh)
    assert [one.path for one in kept] == [one.path for one in fresh]
    data = b"\n".join(definition_lines(fresh)) + b"\n"
    block = Block("/var/log/mail.log", data, 0, len(data), 0, 1_795_392_000.0, False, timezone="UTC")
    found = Scanner(fresh, native=False).scan(block)
    assert found == Scanner(kept, native=False).scan(block) == Scanner(kept).scan(block)
    assert len(found) > 300
    for one, two in zip(fresh, kept, strict=True):
        for rule, other in zip(one.rules, two.rules, strict=True):
            assert rule.pattern.cut_capable == other.pattern.cut_capable
            assert (rule.pattern._find_cut is None) == (other.pattern._find_cut is None)


def test_another_text_is_read(tmp_path: Path, cache: Path) -> None:
    """The administrator's file counts as it is now; what is wrong with it is said each time."""
    folder = tmp_path / "etc" / "parsers"
    folder.mkdir(parents=True)
    shipped = source.search("parsers")["postfix"].read_text()
    path = folder / "postfix.toml"
    path.write_text(shipped)
    before = load_parsers(["postfix"], tmp_path / "etc", check=False)
    path.write_text(shipped.replace('event = "auth_failure"', 'event = "tls_failure"'))
    after = load_parsers(["postfix"], tmp_path / "etc", check=False)
    assert digest(before) != digest(after)
    path.write_text(shipped.replace('event = "auth_failure"', 'event = "no_such_thing"', 1))
    for _ in range(2):
        with pytest.raises(ProblemsError, match="no_such_thing"):
            load_parsers(["postfix"], tmp_path / "etc", check=False)


def test_another_program_reads_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(document: source.Document, check: bool) -> Parser:
        read.append(document.path)
        return parser(document, check)

    parser = reading._parser
    monkeypatch.setattr(reading, "_parser", noted)
    load_parsers(["dovecot"], check=False)
    load_parsers(["dovecot"], check=False)
    assert len(read) == 1
    monkeypatch.setattr(source, "fingerprint", lambda parts: "another")
    monkeypatch.setattr("mailguard.definitions.remembered.Passed._program", "")
    load_parsers(["dovecot"], check=False)
    assert len(read) == 2


class Harm:
    """An object that does something when it is made."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('harm')",))


def foreign(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls what stands under that name."""
    texts = b"".join(b"\x8c" + bytes([len(one)]) + one.encode() for one in (module, name))
    return b"\x80\x05" + texts + b"\x93\x8c" + bytes([len(argument)]) + argument.encode() + b"\x85R."


@pytest.mark.parametrize(
    "entry",
    [
        foreign("mailguard.core.rules", "re.enum.bltns.exec", "raise SystemExit('harm')"),
        foreign("mailguard.core.rules", "decode", "x"),
        foreign("mailguard.core.rules", "re", "x"),
    ],
)
def test_a_foreign_pickle_calls_nothing(entry: bytes) -> None:
    """Not what the core's modules imported, and nothing that is reached over it."""
    with pytest.raises(pickle.UnpicklingError, match=r"no part of a parser|no class of the core"):
        _Reader(io.BytesIO(entry)).load()


@pytest.mark.parametrize(
    "entry",
    [pickle.dumps(Harm()), pickle.dumps(Path("x")), b"", b"\x80\x05", pickle.dumps(7), b"\x80\x05K\x07."],
)
def test_a_spoilt_cache_is_none(cache: Path, entry: bytes) -> None:
    """Nothing but parsers is made of it, and the definitions are read instead."""
    before = load_parsers(["dovecot"], check=False)
    key, _ = Kept()._entries["dovecot"]
    source.write_cache("parsers", marshal.dumps({"dovecot": (key, entry)}))
    assert digest(load_parsers(["dovecot"], check=False)) == digest(before)


@pytest.mark.parametrize("content", [b"", b"junk", marshal.dumps(7), marshal.dumps({"dovecot": 7, 1: 2})])
def test_a_file_that_is_no_cache(cache: Path, content: bytes) -> None:
    source.write_cache("parsers", content)
    assert load_parsers(["dovecot"], check=False)


def test_parsers_that_are_gone_are_not_kept(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "etc" / "parsers"
    folder.mkdir(parents=True)
    shipped = source.search("parsers")["dovecot"].read_text()
    (folder / "mine.toml").write_text(shipped)
    load_parsers(["mine", "dovecot"], tmp_path / "etc", check=False)
    assert set(Kept()._entries) == {"mine", "dovecot"}
    (folder / "mine.toml").unlink()
    load_parsers(["postfix"], check=False)
    assert set(Kept()._entries) == {"postfix", "dovecot"}
