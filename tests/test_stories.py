"""The shipped policy on whole logs, line by line as Postfix and Dovecot write: who is banned, and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mailguard.core.engine import Engine
from mailguard.core.judge import Judge
from mailguard.core.scanner import Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions.parsers import load_parsers
from mailguard.definitions.settings import load_settings
from mailguard.feeds.recorded import RecordedLog
from mailguard.model import Alert, Impose
from mailguard.notation import format_network
from mailguard.replay import Summary, replay
from tests.stories import BEGIN, DAY, HOUR, MINUTE, Story

PARSERS = load_parsers(["postfix", "dovecot"])
SETTINGS = load_settings()
NAMES = ("sato", "suzuki", "takahashi", "tanaka", "watanabe", "ito", "yamamoto", "nakamura", "kato", "mori")
Writer = Callable[[Story, random.Random], None]
#: detectors that spoke, and (network, detector) -> seconds into the story of its first ban
Verdict = tuple[set[str], dict[tuple[str, str], float]]


def verdict(write: Writer, tmp_path: Path) -> Verdict:
    story = Story()
    write(story, random.Random(7))
    log = tmp_path / "mail.log"
    log.write_text("".join(story.lines()))
    judge = Judge(Scanner(PARSERS), Sessions(PARSERS), Engine(SETTINGS.setup()), evidence=False)
    judge.enforcing = True
    told: set[str] = set()
    banned: dict[tuple[str, str], float] = {}
    for effect in replay([RecordedLog(str(log))], judge, Summary()):
        if isinstance(effect, Alert):
            told.add(effect.offence.detector)
        elif isinstance(effect, Impose) and effect.ban.offence is not None:
            place = format_network(effect.ban.network), effect.ban.offence.detector
            banned.setdefault(place, effect.time - BEGIN.timestamp())
    return told, banned


# ---------------------------------------------------------------- innocents: nobody is banned


def somebody_who_mistypes(story: Story, chance: random.Random) -> None:
    """Two to four wrong ones every morning, as often the name as the password; then the right one."""
    names = ["sato", "Sato", "sato@example.net", "taro.sato"]
    for day in range(14):
        at = day * DAY + 9 * HOUR
        for number in range(chance.randint(2, 4)):
            story.imap_fails(at + 25 * number, "198.51.100.7", names[number])
        story.imap(at + 300, "198.51.100.7", "sato")


def a_forgotten_password(story: Story, chance: random.Random) -> None:
    """After a holiday, at home, thirty times in half an hour, without the domain."""
    for day in range(5):
        story.imap(day * DAY + 9 * HOUR, "198.51.100.7", "sato")
    for number in range(30):
        story.imap_fails(7 * DAY + number * MINUTE, "198.51.100.7", "sato")


def a_telephone_with_an_old_password(story: Story, chance: random.Random) -> None:
    """Every five minutes for four days, at home and in four networks of its provider, by IMAP and SMTP."""
    for day in range(5):
        story.imap(day * DAY + 8 * HOUR, "192.0.2.77", "sato")
        for number in range(4):
            story.imap(day * DAY + 12 * HOUR + number, f"198.51.{number}.{chance.randint(1, 254)}", "sato")
    for day in range(5, 9):
        story.imap(day * DAY + 8 * HOUR, "192.0.2.77", "sato")
        for minute in range(0, 24 * 60, 5):
            out = 8 * 60 <= minute < 19 * 60
            source = f"198.51.{chance.randint(0, 3)}.{chance.randint(1, 254)}" if out else "192.0.2.77"
            story.imap_fails(day * DAY + minute * MINUTE, source, "sato@example.net")
            if minute % 15 == 0:
                story.smtp_auth_fails(day * DAY + minute * MINUTE + 3, source, "sato@example.net")


def a_telephone_among_others(story: Story, chance: random.Random) -> None:
    """Behind a provider's one address, where five of our people log in too; its user never did there."""
    for day in range(7):
        for number in range(5):
            story.imap(day * DAY + chance.random() * DAY, "198.51.100.90", f"user{number}")
    for number in range(60):
        story.imap_fails(8 * DAY + number * 15 * MINUTE, "198.51.100.90", "sato@example.net")


def _office(story: Story, chance: random.Random, days: int) -> None:
    for day in range(days):
        for number in range(30):
            at = day * DAY + 9 * HOUR + chance.random() * HOUR
            for hour in range(0, 8, 2):
                story.imap(at + hour * HOUR, "192.0.2.10", f"user{number}")
            if chance.random() < 0.3:
                story.submit(at + HOUR, "192.0.2.10", f"user{number}", "partner@example.com")


