"""Standing: who earned consideration, when it counts, and how it is lost."""

from __future__ import annotations

from struct import Struct

import pytest

from mailguard.core.standing import AGE, DAY, Book
from tests.written import address, network

T = 1_800_000_000.0
SATO = 111
TANAKA = 222


PARTNER = address("192.0.2.25")


@pytest.mark.parametrize(
    ("times", "now", "good"),
    [
        ([], T, False),
        ([T], T, False),
        ([T], T + 5 * DAY, False),  # one day only
        ([T, T + DAY], T + DAY, False),  # two days, but the first is not two days old
        ([T, T + DAY], T + 2 * DAY, True),
        ([T, T + 60, T + 7200], T + 9 * DAY, False),  # often, on one day
        ([T, T + DAY], T + DAY + AGE + 1, False),  # thirteen months ago
        ([T, T + 300 * DAY], T + 400 * DAY, True),
        ([T + DAY, T], T + 3 * DAY, True),  # the order of arrival does not matter
    ],
)
def test_mail_counts_on_two_days_when_two_days_old(times: list[float], now: float, good: bool) -> None:
    """Accepted mail earns standing slowly and loses it by age."""
    book = Book(1000)
    for time in times:
        book.mail(PARTNER, time)
    assert book.source(PARTNER).good(now) is good
    assert book.network(network("192.0.2.0/24"), now).good(now) is good


def test_a_login_earns_standing_for_its_network_the_same_way() -> None:
    """Two days of logins make a network one where somebody lives."""
    book = Book(1000)
    for day in (0, 1, 3):
        book.login(SATO, PARTNER, T + day * DAY)
    now = T + 3 * DAY
    assert book.source(PARTNER).good(now)
    assert book.network(network("192.0.2.0/24"), now).good(now)
    assert book.network(network("192.0.0.0/16"), now).good(now)
    assert not book.network(network("198.51.100.0/24"), now).good(now)
    assert not book.source(address("192.0.2.26")).good(now)


def test_a_user_is_known_where_he_logged_in_before() -> None:
    """Known at once, in that network, that user only."""
    book = Book(1000)
    book.login(SATO, PARTNER, T)
    assert book.known(SATO, PARTNER, T)
    assert book.known(SATO, address("192.0.2.200"), T + 60)
    assert not book.known(SATO, PARTNER, T - 1)  # not before it happened
    assert not book.known(TANAKA, PARTNER, T + 60)
    assert not book.known(SATO, address("198.51.100.1"), T + 60)
    assert not book.known(SATO, PARTNER, T + AGE + 1)
    assert book.exists(SATO)
    assert not book.exists(TANAKA)


def test_ipv6_is_known_by_48() -> None:
    """A telephone changes its /64 every day; its provider's /48 stays."""
    book = Book(1000)
    book.login(SATO, address("2001:db8:1:2::3"), T)
    assert book.known(SATO, address("2001:db8:1:ffff::9"), T)
    assert not book.known(SATO, address("2001:db8:2::9"), T)


def test_a_stolen_password_buys_nothing() -> None:
    """After revocation neither logins nor mail from there earn anything, and the user is a stranger there."""
    book = Book(1000)
    thief = address("203.0.113.9")
    book.revoke(SATO, thief, T)
    for day in range(10):
        book.login(SATO, thief, T + day * DAY)
        book.mail(thief, T + day * DAY)
    now = T + 10 * DAY
    assert not book.source(thief).good(now)
    assert not book.network(network("203.0.113.0/24"), now).good(now)
    assert not book.known(SATO, thief, now)


