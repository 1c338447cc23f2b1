"""The stand-in's tables and counters: what the real server reads, counts and appends."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mailguard.clock import ManualClock
from tests.epost_server import Options, Server
from tests.epost_server.effect import ACCEPT, LOCAL_ONLY, NORMAL, REFUSE, verdict
from tests.epost_server.stamps import filetime, of_filetime
from tests.epost_server.tables import FREE, REFUSED, WHITE, RejectTable

NOW = 1753278151.7  # 2025-07-23 22:42:31 in Japan
PEOPLE = {"sato": "himitsu"}


def server(folder: Path, **options: object) -> tuple[Server, ManualClock]:
    clock = ManualClock(NOW)
    chosen = {"accounts": PEOPLE, "line_end": b"\n", **options}
    return Server(folder / "spool", folder / "program", clock, Options(**chosen)), clock  # type: ignore[arg-type]


def decides(folder: Path, data: bytes, address: str, lock: float = 0.0, *, iplock: bool = False) -> str:
    path = folder / "rejectsmtpip.dat"
    path.write_bytes(data)
    return RejectTable(path).verdict(address, NOW, lock, iplock_rows=iplock)


# ---------------------------------------------------------------- reading


def test_filetime() -> None:
    """The page's own example."""
    assert int(of_filetime(133977517517477385)) == int(NOW)
    assert of_filetime(filetime(NOW)) == pytest.approx(NOW, abs=1e-3)


@pytest.mark.parametrize(
    ("data", "address", "expected"),
    [
        (b"192.0.2.15\ttrue\n192.0.2.*\t\n", "192.0.2.15", WHITE),
        (b"192.0.2.*\t\n192.0.2.15\ttrue\n", "192.0.2.15", REFUSED),
        (b"192.0.2.*\n", "192.0.20.1", FREE),
        (b"192.0.2*\n", "192.0.20.1", REFUSED),
        (b"*\n", "2001:db8::1", REFUSED),
        (b"*.*.*.*\n", "198.51.100.1", REFUSED),
        (b"198.51.100.8", "198.51.100.8", REFUSED),
        (b"198.51.100.8\t0\n", "198.51.100.8", REFUSED),
        (b"198.51.100.8\t'note\n", "198.51.100.8", REFUSED),
        (b"'198.51.100.8\t\n", "198.51.100.8", FREE),
        (b"203.0.113.0/24\t\n", "203.0.113.200", REFUSED),
        (b"2001:db8::/32\n", "2001:db8:1::9", REFUSED),
        (b"2001:DB8::1\n", "2001:db8::1", FREE),
        (b"what is this\n\xff\xfe\n203.0.113.0/99\n198.51.100.8\tyes\n", "198.51.100.8", FREE),
        (b"what is this\n\xff\xfe\n203.0.113.0/99\n198.51.100.8\n", "198.51.100.8", REFUSED),
        (b"198.51.100.8\r\n", "198.51.100.8", REFUSED),
    ],
)
def test_first_live_row_decides(tmp_path: Path, data: bytes, address: str, expected: str) -> None:
    """Rows as text, and damaged ones that disable only themselves."""
    assert decides(tmp_path, data, address) == expected


def test_a_row_ends_with_the_lock_time(tmp_path: Path) -> None:
    row = b"198.51.100.8\t%d\n" % filetime(NOW - 600)
    assert decides(tmp_path, row, "198.51.100.8", 601) == REFUSED
    assert decides(tmp_path, row, "198.51.100.8", 599) == FREE
    assert decides(tmp_path, row, "198.51.100.8", 0) == REFUSED
    later = b"198.51.100.8\t%d\n" % filetime(NOW + 3600)
    assert decides(tmp_path, later, "198.51.100.8", 60) == REFUSED


def test_rows_of_the_ip_lock_out_count_only_there(tmp_path: Path) -> None:
    row = b"198.51.100.8\t%d\tiplock\n" % filetime(NOW)
    assert decides(tmp_path, row, "198.51.100.8", 60) == FREE
    assert decides(tmp_path, row, "198.51.100.8", 60, iplock=True) == REFUSED


def test_a_long_line_is_two_rows(tmp_path: Path) -> None:
    """What stands beyond 127 bytes is a row of its own."""
    line = b"192.0.2.1\t'" + b"x" * 116 + b"198.51.100.8\n"
    assert decides(tmp_path, line, "192.0.2.1") == REFUSED
    assert decides(tmp_path, line, "198.51.100.8") == REFUSED


# ---------------------------------------------------------------- locking out