def an_office_with_an_infected_computer(story: Story, chance: random.Random) -> None:
    """It sends thousands through its user's account, tries port 25, and asks for names that nobody has."""
    _office(story, chance, 12)
    at = 10 * DAY + 10 * HOUR
    for number in range(500):
        to = f"victim{number}@example.org"
        story.submit(at + 5 * number, "192.0.2.10", "user3", to, bounces=bool(number % 2))
    for number in range(100):
        answer = f"554 5.7.1 <x{number}@example.org>: Relay access denied"
        story.refused(at + HOUR + 7 * number, "192.0.2.10", answer, "a@example.net", f"x{number}@example.org")
        story.deliver(at + 2 * HOUR + 7 * number, "192.0.2.10", "a@example.net", unknown=(f"no{number}",))


def an_office_where_names_are_mistyped(story: Story, chance: random.Random) -> None:
    """Thirty people: a wrong password here, a wrong name there, all week."""
    _office(story, chance, 14)
    for day in range(3, 14):
        for number in chance.sample(range(30), 8):
            at = day * DAY + 9 * HOUR + chance.random() * 9 * HOUR
            for more in range(chance.randint(1, 3)):
                story.imap_fails(at + 20 * more, "192.0.2.10", f"user{number}@example.net")
            if number % 4 == 0:
                story.imap_fails(at + 90, "192.0.2.10", f"usr{number}x{day}")


def the_day_of_new_passwords(story: Story, chance: random.Random) -> None:
    """All thirty change theirs; their devices do not know it for four hours."""
    _office(story, chance, 8)
    for number in range(30):
        for _ in range(20):
            at = 7 * DAY + 10 * HOUR + chance.random() * 4 * HOUR
            story.imap_fails(at, "192.0.2.10", f"user{number}@example.net")


def an_office_whose_shared_mailbox_is_attacked(story: Story, chance: random.Random) -> None:
    """The whole world guesses the password of info; a colleague sets it up in the office, and mistypes."""
    _office(story, chance, 5)
    for number in range(60):
        at, source = 4 * DAY + number * 10 * MINUTE, f"{20 + number}.{number}.7.9"
        story.imap_fails(at, source, "info@example.net")
    for number in range(3):
        story.imap_fails(4 * DAY + 5 * HOUR + 40 * number, "192.0.2.10", "info@example.net")


def a_partner_with_former_colleagues(story: Story, chance: random.Random) -> None:
    """Mail for twenty of us a day; after two days also for twelve who left, and bounces to forged names."""
    for day in range(14):
        for number in range(20):
            at = day * DAY + 9 * HOUR + number * 10 * MINUTE
            story.deliver(at, "198.51.100.25", f"p{number}@partner.example", accepted=(f"user{number}",))
        for number in range(12 if day >= 2 else 3):
            at = day * DAY + 15 * HOUR + number * MINUTE
            story.deliver(at, "198.51.100.25", f"p{number}@partner.example", unknown=(f"former{number}",))
        for number in range(30):
            story.deliver(day * DAY + 16 * HOUR + 20 * number, "198.51.100.25", "", unknown=(f"f{number}",))


def a_monitoring_host(story: Story, chance: random.Random) -> None:
    """Four ports, every three minutes, for two weeks; it says EHLO or nothing."""
    for number in range(14 * 24 * 20):
        at = number * 3 * MINUTE
        story.knock(at, "198.51.100.99")
        story.knock(at + 1, "198.51.100.99", "EHLO")
        story.knock(at + 2, "198.51.100.99", "STARTTLS", "submission/smtpd")
        story.imap_knock(at + 3, "198.51.100.99")


def a_newsletter_to_some_who_left(story: Story, chance: random.Random) -> None:
    """A hundred of us in half an hour, five of them long gone, from a host never seen before; each week."""
    for day in (0, 7):
        for number in range(100):
            at, gone = day * DAY + 10 * HOUR + 15 * number, number % 20 == 0
            names = (f"user{number}",)
            story.deliver(
                at, "198.51.100.60", "news@shop.example", () if gone else names, names if gone else ()
            )


def a_host_that_sends_for_many(story: Story, chance: random.Random) -> None:
    """Fifty letters a day for fifty shops, and three to somebody who is gone."""
    for day in range(14):
        for number in range(53):
            at, gone = day * DAY + chance.random() * DAY, number >= 50
            names = (f"user{day}x{number}",)
            sender = f"news@shop{number}.example"
            story.deliver(at, "198.51.100.61", sender, () if gone else names, names if gone else ())