def test_an_administrator_may_pardon() -> None:
    """The holiday in Peru: after `unban` or `allow` standing may be earned again."""
    book = Book(1000)
    book.revoke(SATO, PARTNER, T)
    assert book.pardon(PARTNER, T + 60)
    assert not book.pardon(PARTNER, T + 60)
    book.login(SATO, PARTNER, T + 120)
    assert book.known(SATO, PARTNER, T + 130)
    book.revoke(SATO, PARTNER, T + 200)
    book.login(SATO, PARTNER, T + 220)
    assert not book.known(SATO, PARTNER, T + 230)
    assert book.pardon(PARTNER, T + 240)
    for day in range(4):
        book.mail(PARTNER, T + day * DAY)
    assert book.source(PARTNER).good(T + 4 * DAY)


def test_pairs_are_bounded_and_different() -> None:
    """At most eight different pairs of sender and recipient are remembered."""
    book = Book(1000)
    for number in range(30):
        book.mail(PARTNER, T + number, 1 + number % 20)
    assert book.source(PARTNER).pairs == 8
    book.mail(address("192.0.2.26"), T, 5)
    book.mail(address("192.0.2.26"), T + 1, 5)
    assert book.source(address("192.0.2.26")).pairs == 1


def test_the_table_is_bounded_and_regulars_outlive_passers_by() -> None:
    """A wave of spam accepted from ever new addresses does not push out the partner."""
    book = Book(500)
    for day in range(3):
        book.mail(PARTNER, T + day * DAY)
    for number in range(5000):
        book.mail(address("203.0.113.0") + 977 * number, T + 3 * DAY)
    assert len(book.sources) <= 500
    assert book.source(PARTNER).good(T + 3 * DAY)


def test_sweeping_forgets_after_thirteen_months() -> None:
    """Age is also forgotten, not only disregarded."""
    book = Book(1000)
    book.mail(PARTNER, T)
    book.login(SATO, PARTNER, T)
    for _ in range(16):
        book.sweep(T + AGE + 1)
    assert all(len(table) == 0 for table in book.tables)


def test_friends_are_counted_as_far_as_they_are_kept() -> None:
    """Addresses with mail and logins, pairs up to 8 of each, accounts of the networks; not the thieves."""
    book = Book(1000)
    for number in range(12):
        book.mail(PARTNER, T, 1000 + number)
    book.mail(PARTNER + 1, T, 1000)
    book.login(SATO, PARTNER + 2, T)
    book.login(SATO, PARTNER + 3, T)
    book.login(TANAKA, PARTNER + 3, T)
    book.revoke(333, PARTNER + 4, T)
    book.login(SATO, address("192.0.3.1"), T)
    around = book.friends(network("192.0.2.0/24"), T)
    assert (around.mail_sources, around.login_sources, around.accounts) == (2, 2, 2)
    assert (around.pairs, around.more_pairs) == (9, True)
    one = book.friends(network("192.0.2.26"), T)
    assert (one.mail_sources, one.login_sources, one.pairs, one.more_pairs) == (1, 0, 1, False)
    wide = book.friends(network("192.0.0.0/16"), T)
    assert (wide.mail_sources, wide.login_sources, wide.accounts) == (2, 3, 2)
    late = book.friends(network("192.0.0.0/16"), T + AGE + 1)
    assert (late.mail_sources, late.login_sources, late.accounts) == (0, 0, 0)


def test_messages_and_logins_are_counted_of_each_source() -> None:
    """Every one, also those that tell nothing new; of a network its addresses are added."""
    book = Book(1000)
    for number in range(20):
        book.mail(PARTNER, T + number, 1000 + number % 3)
    book.mail(PARTNER + 1, T)
    for number in range(5):
        book.login(SATO, PARTNER, T + number * 700)
    found = book.source(PARTNER)
    assert (found.messages, found.logins, found.pairs) == (20, 5, 3)
    assert (found.more_messages, found.more_logins) == (False, False)
    friends = book.friends(network("192.0.2.0/24"), T)
    assert (friends.messages, friends.logins) == (21, 5)
    assert (friends.more_messages, friends.more_logins) == (False, False)
    late = book.friends(network("192.0.2.0/24"), T + AGE + 5000)
    assert (late.messages, late.logins) == (0, 0)
    book.revoke(SATO, PARTNER, T + 9000)
    assert (book.source(PARTNER).messages, book.source(PARTNER).logins) == (0, 0)


