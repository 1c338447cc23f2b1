"""The ledger: what it promises to keep, to restore, and never to keep."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.ledger import Ledger, LedgerError
from mailguard.ledger import evidence as evidence_module
from mailguard.ledger.evidence import PER_SOURCE
from mailguard.model import Alert, Ban, Event, Evidence, Impose, Lift, Network, Offence
from tests.written import address, network

T = 1_760_000_000.0


def failure(source: str, at: float, position: int, user: str = "info", line: bytes | None = None) -> Event:
    raw = line if line is not None else f"mx dovecot: imap-login: failed user=<{user}>, rip={source}".encode()
    return Event(
        "auth_failure",
        at,
        address(source),
        "dovecot/login",
        1,
        {"user": user},
        "/var/log/mail.log",
        position,
        line=raw,
    )


def offence(source: str, first: float, last: float, events: tuple[Event, ...] = ()) -> Offence:
    return Offence(
        "password-guessing", source, first, last, max(1, len(events)), ("auth_failure",),
        tuple(Evidence(event.time, event.rule, event.log, event.position) for event in events),
        sources=(address(source),),
    )  # fmt: skip


def impose(source: str, at: float, length: float | None = 600.0, ordinal: int = 1) -> Impose:
    until = None if length is None else at + length
    return Impose(
        Ban(network(source), at, until, ordinal, offence(source.partition("/")[0], at - 60, at)), at
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


class TestBans:
    def test_a_ban_survives_a_restart_with_its_end(self, path: Path) -> None:
        """What was recorded before the file was left alone is due afterwards, to the same second."""
        effects = [
            impose("192.0.2.7", T),
            impose("2001:db8::/64", T, None),
            impose("198.51.100.0/24", T, 60, 3),
        ]
        first = Ledger(path)
        first.record(effects)
        again = Ledger(path)  # the first one was not even closed
        due = {ban.network: ban for ban in again.due(T + 1)}
        assert set(due) == {effect.ban.network for effect in effects}
        assert due[network("192.0.2.7")].until == T + 600
        assert due[network("2001:db8::/64")].until is None
        (ban,) = again.answers.bans(T + 1, contains=network("198.51.100.0/24"))
        assert ban["ordinal"] == 3
        assert {ban.network for ban in again.due(T + 60)} == {network("192.0.2.7"), network("2001:db8::/64")}

    def test_recording_again_changes_nothing(self, path: Path) -> None:
        """Effects are known by what was found, so reading lines again after a crash notes nothing twice."""
        ledger = Ledger(path)
        effects = [impose("192.0.2.7", T), Lift(network("192.0.2.7"), T + 5, "unban")]
        alert = Alert(offence("192.0.2.9", T, T + 1), T + 1, "observe", network("192.0.2.9"))
        for _ in range(2):
            ledger.record([*effects, alert])
        assert ledger.due(T + 6) == []
        assert [row["effect"] for row in ledger.answers.every_effect()] == ["impose", "lift", "alert"]

    def test_a_ban_lifted_since_stays_lifted_when_its_lines_are_read_again(self, path: Path) -> None:
        """An administrator's unban is not undone by a crash after it."""
        ledger = Ledger(path)
        ledger.record([impose("192.0.2.7", T)])
        ledger.record([Lift(network("192.0.2.7"), T + 5, "unban")])
        ledger.record([impose("192.0.2.7", T)])
        assert ledger.due(T + 6) == []

    def test_scopes_are_bans_of_their_own(self, path: Path) -> None:
        """One network may be kept from the auth ports and from all ports, each with its own end."""
        ledger = Ledger(path)
        ledger.record([Impose(Ban(network("192.0.2.7"), T, T + 60, scope="auth"), T)])
        ledger.record([Impose(Ban(network("192.0.2.7"), T, T + 90, scope="all", reason="x"), T)])
        ledger.record([Lift(network("192.0.2.7"), T + 1, "unban", "auth")])
        assert [(ban.scope, ban.until) for ban in ledger.due(T + 2)] == [("all", T + 90)]

    @given(st.lists(st.tuples(st.sampled_from("ilr"), st.integers(0, 5), st.integers(0, 50)), max_size=30))
    def test_due_is_what_was_imposed_and_neither_lifted_nor_over(
        self, steps: list[tuple[str, int, int]]
    ) -> None:
        """Whatever the order: the ledger's due bans are those of a plain dictionary."""
        ledger = Ledger(":memory:")
        model: dict[Network, float] = {}
        for number, (what, host, length) in enumerate(steps):
            at = T + number
            net = network(f"192.0.2.{host}")
            if what == "l":
                ledger.record([Lift(net, at, "unban")])
                model.pop(net, None)
            else:
                effect = Impose(Ban(net, at, at + length, 1, offence(f"192.0.2.{host}", at, at)), at)
                ledger.record([effect])
                model[net] = at + length
            assert {ban.network: ban.until for ban in ledger.due(at)} == {
                one: until for one, until in model.items() if until > at
            }
        ledger.close()


