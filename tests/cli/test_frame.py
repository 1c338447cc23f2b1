"""The frame of the command line: usage errors, exit codes, safe output, completion, light imports."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard import cli
from mailguard.cli import arguments, output
from mailguard.notation import format_network
from mailguard.problems import Problem, ProblemsError

MAILGUARD = [sys.executable, "-m", "mailguard"]


def mailguard(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MAILGUARD, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
    )


def test_help_names_every_command() -> None:
    """`mailguard --help` lists each command once, in groups."""
    told = mailguard("--help")
    assert told.returncode == 0
    for commands in cli.COMMANDS.values():
        for name, sentence in commands.items():
            assert told.stdout.count(f"\n  {name} ") == 1
            assert sentence in told.stdout


def test_each_command_has_the_module_of_its_name() -> None:
    """Every command in the table can be imported, says what the table says, and carries its own name."""
    context = click.Context(cli.program)
    for commands in cli.COMMANDS.values():
        for name, sentence in commands.items():
            command = cli.program.get_command(context, name)
            assert command is not None
            assert command.name == name
            assert command.help
            assert command.help.splitlines()[0].rstrip(".") in sentence


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["baan"], "Did you mean 'ban'?"),
        (["zzz"], "There is no command 'zzz'."),
        (["ban"], "NETWORK"),
        (["ban", "192.0.2.999"], "is no address or network"),
        (["ban", "192.0.2.1/24"], "the network is 192.0.2.0/24"),
        (["ban", "192.0.2.1", "--for", "0s"], "is no length of time"),
        (["ban", "192.0.2.1", "--for", "soon"], "nor the word permanent"),
        (["pause", "permanent"], "is no length of time"),
        (["bans", "--since", "yesterday"], "is neither a time"),
        (["events", "--timezone", "Middle/Earth", "-"], "is no time zone"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], says: str) -> None:
    """Exit 64, the mistake and an example on standard error, nothing on standard output."""
    refused = mailguard(*arguments)
    assert refused.returncode == 64
    assert says in refused.stderr
    assert refused.stdout == ""
    assert "Traceback" not in refused.stderr


def test_an_unexpected_error_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for users, exit 70; MAILGUARD_DEBUG=1 shows it."""

    @click.command("completion")
    def broken() -> None:
        raise LookupError("no \x1b[31msuch thing")

    monkeypatch.setattr("mailguard.cli.completion.command", broken)
    for debug in ("", "1"):
        monkeypatch.setenv("MAILGUARD_DEBUG", debug)
        with pytest.raises(SystemExit) as ended:
            cli.main(["completion"])
        said = capsys.readouterr().err
        assert ended.value.code == 70
        assert ("Traceback" in said) == bool(debug)
        assert "LookupError: no \\x1b[31msuch thing" in said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProblemsError([Problem("x.toml:1", "wrong")]), 65),
        (ProblemsError([Problem("x.toml:1", "wrong", settings=True), Problem("y", "wrong")]), 78),
        (FileNotFoundError(2, "No such file or directory", "/nowhere"), 66),
        (PermissionError(13, "Permission denied", "/secret"), 77),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes_of_errors(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of failure has the documented exit code and a line that names what it is about."""

    @click.command("completion")
    def failing() -> None:
        raise error

    monkeypatch.setattr("mailguard.cli.completion.command", failing)
    with pytest.raises(SystemExit) as ended:
        cli.main(["completion"])
    assert ended.value.code == code
    assert capsys.readouterr().err.strip()


def test_a_closed_pipe_ends_quietly() -> None:
    """`mailguard ... | head -1` says nothing on standard error."""
    shell = subprocess.run(
        ["sh", "-c", f"{shlex.join(MAILGUARD)} completion bash | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shell.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """Each shell gets a script that calls back the program."""
    script = mailguard("completion", shell)
    assert script.returncode == 0
    assert f"_MAILGUARD_COMPLETE={shell}_complete" in script.stdout


def test_completion_completes() -> None:
    """The script's call back lists the commands and options that fit."""
    answer = mailguard(_MAILGUARD_COMPLETE="bash_complete", COMP_WORDS="mailguard unb", COMP_CWORD="1")
    assert answer.stdout == "plain,unban\n"
    answer = mailguard(_MAILGUARD_COMPLETE="bash_complete", COMP_WORDS="mailguard ban --re", COMP_CWORD="2")
    assert answer.stdout == "plain,--reason\n"


@given(st.text())
def test_safe_text_cannot_steer_a_terminal(text: str) -> None:
    """No control, format, line-end or surrogate character passes; printable text is left as it is."""
    shown = output.safe(text)
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in shown)
    if text.isprintable():
        assert shown == text


@given(st.text())
def test_json_is_plain_ascii(text: str) -> None:
    """A line of JSON holds one object and no byte that a terminal obeys."""
    import contextlib
    import io
    import json

    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        output.write_json({"x": text})
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()
    assert json.loads(line) == {"x": text}


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3), max_size=4))
def test_plain_tables_keep_their_columns(rows: list[list[str]]) -> None:
    """Whatever the cells hold, a row is one line with the same number of tabs."""
    import contextlib
    import io

    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        output.write_table("plain", "", ["a", "b", "c"], rows)
    lines = stream.getvalue().split("\n")[:-1]
    assert len(lines) == len(rows)
    assert all(line.count("\t") == 2 for line in lines)


