"""The driver for E-Post's tables: its places in the files, what others do to them, shares that go away."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mailguard.cli.install import drop_in
from mailguard.clock import ManualClock
from mailguard.definitions.actions import load_action
from mailguard.enforcer import spawn
from mailguard.epost import reserved
from mailguard.epost.tables import decides, parse
from mailguard.firewall.actions import build, self_test
from mailguard.firewall.choose import caveat, choose
from mailguard.firewall.epost import FILES, Epost
from mailguard.firewall.epostcare import compact, make, reserve
from mailguard.firewall.epostdisk import Disk
from mailguard.firewall.interface import FirewallError
from mailguard.firewall.recording import Recording
from mailguard.firewall.several import Several
from mailguard.model import Ban
from mailguard.notation import parse_address
from mailguard.problems import ProblemsError
from tests.written import network

NOW = 1_795_000_000.0


def ban(text: str, seconds: float | None = 600.0, scope: str = "mail") -> Ban:
    return Ban(network(text), NOW, None if seconds is None else NOW + seconds, scope=scope)


class Program:
    """A program folder with tables, and drivers for it."""

    def __init__(self, path: Path):
        self.path = path / "program"
        self.path.mkdir()
        self.clock = ManualClock(NOW)
        self.state = path / "state" / "epost.sqlite"
        for kind in ("smtp", "pop", "imap"):
            (self.path / FILES[kind]).touch()

    def driver(self, kinds: tuple[str, ...] = ("smtp",), **options: Any) -> Epost:
        given = {"state": str(self.state), "clock": self.clock, **options}
        return Epost(str(self.path), kinds, **given)

    def __getitem__(self, kind: str) -> bytes:
        return (self.path / FILES[kind]).read_bytes()

    def __setitem__(self, kind: str, data: bytes) -> None:
        (self.path / FILES[kind]).write_bytes(data)

    def refused(self, address: str, kind: str = "smtp", lock: float = 0.0) -> bool:
        packed = parse_address(address)
        assert packed is not None
        row = decides(parse(self[kind]), packed, self.clock.now(), lock)
        return row is not None and row.rejects


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


# ---------------------------------------------------------------- places


def test_a_last_line_without_its_end_is_ended_first(program: Program) -> None:
    """The row of ours does not hang on to a line that somebody left unfinished."""
    program["smtp"] = b"198.51.100.1"
    driver = program.driver()
    driver.open([ban("192.0.2.7")], NOW)
    assert program["smtp"] == b"198.51.100.1\n192.0.2.7\t0\n"


def test_line_ends_are_kept(program: Program) -> None:
    """CRLF where the table has it; in an empty one what the action says."""
    program["smtp"] = b"198.51.100.1\t0\r\n"
    driver = program.driver(("smtp", "pop"), crlf=True)
    driver.open([ban("192.0.2.7")], NOW)
    assert program["smtp"] == b"198.51.100.1\t0\r\n192.0.2.7\t0\r\n"
    assert program["pop"] == b"192.0.2.7\t0\r\n"


def test_dead_rows_are_used_again(program: Program) -> None:
    """A thousand bans one after the other need no more room than the longest of them, twice."""
    driver = program.driver()
    driver.open([], NOW)
    for number in range(1000):
        text = f"192.0.2.{number % 256}"
        driver.impose([ban(text)], NOW)
        assert program.refused(text)
        driver.lift([(network(text), "mail")])
        assert not program.refused(text)
    assert len(program["smtp"]) < 120


def test_a_place_above_a_white_list_row_is_not_used_again(program: Program) -> None:
    """A white-list row stays above what refuses, also when a dead row of ours stands above it."""
    driver = program.driver()
    driver.open([ban("192.0.2.7")], NOW)
    driver.lift([(network("192.0.2.7"), "mail")])
    program["smtp"] += b"192.0.2.9\ttrue\n"
    driver.impose([ban("192.0.2.0/24")], NOW)
    assert program.refused("192.0.2.7")
    assert not program.refused("192.0.2.9")


def test_rows_that_somebody_moved_are_withdrawn_where_they_are(program: Program) -> None:
    """An editor saved the table anew: rows elsewhere, with other line ends, some gone."""
    driver = program.driver()
    driver.open([ban("192.0.2.7"), ban("192.0.2.8"), ban("192.0.2.9")], NOW)
    program["smtp"] = b"' sorted\r\n192.0.2.9\t0\r\n198.51.100.1\t0\r\n192.0.2.7\t0\r\n"
    driver.lift([(network(f"192.0.2.{last}"), "mail") for last in (7, 8)])
    assert program["smtp"] == b"' sorted\r\n192.0.2.9\t0\r\n198.51.100.1\t0\r\n'92.0.2.7\t0\r\n"
    driver.lift([(network("192.0.2.9"), "mail")])
    assert not program.refused("192.0.2.9")


def test_a_row_that_somebody_took_out_comes_back(program: Program) -> None:
    """What must be blocked is compared with the table, and put right."""
    driver = program.driver()
    driver.open([ban("192.0.2.7"), ban("192.0.2.8")], NOW)
    program["smtp"] = b"192.0.2.8\t0\n"
    assert set(driver.banned()) == {(network("192.0.2.8"), "mail")}
    found = driver.compare(NOW)
    assert [key[1] for key in found.wrong] == [network("192.0.2.7").address]
    driver.mend(found, NOW)
    assert not driver.compare(NOW)
    assert program.refused("192.0.2.7")
    assert program["smtp"].count(b"192.0.2.8\t") == 1


@pytest.mark.parametrize("row", [b"192.0.2.7\n", b"192.0.2.7\t\n", b"192.0.2.7\ttrue\n"])
def test_a_row_that_somebody_writes_over_a_dead_one_is_that_persons(program: Program, row: bytes) -> None:
    """An administrator who bans by hand where a row was withdrawn keeps it."""
    driver = program.driver()
    driver.open([ban("192.0.2.7")], NOW)
    driver.lift([(network("192.0.2.7"), "mail")])
    program["smtp"] = row
    driver.open([], NOW)
    driver.impose([ban("192.0.2.8")], NOW)
    driver.close(keep=False)
    assert program["smtp"] == row + b"'92.0.2.8\t0\n"


# ---------------------------------------------------------------- hosts that pass


def test_hosts_that_pass_are_left_out_of_the_rows(program: Program) -> None:
    """Inside a banned network, before and after the ban, and again when they pass no more."""
    driver = program.driver()
    driver.open([ban("192.0.2.0/24")], NOW)
    driver.allow([network("192.0.2.9"), network("192.0.2.128/25")])
    for last, refused in ((8, True), (9, False), (127, True), (128, False), (255, False)):
        assert program.refused(f"192.0.2.{last}") == refused
    driver.impose([ban("192.0.2.9"), ban("192.0.2.8/29")], NOW)
    assert not program.refused("192.0.2.9")
    assert program.refused("192.0.2.10")
    driver.allow([])
    assert program.refused("192.0.2.9")
    assert program.refused("192.0.2.255")
    driver.lift([(network(text), "mail") for text in ("192.0.2.0/24", "192.0.2.9", "192.0.2.8/29")])
    assert not any(program.refused(f"192.0.2.{last}") for last in range(256))


def test_hosts_that_pass_are_named_on_top_where_lines_are_reserved(program: Program) -> None:
    """They are saved from the server's own rows then, as far as the lines reach."""
    program["smtp"] = b"192.0.2.9\t0\n192.0.2.10\t0\n192.0.2.11\t0\n"
    driver = program.driver()
    reserve(driver, 2, 0, 0, dry=False)
    driver.open([], NOW)
    driver.allow([network("192.0.2.9"), network("192.0.2.10"), network("192.0.2.11")])
    assert [program.refused(f"192.0.2.{last}") for last in (9, 10, 11)] == [False, False, True]
    driver.allow([network("192.0.2.11")])
    assert [program.refused(f"192.0.2.{last}") for last in (9, 10, 11)] == [True, True, False]
    driver.close(keep=True)
    again = program.driver()
    again.open([], NOW)
    assert again.allowed == [network("192.0.2.11")]
    again.allow([])
    assert program.refused("192.0.2.11")


