"""The sample logs: each gives exactly the effects that stand beside it.

`samples/logs/NAME.log` is replayed with the settings in `NAME.toml` where there are some, year-less stamps in
2026, host time UTC. `NAME.effects` is what `mailguard replay` prints; `pytest --renew` writes it anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parent.parent / "samples" / "logs"
LOGS = sorted(SAMPLES.glob("*.log"))


def replayed(log: Path) -> str:
    """What `mailguard replay` prints for a log."""
    settings = log.with_suffix(".toml")
    options = ["--config", str(settings)] if settings.exists() else ["--config", os.devnull]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mailguard",
            "replay",
            *options,
            "--year",
            "2026",
            "--timezone",
            "UTC",
            log.name,
        ],
        cwd=SAMPLES,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TZ": "UTC"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_sample_gives_its_effects(log: Path, golden: Callable[[Path, str], None]) -> None:
    """The effects of a sample log change only on purpose, and the change log's section Detection says it."""
    golden(log.with_suffix(".effects"), replayed(log))


def test_every_golden_file_has_its_log() -> None:
    """No effects or settings without their log, and there are samples at all."""
    assert LOGS
    stems = {log.stem for log in LOGS}
    assert {path.stem for path in SAMPLES.iterdir() if path.suffix in {".effects", ".toml"}} <= stems