def a_provider_that_is_greylisted(story: Story, chance: random.Random) -> None:
    """Two letters a minute, from one address or another of a big provider, each told to come later."""
    answer = "450 4.2.0 <user1@example.net>: Recipient address rejected: Greylisted, see http://example.net"
    for number in range(2000):
        source = f"198.51.100.{chance.randint(1, 250) if number % 2 else 40}"
        story.refused(30.0 * number, source, answer, "a@big.example", "user1@example.net")


def backscatter(story: Story, chance: random.Random) -> None:
    """Somebody forged our names: two bounces a second from one host, on full connections, too."""
    for number in range(2000):
        story.deliver(number / 2, "198.51.100.40", "", unknown=(f"forged{number}",))
    for number in range(100):
        at, names = 2000 + 20.0 * number, tuple(f"forged{number}x{more}" for more in range(20))
        story.deliver(at, "198.51.100.40", "", unknown=names)
        story.say(at + 0.5, "postfix/smtpd[180]", "too many errors after RCPT from unknown[198.51.100.40]")


def somebody_who_travels(story: Story, chance: random.Random) -> None:
    """Another hotel every evening, up to three wrong passwords, then the right one."""
    for day in range(14):
        at, source = day * DAY + 20 * HOUR, f"198.51.{day}.9"
        for number in range(day % 4):
            story.imap_fails(at + 20 * number, source, "sato@example.net")
        story.imap(at + 120, source, "sato")
        story.submit(at + 200, source, "sato", "a@example.com")


def a_webmail_host(story: Story, chance: random.Random) -> None:
    """Forty people log in through it; from the third day some write their names wrong."""
    for day in range(14):
        for number in range(40):
            at = day * DAY + 8 * HOUR + chance.random() * 10 * HOUR
            if chance.random() < 0.2:
                story.imap_fails(at - 30, "198.51.100.80", f"user{number}@example.net")
            if day >= 2 and chance.random() < 0.05:
                story.imap_fails(at - 60, "198.51.100.80", f"usr{number}{day}")
            story.imap(at, "198.51.100.80", f"user{number}")


def a_copier_without_a_login(story: Story, chance: random.Random) -> None:
    """It wants to send a page to the outside, once an hour, for two weeks."""
    for number in range(14 * 24):
        answer = "554 5.7.1 <boss@example.com>: Relay access denied"
        story.refused(number * HOUR, "198.51.100.70", answer, "copier@example.net", "boss@example.com")


def an_old_telephone(story: Story, chance: random.Random) -> None:
    """Its TLS is too old for us; it tries every five minutes."""
    for number in range(14 * 24 * 12):
        at = number * 5 * MINUTE
        story.say(at, "postfix/submission/smtpd[221]", "SSL_accept error from unknown[198.51.100.71]: -1")
        story.knock(at + 0.1, "198.51.100.71", "STARTTLS", "submission/smtpd")


def a_busy_partner(story: Story, chance: random.Random) -> None:
    """Three letters in two seconds, for an hour."""
    for number in range(5400):
        story.deliver(
            number / 1.5, "198.51.100.26", f"p{number}@partner.example", accepted=(f"user{number % 30}",)
        )


INNOCENTS: list[Writer] = [
    somebody_who_mistypes,
    a_forgotten_password,
    a_telephone_with_an_old_password,
    a_telephone_among_others,
    an_office_with_an_infected_computer,
    an_office_where_names_are_mistyped,
    the_day_of_new_passwords,
    a_partner_with_former_colleagues,
    a_monitoring_host,
    a_newsletter_to_some_who_left,
    a_host_that_sends_for_many,
    a_provider_that_is_greylisted,
    backscatter,
    somebody_who_travels,
    a_webmail_host,
    a_copier_without_a_login,
    an_old_telephone,
    a_busy_partner,
]


@pytest.mark.parametrize("write", INNOCENTS, ids=lambda write: str(write.__name__))
def test_no_innocent_is_banned(write: Writer, tmp_path: Path) -> None:
    """Alerts may be given, bans not."""
    assert verdict(write, tmp_path)[1] == {}


def test_an_attacked_mailbox_does_not_cost_the_office(tmp_path: Path) -> None:
    """The attackers of a shared mailbox are banned one by one; an office that takes part stays."""
    _, banned = verdict(an_office_whose_shared_mailbox_is_attacked, tmp_path)
    assert len(banned) > 30
    assert not [network for network, _ in banned if network.startswith("192.0.2.")]


def test_an_infected_computer_is_told(tmp_path: Path) -> None:
    """What would have banned the office is an alert."""
    told, _ = verdict(an_office_with_an_infected_computer, tmp_path)
    assert {"relay-attempts", "harvest"} <= told


# ---------------------------------------------------------------- attackers: each is caught, in time


