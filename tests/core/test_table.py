"""Bounded tables and quotas: who gives way, and who never does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core.quota import Quota
from mailguard.core.table import Table, pack_key, sieve_place
from mailguard.notation import V6
from tests.written import address


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.booleans()), max_size=300))
@settings(deadline=None)
def test_it_is_a_dictionary_until_it_is_full(moves: list[tuple[int, bool, bool]]) -> None:
    """Below its cap a table keeps everything that is put and not dropped."""
    table, plain = Table("t", 1000), {}
    for key, strong, drop in moves:
        if drop:
            table.drop(key)
            plain.pop(key, None)
        else:
            table.put(key, b"%d" % key, strong)
            plain[key] = b"%d" % key
    assert dict(table.items()) == plain
    assert len(table) == len(plain)
    assert all(key in table for key in plain)


@given(st.lists(st.tuples(st.integers(0, 500), st.booleans()), max_size=400), st.integers(8, 40))
@settings(deadline=None)
def test_it_never_holds_more_than_its_cap(moves: list[tuple[int, bool]], cap: int) -> None:
    """Whatever comes: at most `cap` keys, and what left was counted."""
    table = Table("t", cap)
    entered: list[int] = []
    left: list[int] = []
    table.on_enter, table.on_leave = entered.append, left.append
    for key, strong in moves:
        table.put(key, b"x", strong)
        assert len(table) <= cap
    assert len(entered) - len(left) == len(table)
    assert table.evicted == len(left)


def test_strong_keys_outlive_any_flood_of_weak_ones() -> None:
    """A flood of keys seen once pushes out only keys seen once."""
    table = Table("t", 1000)
    for key in range(100):
        table.put(key, b"strong", True)
    for key in range(1000, 20_000):
        table.put(key, b"weak", False)
    assert all(key in table for key in range(100))
    assert table.evicted_strong == 0
    assert table.evicted > 0


def test_newcomers_have_room_even_when_all_are_strong() -> None:
    """An eighth of the room stays for keys seen once: else nobody could be seen twice."""
    table = Table("t", 80)
    for key in range(200):
        table.put(key, b"x" * (1 + key % 5), True)
    table.put(1000, b"new", False)
    table.put(1000, b"again", True)
    assert table.get(1000) == b"again"


def test_among_strong_keys_the_heavier_stay() -> None:
    """Who did more is remembered longer."""
    table = Table("t", 80)
    for key in range(10):
        table.put(key, b"x" * 200, True)
    for key in range(100, 1000):
        table.put(key, b"x" * 64, True)
    assert all(key in table for key in range(10))


def test_sweeping_visits_every_shard() -> None:
    """As many sweeps as there are shards look at every key once."""
    table = Table("t", 10_000)
    for key in range(5000):
        table.put(key, b"x", key % 2 == 0)
    looked = 0
    while looked < 5000:
        looked += table.sweep(list)
    assert looked == 5000
    assert len(table) == 0


@given(st.lists(st.tuples(st.integers(0, 1 << 130), st.booleans(), st.booleans()), max_size=100))
@settings(deadline=None)
def test_changes_bring_a_copy_up_to_date(moves: list[tuple[int, bool, bool]]) -> None:
    """A copy that gets only the changes holds what the table holds."""
    table = Table("t", 500, salt=12345, track=True)
    rows: dict[bytes, bytes] = {}
    for number, (key, strong, drop) in enumerate(moves):
        if drop:
            table.drop(key)
        else:
            table.put(key, b"%d" % number, strong)
        if number % 7 == 0:
            for _, name, value in table.changes():
                if value is None:
                    rows.pop(name, None)
                else:
                    rows[name] = value
    for _, name, value in table.changes():
        if value is None:
            rows.pop(name, None)
        else:
            rows[name] = value
    copy = Table("t", 500, salt=12345, track=True)
    for name, value in rows.items():
        copy.restore(name, value)
    assert dict(copy.items()) == dict(table.items())
    assert copy.strong == table.strong
    assert list(copy.changes()) == []


def test_keys_pack_in_few_bytes() -> None:
    """The stored key of an IPv4 address is four bytes or fewer, an IPv6 source's seventeen."""
    assert len(pack_key(address("203.0.113.9"))) == 4
    assert len(pack_key(address("2001:db8::"))) == 17
    assert pack_key(0) == b"\0"


def test_a_48_cannot_fill_the_table() -> None:
    """Beyond the quota the sources of a /48 share a key; they still count, together."""
    table = Table("t", 32_768)
    quota = Quota(table)
    base = address("2001:db8:1::")
    for number in range(5000):
        table.put(quota.key(base + (number << 64)), b"x", False)
    assert len(table) <= quota.per48 + 1
    assert quota.folded >= 5000 - quota.per48 - 1


def test_a_32_cannot_fill_the_table() -> None:
    """However many /48s somebody owns: an eighth of the table at most, and others keep their keys."""
    table = Table("t", 16_384)
    quota = Quota(table)
    base = address("2001:db8::")
    for number in range(50_000):
        table.put(quota.key(base + ((number % 65_536) << 80) + (number << 64 & 0xFFFF << 64)), b"x", False)
    assert len(table) <= table.cap // 8 + 2
    other = address("3fff::")
    assert quota.key(other) == other


def test_a_quota_gives_room_back() -> None:
    """What left the table counts no more."""
    table = Table("t", 16_384)
    quota = Quota(table)
    base = address("2001:db8:1::")
    for number in range(quota.per48):
        table.put(base + (number << 64), b"x", False)
    newcomer = base + (9999 << 64)
    assert quota.key(newcomer) != newcomer
    table.drop(base)
    assert quota.key(newcomer) == newcomer


def test_ipv4_has_no_quota() -> None:
    """An IPv4 address is its own key."""
    quota = Quota(Table("t", 16))
    assert all(quota.key(number) == number for number in range(1000))
    assert quota.key(V6 - 1) == V6 - 1


@given(st.lists(st.integers(0, (1 << 130) - 1), max_size=50), st.lists(st.integers(0, (1 << 130) - 1)))
def test_the_sieve_knows_every_key_that_came(keys: list[int], others: list[int]) -> None:
    """Weak or strong, put back or not: the bit of a key that is there is set."""
    table = Table("t", 16)
    for number, key in enumerate(keys):
        table.put(key, b"x", number % 3 == 0)
    table.restore(b"\x07", b"\1x")
    for key in (*keys, 7):
        place = sieve_place(key)
        assert table.sieve[place >> 3] >> (place & 7) & 1
    marked = sum(byte.bit_count() for byte in table.sieve)
    assert marked <= len({*keys, 7})
    assert all(0 <= sieve_place(key) >> 3 < len(table.sieve) for key in others)
