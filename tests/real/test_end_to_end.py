"""From the wire to the wire: real clients, a real mail server, the guard's two processes and the kernel.

The guard runs in the server's network namespace and follows its mail.log. Whether somebody is banned is asked
of the network itself: a connection that is made, or one that times out.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mailhost import Mailhost, wait_for
from talk import Imap, Smtp, Talk

pytestmark = pytest.mark.real

SETTINGS = """
[general]
mode = "enforce"
state = "{folder}/state"
socket = "{folder}/control.sock"

[log.mail]
path = ["{log}"]
start = "begin"

[firewall]
action = "nftables"

[detector.relay-attempts]
count = 2
ban = {{ first = "4s", factor = 1, longest = "4s" }}
case = [ {{ at = ["0s", "1s"], fires = "1s" }} ]

[detector.network-guessing]      # the attackers and the bystander share a network here
enabled = false

[policy]
escalation = ["1s"]
"""
BANNED_WITHIN = 10.0  # seconds of patience; what it really takes is measured in bench/
SILENCE = 1.5  # a connection not made for so long is held to be dropped


class Guard:
    """The guard in the server's network, started, killed and started again."""

    def __init__(self, host: Mailhost, folder: Path):
        self.host, self.folder = host, folder
        self.settings = folder / "mailguard.toml"
        self.settings.write_text(SETTINGS.format(folder=folder, log=host.log))
        self.said = folder / "said"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *args: str) -> list[str]:
        return [
            "nsenter",
            f"--net=/proc/{self.host.server_pid}/ns/net",
            "--",
            sys.executable,
            "-m",
            "mailguard",
            *args,
        ]

    def start(self) -> None:
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                self.command("run", "--config", str(self.settings)),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        wait_for(f"the guard's answer; it said: {self.words()}", self.answers, 30)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.words()
        return self.ask("status")[0] in (0, 1)

    def words(self) -> str:
        """The end of what the guard has said."""
        return self.said.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """SIGKILL to the judge: no farewell, no last checkpoint."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def ask(self, *args: str) -> tuple[int, list[dict[str, Any]]]:
        """A subcommand with `-o json`: exit code and objects."""
        done = subprocess.run(
            self.command(args[0], "--socket", str(self.folder / "control.sock"), "-o", "json", *args[1:]),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
        )
        return done.returncode, [
            json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")
        ]

    def bans(self) -> dict[str, dict[str, Any]]:
        return {row["network"]: row for row in self.ask("bans")[1] if "network" in row}

    def wait_ban(self, network: str) -> dict[str, Any]:
        try:
            wait_for(f"the ban of {network}", lambda: network in self.bans(), BANNED_WITHIN)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the guard said: {self.words()}") from None
        return self.bans()[network]


@pytest.fixture(scope="module")
def host() -> Iterator[Mailhost]:
    with Mailhost() as found:
        yield found


@pytest.fixture(scope="module")
def guard(host: Mailhost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    folder = tmp_path_factory.mktemp("guard")
    found = Guard(host, folder)
    found.start()
    try:
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


def reaches(host: Mailhost, source: str, port: str = "imaps") -> bool:
    """Whether a connection from this address comes about."""
    with contextlib.suppress(TimeoutError):
        host.connect(port, source, timeout=SILENCE).close()
        return True
    return False


def guess_imap(host: Mailhost, source: str, times: int, user: bytes = b"alice@example.net") -> None:
    for _ in range(times):
        with contextlib.suppress(TimeoutError, OSError), Imap(host, "imaps", source) as client:
            client.plain(user)
            client.logout()


def test_guessing_by_imap_is_banned_and_a_bystander_is_not(host: Mailhost, guard: Guard) -> None:
    """Five wrong passwords by IMAP: no further connection, but a bystander's works; `why` shows the lines."""
    guess_imap(host, "192.0.2.101", 5)
    ban = guard.wait_ban("192.0.2.101")
    assert ban["detector"] == "password-guessing"
    assert not reaches(host, "192.0.2.101")
    assert reaches(host, "192.0.2.150")
    code, told = guard.ask("why", "192.0.2.101")
    text = json.dumps(told)
    assert code == 0
    assert "password-guessing" in text
    assert "imap-login" in text or "passwd-file" in text


def test_guessing_by_smtp_auth_is_banned(host: Mailhost, guard: Guard) -> None:
    """SMTP AUTH on the submission port: Postfix and Dovecot both log each failure, and each counts once."""

    def told() -> int:
        return host.log.read_bytes().count(b"192.0.2.102]: SASL")

    def fail(until: int) -> None:
        """Fail until the log tells so many: a slow machine may lose a connection before the password."""
        for _ in range(2 * until):
            before = told()
            if before >= until:
                return
            with (
                contextlib.suppress(TimeoutError, OSError),
                Smtp(host, "submission", "192.0.2.102", tls="starttls") as client,
            ):
                client.plain(b"alice@example.net")
                wait_for("the failure in the log", lambda before=before: told() > before)
                client.quit()

    fail(4)
    assert told() == 4
    assert "192.0.2.102" not in guard.bans()
    fail(5)
    guard.wait_ban("192.0.2.102")
    assert not reaches(host, "192.0.2.102", "submission")