def test_the_row_after_failed_logins(tmp_path: Path) -> None:
    """Counted in authlock, then the row, no counter, the session cut, and nobody let in until its end."""
    made, clock = server(tmp_path, auth_lock_out=3, auth_lock_out_time=10)
    counter = tmp_path / "spool/authlock/203.0.113.9.smtp"
    for number in (1, 2, 3):
        session = made.smtp("203.0.113.9")
        session.send("EHLO x")
        session.send("AUTH PLAIN AGFkbWluAHg=")
        assert session.open == (number < 3)
        if session.open:
            assert counter.read_bytes() == str(number).encode()
            session.hang_up()
    assert not counter.exists()
    table = tmp_path / "program/rejectsmtpip.dat"
    assert table.read_bytes() == b"203.0.113.9\t%d\n" % filetime(NOW)
    accepted = (made.logs.folder("acceptlog") / "250723.log").read_bytes()
    assert made.smtp("203.0.113.9").greeting == []
    assert (made.logs.folder("acceptlog") / "250723.log").read_bytes() == accepted
    assert (
        (made.logs.folder("receivelog") / "250723.log")
        .read_bytes()
        .endswith(b", reject address = [203.0.113.9]\n")
    )
    clock.set(NOW + 601)
    assert made.smtp("203.0.113.9").open


def test_a_success_clears_the_counter_of_the_account(tmp_path: Path) -> None:
    made, _ = server(tmp_path, auth_lock_out=3)
    session = made.smtp("2001:db8::9")
    session.send("EHLO x")
    session.send("AUTH PLAIN AHNhdG8AeA==")
    counter = tmp_path / "spool/inbox/sato/2001$db8$$9.smtp"
    assert counter.read_bytes() == b"1"
    session.send("AUTH PLAIN AHNhdG8AaGltaXRzdQ==")
    assert not counter.exists()


def test_the_row_after_many_connections(tmp_path: Path) -> None:
    """A row with `iplock`; only record 1 for those that come after; silence begins the count anew."""
    made, clock = server(tmp_path, ip_lock_out=5, ip_lock_out_time=60, ip_lock_out_sample=2)
    for _ in range(4):
        made.smtp("203.0.113.9").hang_up()
    clock.set(NOW + 3)
    for number in range(5):
        session = made.smtp("203.0.113.9")
        assert session.open == (number < 4)
    assert session.greeting == ["421 4.7.0 example.jp exceeds an accepting limit."]
    table = tmp_path / "program/rejectsmtpip.dat"
    assert table.read_bytes() == b"203.0.113.9\t%d\tiplock\n" % filetime(NOW + 3)
    before = (made.logs.folder("acceptlog") / "250723.log").read_bytes().count(b"\n")
    assert not made.smtp("203.0.113.9").open
    assert (made.logs.folder("acceptlog") / "250723.log").read_bytes().count(b"\n") == before + 1
    clock.set(NOW + 64)
    assert made.smtp("203.0.113.9").open


def test_a_white_row_keeps_from_being_locked_out(tmp_path: Path) -> None:
    made, _ = server(tmp_path, auth_lock_out=2, ip_lock_out=3)
    (tmp_path / "program/rejectsmtpip.dat").write_bytes(b"192.0.2.*\ttrue\n")
    for _ in range(9):
        session = made.smtp("192.0.2.1")
        session.send("EHLO x")
        session.send("AUTH PLAIN AGFkbWluAHg=")
        assert session.open
    assert (tmp_path / "program/rejectsmtpip.dat").read_bytes() == b"192.0.2.*\ttrue\n"


def test_each_service_has_its_table(tmp_path: Path) -> None:
    made, _ = server(tmp_path, auth_lock_out=1)
    made.imap("203.0.113.9").send("a LOGIN admin x")
    session = made.pop3("203.0.113.10")
    session.send("USER admin")
    session.send("PASS x")
    assert (tmp_path / "program/rejectimapip.dat").read_bytes().startswith(b"203.0.113.9\t")
    assert (tmp_path / "program/rejectpopip.dat").read_bytes().startswith(b"203.0.113.10\t")
    assert not (tmp_path / "program/rejectsmtpip.dat").exists()
    assert made.imap("203.0.113.9").greeting == []
    assert made.imap("203.0.113.10").open


_MANY = """
import sys
import threading
from pathlib import Path
from mailguard.clock import ManualClock
from tests.epost_server import Options, Server
folder, number = Path(sys.argv[1]), int(sys.argv[2])
options = Options(auth_lock_out=2, contexts=0x1000 + number * 0x100000)
server = Server(folder / "spool", folder / "program", ManualClock(1e9), options)
for at in range(40):
    for _ in range(2):
        session = server.smtp(f"203.0.{number}.{at}")
        session.send("EHLO x")
        session.send("AUTH PLAIN AGFkbWluAHg=")
"""


