"""Writes samples/logs anew: genuine lines of a real mail server under attack, one file a story.

Usage, as root: `python tests/real/capture.py [NAME ...]`. The golden effects beside the logs are renewed
afterwards with `pytest --renew`; both are then read in review. Each story has its own addresses, and no
network holds five guessers, so that the logs can be read together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import attacks_protocol as protocol
from attacks import HOSTILE_HELOS, HOSTILE_NAMES
from attacks_dovecot import starttls
from mailhost import Mailhost, wait_for
from talk import Imap, Smtp, Talk, b64

SAMPLES = Path(__file__).parents[2] / "samples" / "logs"
ALICE, BOB = b"alice@example.net", b"bob@example.net"
NAMES = (
    b"yamamoto",
    b"keiri@example.net",
    b"tanaka@example.net",
    b"suzuki",
    b"info@example.net",
    b"root",
    b"admin",
)


def _guess(host: Mailhost, port: str, source: str, users: tuple[bytes, ...], tls: str = "") -> None:
    for user in users:
        with Smtp(host, port, source, tls=tls) as c:
            c.login(user)
            c.quit()


def _imap(host: Mailhost, source: str, user: bytes, *passwords: bytes) -> None:
    with Imap(host, "imaps", source) as c:
        for password in passwords:
            c.literal(user, password)
        c.logout()


def _send(host: Mailhost, source: str, sender: bytes, recipient: bytes) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(sender, recipient)
        c.quit()


def _submit(host: Mailhost, source: str, user: bytes, recipient: bytes) -> None:
    with Smtp(host, "submission", source, tls="starttls") as c:
        c.plain(user, b"secret of " + user.partition(b"@")[0])
        c.mail(user, recipient)
        c.quit()


def brute_force(host: Mailhost) -> None:
    """Passwords guessed over SMTP AUTH, submission, IMAP, POP3 and ManageSieve, beside people at work."""
    _submit(host, "203.0.113.140", ALICE, b"partner@out.example.org")
    _guess(host, "smtp", "192.0.2.61", NAMES)
    _imap(host, "203.0.113.141", BOB, b"secret of bob")
    _guess(host, "submission", "2001:db8:1062::62", (ALICE,) * 6, tls="starttls")
    for number in range(1, 7):
        _imap(host, f"2001:db8:1001::{number}", ALICE, b"password%d" % number)
    _imap(host, "192.0.2.63", BOB, *[b"guess%d" % number for number in range(6)])
    _send(host, "203.0.113.142", b"friend@example.org", ALICE)
    for user in NAMES[:6]:
        with Talk(host, "pop3s", "198.51.100.64", tls=True) as c:
            c.hear()
            for line in (b"USER " + user, b"PASS 123456", b"QUIT"):
                c.say(line)
    for _ in range(6):
        starttls("sieve", b'AUTHENTICATE "PLAIN" "' + b64(b"\0alice@example.net\0wrong") + b'"', b"LOGOUT")(
            host, "2001:db8:1065::65"
        )
    with Smtp(host, "submission", "2001:db8:1066::66") as c:  # before TLS: refused unread
        for _ in range(5):
            c.say(b"AUTH PLAIN " + b64(b"\0alice@example.net\0wrong"))
        c.quit()


def harvest(host: Mailhost) -> None:
    """Recipients that do not exist, relay attempts, VRFY; and a partner whose bounces go astray."""
    people = [
        b"%s@example.net" % name
        for name in (b"nakamura", b"kobayashi", b"mori", b"ito", b"kato", b"ono", b"abe")
    ]
    with Smtp(host, "smtp", "192.0.2.71", helo=b"client7.example.com") as c:
        c.mail(b"promo@example.org", *people)
        c.quit()
    _send(host, "203.0.113.143", b"friend@example.org", BOB)
    for number in range(6):
        _send(host, "192.0.2.72", b"promo@example.org", b"someone%d@example.com" % number)
    with Smtp(host, "smtp", "192.0.2.73") as c:
        for person in people:
            c.say(b"VRFY " + person)
        c.quit()
    for person in people:  # backscatter: the sender is empty
        _send(host, "203.0.113.144", b"", person)
    with Smtp(host, "smtp", "2001:db8:1002::73", helo=b"h" * 700) as c:
        c.mail(b'"x> to=<b> proto=ESMTP helo=<h"@example.org', *people)
        c.quit()
    for number in range(12):
        with Smtp(host, "dnsbl", "192.0.2.243") as c:
            c.mail(b"promo%d@example.org" % number, ALICE)
            c.quit()


def injection(host: Mailhost) -> None:
    """Names, HELOs and addresses that imitate log lines; the address in them, 203.0.113.99, is innocent."""
    for name in HOSTILE_NAMES.values():
        with Smtp(host, "smtp", "192.0.2.81") as c:
            c.plain(name)
            c.quit()
        _imap(host, "198.51.100.81", name, b"wrong")
    for helo in HOSTILE_HELOS.values():
        with Smtp(host, "smtp", "192.0.2.84", helo=helo) as c:
            c.mail(
                b'"x> to=<b> proto=ESMTP helo=<h"@example.org',
                b'"]: 554 x [203.0.113.99]; from=<a"@example.net',
            )
            c.quit()
    with Smtp(host, "tables", "192.0.2.220") as c:
        c.mail(b"friend@example.org", ALICE)
        c.quit()
    with Smtp(host, "tables", "192.0.2.85") as c:
        c.mail(
            b"a@example.org", ALICE, body=b"Subject: reject me from x[203.0.113.99]; from=<a>\r\n\r\nx\r\n"
        )
        c.quit()


def probes(host: Mailhost) -> None:
    """Other protocols, early talkers, pipelining, TLS junk, the server's own limits; postscreen."""
    for deed in (protocol.http, protocol.pipelining, protocol.header_as_command, protocol.too_many_errors,
                 protocol.bad_address, protocol.long_command):  # fmt: skip
        deed(host, "192.0.2.91")
    for _ in range(3):
        protocol.tls_junk_smtps(host, "192.0.2.92")
        protocol.gone_after_ehlo(host, "192.0.2.92")
    protocol.rate_connections(host, "192.0.2.93")
    protocol.rate_logins(host, "192.0.2.94")
    for number in range(5):
        protocol.screen_pregreet(host, f"2001:db8:1003::{number + 1}")
    protocol.screen_hangup(host, "192.0.2.95")
    protocol.screen_pipelining(host, "192.0.2.96")
    protocol.screen_bare_newline(host, "192.0.2.96")
    with Smtp(host, "postscreen", "192.0.2.244") as c:
        c.mail(b"promo@example.org", ALICE)
        c.quit()
    for port in ("imaps", "pop3s"):
        with Talk(host, port, "192.0.2.92") as c:
            c.send(b"GET / HTTP/1.0\r\n\r\n")
            c.until_end()