def fast_by_imap(story: Story, chance: random.Random) -> None:
    for number in range(100):
        story.imap_fails(1.5 * number, "192.0.2.7", chance.choice(NAMES))


def fast_by_smtp(story: Story, chance: random.Random) -> None:
    for number in range(100):
        story.smtp_auth_fails(3.0 * number, "192.0.2.7", "admin", "smtpd")


def fast_inside_an_office(story: Story, chance: random.Random) -> None:
    """Standing excuses nobody from fast guessing."""
    _office(story, chance, 5)
    for number in range(50):
        story.imap_fails(4 * DAY + 20.0 * number, "192.0.2.10", "admin")


def slow_at_random(story: Story, chance: random.Random) -> None:
    at = 0.0
    while at < 14 * DAY:
        story.imap_fails(at, "192.0.2.7", chance.choice(NAMES))
        at += chance.random() * 7 * HOUR


def slow_one_name(story: Story, chance: random.Random) -> None:
    for number in range(48):
        story.smtp_auth_fails(number * 7 * HOUR, "192.0.2.7", "info@example.net")


def slow_with_a_counter_only(story: Story, chance: random.Random) -> None:
    """`auth=0/1` at the end of the connection is the only trace."""
    for number in range(56):
        story.say(number * 6 * HOUR, "postfix/smtpd[1]", "connect from unknown[192.0.2.7]")
        said = "disconnect from unknown[192.0.2.7] ehlo=1 auth=0/1 quit=1 commands=2/3"
        story.say(number * 6 * HOUR + 1, "postfix/smtpd[1]", said)


def changing_within_a_24(story: Story, chance: random.Random) -> None:
    for number in range(300):
        story.imap_fails(number * 10 * MINUTE, f"192.0.2.{number % 200 + 1}", chance.choice(NAMES))


def changing_slowly_within_a_24(story: Story, chance: random.Random) -> None:
    """One try every seven hours, each from another address of one network."""
    for number in range(48):
        story.imap_fails(number * 7 * HOUR, f"192.0.2.{number * 5 % 200 + 1}", chance.choice(NAMES))


def changing_within_a_64(story: Story, chance: random.Random) -> None:
    for number in range(60):
        story.imap_fails(number * MINUTE, f"2001:db8:7:7::{number + 1:x}", chance.choice(NAMES))


def changing_within_a_48(story: Story, chance: random.Random) -> None:
    for number in range(60):
        story.imap_fails(number * 10 * MINUTE, f"2001:db8:7:{number + 1:x}::1", chance.choice(NAMES))


def harvest(story: Story, chance: random.Random) -> None:
    for number in range(60):
        story.deliver(4.0 * number, "192.0.2.7", "a@spam.example", unknown=(f"n{number}",))


def slow_harvest(story: Story, chance: random.Random) -> None:
    for number in range(48):
        story.deliver(number * 7 * HOUR, "192.0.2.7", "a@spam.example", unknown=(f"n{number}",))


def harvest_from_a_24(story: Story, chance: random.Random) -> None:
    for number in range(200):
        source = f"192.0.2.{number % 100 + 1}"
        story.deliver(number * 10 * MINUTE, source, "a@spam.example", unknown=(f"n{number}",))


def relay(story: Story, chance: random.Random) -> None:
    for number in range(60):
        answer = f"554 5.7.1 <x{number}@example.org>: Relay access denied"
        story.refused(5.0 * number, "192.0.2.7", answer, "a@spam.example", f"x{number}@example.org")


def vrfy(story: Story, chance: random.Random) -> None:
    for number in range(20):
        at, smtpd = number * MINUTE, "postfix/smtpd[180]"
        story.say(at, smtpd, "connect from unknown[192.0.2.7]")
        for more in range(3):
            to = f"<n{number}{more}@example.net>"
            story.say(
                at + more,
                smtpd,
                f"NOQUEUE: reject: VRFY from unknown[192.0.2.7]: 550 5.1.1 {to}: Recipient address rejected:"
                f" User unknown in virtual mailbox table; to={to} proto=ESMTP helo=<x.example.org>",
            )
        story.say(at + 5, smtpd, "disconnect from unknown[192.0.2.7] ehlo=1 vrfy=0/3 quit=1 commands=2/5")


def flood(story: Story, chance: random.Random) -> None:
    """A hundred connections a second."""
    for number in range(3000):
        story.knock(number / 100, "192.0.2.7")


def blocklisted(story: Story, chance: random.Random) -> None:
    for number in range(30):
        answer = "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using bl.example.org; listed"
        story.refused(number * 2 * MINUTE, "192.0.2.7", answer, "a@spam.example", "user1@example.net")


