"""Clients that break the protocol, leave early, send junk or meet the server's limits; postscreen."""

from __future__ import annotations

import time
from collections.abc import Callable

from attacks import act
from mailhost import Mailhost
from talk import Smtp, Talk

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
        c.send(
            b"MAIL FROM:<friend@example.org>\r\nRCPT TO:<alice@example.net>\r\nDATA\r\n"
            b"Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"
        )
        c.until_end()


@act("protocol_violation")
def bare_newline(host: Mailhost, source: str) -> None:
    with Smtp(host, "strict", source) as c:
        c.send(b"NOOP\n")
        c.until_end()


@act("unknown_recipient*2")
def harvest_behind_length(host: Mailhost, source: str) -> None:
    """A HELO too long for any slot, and a sender shaped like the end of a line: the recipients count."""
    with Smtp(host, "smtp", source, helo=b"h" * 900) as c:
        c.mail(
            b'"x> to=<b> proto=ESMTP helo=<h"' + b"@example.org",
            b"nosuch1@example.net",
            b"nosuch2@example.net",
        )
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
    _screened("postscreen", b'MAIL FROM:<"x>, to=<b>, proto=ESMTP, helo=<h"@example.org>', _MAIL[1])
)
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
