"""Answers in JSON have the keys that mailguard(8) tells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "man" / "mailguard.8"


def told(command: str) -> set[str]:
    """The keys in bold behind a command, in the section about answers."""
    section = PAGE.read_text(encoding="utf-8").partition('.SH "ANSWERS IN JSON"\n')[2].partition(".SH")[0]
    body = section.partition(f".TP\n{command}\n")[2].partition(".TP\n")[0].partition(".PP\n")[0]
    bold = "\n".join(line for line in body.splitlines() if line.startswith(".B"))
    plain = re.sub(r"\([^)]*\)|\\-\S+|\bof what was found\b|\band\b", " ", bold)
    return set(re.findall(r"(?<![.\w])[a-z][a-z_]*\b", plain))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("check", ("--config", "{settings}")),
        ("test", ("vrfy",)),
        ("explain", ("Nov 22 10:00:01 mail1 nobody[1]: hello",)),
        ("parser list", ()),
        ("action list", ()),
        ("action plan", ("recording",)),
    ],
)
def test_each_answer_has_the_keys_of_the_manual(
    command: str, arguments: tuple[str, ...], run: Any, tmp_path: Path
) -> None:
    """None is missing on either side."""
    settings = tmp_path / "mailguard.toml"
    settings.write_text('[general]\nmode = "neither"\n')
    given = [one.replace("{settings}", str(settings)) for one in arguments]
    said = run(*command.split(), *given, "-o", "json")
    assert set(said.objects[0]) == told(command)


def test_the_allow_list_has_the_keys_of_the_manual(guard: Any, run: Any) -> None:
    """The same of an answer of the guard."""
    never = [{"network": "192.0.2.0/24", "reason": "office"}]
    guard.answers["allow-list"] = {"ok": True, "id": "allow-list", "args": {}, "entries": [], "never": never}
    assert set(run("allow", "list", "-o", "json").objects[0]) == told("allow list")