class TestFile:
    def test_only_its_owner_may_read_it(self, path: Path) -> None:
        """Mode 0600 for the database and its companions, also where an older file was open to others."""
        path.touch(0o644)
        path.chmod(0o644)
        ledger = Ledger(path)
        ledger.record([impose("192.0.2.7", T)])
        for one in path.parent.iterdir():
            assert stat.S_IMODE(one.stat().st_mode) == 0o600, one

    def test_another_version_is_refused_in_words(self, path: Path) -> None:
        """A file of another version, or one that is no database, is never written into."""
        sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close()
        with pytest.raises(LedgerError, match="version"):
            Ledger(path)
        path.write_bytes(b"this is no database, whatever its name says" * 40)
        with pytest.raises(LedgerError, match="not a database"):
            Ledger(path)

    def test_a_link_is_not_followed(self, path: Path) -> None:
        """Nobody makes the guard write into another file by putting a link where its ledger belongs."""
        path.symlink_to(path.parent / "elsewhere")
        with pytest.raises(LedgerError):
            Ledger(path)

    def test_a_killed_writer_leaves_a_usable_file(self, path: Path) -> None:
        """kill -9 in the middle of writing: every transaction is there whole or not at all."""
        script = (
            "import sys\n"
            "from mailguard.ledger import Ledger\n"
            "from mailguard.model import Ban, Impose, Network\n"
            "ledger = Ledger(sys.argv[1])\n"
            "for n in range(10**6):\n"
            "    ledger.record([Impose(Ban(Network(4 * n + k, 32), 1.0, 9e9), n) for k in range(4)])\n"
            "    if n == 20: print('go', flush=True)\n"
        )
        writer = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"go\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        ledger = Ledger(path)
        due = ledger.due(2.0)
        assert len(due) >= 80
        assert len(due) % 4 == 0
        assert ledger._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    @pytest.mark.kernel
    def test_a_full_disk_is_an_error_and_nothing_is_lost(self, tmp_path: Path) -> None:
        """On a real full file system recording fails as a whole, and works again when there is room."""
        script = f"""
import os, sys
from mailguard.ledger import Ledger, LedgerError
from mailguard.model import Ban, Impose, Network
disk = {str(tmp_path)!r}
ledger = Ledger(disk + "/ledger.db")
ledger.record([Impose(Ban(Network(1, 32), 1.0, 9e9), 1.0)])
filler = os.open(disk + "/filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filler, b"x" * 4096)
except OSError:
    pass
batch = [Impose(Ban(Network(n, 32), 1.0, 9e9), 1.0) for n in range(2, 5000)]
try:
    ledger.record(batch)
    sys.exit("the full disk went unnoticed")
except LedgerError as error:
    assert "full" in str(error), error
assert len(ledger.due(2.0)) == 1
try:
    ledger.checkpoint([("t", b"%d" % n, b"x" * 100) for n in range(5000)], {{"log": b"1"}})
    sys.exit("the full disk went unnoticed by the checkpoint")
except LedgerError:
    pass
assert list(ledger.restore()) == [] and ledger.positions() == {{}}
os.unlink(disk + "/filler")
os.close(filler)
ledger.record(batch)
ledger.checkpoint([("t", b"k", b"v")], {{"log": b"1"}})
assert len(ledger.due(2.0)) == 4999 and ledger.positions() == {{"log": b"1"}}
print("whole")
"""
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=8m none "$1" && shift && exec "$@"',
             "sh", str(tmp_path), sys.executable, "-c", script],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout == "whole\n", done.stderr

    def test_a_write_that_fails_is_an_error_of_ours(self, path: Path) -> None:
        """Where no small disk can be made, SQLite's own limit gives the same error, and the file stays
        whole."""
        ledger = Ledger(path)
        ledger.record([impose("192.0.2.7", T)])
        ledger._db.execute(f"PRAGMA max_page_count = {ledger._db.execute('PRAGMA page_count').fetchone()[0]}")
        with pytest.raises(LedgerError, match="full"):
            ledger.record([impose(f"198.51.100.{n}", T) for n in range(200)])
        assert len(ledger.due(T)) == 1
        ledger._db.execute("PRAGMA max_page_count = 1000000")
        ledger.record([impose(f"198.51.100.{n}", T) for n in range(200)])
        assert len(ledger.due(T)) == 201