def test_a_restart_keeps_hosts_that_pass_cut_out(program: Program) -> None:
    """Between the start and the first word of the judge nobody who passes is kept out."""
    driver = program.driver()
    driver.open([ban("192.0.2.0/24")], NOW)
    driver.allow([network("192.0.2.9")])
    driver.close(keep=True)
    before = program["smtp"]
    again = program.driver()
    again.open([ban("192.0.2.0/24")], NOW)
    assert program["smtp"] == before
    again.allow([network("192.0.2.9")])
    assert program["smtp"] == before


# ---------------------------------------------------------------- effect.dat


def test_effect_has_refusals_where_lines_are_reserved(program: Program) -> None:
    """Between the white list and the line for everybody; without free lines the reject tables alone keep
    out."""
    head, tail = b"#<> default\n#blank false\n192.0.2.9 true\n", b"*.*.*.* norelay,2\n"
    program["effect"] = head + tail
    driver = program.driver(("smtp", "effect"))
    reserve(driver, 0, 0, 1, dry=False)
    lines = program["effect"].splitlines(keepends=True)
    assert b"".join(lines[:3]) == head
    assert lines[-1] == tail
    assert len(lines) == 3 + 3 + 1
    driver.open([ban("192.0.2.7"), ban("192.0.2.8")], NOW)
    assert program["effect"].count(b"\n192.0.2.7 false\n") == 1
    assert b"192.0.2.8" not in program["effect"]
    assert program.refused("192.0.2.8")
    (told,) = driver.notices()
    assert "no free line for 192.0.2.8" in told.args["what"]
    assert "mailguard epost prepare" in told.args["what"]
    driver.lift([(network("192.0.2.7"), "mail")])
    assert b"192.0.2.7 false" not in program["effect"].replace(b"'92.0.2.7 false", b"")
    driver.close(keep=False)


