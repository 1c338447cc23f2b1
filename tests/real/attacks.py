"""Everything that clients do to a mail server, good and bad, each from an address of its own.

An `Act` is one client's deed and the events it must leave: hostile kinds with their weight (how many attempts), and
of the context kinds `auth_success`, `mail_accepted`, `mail_sent`, `mail_bounced`, `mail_deferred`. `connect` and
`disconnect` are left to the tests. Every act has its own source address, by which a test tells the events apart; texts
that a client chooses name other addresses (`FORGED`), which must never become a source.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

import serverconfig
from mailhost import Mailhost
from talk import Imap, Smtp, Talk, b64

#: Addresses that only ever occur inside text that a client chose.
FORGED = "203.0.113.99"

#: Login names that try to look like the rest of a log line, or to hide the line from a reader.
HOSTILE_NAMES: dict[str, bytes] = {
    "dovecot-tail": b"x>, method=PLAIN, rip=203.0.113.99, lip=203.0.113.25, session=<AAAA>",
    "dovecot-auth": b"x,203.0.113.99,<AAAAAAAAAAA>): unknown user",
    "second-name": b"a, sasl_username=b",
    "postfix-head": b"]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=x",
    "postfix-line": b"warning: unknown[203.0.113.99]: SASL LOGIN authentication failed: x",
    "next-line": "a\u0085Nov 22 10:00:00 mail1 postfix/smtpd[1]: connect from x[203.0.113.99]".encode(),
    "line-separator": "a\u2028Nov 22 10:00:00 mail1 dovecot: imap-login: Login: user=<x>".encode(),
    "controls": b"a\x01\x1b[31m\x7f\x0bb",
    "long": b"a" * 300,
    "long-cut": ("x" * 99 + "ああ").encode(),
    "cp932": "ソース表[]能".encode("cp932"),
    "brackets": b"[203.0.113.99]",
    "quotes": b"\"a\\\"b'c<d>e(f)",
    "empty-looking": b" ",
    "hash": b"a#012Nov 22 10:00:00",
}

#: HELO names of the same sort.
HOSTILE_HELOS: dict[str, bytes] = {
    "tail": b"x> from=<a@b> to=<c@d> [203.0.113.99]: 554 5.7.1 <x>: Relay access denied; helo=<y",
    "address": b"[203.0.113.99]:",
    "colons": b"a,b:c;d=e]:[f",
    "unicode": "\u0085\u2028é".encode(),
    "controls": b"\x01\x02\x1b",
    "long": b"h" * 600,
}


@dataclass(frozen=True)
class Act:
    """One client's deed. `expect`: kind -> weight; `alone`: it must not run beside others."""

    name: str
    source: str
    run: Callable[[Mailhost, str], None]
    expect: dict[str, int]
    alone: bool = False


ACTS: list[Act] = []
_v4 = iter([f"192.0.2.{n}" for n in range(20, 220)] + [f"198.51.100.{n}" for n in range(1, 200)])
_v6 = iter([f"2001:db8:1{n:03x}::{n:x}" for n in range(1, 200)])


def act(expect: str = "", *, source: str = "", v6: bool = False, alone: bool = False,
        name: str = "") -> Callable[[Callable[[Mailhost, str], None]], Callable[[Mailhost, str], None]]:
    """Register a deed. `expect`: blank-separated kinds, each with `*N` where it counts N."""
    wanted = {}
    for word in expect.split():
        kind, _, number = word.partition("*")
        wanted[kind] = int(number or 1)

    def register(run: Callable[[Mailhost, str], None]) -> Callable[[Mailhost, str], None]:
        address = source or next(_v6 if v6 else _v4)
        ACTS.append(Act(name or run.__name__.replace("_", "-"), address, run, wanted, alone))
        return run

    return register


# ---------------------------------------------------------------- SMTP: logins


