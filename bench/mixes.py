"""Logs for the benches, made up: a mail server's day, with ground known.

`rich`: of 100 lines 15 are tries of attackers, 30 carry accepted mail and logins, 5 begin and end
connections of attackers, and the rest nobody asks for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

OTHERS = (
    "mail1 rspamd[77]: <a1b2c3>; task; rspamd_task_write_log: id: <d1@example.org>, from: <a@example.org>",
    "mail1 postfix/cleanup[%d]: %s: message-id=<doc1@example.org>",
    "mail1 systemd[1]: Started Daily apt download activities of the example host with a name of some length.",
    "mail1 CRON[%d]: (root) CMD (test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily)",
)


def v4(number: int) -> str:
    """One of the 768 documentation addresses, then of those for benchmarks (198.18.0.0/15)."""
    if number < 768:
        return ("192.0.2.", "198.51.100.", "203.0.113.")[number // 256] + str(number % 256)
    number = (number - 768) * 7919 & 0x1FFFF
    return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def message(chance: random.Random) -> list[str]:
    """A partner's message: seven lines, of which five carry it."""
    partner, pid = chance.randrange(2000), chance.randrange(200, 400)
    address, queue = v4(partner), f"{chance.getrandbits(44):011X}"
    client = f"mail{partner}.example.org[{address}]"
    return [
        f"mail1 postfix/smtpd[{pid}]: connect from {client}",
        f"mail1 postfix/smtpd[{pid}]: {queue}: client={client}",
        f"mail1 postfix/cleanup[{pid + 1}]: {queue}: message-id=<{queue}@example.org>",
        f"mail1 postfix/qmgr[99]: {queue}: from=<p{chance.randrange(4)}@x{partner}.example.org>, size=4711, "
        "nrcpt=1 (queue active)",
        f"mail1 postfix/smtpd[{pid}]: disconnect from {client} ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
        f"mail1 postfix/lmtp[{pid + 2}]: {queue}: to=<u{chance.randrange(300)}@example.com>, "
        "relay=mail1[private/lmtp], delay=0.2, delays=0.1/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 Saved)",
        f"mail1 postfix/qmgr[99]: {queue}: removed",
    ]


def login(chance: random.Random) -> list[str]:
    """Somebody reads mail: at home, nearly always."""
    user = chance.randrange(1500)
    home = v4(1000 + user % 700 if chance.random() < 0.97 else chance.randrange(3000))
    return [
        f"mail1 dovecot: imap-login: Login: user=<u{user}@example.com>, method=PLAIN, rip={home}, "
        f"lip=192.0.2.1, mpid={chance.randrange(9999)}, TLS, session=<{chance.getrandbits(60):015x}>"
    ]


def attack(chance: random.Random) -> list[str]:
    """Somebody tries once over IMAP, or up to five times on one connection to the mail server."""
    address = v4(3000 + int(chance.random() ** 4 * 6000))
    if chance.random() < ALONE:
        user = f"u{chance.randrange(2000)}@example.com"
        return [
            f"mail1 dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<{user}>, "
            f"method=PLAIN, rip={address}, lip=192.0.2.1, TLS, session=<{chance.getrandbits(60):015x}>"
        ]
    client, pid, tries = f"unknown[{address}]", chance.randrange(200, 400), chance.randrange(1, 6)
    if chance.random() < HARVEST:
        program = f"mail1 postfix/smtpd[{pid}]"
        tried = [
            f"{program}: NOQUEUE: reject: RCPT from {client}: 550 5.1.1 "
            f"<n{chance.randrange(900)}@example.com>: Recipient address rejected: User unknown in virtual "
            f"mailbox table; from=<a@example.org> to=<n{chance.randrange(900)}@example.com> helo=<x>"
            for _ in range(tries)
        ]
        commands = f"ehlo=1 mail=1 rcpt=0/{tries} commands=2/{tries + 2}"
    else:
        program = f"mail1 postfix/submission/smtpd[{pid}]"
        tried = [
            f"{program}: warning: {client}: SASL LOGIN authentication failed: UGFzc3dvcmQ6, "
            f"sasl_username=u{chance.randrange(2000)}@example.com"
            for _ in range(tries)
        ]
        commands = f"ehlo=1 auth=0/{tries} commands=1/{tries + 1}"
    return [f"{program}: connect from {client}", *tried, f"{program}: disconnect from {client} {commands}"]


#: Of attacks: those that are one line, and of the others those that look for recipients.
ALONE, HARVEST = 0.75, 1 / 3
#: Lines of an attack on average, and those of them that are tries.
ATTACK, TRIES = ALONE + (1 - ALONE) * 5, ALONE + (1 - ALONE) * 3
#: Of the lines that carry mail and logins, those of messages; and how many of a message's lines carry it.
MAIL, CARRYING, MESSAGE = 0.8, 5, 7


def mixed(count: int, hostile: float, carrying: float, seed: int = 7) -> Iterator[str]:
    """About `count` lines without stamps, of which these shares are tries of attackers, and carry accepted
    mail and logins. For each try there is a third of a line more: connections of attackers begin and end."""
    chance = random.Random(seed)
    attacks, messages, logins = hostile / TRIES, carrying * MAIL / CARRYING, carrying * (1 - MAIL)
    others = 1 - attacks * ATTACK - messages * MESSAGE - logins
    number, draws = 0, attacks + messages + logins + others
    while number < count:
        draw = chance.random() * draws
        if draw < attacks:
            lines = attack(chance)
        elif draw < attacks + messages:
            lines = message(chance)
        elif draw < attacks + messages + logins:
            lines = login(chance)
        else:
            text = chance.choice(OTHERS)
            lines = [text.replace("%d", str(chance.randrange(999))).replace("%s", "4711AB")]
        yield from lines
        number += len(lines)


#: Shares of tries, and of lines that carry accepted mail and logins. In a lean log 2 lines of 100 are tries,
#: and 2 are context: 1.33 carry mail and logins, and 0.67 are connections of attackers.
RICH, LEAN = (0.15, 0.30), (0.02, 0.0133)


def rich(count: int, seed: int = 7) -> Iterator[bytes]:
    """About `count` lines, three a second, without LF."""
    for number, line in enumerate(mixed(count, *RICH, seed)):
        second = number // 3
        day, hour, minute = 1 + second // 86400 % 28, second // 3600 % 24, second // 60 % 60
        yield f"Nov {day:2d} {hour:02d}:{minute:02d}:{second % 60:02d} {line}".encode()
