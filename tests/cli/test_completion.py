"""Completion as bash does it: the printed script is loaded into a bash, which is asked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = shutil.which("bash")
ASK = r"""
mailguard() { "$PYTHON" -m mailguard "$@"; }
compopt() { echo "the shell's own: $2"; }
eval "$(mailguard completion bash | sed 's|=bash_complete $1)|=bash_complete "$PYTHON" -m mailguard)|')"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
"$(complete -p mailguard | sed 's/.*-F \([^ ]*\).*/\1/')" mailguard
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sta"], ["status"]),
        (["unban", "--detector", "harv"], ["harvest"]),
        (["bans", "--detector", "admin"], ["administrator"]),
        (["parser", "show", "post"], ["postfix"]),
        (["events", "--parser", "dov"], ["dovecot"]),
        (["action", "plan", "nft"], ["nftables"]),
        (["test", "slow-sp"], ["slow-spray"]),
        (["ban", "192.0.2.7", "--scope", "au"], ["auth"]),
        (["bans", "-o", "j"], ["json"]),
        (["events", "/var/log/ma"], ["the shell's own: default"]),
        (["check", "--config", "/etc/m"], ["the shell's own: default"]),
    ],
)
def test_bash_completes(words: list[str], wanted: list[str], tmp_path: Path) -> None:
    """Commands, options, names of definitions and detectors; the shell itself completes files."""
    assert BASH is not None
    said = subprocess.run(
        [BASH, "--norc", "-c", ASK, "bash", "mailguard", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        check=False,
    )
    assert [line for line in said.stdout.splitlines() if line] == wanted, said.stderr
