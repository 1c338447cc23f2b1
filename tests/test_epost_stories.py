"""The situations in which administrators of E-Post ask for help, played by the stand-in for its server: the
real feed reads what it writes, the shipped policy judges, and whoever is banned does not get through.

Each is played twice: with all logs, and with acceptlog and imap4log alone, which is what many servers have.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mailguard.model import Event, Impose
from mailguard.notation import format_address, format_effect
from tests.epost_server.server import Server
from tests.epost_server.theatre import (
    BEGIN,
    DAY,
    EVERY_LOG,
    HOUR,
    MINUTE,
    PEOPLE,
    TWO_LOGS,
    Refused,
    Theatre,
    encoded,
)

OFFICE, PARTNER, ATTACKER = "198.51.100.10", "198.51.100.25", "203.0.113.9"
BOTH = pytest.mark.parametrize("logs", [EVERY_LOG, TWO_LOGS], ids=["all-logs", "two-logs"])


def ordinary(theatre: Theatre, days: int, seed: int = 7) -> None:
    """Ten people in an office, two of whom mistype now and then; a partner who writes every day."""
    chance = random.Random(seed)
    for day in range(days):
        for name in PEOPLE:
            at = day * DAY + 8 * HOUR + chance.random() * HOUR
            for hour in range(0, 9, 3):
                theatre.at(at + hour * HOUR, theatre.logs_in, OFFICE, name)
            if chance.random() < 0.3:
                to = [f"{chance.choice(PEOPLE)}@partner.example"]
                theatre.at(at + HOUR, theatre.submits, OFFICE, name, to)
        for name in chance.sample(PEOPLE, 2):
            at = day * DAY + 9 * HOUR + chance.random() * 6 * HOUR
            theatre.at(at, theatre.logs_in, OFFICE, name, "mistyped")
            theatre.at(at + 20, theatre.logs_in, OFFICE, name)
        for number in range(6):
            at = day * DAY + 9 * HOUR + number * HOUR + chance.random() * HOUR
            to = [f"{chance.choice(PEOPLE)}@example.jp"]
            theatre.at(at, theatre.mails, PARTNER, f"p{number}@partner.example", to)


def innocents(theatre: Theatre) -> list[str]:
    """Bans that hit somebody who did nothing."""
    return [network for network, _ in theatre.banned if network.startswith("198.51.100.")]


@BOTH
def test_passwords_are_guessed_fast(logs: frozenset[str], tmp_path: Path) -> None:
    """One try every two seconds at the SMTP receiver, by a host that opens a connection for each."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 1)
    for number in range(100):
        theatre.at(10 * HOUR + 2 * number, theatre.guesses, ATTACKER, "admin")
    theatre.play()
    assert 10 * HOUR <= theatre.banned[ATTACKER, "password-guessing"] <= 10 * HOUR + 10
    assert theatre.kept_out >= 90
    assert innocents(theatre) == []


@BOTH
def test_passwords_are_guessed_by_imap(logs: frozenset[str], tmp_path: Path) -> None:
    """The POP3 and IMAP4 services are the door through which passwords are tried."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 1)
    for number in range(60):
        theatre.at(10 * HOUR + 3 * number, theatre.logs_in, ATTACKER, "sato", f"guess{number}")
    theatre.play()
    assert theatre.banned[ATTACKER, "password-guessing"] <= 10 * HOUR + 15
    assert innocents(theatre) == []


@BOTH
def test_many_tries_on_one_connection(logs: frozenset[str], tmp_path: Path) -> None:
    """acceptlog has one line for ten of them: caught all the same, if later."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 1)
    for number in range(30):
        theatre.at(10 * HOUR + 5 * number, theatre.guesses, ATTACKER, *(["info"] * 10), port=587)
    theatre.play()
    exact = "receivelog" in logs
    assert theatre.banned[ATTACKER, "password-guessing"] <= 10 * HOUR + (1 if exact else 20)
    assert innocents(theatre) == []