def innocent(host: Mailhost) -> None:
    """What must ban nobody: monitors, greylisting, a missing reverse name, a client set up wrong, a server at
    fault, a phone with too many connections, mail for an unknown LMTP user, a user with an old password.
    """
    for _ in range(6):
        protocol.gone_at_connect(host, "203.0.113.150")
        with Smtp(host, "tables", "203.0.113.151") as c:
            c.mail(b"friend@example.org", b"later@example.net")
            c.quit()
        with Smtp(host, "strict", "203.0.113.152") as c:
            c.mail(b"friend@example.org", ALICE)
            c.quit()
        with Smtp(host, "faulty", "203.0.113.153") as c:
            c.plain(ALICE, b"secret of alice")
            c.quit()
        with Talk(host, "imap", "203.0.113.154") as c:
            c.hear()
            c.say(b"a LOGIN alice@example.net {6}")
            c.say(b"wrong!")
            c.say(b"a LOGOUT")
        _imap(host, "203.0.113.155", b"alice@broken.example.net", b"secret of alice")
        _send(host, "203.0.113.156", b"friend@example.org", b"nosuch@lmtp.example.net")
    clients = [Imap(host, "imaps", "203.0.113.157") for _ in range(3)]
    for client in clients:
        client.literal(BOB, b"secret of bob")
    for client in clients:
        client.logout()
    for password in (b"secret of bob", b"old", b"old", b"old", b"old", b"old", b"old"):
        _imap(host, "203.0.113.158", BOB, password)