def pregreet(story: Story, chance: random.Random) -> None:
    for number in range(30):
        said = f"PREGREET 14 after 0.02 from [192.0.2.7]:{38000 + number}: EHLO ylmf-pc\\r\\n"
        story.say(30.0 * number, "postfix/postscreen[1]", said)


ATTACKERS: list[tuple[Writer, str, str, float]] = [
    (fast_by_imap, "192.0.2.7", "user-spray", 10),
    (fast_by_smtp, "192.0.2.7", "password-guessing", 15),
    (fast_inside_an_office, "192.0.2.10", "password-guessing", 4 * DAY + 90),
    (slow_at_random, "192.0.2.7", "slow-guessing", 2 * DAY),
    (slow_one_name, "192.0.2.7", "slow-guessing", 2.1 * DAY),
    (slow_with_a_counter_only, "192.0.2.7", "slow-guessing", 2 * DAY),
    (changing_within_a_24, "192.0.2.0/24", "network-guessing", 3 * HOUR),
    (changing_slowly_within_a_24, "192.0.2.0/24", "slow-network-guessing", 6 * DAY),
    (changing_within_a_64, "2001:db8:7:7::/64", "user-spray", 6 * MINUTE),
    (changing_within_a_48, "2001:db8:7::/48", "network-guessing", 3 * HOUR),
    (harvest, "192.0.2.7", "harvest", 30),
    (slow_harvest, "192.0.2.7", "slow-harvest", 4.2 * DAY),
    (harvest_from_a_24, "192.0.2.0/24", "network-harvest", 5 * HOUR),
    (relay, "192.0.2.7", "relay-attempts", 30),
    (vrfy, "192.0.2.7", "vrfy", 70),
    (flood, "192.0.2.7", "connection-flood", 3),
    (blocklisted, "192.0.2.7", "blocklisted", 20 * MINUTE),
    (pregreet, "192.0.2.7", "protocol-abuse", 3 * MINUTE),
]


@pytest.mark.parametrize(
    ("write", "network", "detector", "within"), ATTACKERS, ids=[each[0].__name__ for each in ATTACKERS]
)
def test_every_attacker_is_caught(
    write: Writer, network: str, detector: str, within: float, tmp_path: Path
) -> None:
    """By the detector that is meant, and not later than that many seconds after the first line."""
    _, banned = verdict(write, tmp_path)
    assert banned[network, detector] <= within


def test_a_botnet_after_one_account_meets_strangers_only(tmp_path: Path) -> None:
    """Four hundred hosts try the one password of sato, who goes on working."""

    def write(story: Story, chance: random.Random) -> None:
        for day in range(5):
            story.imap(day * DAY, "192.0.2.1", "sato")
            story.imap_fails(day * DAY - 30 if day else 0, "192.0.2.1", "sato@example.net")
        for number in range(400):
            source = f"{chance.randint(11, 126)}.{chance.randint(0, 255)}.{chance.randint(0, 255)}.9"
            story.imap_fails(3 * DAY + number * 7 * MINUTE, source, "sato@example.net")

    told, banned = verdict(write, tmp_path)
    assert told == {"attacked-account"}
    assert len(banned) > 350
    assert ("192.0.2.1", "attacked-account") not in banned
    assert min(banned.values()) < 3 * DAY + 70 * MINUTE


def _stolen(story: Story, chance: random.Random) -> None:
    """An office with its newsletter; then somebody else has the password of one account."""
    _office(story, chance, 5)
    for number in range(300):
        story.submit(4 * DAY + 13 * HOUR + 2 * number, "192.0.2.10", "news", f"reader{number}@example.org")
    for number in range(300):
        to = f"victim{number}@example.org"
        story.submit(4 * DAY + 3 * HOUR + 5 * number, "203.0.113.66", "user3", to, bounces=not number % 3)


def test_a_stolen_account_is_told_by_its_mail(tmp_path: Path) -> None:
    """Much mail of one account from where nobody was before, and much of it fails: both name the account; the
    office's own newsletter is no news."""
    story = Story()
    _stolen(story, random.Random(7))
    log = tmp_path / "mail.log"
    log.write_text("".join(story.lines()))
    judge = Judge(Scanner(PARSERS), Sessions(PARSERS), Engine(SETTINGS.setup()), evidence=False)
    told = {
        (effect.offence.detector, effect.offence.key)
        for effect in replay([RecordedLog(str(log))], judge, Summary())
        if isinstance(effect, Alert)
    }
    assert told == {("recipient-burst", "user3@example.net"), ("bounce-burst", "user3@example.net")}