@BOTH
def test_mail_for_unknown_accounts(logs: frozenset[str], tmp_path: Path) -> None:
    """A flood of mail for people who do not exist. receivelog names them; acceptlog only sees a client that
    never gets anything through."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 3)
    for number in range(300):
        to = [f"n{number}x{more}@example.jp" for more in range(3)]
        theatre.at(2 * DAY + 10 * HOUR + number, theatre.mails, ATTACKER, "a@example.org", to)
    theatre.play()
    exact = "receivelog" in logs
    detector, within = ("harvest", 2) if exact else ("aborted-sessions", 60)
    assert theatre.banned[ATTACKER, detector] <= 2 * DAY + 10 * HOUR + within
    assert innocents(theatre) == []


@BOTH
def test_a_hundred_connections_a_second(logs: frozenset[str], tmp_path: Path) -> None:
    """A flood whose aim is that the server stands still."""
    theatre = Theatre(tmp_path, logs)
    for number in range(1000):
        theatre.at(10 * HOUR + number / 100, theatre.knocks, ATTACKER)
    theatre.play()
    first = min(at for (network, _), at in theatre.banned.items() if network == ATTACKER)
    assert first <= 10 * HOUR + 2.1
    assert theatre.kept_out >= 700


@BOTH
def test_one_try_every_few_hours_with_names_of_people(logs: frozenset[str], tmp_path: Path) -> None:
    """At random intervals of up to seven hours, each from another address of a network, with names that
    people have here."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 8)
    chance = random.Random(3)
    at = 10 * HOUR
    tries = 0
    while at < 8 * DAY:
        theatre.at(at, theatre.guesses, f"203.0.113.{tries * 37 % 200 + 1}", chance.choice(PEOPLE), port=587)
        at += chance.uniform(1 * HOUR, 7 * HOUR)
        tries += 1
    theatre.play()
    assert theatre.banned["203.0.113.0/24", "slow-network-guessing"] <= 6 * DAY
    assert innocents(theatre) == []


@BOTH
def test_one_try_every_seven_hours_from_one_address(logs: frozenset[str], tmp_path: Path) -> None:
    """Under every threshold of minutes and hours."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 5)
    for number in range(16):
        theatre.at(number * 7 * HOUR, theatre.guesses, ATTACKER, PEOPLE[number % 10], port=587)
    theatre.play()
    slow = {"slow-guessing", "slow-spray"}
    first = min(at for (network, by), at in theatre.banned.items() if network == ATTACKER and by in slow)
    assert first <= 49 * HOUR + 1
    assert innocents(theatre) == []


@BOTH
def test_a_cracked_account(logs: frozenset[str], tmp_path: Path) -> None:
    """Many hosts guess the password of one account until one is right, and it sends mail to the whole world:
    people are told which account it is, and from where."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 4)
    begin = 3 * DAY + 2 * HOUR
    for number in range(40):
        theatre.at(begin + 10 * MINUTE * number, theatre.logs_in, f"203.0.{number}.9", "sato", "guess")
    cracked = "192.0.2.66"
    theatre.at(begin + 7 * HOUR, theatre.logs_in, cracked, "sato")
    for number in range(200):
        to = [f"victim{number}x{more}@example.org" for more in range(10)]
        theatre.at(begin + 7 * HOUR + 5 + number, theatre.submits, cracked, "sato", to)
    theatre.play()
    told = theatre.alerts("broken-in")
    assert [offence.key for offence in told] == ["sato"]
    assert format_address(told[0].sources[-1]) == cracked
    said = [format_effect(effect) for effect in theatre.effects]
    assert [line for line in said if line.startswith(f"alert sato at {cracked} by broken-in: ")]
    assert innocents(theatre) == []


SENDING = {
    "every log": EVERY_LOG,
    "inlog, outlog and faillog": frozenset({"inlog", "outlog", "faillog"}),
    "inlog alone": frozenset({"inlog"}),
    "acceptlog and imap4log": TWO_LOGS,
}


