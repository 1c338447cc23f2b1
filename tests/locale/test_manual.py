"""The manual in other languages tells of the same commands and options as the English one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.locale.texts import ROOT

MAN = ROOT / "man"
PAGES = sorted(MAN.glob("[a-z][a-z]/*.[578]"))


def structure(page: Path) -> list[str]:
    """Headings, commands, and what is explained below each, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = []
    for index, line in enumerate(lines):
        if line.startswith(".SH "):
            found.append(".SH")
        elif line.startswith(".SS "):
            found.append(line)
        elif line == ".TP":
            found.append(lines[index + 1])
    return found


def paragraphs(page: Path) -> int:
    return len(re.findall(r"^\.(?:TP|PP|IP|SS|SH)\b", page.read_text(encoding="utf-8"), re.MULTILINE))


def test_there_is_a_japanese_manual() -> None:
    assert [page.relative_to(MAN).as_posix() for page in PAGES] == ["ja/mailguard.8"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_it_has_the_commands_and_options_of_the_english_page(page: Path) -> None:
    """Section by section, option by option, in the same order; nothing was added to one alone."""
    assert structure(page) == structure(MAN / page.name)
    assert paragraphs(page) == paragraphs(MAN / page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_it_names_what_the_english_page_names(page: Path) -> None:
    """Files, variables and keys of JSON that the English page names are in the other, too."""
    other = page.read_text(encoding="utf-8").replace("\\-", "-")
    english = (MAN / page.name).read_text(encoding="utf-8").replace("\\-", "-")
    names = set(re.findall(r"MAILGUARD_[A-Z]+|/(?:etc|run|var)/[\w./-]*\w|\b[a-z]+_[a-z_]+\b", english))
    assert {name for name in names if name not in other} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_it_is_written_in_its_language(page: Path) -> None:
    """Every paragraph of some length has characters of the language: none was left in English."""
    lines = page.read_text(encoding="utf-8").splitlines()
    english = [line for line in lines if re.match(r"[A-Z][a-z]+ \w+ \w+", line)]
    assert english == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_groff_has_nothing_to_say(page: Path) -> None:
    """It is formatted without a warning, and no line is wider than the terminal."""
    command = ["groff", "-man", "-Kutf8", "-Tutf8", "-mja", "-ww", "-P-c", "-rLL=78n", str(page)]
    told = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"GROFF_NO_SGR": "1"}
    )
    assert told.stderr == ""
    assert "遮断" in told.stdout