class TestDeleted:
    def test_a_file_that_is_deleted_in_use_is_made_anew(self, path: Path) -> None:
        """Said once; nothing that was known is lost, and what comes after goes to the new file."""
        ledger = Ledger(path)
        ledger.record([impose("192.0.2.7", T)])
        ledger.checkpoint([("history", b"key", b"value")], {"log": b"here"})
        for name in path.parent.iterdir():
            name.unlink()
        with pytest.raises(LedgerError, match="was deleted"):
            ledger.record([impose("192.0.2.8", T)])
        ledger.record([impose("192.0.2.8", T)])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(ledger.due(T)) == 2
        ledger.close()
        again = Ledger(path)
        assert {ban.network for ban in again.due(T)} == {network("192.0.2.7"), network("192.0.2.8")}
        assert list(again.restore()) == [("history", b"key", b"value")]
        assert again.positions() == {"log": b"here"}
        again.close()

    def test_another_file_in_its_place_is_not_touched(self, path: Path) -> None:
        """A copy that somebody put back under the running guard: said, and left alone."""
        ledger = Ledger(path)
        path.rename(path.with_name("moved"))
        path.write_bytes(b"somebody's")
        for _ in range(2):
            with pytest.raises(LedgerError, match="stop the guard"):
                ledger.record([impose("192.0.2.8", T)])
        ledger.close()
        assert path.read_bytes() == b"somebody's"


class TestCheckpoint:
    def test_changes_add_up_and_positions_are_replaced(self, path: Path) -> None:
        """Rows replace rows of the same key, None deletes, and only the newest positions are there."""
        ledger = Ledger(path)
        ledger.checkpoint(
            [("a", b"1", b"x"), ("a", b"2", b"y"), ("b", b"1", b"z")], {"old": b"1", "log": b"1"}
        )
        ledger.checkpoint([("a", b"1", None), ("a", b"2", b"Y")], {"log": b"2"})
        again = Ledger(path)
        assert sorted(again.restore()) == [("a", b"2", b"Y"), ("b", b"1", b"z")]
        assert again.positions() == {"log": b"2"}

    def test_a_failed_checkpoint_leaves_the_former_one(self, path: Path) -> None:
        """Positions, rows and lines are one transaction: an error in the middle undoes all three."""
        ledger = Ledger(path)
        ledger.evidence([failure("192.0.2.7", T, 0)])
        ledger.checkpoint([("a", b"1", b"x")], {"log": b"1"})

        def broken() -> object:
            yield ("a", b"1", b"y")
            raise sqlite3.OperationalError("database or disk is full")

        ledger.evidence([failure("192.0.2.7", T + 1, 100)])
        with pytest.raises(LedgerError):
            ledger.checkpoint(broken(), {"log": b"2"})  # type: ignore[arg-type]
        assert list(Ledger(path).restore()) == [("a", b"1", b"x")]
        assert Ledger(path).positions() == {"log": b"1"}
        assert ledger.waiting == 1
        ledger.checkpoint([("a", b"1", b"z")], {"log": b"2"})
        assert len(Ledger(path).answers.why(network("192.0.2.7"), T)["lines"]) == 2

    def test_named_values_survive(self, path: Path) -> None:
        """The mode and the pause are remembered; None forgets."""
        ledger = Ledger(path)
        ledger.put("mode", "enforce")
        ledger.put("paused-until", 12.5)
        again = Ledger(path)
        assert (again.get("mode"), again.get("paused-until"), again.get("nothing")) == ("enforce", 12.5, None)
        again.put("mode", None)
        assert again.get("mode") is None