# ---------------------------------------------------------------- care


def test_prepare_makes_tables_and_compact_takes_dead_rows_out(program: Program) -> None:
    """Tables that are missing are made; rows of others and rows in force survive both, byte for byte."""
    (program.path / FILES["pop"]).unlink()
    driver = program.driver(("smtp", "pop"))
    assert [done.made for done in make(driver, dry=False)] == [True]
    program["smtp"] = b"198.51.100.1\t0\n"
    reserve(driver, 1, 2, 0, dry=False)
    assert len(program["smtp"]) == 3 * reserved.WIDTH + len(b"198.51.100.1\t0\n")
    driver.open([ban(f"192.0.2.{last}") for last in range(20)], NOW)
    program["smtp"] += b"203.0.113.7\t0\n"
    driver.lift([(network(f"192.0.2.{last}"), "mail") for last in range(0, 20, 2)])
    driver.close(keep=True)
    dry = compact(driver, dry=True)
    done = compact(program.driver(("smtp", "pop")), dry=False)
    assert [(one.before, one.after, one.lines) for one in dry] == [
        (one.before, one.after, one.lines) for one in done
    ]
    assert b"'92.0.2" not in program["pop"]
    again = program.driver(("smtp", "pop"))
    again.open([ban(f"192.0.2.{last}") for last in range(1, 20, 2)], NOW)
    assert [program.refused(f"192.0.2.{last}") for last in range(20)] == [False, True] * 10
    assert program["smtp"].count(b"198.51.100.1\t0\n") == program["smtp"].count(b"203.0.113.7\t0\n") == 1
    again.close(keep=False)
    assert not any(program.refused(f"192.0.2.{last}") for last in range(20))


def test_care_and_guard_exclude_each_other(program: Program) -> None:
    """Neither rewrites what the other has: one state file, one holder."""
    driver = program.driver()
    driver.open([ban("192.0.2.7")], NOW)
    with pytest.raises(FirewallError, match="another guard"):
        compact(program.driver(), dry=False)
    with pytest.raises(FirewallError, match="another guard"):
        program.driver().open([], NOW)
    assert program.refused("192.0.2.7")


# ---------------------------------------------------------------- trouble


