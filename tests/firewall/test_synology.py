"""The driver `synology`: what ends up in DSM's block list, and what never does."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.clock import Clock, ManualClock
from mailguard.enforcer import spawn
from mailguard.firewall import synologytable
from mailguard.firewall.desired import FOREVER
from mailguard.firewall.interface import FirewallError
from mailguard.firewall.synology import Synology
from mailguard.firewall.synologytable import AutoBlock, Put, standard
from mailguard.model import Ban, Network
from mailguard.notation import parse_address, parse_network

# DSM 7 (the second row of columns is missing in older ones).
OLD = (
    "IP varchar(50) PRIMARY KEY, RecordTime date NOT NULL, ExpireTime date NOT NULL, Deny boolean NOT NULL, "
    "IPStd varchar(50) NOT NULL"
)
NEW = OLD + ", Type INTEGER, Meta varchar(256)"
NOW = 1_795_341_600.0


class Nas:
    """A NAS's block list, and the fake `synowebapi` that serves it."""

    def __init__(self, folder: Path, columns: str = NEW):
        self.folder = folder
        self.path = folder / "synoautoblock.db"
        self.clock = ManualClock(NOW)
        with sqlite3.connect(self.path) as db:
            db.execute(f"CREATE TABLE AutoBlockIP ({columns})")
        db.close()

    def __call__(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        db = sqlite3.connect(self.path)
        db.execute("PRAGMA synchronous = OFF")  # for readers it is the same, and no disk is waited for
        with db:
            found = db.execute(sql, values).fetchall()
        db.close()
        return found

    def add(self, text: str, recorded: int = 5, expires: int = 0, deny: int = 1) -> None:
        address = parse_address(text)
        assert address is not None
        values = (text, recorded, expires, deny, standard(address))
        self(
            "INSERT INTO AutoBlockIP (IP, RecordTime, ExpireTime, Deny, IPStd) VALUES (?, ?, ?, ?, ?)",
            *values,
        )

    def rows(self) -> dict[str, tuple[int, int, int]]:
        """IP -> RecordTime, ExpireTime, Deny."""
        return {row[0]: row[1:] for row in self("SELECT IP, RecordTime, ExpireTime, Deny FROM AutoBlockIP")}

    def driver(self, clock: Clock | None = None, **options: Any) -> Synology:
        state = str(self.folder / "state" / "synology.sqlite")
        return Synology(database=str(self.path), state=state, clock=clock or self.clock, **options)

    def now(self) -> float:
        return self.clock.now()


@pytest.fixture
def nas(tmp_path: Path) -> Nas:
    return Nas(tmp_path)


def ban(text: str, until: float | None = 600.0, scope: str = "mail", since: float = NOW) -> Ban:
    network = parse_network(text)
    assert network is not None
    return Ban(network, since, None if until is None else since + until, scope=scope)


def net(text: str) -> Network:
    network = parse_network(text)
    assert network is not None
    return network


def said(driver: Synology) -> list[str]:
    return [str(notice.args["what"]) for notice in driver.notices()]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("192.0.2.7", "0000:0000:0000:0000:0000:FFFF:C000:0207"),
        ("2001:db8::ab", "2001:0DB8:0000:0000:0000:0000:0000:00AB"),
        ("::", "0000:0000:0000:0000:0000:0000:0000:0000"),
    ],
)
def test_the_standard_form(text: str, form: str) -> None:
    """Eight groups of capital digits, IPv4 mapped."""
    address = parse_address(text)
    assert address is not None
    assert standard(address) == form


@pytest.mark.parametrize("columns", [OLD, NEW, NEW + ", Extra TEXT NOT NULL, More INTEGER NOT NULL"])
def test_a_row_as_dsm_writes_it(tmp_path: Path, columns: str) -> None:
    """Every column is filled, on old and new systems, and on one with columns that nobody knows."""
    nas = Nas(tmp_path, columns)
    driver = nas.driver()
    driver.open([ban("192.0.2.7", 600.5), ban("2001:db8::7", None)], nas.now())
    rows = nas("SELECT * FROM AutoBlockIP ORDER BY IP")
    assert [row[:5] for row in rows] == [
        ("192.0.2.7", int(NOW), int(NOW) + 601, 1, "0000:0000:0000:0000:0000:FFFF:C000:0207"),
        ("2001:db8::7", int(NOW), 0, 1, "2001:0DB8:0000:0000:0000:0000:0000:0007"),
    ]
    assert all(row[5:7] == (0, "") for row in rows if len(row) > 5)


