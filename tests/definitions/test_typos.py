"""Every key of the settings, misspelt and with values of every wrong sort: problems with file and line, no
crash."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import mailguard
from mailguard.definitions.settings import load_settings
from mailguard.problems import ProblemsError

DEFAULTS: dict[str, Any] = tomllib.loads(
    (Path(mailguard.__file__).parent / "defaults.toml").read_text("utf-8")
)
VALUES = ("-1", "nan", '"x"', '"99999999999999d"', "[]", '["a", 1]', "{}")
PLACE = re.compile(r"error: m\.toml:\d+: ")


def tables() -> list[tuple[str, dict[str, Any]]]:
    """Each table of the shipped settings, one detector for all of them, and a log."""
    found = []
    for name, value in DEFAULTS.items():
        if name == "detector":
            found += [(f"detector.{one}", value[one]) for one in list(value)[:1]]
        elif isinstance(value, dict) and name != "log":
            found.append((name, value))
    log = {"kind": 'kind = "file"\n', "path": 'path = ["/var/log/mail.log"]\n'}
    return [
        *found,
        ("log.mail", dict.fromkeys((*log, "parsers", "units", "timezone", "year", "may_ban", "start"))),
    ]


def problems(text: str) -> list[str]:
    try:
        load_settings("m.toml", text=text)
    except ProblemsError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("table", "keys"), tables(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_wrong_values_and_names(table: str, keys: dict[str, Any]) -> None:
    """What is wrong is said at its line."""
    for key in keys:
        misspelt = key[:-1] + ("x" if key[-1] != "x" else "y")
        said = problems(f"[{table}]\n{misspelt} = 1\n")
        assert any(PLACE.match(one) and misspelt in one and "instead:" in one for one in said), misspelt
        for value in VALUES if key != "case" else VALUES[:-1]:  # an empty case is laid to the shipped ones
            for one in problems(f"[{table}]\n{key} = {value}\n"):
                assert PLACE.match(one), (key, value, one)
                assert "instead:" in one or "why:" in one or re.search(r"missing|empty|none|must be", one), (
                    one
                )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "[",
        "[[[[",
        "a=",
        "general = 1",
        "log = 1",
        "log = []",
        "[log]\na = 1",
        "[detector]\nx = 1",
        "detector = 3",
        "[[never]]",
        "[never]\nnetworks = ['192.0.2.1']",
        "[firewall]\nports = { web = [80] }",
        "[firewall]\nports = { mail = [70000] }",
        "[log.'']\nkind = 'file'\npath = ['/x']",
        "\ufeff[general]\n",
        "[alerts]\ncommand = 'rm -rf /'",
        "[policy]\nescalation = ['99999999999999d']",
    ],
)
def test_odd_files(text: str) -> None:
    """No text is a defect of ours."""
    assert json.dumps(problems(text))