class Moody(Disk):
    """Fails calls with these errors, in turn; None: it works."""

    def __init__(self, *errors: int | None):
        self.errors = list(errors)
        self.paused = 0

    def open(self, path: str, append: bool = False) -> int:
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise OSError(error, os.strerror(error))
        return super().open(path, append)

    def pause(self, seconds: float) -> None:
        self.paused += 1


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EACCES, errno.ETXTBSY])
def test_sharing_errors_are_waited_out(program: Program, number: int) -> None:
    """What a Windows share answers while somebody has the file is no failure at first."""
    disk = Moody(number, number)
    driver = program.driver(disk=disk)
    driver.open([ban("192.0.2.7")], NOW)
    assert disk.paused == 2
    assert program.refused("192.0.2.7")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, r"setfacl -m u:\S+:rw \S+rejectsmtpip\.dat"),
        (errno.EROFS, "restart mailguard-enforcer"),
        (errno.EHOSTDOWN, "is the share mounted"),
        (errno.ENOSPC, "the disk is full"),
    ],
)
def test_what_stays_wrong_is_said_with_what_to_do(program: Program, number: int, words: str) -> None:
    """The path, the reason, the remedy; the ban is not counted as done."""
    driver = program.driver(disk=Moody(*[number] * 20))
    with pytest.raises(FirewallError, match=words):
        driver.open([ban("192.0.2.7")], NOW)
    assert str(program.path / FILES["smtp"])
    assert driver.desired.bans == {}


def test_a_disk_that_is_full_leaves_no_half_row(program: Program) -> None:
    """What could not be written whole is ended, so that the server's next row stands alone."""

    class Full(Disk):
        def append(self, descriptor: int, data: bytes) -> int:
            os.write(descriptor, data[:4])
            os.write(descriptor, b"\n")
            raise OSError(errno.ENOSPC, "no space")

    program["smtp"] = b"198.51.100.1\t0\n"
    driver = program.driver(disk=Full())
    with pytest.raises(FirewallError):
        driver.open([ban("192.0.2.7")], NOW)
    program["smtp"] += b"203.0.113.7\t0\n"
    assert program.refused("203.0.113.7")
    assert not program.refused("192.0.2.7")


def test_an_end_that_fails_is_tried_again(program: Program) -> None:
    """A table that is gone when a ban ends: `tick` says so, and withdraws the row when it is back."""
    driver = program.driver(("smtp", "pop"))
    driver.open([ban("192.0.2.7", 60)], NOW)
    assert driver.tick(NOW) is not None
    kept = program["pop"]
    (program.path / FILES["pop"]).unlink()
    program.clock.set(NOW + 61)
    with pytest.raises(FirewallError, match=r"rejectpopip\.dat"):
        driver.tick(NOW + 61)
    assert not program.refused("192.0.2.7")
    program["pop"] = kept
    driver.tick(NOW + 62)
    assert not program.refused("192.0.2.7", "pop")


class Doing(Disk):
    """Says of one write that it failed, although it was done: a share whose answer was lost."""

    def __init__(self, number: int):
        self.left = number

    def _failed(self) -> None:
        self.left -= 1
        if not self.left:
            raise OSError(errno.EIO, "Input/output error")

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        super().write(descriptor, data, offset)
        self._failed()

    def append(self, descriptor: int, data: bytes) -> int:
        offset = super().append(descriptor, data)
        self._failed()
        return offset


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("number", range(1, 8))
def test_a_write_that_failed_and_was_done_leaves_no_row(program: Program, number: int, again: bool) -> None:
    """The row that counts without anybody's knowing is found, by the next try or by the next look."""
    program["smtp"] = b"198.51.100.1\t0\n"
    driver = program.driver(disk=Doing(number))
    driver.open([], NOW)
    for text in ("192.0.2.7", "192.0.2.8", "192.0.2.9"):
        try:
            driver.impose([ban(text)], NOW)
        except FirewallError:
            if not again:
                continue
            driver.impose([ban(text)], NOW)
        assert program.refused(text)
    program.clock.set(NOW + 700)
    with contextlib.suppress(FirewallError):
        driver.tick(NOW + 700)
    driver.tick(NOW + 700)
    assert [line for line in program["smtp"].splitlines() if line[:1] != b"'"] == [b"198.51.100.1\t0"]
    driver.close(keep=True)


