"""The commands that read logs and definitions: the contract of `events`, `explain`, `parser`."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailguard.cli.events import Lines
from mailguard.definitions import source
from mailguard.model import Block

MAILGUARD = [sys.executable, "-m", "mailguard"]
LOGIN = (
    "Nov 22 10:49:19 mail1 dovecot: imap-login: Login: user=<alice@example.net>, method=PLAIN, rip={rip}, "
    "lip=203.0.113.25, mpid=290, TLS, session=<mx+Ir9Ng+9XAAAJN>"
)
FAILED = (
    "Nov 22 10:49:20 mail1 dovecot: imap-login: Disconnected: Aborted login by logging out "
    "(auth failed, 2 attempts in 1 secs): user=<wata nabe@example.net>, method=PLAIN, rip=192.0.2.78, "
    "lip=203.0.113.25, TLS, session=<EPSIr9NgJ5PAAAJO>"
)
OTHER = "Nov 22 10:49:20 mail1 cron[3]: nothing of interest"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "mail.log"
    lines = [LOGIN.format(rip="::ffff:192.0.2.77"), OTHER, OTHER, FAILED, LOGIN.format(rip="2001:DB8:0::7")]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_events_keep_their_contract(run: Any, log: Path) -> None:
    """One object a line with exactly these keys; addresses are canonical, a mapped one is IPv4."""
    said = run(
        "events", "--parser", "dovecot", "--year", "2026", "--timezone", "Asia/Tokyo", "-o", "json", str(log)
    )
    assert (said.code, said.err) == (0, "")
    first, second, third = said.objects
    assert list(first) == ["line", "log", "time", "kind", "source", "rule", "weight", "fields"]
    assert first["line"] == 1
    assert first["log"] == str(log)
    assert first["time"] == "2026-11-22T10:49:19+09:00"
    assert (first["kind"], first["source"], first["rule"]) == ("auth_success", "192.0.2.77", "dovecot/login")
    assert (second["line"], second["weight"], second["source"]) == (4, 2, "192.0.2.78")
    assert second["fields"]["user"] == "wata nabe@example.net"
    assert "source" not in second["fields"]
    assert (third["line"], third["source"]) == (5, "2001:db8::7")


def test_events_without_parser_pick_what_fits(run: Any, log: Path) -> None:
    """Without --parser the same events are found; several files come in the order given."""
    said = run("events", "--year", "2026", "-o", "json", str(log), str(log))
    assert [(one["line"], one["rule"]) for one in said.objects] == [
        (1, "dovecot/login"), (4, "dovecot/auth-failed"), (5, "dovecot/login"),
    ] * 2  # fmt: skip


def test_events_plain(run: Any, log: Path) -> None:
    """One line an event: place, time, kind, source, rule, weight, fields in quotes where needed."""
    said = run("events", "--year", "2026", "--timezone", "UTC", str(log))
    assert said.out.splitlines()[1] == (
        f"{log}:4 2026-11-22T10:49:20+00:00 auth_failure 192.0.2.78 dovecot/auth-failed x2 service=imap "
        'attempts=2 user="wata nabe@example.net" method=PLAIN session=EPSIr9NgJ5PAAAJO'
    )


def test_events_of_compressed_and_piped_logs(run: Any, log: Path, tmp_path: Path) -> None:
    """A .gz file and standard input give the same events with the same line numbers."""
    packed = tmp_path / "mail.log.1.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    options = ["--year", "2026", "--timezone", "UTC", "-o", "json"]
    plain = run("events", *options, str(log)).objects
    for one in plain:
        del one["log"]
    zipped = run("events", *options, str(packed)).objects
    assert {one.pop("log") for one in zipped} == {str(packed)}
    assert zipped == plain
    piped = subprocess.run(
        [*MAILGUARD, "events", *options, "-"], input=log.read_bytes(), capture_output=True, check=True
    )
    assert piped.stdout.decode().replace('"log": "-", ', "").splitlines() == [
        line.replace(f'"log": "{log}", ', "") for line in run("events", *options, str(log)).out.splitlines()
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["events", "/nowhere/mail.log"], 66),
        (["events"], 64),
        (["events", "--parser", "dovcot", "-"], 64),
        (["events", "--year", "x", "-"], 64),
    ],
)
def test_events_refuses_bad_input(run: Any, arguments: list[str], code: int) -> None:
    """A missing file, no file, an unknown parser and a bad year each have their exit code and a reason."""
    said = run(*arguments)
    assert said.code == code
    assert said.out == ""
    assert said.err


def test_events_of_hostile_bytes(run: Any, tmp_path: Path) -> None:
    """NUL, broken UTF-8, U+0085 and U+2028 inside a line split nothing and reach no terminal."""
    path = tmp_path / "mail.log"
    hostile = FAILED.encode().replace(b"wata nabe", b"\x00\xff\xe2\x80\xa8\xc2\x85\x1b[31m")
    path.write_bytes(hostile + b"\n" + LOGIN.format(rip="192.0.2.77").encode() + b"\n")
    said = run("events", "--year", "2026", str(path))
    lines = said.out.split("\n")[:-1]
    assert len(lines) == 2
    assert lines[1].startswith(f"{path}:2 ")
    assert not any(char in said.out for char in "\x00\x1b\u2028\x85")


def test_line_numbers_count_line_feeds() -> None:
    """Offsets become line numbers, over blocks and in any order within one."""
    data = b"a\nbb\n\nccc\n"
    lines = Lines()
    first = Block("x", data, 0, 5, 0, 0.0, False)
    lines.begin(first)
    assert [lines.number(first, at) for at in (0, 2, 0)] == [1, 2, 1]
    lines.end(first)
    second = Block("x", data, 5, 10, 5, 0.0, False)
    lines.begin(second)
    assert [lines.number(second, at) for at in (6, 5)] == [4, 3]
    lines.end(second)
    third = Block("x", b"--d\n", 2, 4, 900, 0.0, False)  # a cut line's rest was passed over
    lines.begin(third)
    assert lines.number(third, 900) == 5


# ---------------------------------------------------------------- explain


def test_explain_a_line_that_is_taken(run: Any) -> None:
    """Envelope, rule with its place in the file, event and fields; exit 0."""
    said = run("explain", FAILED)
    assert said.code == 0
    assert "rule       dovecot/auth-failed" in said.out
    assert "event      auth_failure  source 192.0.2.78  weight 2" in said.out
    assert "           user = wata nabe@example.net" in said.out


def test_explain_a_line_that_nothing_takes(run: Any) -> None:
    """The nearest rules, how far they fit and what they wanted instead; exit 1."""
    said = run("explain", LOGIN.format(rip="192.0.2.77").replace(", lip=", " lip="))
    assert said.code == 1
    assert "none of dovecot takes this line" in said.out
    assert "dovecot/login" in said.out
    assert "instead of:" in said.out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("hello", "no known envelope"),
        (OTHER, "no parser is for the program"),
    ],
)
def test_explain_strange_lines(run: Any, line: str, says: str) -> None:
    """A line without envelope or of an unknown program is told as such; exit 1."""
    said = run("explain", line)
    assert said.code == 1
    assert says in said.out


def test_explain_in_json(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` explains each line of standard input as one object."""
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{FAILED}\n{OTHER}\n".encode()), encoding="utf-8")
    )
    first, second = run("explain", "-o", "json", "-").objects
    assert (first["rule"], first["kind"], first["source"]) == (
        "dovecot/auth-failed", "auth_failure", "192.0.2.78",
    )  # fmt: skip
    assert (second["rule"], second["kind"], second["program"]) == (None, None, "cron")