@act("auth_failure")
def smtp_plain(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.plain(b"alice@example.net")
        c.quit()


@act("auth_failure")
def smtp_login(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.login(b"nobody@example.net")
        c.quit()


@act("auth_failure")
def smtp_login_small_letters(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"auth login")
        c.say(b64(b"alice@example.net"))
        c.say(b64(b"wrong"))
        c.quit()


@act("session_aborted")
def smtp_quoted_mechanism(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b'AUTH "X authentication failed: generic failure, sasl_username=x"')
        c.quit()


@act("auth_failure")
def smtp_cram(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.cram(b"alice@example.net")
        c.quit()


@act("auth_failure*3")
def smtp_three_in_one(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.plain(b"alice@example.net")
        c.login(b"bob@example.net")
        c.plain(b"root")
        c.quit()


@act("auth_failure", v6=True)
def submission_plain(host: Mailhost, source: str) -> None:
    with Smtp(host, "submission", source, tls="starttls") as c:
        c.plain(b"alice@example.net")
        c.quit()


@act("auth_failure", v6=True)
def smtps_login(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtps", source, tls="wrap") as c:
        c.login(b"alice@example.net")
        c.quit()


@act("auth_failure")
def smtp_login_then_gone(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.plain(b"alice@example.net")


@act("auth_failure")
def smtp_port_logging(host: Mailhost, source: str) -> None:
    with Smtp(host, "ports", source) as c:
        c.plain(b"alice@example.net")
        c.quit()


@act("auth_failure*2")
def smtp_cleartext_refused(host: Mailhost, source: str) -> None:
    """AUTH before TLS where TLS is demanded: Postfix leaves nothing but `auth=0/2`."""
    with Smtp(host, "submission", source) as c:
        c.say(b"AUTH PLAIN " + b64(b"\0alice@example.net\0wrong"))
        c.say(b"AUTH LOGIN")
        c.quit()


@act("session_aborted")
def smtp_auth_aborted(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"AUTH LOGIN")
        c.say(b"*")
        c.quit()


@act("protocol_violation")
def smtp_bad_base64(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"AUTH PLAIN not=base64==x")
        c.quit()


@act("protocol_violation")
def smtp_bad_base64_later(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"AUTH LOGIN")
        c.say(b"not=base64==x")
        c.quit()


@act("session_aborted")
def smtp_ntlm(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"AUTH NTLM")
        c.quit()


@act("session_aborted")
def smtp_forged_mechanism(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"AUTH X]:SASL[203.0.113.99]:")
        c.quit()


@act("auth_failure")
def smtp_empty_name(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.plain(b"")
        c.quit()


@act("auth_success")
def smtp_good_login_no_mail(host: Mailhost, source: str) -> None:
    with Smtp(host, "submission", source, tls="starttls") as c:
        c.plain(b"alice@example.net", b"secret of alice")
        c.quit()


@act("auth_failure auth_success")
def smtp_guessed(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtps", source, tls="wrap") as c:
        c.plain(b"bob@example.net")
        c.plain(b"bob@example.net", b"secret of bob")
        c.quit()


def _hostile_plain(user: bytes) -> Callable[[Mailhost, str], None]:
    def run(host: Mailhost, source: str) -> None:
        with Smtp(host, "smtp", source) as c:
            c.plain(user)
            c.quit()
    return run


def _hostile_login(user: bytes) -> Callable[[Mailhost, str], None]:
    def run(host: Mailhost, source: str) -> None:
        with Smtp(host, "submission", source, tls="starttls") as c:
            c.login(user)
            c.quit()
    return run


for _name, _user in HOSTILE_NAMES.items():
    act("auth_failure", name=f"smtp-plain-{_name}")(_hostile_plain(_user))
    act("auth_failure", name=f"submission-login-{_name}", v6=True)(_hostile_login(_user))


def _misnamed(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.plain(b"alice@example.net")
        c.quit()


for _last, _what in ((10, "named"), (11, "named-like-an-address"), (12, "lying"), (13, "numeric"), (14, "no-forward")):
    act("auth_failure", source=f"192.0.2.{_last}", name=f"smtp-client-{_what}")(_misnamed)


# ---------------------------------------------------------------- SMTP: the server's own faults


@act()
def fault_connection_lost(host: Mailhost, source: str) -> None:
    with Smtp(host, "faulty", source) as c:
        c.plain(b"alice@example.net")
        c.quit()


@act()
def fault_temporary(host: Mailhost, source: str) -> None:
    with Smtp(host, "faulty", source) as c:
        c.plain(b"wait")
        c.quit()


@act("auth_failure")
def fault_database(host: Mailhost, source: str) -> None:
    """Dovecot's database is down. Postfix 3.7 logs that in the words of a wrong password, so nobody can tell."""
    with Smtp(host, "smtp", source) as c:
        c.plain(b"alice@broken.example.net")
        c.quit()


# ---------------------------------------------------------------- SMTP: mail


@act("mail_accepted mail_sent")
def mail_in(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(b"friend@example.org", b"alice@example.net")
        c.quit()


@act("mail_accepted mail_sent*2")
def mail_in_quoted(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(b'"x> to=<b> proto=ESMTP helo=<h"@example.org', b"alice@example.net", b"bob@example.net")
        c.quit()


@act("mail_accepted mail_sent")
def mail_in_null_sender(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(b"", b"alice@example.net")
        c.quit()


@act("auth_success mail_accepted mail_sent")
def mail_out(host: Mailhost, source: str) -> None:
    with Smtp(host, "submission", source, tls="starttls") as c:
        c.plain(b"alice@example.net", b"secret of alice")
        c.mail(b"alice@example.net", b"partner@out.example.org")
        c.quit()


@act("auth_success mail_accepted*2 mail_sent*2")
def mail_out_twice(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtps", source, tls="wrap") as c:
        c.plain(b"bob@example.net", b"secret of bob")
        c.mail(b"bob@example.net", b"one@out.example.org")
        c.mail(b"bob@example.net", b"two@out.example.org")
        c.quit()


@act("auth_success mail_accepted mail_bounced")
def mail_out_refused(host: Mailhost, source: str) -> None:
    with Smtp(host, "submission", source, tls="starttls") as c:
        c.plain(b"alice@example.net", b"secret of alice")
        c.mail(b"alice@example.net", b"status=sent@no.example.org")
        c.quit()


@act("auth_success mail_accepted mail_deferred*2")
def mail_out_deferred(host: Mailhost, source: str) -> None:
    with Smtp(host, "submission", source, tls="starttls") as c:
        c.plain(b"alice@example.net", b"secret of alice")
        c.mail(b"alice@example.net", b"a@slow.example.org", b"b@closed.example.org")
        c.quit()


@act("mail_accepted mail_bounced")
def mail_in_lmtp_unknown(host: Mailhost, source: str) -> None:
    """Dovecot logs this look-up like a failed login; it is a delivery."""
    with Smtp(host, "smtp", source) as c:
        c.mail(b"friend@example.org", b"nosuch@lmtp.example.net")
        c.quit()


@act("auth_success mail_accepted mail_sent*6 mail_bounced mail_deferred")
def mail_every_agent(host: Mailhost, source: str) -> None:
    with Smtp(host, "submission", source, tls="starttls") as c:
        c.plain(b"alice@example.net", b"secret of alice")
        c.mail(b"alice@example.net", b"devnull@mail1.example.net", b"false@mail1.example.net",
               b"retry@mail1.example.net", b"gone@mail1.example.net", b"x@gone.example.org", b"x@later.example.org", b"x@nowhere.example.org",
               b"carol@virtual.example.net", b"false+true@piped.example.org", b'"x> relay=z[203.0.113.99]"@out.example.org')
        c.quit()


# ---------------------------------------------------------------- SMTP: refused recipients and senders


@act("unknown_recipient*3")
def harvest(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(b"promo@example.org", b"nakamura@example.net", b"kobayashi@example.net", b"mori@example.net")
        c.quit()


@act("unknown_recipient*2", v6=True)
def harvest_v6(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(b"promo@example.org", b"nakamura@example.net", b"nosuch@mail1.example.net")
        c.quit()


@act("unknown_recipient")
def backscatter(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(b"", b"nosuch@example.net")
        c.quit()


@act("unknown_recipient")
def harvest_quoted(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(b'"x> to=<b> proto=ESMTP helo=<h"@example.org',
               b'"nosuch>: Recipient address rejected: x; from=<a> to=<b"@example.net')
        c.quit()


@act("unknown_recipient mail_accepted mail_sent")
def harvest_after_accepted(host: Mailhost, source: str) -> None:
    """The refusal carries the queue id of the message that the first recipient opened."""
    with Smtp(host, "smtp", source) as c:
        c.mail(b"promo@example.org", b"alice@example.net", b"nosuch@example.net")
        c.quit()


def _hostile_helo(helo: bytes) -> Callable[[Mailhost, str], None]:
    def run(host: Mailhost, source: str) -> None:
        with Smtp(host, "smtp", source, helo=helo) as c:
            c.mail(b"promo@example.org", b"nosuch@example.net")
            c.quit()
    return run


for _name, _helo in HOSTILE_HELOS.items():
    act("unknown_recipient", name=f"helo-{_name}")(_hostile_helo(_helo))


@act("relay_denied")
def relay(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(b"promo@example.org", b"someone@example.com")
        c.quit()


@act("relay_denied", v6=True)
def relay_quoted(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.mail(b"promo@example.org", b'"]: 550 5.1.1 x: Relay access denied; from=<a"@example.com')
        c.quit()


@act("address_probe*3")
def vrfy(host: Mailhost, source: str) -> None:
    """Two refusals with a line each; what was answered stands only in the counter at the end."""
    with Smtp(host, "smtp", source) as c:
        c.say(b"VRFY alice@example.net")
        c.say(b"VRFY nosuch@example.net")
        c.say(b'VRFY "x> [203.0.113.99]"@example.net')
        c.quit()


@act("policy_reject")
def etrn(host: Mailhost, source: str) -> None:
    with Smtp(host, "tables", source) as c:
        c.say(b"ETRN example.net")
        c.quit()


@act("auth_success policy_reject")
def sender_spoofed(host: Mailhost, source: str) -> None:
    with Smtp(host, "submission", source, tls="starttls") as c:
        c.plain(b"alice@example.net", b"secret of alice")
        c.mail(b"bob@example.net", b"bob@example.net")
        c.quit()


def _tables(sender: bytes = b"friend@example.org", recipient: bytes = b"alice@example.net",
            helo: bytes = b"client.example.org", body: bytes | None = None) -> Callable[[Mailhost, str], None]:
    def run(host: Mailhost, source: str) -> None:
        with Smtp(host, "tables", source, helo=helo) as c:
            c.mail(sender, recipient, body=body)
            c.quit()
    return run


_CONTENT = b"From: x; from=<a@example.com> to=<b> proto=ESMTP helo=<h>: [203.0.113.99]\r\n"
for _name, _expect, _address, _run in (
    ("client-refused", "policy_reject", "192.0.2.220", _tables()),
    ("client-later", "", "192.0.2.221", _tables()),
    ("client-held", "", "192.0.2.222", _tables()),
    ("client-watched", "mail_accepted mail_sent", "192.0.2.223", _tables()),
    ("client-discarded", "", "192.0.2.224", _tables()),
    ("client-info", "mail_accepted mail_sent", "192.0.2.225", _tables()),
    ("client-521", "policy_reject", "192.0.2.226", _tables()),
    ("helo-refused", "policy_reject", "", _tables(helo=b"bad.example.org")),
    ("helo-own-name", "policy_reject", "", _tables(helo=b"mail1.example.net")),
    ("helo-later", "", "", _tables(helo=b"soft.example.org")),
    ("helo-invalid", "policy_reject", "", _tables(helo=b"a..b")),
    ("sender-refused", "policy_reject", "", _tables(b"bad@example.org")),
    ("sender-not-full", "policy_reject", "", _tables(b"bad")),
    ("sender-unknown-domain", "", "", _tables(b"a@nosuch.example.org")),
    ("sender-misconfigured", "", "", _tables(b"broken@example.org")),
    ("sender-redirected", "mail_accepted mail_sent", "", _tables(b"redirect@example.org")),
    ("sender-filtered", "mail_accepted mail_sent", "", _tables(b"filter@example.org")),
    ("sender-prepended", "mail_accepted mail_sent", "", _tables(b"prepend@example.org")),
    ("recipient-full", "", "", _tables(recipient=b"full@example.net")),
    ("recipient-greylisted", "", "", _tables(recipient=b"later@example.net")),
    ("spf-fail", "policy_reject", "", _tables(b"fail@spf.example.org")),
    ("spf-soft", "", "", _tables(b"soft@spf.example.org")),
    ("header-refused", "content_reject", "", _tables(body=_CONTENT + b"Subject: reject me; from=<a> [203.0.113.99]\r\n\r\nx\r\n")),
    ("header-held", "", "", _tables(body=b"Subject: hold me from x[203.0.113.99]; from=<a>\r\n\r\nx\r\n")),
    ("header-watched", "mail_accepted mail_sent", "", _tables(body=b"Subject: warn me\r\n\r\nx\r\n")),
    ("header-discarded", "", "", _tables(body=b"Subject: discard me\r\n\r\nx\r\n")),
    ("body-refused", "content_reject", "", _tables(body=b"Subject: x\r\n\r\nbuy now from unknown[203.0.113.99]; from=<a>\r\n")),
):
    act(_expect, source=_address, name=_name)(_run)


def _dnsbl(host: Mailhost, source: str) -> None:
    with Smtp(host, "dnsbl", source) as c:
        c.mail(b"promo@example.org", b"alice@example.net")
        c.quit()


act("blocklisted", source="192.0.2.240", name="dnsbl")(_dnsbl)


@act("")
def reverse_name_missing(host: Mailhost, source: str) -> None:
    """450 for a client without a name: innocent servers get this."""
    with Smtp(host, "strict", source) as c:
        c.mail(b"friend@example.org", b"alice@example.net")
        c.quit()


@act("policy_reject", source="192.0.2.15", name="helo-not-full")
def _helo_not_full(host: Mailhost, source: str) -> None:
    with Smtp(host, "strict", source, helo=b"localhost") as c:
        c.mail(b"friend@example.org", b"alice@example.net")
        c.quit()


# ---------------------------------------------------------------- SMTP: protocol


@act("protocol_violation")
def http(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source, helo=None) as c:
        c.send(b"GET /admin[203.0.113.99] HTTP/1.0\r\n\r\n")
        c.until_end()


@act("protocol_violation")
def header_as_command(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.send(b"Subject: x\r\n")
        c.until_end()


@act("protocol_violation")
def too_many_errors(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        for _ in range(8):
            c.say(b"XYZZY")


@act("auth_failure*8")
def too_many_logins(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        for number in range(8):
            c.plain(b"user%d" % number)


@act("protocol_violation")
def pipelining(host: Mailhost, source: str) -> None:
    with Smtp(host, "strict", source, helo=None) as c:
        c.send(b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nQUIT [203.0.113.99]\r\n")
        c.until_end()


@act("protocol_violation")
def pipelined_data(host: Mailhost, source: str) -> None:
    with Smtp(host, "tables", source) as c:
        c.send(b"MAIL FROM:<friend@example.org>\r\nRCPT TO:<alice@example.net>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")
        c.until_end()


@act("protocol_violation")
def bare_newline(host: Mailhost, source: str) -> None:
    with Smtp(host, "strict", source) as c:
        c.send(b"NOOP\n")
        c.until_end()


@act("unknown_recipient*2")
def harvest_behind_length(host: Mailhost, source: str) -> None:
    """A HELO and a sender too long for any slot, shaped like the end of a line: the recipients count all the same."""
    with Smtp(host, "smtp", source, helo=b"h" * 900) as c:
        c.mail(b'"x> to=<b> proto=ESMTP helo=<h"' + b"@example.org", b"nosuch1@example.net", b"nosuch2@example.net")
        c.quit()


@act("address_probe*2")
def vrfy_switched_off(host: Mailhost, source: str) -> None:
    with Smtp(host, "strict", source, helo=b"client.example.org") as c:
        c.say(b"VRFY alice")
        c.say(b"VRFY bob")
        c.quit()


@act("content_reject")
def before_queue_filter(host: Mailhost, source: str) -> None:
    """The filter's verdict names no client."""
    with Smtp(host, "filtered", source) as c:
        c.mail(b"promo@example.org", b"alice@example.net")
        c.quit()


@act("protocol_violation")
def bad_address(host: Mailhost, source: str) -> None:
    with Smtp(host, "strict", source) as c:
        c.say(b"MAIL FROM:friend@example.org> [203.0.113.99]")
        c.quit()


@act("protocol_violation")
def long_command(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"EHLO " + b"A" * 5000)
        c.quit()


@act("protocol_violation")
def nul_command(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        for _ in range(8):
            c.say(b"\0\x01\xff\xfe")


# ---------------------------------------------------------------- SMTP: leaving early


@act("session_aborted")
def gone_at_connect(host: Mailhost, source: str) -> None:
    with Talk(host, "smtp", source) as c:
        c.hear()


@act("session_aborted")
def gone_after_ehlo(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source):
        pass


@act("session_aborted")
def gone_reset(host: Mailhost, source: str) -> None:
    c = Smtp(host, "smtp", source)
    c.reset()


@act("session_aborted")
def gone_in_auth(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"AUTH LOGIN")


@act("session_aborted", v6=True)
def gone_after_mail(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"MAIL FROM:<friend@example.org>")


@act("session_aborted")
def gone_after_rcpt(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"MAIL FROM:<friend@example.org>")
        c.say(b"RCPT TO:<alice@example.net>")


@act()
def gone_in_data(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"MAIL FROM:<friend@example.org>")
        c.say(b"RCPT TO:<alice@example.net>")
        c.say(b"DATA")
        c.send(b"Subject: half a mess")


@act()
def gone_in_bdat(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"MAIL FROM:<friend@example.org>")
        c.say(b"RCPT TO:<alice@example.net>")
        c.send(b"BDAT 100\r\nhalf")


@act("session_aborted")
def gone_after_unknown(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source, helo=None) as c:
        c.say(b"XYZZY")


@act("tls_failure")
def gone_in_starttls(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"STARTTLS")


@act("session_aborted")
def silent(host: Mailhost, source: str) -> None:
    with Talk(host, "impatient", source) as c:
        c.until_end()


@act()
def silent_in_data(host: Mailhost, source: str) -> None:
    with Smtp(host, "impatient", source) as c:
        c.say(b"MAIL FROM:<friend@example.org>")
        c.say(b"RCPT TO:<alice@example.net>")
        c.say(b"DATA")
        c.until_end()


@act()
def clean(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"NOOP")
        c.quit()


# ---------------------------------------------------------------- SMTP: TLS


@act("tls_failure")
def tls_junk_smtps(host: Mailhost, source: str) -> None:
    with Talk(host, "smtps", source) as c:
        c.send(b"GET / HTTP/1.0\r\n\r\n")
        c.until_end()


@act("tls_failure")
def tls_junk_starttls(host: Mailhost, source: str) -> None:
    with Smtp(host, "smtp", source) as c:
        c.say(b"STARTTLS")
        c.send(b"\x16\x03\x01junkjunkjunk" * 4)
        c.until_end()


@act("tls_failure")
def tls_junk_screen(host: Mailhost, source: str) -> None:
    with Smtp(host, "postscreen-deep", source) as c:
        c.say(b"STARTTLS")
        c.send(b"\x16\x03\x01junkjunkjunk" * 4)
        c.until_end()


@act("tls_failure")
def tls_gone_smtps(host: Mailhost, source: str) -> None:
    Talk(host, "smtps", source).close()


@act()
def tls_demanded(host: Mailhost, source: str) -> None:
    with Smtp(host, "tls-only", source) as c:
        c.say(b"MAIL FROM:<friend@example.org>")
        c.quit()


# ---------------------------------------------------------------- SMTP: the server's own limits


@act("rate_exceeded*2")
def rate_connections(host: Mailhost, source: str) -> None:
    for _ in range(5):
        with Talk(host, "limits", source) as c:
            c.hear()
            c.send(b"QUIT\r\n")
            c.until_end()


@act("rate_exceeded")
def rate_concurrency(host: Mailhost, source: str) -> None:
    clients = [Talk(host, "limits", source) for _ in range(3)]
    for client in clients:
        client.hear()
    for client in clients:
        client.send(b"QUIT\r\n")
        client.until_end()
        client.close()


@act("rate_exceeded auth_failure")
def rate_logins(host: Mailhost, source: str) -> None:
    with Smtp(host, "limits", source) as c:
        c.plain(b"alice@example.net")
        c.plain(b"bob@example.net")
        c.quit()


@act("rate_exceeded mail_accepted mail_sent")
def rate_messages(host: Mailhost, source: str) -> None:
    with Smtp(host, "limits", source) as c:
        c.mail(b"friend@example.org", b"alice@example.net")
        c.say(b"MAIL FROM:<friend@example.org>")
        c.quit()


@act("rate_exceeded")
def rate_recipients(host: Mailhost, source: str) -> None:
    with Smtp(host, "limits", source) as c:
        c.say(b"MAIL FROM:<friend@example.org>")
        c.say(b"RCPT TO:<alice@example.net>")
        c.say(b"RCPT TO:<bob@example.net>")
        c.quit()


@act("rate_exceeded")
def rate_tls(host: Mailhost, source: str) -> None:
    for _ in range(2):
        with Smtp(host, "limits", source) as c:
            if c.say(b"STARTTLS").startswith(b"220"):
                c.wrap()
            c.quit()


# ---------------------------------------------------------------- postscreen


@act("protocol_violation")
def screen_pregreet(host: Mailhost, source: str) -> None:
    with Talk(host, "postscreen", source) as c:
        c.send(b"EHLO early.example.com [203.0.113.99]:1: x\r\n")
        c.until_end()


@act("session_aborted")
def screen_hangup(host: Mailhost, source: str) -> None:
    with Talk(host, "postscreen", source) as c:
        time.sleep(0.2)
        c.reset()


def _screened(port: str, *lines: bytes) -> Callable[[Mailhost, str], None]:
    def run(host: Mailhost, source: str) -> None:
        with Smtp(host, port, source) as c:
            for line in lines:
                c.say(line)
            c.quit()
    return run


_MAIL = (b"MAIL FROM:<promo@example.org>", b"RCPT TO:<alice@example.net>")
act("blocklisted", source="192.0.2.241", name="screen-dnsbl")(_screened("postscreen", *_MAIL))
act("blocklisted", source="192.0.2.242", name="screen-dnsbl-quoted")(
    _screened("postscreen", b'MAIL FROM:<"x>, to=<b>, proto=ESMTP, helo=<h"@example.org>', _MAIL[1]))
act("policy_reject", source="192.0.2.230", name="screen-denied")(_screened("postscreen", *_MAIL))
act("", source="192.0.2.231", name="screen-allowed")(_screened("postscreen", *_MAIL))
act("", name="screen-passed")(_screened("postscreen", b"NOOP"))
act("protocol_violation", name="screen-http")(_screened("postscreen-deep", b"GET / HTTP/1.0 [203.0.113.99]"))
act("protocol_violation", name="screen-count")(_screened("postscreen-deep", *[b"NOOP"] * 6))
act("protocol_violation", name="screen-long")(_screened("postscreen-deep", b"NOOP " + b"x" * 5000))
act("", name="screen-deep-passed")(_screened("postscreen-deep", *_MAIL))


@act("protocol_violation")
def screen_pipelining(host: Mailhost, source: str) -> None:
    with Smtp(host, "postscreen-deep", source, helo=None) as c:
        c.send(b"HELO x.example.org\r\nMAIL FROM:<a@example.org>\r\nQUIT\r\n")
        c.until_end()


@act("protocol_violation")
def screen_bare_newline(host: Mailhost, source: str) -> None:
    with Smtp(host, "postscreen-deep", source) as c:
        c.send(b"NOOP\n")
        c.hear()
        c.quit()


@act("session_aborted")
def screen_silent(host: Mailhost, source: str) -> None:
    with Smtp(host, "postscreen-deep", source) as c:
        c.until_end()


@act("session_aborted")
def screen_gone_deep(host: Mailhost, source: str) -> None:
    with Smtp(host, "postscreen-deep", source):
        pass