def quiet_dovecot(host: Mailhost) -> None:
    """Dovecot's own log file, without auth_verbose: only the line of each session tells."""
    for number in range(4):
        with Imap(host, "imaps-quiet", "2001:db8:1061::61") as c:
            c.literal(NAMES[number], b"wrong")
            c.literal(BOB, b"wrong")
            c.logout()
    for name in ("dovecot-tail", "dovecot-auth", "next-line", "line-separator", "brackets"):
        with Imap(host, "imaps-quiet", "198.51.100.62") as c:
            c.literal(HOSTILE_NAMES[name], b"wrong")
            c.logout()
    with Imap(host, "imaps-quiet", "203.0.113.160") as c:
        c.literal(ALICE, b"secret of alice")
        c.logout()


def cut_program(host: Mailhost) -> None:
    """RFC 5424 as rsyslog writes it: the program's name is cut at its first slash."""
    _guess(host, "smtps", "2001:db8:1071::71", NAMES, tls="wrap")
    with Smtp(host, "smtp", "198.51.100.72", helo=b"client7.example.com") as c:
        c.mail(b"promo@example.org", *[b"nosuch%d@example.net" % number for number in range(7)])
        c.quit()
    _submit(host, "203.0.113.161", BOB, b"partner@out.example.org")


def iso_stamps(host: Mailhost) -> None:
    """RFC 3339 stamps with a zone, Debian's default: a spray over names, then a right guess."""
    for user in NAMES[:5]:
        _imap(host, "2001:db8:1075::75", user, b"Spring2026")
    _guess(host, "smtp", "198.51.100.76", NAMES[:6])
    _imap(host, "2001:db8:1075::75", BOB, b"secret of bob")


STORIES: dict[str, tuple[Callable[[Mailhost], None], str]] = {
    "brute-force": (brute_force, "mail.log"),
    "harvest": (harvest, "mail.log"),
    "injection": (injection, "mail.log"),
    "probes": (probes, "mail.log"),
    "innocent": (innocent, "mail.log"),
    "dovecot": (quiet_dovecot, "dovecot.log"),
    "rfc5424": (cut_program, "mail-5424.log"),
    "rfc3339": (iso_stamps, "mail-3339.log"),
}


def settle(path: Path) -> None:
    """Wait until a log has not grown for a second."""
    seen = [0.0, -1.0]

    def still() -> bool:
        size = float(path.stat().st_size)
        if size != seen[1]:
            seen[:] = [time.monotonic(), size]
        return time.monotonic() - seen[0] > 1.0

    wait_for("the log to settle", still, 60)


def main(names: list[str]) -> None:
    SAMPLES.mkdir(parents=True, exist_ok=True)
    with Mailhost() as host:
        settle(host.log)
        for name in names or STORIES:
            story, log = STORIES[name]
            path = host.root / log
            before = path.stat().st_size
            story(host)
            settle(path)
            lines = path.read_bytes()[before:].split(b"\n")[:-1]
            own = str(host.root).encode()
            (SAMPLES / f"{name}.log").write_bytes(b"".join(line + b"\n" for line in lines if own not in line))
            print(f"{name}.log: {len(lines)} lines")


if __name__ == "__main__":
    main(sys.argv[1:])
