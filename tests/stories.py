"""Writes what Postfix and Dovecot would have logged: people, partners and attackers over days.

Each method adds the lines of one act at a time in seconds since the story began. `lines` gives them in order.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
BEGIN = datetime(2026, 10, 5, 0, 0, tzinfo=timezone(timedelta(hours=9)))  # a Monday
DOMAIN = "example.net"


class Story:
    """A log being written."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, int, str]] = []
        self._number = itertools.count()
        self._queue = itertools.count(0xA0000)

    def say(self, at: float, program: str, message: str) -> None:
        stamp = (BEGIN + timedelta(seconds=at)).isoformat(timespec="milliseconds")
        self._lines.append((at, next(self._number), f"{stamp} mail1 {program}: {message}\n"))

    def lines(self) -> list[str]:
        return [line for _, _, line in sorted(self._lines)]

    # ------------------------------------------------------------ logins

    def imap(self, at: float, source: str, user: str) -> None:
        """A login that succeeds."""
        self.say(
            at,
            "dovecot",
            f"imap-login: Login: user=<{user}@{DOMAIN}>, method=PLAIN, rip={source}, lip=203.0.113.25,"
            f" mpid=273, TLS, session=<F8G0L9pgLbfLAHGg>",
        )

    def imap_fails(self, at: float, source: str, user: str, tries: int = 1) -> None:
        """A connection on which the password was wrong."""
        self.say(
            at,
            "dovecot",
            f"imap-login: Disconnected: Aborted login by logging out (auth failed, {tries} attempts in"
            f" {2 * tries} secs): user=<{user}>, method=PLAIN, rip={source}, lip=203.0.113.25, TLS,"
            f" session=<9zpRL9pg26ogAQ24EGEAAAAAAAAAAABh>",
        )

    def smtp_auth_fails(self, at: float, source: str, user: str, service: str = "submission/smtpd") -> None:
        """AUTH with a wrong password; Postfix and Dovecot both say so."""
        smtpd = f"postfix/{service}[171]"
        self.say(at, smtpd, f"connect from unknown[{source}]")
        self.say(at + 0.1, "dovecot", f"auth: passwd-file({user},{source}): Password mismatch")
        self.say(
            at + 2,
            smtpd,
            f"warning: unknown[{source}]: SASL LOGIN authentication failed: (reason unavailable),"
            f" sasl_username={user}",
        )
        self.say(at + 2.1, smtpd, f"disconnect from unknown[{source}] ehlo=1 auth=0/1 quit=1 commands=2/3")

    # ------------------------------------------------------------ mail

    def submit(self, at: float, source: str, user: str, to: str, bounces: bool = False) -> None:
        """A user sends mail."""
        queue = f"{next(self._queue):X}2126"
        smtpd = "postfix/submission/smtpd[171]"
        self.say(at, smtpd, f"connect from unknown[{source}]")
        self.say(
            at + 0.1,
            smtpd,
            f"{queue}: client=unknown[{source}], sasl_method=PLAIN, sasl_username={user}@{DOMAIN}",
        )
        self._queued(at + 0.2, queue, f"{user}@{DOMAIN}")
        end = (
            "dsn=5.1.1, status=bounced (host mx.example.com[198.51.100.200] said: 550 5.1.1 no such user"
            " (in reply to RCPT TO command))"
            if bounces
            else "dsn=2.0.0, status=sent (250 2.0.0 Ok)"
        )
        self.say(
            at + 0.4,
            "postfix/smtp[179]",
            f"{queue}: to=<{to}>, relay=mx.example.com[198.51.100.200]:25, delay=0.3, delays=0/0/0/0, {end}",
        )
        self.say(at + 0.5, "postfix/qmgr[158]", f"{queue}: removed")
        self.say(
            at + 0.5,
            smtpd,
            f"disconnect from unknown[{source}] ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1"
            " commands=8",
        )

    def _queued(self, at: float, queue: str, sender: str) -> None:
        self.say(at, "postfix/cleanup[178]", f"{queue}: message-id=<{queue}@example.org>")
        self.say(
            at + 0.01, "postfix/qmgr[158]", f"{queue}: from=<{sender}>, size=2220, nrcpt=1 (queue active)"
        )

    def deliver(
        self,
        at: float,
        source: str,
        sender: str,
        accepted: tuple[str, ...] = (),
        unknown: tuple[str, ...] = (),
        host: str = "unknown",
    ) -> None:
        """Somebody's server brings one message for these recipients."""
        smtpd = "postfix/smtpd[180]"
        self.say(at, smtpd, f"connect from {host}[{source}]")
        for to in unknown:
            self.refuse(
                at + 0.1,
                source,
                f"550 5.1.1 <{to}@{DOMAIN}>: Recipient address rejected: User unknown in virtual mailbox"
                " table",
                sender,
                f"{to}@{DOMAIN}",
                host,
            )
        if accepted:
            queue = f"{next(self._queue):X}22C3"
            self.say(at + 0.2, smtpd, f"{queue}: client={host}[{source}]")
            self._queued(at + 0.3, queue, sender)
            for to in accepted:
                self.say(
                    at + 0.4,
                    "postfix/lmtp[190]",
                    f"{queue}: to=<{to}@{DOMAIN}>, relay=mail1.{DOMAIN}[private/dovecot-lmtp], delay=0.04,"
                    f" delays=0/0/0/0.02, dsn=2.0.0, status=sent (250 2.0.0 <{to}@{DOMAIN}> ok Saved)",
                )
            self.say(at + 0.5, "postfix/qmgr[158]", f"{queue}: removed")
        good, all_ = len(accepted), len(accepted) + len(unknown)
        counted = f"{good}/{all_}" if unknown else f"{good}"
        rest = "data=1 quit=1" if accepted else "data=0/1 quit=1"
        self.say(
            at + 0.6,
            smtpd,
            f"disconnect from {host}[{source}] ehlo=1 mail=1 rcpt={counted} {rest} commands={good + 4}",
        )

    def refuse(
        self, at: float, source: str, answer: str, sender: str, to: str, host: str = "unknown"
    ) -> None:
        """One RCPT that is refused."""
        self.say(
            at,
            "postfix/smtpd[180]",
            f"NOQUEUE: reject: RCPT from {host}[{source}]: {answer}; from=<{sender}> to=<{to}> proto=ESMTP"
            f" helo=<client.example.org>",
        )

    def refused(self, at: float, source: str, answer: str, sender: str, to: str) -> None:
        """A connection on which the one recipient is refused."""
        self.say(at, "postfix/smtpd[180]", f"connect from unknown[{source}]")
        self.refuse(at + 0.1, source, answer, sender, to)
        self.say(
            at + 0.2,
            "postfix/smtpd[180]",
            f"disconnect from unknown[{source}] ehlo=1 mail=1 rcpt=0/1 data=0/1 quit=1 commands=3/5",
        )

    # ------------------------------------------------------------ knocking

    def knock(
        self, at: float, source: str, stage: str = "CONNECT", service: str = "smtpd", host: str = "unknown"
    ) -> None:
        """A connection that is given up."""
        smtpd = f"postfix/{service}[221]"
        said = "commands=0/0" if stage == "CONNECT" else "ehlo=1 commands=1"
        self.say(at, smtpd, f"connect from {host}[{source}]")
        self.say(at + 0.01, smtpd, f"lost connection after {stage} from {host}[{source}]")
        self.say(at + 0.01, smtpd, f"disconnect from {host}[{source}] {said}")

    def imap_knock(self, at: float, source: str) -> None:
        """A login process that nobody speaks to."""
        self.say(
            at,
            "dovecot",
            f"imap-login: Disconnected: Connection closed (no auth attempts in 0 secs): user=<>,"
            f" rip={source}, lip=203.0.113.25, TLS, session=<LezaLtpgR6nLAHGb>",
        )