def test_dsms_own_style_is_copied(nas: Nas) -> None:
    """The columns whose meaning is not known are as in the newest block of DSM's own."""
    nas.add("198.51.100.1", 7)
    nas("UPDATE AutoBlockIP SET Type = 3, Meta = 'm'")
    nas.driver().open([ban("192.0.2.7")], nas.now())
    assert nas("SELECT Type, Meta FROM AutoBlockIP WHERE IP = '192.0.2.7'") == [(3, "m")]


def test_rows_of_others_stay_as_they_are(nas: Nas) -> None:
    """DSM's own blocks are not changed, neither by a ban of the same address nor by its end; what DSM keeps
    out longer than asked stands."""
    nas.add("192.0.2.7", 5, 0)
    nas.add("192.0.2.8", 6, int(NOW) + 60)
    nas.add("198.51.100.1", 7, int(NOW) + 60)
    before = nas.rows()
    driver = nas.driver()
    driver.open([ban("192.0.2.7"), ban("192.0.2.8")], nas.now())
    assert nas.rows() == before
    assert set(driver.banned()) == {(net("192.0.2.7"), "mail")}  # the other one ends too early
    assert not driver.compare(nas.now())  # and nothing can be done about it yet
    driver.lift([(net("192.0.2.7"), "mail"), (net("192.0.2.8"), "mail"), (net("198.51.100.1"), "mail")])
    driver.panic()
    driver.close(keep=False)
    assert nas.rows() == before


def test_when_dsms_own_block_is_over_ours_takes_its_place(nas: Nas) -> None:
    """The next comparison finds it; the row that is over gives way, whether DSM removed it or not."""
    nas.add("192.0.2.8", 6, int(NOW) + 60)
    driver = nas.driver()
    driver.open([ban("192.0.2.8", 600)], nas.now())
    nas.clock.set(NOW + 61)
    differences = driver.compare(nas.now())
    assert len(differences.wrong) == 1
    driver.mend(differences, nas.now())
    assert nas.rows() == {"192.0.2.8": (int(NOW) + 61, int(NOW) + 600, 1)}
    assert set(driver.banned()) == {(net("192.0.2.8"), "mail")}


def test_the_allow_list_is_respected_and_said(nas: Nas) -> None:
    """An address with Deny = 0 is never blocked; a network around it is, without it; each is said once."""
    nas.add("192.0.2.7", 5, 0, deny=0)
    driver = nas.driver()
    driver.open([ban("192.0.2.7"), ban("192.0.2.6/31")], nas.now())
    assert set(nas.rows()) == {"192.0.2.6", "192.0.2.7"}
    assert nas.rows()["192.0.2.7"] == (5, 0, 0)
    assert set(driver.banned()) == {(net("192.0.2.6/31"), "mail")}
    assert said(driver) == ["192.0.2.7 is on the NAS's own allow list and is not kept out there"]
    driver.impose([ban("192.0.2.7", 900)], nas.now())
    assert said(driver) == []
    assert not driver.compare(nas.now())


def test_an_address_stays_as_long_as_any_ban_needs_it(nas: Nas) -> None:
    """Scopes and networks share the one entry of an address: it ends with the last of them."""
    driver = nas.driver()
    driver.open([], nas.now())
    driver.impose([ban("192.0.2.7", 60, "auth"), ban("192.0.2.7", 600), ban("192.0.2.4/30", 300)], nas.now())
    ends = {text: row[1] - int(NOW) for text, row in nas.rows().items()}
    assert ends == {"192.0.2.4": 300, "192.0.2.5": 300, "192.0.2.6": 300, "192.0.2.7": 600}
    driver.lift([(net("192.0.2.7"), "mail")])
    assert nas.rows()["192.0.2.7"][1] - int(NOW) == 300
    driver.lift([(net("192.0.2.4/30"), "mail")])
    assert {text: row[1] - int(NOW) for text, row in nas.rows().items()} == {"192.0.2.7": 60}
    driver.lift([(net("192.0.2.7"), "auth")])
    assert nas.rows() == {}