class TestEvidence:
    def test_why_tells_the_ban_its_lines_and_the_way_back(self, path: Path) -> None:
        """Rule, counters, lines, how often before, and the command that undoes it; for a network around it
        too."""
        ledger = Ledger(path)
        events = tuple(failure("192.0.2.7", T + n, 100 * n) for n in range(5))
        ledger.evidence(events)
        found = offence("192.0.2.7", T, T + 4, events)
        ledger.record([Impose(Ban(network("192.0.2.7"), T + 4, T + 604, 2, found), T + 4)])
        ledger.checkpoint([], {"log": b"1"})
        for asked in ("192.0.2.7", "192.0.2.0/24"):
            told = Ledger(path, readonly=True).answers.why(network(asked), T + 5)
            assert told["banned"] is True
            (ban,) = told["bans"]
            assert (ban["detector"], ban["count"], ban["ordinal"]) == ("password-guessing", 5, 2)
            (effect,) = told["history"]
            assert [line["line"] for line in effect["evidence"]] == [
                f"mx dovecot: imap-login: failed user=<{ledger.redactor.name('info')}>, rip=192.0.2.7"
            ] * 5
            assert len(told["lines"]) == 5
            assert told["undo"] == ["mailguard unban 192.0.2.7"]
        assert ledger.answers.why(network("192.0.2.8"), T)["banned"] is False

    def test_why_names_a_wider_ban(self, path: Path) -> None:
        """An address inside a banned network is told the network and how to lift it."""
        ledger = Ledger(path)
        ledger.record([impose("198.51.100.0/24", T), impose("2001:db8::/64", T)])
        assert ledger.answers.why(network("198.51.100.77"), T)["undo"] == ["mailguard unban 198.51.100.0/24"]
        assert ledger.answers.why(network("2001:db8::5"), T)["undo"] == ["mailguard unban 2001:db8::/64"]
        assert ledger.answers.why(network("2001:db8:0:1::5"), T)["banned"] is False

    def test_lines_are_not_kept_twice_after_a_crash(self, path: Path) -> None:
        """Lines reach the disk with the position behind them, so those read again were not there yet."""
        ledger = Ledger(path)
        ledger.evidence([failure("192.0.2.7", T, 0)])
        ledger.checkpoint([], {"log": b"1"})
        ledger.evidence([failure("192.0.2.7", T + 1, 100)])  # handed out, then the power fails
        again = Ledger(path)
        again.evidence([failure("192.0.2.7", T + 1, 100)])  # read again from position 1
        again.checkpoint([], {"log": b"2"})
        assert [line["position"] for line in again.answers.why(network("192.0.2.7"), T)["lines"]] == [0, 100]

    def test_a_source_keeps_its_newest_lines(self, path: Path) -> None:
        """However much one source does, it has its share of lines and no more."""
        ledger = Ledger(path)
        for batch in range(10):
            ledger.evidence([failure("192.0.2.7", T + batch, 100 * (40 * batch + n)) for n in range(40)])
            ledger.checkpoint([], {"log": b"%d" % batch})
        lines = ledger.answers.why(network("192.0.2.7"), T)["lines"]
        assert len(lines) == PER_SOURCE
        assert lines[-1]["position"] == 100 * 399

    def test_a_flood_of_new_sources_leaves_the_slow_attacker(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Single lines of ever new sources go first; two lines of one source stay."""
        monkeypatch.setattr(evidence_module, "ROWS", 2000)
        monkeypatch.setattr(evidence_module, "SLICE", 500)
        ledger = Ledger(path)
        ledger.evidence([failure("192.0.2.7", T, 1), failure("192.0.2.7", T + 7 * 3600, 3)])
        for batch in range(20):
            flood = [
                Event(
                    "auth_failure",
                    T + batch,
                    0x0A000000 + 500 * batch + n,
                    "r",
                    1,
                    {},
                    "log",
                    2 * n + 1,
                    line=b"x",
                )
                for n in range(500)
            ]
            ledger.evidence(flood)
            ledger.checkpoint([], {"log": b"%d" % batch})
        (rows,) = ledger._db.execute("SELECT count(*) FROM evidence").fetchone()
        assert rows <= 2500
        assert len(ledger.answers.why(network("192.0.2.7"), T)["lines"]) == 2

    def test_memory_between_checkpoints_is_bounded(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lines beyond the limit are dropped and counted."""
        monkeypatch.setattr(evidence_module, "WAITING", 100)
        ledger = Ledger(path)
        ledger.evidence([Event("auth_failure", T, n, "r", 1, {}, "log", n, line=b"x") for n in range(300)])
        assert ledger.counts() == {"evidence_dropped": 200, "evidence_waiting": 100}


class TestPersonalData:
    @pytest.mark.parametrize(
        ("line", "fields", "never"),
        [
            (b"imap-login: failed user=<hunter2>, rip=192.0.2.7", {"user": "hunter2"}, "hunter2"),
            (
                b"NOQUEUE: reject: to=<jane.doe@example.com>",
                {"recipient": "jane.doe@example.com"},
                "jane.doe",
            ),
            (b"login: user=<a>, method=PLAIN, a long tale", {"user": "a"}, "<a>"),
            ("login: user=<pässwörd>".encode(), {"user": "pässwörd"}, "pässwörd"),
            ("login: user=<パスワード>".encode("cp932"), {"user": "パスワード"}, "パスワード"),
            (b"login: user=<HUNTER2>", {"user": "hunter2"}, "HUNTER2"),
            (b"C: AUTH PLAIN AGpvaG4AaHVudGVyMg==", {}, "AGpvaG4"),
            (b"C: PASS hunter2", {}, "hunter2"),
            (b"auth: pam: given password: hunter2", {}, "hunter2"),
            (b"C: AUTHENTICATE PLAIN AGpvaG4AaHVudGVyMg==", {}, "AGpvaG4"),
            (b"C: a1 LOGIN john hunter2", {}, "hunter2"),
            (b"C: AGpvaG4AaHVudGVyMnh4eHh4eA== ", {}, "AGpvaG4"),
        ],
    )
    def test_names_and_secrets_never_reach_the_file(
        self, path: Path, line: bytes, fields: dict[str, str], never: str
    ) -> None:
        """Attempted names and recipients stand shortened beside a keyed hash; passwords do not stand at
        all."""
        ledger = Ledger(path)
        event = Event("auth_failure", T, address("192.0.2.7"), "r/x", 1, fields, "log", 0, line=line)
        ledger.evidence([event])
        ledger.record(
            [Impose(Ban(network("192.0.2.7"), T, T + 1, 1, offence("192.0.2.7", T, T, (event,))), T)]
        )
        ledger.checkpoint([], {})
        ledger.close()
        written = b"".join(one.read_bytes() for one in path.parent.iterdir())
        assert never.encode() not in written
        assert never.encode("cp932", "replace") not in written
        assert never not in str(Ledger(path).answers.why(network("192.0.2.7"), T))

    @pytest.mark.parametrize(
        "line",
        [
            b"warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
            b"NOQUEUE: reject: SPF pass for example.com; dkim=pass header.d=example.com",
            b"imap-login: Login aborted: Connection closed (auth failed, 1 attempts in 2 secs)",
        ],
    )
    def test_what_the_daemons_say_themselves_stays(self, line: bytes) -> None:
        """The words of a server that only look like a command are shown, or `why` would explain nothing."""
        assert Ledger(":memory:").redactor.line(line, {}) == line.decode()

    def test_full_keeps_names_but_no_secrets(self, path: Path) -> None:
        """`evidence = "full"` is the administrator's choice about names; passwords are not his to keep."""
        ledger = Ledger(path, evidence="full")
        line = b"login: user=<jane.doe> given password: hunter2"
        ledger.evidence([failure("192.0.2.7", T, 0, "jane.doe", line)])
        (told,) = ledger.answers.why(network("192.0.2.7"), T)["lines"]
        assert told["line"] == "login: user=<jane.doe> given password: <hidden>"

    def test_the_same_name_has_the_same_hash_on_one_host_only(self, tmp_path: Path) -> None:
        """The hash joins lines of one name; another host's ledger gives another one."""
        one, two = Ledger(tmp_path / "one"), Ledger(tmp_path / "two")
        assert (
            one.redactor.name("jane.doe")
            == one.redactor.name("jane.doe")
            == Ledger(tmp_path / "one").redactor.name("jane.doe")
        )
        assert one.redactor.name("jane.doe") != two.redactor.name("jane.doe")

    def test_a_user_of_this_server_may_be_shown(self, path: Path) -> None:
        """Names that exist here are no passwords: who asks `why` needs to see whom the attacker wants."""
        ledger = Ledger(path)
        ledger.redactor.known = {"jane.doe"}.__contains__
        assert ledger.redactor.line(b"user=<jane.doe>", {"user": "jane.doe"}) == "user=<jane.doe>"

    @given(st.binary(max_size=600))
    def test_no_control_character_comes_out(self, raw: bytes) -> None:
        """Whatever the bytes: the kept line is one line of printable text with a bounded length."""
        text = Ledger(":memory:", evidence="full").redactor.line(raw, {})
        assert len(text) <= 480
        assert not any(
            ord(one) < 32 or 0x7F <= ord(one) < 0xA0 or one in "\u2028\u2029\u202e" for one in text
        )
        text.encode("utf-8")

    def test_purge_and_retention(self, path: Path) -> None:
        """What is past its time goes by itself, one network's data on request; standing bans stay
        explained."""
        ledger = Ledger(path)
        ledger.evidence([failure("192.0.2.7", T, 0), failure("192.0.2.9", T, 100)])
        ledger.record([impose("192.0.2.7", T, None), impose("192.0.2.9", T, 60)])
        ledger.checkpoint([], {})
        assert ledger.purge(network=network("192.0.2.9")) == {"evidence": 1, "effects": 0}
        ledger.tidy(T + 86400 * 500)
        told = [row["network"] for row in ledger.answers.every_effect()]
        assert told == ["192.0.2.7"]
        assert ledger.answers.why(network("192.0.2.7"), T)["lines"] == []


def test_bans_are_paged_and_filtered(path: Path) -> None:
    """`bans` gives pages in the order of the bans, by detector, by time and by what an address is in."""
    ledger = Ledger(path)
    ledger.record([impose(f"198.51.100.{n}", T + n, 1e6) for n in range(50)])
    ledger.record([Impose(Ban(network("192.0.2.0/24"), T + 60, None, reason="mine"), T + 60)])
    first = ledger.answers.bans(T + 61, limit=30)
    rest = ledger.answers.bans(T + 61, after=first[-1]["id"], limit=30)
    assert [ban["network"] for ban in first + rest] == [f"198.51.100.{n}" for n in range(50)] + [
        "192.0.2.0/24"
    ]
    assert [ban["network"] for ban in ledger.answers.bans(T + 61, detector="")] == ["192.0.2.0/24"]
    assert len(ledger.answers.bans(T + 61, since=T + 45)) == 6
    assert [ban["network"] for ban in ledger.answers.bans(T + 61, contains=network("192.0.2.9"))] == [
        "192.0.2.0/24"
    ]
    assert ledger.answers.count(T + 61) == 51
    assert os.path.exists(path)


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_a_damaged_file_is_refused_with_what_to_do(path: Path, damage: str) -> None:
    """Who opens it is told what is wrong and what to do; nothing is changed by looking."""
    ledger = Ledger(path)
    ledger.checkpoint([("t", b"%d" % n, bytes(500)) for n in range(200)], {})
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(bytes(range(256)) * 64 if damage == "garbage" else whole[:512] + bytes(len(whole) - 512))
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="move it away to begin anew"):
        list(Ledger(path).restore())
    assert path.read_bytes() == before