def test_a_share_that_is_away_at_the_start(program: Program) -> None:
    """What came to its end meanwhile is withdrawn when it is back, and what did not keeps its row all the
    time, also before the guard has told again what is banned."""
    driver = program.driver()
    driver.open([ban("192.0.2.7"), ban("192.0.2.8", 2000)], NOW)
    driver.close(keep=True)
    away = program.path.with_name("away")
    program.path.rename(away)
    program.clock.set(NOW + 700)
    driver = program.driver()
    with pytest.raises(FirewallError, match="is the share mounted"):
        driver.open([ban("192.0.2.8", 2000)], NOW + 700)
    away.rename(program.path)
    before = program["smtp"]
    driver.tick(NOW + 701)
    assert program["smtp"] == before
    driver.open([ban("192.0.2.8", 2000)], NOW + 702)
    assert program["smtp"] == b"'92.0.2.7\t0\n192.0.2.8\t0\n"
    driver.close(keep=True)


def test_a_broken_state_file_is_put_aside(program: Program) -> None:
    """It is kept, said, and begun anew; bans go on."""
    program.state.parent.mkdir()
    program.state.write_bytes(b"no database " * 100)
    driver = program.driver()
    driver.open([ban("192.0.2.7")], NOW)
    assert program.refused("192.0.2.7")
    (told,) = driver.notices()
    assert "put aside" in told.args["what"]
    assert program.state.with_name("epost.sqlite.broken").exists()


def test_utf16_is_left_alone(program: Program) -> None:
    """A table saved as Unicode by an editor: E-Post cannot read it, and ASCII in it would destroy it."""
    data = "192.0.2.1\t0\r\n".encode("utf-16")
    program["smtp"] = data
    driver = program.driver()
    with pytest.raises(FirewallError, match="UTF-16"):
        driver.open([ban("192.0.2.7")], NOW)
    assert program["smtp"] == data


def test_old_builds_get_no_ipv6_prefixes(program: Program) -> None:
    """What cannot be kept out is said once and not claimed; single hosts and IPv4 are."""
    driver = program.driver(prefixes=False)
    driver.open([ban("2001:db8::/64"), ban("2001:db8:1::/64"), ban("2001:db8::7"), ban("192.0.2.0/24")], NOW)
    assert {str(place[0].prefix) for place in driver.banned()} == {"128", "24"}
    assert not driver.compare(NOW)
    (told,) = driver.notices()
    assert "ipv6_prefixes" in told.args["what"]


# ---------------------------------------------------------------- the action


def test_words_say_who_ends_a_ban(tmp_path: Path) -> None:
    """Where the lock time is not known, that rows stand until mailguard takes them away; where it is, not."""
    (tmp_path / "actions").mkdir()
    (tmp_path / "program").mkdir()
    shipped = Path(__file__).parents[2] / "actions" / "epost.toml"
    text = shipped.read_text().replace("/usr/local/mta/bin", str(tmp_path / "program"))
    (tmp_path / "actions" / "mine.toml").write_text(text)
    driver, words = choose("mine", etc=tmp_path)
    assert (
        "rejectsmtpip.dat, rejectpopip.dat, rejectimapip.dat stand until mailguard takes them away" in words
    )
    assert "not yet: " in words
    assert "rejectsmtpip.dat: No such file" in words
    assert isinstance(driver, Epost)
    timed = text.replace('lock_time     = "unknown"', 'lock_time = "30m"\nlock_time_pop = "0m"').replace(
        "\\t0", "\\t116444718000000000"
    )
    (tmp_path / "actions" / "mine.toml").write_text(timed.partition("[[sample]]")[0] + SAMPLE)
    for kind in ("smtp", "pop", "imap"):
        (tmp_path / "program" / FILES[kind]).touch()
    _, words = choose("mine", etc=tmp_path)
    assert (
        "rows end by themselves, by E-Post's lock time as stated (rejectsmtpip.dat 30m, rejectimapip.dat"
        in words
    )
    assert "rows in rejectpopip.dat stand until" in words
    assert "not yet" not in words
    assert caveat("auto") == ""


SAMPLE = """
[[sample]]
effect = "ban 192.0.2.7 for 30m"
expect = [
  "rejectsmtpip.dat: add 192.0.2.7\\t116444736000000000",
  "rejectpopip.dat: add 192.0.2.7\\t0",
  "rejectimapip.dat: add 192.0.2.7\\t116444736000000000",
]
"""

# ---------------------------------------------------------------- for real

SERVER = """
import os, sys
path, number = sys.argv[1], int(sys.argv[2])
for row in range(number):
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(handle, b"203.0.113.%d\\t13397751751747%04d\\n" % (row % 256, row))
    os.close(handle)
"""


