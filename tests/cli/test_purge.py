"""`mailguard purge`: personal data goes, bans that stand stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailguard.ledger import Ledger
from mailguard.model import Ban, Evidence, Impose, Network, Offence


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A ledger with a ban that is over and one that stands."""
    ledger = Ledger(tmp_path / "ledger.db")
    for number, until in ((7, 1000.0), (8, None)):
        network = Network((192 << 24) + 512 + number, 32)
        offence = Offence(
            "harvest",
            f"192.0.2.{number}",
            1.0,
            2.0,
            5,
            ("unknown_recipient",),
            (Evidence(1.0, "a/b", "x", 0),),
        )
        ledger.record([Impose(Ban(network, 2.0, until, 1, offence), 2.0)])
    ledger.checkpoint([], {})
    ledger.close()
    return tmp_path


def effects(state: Path) -> list[str]:
    ledger = Ledger(state / "ledger.db", readonly=True)
    try:
        return [one["network"] for one in ledger.answers.every_effect()]
    finally:
        ledger.close()


def test_purge_deletes_what_is_over(run: Any, state: Path) -> None:
    """Effects that are over go, the ban that stands keeps its reason; what was deleted is told."""
    assert effects(state) == ["192.0.2.7", "192.0.2.8"]
    said = run("purge", "--state", str(state))
    assert (said.code, said.err) == (0, "")
    assert said.out == "0 lines and 1 effect were deleted\n"
    assert effects(state) == ["192.0.2.8"]


def test_purge_of_one_network(run: Any, state: Path) -> None:
    """--network leaves everybody else's data alone."""
    assert run("purge", "--state", str(state), "--network", "198.51.100.0/24").code == 0
    assert len(effects(state)) == 2


def test_purge_wants_one_way_and_a_ledger(run: Any, state: Path, tmp_path: Path) -> None:
    """Two ways at once are a usage error; no ledger is exit 66."""
    both = ["--older-than", "1d", "--network", "192.0.2.7"]
    assert run("purge", "--state", str(state), *both).code == 64
    assert run("purge", "--state", str(tmp_path / "none")).code == 66


def test_a_ledger_that_cannot_be_opened(run: Any, tmp_path: Path) -> None:
    """It is said in one line; nobody is asked to report a defect."""
    (tmp_path / "ledger.db").write_bytes(b"this is no database, though it is long enough to be one" * 20)
    said = run("purge", "--yes", "--state", str(tmp_path))
    assert said.code == 66
    assert said.err.startswith("mailguard: ")
    assert "should not happen" not in said.err
