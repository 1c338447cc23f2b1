"""What clients do to Dovecot: IMAP, POP3, ManageSieve and its own submission service. Adds to
`attacks.ACTS`.

Most deeds are done twice: to the Dovecot that logs every failed login singly (auth_verbose) through
syslog, and to the quiet one that writes its own file, keeps names as they come, and says only how many
attempts there were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from attacks import HOSTILE_NAMES, act
from mailhost import Mailhost
from talk import Imap, Talk, b64

_ALICE, _BOB, _WRONG = b"alice@example.net", b"bob@example.net", b"wrong"
_GOOD = {_ALICE: b"secret of alice", _BOB: b"secret of bob"}
_PLAIN = b64(b"\0alice@example.net\0wrong")
_HTTP = b"GET / HTTP/1.0\r\n\r\n"

Run = Callable[[Mailhost, str], None]


def _imap(
    port: str, *attempts: tuple[bytes, bytes], tls: str = "wrap", end: bool = True, sasl: bool = False
) -> Run:
    def run(host: Mailhost, source: str) -> None:
        with Imap(host, port, source, tls=tls) as c:
            for user, password in attempts:
                if sasl:
                    c.plain(user, password)
                else:
                    c.literal(user, password)
            if end:
                c.logout()

    return run


def _says(port: str, *lines: bytes, tls: bool = False, end: bool = False) -> Run:
    """Say these lines one after the other; with `end` wait until the server hangs up."""

    def run(host: Mailhost, source: str) -> None:
        with Talk(host, port, source, tls=tls) as c:
            c.hear()
            for line in lines:
                c.say(line)
            if end:
                c.until_end()

    return run


def _raw(port: str, data: bytes) -> Run:
    def run(host: Mailhost, source: str) -> None:
        with Talk(host, port, source) as c:
            c.send(data)
            c.until_end()

    return run


def _tls_gone(port: str) -> Run:
    def run(host: Mailhost, source: str) -> None:
        Talk(host, port, source).close()

    return run


def _apop(port: str) -> Run:
    def run(host: Mailhost, source: str) -> None:
        with Talk(host, port, source, tls=True) as c:
            banner = c.hear()
            stamp = banner[banner.find(b"<") :].strip()
            c.say(b"APOP alice@example.net " + hashlib.md5(stamp + _WRONG).hexdigest().encode())
            c.say(b"QUIT")

    return run


for _q in ("", "-quiet"):
    _s, _i = f"imaps{_q}", f"imap{_q}"
    for _name, _expect, _run in (
        ("login", "auth_failure", _imap(_s, (_ALICE, _WRONG))),
        ("three", "auth_failure*3", _imap(_s, (_ALICE, _WRONG), (_BOB, _WRONG), (b"root", _WRONG))),
        ("gone", "auth_failure", _imap(_s, (_ALICE, _WRONG), end=False)),
        ("starttls", "auth_failure", _imap(_i, (_ALICE, _WRONG), tls="starttls", sasl=True)),
        ("good", "auth_success", _imap(_s, (_ALICE, _GOOD[_ALICE]))),
        (
            "guessed",
            "auth_success" if _q else "auth_failure auth_success",  # the quiet one does not say
            _imap(_s, (_BOB, _WRONG), (_BOB, _GOOD[_BOB])),
        ),
        ("fault", "", _imap(_s, (b"alice@broken.example.net", _WRONG))),
        ("empty-name", "auth_failure", _imap(_s, (b"", _WRONG))),
        ("never", "session_aborted", _says(_i)),
        ("logout", "session_aborted", _says(_i, b"a LOGOUT")),
        ("junk", "protocol_violation", _says(_i, *[b"x XYZZY [203.0.113.99]"] * 10)),
        ("cleartext-login", "session_aborted", _says(_i, b"a LOGIN alice@example.net wrong", b"a LOGOUT")),
        ("cleartext-plain", "session_aborted", _says(_i, b"a AUTHENTICATE PLAIN " + _PLAIN, b"a LOGOUT")),
        ("aborted", "session_aborted", _says(_s, b"a AUTHENTICATE PLAIN", b"*", b"a LOGOUT", tls=True)),
        ("unfinished", "session_aborted", _says(_s, b"a AUTHENTICATE PLAIN", tls=True)),
        ("bad-base64", "protocol_violation", _says(_s, b"a AUTHENTICATE PLAIN !!!!", b"a LOGOUT", tls=True)),
        ("ntlm", "session_aborted", _says(_s, b"a AUTHENTICATE NTLM", b"a LOGOUT", tls=True)),
        (
            "forged-method",
            "session_aborted",
            _says(_s, b"a AUTHENTICATE X]RIP=203.0.113.99,", b"a LOGOUT", tls=True),
        ),
        (
            "id",
            "auth_failure",
            _says(
                _s,
                b'a ID ("name" "x, rip=203.0.113.99, lip=203.0.113.25")',
                b"a LOGIN alice@example.net wrong",
                b"a LOGOUT",
                tls=True,
            ),
        ),
        ("locked-account", "", _imap(_s, (b"carol@example.net", b"secret of carol"))),
        ("http", "tls_failure", _raw(_s, _HTTP)),
        ("tls-gone", "tls_failure", _tls_gone(_s)),
        ("master", "auth_failure", _imap(_s, (b"alice@example.net*root", _WRONG), sasl=True)),
    ):
        act(_expect, name=f"imap{_q}-{_name}", v6=_name == "three")(_run)
    for _name, _user in HOSTILE_NAMES.items():
        act("auth_failure", name=f"imap{_q}-name-{_name}")(_imap(_s, (_user, _WRONG)))
    act("auth_failure", name=f"imap{_q}-name-sasl", v6=True)(
        _imap(_s, (HOSTILE_NAMES["dovecot-tail"], _WRONG), sasl=True)
    )

for _name, _expect, _run in (
    (
        "pop3-pass",
        "auth_failure",
        _says("pop3s", b"USER alice@example.net", b"PASS wrong", b"QUIT", tls=True),
    ),
    (
        "pop3-quiet-pass",
        "session_aborted",
        _says("pop3-quiet", b"AUTH PLAIN " + _PLAIN, b"USER x", b"PASS y", b"QUIT"),
    ),
    ("pop3-auth", "auth_failure", _says("pop3s", b"AUTH PLAIN " + _PLAIN, b"QUIT", tls=True)),
    ("pop3-apop", "session_aborted", _apop("pop3s")),
    (
        "pop3-good",
        "auth_success",
        _says("pop3s", b"USER bob@example.net", b"PASS secret of bob", b"QUIT", tls=True),
    ),
    ("pop3-cleartext", "session_aborted", _says("pop3", b"USER alice@example.net", b"PASS wrong", b"QUIT")),
    ("pop3-never", "session_aborted", _says("pop3", b"QUIT")),
    ("pop3-junk", "protocol_violation", _says("pop3", *[b"XYZZY"] * 12)),
    (
        "pop3-name",
        "auth_failure",
        _says("pop3s", b"USER " + HOSTILE_NAMES["dovecot-tail"], b"PASS wrong", b"QUIT", tls=True),
    ),
    (
        "sieve-cleartext",
        "session_aborted",
        _says("sieve", b'AUTHENTICATE "PLAIN" "' + _PLAIN + b'"', b"LOGOUT"),
    ),
    ("sieve-never", "session_aborted", _says("sieve", b"LOGOUT")),
    ("sieve-http", "session_aborted", _says("sieve", b"GET / HTTP/1.0")),
    ("submission-never", "session_aborted", _says("dovecot-submission", b"EHLO client.example.org", b"QUIT")),
    (
        "submission-cleartext",
        "session_aborted",
        _says("dovecot-submission", b"EHLO client.example.org", b"AUTH PLAIN " + _PLAIN, b"QUIT"),
    ),
):
    act(_expect, name=_name)(_run)


def starttls(port: str, *lines: bytes) -> Run:
    def run(host: Mailhost, source: str) -> None:
        with Talk(host, port, source) as c:
            c.hear()
            c.say(b"STARTTLS")
            c.wrap()
            if port == "sieve":
                c.hear()
            for line in lines:
                c.say(line)

    return run


act("session_aborted", name="sieve-forged-method")(
    starttls("sieve", b'AUTHENTICATE "X>, rip=203.0.113.99, lip=203.0.113.25" "' + _PLAIN + b'"', b"LOGOUT")
)
act("auth_failure", name="sieve-plain")(
    starttls("sieve", b'AUTHENTICATE "PLAIN" "' + _PLAIN + b'"', b"LOGOUT")
)
act("auth_success", name="sieve-good")(
    starttls("sieve", b'AUTHENTICATE "PLAIN" "' + b64(b"\0bob@example.net\0secret of bob") + b'"', b"LOGOUT")
)
act("auth_failure", name="submission-plain", v6=True)(
    starttls("dovecot-submission", b"EHLO client.example.org", b"AUTH PLAIN " + _PLAIN, b"QUIT")
)


act("auth_success", name="imap-second-database")(
    # The first database does not know the name, and auth_verbose says so, although the login succeeds.
    _imap("imaps", (b"dave@example.net", b"secret of dave"))
)
act("auth_success", name="imap-second-database-quiet")(
    _imap("imaps-quiet", (b"dave@example.net", b"secret of dave"))
)


@act("session_aborted", v6=True)
def imap_reset(host: Mailhost, source: str) -> None:
    c = Imap(host, "imap", source, tls="")
    c.reset()


@act("auth_success")
def submission_mail(host: Mailhost, source: str) -> None:
    """Dovecot's submission service hands the message to Postfix, which counts it."""
    starttls(
        "dovecot-submission",
        b"EHLO client.example.org",
        b"AUTH PLAIN " + b64(b"\0bob@example.net\0secret of bob"),
        b"MAIL FROM:<bob@example.net>",
        b"RCPT TO:<alice@example.net>",
        b"DATA",
        b"Subject: x\r\n\r\nx\r\n.",
        b"QUIT",
    )(host, source)


@act("auth_success*2", alone=True)
def imap_too_many_connections(host: Mailhost, source: str) -> None:
    """The third session of one user from one address is refused: phones do that."""
    clients = [Imap(host, "imaps", source) for _ in range(3)]
    for client in clients:
        client.literal(b"alice@example.net", _GOOD[_ALICE])
    for client in clients:
        client.logout()