@pytest.mark.parametrize("logs", SENDING.values(), ids=SENDING)
def test_much_mail_from_a_new_place(logs: frozenset[str], tmp_path: Path) -> None:
    """Somebody has an account's password and sends from where that account never was: people are told which
    account, and from where. A newsletter, and a list that writes to its members, are nobody's theft: they
    come from where mail has been coming for days."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 4)
    for day in range(4):
        for number in range(300):  # the office's own newsletter, and a partner's
            at = day * DAY + 11 * HOUR + 2 * number
            if day in (0, 3) or number < 40:
                theatre.at(at, theatre.submits, OFFICE, "kato", [f"reader{number}@partner.example"])
                to = [f"{PEOPLE[number % 10]}@example.jp"]
                theatre.at(at + 1, theatre.mails, PARTNER, "news@partner.example", to)
    cracked, begin = "192.0.2.66", 3 * DAY + 3 * HOUR
    for number in range(300):
        to = [f"victim{number}x{more}@partner.example" for more in range(10)]
        theatre.at(begin + 3 * number, theatre.submits, cracked, "sato", to)
    theatre.play()
    told = [one for one in theatre.alerts("recipient-burst") if one.last >= BEGIN + 3 * DAY]
    assert [offence.key for offence in told] == ["sato@example.jp"]
    assert [format_address(source) for source in told[0].sources] == [cracked]
    assert told[0].last <= BEGIN + begin + 310
    assert theatre.banned == {}


def test_bounces_that_nothing_else_tells(tmp_path: Path) -> None:
    """faillog alone does not know from where a message came; whose it was, it does."""
    theatre = Theatre(tmp_path, frozenset({"faillog"}), remote={"gone.example": "550 5.1.1 User unknown"})
    for number in range(30):
        to = [f"victim{number}@gone.example"]
        theatre.at(3 * HOUR + 10 * number, theatre.submits, "192.0.2.66", "sato", to)
    theatre.play()
    told = theatre.alerts("bounce-burst")
    assert [offence.key for offence in told] == ["sato@example.jp"]
    assert told[0].sources == ()
    assert theatre.banned == {}


def test_a_cracked_account_fills_logs_and_queue(tmp_path: Path) -> None:
    """Its mail is more than the delivery service can deliver: each log and folder that grows is told, and
    with it the account and the address that did it."""
    theatre = Theatre(tmp_path)
    ordinary(theatre, 9)
    for step in range(9 * 24 * 12):
        theatre.at(step * 5 * MINUTE, lambda: None)  # time passes, and measures are taken
    theatre.at(HOUR, theatre.measure)
    cracked, begin = "192.0.2.66", 8 * DAY + 14 * HOUR
    theatre.at(begin - MINUTE, theatre.logs_in, cracked, "sato")
    theatre.at(begin, setattr, theatre.server, "deliver", lambda: 0)
    for number in range(1200):
        to = [f"victim{number}x{more}@example.org" for more in range(10)]
        theatre.at(begin + number, theatre.submits, cracked, "sato", to)
    theatre.play()
    told = {offence.key: offence for offence in theatre.alerts("growth")}
    spool = theatre.server.spool
    assert {str(spool / "incoming"), str(spool / "acceptlog/MAIL1"), str(spool / "inlog/MAIL1")} <= set(told)
    for offence in told.values():
        facts = dict(offence.facts)
        assert facts["accounts"].startswith("sato")
        assert facts["sources"].startswith(f"{cracked} ")
        assert offence.last <= BEGIN + begin + 14 * MINUTE
    assert innocents(theatre) == []


HELLO = f"250 example.jp Hello [{OFFICE}], pleased to meet you"
FAILED = "535 5.7.0 Authentication failed."
GUESS = ("EHLO pc", "AUTH LOGIN", encoded("admin"), encoded("x"))
LIES: dict[str, tuple[str, ...]] = {
    "a greeting of the server before its own": (HELLO, *GUESS, FAILED, FAILED),
    "a greeting of the server after its own": ("EHLO pc", HELLO, *GUESS[1:], FAILED),
    "a greeting behind a carriage return": ("EHLO pc\r" + HELLO, *GUESS[1:]),
    "a new connection": ("220 example.jp E-POST ESMTP Receiver (4.90) ...", HELLO, *GUESS),
    "answers as user names": ("EHLO pc", "AUTH LOGIN", encoded(HELLO), encoded(FAILED)),
    "a record as user name": (
        "EHLO pc",
        "AUTH LOGIN",
        encoded(f"x], {OFFICE}[{OFFICE}], AUTH-LOGIN:admin [failed],<B0000000000>,abort"),
        encoded("x"),
    ),
    "a record as sender": (
        "EHLO pc",
        f"MAIL FROM:<[05/Oct/2026:10:00:00], (example.jp), {OFFICE}[{OFFICE}], AUTH-LOGIN:a [failed],,abort>",
        f"RCPT TO:<no@example.jp {HELLO}>",
    ),
    "a refusal": (f"reject address = [{OFFICE}]", "EHLO pc", f"reject address = [{OFFICE}]"),
    "unknown accounts": ("EHLO pc", "MAIL FROM:<>", HELLO, "550 5.1.1 <q@example.jp> ... User unknown."),
}


@BOTH
@pytest.mark.parametrize("lie", LIES)
def test_nobody_can_be_framed(lie: str, logs: frozenset[str], tmp_path: Path) -> None:
    """A client says what the server says, about the office: the office stays. And who lies while guessing is
    not overlooked."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 1)
    for number in range(40):
        theatre.at(10 * HOUR + 5 * number, theatre.says, ATTACKER, *LIES[lie])
    theatre.play()
    assert innocents(theatre) == []
    if "AUTH LOGIN" in LIES[lie]:
        assert {network for network, _ in theatre.banned} == {ATTACKER}