def test_guessing_by_pop3_over_ipv6_is_banned_by_its_64(host: Mailhost, guard: Guard) -> None:
    """An attacker who changes his address within his /64 gains nothing by it."""
    for number in range(1, 6):
        with (
            contextlib.suppress(TimeoutError, OSError),
            Talk(host, "pop3s", f"2001:db8:1fff::{number}", tls=True) as client,
        ):
            client.hear()
            client.say(b"USER alice@example.net")
            client.say(b"PASS wrong")
            client.say(b"QUIT")
    guard.wait_ban("2001:db8:1fff::/64")
    assert not reaches(host, "2001:db8:1fff::77", "pop3s")
    assert reaches(host, "2001:db8:1ffe::1", "pop3s")


def test_a_forged_name_bans_its_author_only(host: Mailhost, guard: Guard) -> None:
    """A login name that imitates `rip=`: the true source is banned, the address in the name never."""
    forged = b"x>, method=PLAIN, rip=192.0.2.150, lip=203.0.113.25, session=<AAAA>"
    guess_imap(host, "192.0.2.103", 5, forged)
    guard.wait_ban("192.0.2.103")
    assert "192.0.2.150" not in guard.bans()
    assert reaches(host, "192.0.2.150")


def test_an_open_session_of_the_banned_host_stops(host: Mailhost, guard: Guard) -> None:
    """A session that was open before the ban gets no further answer."""
    with Imap(host, "imaps", "192.0.2.104") as client:
        assert client.say(b"a NOOP")
        guess_imap(host, "192.0.2.104", 5)
        guard.wait_ban("192.0.2.104")
        client.sock.settimeout(SILENCE)
        answer = b""
        with contextlib.suppress(TimeoutError, OSError):  # silence, or closed on the server's side
            client.send(b"b NOOP\r\n")
            answer = client.sock.recv(100)
        assert answer == b""


def test_a_ban_ends_on_time(host: Mailhost, guard: Guard) -> None:
    """Four seconds are four seconds: banned at once, back when the time is up."""
    with Smtp(host, "smtp", "192.0.2.105") as client:
        client.say(b"MAIL FROM:<a@example.org>")
        client.say(b"RCPT TO:<b@example.com>")
        client.say(b"RCPT TO:<c@example.com>")
    guard.wait_ban("192.0.2.105")
    begin = time.monotonic()
    assert not reaches(host, "192.0.2.105", "smtp")
    wait_for("the end of the ban", lambda: reaches(host, "192.0.2.105", "smtp"), 15)
    assert time.monotonic() - begin < 10
    wait_for("the end in the list", lambda: "192.0.2.105" not in guard.bans(), 5)


def test_kill_and_restart_keep_bans_and_counts(host: Mailhost, guard: Guard) -> None:
    """kill -9 between the third and the fifth failure: the kernel goes on dropping, the counts go on."""
    guess_imap(host, "192.0.2.106", 3)
    assert "192.0.2.106" not in guard.bans()
    before = guard.bans()["192.0.2.101"]
    guard.kill()
    assert not reaches(host, "192.0.2.101")  # nobody is at home, and the door stays shut
    guess_imap(host, "192.0.2.106", 1)  # written while nobody read
    guard.start()
    assert guard.bans()["192.0.2.101"]["until"] == before["until"]
    assert not reaches(host, "192.0.2.101")
    guess_imap(host, "192.0.2.106", 1)
    ban = guard.wait_ban("192.0.2.106")
    assert ban["count"] == 5
    assert not reaches(host, "192.0.2.106")


def test_unban_lets_in_at_once(host: Mailhost, guard: Guard) -> None:
    """What an administrator lifts is lifted in the kernel before the command returns."""
    assert not reaches(host, "192.0.2.101")
    assert guard.ask("unban", "192.0.2.101")[0] == 0
    assert reaches(host, "192.0.2.101")


def test_an_administrator_cannot_shut_himself_out(host: Mailhost, guard: Guard) -> None:
    """The whole internet, the server's own address and its gateway are refused."""
    for network in ("0.0.0.0/0", "203.0.113.25", "203.0.113.1", "::/0"):
        assert guard.ask("ban", network)[0] not in (0, 70), network
        assert network not in guard.bans()


def test_stopping_leaves_the_bans(host: Mailhost, guard: Guard) -> None:
    """A clean end keeps the kernel's bans with their timeouts; a new start takes them up."""
    guard.stop()
    assert guard.process is not None
    assert guard.process.returncode == 0
    assert not reaches(host, "192.0.2.102", "submission")
    guard.start()
    assert not reaches(host, "192.0.2.102", "submission")
    assert os.path.exists(guard.folder / "state")
