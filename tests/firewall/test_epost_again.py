"""Tables that somebody saves anew from an old copy, and a list of own rows that is lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mailguard.firewall.epost import Epost
from mailguard.firewall.epostcare import compact, reserve
from mailguard.firewall.epostlook import EVERY, REST
from mailguard.model import Network
from tests.firewall.test_epost import NOW, Program, ban, network

OTHERS = b"198.51.100.1\n203.0.113.9\t0\n"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def said(driver: Epost) -> list[str]:
    return [str(notice.args["what"]) for notice in driver.notices()]


def in_force(data: bytes) -> list[bytes]:
    return [line for line in data.splitlines() if line[:1] != b"'"]


def later(program: Program, driver: Epost, seconds: float = 2 * EVERY) -> None:
    """The enforcer's clock goes on, and it does what is due."""
    end = program.clock.now() + seconds
    while program.clock.now() < end:
        program.clock.set(program.clock.now() + REST)
        driver.tick(program.clock.now())


def test_an_old_copy_revives_nobody(program: Program) -> None:
    """A backup is put back while the guard runs: what was withdrawn since counts again for a moment, is
    withdrawn, and said once; the rows of others in it stand, and bans that it lacks are back."""
    program["smtp"] = OTHERS
    driver = program.driver()
    driver.open([ban("192.0.2.7"), ban("192.0.2.8", 5000)], NOW)
    assert len(said(driver)) == 1  # a hand wrote a 0: see below
    backup = program["smtp"] + b"198.51.100.2\n"
    driver.lift([(network("192.0.2.7"), "mail")])
    driver.impose([ban("192.0.2.10", 5000)], NOW)
    later(program, driver)
    assert said(driver) == []
    program["smtp"] = backup
    assert program.refused("192.0.2.7")
    later(program, driver)
    assert not program.refused("192.0.2.7")
    assert program.refused("192.0.2.8")
    (words,) = said(driver)
    assert "1 row (192.0.2.7) that had been withdrawn counted again" in words
    driver.mend(driver.compare(program.clock.now()), program.clock.now())
    assert program.refused("192.0.2.10")
    later(program, driver)
    assert said(driver) == []
    driver.close(keep=False)
    assert in_force(program["smtp"]) == [*OTHERS.splitlines(), b"198.51.100.2"]


def test_a_copy_from_before_places_were_used_again(program: Program) -> None:
    """The row of the old copy stood where another one stands now; the guard was restarted since."""
    program["smtp"] = OTHERS
    driver = program.driver()
    driver.open([ban("192.0.2.7")], NOW)
    backup = program["smtp"]
    driver.lift([(network("192.0.2.7"), "mail")])
    driver.impose([ban("192.0.2.8", 5000)], NOW)
    assert len(program["smtp"]) == len(backup)
    driver.close(keep=True)
    program["smtp"] = backup
    driver = program.driver()
    driver.open([ban("192.0.2.8", 5000)], NOW)
    assert not program.refused("192.0.2.7")
    assert program.refused("192.0.2.8")
    (words,) = said(driver)
    assert "192.0.2.7" in words
    assert "an old copy was saved over it" in words


def test_a_copy_that_was_compacted_since(program: Program) -> None:
    """Also rows that `compact` took out are remembered."""
    driver = program.driver()
    driver.open([ban("192.0.2.7")], NOW)
    backup = program["smtp"]
    driver.close(keep=False)
    compact(program.driver(), dry=False)
    assert program["smtp"] == b""
    program["smtp"] = backup
    driver = program.driver()
    driver.open([], NOW)
    assert not program.refused("192.0.2.7")
    assert len(said(driver)) == 1


def test_a_table_that_is_being_saved_is_waited_for(program: Program) -> None:
    """An editor cuts the file, writes for a while, and is done: nothing is given up meanwhile."""
    program["smtp"] = OTHERS
    driver = program.driver()
    driver.open([ban("192.0.2.7", 5000), ban("192.0.2.8", 5000)], NOW)
    whole = program["smtp"]
    later(program, driver, EVERY)
    for size in range(0, len(whole), 8):
        program["smtp"] = whole[:size]
        program.clock.set(program.clock.now() + REST)
        driver.tick(program.clock.now())
    program["smtp"] = whole
    later(program, driver)
    assert program["smtp"] == whole
    assert not driver.compare(program.clock.now())
    driver.close(keep=False)
    assert in_force(program["smtp"]) == OTHERS.splitlines()


def test_a_clock_that_was_set_back_delays_no_look(program: Program) -> None:
    driver = program.driver()
    driver.open([ban("192.0.2.7", None)], NOW)
    backup = program["smtp"]
    driver.lift([(network("192.0.2.7"), "mail")])
    later(program, driver)
    program["smtp"] = backup
    program.clock.set(NOW - 86400)
    later(program, driver)
    assert not program.refused("192.0.2.7")


def test_rows_of_others_in_our_form_stand(program: Program) -> None:
    """Somebody writes a 0 by hand, also for one whom mailguard had banned: as long as no old copy was saved
    over the table the row is that person's."""
    driver = program.driver()
    driver.open([ban("192.0.2.7")], NOW)
    driver.lift([(network("192.0.2.7"), "mail")])
    driver.impose([ban("192.0.2.8", 60)], NOW)  # at the place of the other
    later(program, driver, 70)
    with open(program.path / "rejectsmtpip.dat", "ab") as file:
        file.write(b"192.0.2.7\t0\n192.0.2.99\t0\n")
    later(program, driver)
    driver.close(keep=False)
    assert in_force(program["smtp"]) == [b"192.0.2.7\t0", b"192.0.2.99\t0"]
    assert said(driver) == []


