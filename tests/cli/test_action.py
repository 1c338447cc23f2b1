"""`mailguard action`: what is there, what it would do, and that nothing is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mailguard.definitions import source


def test_action_list(run: Any) -> None:
    """Each action with its driver and whether it works here; a recording always does."""
    rows = {one["name"]: one for one in run("action", "list", "-o", "json").objects}
    assert {"nftables", "ipset", "recording", "command"} <= rows.keys()
    assert rows["recording"]["hindrance"] == ""
    line = next(line for line in run("action", "list").out.splitlines() if line.startswith("recording\t"))
    assert line.split("\t")[3:] == ["shipped", "works here"]


def test_action_plan(run: Any) -> None:
    """The operations for effects, as text; without effects those of the samples."""
    said = run("action", "plan", "nftables", "ban 192.0.2.7 for 10m", "--scope", "auth")
    assert said.out == "add element inet mailguard auth_host4 { 192.0.2.7 counter timeout 600s }\n"
    said = run("action", "plan", "recording", "-o", "json")
    assert json.loads(said.out.splitlines()[0])["action"] == "recording"
    refused = run("action", "plan", "recording", "ban everybody")
    assert refused.code == 64
    assert "is no effect" in refused.err


def test_action_show_and_copy(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for parsers: a copy replaces the shipped one; an unknown name is told with the near one."""
    monkeypatch.setattr(source, "ETC", tmp_path)
    assert run("action", "copy", "command").code == 0
    assert (tmp_path / "actions" / "command.toml").is_file()
    assert run("action", "show", "command").out == (tmp_path / "actions" / "command.toml").read_text()
    unknown = run("action", "show", "nftable")
    assert unknown.code == 64
    assert "Did you mean 'nftables'?" in unknown.err