def test_processes_write_at_once(program: Program) -> None:
    """Two real processes append 6,000 rows while 300 bans come and go: each row of theirs is there once, in
    its order, and none of ours is left."""
    driver = program.driver()
    driver.open([], NOW)
    path = str(program.path / FILES["smtp"])
    servers = [subprocess.Popen([sys.executable, "-c", SERVER, path, "3000"]) for _ in range(2)]
    number = 0
    limit = time.monotonic() + 60
    while any(one.poll() is None for one in servers) or number < 300:
        assert time.monotonic() < limit
        text = f"192.0.2.{number % 200}"
        driver.impose([ban(text)], NOW)
        if number % 3:
            driver.lift([(network(text), "mail")])
        number += 1
    assert [one.wait() for one in servers] == [0, 0]
    driver.close(keep=False)
    lines = program["smtp"].splitlines()
    for row in range(3000):
        assert (
            lines.count(b"203.0.113.%d\t13397751751747%04d" % (row % 256, row)) == 2
            if row % 500 == 0
            else True
        )
    theirs = [line for line in lines if line.startswith(b"203.0.113.")]
    assert len(theirs) == 6000
    assert all(line.startswith(b"'") for line in lines if not line.startswith(b"203.0.113."))


def test_behind_an_enforcer_rows_go_at_their_end(program: Program, helpers: Any) -> None:
    """In its own process, with nobody asking: a row is withdrawn at the end of its ban; a share that goes
    away is said once, and what is due stands when it is back."""
    firewall = spawn(Epost(str(program.path), ("smtp", "pop"), state=str(program.state)))
    now = time.time()
    try:
        firewall.open([], now)
        firewall.impose([helpers.ban("192.0.2.7", 1.0), helpers.ban("192.0.2.8", 600)], now)
        assert program["pop"] == b"192.0.2.7\t0\n192.0.2.8\t0\n"
        helpers.until(lambda: program["pop"] == b"'92.0.2.7\t0\n192.0.2.8\t0\n")
        away = program.path.with_name("away")
        program.path.rename(away)
        for _ in range(3):
            with pytest.raises(FirewallError, match="No such file"):
                firewall.impose([helpers.ban("192.0.2.9", 600)], time.time())
        away.rename(program.path)
        firewall.impose([helpers.ban("192.0.2.9", 600)], time.time())
        assert program["smtp"] == program["pop"] == b"192.0.2.9\t0\n192.0.2.8\t0\n"
        told: list[str] = []

        def both_said() -> bool:
            told.extend(str(notice.args.get("what")) for notice in firewall.notices())
            return len([words for words in told if "takes bans again" in words]) == 2

        helpers.until(both_said)
    finally:
        firewall.close(keep=False)
    assert program["smtp"] == b"'92.0.2.9\t0\n'92.0.2.8\t0\n"


# ---------------------------------------------------------------- several at once


def test_one_part_that_fails_keeps_nobody_from_the_others(program: Program) -> None:
    """The tables are gone: the other part bans, the call fails and is made good by repeating it."""
    tables = program.driver()
    recording = Recording(program.clock)
    both = Several([recording, tables], program.clock)
    both.open([ban("192.0.2.1")], NOW)
    kept = program["smtp"]
    (program.path / FILES["smtp"]).unlink()
    with pytest.raises(FirewallError, match=r"rejectsmtpip\.dat"):
        both.impose([ban("192.0.2.7")], NOW)
    assert (network("192.0.2.7"), "mail") in recording.banned()
    program["smtp"] = kept
    both.impose([ban("192.0.2.7")], NOW)
    assert set(both.banned()) == {(network("192.0.2.1"), "mail"), (network("192.0.2.7"), "mail")}
    program.clock.set(NOW + 601)
    both.tick(NOW + 601)
    assert not program.refused("192.0.2.7")
    both.close(keep=False)


