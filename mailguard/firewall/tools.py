"""Runs a program of the host's: an argument list, never a shell; bounded time; its failure in plain words."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

from mailguard.firewall.interface import FirewallError

#: Where the host's own tools are looked for; the environment of whoever started the guard has no say.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def find(program: str) -> str | None:
    """Full path of a tool of the host's, or None."""
    return shutil.which(program, path=PATH)


def run(arguments: Sequence[str], given: str = "", timeout: float = 30.0) -> str:
    """Run a program with `given` on its standard input; its output. Raises FirewallError."""
    name = arguments[0].rpartition("/")[2]
    program = find(arguments[0]) if "/" not in arguments[0] else arguments[0]
    if program is None:
        raise FirewallError(f"{name} is not installed")
    try:
        done = subprocess.run(
            [program, *arguments[1:]],
            input=given.encode(),
            capture_output=True,
            timeout=timeout,
            env=_ENVIRONMENT,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FirewallError(f"{name} did not end within {timeout:g} seconds") from None
    except OSError as error:
        raise FirewallError(f"{name} cannot be run: {error.strerror or error}") from error
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        said = _CONTROL.sub("?", words[0])[:300] if words else "without a word"
        code = done.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        raise FirewallError(f"{name} {how}: {said}")
    return done.stdout.decode(errors="replace")