def test_rows_from_before_the_counts_go_on() -> None:
    """Their days and pairs stand; how many there were is told as the least."""
    book = Book(1000)
    pairs = b"".join(number.to_bytes(4, "little") for number in range(1, 9))
    book.sources.put(PARTNER, Struct("=ddddHHB").pack(T, T + 3 * DAY, 0.0, 0.0, 3, 0, 0) + pairs, True)
    found = book.source(PARTNER)
    assert (found.messages, found.more_messages, found.pairs, found.good(T + 3 * DAY)) == (0, True, 8, True)
    assert not found.more_logins
    book.mail(PARTNER, T + 3 * DAY + 1, 9)
    book.login(SATO, PARTNER, T + 3 * DAY + 2)
    found = book.source(PARTNER)
    assert (found.messages, found.more_messages, found.logins, found.more_logins) == (1, True, 1, False)
    assert (found.mail_days, found.pairs, found.good(T + 3 * DAY + 2)) == (3, 8, True)
    friends = book.friends(network("192.0.2.25"), T + 4 * DAY)
    assert (friends.messages, friends.more_messages, friends.logins) == (1, True, 1)


@pytest.mark.parametrize("mail", [True, False])
def test_counts_stop_at_their_end(mail: bool) -> None:
    """What does not fit is told as the least there was."""
    book = Book(1000)
    record = Struct("=ddddHHBII").pack(T, T, T, T, 1, 1, 2, 0xFFFFFFFE, 0xFFFFFFFE)
    book.sources.put(PARTNER, record, False)
    for _ in range(2):
        book.mail(PARTNER, T) if mail else book.login(SATO, PARTNER, T)
    found = book.source(PARTNER)
    full, other = (found.messages, found.logins) if mail else (found.logins, found.messages)
    assert (full, other) == (0xFFFFFFFF, 0xFFFFFFFE)
    assert (found.more_messages, found.more_logins) == (mail, not mail)


def test_counts_alone_wait_for_checkpoints() -> None:
    """Each takes a few of them, the last all; nothing else waits."""
    book = Book(10_000, track=True)
    for number in range(100):
        book.mail(PARTNER + number, T)
    assert len(list(book.changes(False))) == 101  # and the network
    for _ in range(3):
        for number in range(100):
            book.mail(PARTNER + number, T + 1)
    assert len(list(book.changes(False))) == 32
    book.settle_counts()
    rows = book.changes(False)
    again = Book(10_000, track=True)
    for name, key, value in rows:
        assert name == "standing/source"
        assert value is not None
        again.sources.restore(key, value)
    assert len(rows) == 68
    assert {again.source(PARTNER + number).messages for number in range(32, 100)} == {4}
    assert not book.changes(False)


def test_friends_of_ipv6_networks() -> None:
    """Sources are /64s; users are known by the /48."""
    book = Book(1000)
    book.login(SATO, address("2001:db8:1:2::1"), T)
    book.mail(address("2001:db8:1:3::1"), T, 5)
    found = book.friends(network("2001:db8:1::/48"), T)
    assert (found.mail_sources, found.login_sources, found.accounts, found.pairs) == (1, 1, 1, 1)
    own = book.friends(network("2001:db8:1:2::/64"), T)
    assert (own.mail_sources, own.login_sources, own.accounts) == (0, 1, 1)


def test_friends_that_are_too_many_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question of an administrator stops the guard for no more than a moment."""
    monkeypatch.setattr("mailguard.core.standing._MOST_LOOKS", 1)
    book = Book(1000)
    for number in range(3):
        book.login(SATO + number, address("192.0.2.1"), T)
    assert book.friends(network("192.0.2.0/24"), T).accounts is None