def test_lines_of_effect_that_hands_wrote_stand(program: Program) -> None:
    """There a hand writes just as we do; only what stands between our marks is ours."""
    program["effect"] = b"#<> default\n#blank false\n192.0.2.7 false\n* norelay,2\n"
    reserve(program.driver(("smtp", "effect")), 0, 0, 2, dry=False)
    driver = program.driver(("smtp", "effect"))
    driver.open([ban("192.0.2.7")], NOW)
    backup = program["effect"]
    assert backup.count(b"192.0.2.7 false") == 2
    driver.lift([(network("192.0.2.7"), "mail")])
    driver.impose([ban("192.0.2.8", 60), ban("192.0.2.9", 60)], NOW)
    program["effect"] = backup
    later(program, driver)
    assert program["effect"].count(b"\n192.0.2.7 false") == 1
    driver.close(keep=False)
    assert program["effect"].count(b"\n192.0.2.7 false") == 1
    assert [line for line in in_force(program["effect"]) if line[:1] != b"#"] == [
        b"192.0.2.7 false", b"* norelay,2",
    ]  # fmt: skip


@pytest.mark.parametrize("broken", [False, True])
def test_a_lost_list_takes_over_what_is_due_and_says_the_rest(program: Program, broken: bool) -> None:
    """Rows of bans that still stand are ours; rows in our form that no ban wants are named, and `compact
    --unknown` takes them out. Rows of others stay."""
    program["smtp"] = OTHERS
    driver = program.driver()
    driver.open([ban("192.0.2.7"), ban("192.0.2.8")], NOW)
    driver.close(keep=True)
    for path in program.state.parent.iterdir():
        path.write_bytes(b"no database" * 999) if broken else path.unlink()
    before = program["smtp"]
    driver = program.driver()
    driver.open([ban("192.0.2.7")], NOW)
    assert program["smtp"] == before
    words = [one for one in said(driver) if "put aside" not in one]
    assert len(words) == 1
    assert "2 rows (203.0.113.9, 192.0.2.8) in the form that mailguard writes" in words[0]
    driver.close(keep=False)
    assert in_force(program["smtp"]) == [*OTHERS.splitlines(), b"192.0.2.8\t0"]
    driver = program.driver()
    driver.open([], NOW)
    assert said(driver) == []  # once
    driver.close(keep=True)
    (done,) = compact(program.driver(), dry=True, unknown=True)
    assert done.lines == 3
    compact(program.driver(), dry=False, unknown=True)
    assert program["smtp"] == b"198.51.100.1\n"


def test_a_first_start_says_nothing_of_tables_without_such_rows(program: Program) -> None:
    program["smtp"] = b"198.51.100.1\n192.0.2.9\t\n192.0.2.8\t133977293793391816\n'203.0.113.9\t0\n"
    driver = program.driver()
    driver.open([], NOW)
    assert said(driver) == []


@pytest.mark.parametrize("seed", range(60))
def test_copies_of_any_age(program: Program, seed: int) -> None:
    """Bans, lifts, restarts, appends of others, and old copies saved over the table, in any order: after a
    look and a comparison exactly the wanted rows are in force, each once, and those of others in the copy."""
    chance = random.Random(seed)
    program["smtp"] = b"198.51.100.1\n"
    driver = program.driver()
    driver.open([], NOW)
    wanted: set[str] = set()
    copies: list[bytes] = []
    pool = [f"192.0.2.{number}" for number in range(1, 30)]
    for step in range(60):
        act = chance.choice(("ban", "ban", "lift", "lift", "copy", "restore", "other", "restart"))
        if act == "ban":
            hosts = chance.sample(pool, 3)
            driver.impose([ban(host, 1e6) for host in hosts], program.clock.now())
            wanted.update(hosts)
        elif act == "lift" and wanted:
            host = chance.choice(sorted(wanted))
            driver.lift([(network(host), "mail")])
            wanted.remove(host)
        elif act == "copy":
            copies.append(program["smtp"])
        elif act == "restore" and copies:
            program["smtp"] = chance.choice(copies) + chance.choice((b"", b"198.51.100.77\n"))
        elif act == "other":
            with open(program.path / "rejectsmtpip.dat", "ab") as file:
                file.write(b"203.0.113.%d\t133977293793391816\n" % step)
        elif act == "restart":
            driver.close(keep=True)
            driver = program.driver()
            driver.open([ban(host, 1e6) for host in sorted(wanted)], program.clock.now())
        if chance.random() < 0.5:
            continue
        later(program, driver, 3 * REST + EVERY)
        theirs = [row for row in in_force(program["smtp"]) if not row.startswith(b"192.0.2.")]
        if differences := driver.compare(program.clock.now()):
            driver.mend(differences, program.clock.now())
        rows = in_force(program["smtp"])
        assert sorted(row for row in rows if row.startswith(b"192.0.2.")) == sorted(
            f"{host}\t0".encode() for host in wanted
        )
        assert [row for row in rows if not row.startswith(b"192.0.2.")] == theirs
    driver.close(keep=False)
    assert not [row for row in in_force(program["smtp"]) if row.startswith(b"192.0.2.")]


def test_the_past_is_bounded(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest rows are remembered, in memory and in the state file."""
    monkeypatch.setattr("mailguard.firewall.epostplaces.MOST_PAST", 50)
    monkeypatch.setattr("mailguard.firewall.epoststate.MOST_PAST", 50)
    driver = program.driver()
    driver.open([], NOW)
    for number in range(400):
        host = Network(0xC0000200 + number % 256, 32)
        driver.impose([ban(f"192.0.2.{number % 256}")], NOW)
        driver.lift([(host, "mail")])
    assert len(driver.tables[0].past) == 50
    assert len(driver.state.past(driver.tables[0].path)) <= 201