def test_a_file_that_is_overwritten_in_use_is_said_with_what_to_do(path: Path) -> None:
    """The guard goes on without it; what it says names the way out."""
    ledger = Ledger(path)
    ledger.checkpoint([("t", b"1", b"x")], {})
    ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(path, "r+b") as file:
        file.write(bytes(range(256)) * 200)
    ledger._db.execute("PRAGMA cache_size = 0")

    def work() -> None:
        for n in range(50):
            ledger.checkpoint([("t", b"%d" % n, bytes(5000))], {"log": b"%d" % n})

    with pytest.raises(LedgerError, match="move it away to begin anew"):
        work()
    ledger.close()


def test_a_log_whose_path_is_no_utf8_is_written_and_read_back(path: Path) -> None:
    """A byte of a name that is no UTF-8: positions come back as they were, effects and lines say it."""
    log = os.fsdecode(b"/var/log/\xff\xe3.log")
    event = failure("192.0.2.7", T, 5)._replace(log=log)
    ledger = Ledger(path)
    found = offence("192.0.2.7", T, T, (event,))
    ledger.evidence([event])
    ledger.record([Impose(Ban(network("192.0.2.7"), T, T + 600.0, 1, offence=found), T)])
    ledger.record([Alert(Offence("growth", log, T, T, 1, ("growth",)), T, "alert")])
    ledger.checkpoint([], {"file:" + log: b"x", "file:/b": b"y"})
    ledger.close()
    again = Ledger(path)
    assert again.positions() == {"file:" + log: b"x", "file:/b": b"y"}
    assert again.answers.why(network("192.0.2.7"), T)["lines"][0]["log"] == "/var/log/\\udcff\\udce3.log"
    again.close()