@pytest.mark.parametrize("text", ["192.0.0.0/23", "2001:db8::/64", "0.0.0.0/0", "::/0", "2001:db8::/119"])
def test_a_wide_network_is_refused_and_said(nas: Nas, text: str) -> None:
    """More addresses than stated: nothing is written, nothing claims to stand, everything else goes on."""
    driver = nas.driver()
    driver.open([ban(text), ban("192.0.2.7")], nas.now())
    driver.impose([ban(text, 900), ban("192.0.2.8")], nas.now())
    assert set(nas.rows()) == {"192.0.2.7", "192.0.2.8"}
    assert {str(place[1]) for place in driver.banned()} == {"mail"}
    assert len(driver.banned()) == 2
    (words,) = said(driver)
    assert words.startswith(f"{text} is not kept out of the NAS: ")
    assert not driver.compare(nas.now())
    driver.lift([(net(text), "mail")])


def test_allowed_hosts_inside_a_network_are_left_out(nas: Nas) -> None:
    """`allow` takes hosts out of what is blocked, and puts them back."""
    driver = nas.driver()
    driver.open([ban("192.0.2.4/30")], nas.now())
    driver.allow([net("192.0.2.5")])
    assert set(nas.rows()) == {"192.0.2.4", "192.0.2.6", "192.0.2.7"}
    assert set(driver.banned()) == {(net("192.0.2.4/30"), "mail")}
    driver.allow([])
    assert len(nas.rows()) == 4


def test_bans_end_on_time(nas: Nas) -> None:
    """Rows carry their end, and `tick` takes them out then; it says when to come again."""
    driver = nas.driver()
    driver.open([ban("192.0.2.7", 60), ban("192.0.2.8", 600), ban("192.0.2.9", None)], nas.now())
    assert driver.tick(nas.now()) == NOW + 60
    nas.clock.set(NOW + 60)
    driver.purge(nas.now())
    assert driver.tick(nas.now()) == NOW + 600
    assert set(nas.rows()) == {"192.0.2.8", "192.0.2.9"}
    nas.clock.set(NOW + 601)
    assert driver.tick(nas.now()) is None
    assert set(nas.rows()) == {"192.0.2.9"}


def test_after_a_restart_own_rows_are_known(nas: Nas) -> None:
    """A driver that was killed: the next one lifts what the last one put in, adopts bans that are not among
    those given, removes rows that no ban needs, and repairs what the list lost."""
    first = nas.driver()
    first.open([ban("192.0.2.7"), ban("192.0.2.8"), ban("192.0.2.9", 60)], nas.now())
    nas.add("198.51.100.1")
    nas("DELETE FROM AutoBlockIP WHERE IP = '192.0.2.8'")
    nas.clock.set(NOW + 61)
    second = nas.driver()
    second.open([ban("192.0.2.8")], nas.now())
    assert set(nas.rows()) == {"192.0.2.7", "192.0.2.8", "198.51.100.1"}
    assert set(second.banned()) == {(net("192.0.2.7"), "mail"), (net("192.0.2.8"), "mail")}
    second.lift([(net("192.0.2.7"), "mail"), (net("192.0.2.8"), "mail")])
    assert set(nas.rows()) == {"198.51.100.1"}
    third = nas.driver()
    third.panic()
    assert set(nas.rows()) == {"198.51.100.1"}


def test_what_was_noted_and_never_written_harms_nobody(nas: Nas) -> None:
    """Killed between the note and the list, while DSM blocks the same address: its row stays."""
    driver = nas.driver()
    driver.open([], nas.now())
    nas.add("192.0.2.7", int(NOW) + 3)

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    driver.table.change = killed  # type: ignore[union-attr, method-assign]
    with pytest.raises(KeyboardInterrupt):
        driver.impose([ban("192.0.2.7")], nas.now())
    again = nas.driver()
    again.open([], nas.now())
    again.lift([(net("192.0.2.7"), "mail")])
    assert nas.rows() == {"192.0.2.7": (int(NOW) + 3, 0, 1)}


def test_the_reconciler_repairs(nas: Nas) -> None:
    """A row that somebody removed or shortened is found and put right."""
    driver = nas.driver()
    driver.open([ban("192.0.2.7"), ban("192.0.2.8"), ban("192.0.2.9")], nas.now())
    assert not driver.compare(nas.now())
    nas("DELETE FROM AutoBlockIP WHERE IP = '192.0.2.7'")
    nas("UPDATE AutoBlockIP SET ExpireTime = ? WHERE IP = '192.0.2.8'", int(NOW) + 1)
    differences = driver.compare(nas.now())
    assert [key[1] for key in differences.wrong] == [net("192.0.2.7").address, net("192.0.2.8").address]
    driver.mend(differences, nas.now())
    assert len(driver.banned()) == 3
    assert not driver.compare(nas.now())