FORGED = f"[05/Oct/2026:10:00:00], (example.jp), {OFFICE}[{OFFICE}], AUTH-LOGIN:admin"
WHOLE = FORGED + " [failed],<B0000000000>,abort"
NAMES = {
    "one record": f"x\n{WHOLE}\ny",
    "one that the server ends": f"x\n{FORGED}",
    "one that begins the name": f"\n{WHOLE}\n",
    "many": "x" + f"\n{WHOLE}" * 8,
    "another broken one before it": f"x\n{FORGED}\n{WHOLE}\ny",
    "an end before it": f"x [failed],<B0000000000>,abort\n{WHOLE}",
    "an end before it, and one behind": f"x [failed],<B0000000000>,abort\n{WHOLE}\n{FORGED}",
    "a success before it": f"sato [success],<B0000000000>,abort\n{WHOLE}",
    "a message before it": f"a@example.net,<B0000097586>,ok\n{WHOLE}",
    "as Windows ends lines": f"x\r\n{WHOLE}\r\ny",
    "far behind": "x" * 8000 + f"\n{WHOLE}" * 8,
    "longer than a line is read": "x" * 8400 + f"\n{WHOLE}" * 8,
}


@BOTH
@pytest.mark.parametrize("mechanism", ["LOGIN", "PLAIN"])
@pytest.mark.parametrize("name", NAMES)
def test_records_inside_a_name_ban_nobody(
    name: str, mechanism: str, logs: frozenset[str], tmp_path: Path
) -> None:
    """A name with line feeds in it writes whole lines about the office into acceptlog. The office stays, and
    whoever does so is banned as soon as for any other name."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 1)
    guess = ["AUTH LOGIN", encoded(NAMES[name]), encoded("x")]
    if mechanism == "PLAIN":
        guess = ["AUTH PLAIN " + encoded(f"\0{NAMES[name]}\0x")]
    for number in range(12):
        theatre.at(10 * HOUR + 20 * number, theatre.says, ATTACKER, "EHLO pc", *guess)
    theatre.play()
    assert innocents(theatre) == []
    if "success" not in name:  # which is no try at all: nobody has such a name, and it speaks for nobody
        assert theatre.banned[ATTACKER, "password-guessing"] <= 10 * HOUR + 80


@BOTH
def test_forging_shields_nobody(logs: frozenset[str], tmp_path: Path) -> None:
    """One host forges, another guesses meanwhile: both are banned. Only what stands in the very bytes that
    the forger may have written does not count."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 1)
    for number in range(12):
        at = 10 * HOUR + 20 * number
        lines = ("EHLO pc", "AUTH LOGIN", encoded(NAMES["many"]), encoded("x"))
        theatre.at(at, theatre.says, "192.0.2.200", *lines)
        theatre.at(at + 5, theatre.guesses, ATTACKER, "admin")
    for number in range(12):  # and in a flood
        theatre.at(11 * HOUR + 0.1 * number, theatre.says, "192.0.2.201", *lines)
    theatre.play()
    assert innocents(theatre) == []
    assert {network for network, _ in theatre.banned} == {"192.0.2.200", "192.0.2.201", ATTACKER}


