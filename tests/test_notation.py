"""Addresses as text: one canonical form each, read back as what they were; times in a zone."""

from __future__ import annotations

import ipaddress
import random
import time
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailguard.notation import V6, format_address, format_time, parse_address, times_in

GROUP = st.one_of(st.just(0), st.just(0), st.integers(0, 15), st.integers(0, 0xFFFF))


@given(groups=st.lists(GROUP, min_size=8, max_size=8))
@example(groups=[0] * 8)
@example(groups=[0] * 7 + [1])
@example(groups=[0x2001, 0xDB8, 0, 0, 1, 0, 0, 0])
@example(groups=[0x2001, 0xDB8, 0, 1, 0, 0, 1, 1])
@example(groups=[0, 0, 1, 1, 1, 1, 0, 0])
def test_ipv6_is_written_as_the_standard_library_does(groups: list[int]) -> None:
    """The longest run of zeros is left out, the first of two that are equally long, never a single one."""
    value = sum(group << 16 * (7 - at) for at, group in enumerate(groups))
    text = format_address(V6 + value)
    assert text == str(ipaddress.IPv6Address(value))
    if value >> 32 != 0xFFFF:
        assert parse_address(text) == V6 + value


@given(value=st.integers(0, 0xFFFFFFFF))
def test_ipv4_is_four_numbers(value: int) -> None:
    assert format_address(value) == str(ipaddress.IPv4Address(value))
    assert parse_address(format_address(value)) == value


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Asia/Tokyo"])
def test_times_of_this_host(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer remembers offsets and tells each time as Python would, also where the clocks are changed."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        write, chance = times_in(""), random.Random(5)
        for middle in (1_792_890_000, 1_774_746_000, 1_793_511_000):  # 2026: October 25, March 29, November 1
            for _ in range(300):
                moment = middle + chance.uniform(-7200, 7200)
                assert write(moment) == format_time(
                    moment, datetime.fromtimestamp(moment).astimezone().tzinfo
                )
        assert times_in(zone)(1_792_890_000.5) == format_time(1_792_890_000.5, ZoneInfo(zone))
    finally:
        monkeypatch.undo()
        time.tzset()
    with pytest.raises(ZoneInfoNotFoundError):
        times_in("Nowhere/Land")