def test_a_part_that_is_away_at_the_start_keeps_nobody_from_the_others(program: Program) -> None:
    """The other part bans from the start on; the tables follow when they are back. With no part at all there
    is no start."""
    recording = Recording(program.clock)
    both = Several([recording, program.driver()], program.clock)
    away = program.path.with_name("away")
    program.path.rename(away)
    both.open([ban("192.0.2.7", 5000)], NOW)
    assert (network("192.0.2.7"), "mail") in recording.banned()
    assert any("the other ways to ban" in str(notice.args) for notice in both.notices())
    with contextlib.suppress(FirewallError):
        both.tick(NOW + 1)
    away.rename(program.path)
    program.clock.set(NOW + 200)
    both.tick(NOW + 200)
    assert program.refused("192.0.2.7")
    both.lift([(network("192.0.2.7"), "mail")])
    assert not program.refused("192.0.2.7")
    both.close(keep=True)
    program.path.rename(away)
    with pytest.raises(FirewallError, match="is the share mounted"):
        Several([program.driver()], program.clock).open([ban("192.0.2.7")], NOW)


def test_what_one_part_kept_stands_in_all(program: Program) -> None:
    """After a restart a ban that only the state file of the tables knows is put into the other part too."""
    tables = program.driver()
    tables.open([ban("192.0.2.7")], NOW)
    tables.close(keep=True)
    recording = Recording(program.clock)
    both = Several([recording, program.driver()], program.clock)
    both.open([ban("192.0.2.8")], NOW)
    assert len(recording.banned()) == 2
    assert len(both.banned()) == 2


def test_an_action_of_several(tmp_path: Path) -> None:
    """By names of actions, the administrator's own first; a part that blocks nothing, or is not there, is
    refused."""
    (tmp_path / "actions").mkdir()
    path = tmp_path / "actions" / "both.toml"
    text = (
        'format = 1\ntitle = "both"\ndriver = "several"\n[options]\nactions = ["nftables", "epost"]\n'
        '[[sample]]\neffect = "ban 192.0.2.7 for ever"\nexpect = ['
        '"add element inet mailguard mail_host4 { 192.0.2.7 counter }",'
        + ",".join(f'"{FILES[kind]}: add 192.0.2.7\\t0"' for kind in ("smtp", "pop", "imap"))
        + "]\n"
    )
    path.write_text(text)
    action = load_action(path)
    assert self_test(action) == []
    driver = build(action)
    assert isinstance(driver, Several)
    assert driver.capabilities == ("net_admin",)
    assert driver.keeps_root
    assert "stand until mailguard takes them away" in driver.caveat
    unit = drop_in(action)
    assert (
        'ReadWritePaths="-/usr/local/mta/bin/rejectsmtpip.dat" "-/usr/local/mta/bin/rejectpopip.dat"' in unit
    )
    assert "CapabilityBoundingSet" not in unit
    path.write_text(text.replace('"epost"', '"recording"', 1))
    with pytest.raises(FirewallError, match="recording"):
        build(load_action(path))
    path.write_text(text.replace('["nftables", "epost"]', '["epost"]'))
    with pytest.raises(ProblemsError, match="two or more"):
        load_action(path)


def test_the_unit_may_write_the_tables_and_nothing_else() -> None:
    """For the action epost alone: no capability, no network, exactly these files and the state folder."""
    unit = drop_in(load_action(Path(__file__).parents[2] / "actions" / "epost.toml")).splitlines()
    assert "CapabilityBoundingSet=" in unit
    assert "RestrictAddressFamilies=AF_UNIX" in unit
    assert "StateDirectory=mailguard-enforcer" in unit
    (paths,) = [line for line in unit if line.startswith("ReadWritePaths=")]
    assert paths.count("-/usr/local/mta/bin/reject") == 3
    assert "effect.dat" not in paths


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "program must be"),
        ('program = "mta"', "program must be"),
        ('program = "/x"\ntables = ["smpt"]', "there is no table"),
        ('program = "/x"\ntables = []', "nothing would be blocked"),
        ('program = "/x"\nlock_time = "soon"', "no length of time"),
        ('program = "/x"\nstate = "here"', "absolute"),
        ('program = "/x"\nlocktime = "1m"', "unknown key"),
    ],
)
def test_options_that_are_wrong(tmp_path: Path, options: str, words: str) -> None:
    """Each is refused when the definition is read, with what to write instead."""
    path = tmp_path / "mine.toml"
    sample = '[[sample]]\neffect = "lift 192.0.2.7"\nexpect = []\n'
    path.write_text(f'format = 1\ntitle = "x"\ndriver = "epost"\n[options]\n{options}\n{sample}')
    with pytest.raises(ProblemsError, match=words):
        load_action(path)
