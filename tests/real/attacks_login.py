"""SMTP AUTH at Postfix: right, wrong, aborted, in odd words, and with the server itself at fault."""

from __future__ import annotations

from collections.abc import Callable

from attacks import HOSTILE_NAMES, act
from mailhost import Mailhost
from talk import Smtp, b64

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


for _last, _what in (
    (10, "named"),
    (11, "named-like-an-address"),
    (12, "lying"),
    (13, "numeric"),
    (14, "no-forward"),
):
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
    """Dovecot's database is down. Postfix 3.7 logs that in the words of a wrong password: nobody can tell."""
    with Smtp(host, "smtp", source) as c:
        c.plain(b"alice@broken.example.net")
        c.quit()
