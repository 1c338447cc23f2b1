"""The command line: one module per subcommand, imported only when it is called.

Owns every text a person reads on a terminal and every exit code. Exit codes are those of `problems`
(sysexits); `status` alone answers 0, 1 or 2 for monitors. An unexpected error becomes one clear line and exit
70; with MAILGUARD_DEBUG=1 in the environment the traceback precedes it.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import Any

import click

from mailguard import __version__
from mailguard.problems import (
    EXIT_NO_INPUT,
    EXIT_PERMISSION,
    EXIT_SOFTWARE,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    EXIT_WRITE,
    ProblemsError,
)

from . import speaking
from .client import GuardError
from .messages import text
from .output import safe, write_json

#: New objects after which Python looks for cycles, and how often that is until it looks further back: what a
#: command loads stays. To look as often as Python does took a twelfth of a short replay. Who lives long
#: (the guard, the enforcer, whoever reads logs) sets its own.
_SELDOM = (100_000, 20, 100)
#: What writing to a disk (or printer, or pipe) that takes no more raises.
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))

#: What stands in `mailguard --help`: group -> command -> one line. The command's module has the same name.
COMMANDS: dict[str, dict[str, str]] = {
    "The guard": {
        "run": "Run the guard in the foreground.",
        "check": "Check settings and definitions; list every problem.",
        "install": "Install the systemd units, with least privilege.",
        "status": "Is the guard standing? Exit 0 yes, 1 with a warning, 2 no.",
    },
    "Who is banned, and why": {
        "bans": "List the bans that stand, and E-Post's own lock-outs.",
        "why": "Explain what is known about an address or a network.",
        "ban": "Ban an address or a network.",
        "unban": "Lift bans.",
        "allow": "Networks that are never banned.",
    },
    "At night": {
        "enforce": "Switch bans on.",
        "observe": "Switch bans off; say what would be banned.",
        "pause": "Lift the bans from the firewall for a while.",
        "panic": "Lift every ban at once and only observe.",
    },
    "Logs": {
        "events": "Show the events in logs.",
        "replay": "Show what the policy would have done with logs.",
        "compare": "Show what two policies would have done with logs.",
        "tune": "Find the thresholds that would have done best with logs.",
        "impact": "Show whom a ban of a network would hurt.",
        "explain": "Show how lines are read, and where they stop fitting.",
    },
    "Definitions": {
        "parser": "List, show and copy the log formats.",
        "action": "List, show, copy and plan the ways to ban.",
        "test": "Run the tests inside the definitions and settings.",
    },
    "Care": {
        "epost": "Look at and after E-Post's own tables.",
        "purge": "Delete stored personal data.",
        "completion": "Print a shell completion script.",
    },
}


class Program(click.Group):
    """The group of all subcommands; a subcommand's module is imported when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if not any(cmd_name in group for group in COMMANDS.values()):
            return None
        command: click.Command = import_module(f"mailguard.cli.{cmd_name}").command
        speaking.localize(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), 1)
            hint = text("usage.near", name=near[0]) if near else ""
            raise click.UsageError(text("usage.no-command", name=safe(name), hint=hint), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in COMMANDS.items():
            rows = [(name, speaking.helped(sentence)) for name, sentence in commands.items()]
            with formatter.section(speaking.helped(title)):
                formatter.write_dl(rows, col_max=14)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="mailguard %(version)s")
def program() -> None:
    """mailguard watches a mail server's logs and keeps attackers out of it."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave the process with its exit code."""
    if arguments is None:
        gc.set_threshold(*_SELDOM)
        _stand_in()
    code = _outcome(arguments)
    if arguments is None:
        _leave(code)
    sys.exit(code)