def test_several_processes_at_once(tmp_path: Path) -> None:
    """Nothing is lost or torn when several of them append to one table."""
    root = Path(__file__).resolve().parents[2]
    running = [
        subprocess.Popen([sys.executable, "-c", _MANY, str(tmp_path), str(number)], cwd=root)
        for number in range(3)
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    lines = (tmp_path / "program/rejectsmtpip.dat").read_bytes().split(b"\r\n")
    assert lines.pop() == b""
    addresses = [line.partition(b"\t")[0].decode() for line in lines]
    assert sorted(addresses) == sorted(f"203.0.{number}.{at}" for number in range(3) for at in range(40))


# ---------------------------------------------------------------- effect.dat


@pytest.mark.parametrize(
    ("lines", "address", "sender", "logged_in", "expected"),
    [
        ("#<> default\n#blank false\n", "192.0.2.1", None, False, REFUSE),
        ("#<> default\n#blank false\n", "192.0.2.1", "", False, NORMAL),
        ("192.0.2.1 false\n", "192.0.2.1", "a@example.net", False, REFUSE),
        ("192.0.2.1 false\n", "192.0.2.10", "a@example.net", False, NORMAL),
        ("192.0.2.1\tfalse\n", "192.0.2.1", "a@example.net", False, NORMAL),
        ("192.0.2.0/24 FALSE\n", "192.0.2.1", "a@example.net", False, REFUSE),
        ("192.0.2.1 false\n", "192.0.2.1", "a@example.net", True, NORMAL),
        ("192.0.2.1 false,0\n", "192.0.2.1", "a@example.net", True, REFUSE),
        ("'192.0.2.1 false\n 192.0.2.1 false\n", "192.0.2.1", "a@example.net", False, NORMAL),
        ("10.* true\n", "10.1.2.3", "a@example.net", False, ACCEPT),
        ("example.net false\n", "192.0.2.1", "a@EXAMPLE.net", False, REFUSE),
        ("spam*@example.net false\n", "192.0.2.1", "spam12@example.net", False, REFUSE),
        ("*.*.*.* norelay,2\n", "192.0.2.1", "a@example.net", False, LOCAL_ONLY),
        ("*.*.*.* norelay,2\n", "192.0.2.1", "a@example.net", True, NORMAL),
        ("192.0.2.1 default\n192.0.2.* false\n", "192.0.2.1", "a@example.net", False, NORMAL),
        ("2001:db8::/32 false\n", "2001:db8::5", "a@example.net", False, REFUSE),
        ("#nodomain false\n", "192.0.2.1", "root", False, REFUSE),
        ("#host false\n", "192.0.2.1", "root@pc", False, REFUSE),
    ],
)
def test_effect(
    tmp_path: Path, lines: str, address: str, sender: str | None, logged_in: bool, expected: str
) -> None:
    """First match decides."""
    path = tmp_path / "effect.dat"
    path.write_text(lines, newline="")
    assert verdict(path, address, sender, logged_in) == expected


def test_effect_at_mail_from_and_personally_at_rcpt(tmp_path: Path) -> None:
    """A client that only guesses passwords never meets it."""
    made, _ = server(tmp_path)
    made.effect.write_bytes(b"203.0.113.9 false\n")
    made.personal_effect("sato").write_bytes(b"example.net false\n")
    session = made.smtp("203.0.113.9")
    session.send("EHLO x")
    assert session.send("AUTH PLAIN AGFkbWluAHg=") == ["535 5.7.0 Authentication failed."]
    refusal = ["550 5.1.7 Please, mail from a valid IP or Domain address."]
    assert session.send("MAIL FROM:<a@example.net>") == refusal
    session.hang_up()
    assert (
        (made.logs.folder("acceptlog") / "250723.log")
        .read_bytes()
        .endswith(b", a@example.net,<B0000000000>,abort\n")
    )
    session = made.smtp("198.51.100.7")
    assert session.send("MAIL FROM:<a@example.net>")[0].startswith("250 ")
    assert session.send("RCPT TO:<sato@example.jp>") == refusal


def test_several_threads_at_once(tmp_path: Path) -> None:
    """Connections of one server that run side by side: whole lines, no context used twice at a time."""
    made, _ = server(tmp_path, build=(2026, 6))
    open_contexts: set[int] = set()
    twice: list[int] = []
    lock = threading.Lock()

    def talk(number: int) -> None:
        for at in range(60):
            session = made.smtp(f"203.0.{number}.{at}")
            with lock:
                twice.extend({session.context} & open_contexts)
                open_contexts.add(session.context)
            session.send("EHLO x")
            session.send("AUTH PLAIN AGFkbWluAHg=")
            with lock:
                open_contexts.discard(session.context)
            session.hang_up()

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert twice == []
    lines = (made.logs.folder("acceptlog") / "250723.log").read_bytes().splitlines()
    assert len(lines) == 2 * 4 * 60
    assert all(line.endswith((b"Client accept now.", b"[failed],<B0000000000>,abort")) for line in lines)
    made.close()
