"""Action definitions: the shipped ones do what their samples say, broken ones give exactly their message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mailguard.definitions.actions import DRIVERS, load_action, load_actions, parse_effect
from mailguard.firewall.actions import build, plan, self_test
from mailguard.firewall.choose import choose
from mailguard.firewall.interface import FirewallError
from mailguard.model import Impose, Lift
from mailguard.notation import parse_network
from mailguard.problems import EXIT_DEFINITION, ProblemsError

FOLDER = Path(__file__).resolve().parent.parent / "broken" / "actions"
FILES = sorted(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_message_it_must_give(
    path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is refused, and its problems, all of them, read as the text file beside it says."""
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ProblemsError) as caught:
        load_action(path.name)
    assert caught.value.exit_code == EXIT_DEFINITION
    golden(path.with_suffix(".txt"), f"{caught.value}\n")


def test_no_message_without_a_file() -> None:
    """No text file is left over from a broken file that is gone."""
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}


def test_the_shipped_ones_do_what_they_show() -> None:
    """Every driver has a shipped definition, and each sample plans what it expects. Only `several` has none:
    which actions stand together is the administrator's to say, see the next test.
    """
    actions = load_actions(Path("/nonexistent"))
    assert {action.driver for action in actions.values()} == set(DRIVERS) - {"several"}
    for action in actions.values():
        assert self_test(action) == []
        assert action.title
        assert build(action).name == action.driver


def test_several_side_by_side(tmp_path: Path) -> None:
    """An action of the driver `several`, as the manual writes it, plans what each of its parts plans."""
    path = tmp_path / "both.toml"
    path.write_text(
        'format = 1\ntitle = "Both"\ndriver = "several"\n[options]\nactions = ["nftables", "epost"]\n'
        '[[sample]]\neffect = "ban 192.0.2.7 for 10m"\nscope = "auth"\n'
        'expect = ["add element inet mailguard auth_host4 { 192.0.2.7 counter timeout 600s }", '
        '"rejectsmtpip.dat: add 192.0.2.7\\t0", "rejectpopip.dat: add 192.0.2.7\\t0", '
        '"rejectimapip.dat: add 192.0.2.7\\t0"]\n'
    )
    action = load_action(path)
    assert self_test(action) == []
    assert build(action).name == "several"


def test_a_sample_that_is_wrong_is_told(tmp_path: Path) -> None:
    """The problem names file and line, what was planned, and the text to write instead."""
    path = tmp_path / "mine.toml"
    path.write_text(
        'format = 1\ntitle = "Mine"\ndriver = "recording"\n'
        '[[sample]]\neffect = "ban 192.0.2.7 for 1h"\nexpect = ["put 192.0.2.8 mail for 1h"]\n'
    )
    (problem,) = self_test(load_action(path))
    assert problem.where == f"{path}:4"
    assert "put 192.0.2.7 mail for 1h" in problem.why
    assert problem.instead == "expect = ['put 192.0.2.7 mail for 1h']"


@pytest.mark.parametrize(
    ("text", "network", "seconds"),
    [
        ("ban 192.0.2.7 for 10m by password-guessing: 5 auth_failure in 4m", "192.0.2.7", 600.0),
        ("ban 2001:db8::/48 for 1h30m (3. time)", "2001:db8::/48", 5400.0),
        ("ban 192.0.2.0/24 for ever by administrator: test", "192.0.2.0/24", None),
        ("lift 192.0.2.0/24: unban", "192.0.2.0/24", None),
        ("lift 2001:db8::7: replaced", "2001:db8::7", None),
        ("lift 2001:db8::7", "2001:db8::7", None),
    ],
)
def test_effects_are_read(text: str, network: str, seconds: float | None) -> None:
    """The notation of the ledger is understood as far as an action needs it."""
    effect = parse_effect(text, "auth", 1000.0)
    assert isinstance(effect, Impose | Lift)
    ban = effect.ban if isinstance(effect, Impose) else effect
    assert ban.network == parse_network(network)
    assert ban.scope == "auth"
    if isinstance(effect, Impose):
        assert effect.ban.until == (None if seconds is None else 1000.0 + seconds)


@pytest.mark.parametrize("text", ["", "ban", "ban 192.0.2.7", "ban 192.0.2.7/24 for 1h", "lift all", "alert"])
def test_what_is_no_effect(text: str) -> None:
    """Anything else is none."""
    assert parse_effect(text) is None


def test_the_administrators_file_replaces_the_shipped(tmp_path: Path) -> None:
    """A file of the same name in the administrator's folder counts alone; a link to /dev/null masks."""
    (tmp_path / "actions").mkdir()
    (tmp_path / "actions" / "nftables.toml").write_text(
        'format = 1\ntitle = "Mine"\ndriver = "nftables"\n[options]\ntable = "mine"\n'
        '[[sample]]\neffect = "ban 192.0.2.7 for ever"\n'
        'expect = ["add element inet mine mail_host4 { 192.0.2.7 counter }"]\n'
    )
    (tmp_path / "actions" / "ipset.toml").symlink_to("/dev/null")
    actions = load_actions(tmp_path)
    assert actions["nftables"].title == "Mine"
    assert self_test(actions["nftables"]) == []
    assert "ipset" not in actions
    with pytest.raises(FirewallError, match="there is no action 'ipset'"):
        choose("ipset", etc=tmp_path)


def test_broken_ones_are_told_together(tmp_path: Path) -> None:
    """All problems of all files at once."""
    (tmp_path / "actions").mkdir()
    for name in ("no-sample", "not-toml"):
        (tmp_path / "actions" / f"{name}.toml").write_text((FOLDER / f"{name}.toml").read_text())
    with pytest.raises(ProblemsError) as caught:
        load_actions(tmp_path)
    assert "no-sample.toml:" in str(caught.value)
    assert "not-toml.toml:" in str(caught.value)


def test_plan_is_pure() -> None:
    """Planning needs no privilege, no program and no kernel, also for drivers that cannot work here."""
    effect = parse_effect("ban 192.0.2.7 for 1h")
    assert effect is not None
    for action in load_actions(Path("/nonexistent")).values():
        tables = action.options["tables"] if action.driver == "epost" else ["the one place of all bans"]
        assert len(plan(action, [effect])) == len(tables)
