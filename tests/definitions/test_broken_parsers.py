"""Every broken parser file gets exactly the message that stands beside it: file, line, what, why, instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mailguard.definitions import remembered, source
from mailguard.definitions.parsers import load_parser, load_parsers
from mailguard.problems import EXIT_DEFINITION, ProblemsError

FOLDER = Path(__file__).resolve().parent.parent / "broken" / "parsers"
FILES = sorted(FOLDER.glob("*.toml"))


@pytest.fixture(autouse=True)
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No result of an earlier run is believed, and none is left."""
    monkeypatch.setattr(source, "cache_folders", lambda: [tmp_path])
    monkeypatch.setattr(remembered.Passed, "_keys", None)
    monkeypatch.setattr(remembered, "PROOFS", remembered.Proofs())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_message_it_must_give(
    path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is refused, and its problems, all of them, read as the text file beside it says."""
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ProblemsError) as caught:
        load_parser(path.name)
    assert caught.value.exit_code == EXIT_DEFINITION
    golden(path.with_suffix(".txt"), f"{caught.value}\n")


def test_no_message_without_a_file() -> None:
    """No text file is left over from a broken file that is gone."""
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}


def test_problems_of_all_files_together(tmp_path: Path) -> None:
    """Several broken files and a name that is not there are told in one go."""
    (tmp_path / "parsers").mkdir()
    for name in ("empty", "not-toml"):
        (tmp_path / "parsers" / f"{name}.toml").write_text((FOLDER / f"{name}.toml").read_text())
    with pytest.raises(ProblemsError) as caught:
        load_parsers(["empty", "dovecott", "not-toml"], tmp_path)
    text = str(caught.value)
    assert "there is no such parser" in text
    assert "Did you mean dovecot?" in text
    assert "not-toml.toml:" in text
    assert "empty.toml:" in text