# ---------------------------------------------------------------- parser


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An administrator's folder of definitions."""
    folder = tmp_path / "etc"
    monkeypatch.setattr(source, "ETC", folder)
    return folder


def test_parser_list(run: Any, etc: Path) -> None:
    """Name, title, number of rules and origin; JSON has the path too."""
    (etc / "parsers").mkdir(parents=True)
    said = run("parser", "list")
    assert said.code == 0
    row = next(line.split("\t") for line in said.out.splitlines() if line.startswith("dovecot\t"))
    assert row[3] == "shipped"
    one = next(one for one in run("parser", "list", "-o", "json").objects if one["name"] == "dovecot")
    assert one["path"].endswith("dovecot.toml")
    (etc / "parsers" / "dovecot.toml").symlink_to(os.devnull)
    assert "dovecot" not in run("parser", "list").out


def test_parser_show_and_copy(run: Any, etc: Path) -> None:
    """`copy` puts the file where it replaces the shipped one, once; `show` prints what is in use."""
    shipped = (source.shipped("parsers") / "dovecot.toml").read_text()
    assert run("parser", "show", "dovecot").out == shipped
    assert run("parser", "copy", "dovecot").code == 0
    own = etc / "parsers" / "dovecot.toml"
    assert own.read_text() == shipped
    own.write_text("# mine\n" + shipped)
    assert run("parser", "show", "dovecot").out.startswith("# mine\n")
    assert "own, instead of the shipped one" in run("parser", "list").out
    refused = run("parser", "copy", "dovecot")
    assert refused.code == 64
    assert "not touched" in refused.err
    unknown = run("parser", "show", "dovcot")
    assert unknown.code == 64
    assert "Did you mean 'dovecot'?" in unknown.err