def _stand_in() -> None:
    """What was closed when the program was called (`mailguard replay LOG 2>&-`) is as if it were /dev/null:
    nothing else that is opened may come to stand in its place, and be written to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free: this one
        setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def _leave(code: int) -> None:
    """Leave at once, where nobody waits for anything: to take millions of objects apart one by one keeps
    whoever replayed a month waiting, and even `status` for a tenth of its time. What was registered for the
    end is done."""
    threads = sys.modules.get("threading")
    if (threads is not None and threads.active_count() > 1) or sys.getprofile() or sys.gettrace():
        return
    atexit._run_exitfuncs()  # they may print
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):  # closed, or no room: Python's own end says so
        return
    with suppress(AttributeError, OSError, ValueError):  # nobody can be told
        sys.stderr.flush()
    os._exit(code)


def _outcome(arguments: list[str] | None) -> int:
    """Every way a command may end, as an exit code; what went wrong is said on standard error."""
    speaking.begin(sys.argv[1:] if arguments is None else arguments)
    speaking.localize(program)
    output = sys.stdout
    try:
        result = program.main(arguments, prog_name="mailguard", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as wrong:
        with suppress(OSError):
            wrong.show()
        return EXIT_USAGE
    except click.ClickException as failed:
        with suppress(OSError):
            failed.show()
        return failed.exit_code
    except GuardError as refused:
        if _wants_json(arguments):
            write_json(refused.as_json())
        _say(text("error.guard", what=refused))
        if refused.code == EXIT_UNAVAILABLE:
            _say(text("error.guard-gone"))
        return refused.code
    except ProblemsError as wrong:
        from .wrongs import told

        _say(told(wrong.problems))
        return wrong.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say(text("error.interrupted"))
        return 130
    except BrokenPipeError:
        _forget_output()
        return 0
    except SystemExit:
        if sys.stdout is output:
            raise
        _forget_output()  # click puts a wrapper there and leaves with 1 when it meets a broken pipe
        return 0
    except Exception as error:
        return _unexpected(error)


def _forget_output() -> None:
    """The reader has seen enough (`mailguard bans | head`) or can take no more: nothing may be written at
    exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wants_json(arguments: list[str] | None) -> bool:
    """Was JSON asked for? The command, which knew, has ended."""
    given = sys.argv[1:] if arguments is None else arguments
    ends = (("-o", "json"), ("--output", "json"))
    return any(pair in ends for pair in pairwise(given)) or not {"-ojson", "--output=json"}.isdisjoint(given)


def _unexpected(error: Exception) -> int:
    """One clear line for what a command did not foresee."""
    if os.environ.get("MAILGUARD_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    if isinstance(error, OSError) and error.filename is not None:
        _say(text("error.file", name=error.filename, what=error.strerror or error))
        return EXIT_PERMISSION if isinstance(error, PermissionError) else EXIT_NO_INPUT
    if isinstance(error, OSError) and error.errno in _FULL:
        _forget_output()
        _say(text("error.write", what=error.strerror or error))
        return EXIT_WRITE
    if type(error).__name__ == "LedgerError":
        _say(text("error.ledger", what=error))
        return EXIT_PERMISSION if isinstance(error.__cause__, PermissionError) else EXIT_NO_INPUT
    if type(error).__name__ == "EventFileError":
        _say(text("error.eventfile", what=error))
        return EXIT_NO_INPUT
    if type(error).__name__ == "ClusterError":
        _say(text(f"cluster.{error.id}", **error.arguments))  # type: ignore[attr-defined]
        return EXIT_UNAVAILABLE
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] in ("dask", "distributed"):
        _say(text("cluster.not-installed"))
        return EXIT_UNAVAILABLE
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "pyarrow":
        _say(text("error.eventfile", what=text("eventfile.missing")))
        return EXIT_UNAVAILABLE
    if type(error).__name__ == "FirewallError":
        _say(text("error.firewall", what=error))
        return EXIT_UNAVAILABLE
    _say(text("error.unexpected", kind=type(error).__name__, what=error))
    return EXIT_SOFTWARE


def _say(message: Any) -> None:
    with suppress(OSError):  # standard error takes no more; the exit code tells the same
        print(safe(str(message), lines=True), file=sys.stderr)