@pytest.mark.parametrize("detector", ["password-guessing", "harvest"])
def test_who_knocks_under_a_ban_is_not_banned_longer(detector: str, tmp_path: Path) -> None:
    """The row in rejectsmtpip.dat is our own: knocks on it are hits of that ban, never a new offence."""
    theatre = Theatre(tmp_path)
    for number in range(6):
        at = 10 * HOUR + 2 * number
        if detector == "harvest":
            theatre.at(at, theatre.mails, ATTACKER, "a@example.org", [f"n{number}@example.jp"])
        else:
            theatre.at(at, theatre.guesses, ATTACKER, "admin")
    server = theatre.server
    theatre.at(
        10 * HOUR + 13, lambda: server.tables["smtp"].lock(ATTACKER, theatre.clock.now(), iplock=False)
    )
    for number in range(100):
        theatre.at(10 * HOUR + 15 + 5 * number, server.smtp, ATTACKER, 25)
    theatre.play()
    assert list(theatre.banned) == [(ATTACKER, detector)]
    assert sum(isinstance(effect, Impose) for effect in theatre.effects) == 1
    assert [held.hits for held in theatre.judge.engine.bans] == [100]


@BOTH
def test_nobody_who_did_nothing(logs: frozenset[str], tmp_path: Path) -> None:
    """A fortnight of an office and its partner, over midnights and late lines: nobody is banned, and nothing
    was lost."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 14)
    for day in range(14):  # a partner who is at it when the day ends
        for number in range(5):
            at = (day + 1) * DAY - 2 + number
            theatre.at(at, theatre.mails, PARTNER, "night@partner.example", ["mori@example.jp"])
    theatre.play()
    assert theatre.banned == {}
    assert theatre.kept_out == 0
    assert theatre.notices == []
    assert theatre.judge.engine.counts["events"] > 500


def test_two_servers_in_one_share(tmp_path: Path) -> None:
    """MAIL1 and MAIL2 write side by side, under one domain, with the same message numbers and contexts: what
    one says is never laid to a client of the other, and each try counts once."""
    theatre = Theatre(
        tmp_path, remote={"gone.example": "550 5.1.1 no", "partner.example": "198.51.100.25 mx"}
    )
    ordinary(theatre, 1)
    options = replace(theatre.server.options, computer="MAIL2")
    (tmp_path / "other").mkdir()
    second = Server(tmp_path / "other" / "spool", tmp_path / "other" / "program", theatre.clock, options)
    second.logs.spool = theatre.server.spool
    for name in options.logs:
        second.logs.folder(name).mkdir(parents=True, exist_ok=True)

    def other(act: str, *arguments: object) -> None:
        first, theatre.server = theatre.server, second
        number = int((first.spool / "temp" / "number").read_bytes()) - 1
        (second.spool / "temp" / "number").write_bytes(str(number).encode())
        try:
            getattr(theatre, act)(*arguments)
        finally:
            theatre.server = first

    deliver = theatre.server.deliver
    theatre.at(10 * HOUR - 1, setattr, theatre.server, "deliver", lambda: 0)
    for number in range(12):
        at = 10 * HOUR + 40 * number
        theatre.at(at, theatre.submits, OFFICE, "sato", ["a@gone.example"])
        theatre.at(at + 20, deliver)
        theatre.at(at + 0.2, other, "mails", ATTACKER, "a@example.org", ["ito@example.jp"])
        theatre.at(at + 0.4, other, "guesses", ATTACKER, "admin")
    heard: list[Event] = []
    theatre.judge.observer = heard.append
    theatre.play()
    second.close()
    assert innocents(theatre) == []
    assert {network for network, _ in theatre.banned} == {ATTACKER}
    failed = [one for one in heard if one.kind == "mail_bounced"]
    assert len(failed) == 12
    assert {one.source and format_address(one.source) for one in failed} == {OFFICE}
    guesses = [one for one in heard if one.kind == "auth_failure" and "MAIL2" in one.log]
    assert {format_address(one.source or 0) for one in guesses} == {ATTACKER}
    assert len(guesses) == len({one.time for one in guesses})


ALONE = {"receiveimap4": "imap", "receivepop3": "pop"}


@pytest.mark.parametrize("log", ALONE)
def test_dialogues_alone_tell_which_account_is_guessed(log: str, tmp_path: Path) -> None:
    """The log with the addresses is switched off: nobody is banned. Tries count by their account, and it is
    told when somebody gets in after them, with the tries as evidence."""
    theatre = Theatre(tmp_path, frozenset({log, "acceptlog", "receivelog"}))
    ordinary(theatre, 4)
    begin = 3 * DAY + 2 * HOUR

    def tries(number: int) -> None:
        session = theatre.connects(f"203.0.{number % 200}.9", ALONE[log])
        if log == "receiveimap4":
            session.send("a LOGIN sato guess")
        else:
            session.send("USER sato")
            session.send("PASS guess")
        session.hang_up()

    for number in range(150):
        theatre.at(begin + 3 * MINUTE * number, tries, number)
    theatre.at(begin + 8 * HOUR, theatre.submits, "192.0.2.66", "sato", ["a@partner.example"])
    theatre.play()
    (entered,) = theatre.alerts("broken-in")
    assert (entered.key, format_address(entered.sources[-1])) == ("sato", "192.0.2.66")
    assert {piece.rule for piece in entered.evidence} == {f"epost-{log}/login-failed"}
    assert entered.count >= 10
    assert theatre.banned == {}


@pytest.mark.parametrize("logs", [EVERY_LOG, EVERY_LOG - {"receiveimap4"}, EVERY_LOG - {"receivelog"}])
def test_authenticate_is_counted_by_name(logs: frozenset[str], tmp_path: Path) -> None:
    """Tries by AUTHENTICATE, whose names imap4log does not tell: by name too where the dialogue is logged."""
    theatre = Theatre(tmp_path, logs)
    ordinary(theatre, 1)

    def tries(number: int) -> None:
        session = theatre.connects(ATTACKER, "imap")
        session.send("a AUTHENTICATE PLAIN " + encoded(f"\0{PEOPLE[number]}\0guess"))
        session.hang_up()

    for number in range(10):
        theatre.at(10 * HOUR + 5 * MINUTE * number, tries, number)
    theatre.play()
    named = "receiveimap4" in logs
    assert ((ATTACKER, "user-spray") in theatre.banned) is named
    assert innocents(theatre) == []


def test_several_guess_at_once_and_acceptlog_is_alone(tmp_path: Path) -> None:
    """Lines of different hosts are read together, five a second: of each piece the first counts in any case,
    and so nobody gets off."""
    theatre = Theatre(tmp_path, frozenset({"acceptlog"}))
    ordinary(theatre, 1)
    chance = random.Random(5)

    def tries() -> None:
        for _ in range(2):
            with suppress(Refused):
                theatre.guesses(f"203.0.{chance.randrange(5)}.9", f"user{chance.randrange(1000)}")

    for number in range(250):
        theatre.at(10 * HOUR + 0.4 * number, tries)
    theatre.play()
    assert {network for network, _ in theatre.banned} == {f"203.0.{number}.9" for number in range(5)}
    assert max(theatre.banned.values()) <= 10 * HOUR + 60