def test_parser_confirm(run: Any, etc: Path, log: Path, tmp_path: Path) -> None:
    """A guessed format may ban after a log showed genuine lines of it, and not before."""
    guessed = etc / "parsers" / "dovecot.toml"
    guessed.parent.mkdir(parents=True)
    shipped = (source.shipped("parsers") / "dovecot.toml").read_text()
    guessed.write_text(shipped.replace("format = 1\n", "format = 1\nguessed = true\n", 1))
    assert run("events", "--parser", "dovecot", "-o", "json", str(log)).code == 0
    empty = tmp_path / "empty.log"
    empty.write_text(OTHER + "\n")
    refused = run("parser", "confirm", "dovecot", str(empty))
    assert refused.code == 1
    assert "nothing is confirmed" in refused.err
    said = run("parser", "confirm", "dovecot", str(log))
    assert said.code == 0
    assert "dovecot/login: 2 events" in said.out
    assert guessed.read_text() == shipped
    assert run("parser", "confirm", "dovecot", str(log)).code == 64


@pytest.mark.parametrize("command", ["events", "replay", "explain"])
def test_an_unknown_parser_is_a_usage_error(run: Any, command: str) -> None:
    """It is the command line that is wrong, not a definition; a near name is offered."""
    said = run(command, "--parser", "postfx", "-")
    assert said.code == 64
    assert "Did you mean 'postfix'?" in said.err


def test_a_masked_parser_is_told_as_such(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Who switched it off a year ago is reminded of the link."""
    monkeypatch.setattr(source, "ETC", tmp_path)
    (tmp_path / "parsers").mkdir()
    (tmp_path / "parsers" / "dovecot.toml").symlink_to("/dev/null")
    said = run("parser", "show", "dovecot")
    assert said.code == 64
    assert f"switched off: {tmp_path}/parsers/dovecot.toml is a link to /dev/null" in said.err


def test_check_tells_where_the_alerts_command_runs(run: Any, tmp_path: Path) -> None:
    """Whoever gives a command that would send mail learns that it cannot, under the units."""
    settings = tmp_path / "mailguard.toml"
    settings.write_text('[alerts]\ncommand = ["/usr/sbin/sendmail", "root"]\n')
    said = run("check", "--config", str(settings))
    assert said.code == 0
    assert "it has no network and cannot hand mail to this host" in said.out
    assert "cannot hand mail" not in run("check", "--config", "/dev/null").out


YEARLESS = (
    "{month} 15 10:49:20 mail1 postfix/smtpd[7]: warning: unknown[192.0.2.7]: "
    "SASL LOGIN authentication failed: UGFzc3dvcmQ6"
)


def test_years_that_are_not_written(tmp_path: Path) -> None:
    """A log without years that spans several of them: counted back from the time it was written last, of a
    file by whatever way it comes; a pipe is told what to do instead."""
    path = tmp_path / "mail.log"
    months = ("Mar", "Jul", "Oct", "Jan", "May", "Sep", "Dec", "Feb", "Jun")  # 2023 to 2025
    path.write_text("".join(YEARLESS.format(month=month) + "\n" for month in months))
    os.utime(path, (1_750_100_000, 1_750_100_000))  # 2025-06-16
    years = ["2023"] * 3 + ["2024"] * 4 + ["2025"] * 2

    def read(command: str, *more: str, **given: Any) -> tuple[list[str], str]:
        done = subprocess.run(
            [*MAILGUARD, command, "-o", "json", *more], capture_output=True, text=True, check=True, **given
        )
        return done.stdout.splitlines(), done.stderr

    packed = tmp_path / "mail.log.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    os.utime(packed, (1_750_100_000, 1_750_100_000))
    ways: list[tuple[tuple[str, ...], dict[str, Any]]] = [((str(path),), {}), ((str(packed),), {})]
    for more, given in (*ways, (("-",), {"stdin": path.open()})):
        lines, said = read("events", *more, **given)
        assert [json.loads(line)["time"][:4] for line in lines] == years
        assert "begins in 2023" in said
        if given:
            given["stdin"] = path.open()
        lines, said = read("replay", *more, **given)
        assert json.loads(lines[-1])["summary"]["from"].startswith("2023-03-15")
        assert "begins in 2023" in said
    for command in ("events", "replay"):
        lines, said = read(command, "-", input=path.read_text())
        assert "--year" in said
        lines, said = read(command, "--year", "2023", "-", input=path.read_text())
        assert said.count("--year") == 0
        assert "2023-03-15" in "".join(lines)