def test_what_cannot_be_written_is_said(path: Path) -> None:
    """An error that is none of SQLite's is the ledger's trouble too: the thread that writes tries again."""
    ledger = Ledger(path)
    with pytest.raises(LedgerError, match="a value cannot be written"):
        ledger.put("mode", "\udcff")
    ledger.close()


def test_bans_written_down_by_a_clock_that_was_ahead(path: Path) -> None:
    """They begin now and last as long as was said; those of before, and permanent ones, keep their ends."""
    ledger = Ledger(path)
    year = 365 * 86400.0
    ledger.record([impose("192.0.2.1", 1000.0 + year), impose("192.0.2.2", 1000.0, 900.0)])
    ledger.record([impose("192.0.2.3", 1000.0 + year, None), impose("192.0.2.4", 1050.0, 900.0)])
    ledger.turn_back(1000.0)
    ends = {found.network: found.until for found in ledger.due(1001.0)}
    assert ends == {
        network("192.0.2.1"): 1600.0,
        network("192.0.2.2"): 1900.0,
        network("192.0.2.3"): None,
        network("192.0.2.4"): 1950.0,
    }
    ledger.record([Lift(network("192.0.2.1"), 1100.0, "unban")])
    assert network("192.0.2.1") not in {found.network for found in ledger.due(1101.0)}
    ledger.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_said_in_words(path: Path, seed: int) -> None:
    """Whatever is asked of it: the file, what is wrong with it, and what to do."""
    ledger = Ledger(path)
    for number in range(40):
        ledger.record([impose(f"192.0.2.{number}", T)])
        ledger.checkpoint([("history", b"%d" % number, b"value" * 300)], {f"log{number}": b"here" * 300})
    ledger.close()
    data = bytearray(path.read_bytes())
    spoilt = range(4096 * (1 + seed), len(data), 4096 * (1 + seed))
    for at in spoilt:
        data[at : at + 100] = bytes((at * 7 + n * 31) % 256 for n in range(100))
    path.write_bytes(data)
    said = []
    try:
        ledger = Ledger(path)
    except LedgerError as error:
        said.append(str(error))
    else:
        asks: list[Any] = [ledger.positions, lambda: list(ledger.restore()), lambda: ledger.due(T)]
        for ask in asks:
            try:
                ask()
            except LedgerError as error:
                said.append(str(error))
    assert said
    assert all(str(path) in words and "put a backup in its place" in words for words in said)