def test_a_list_that_cannot_be_used(tmp_path: Path, nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, of another shape, locked: the ban stays due, in plain words, and works later."""
    monkeypatch.setattr(synologytable, "_BUSY", 0.05)
    state = str(tmp_path / "other.sqlite")
    missing = Synology(database=str(tmp_path / "none.db"), state=state, clock=nas.clock)
    assert "is not there" in missing.probe()
    with pytest.raises(FirewallError, match=r"none\.db"):
        missing.open([], nas.now())
    assert not (tmp_path / "none.db").exists()
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE AutoBlockIP (IP TEXT)").connection.close()
    with pytest.raises(FirewallError, match="no column RecordTime; this DSM keeps"):
        Synology(database=str(other), state=state, clock=nas.clock).open([ban("192.0.2.7")], nas.now())
    (tmp_path / "text.db").write_text("no database" * 500)
    assert "not a database" in Synology(database=str(tmp_path / "text.db")).probe()
    driver = nas.driver()
    assert driver.probe() == ""
    driver.open([], nas.now())
    lock = sqlite3.connect(nas.path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with pytest.raises(FirewallError, match="somebody has been writing into it"):
        driver.impose([ban("192.0.2.7")], nas.now())
    lock.execute("ROLLBACK")
    lock.close()
    driver.impose([ban("192.0.2.7")], nas.now())
    assert set(nas.rows()) == {"192.0.2.7"}


def test_a_state_file_that_cannot_be_written(nas: Nas) -> None:
    """Without its own notes nothing is written: a row that nobody knows as ours would stay for ever."""
    (nas.folder / "state").write_text("a file where the folder should be")
    driver = nas.driver()
    with pytest.raises(FirewallError, match="are noted, cannot be written"):
        driver.open([ban("192.0.2.7")], nas.now())
    assert nas.rows() == {}


DSM = """
import random, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute("PRAGMA synchronous = OFF")
for number in range(400):
    ip = f"198.51.100.{number % 200}"
    db.execute("INSERT OR REPLACE INTO AutoBlockIP VALUES (?, ?, 0, 1, '', 0, '')", (ip, 1000 + number))
    if number % 3 == 0:
        db.execute("DELETE FROM AutoBlockIP WHERE IP = ?", (f"198.51.100.{(number * 7) % 200}",))
"""


def test_dsm_writes_at_the_same_time(nas: Nas) -> None:
    """DSM changes its own rows while we change ours: nothing of either is lost."""
    nas("PRAGMA journal_mode = WAL")
    driver = nas.driver()
    driver.open([], nas.now())
    dsm = subprocess.Popen([sys.executable, "-c", DSM, str(nas.path)])
    for number in range(200):
        driver.impose([ban(f"192.0.2.{number}")], nas.now())
        if number % 2:
            driver.lift([(net(f"192.0.2.{number}"), "mail")])
    assert dsm.wait(60) == 0
    alone = Nas(nas.folder / "state")
    subprocess.run([sys.executable, "-c", DSM, str(alone.path)], check=True)
    ours = {text for text in nas.rows() if text.startswith("192.0.2.")}
    assert ours == {f"192.0.2.{number}" for number in range(0, 200, 2)}
    theirs = {text: row for text, row in nas.rows().items() if text not in ours}
    assert theirs == alone.rows()


def test_ten_thousand_rows(nas: Nas) -> None:
    """A long list does not make a ban slow."""
    db = sqlite3.connect(nas.path)
    with db:
        db.executemany(
            "INSERT INTO AutoBlockIP VALUES (?, 5, 0, 1, ?, 0, '')",
            ((f"10.0.{n >> 8}.{n & 255}", f"{n}") for n in range(10_000)),
        )
    db.close()
    table = AutoBlock(str(nas.path))
    begin = time.monotonic()
    table.change({net("192.0.2.0/24").address + n: Put(FOREVER, 7, True) for n in range(256)}, {}, NOW)
    assert time.monotonic() - begin < 2.0
    assert len(nas.rows()) == 10_256


def test_behind_an_enforcer(nas: Nas) -> None:
    """The whole way: judge, enforcer, list; bans end there by the enforcer's own clock."""
    firewall = spawn(Synology(database=str(nas.path), state=str(nas.folder / "s.sqlite")))
    now = time.time()
    firewall.open([ban("192.0.2.7", 600, since=now)], now)
    firewall.impose([ban("192.0.2.8", 1.2, since=now), ban("2001:db8::/64", 60, since=now)], now)
    assert set(nas.rows()) == {"192.0.2.7", "192.0.2.8"}
    limit = time.monotonic() + 20
    while len(nas.rows()) > 1:
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert {place[0] for place in firewall.banned()} == {net("192.0.2.7")}
    words = [str(notice.args) for notice in firewall.notices()]
    assert any("2001:db8::/64 is not kept out of the NAS" in one for one in words)
    firewall.close(keep=False)
    assert nas.rows() == {}


# ---------------------------------------------------------------- by DSM's API

# Behaves as far as is known: says what it does, then answers in JSON; refuses what is there or is not there.
WEBAPI = """#!/bin/sh
echo "$@" >> {folder}/calls
for one in "$@"; do case "$one" in method=*) method=${{one#method=}};; ip=*) ip=${{one#ip=}};; esac; done
echo "[Line 255] Exec WebAPI:  api=SYNO.Core.Security.AutoBlock.Rules, method=$method, runner="
test -f {folder}/answer && {{ cat {folder}/answer; exit 0; }}
touch {folder}/list
case "$method" in
create) grep -qxF "$ip" {folder}/list && answer='"error":{{"code":4501}},"success":false' || {{
  echo "$ip" >> {folder}/list; answer='"data":{{}},"httpd_restart":false,"success":true'; }};;
delete) grep -qxF "$ip" {folder}/list && {{ grep -vxF "$ip" {folder}/list > {folder}/new
  mv {folder}/new {folder}/list; answer='"success":true'; }} ||
  answer='"error":{{"code":4502}},"success":false';;
*) answer='"error":{{"code":103}},"success":false';;
esac
echo "{{$answer}}"
"""


class Web:
    """A NAS behind its API."""

    def __init__(self, folder: Path, what: str = "address"):
        self.folder, self.what = folder, what
        self.clock = ManualClock(NOW)
        self.program = folder / "synowebapi"
        self.program.write_text(WEBAPI.format(folder=folder))
        self.program.chmod(0o755)

    def driver(self, clock: Clock | None = None, **options: Any) -> Synology:
        api = [str(self.program), "--exec", "api=SYNO.Core.Security.AutoBlock.Rules"]
        rest = ["version=1", "type=deny", f"ip={{{self.what}}}"]
        return Synology(
            "webapi", create=[*api, "method=create", *rest], delete=[*api, "method=delete", *rest],
            state=str(self.folder / "state" / "synology.sqlite"), clock=clock or self.clock, **options,
        )  # fmt: skip

    def listed(self) -> list[str]:
        path = self.folder / "list"
        return sorted(path.read_text().split()) if path.exists() else []

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def web(tmp_path: Path) -> Callable[..., Web]:
    return lambda what="address": Web(tmp_path, what)


def test_the_documented_call(web: Callable[..., Web]) -> None:
    """One call for each address, exactly as documented; a renewed ban needs none; the end is a call too."""
    nas = web()
    driver = nas.driver()
    assert driver.caveat
    assert driver.probe() == ""
    driver.open([ban("192.0.2.7", 60)], NOW)
    driver.impose([ban("192.0.2.7", 120), ban("192.0.2.8", None)], NOW)
    assert nas.calls() == [
        "--exec api=SYNO.Core.Security.AutoBlock.Rules method=create version=1 type=deny ip=192.0.2.7",
        "--exec api=SYNO.Core.Security.AutoBlock.Rules method=create version=1 type=deny ip=192.0.2.8",
    ]
    assert len(driver.banned()) == 2
    nas.clock.set(NOW + 61)
    assert driver.tick(NOW + 61) == NOW + 120
    assert nas.listed() == ["192.0.2.7", "192.0.2.8"]
    nas.clock.set(NOW + 120)
    assert driver.tick(NOW + 120) is None
    assert nas.listed() == ["192.0.2.8"]
    assert "method=delete" in nas.calls()[-1]
    again = nas.driver()
    again.open([], NOW + 130)
    assert set(again.banned()) == {(net("192.0.2.8"), "mail")}
    again.close(keep=False)
    assert nas.listed() == []


def test_networks_by_the_api(web: Callable[..., Web]) -> None:
    """With {address} small networks are their addresses; with {network} DSM takes any as a whole, unless an
    allowed host is inside."""
    nas = web()
    driver = nas.driver()
    driver.open([ban("192.0.2.4/30"), ban("192.0.0.0/16")], NOW)
    assert nas.listed() == ["192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"]
    driver.panic()
    whole = web("network").driver()
    whole.open([ban("192.0.0.0/16"), ban("2001:db8::/64")], NOW)
    assert nas.listed() == ["192.0.0.0/16", "2001:db8::/64"]
    whole.allow([net("192.0.2.7")])
    assert nas.listed() == ["2001:db8::/64"]
    assert set(whole.banned()) == {(net("2001:db8::/64"), "mail")}


def test_what_dsm_answers(web: Callable[..., Web]) -> None:
    """A refusal of one entry is said and the rest goes on; common errors and nonsense leave the ban due."""
    nas = web()
    driver = nas.driver()
    driver.open([], NOW)
    (nas.folder / "list").write_text("192.0.2.7\n")  # somebody put it in by hand
    driver.impose([ban("192.0.2.7"), ban("192.0.2.8")], NOW)
    assert said(driver) == ["DSM says that 192.0.2.7 cannot be put in (error 4501)"]
    assert set(driver.banned()) == {(net("192.0.2.8"), "mail")}
    (nas.folder / "list").write_text("192.0.2.7\n")  # and took ours out
    driver.lift([(net("192.0.2.8"), "mail"), (net("192.0.2.7"), "mail")])
    assert said(driver) == ["DSM says that 192.0.2.8 cannot be taken out (error 4502)"]
    assert nas.listed() == ["192.0.2.7"]
    for answer, words in [
        ('{"error":{"code":105},"success":false}', "error 105"),
        ('{"success": "yes"}', "an answer that is none"),
        ("nothing", "an answer that is none"),
        ("{", "an answer that is none"),
        ("{}}{", "an answer that is none"),
        ("[]", "an answer that is none"),
    ]:
        (nas.folder / "answer").write_text(answer)
        with pytest.raises(FirewallError, match=words):
            driver.impose([ban("192.0.2.9")], NOW)
        assert driver.banned() == {}
    (nas.folder / "answer").unlink()
    driver.impose([ban("192.0.2.9")], NOW)
    (nas.folder / "answer").write_text('{"error":{"code":105},"success":false}')
    nas.clock.set(NOW + 601)
    with pytest.raises(FirewallError):
        driver.tick(NOW + 601)
    (nas.folder / "answer").unlink()
    driver.tick(NOW + 602)  # what failed is tried again
    assert nas.listed() == ["192.0.2.7"]


def test_a_command_that_is_not_there(web: Callable[..., Web]) -> None:
    """Said before anything begins, and when it goes away later."""
    nas = web()
    driver = nas.driver()
    driver.open([], NOW)
    nas.program.unlink()
    assert "cannot be run" in driver.probe()
    with pytest.raises(FirewallError, match="synowebapi cannot be run"):
        driver.impose([ban("192.0.2.7")], NOW)


_text = st.sampled_from(["192.0.2.7", "192.0.2.8", "192.0.2.6/31", "2001:db8::7"])
_step = st.tuples(st.sampled_from(["impose", "lift", "kill", "dsm", "later"]), _text, st.integers(1, 300))


@given(st.lists(_step, max_size=14))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_nothing_of_others_is_lost(steps: list[tuple[str, str, int]]) -> None:
    """Bans, lifts, kills, DSM's own blocks and the passing of time in any order: in the end, when all bans
    are over or lifted, the list holds exactly what DSM put in."""
    with tempfile.TemporaryDirectory() as folder:
        nas = Nas(Path(folder))
        driver = nas.driver()
        driver.open([], nas.now())
        theirs = {}
        for verb, text, number in steps:
            if verb == "impose":
                driver.impose([ban(text, float(number), since=nas.now())], nas.now())
            elif verb == "lift":
                driver.lift([(net(text), "mail")])
            elif verb == "kill":
                driver = nas.driver()
                driver.open([], nas.now())
            elif verb == "later":
                nas.clock.set(nas.now() + number)
                driver.tick(nas.now())
            elif "/" not in text and text not in nas.rows():
                nas.add(text, number)
                theirs[text] = (number, 0, 1)
            assert {one: row for one, row in nas.rows().items() if one in theirs} == theirs
        nas.clock.set(nas.now() + 1000)
        driver.tick(nas.now())
        assert nas.rows() == theirs