def test_arguments() -> None:
    """Networks, lengths and times are read as the manual says."""
    assert format_network(arguments.network("2001:db8::/32")) == "2001:db8::/32"
    assert format_network(arguments.network("::ffff:192.0.2.7")) == "192.0.2.7"
    assert arguments.duration("1h30m") == 5400
    assert arguments.length("permanent") == float("inf")
    assert arguments.moment("2026-11-22T03:00:00+01:00") == 1795312800
    assert arguments.moment("2026-11-22 02:00:00Z") == 1795312800


def test_nothing_heavy_is_loaded_for_a_light_command() -> None:
    """Asking the guard loads neither rich nor any matching, netlink or database library."""
    code = (
        "import sys; from mailguard.cli import program; import click\n"
        "for name in ('status', 'bans', 'ban', 'why'): program.get_command(click.Context(program), name)\n"
        "print(sorted({'rich', 'sqlite3', 'pyroute2', 'hyperscan', 'regex', 'asyncio', 'watchdog'}"
        " & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


#: What only other logs, other output, several processes, the ledger or the checks of definitions need.
SELDOM = {
    "regex", "rich", "sqlite3", "statistics", "multiprocessing", "concurrent.futures", "logging",
    "subprocess", "html.parser", "secrets", "tempfile",
    "mailguard.core.cases", "mailguard.core.dialogue", "mailguard.core.explaining",
    "mailguard.definitions.checks", "mailguard.definitions.parsertext", "mailguard.feeds.pages",
    "mailguard.ledger", "mailguard.replay.beside", "mailguard.replay.processes", "mailguard.report",
    "mailguard.tuning",
}  # fmt: skip


@pytest.mark.parametrize("command", ["replay", "events"])
def test_a_short_log_is_read_without_what_few_logs_need(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a start was loading what the run did not use. The first run keeps what it has checked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = ["--config", os.devnull, "--set", f'general.state="{tmp_path}"'] if command == "replay" else []
    log = tmp_path / "mail.log"
    log.write_text("Nov 22 09:05:07 mail1 postfix/smtpd[202]: connect from unknown[192.0.2.7]\n")
    code = (
        "import sys\n"
        "from mailguard.cli import main\n"
        f"try:\n    main({[command, *own, '--year', '2026', '-o', 'json', str(log)]!r})\n"
        f"finally:\n    print(sorted({SELDOM!r} & set(sys.modules)), file=sys.stderr)"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("waits", [False, True])
def test_the_end_does_what_was_registered_for_it(waits: bool) -> None:
    """The program leaves without taking down its objects one by one; output, exit code, functions for the end
    and threads that still work are as ever."""
    program = (
        "import atexit, sys, threading\n"
        "from mailguard.cli import main\n"
        "go = threading.Event()\n"
        f"if {waits}:\n"
        "    threading.Thread(target=lambda: (go.wait(), print('worked'))).start()\n"
        "atexit.register(print, 'at the end')\n"
        "threading._register_atexit(go.set)\n"
        "sys.argv = ['mailguard', 'explain', '/nonexistent' * 9]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    said = done.stdout.splitlines()
    assert said[-1] == "at the end"
    assert ("worked" in said) == waits
    whole = subprocess.run(
        [sys.executable, "-m", "mailguard", "explain", "/nonexistent" * 9],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == whole.returncode != 0
    assert said[: len(whole.stdout.splitlines())] == whole.stdout.splitlines()


def test_a_full_disk_at_the_end_is_told() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m mailguard completion bash >/dev/full"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 74
    assert done.stderr.strip()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-", "2>/dev/full"])
@pytest.mark.parametrize(
    ("command", "code"), [("completion bash", 0), ("nosuch", 64), ("explain /nosuch", 1)]
)
def test_closed_output_changes_no_exit_code(command: str, code: int, closed: str) -> None:
    """What is closed is as /dev/null; a message that nobody takes is no error of its own."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m mailguard {command} {closed}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "should not happen" not in done.stderr


def test_nothing_else_is_written_to_in_the_place_of_closed_output(tmp_path: Path) -> None:
    """The first file that is opened would get the number of standard error."""
    log = tmp_path / "mail.log"
    log.write_text("Nov 22 09:05:07 mail1 postfix/smtpd[202]: connect from unknown[192.0.2.7]\n")
    code = (
        "import os, sys\n"
        "from mailguard.cli import main\n"
        "sys.argv = ['mailguard', 'events', '--year', '2026', sys.argv[1]]\n"
        "import atexit\n"
        "atexit.register(lambda: os.write(3, os.readlink('/proc/self/fd/2').encode()))\n"
        "main()\n"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec 3>&1; exec "$@" >&3 2>&-', "-", sys.executable, "-c", code, str(log)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stdout.endswith("/dev/null")
