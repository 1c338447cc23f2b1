"""What is wrong with a definition or a setting, told so that it can be mended.

A file yields all its problems at once; `ProblemsError` carries them to whoever decides what happens next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EXIT_OK = 0
EXIT_USAGE = 64  # sysexits EX_USAGE
EXIT_DEFINITION = 65  # EX_DATAERR: a parser or action definition
EXIT_NO_INPUT = 66  # EX_NOINPUT: a log that cannot be read
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE: the firewall or the daemon
EXIT_SOFTWARE = 70  # EX_SOFTWARE
EXIT_WRITE = 74  # EX_IOERR: what was to be written, such as on a full disk
EXIT_PERMISSION = 77  # EX_NOPERM
EXIT_SETTINGS = 78  # EX_CONFIG: the settings, or settings and definitions both


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: `where` (file:line or a setting's name), `what`, `why` and what to do `instead`."""

    where: str
    what: str
    why: str = ""
    instead: str = ""
    settings: bool = False  # True: exit 78, else 65

    def __str__(self) -> str:
        lines = [f"error: {self.where}: {self.what}"]
        if self.why:
            lines.append("  why:     " + self.why.replace("\n", "\n           "))
        if self.instead:
            lines.append("  instead: " + self.instead.replace("\n", "\n           "))
        return "\n".join(lines)


class ProblemsError(Exception):
    """One or more problems; `str()` is the text an administrator reads."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def exit_code(self) -> int:
        """78 when a setting is among the problems, else 65 (sysexits)."""
        return EXIT_SETTINGS if any(problem.settings for problem in self.problems) else EXIT_DEFINITION
