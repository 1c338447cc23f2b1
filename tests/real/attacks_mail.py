"""Mail to and through Postfix: accepted, or refused for recipients, sender, client or content."""

from __future__ import annotations

from collections.abc import Callable

from attacks import HOSTILE_HELOS, act
from mailhost import Mailhost
from talk import Smtp

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
        c.mail(
            b"alice@example.net",
            b"devnull@mail1.example.net",
            b"false@mail1.example.net",
            b"retry@mail1.example.net",
            b"gone@mail1.example.net",
            b"x@gone.example.org",
            b"x@later.example.org",
            b"x@nowhere.example.org",
            b"carol@virtual.example.net",
            b"false+true@piped.example.org",
            b'"x> relay=z[203.0.113.99]"@out.example.org',
        )
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
        c.mail(
            b'"x> to=<b> proto=ESMTP helo=<h"@example.org',
            b'"nosuch>: Recipient address rejected: x; from=<a> to=<b"@example.net',
        )
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


def _tables(
    sender: bytes = b"friend@example.org",
    recipient: bytes = b"alice@example.net",
    helo: bytes = b"client.example.org",
    body: bytes | None = None,
) -> Callable[[Mailhost, str], None]:
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
    (
        "header-refused",
        "content_reject",
        "",
        _tables(body=_CONTENT + b"Subject: reject me; from=<a> [203.0.113.99]\r\n\r\nx\r\n"),
    ),
    ("header-held", "", "", _tables(body=b"Subject: hold me from x[203.0.113.99]; from=<a>\r\n\r\nx\r\n")),
    ("header-watched", "mail_accepted mail_sent", "", _tables(body=b"Subject: warn me\r\n\r\nx\r\n")),
    ("header-discarded", "", "", _tables(body=b"Subject: discard me\r\n\r\nx\r\n")),
    (
        "body-refused",
        "content_reject",
        "",
        _tables(body=b"Subject: x\r\n\r\nbuy now from unknown[203.0.113.99]; from=<a>\r\n"),
    ),
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
